import asyncio
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langgraph.store.base import Op, PutOp, SearchItem
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from crito.errors import BadInput
from crito.memory.lesson_store import LessonStore, opened
from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt
from crito.prompt import Prompt
from tests.unit.test_lessons import TASK, observed

USE = OperatorUse(run="r1", signature=TASK, model="m", arms={"restyle": (0.5, 1.5)}, seen=1.0)
PROVEN = ProvenPrompt(
    run="r1", signature=TASK, model="m", inputs=("input",), labels=(), prompt=Prompt(), n=9, gain=0.4, seen=1.0
)


async def test_what_was_written_is_read_back_from_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "lessons.db") as store:
        await store.write(observed(), observed(run="r2"), USE, PROVEN)
    async with opened(tmp_path / "new" / "lessons.db") as store:
        assert sorted(o.run for o in await store.read(Observation)) == ["r1", "r2"]
        assert await store.read(OperatorUse) == [USE]
        assert await store.read(ProvenPrompt) == [PROVEN]


def test_no_record_has_a_key_of_a_models_address() -> None:
    keyed = {"model": "endpoint/http://me:sesame@host/v1?key=sesame#m"}
    records = [type(r).model_validate({**r.model_dump(), **keyed}) for r in (observed(), USE, PROVEN)]
    assert {record.model for record in records} == {"endpoint/http://host/v1#m"}


async def test_written_twice_is_written_once() -> None:
    store = LessonStore(InMemoryStore())
    await store.write(observed())
    await store.write(observed())
    assert await store.read(Observation) == [observed()]


async def test_what_is_added_changes_nothing_and_is_counted() -> None:
    store = LessonStore(InMemoryStore())
    await store.write(observed())
    other = observed(seen=1.0)
    assert await store.add(observed(), USE, other, observed(run="r2"), observed(run="r2", seen=1.0)) == (2, 1, 2)
    assert [o.seen for o in await store.read(Observation)] == [observed().seen] * 2


async def test_a_host_sees_all_records_and_runs_by_when_they_were_seen() -> None:
    store = LessonStore(InMemoryStore())
    await store.write(observed(run="r3", seen=3.0), PROVEN, USE, observed(run="r2", seen=2.0))
    assert [type(record) for record in await store.all()] == [OperatorUse, ProvenPrompt, Observation, Observation]
    assert [type(record) for record in await store.all(prompts=False)] == [OperatorUse, Observation, Observation]
    assert await store.runs() == ["r1", "r2", "r3"]


async def test_many_records_are_written_a_thousand_at_a_time() -> None:
    class Counting(InMemoryStore):
        sizes: ClassVar[list[int]] = []

        async def abatch(self, ops: Iterable[Op]) -> list[Any]:
            asked = list(ops)
            self.sizes.extend([len(asked)] * isinstance(asked[0], PutOp))
            return await super().abatch(asked)

    store = LessonStore(Counting())
    await store.write(*(observed(candidate=f"c{n}") for n in range(2_500)))
    assert await store.forget("r1") == 2_500
    assert Counting.sizes == [1_000, 1_000, 500] * 2


async def test_a_run_is_forgotten_with_all_that_it_left() -> None:
    store = LessonStore(InMemoryStore())
    await store.write(observed(), observed(candidate="c2"), observed(run="r2"), USE, PROVEN)
    assert await store.forget("r1") == 4
    assert [o.run for o in await store.read(Observation)] == ["r2"]
    assert await store.read(OperatorUse) == []
    assert await store.read(ProvenPrompt) == []
    assert await store.forget("r1") == 0
    assert await store.forget() == 1


async def test_records_are_read_page_by_page() -> None:
    class Paged(InMemoryStore):
        """A store that gives out ten records at once, and whose first new one pushes the others down."""

        async def asearch(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> list[SearchItem]:
            assert options["limit"] <= 1_000
            return await super().asearch(namespace_prefix, limit=10, offset=max(0, options["offset"] - 1))

    store = LessonStore(Paged())
    await store.write(*(observed(candidate=f"c{n}") for n in range(25)))
    assert len(await store.read(Observation)) == 25
    assert await store.forget() == 25


async def test_a_host_gives_a_place_in_its_store() -> None:
    host = InMemoryStore()
    alice, bob = (LessonStore(host, namespace=("team", name)) for name in ("alice", "bob"))
    await alice.write(observed(), USE)
    await bob.write(observed(run="r2"))
    assert await host.asearch(("team", "alice", "crito"))
    assert await bob.read(OperatorUse) == []
    assert await LessonStore(host).read(Observation) == []
    assert await bob.forget() == 1
    assert await alice.read(Observation) == [observed()]


async def test_whatever_fails_in_a_hosts_store_is_told_in_one_line_without_secrets() -> None:
    class Gone(InMemoryStore):
        async def asearch(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> list[SearchItem]:
            raise ConnectionRefusedError(f"no answer from {namespace_prefix}\n  with {options}, Bearer sesame")

    with pytest.raises(BadInput, match=r"^the store: cannot be used as a memory \(no answer.*--no-memory") as said:
        await LessonStore(Gone()).check()
    assert "\n" not in str(said.value)
    assert "sesame" not in str(said.value)


async def test_vectors_are_forgotten_with_the_last_run_of_their_lesson() -> None:
    store = LessonStore(host := InMemoryStore())
    alone, shared = observed(text="Say less."), observed(candidate="c2")
    await store.write(alone, shared, observed(run="r2"))
    await store.keep_vectors("m", {alone.lesson: "AA==", shared.lesson: "AQ=="})
    await store.keep_vectors("m2", {alone.lesson: "AA=="})
    assert await store.vectors("m") == {alone.lesson: "AA==", shared.lesson: "AQ=="}
    assert await store.forget("r1") == 2
    assert await store.vectors("m") == {shared.lesson: "AQ=="}
    assert await store.vectors("m2") == {}
    assert await store.forget() == 1
    assert await host.asearch(()) == []


async def test_a_vector_of_another_version_is_as_good_as_none() -> None:
    host = InMemoryStore()
    await host.aput(("crito", "vectors", "m"), "lesson", {"version": 0, "vector": "AA=="})
    assert await LessonStore(host).vectors("m") == {}


async def test_a_hosts_own_records_are_left_alone() -> None:
    host = InMemoryStore()
    await host.aput(("crito_notes",), "a", {"run": "r1"})
    await host.aput(("others",), "b", {"run": "r1"})
    store = LessonStore(host)
    await store.write(observed())
    assert len(await store.read(Observation)) == 1
    await store.forget()
    assert await host.aget(("others",), "b") is not None
    assert await host.aget(("crito_notes",), "a") is not None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"version": 1, **observed().model_dump(mode="json")}, "is of version 1, this is 2"),
        ({"version": 3, **observed().model_dump(mode="json")}, "is of version 3, this is 2"),
        (observed().model_dump(mode="json"), "is of version None"),
        ({"version": 2, **observed().model_dump(mode="json"), "n": 0}, r"is damaged \(n: "),
    ],
)
async def test_a_record_that_cannot_be_trusted_is_named_with_the_cure(value: dict[str, Any], fault: str) -> None:
    host = InMemoryStore()
    await host.aput(("crito", "observations"), "k", value)
    with pytest.raises(BadInput, match=f"the store: k {fault}.*--no-memory"):
        await LessonStore(host).read(Observation)


@pytest.mark.parametrize(
    "content", [b"not a database, though it is long enough to be one", b"SQLite format 3\0" + b"?" * 900]
)
async def test_a_file_that_is_no_memory_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lessons.db"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"lessons\.db: cannot be used as a memory .*--no-memory"):
        async with opened(path) as store:
            await store.read(Observation)
    assert path.read_bytes() == content


async def test_what_fails_beside_the_memory_is_not_blamed_on_it(tmp_path: Path) -> None:
    for error in (sqlite3.OperationalError("database or disk is full"), BrokenPipeError("stdout")):
        with pytest.raises(type(error)):
            async with opened(tmp_path / "lessons.db"):
                raise error


async def test_a_page_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lessons.db"
    async with opened(path) as store:
        await store.write(*(observed(run=f"r{n}") for n in range(200)))
    content = bytearray(path.read_bytes())
    content[-8192:] = b"?" * 8192
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"lessons\.db: cannot be used as a memory"):
        async with opened(path) as store:
            await store.read(Observation)


@pytest.mark.parametrize("said", ["UNIQUE constraint failed: store_migrations.v", "duplicate column name: expires_at"])
async def test_who_makes_a_new_file_at_the_same_time_as_another_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    setup, faults = AsyncSqliteStore.setup, [sqlite3.DatabaseError(said)]

    async def late(store: AsyncSqliteStore) -> None:
        if faults:
            raise faults.pop()
        await setup(store)

    monkeypatch.setattr(AsyncSqliteStore, "setup", late)
    async with opened(tmp_path / "lessons.db") as store:
        await store.write(observed())
        assert await store.read(Observation) == [observed()]


_WRITER = """
import asyncio, sys
from pathlib import Path
from crito.memory.lesson_store import opened
from tests.unit.test_lessons import observed

async def write(run):
    async with opened(Path(sys.argv[1])) as store:
        for number in range(40):
            await store.write(observed(run=run, candidate=f"c{number}"))

asyncio.run(write(sys.argv[2]))
"""


async def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lessons.db"
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, str(path), run) for run in ("r1", "r2")
    ]
    assert [await writer.wait() for writer in writers] == [0, 0]
    async with opened(path) as store:
        kept = await store.read(Observation)
    assert len(kept) == 80
