import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from crito.errors import BadInput
from crito.tools.database import Database, attempts, calls, candidates, runs


def call_row(key: str, *, status: str = "ok", reply: str = "hi", run: str = "r") -> dict[str, object]:
    return {
        "key": key,
        "status": status,
        "run": run,
        "span": None,
        "role": "target",
        "model": "m",
        "request": "{}",
        "reply": reply,
        "finish": "stop",
        "first_token": None,
        "error": None,
        "tokens_in": 1,
        "tokens_out": 1,
        "cached": 0,
        "usd": 0.0,
        "started": 0.0,
        "seconds": 0.0,
        "attempts": 1,
    }


def candidate(name: str, body: str = "{}") -> dict[str, str]:
    return {"run": "r", "id": name, "body": body}


def in_file(path: Path, query: str) -> list[tuple[object, ...]]:
    """What another process sees."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_a_written_row_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    await database.write(candidates, candidate("a"))
    assert in_file(tmp_path / "crito.db", "SELECT id FROM candidates") == [("a",)]
    await database.close()


async def test_the_file_and_its_folder_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "crito.db"
    await Database(path).close()
    assert path.exists()


async def test_rows_of_one_moment_share_a_transaction(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    stored: list[int] = []
    store = database._store

    def counted(groups: object) -> None:
        stored.append(1)
        store(groups)  # type: ignore[arg-type]  # passed on as it came

    database._store = counted  # type: ignore[method-assign]
    await asyncio.gather(*(database.write(candidates, candidate(f"{n:03}")) for n in range(200)))
    assert len(stored) == 1
    assert len(in_file(database.path, "SELECT id FROM candidates")) == 200
    await database.close()


async def test_rows_beyond_one_batch_are_written_too(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    await asyncio.gather(*(database.write(candidates, candidate(f"{n:04}")) for n in range(600)))
    assert len(database.read(sa.select(candidates.c.id))) == 600
    await database.close()


async def test_rows_of_several_tables_are_written_together(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    attempt = {"run": "r", "candidate": "a", "round": 1, "body": "{}"}
    await asyncio.gather(database.write(candidates, candidate("a")), database.write(attempts, attempt))
    assert database.read(sa.select(attempts.c.round)) == [(1,)]
    assert database.read(sa.select(candidates.c.id)) == [("a",)]
    await database.close()


async def test_the_last_word_on_a_row_counts(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    await database.write(candidates, candidate("a", "old"))
    await database.write(candidates, candidate("a", "new"))
    assert database.read(sa.select(candidates.c.body)) == [("new",)]
    await database.close()


async def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    future = database.write_soon(candidates, candidate("a"))
    await database.close()
    assert future.done()
    assert in_file(tmp_path / "crito.db", "SELECT id FROM candidates") == [("a",)]


async def test_the_first_reply_to_a_key_stays_and_the_second_bill_is_kept(tmp_path: Path) -> None:
    one, other = Database(tmp_path / "crito.db"), Database(tmp_path / "crito.db")
    await one.write(calls, call_row("k", reply="first", run="a"))
    await other.write(calls, call_row("k", reply="second", run="b"))
    rows = one.read(sa.select(calls.c.run, calls.c.status, calls.c.reply))
    assert [tuple(row) for row in rows] == [("a", "ok", "first"), ("b", "double", "second")]
    await one.close()
    await other.close()


async def test_failures_of_one_key_are_all_kept(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    for _ in range(2):
        await database.write(calls, call_row("k", status="failed"))
    await database.write(calls, call_row("k"))
    assert [row.status for row in database.read(sa.select(calls.c.status))] == ["failed", "failed", "ok"]
    await database.close()


async def test_a_row_that_cannot_be_written_fails_the_writer_that_waits(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    with pytest.raises((BadInput, sa.exc.SQLAlchemyError)):
        await database.write(candidates, {"run": "r", "id": "a", "body": None})
    await database.write(candidates, candidate("b"))
    assert database.read(sa.select(candidates.c.id)) == [("b",)]
    await database.close()


async def test_a_run_has_a_status(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    database.add_run("r", name="toy", preset="default", task="{}")
    database.update_run("r", status="done", result="{}")
    rows = database.read(sa.select(runs.c.name, runs.c.status, runs.c.result))
    assert [tuple(row) for row in rows] == [("toy", "done", "{}")]
    await database.close()


async def test_readers_of_another_connection_see_new_rows_at_once(tmp_path: Path) -> None:
    one, other = Database(tmp_path / "crito.db"), Database(tmp_path / "crito.db")
    assert other.read(sa.select(candidates.c.id)) == []
    await one.write(candidates, candidate("a"))
    assert other.read(sa.select(candidates.c.id)) == [("a",)]
    await one.close()
    await other.close()


async def test_opening_to_read_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "crito.db"
    await Database(path).close()
    before = path.read_bytes()
    Database(path).dispose()
    assert path.read_bytes() == before


def test_a_file_that_another_process_has_just_begun_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "crito.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert path.stat().st_size > 0
    database = Database(path)
    assert database.read(sa.select(runs.c.id)) == []
    database.dispose()


async def test_a_file_that_stays_locked_is_called_locked_and_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "crito.db"
    database = Database(path)
    monkeypatch.setattr(database, "_store", lambda groups: _locked(database))
    with pytest.raises(BadInput, match="database is locked") as caught:
        await database.write(candidates, candidate("a"))
    assert "damaged" not in str(caught.value)
    await database.close()


def _locked(database: Database) -> None:
    with database._guard():
        raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


def test_a_database_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "crito.db", tmp_path / "file" / "deeper" / "crito.db"):
        with pytest.raises(BadInput, match="choose another file with --db FILE") as caught:
            Database(path)
        assert "\n" not in str(caught.value)


def test_a_database_that_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "crito.db"
    Database(path).dispose()

    def refuse(*args: object, **options: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("crito.tools.database._set_pragmas", refuse)
    with pytest.raises(BadInput, match="attempt to write a readonly database"):
        Database(path)


async def test_a_row_that_sqlite_cannot_hold_keeps_nobody_waiting(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    with pytest.raises(UnicodeEncodeError):
        await asyncio.wait_for(database.write(candidates, candidate("a", "\ud800")), 5)
    await database.close()
