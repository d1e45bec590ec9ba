"""Short-term memory of one run: every candidate and every outcome, and who leads on which example.

The archive holds facts. Which candidates and examples count for a decision comes from the run's state, so that a node
that is run again after a crash decides as it did before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from crito.records import Candidate, Outcome
from crito.task import Example, Scoring
from crito.tools.database import Database, candidates, outcomes
from crito.tools.likelihood import calibrated_outcome, calibration, right_label
from crito.tools.stats import noise


class Archive:
    """Candidates x examples of one run, kept in the run database.

    Args:
        database: Where the rows are; what the run wrote before is read back.
        run: Id of the run.
        scoring: How the task's answers are scored (:class:`crito.task.Task`).
    """

    def __init__(self, database: Database, run: str, scoring: Scoring = "sampled") -> None:
        self._database = database
        self._run = run
        self._scoring = scoring
        self._candidates: dict[str, Candidate] = {}
        self._outcomes: dict[tuple[str, str], dict[int, Outcome]] = {}
        for row in database.read(sa.select(candidates.c.body).where(candidates.c.run == run)):
            candidate = Candidate.model_validate_json(row.body)
            self._candidates[candidate.id] = candidate
        for row in database.read(sa.select(outcomes.c.body).where(outcomes.c.run == run)):
            self._remember(Outcome.model_validate_json(row.body))

    async def add(self, *new: Candidate, anew: Collection[str] = ()) -> None:
        """Keep candidates; one that is there from an earlier round keeps its history, unless it is made ``anew``.

        Of two histories from one round the first in the alphabet stays, whichever worker was faster, so that a resumed
        run has the same.
        """
        rows = []
        for candidate in new:
            known = self._candidates.get(candidate.id)
            same_round = known is not None and known.parents and known.round == candidate.round
            again = known is not None and candidate.id in anew and known.round < candidate.round
            if known is None or again or (same_round and candidate.model_dump_json() < known.model_dump_json()):
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
        return self._outcomes.get((candidate_id, example_id), {}).get(sample)

    def scores(self, candidate_id: str, examples: Sequence[Example]) -> list[float | None]:
        """What candidates are compared by, per example; None where there is none or the call failed.

        The score; where labels are scored by likelihood, the mean of the score and of the right label's probability,
        which tells candidates apart on fewer examples (PMPO's graded signal; the even weights are ours).
        """
        values = self.values(candidate_id, examples)
        if self._scoring == "sampled":
            return values
        shares = [outcome.probabilities if outcome else None for outcome in self._scored(candidate_id, examples)]
        return [
            value if value is None or not share else (value + share[right_label(share, example)]) / 2
            for value, share, example in zip(values, shares, examples, strict=True)
        ]

    def values(
        self, candidate_id: str, examples: Sequence[Example], *, divisors: Mapping[str, float] | None = None
    ) -> list[float | None]:
        """Score per example, the mean of its repeats; None where there is none or the call failed.

        With calibrated scoring, whether the label is right after calibration by marginalization.

        Args:
            candidate_id: Whose answers.
            examples: On what.
            divisors: What the labels' probabilities are divided by, empty for nothing; by default their means over
                ``examples``.
        """
        if self._scoring == "calibrated":
            outcomes = self._scored(candidate_id, examples, divisors)
            return [outcome.score.value if outcome and outcome.score else None for outcome in outcomes]
        return [sum(row) / len(row) if row else None for row in self.repeats(candidate_id, examples)]

    def marginal(self, candidate_id: str, examples: Sequence[Example]) -> dict[str, float]:
        """Mean probability of each label over the examples that were answered; empty without probabilities."""
        outcomes = (self.outcome(candidate_id, example.id) for example in examples)
        known = [o.probabilities for o in outcomes if o is not None and o.probabilities]
        return calibration(known) if known else {}

    def _scored(
        self, candidate_id: str, examples: Sequence[Example], divisors: Mapping[str, float] | None = None
    ) -> list[Outcome | None]:
        """The outcome per example, calibrated if the task wants it."""
        outcomes = [self.outcome(candidate_id, example.id) for example in examples]
        if self._scoring != "calibrated":
            return outcomes
        by = self.marginal(candidate_id, examples) if divisors is None else divisors
        return [o and calibrated_outcome(o, e, by) for o, e in zip(outcomes, examples, strict=True)]

    def repeats(self, candidate_id: str, examples: Sequence[Example]) -> list[list[float]]:
        """Scores of the repeated answers, one row per example; empty where nothing was answered."""
        found = (self._outcomes.get((candidate_id, example.id), {}) for example in examples)
        return [[o.score.value for _, o in sorted(samples.items()) if o.score] for samples in found]

    def noise(self, candidate_id: str, examples: Sequence[Example]) -> float | None:
        """Variance of one answer's score around its example's mean; None where each was answered once."""
        rows = self.repeats(candidate_id, examples)
        return noise(rows) if any(len(row) > 1 for row in rows) else None

    def mean(self, candidate_id: str, examples: Sequence[Example]) -> float:
        """Mean score over the examples that were answered; 0 where none was."""
        known = [score for score in self.values(candidate_id, examples) if score is not None]
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
        table = {c: self.scores(c, examples) for c in pool}
        for number, example in enumerate(examples):
            scored = {c: score for c, row in table.items() if (score := row[number]) is not None}
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
        self._outcomes.setdefault((outcome.candidate, outcome.example), {})[outcome.sample] = outcome
