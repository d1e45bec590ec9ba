"""The run database: one SQLite file (WAL) with runs, calls, spans, candidates, outcomes and attempts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from crito.errors import BadInput

APPLICATION_ID = 0x43526974
"""Written into the file's header, so that a foreign SQLite file is told from ours."""
SCHEMA_VERSION = 3
"""Of the tables and of the checkpoints in them: one more also where a paused run could no longer be resumed."""
_BATCH = 256
_WINDOW = 0.002
"""Seconds that a row may wait for company before it is written (design limit: 0.05)."""

metadata = sa.MetaData()
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("preset", sa.String, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
)
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("span", sa.String),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("reply", sa.Text),
    sa.Column("finish", sa.String),
    sa.Column("first_token", sa.Text),
    sa.Column("error", sa.String),
    sa.Column("tokens_in", sa.Integer, nullable=False, default=0),
    sa.Column("tokens_out", sa.Integer, nullable=False, default=0),
    sa.Column("cached", sa.Integer, nullable=False, default=0),
    sa.Column("usd", sa.Float),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=1),
    sa.Index("one_reply_per_key", "key", unique=True, sqlite_where=sa.text("status = 'ok'")),
)
spans = sa.Table(
    "spans",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("parent", sa.String),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("ended", sa.Float, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
)
candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("candidate", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("sample", sa.Integer, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("candidate", sa.String, primary_key=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)


class Database:
    """Owns the file, its one writer and its connections.

    Rows are written in batches by a worker thread; whoever needs a row to be durable awaits :meth:`write`.
    ``kill -9`` therefore loses only rows that nobody was told about.

    Args:
        path: The file; it and its folder are made if missing.

    Raises:
        BadInput: The file is not a database, belongs to another program, is damaged or from another version.
            It is left as it was. Or it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            fresh = _is_fresh(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            raise BadInput(f"{path}: cannot be used ({reason}); choose another file with --db FILE") from error
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 60, "check_same_thread": False})
        sa.event.listen(self._engine, "connect", _set_pragmas)
        if fresh:
            self._create()
        with self._guard():
            self._reader = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._queue: list[tuple[sa.Table, dict[str, Any], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    def read(
        self, query: sa.Select[*tuple[Any, ...]], values: Mapping[str, Any] | None = None
    ) -> Sequence[sa.Row[Any]]:
        """All rows of a query, as of now; ``values`` fill its bound parameters."""
        with self._guard():
            return self._reader.execute(query, values).fetchall()

    async def write(self, table: sa.Table, *rows: Mapping[str, Any]) -> None:
        """Insert or replace rows; returns when they are durable against the death of this process."""
        await asyncio.gather(*(self.write_soon(table, row) for row in rows))

    def write_soon(self, table: sa.Table, row: Mapping[str, Any]) -> asyncio.Future[None]:
        """Queue one row for the next batch; the future is done when the row is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((table, dict(row), done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        return done

    def save(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert or replace rows at once, in one transaction."""
        if rows:
            self._store([(table, [dict(row) for row in rows])])

    def update_run(self, run: str, **values: Any) -> None:
        """Set columns of one run."""
        with self._guard(), self._engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(**values))

    def add_run(self, run: str, *, name: str, preset: str, task: str) -> None:
        """Insert a new run with status ``running``."""
        row = {"id": run, "name": name, "created": time.time(), "status": "running", "preset": preset, "task": task}
        self.save(runs, [row])

    async def close(self) -> None:
        """Write what is queued and close all connections."""
        if self._writer is not None:
            await self._writer
        self.dispose()

    def dispose(self) -> None:
        """Close all connections, for callers that only read."""
        self._reader.close()
        self._engine.dispose()

    def _create(self) -> None:
        with self._guard(), self._engine.begin() as connection:
            # One transaction: another process that opens the new file sees nothing of it or all.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    async def _drain(self) -> None:
        while self._queue:
            await asyncio.sleep(_WINDOW)
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            grouped: dict[sa.Table, list[dict[str, Any]]] = defaultdict(list)
            for table, row, _ in batch:
                grouped[table].append(row)
            error: Exception | None = None
            try:
                await asyncio.to_thread(self._store, list(grouped.items()))
            except Exception as failure:  # noqa: BLE001 - whatever it is, those who wait for the row must hear of it
                error = failure
            for _, _, done in batch:
                if done.cancelled():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _store(self, groups: Sequence[tuple[sa.Table, list[dict[str, Any]]]]) -> None:
        with self._guard(), self._engine.begin() as connection:
            for table, rows in groups:
                connection.execute(_upsert(table), rows)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
            reason = getattr(error, "orig", error)
            raise BadInput(f"{self.path}: cannot be used ({reason}); free the disk or the file, then resume") from error
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            raise BadInput(_damage(self.path, str(getattr(error, "orig", error)))) from error


@cache
def _upsert(table: sa.Table) -> sa.Insert:
    statement = insert(table)
    if table is calls:
        # Two runs may pay for one key at the same moment: the first reply stays, the second bill is kept as 'double'.
        return statement.from_select(
            [c.name for c in calls.c if c.name != "id"],
            sa.select(*(_call_value(c) for c in calls.c if c.name != "id")),
        )
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        or {"id": statement.excluded.id},
    )


def _call_value(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    value: sa.ColumnElement[Any] = sa.bindparam(column.name, type_=column.type)
    if column.name != "status":
        return value
    taken = sa.exists().where(calls.c.key == sa.bindparam("key"), calls.c.status == "ok")
    return sa.case((sa.and_(value == "ok", taken), "double"), else_=value)


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_fresh(path: Path) -> bool:
    """Whether the file is still to be filled; one that is not ours to use is refused."""
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a database file")
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise BadInput(f"{path}: is not a Crito database (left untouched); move it away or use --db FILE")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise BadInput(_damage(path, str(error))) from error
    if application == version == tables == 0:
        return True  # another process is just making it
    if application != APPLICATION_ID:
        raise BadInput(f"{path}: belongs to another program (left untouched); use --db FILE for Crito's database")
    if version != SCHEMA_VERSION:
        raise BadInput(f"{path}: has schema version {version}, this Crito reads {SCHEMA_VERSION}; use --db FILE")
    if health != "ok":
        raise BadInput(_damage(path, health))
    return False


def _damage(path: Path, detail: str) -> str:
    return f"{path}: the database is damaged ({detail.splitlines()[0]}); it was left untouched: restore or move it away"
