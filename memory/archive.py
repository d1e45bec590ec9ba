"""Short-term memory of one run: every candidate and every outcome, and who leads on which example.

The archive holds facts. Which candidates and examples count for a decision comes from the run's state, so that a node
that is run again after a crash decides as it did before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import sqlalchemy as sa

from crito.records import Candidate, Outcome
from crito.task import Example
from crito.tools.database import Database, candidates, outcomes


class Archive:
    """Candidates x examples of one run, kept in the run database.

    Args:
        database: Where the rows are; what the run wrote before is read back.
        run: Id of the run.
    """

    def __init__(self, database: Database, run: str) -> None:
        self._database = database
        self._run = run
        self._candidates: dict[str, Candidate] = {}
        self._outcomes: dict[tuple[str, str, int], Outcome] = {}
        for row in database.read(sa.select(candidates.c.body).where(candidates.c.run == run)):
            candidate = Candidate.model_validate_json(row.body)
            self._candidates[candidate.id] = candidate
        for row in database.read(sa.select(outcomes.c.body).where(outcomes.c.run == run)):
            self._remember(Outcome.model_validate_json(row.body))

    async def add(self, *new: Candidate) -> None:
        """Keep candidates; one that is there already keeps its first history."""
        rows = []
        for candidate in new:
            if candidate.id not in self._candidates:
                self._candidates[candidate.id] = candidate
                rows.append({"run": self._run, "id": candidate.id, "body": candidate.model_dump_json()})
        await self._database.write(candidates, *rows)

    async def record(self, results: Iterable[Outcome]) -> None:
        """Keep outcomes; a failed one is replaced by a later answer."""
        rows = []
        for outcome in results:
            self._remember(outcome)
            rows.append(
                {
                    "run": self._run,
                    "candidate": outcome.candidate,
                    "example": outcome.example,
                    "sample": outcome.sample,
                    "body": outcome.model_dump_json(),
                }
            )
        await self._database.write(outcomes, *rows)

    def candidate(self, candidate_id: str) -> Candidate:
        """The candidate of that id."""
        return self._candidates[candidate_id]

    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates: by round, the seed first; the same whichever worker was first, and after a resume."""
        return tuple(sorted(self._candidates.values(), key=lambda c: (c.round, bool(c.parents), c.id)))

    def outcome(self, candidate_id: str, example_id: str, sample: int = 0) -> Outcome | None:
        """What came of a candidate on an example, if it was tried."""
        return self._outcomes.get((candidate_id, example_id, sample))

    def scores(self, candidate_id: str, examples: Sequence[Example]) -> list[float | None]:
        """Score per example; None where there is none or the call failed."""
        found = (self.outcome(candidate_id, example.id) for example in examples)
        return [outcome.score.value if outcome and outcome.score else None for outcome in found]

    def mean(self, candidate_id: str, examples: Sequence[Example]) -> float:
        """Mean score over the examples that were answered; 0 where none was."""
        known = [score for score in self.scores(candidate_id, examples) if score is not None]
        return sum(known) / len(known) if known else 0.0

    def differences(self, candidate_id: str, other_id: str, examples: Sequence[Example]) -> list[float]:
        """Paired differences candidate - other on the examples that both answered."""
        pairs = zip(self.scores(candidate_id, examples), self.scores(other_id, examples), strict=True)
        return [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]

    def gain(self, candidate_id: str, other_id: str, examples: Sequence[Example]) -> float:
        """Mean paired difference candidate - other; 0 where no example was answered by both."""
        differences = self.differences(candidate_id, other_id, examples)
        return sum(differences) / len(differences) if differences else 0.0

    def front(self, pool: Sequence[str], examples: Sequence[Example]) -> dict[str, int]:
        """Instance-level Pareto front: how many examples each candidate leads on (GEPA's parent weights).

        A candidate whose every lead is shared with one that leads on more is left out.
        """
        leads: dict[str, set[str]] = {candidate: set() for candidate in pool}
        for example in examples:
            scored = {c: o.score.value for c in pool if (o := self.outcome(c, example.id)) and o.score}
            if scored and max(scored.values()) > 0:
                top = max(scored.values())
                for candidate, score in scored.items():
                    if score == top:
                        leads[candidate].add(example.id)
        kept: dict[str, int] = {}
        for candidate in sorted(pool, key=lambda c: (-len(leads[c]), pool.index(c))):
            if leads[candidate] and not any(leads[candidate] <= leads[other] for other in kept):
                kept[candidate] = len(leads[candidate])
        return kept

    def parent(self, pool: Sequence[str], examples: Sequence[Example], rng: np.random.Generator) -> str:
        """A parent drawn from the instance front, weighted by its leads; the last of the pool when nobody leads."""
        front = self.front(pool, examples)
        if not front:
            return pool[-1]
        weights = np.array(list(front.values()), dtype=float)
        return str(rng.choice(list(front), p=weights / weights.sum()))

    def _remember(self, outcome: Outcome) -> None:
        self._outcomes[outcome.candidate, outcome.example, outcome.sample] = outcome
