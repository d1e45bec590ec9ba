"""The runs of a database: one summary each, and the one that a user means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.errors import BadInput
from crito.place import db_option
from crito.result import Result
from crito.tools.database import Database, calls, runs
from crito.tools.run_lock import is_alive

_SHOWN = 5


class RunSummary(BaseModel):
    """One run in a few words.

    Attributes:
        status: ``running``, ``paused``, ``done``, or ``stopped`` where the process was killed.
        created: Seconds since the epoch.
        usd: US dollars paid so far, or None where a price is not known.
        splits: Hash over the examples of each split.
        result: What came of it, once it is done.
    """

    model_config = ConfigDict(frozen=True)
    run: str
    name: str
    model: str
    metric: str
    status: str
    created: float
    calls: int
    tokens: int
    usd: float | None
    splits: str
    result: Result | None

    def as_json(self) -> dict[str, Any]:
        """One entry of what ``crito runs --json`` prints; the verdict's keys are null until there is one."""
        verdict = self.result.verdict if self.result else None
        return {
            **self.model_dump(exclude={"result", "created"}),
            "created": datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds"),
            "verdict": verdict.decision if verdict else None,
            "seed_score": verdict.seed_score if verdict else None,
            "best_score": verdict.best_score if verdict else None,
        }


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """The run database at ``path``, which must be there, closed at the end.

    Raises:
        BadInput: There is none, or the file is not one.
    """
    if not path.exists() or path.stat().st_size == 0:
        raise BadInput(f"{path}: there is no run database here; begin with crito optimize, or name one with --db FILE")
    database = Database(path)
    try:
        yield database
    finally:
        database.dispose()


def summaries(database: Database) -> tuple[RunSummary, ...]:
    """All runs, the newest first."""
    return tuple(_summary(database, row) for row in database.read(_SUMMARIES))


def find(database: Database, name: str) -> RunSummary:
    """The run that a user means by its id, by a prefix of its id that no other run has, or by ``latest``.

    Raises:
        BadInput: No run is meant, or several are.
    """
    query = _SUMMARIES if name == "latest" else _SUMMARIES.where(runs.c.id.startswith(name, autoescape=True))
    rows = database.read(query)
    exact = [row for row in rows if row.id == name]
    if not rows or not name:
        raise _unknown(database, name)
    if len(rows) > 1 and not exact and name != "latest":
        raise BadInput(f"run {name!r} may mean {_listed([row.id for row in rows])}; give more of its id")
    return _summary(database, (exact or rows)[0])


def row_of(database: Database, run: str) -> sa.Row[Any]:
    """All that is written down of the run of exactly this id.

    Raises:
        BadInput: There is none.
    """
    rows = database.read(sa.select(runs).where(runs.c.id == run))
    if not rows:
        raise _unknown(database, run)
    return rows[0]


def _unknown(database: Database, run: str) -> BadInput:
    return BadInput(f"{database.path}: there is no run {run!r}; see: crito runs{db_option(database.path)}")


_PAID = (
    sa.select(
        calls.c.run,
        sa.func.count().label("calls"),
        sa.func.sum(calls.c.tokens_in + calls.c.tokens_out).label("tokens"),
        sa.case((sa.func.count() == sa.func.count(calls.c.usd), sa.func.sum(calls.c.usd))).label("usd"),
    )
    .group_by(calls.c.run)
    .subquery()
)
_SUMMARIES = (
    sa.select(
        *(runs.c.id, runs.c.name, runs.c.status, runs.c.created, runs.c.result),
        sa.func.json_extract(runs.c.task, "$.model").label("model"),
        sa.func.json_extract(runs.c.task, "$.metric").label("metric"),
        sa.func.json_extract(runs.c.task, "$.digest").label("splits"),
        *(_PAID.c.calls, _PAID.c.tokens, _PAID.c.usd),
    )
    .outerjoin(_PAID, _PAID.c.run == runs.c.id)
    .order_by(runs.c.created.desc())
)


def status_of(database: Database, run: str, status: str) -> str:
    """A run's status, with what it was last written down as: a killed process could not write that it stopped."""
    return "stopped" if status == "running" and not is_alive(database.path, run) else status


def _summary(database: Database, row: sa.Row[Any]) -> RunSummary:
    return RunSummary(
        run=row.id,
        name=row.name,
        model=row.model,
        metric=row.metric,
        status=status_of(database, row.id, row.status),
        created=row.created,
        calls=row.calls or 0,
        tokens=row.tokens or 0,
        usd=row.usd if row.calls else 0.0,
        splits=row.splits or "",
        result=Result.model_validate_json(row.result) if row.result else None,
    )


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - _SHOWN
    return ", ".join(ids[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
