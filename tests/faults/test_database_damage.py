"""A database that cannot be used is refused in one line and left as it is."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from crito.api import aoptimize, aresume
from crito.errors import BadInput
from crito.tools.database import Database, candidates
from tests.faults.toy import toy_task


async def filled(path: Path) -> None:
    database = Database(path)
    await database.write(candidates, *({"run": "r", "id": f"{n}", "body": "x" * 500} for n in range(300)))
    await database.close()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:20480] = b"\xa5" * 16384
    path.write_bytes(content)


def cut_within_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def cut_within_the_first_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])


def replace_with_text(path: Path) -> None:
    path.write_text("id,text\n1,hello\n")


def replace_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def replace_with_another_programs_database(path: Path) -> None:
    path.unlink()
    _sqlite(path, "CREATE TABLE bookmarks (url TEXT)")


def replace_with_a_marked_database_of_another_program(path: Path) -> None:
    path.unlink()
    _sqlite(path, "PRAGMA application_id = 252006674")


def raise_the_version(path: Path) -> None:
    _sqlite(path, "PRAGMA user_version = 99")


def _sqlite(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (truncate, "damaged"),
        (overwrite_the_middle, "damaged"),
        (cut_within_the_header, "damaged"),
        (cut_within_the_first_bytes, "is not a Crito database"),
        (replace_with_text, "is not a Crito database"),
        (replace_with_zeros, "is not a Crito database"),
        (replace_with_another_programs_database, "belongs to another program"),
        (replace_with_a_marked_database_of_another_program, "belongs to another program"),
        (raise_the_version, "schema version 99"),
    ],
)
async def test_a_file_that_is_not_ours_to_use_is_refused_and_not_touched(
    tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "crito.db"
    await filled(path)
    harm(path)
    before = path.read_bytes()
    task = toy_task("http://127.0.0.1:9")
    for start in (aoptimize(task, database=path), aresume("r", database=path)):
        with pytest.raises(BadInput, match=words) as caught:
            await start
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == before


async def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        await aoptimize(toy_task("http://127.0.0.1:9"), database=tmp_path)


async def test_resuming_without_a_database_makes_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no run database here"):
        await aresume("r", database=tmp_path / "none.db")
    assert not [*tmp_path.iterdir()]  # noqa: ASYNC240 - nothing else runs


async def test_resuming_an_unknown_run_says_where_the_known_ones_are(tmp_path: Path) -> None:
    await filled(tmp_path / "crito.db")
    with pytest.raises(BadInput, match="there is no run 'nope'; see: crito runs"):
        await aresume("nope", database=tmp_path / "crito.db")
