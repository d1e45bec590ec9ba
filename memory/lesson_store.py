"""Where lessons are kept between runs: a LangGraph store, embedded SQLite unless the host brings its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from langgraph.store.base import BaseStore, PutOp, SearchItem
from langgraph.store.sqlite.aio import AsyncSqliteStore
from pydantic import ValidationError

from crito.errors import BadInput
from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt, Trial
from crito.memory.record import Record
from crito.tools.redaction import redacted

VERSION = 2
"""Of the records; a store with another one is not read."""
_ROOT = "crito"
_FOLDERS: dict[type[Record], str] = {
    Observation: "observations",
    OperatorUse: "operators",
    ProvenPrompt: "prompts",
    Trial: "trials",
}
_VECTORS = "vectors"
_BATCH = 1_000
"""Records of one page, and of one transaction: SQLite takes no more than 32,766 values at once."""
_TRIES, _PAUSE = 40, 0.05
_RACED = ("store_migrations", "duplicate column")
"""In the errors of a set-up that another process was faster with."""
_CURE = "move it away, or go on without it: --no-memory, or from Python no store"
_Record = TypeVar("_Record", bound=Record)


class Added(NamedTuple):
    """How many records were new, were there already, and were left out as they differ from what has their place."""

    new: int
    known: int
    differing: int


class LessonStore:
    """Observations, operator statistics and proven prompts of all runs.

    Every record has a key of its own run, so that runs that write at once lose nothing, and a write that is done
    again changes nothing.

    Args:
        store: Any LangGraph store.
        name: What errors call it.
        namespace: Of the host's, under which Crito's records have their own namespace, ``crito``.
    """

    def __init__(self, store: BaseStore, name: str = "the store", *, namespace: tuple[str, ...] = ()) -> None:
        self.name = name
        self._store = store
        self._root = (*namespace, _ROOT)
        self._checked: dict[type, list[Any]] = {}

    async def read(self, kind: type[_Record]) -> list[_Record]:
        """All records of a kind; what was read for a check is handed over, once.

        Raises:
            BadInput: The store fails; or one was written by another version, or is damaged.
        """
        if kind in self._checked:
            return self._checked.pop(kind)
        found = []
        for item in await self._items(self._folder(kind)):
            value = dict(item.value)
            version = value.pop("version", None)
            if version != VERSION:
                raise BadInput(f"{self.name}: {item.key} is of version {version}, this is {VERSION}; {_CURE}")
            try:
                found.append(kind.model_validate(value))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise BadInput(f"{self.name}: {item.key} is damaged ({place}: {first['msg']}); {_CURE}") from error
        return found

    async def all(self, *, prompts: bool = True) -> list[Record]:
        """All records, by when they were seen; ``prompts``: proven ones and their trials too.

        Raises:
            BadInput: The store fails; or a record was written by another version, or is damaged.
        """
        kinds = [kind for kind in _FOLDERS if prompts or kind not in (ProvenPrompt, Trial)]
        found: list[Record] = [record for kind in kinds for record in await self.read(kind)]
        return sorted(found, key=lambda record: (record.seen, record.key))

    async def runs(self) -> list[str]:
        """The runs that left something, by when they were last seen.

        Raises:
            BadInput: The store fails; or a record was written by another version, or is damaged.
        """
        return list(dict.fromkeys(record.run for record in reversed(await self.all())))[::-1]

    async def check(self) -> None:
        """Read everything, before anything depends on it; it is kept for whoever reads it next.

        Raises:
            BadInput: The store fails; or a record was written by another version, or is damaged.
        """
        self._checked = {kind: await self.read(kind) for kind in _FOLDERS}

    async def add(self, *records: Record) -> Added:
        """Add records of another memory: what is here stays as it is, whatever they say of it.

        Raises:
            BadInput: The store fails; or a record was written by another version, or is damaged.
        """
        here = {(type(record), record.key): record for record in await self.all()}
        new: dict[tuple[type, str], Record] = {}
        known = differing = 0
        for record in records:
            place = (type(record), record.key)
            there = here.get(place) or new.setdefault(place, record)
            known += there == record and there is not record
            differing += there != record
        await self.write(*new.values())
        return Added(new=len(new), known=known, differing=differing)

    async def write(self, *records: Record) -> None:
        """Add records, up to a thousand in one transaction; one with the key of another takes its place."""
        self._checked.clear()
        await self._put(
            [
                PutOp(
                    self._folder(type(record)),
                    record.key,
                    {"version": VERSION, **record.model_dump(mode="json")},
                    index=False,
                )
                for record in records
            ]
        )

    async def vectors(self, model: str) -> dict[str, str]:
        """The vectors that a model gave, by the lesson's id; what another version wrote is as good as none."""
        items = await self._items((*self._root, _VECTORS, model))
        return {item.key: item.value["vector"] for item in items if item.value.get("version") == VERSION}

    async def keep_vectors(self, model: str, vectors: Mapping[str, str]) -> None:
        """Keep the vectors that a model gave, by the lesson's id."""
        folder = (*self._root, _VECTORS, model)
        values = {lesson: {"version": VERSION, "vector": vector} for lesson, vector in vectors.items()}
        await self._put([PutOp(folder, lesson, value, index=False) for lesson, value in values.items()])

    async def forget(self, run: str | None = None) -> int:
        """Remove every record of a run, or all there are; returns how many there were.

        The vectors of lessons that no run is left of go with them.
        """
        items = [item for kind in _FOLDERS for item in await self._items(self._folder(kind))]
        vectors = await self._items((*self._root, _VECTORS), below=True)
        self._checked.clear()
        gone = [item for item in items if run is None or run in (item.value.get("run"), item.value.get("origin"))]
        left = {item.key.rpartition(".")[2] for item in items if run not in (None, item.value.get("run"))}
        orphans = [vector for vector in vectors if vector.key not in left]
        await self._put([PutOp(item.namespace, item.key, None) for item in (*gone, *orphans)])
        return len(gone)

    def _folder(self, kind: type) -> tuple[str, ...]:
        return (*self._root, _FOLDERS[kind])

    async def _items(self, folder: tuple[str, ...], *, below: bool = False) -> list[SearchItem]:
        """All items of a folder, or below it, page by page; one that is pushed to the next page is taken once."""
        at, found = 0, dict[tuple[tuple[str, ...], str], SearchItem]()
        with _usable(self.name):
            while page := await self._store.asearch(folder, limit=_BATCH, offset=at):
                found |= {(item.namespace, item.key): item for item in page if below or item.namespace == folder}
                at += len(page)
        return list(found.values())

    async def _put(self, changes: Sequence[PutOp]) -> None:
        with _usable(self.name):
            for start in range(0, len(changes), _BATCH):
                await self._store.abatch(changes[start : start + _BATCH])


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[LessonStore]:
    """The lessons in a file, which is made if it is missing.

    Raises:
        BadInput: The file is no SQLite database, is damaged, or cannot be written.
    """
    async with AsyncExitStack() as stack:
        with _usable(str(path)):
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
def _usable(name: str) -> Iterator[None]:
    """Says of any error which memory has it: a host's store may fail in any way."""
    try:
        yield
    except Exception as error:
        raise BadInput(f"{name}: cannot be used as a memory ({redacted(str(error))}); {_CURE}") from error
