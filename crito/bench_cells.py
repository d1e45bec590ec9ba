"""Cells of a bench, one run each, and what is kept of a finished one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.memory.archive import Archive
from crito.records import Outcome
from crito.result import Result
from crito.task import Task
from crito.tools.database import Database, calls
from crito.trace import Cost, cost_of, read_calls


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
        target: What the search asked of the target; the verdict is not in it.
        agents: What the search asked of all agents together.
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
    target: Cost
    agents: Cost
    seconds: float
    stopped: str

    @property
    def cell(self) -> Cell:
        """Whose result it is."""
        return Cell(self.preset, self.task, self.seed)

    @property
    def tokens(self) -> int:
        """Tokens of the search, in and out."""
        return sum(cost.tokens_in + cost.tokens_out for cost in (self.target, self.agents))


def measured(cell: Cell, result: Result, task: Task, path: Path) -> CellResult:
    """What is kept of a finished run, read from its database at ``path``."""
    verdict = result.verdict
    database = Database(path)
    try:
        archive = Archive(database, result.run)
        best = _answered(archive, verdict.best, task)
        target, agents = _search(database, result.run, [*best, *_answered(archive, verdict.seed, task)])
    finally:
        database.dispose()
    scores = {outcome.example: outcome.score.value for outcome in best if outcome.score is not None}
    return CellResult(
        **cell._asdict(),
        run=result.run,
        decision=verdict.decision,
        seed_score=verdict.seed_score,
        val_score=result.chain[-1].val_score,
        test_score=_mean(scores.values()),
        scores=scores,
        prompt_tokens=_mean(outcome.usage.tokens_in for outcome in best),
        target=target,
        agents=agents,
        seconds=result.bill.seconds,
        stopped=result.stopped,
    )


def _answered(archive: Archive, candidate: str, task: Task) -> list[Outcome]:
    found = (archive.outcome(candidate, example.id) for example in task.splits.test)
    return [outcome for outcome in found if outcome is not None and outcome.score is not None]


def _search(database: Database, run: str, verdict: Iterable[Outcome]) -> tuple[Cost, Cost]:
    """Costs of the target and of the agents before the first call for a test example, which ends the search."""
    keys = {key for outcome in verdict for key in outcome.call_keys}
    opened = database.read(sa.select(sa.func.min(calls.c.started).label("at")).where(calls.c.key.in_(keys)))[0].at
    paid = [call for call in read_calls(database, run) if call.started < (math.inf if opened is None else opened)]
    by_target = [call for call in paid if call.role == "target"]
    return cost_of(by_target), cost_of([call for call in paid if call.role != "target"])


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else 0.0
