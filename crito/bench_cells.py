"""Cells of a bench, one run each, and what is kept of a finished one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.calls import Cost, cost_of, read_calls
from crito.graph.run import stored
from crito.memory.archive import Archive
from crito.records import Outcome
from crito.result import Result
from crito.task import Task
from crito.tools.database import Database, calls


class Cell(NamedTuple):
    """One run of a bench."""

    preset: str
    task: str
    seed: int

    def __str__(self) -> str:
        return f"{self.preset} {self.task} seed {self.seed}"


class CellResult(BaseModel):
    """What came of one cell; "best" is the candidate that validation chose, whatever the verdict says of it.

    Attributes:
        run: Id of the run, in the cell's own database.
        decision: The verdict's.
        val_score: The best candidate's mean score on validation.
        test_score: Its mean score on the test split; ``seed_score`` is the seed's.
        scores: Its score by test example; examples whose calls failed are left out.
        prompt_tokens: Mean input tokens of one use of it.
        costs: What the search took, by role (``target``, ``critic``, ``rewriter`` …); the verdict is not in it.
        seconds: Of the whole run.
        stopped: Why the search ended.
    """

    model_config = ConfigDict(frozen=True)
    preset: str
    task: str
    seed: int
    run: str
    decision: str
    seed_score: float
    val_score: float
    test_score: float
    scores: dict[str, float]
    prompt_tokens: float
    costs: dict[str, Cost]
    seconds: float
    stopped: str

    @property
    def cell(self) -> Cell:
        """Whose result it is."""
        return Cell(self.preset, self.task, self.seed)

    @property
    def tokens(self) -> int:
        """Tokens of the search, in and out."""
        return sum(cost.tokens_in + cost.tokens_out for cost in self.costs.values())

    @property
    def usd(self) -> float | None:
        """US dollars of the search; None where a price is not known."""
        known = [cost.usd for cost in self.costs.values() if cost.usd is not None]
        return sum(known) if len(known) == len(self.costs) else None


def measured(cell: Cell, result: Result, path: Path) -> CellResult:
    """What is kept of a finished run, read from its database at ``path``."""
    verdict = result.verdict
    database = Database(path)
    try:
        task = stored(database, result.run).task
        archive = Archive(database, result.run, task.scoring)
        best = _answered(archive, verdict.best, task)
        costs = _search(database, result.run, [*best, *_answered(archive, verdict.seed, task)])
    finally:
        database.dispose()
    tests = task.splits.test
    divisors = archive.marginal(verdict.best, task.splits.val)  # as in the verdict
    values = archive.values(verdict.best, tests, divisors=divisors)
    scores = {example.id: value for example, value in zip(tests, values, strict=True) if value is not None}
    return CellResult(
        **cell._asdict(),
        run=result.run,
        decision=verdict.decision,
        seed_score=verdict.seed_score,
        val_score=result.chain[-1].val_score,
        test_score=_mean(scores.values()),
        scores=scores,
        prompt_tokens=_mean(outcome.usage.tokens_in for outcome in best),
        costs=costs,
        seconds=result.bill.seconds,
        stopped=result.stopped,
    )


def _answered(archive: Archive, candidate: str, task: Task) -> list[Outcome]:
    found = (archive.outcome(candidate, example.id) for example in task.splits.test)
    return [outcome for outcome in found if outcome is not None and outcome.score is not None]


def _search(database: Database, run: str, verdict: Iterable[Outcome]) -> dict[str, Cost]:
    """Costs by role before the first call for a test example, which ends the search."""
    keys = {key for outcome in verdict for key in outcome.call_keys}
    opened = database.read(sa.select(sa.func.min(calls.c.started).label("at")).where(calls.c.key.in_(keys)))[0].at
    paid = [call for call in read_calls(database, run) if call.started < (math.inf if opened is None else opened)]
    return {role: cost_of([call for call in paid if call.role == role]) for role in sorted({c.role for c in paid})}


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else 0.0
