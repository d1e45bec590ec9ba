"""Where lessons are kept between runs: a LangGraph store, embedded SQLite unless the host brings its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.sqlite.aio import AsyncSqliteStore
from pydantic import ValidationError

from crito.errors import BadInput
from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt

VERSION = 1
"""Of the records; a store with another one is not read."""
_ROOT = "crito"
_FOLDERS: dict[type, str] = {Observation: "observations", OperatorUse: "operators", ProvenPrompt: "prompts"}
_VECTORS = "vectors"
_MOST = 1_000_000
_BATCH = 1_000
"""Records of one transaction: SQLite takes no more than 32,766 values at once."""
_TRIES, _PAUSE = 40, 0.05
_RACED = ("store_migrations", "duplicate column")
"""In the errors of a set-up that another process was faster with."""
_CURE = "move it away, or go on without it: --no-memory"
_Record = TypeVar("_Record", Observation, OperatorUse, ProvenPrompt)


class LessonStore:
    """Observations, operator statistics and proven prompts of all runs.

    Every record has a key of its own run, so that runs that write at once lose nothing, and a write that is done
    again changes nothing.

    Args:
        store: Any LangGraph store; Crito's records are under the namespace ``crito``.
        name: What errors call it.
    """

    def __init__(self, store: BaseStore, name: str = "the store") -> None:
        self._store = store
        self._name = name

    async def read(self, kind: type[_Record]) -> list[_Record]:
        """All records of a kind.

        Raises:
            BadInput: One was written by another version, or is damaged.
        """
        found = []
        with _usable(self._name):
            items = await self._store.asearch((_ROOT, _FOLDERS[kind]), limit=_MOST)
        for item in items:
            value = dict(item.value)
            version = value.pop("version", None)
            if version != VERSION:
                raise BadInput(f"{self._name}: {item.key} is of version {version}, this is {VERSION}; {_CURE}")
            try:
                found.append(kind.model_validate(value))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise BadInput(f"{self._name}: {item.key} is damaged ({place}: {first['msg']}); {_CURE}") from error
        return found

    async def check(self) -> None:
        """Read everything once.

        Raises:
            BadInput: A record was written by another version, or is damaged.
        """
        await self.read(Observation)
        await self.read(OperatorUse)
        await self.read(ProvenPrompt)

    async def write(self, *records: Observation | OperatorUse | ProvenPrompt) -> None:
        """Add records, up to a thousand in one transaction; one with the key of another takes its place."""
        await self._put(
            [
                PutOp(
                    (_ROOT, _FOLDERS[type(record)]),
                    record.key,
                    {"version": VERSION, **record.model_dump(mode="json")},
                    index=False,
                )
                for record in records
            ]
        )

    async def vectors(self, model: str) -> dict[str, str]:
        """The vectors that a model gave, by the lesson's id; what another version wrote is as good as none."""
        with _usable(self._name):
            items = await self._store.asearch((_ROOT, _VECTORS, model), limit=_MOST)
        return {item.key: item.value["vector"] for item in items if item.value.get("version") == VERSION}

    async def keep_vectors(self, model: str, vectors: Mapping[str, str]) -> None:
        """Keep the vectors that a model gave, by the lesson's id."""
        folder = (_ROOT, _VECTORS, model)
        values = {lesson: {"version": VERSION, "vector": vector} for lesson, vector in vectors.items()}
        await self._put([PutOp(folder, lesson, value, index=False) for lesson, value in values.items()])

    async def forget(self, run: str | None = None) -> int:
        """Remove every record of a run, or all there are; returns how many there were.

        The vectors of lessons that no run is left of go with them.
        """
        with _usable(self._name):
            items = [i for f in _FOLDERS.values() for i in await self._store.asearch((_ROOT, f), limit=_MOST)]
            vectors = await self._store.asearch((_ROOT, _VECTORS), limit=_MOST)
        gone = [item for item in items if run is None or item.value.get("run") == run]
        left = {item.key.rpartition(".")[2] for item in items if run not in (None, item.value.get("run"))}
        orphans = [vector for vector in vectors if vector.key not in left]
        await self._put([PutOp(item.namespace, item.key, None) for item in (*gone, *orphans)])
        return len(gone)

    async def _put(self, changes: Sequence[PutOp]) -> None:
        with _usable(self._name):
            for start in range(0, len(changes), _BATCH):
                await self._store.abatch(changes[start : start + _BATCH])


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[LessonStore]:
    """The lessons in a file, which is made if it is missing.

    Raises:
        BadInput: The file is no SQLite database, is damaged, or cannot be written.
    """
    async with AsyncExitStack() as stack:
        with _usable(str(path), (sqlite3.DatabaseError, OSError)):
            path.parent.mkdir(parents=True, exist_ok=True)
            store = await stack.enter_async_context(AsyncSqliteStore.from_conn_string(str(path)))
            await _set_up(store)
            await store.conn.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        yield LessonStore(store, str(path))


async def _set_up(store: AsyncSqliteStore) -> None:
    """Make the tables; of several processes that make those of a new file at once, all but one fail and try again."""
    for left in reversed(range(_TRIES)):
        try:
            await store.setup()
        except sqlite3.DatabaseError as error:
            if not left or not any(mark in str(error) for mark in _RACED):
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return


@contextmanager
def _usable(name: str, kinds: tuple[type[Exception], ...] = (sqlite3.DatabaseError,)) -> Iterator[None]:
    """Says of an error of the database, or of one of these kinds, which memory has it."""
    try:
        yield
    except kinds as error:
        raise BadInput(f"{name}: cannot be used as a memory ({error}); {_CURE}") from error
