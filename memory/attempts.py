"""Short-term memory of what was tried: hypothesis, patch and what came of it, rejections included."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.tools.database import Database
from crito.tools.database import attempts as attempts_table

Fate = Literal["screened", "no_repair", "eliminated", "not_better", "accepted"]


class Attempt(BaseModel):
    """One proposal and its fate.

    Attributes:
        fate: ``screened`` by a guard, ``no_repair`` (it mended no more cited failures than it broke successes),
            ``eliminated`` in the race, ``not_better`` after the full race, ``accepted``.
        reason: Why, in words.
        gain: Mean paired difference against the incumbent on the ``n`` examples that both answered.
    """

    model_config = ConfigDict(frozen=True)
    candidate: str
    parent: str | None
    round: int
    operator: str
    author: str
    hypothesis: str
    fate: Fate
    reason: str = ""
    gain: float | None = None
    n: int = 0


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

    def before(self, round_number: int, *, parent: str) -> tuple[Attempt, ...]:
        """What was tried on a parent in earlier rounds, so that it is not proposed again."""
        return tuple(a for a in self.all() if a.round < round_number and a.parent == parent and a.hypothesis)
