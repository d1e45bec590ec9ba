"""Short-term memory of what was tried: hypothesis, patch and what came of it, rejections included."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.records import FailureLabel
from crito.tools.database import Database
from crito.tools.database import attempts as attempts_table

Fate = Literal["screened", "no_repair", "untried", "eliminated", "not_better", "accepted"]
_LABELS = get_args(FailureLabel)
_TOLD = 200
"""Characters of a hypothesis, and of a reason, that agents are told."""


class Attempt(BaseModel):
    """One proposal and its fate.

    Attributes:
        sections: Parts of the prompt that its patch edited, such as ``rules`` or ``demos``.
        fate: ``screened`` by a guard, ``no_repair`` (it mended no more cited failures than it broke successes),
            ``untried`` (the calls did not reach for it, so that it may come again), ``eliminated`` in the race,
            ``not_better`` after the full race, ``accepted``.
        reason: Why, in words.
        gain: Mean paired difference against the incumbent on the ``n`` examples that both answered.
        incumbent: Whether it became the incumbent; of several that are accepted in a round one does.
    """

    model_config = ConfigDict(frozen=True)
    candidate: str
    parent: str | None
    round: int
    operator: str
    author: str
    hypothesis: str
    sections: tuple[str, ...] = ()
    fate: Fate
    reason: str = ""
    gain: float | None = None
    n: int = 0
    incumbent: bool = False

    @property
    def label(self) -> str:
        """Label of the failures that its hypothesis is about; empty where it is about none."""
        label, colon, _ = self.hypothesis.partition(": ")
        return label if colon and label in _LABELS else ""

    @property
    def told(self) -> str:
        """The attempt in one line, as agents are told it: what was tried, its fate, its measured effect, and why."""
        measured = "" if self.gain is None else f", {self.gain:+.2f} on {self.n}"
        why = f", {self.reason[:_TOLD]}" if self.reason else ""
        return f"{self.hypothesis[:_TOLD]}: {self.fate.replace('_', ' ')}{measured}{why}"


class Attempts:
    """All attempts of one run, kept in the run database."""

    def __init__(self, database: Database, run: str) -> None:
        self._database = database
        self._run = run
        query = sa.select(attempts_table.c.body).where(attempts_table.c.run == run)
        found = (Attempt.model_validate_json(row.body) for row in database.read(query))
        self._attempts = {attempt.candidate: attempt for attempt in found}

    async def record(self, *new: Attempt) -> None:
        """Keep attempts; the last word on a candidate counts."""
        rows = []
        for attempt in new:
            self._attempts[attempt.candidate] = attempt
            row = {"run": self._run, "candidate": attempt.candidate, "round": attempt.round}
            rows.append({**row, "body": attempt.model_dump_json()})
        await self._database.write(attempts_table, *rows)

    def all(self) -> tuple[Attempt, ...]:
        """Every attempt, by round and candidate, so that agents are shown the same after a resume."""
        return tuple(sorted(self._attempts.values(), key=lambda attempt: (attempt.round, attempt.candidate)))

    def relevant(self, before: int, *, line: Collection[str], labels: Collection[str]) -> tuple[Attempt, ...]:
        """What was tried on a line of candidates or against the same failures, the most telling first.

        What was never raced is left out: it says nothing, and may be proposed again.

        Measured effects tell most, gains and losses alike, the largest first; of equals the latest.

        Args:
            before: Round whose earlier ones count.
            line: Ids of the parent and of its ancestors.
            labels: Labels of the failures that are looked at.
        """
        told = (a for a in self.all() if a.round < before and a.hypothesis and a.fate != "untried")
        found = (a for a in told if a.parent in line or a.label in labels)
        return tuple(sorted(found, key=lambda a: (a.gain is None, -abs(a.gain or 0.0), -a.round, a.candidate)))

    def incumbents(self, before: int) -> tuple[Attempt, ...]:
        """Those that became the incumbent in the rounds before one, in their order; the seed was there first."""
        return tuple(attempt for attempt in self.all() if attempt.incumbent and attempt.round < before)
