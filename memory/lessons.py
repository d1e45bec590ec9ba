"""Long-term memory: what earlier runs measured, pooled into lessons. A lesson is advice; what follows it must win anew.

Nothing here is an agent's claim: every observation is a measured paired effect. Observations are only ever added, one
for each run and candidate, so that two runs that write at once lose nothing, and a run can be forgotten.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from statistics import fmean
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from crito.memory.bm25 import Bm25
from crito.memory.confidence import DOUBT, MOST, OTHER_MODEL, REFUTED, lasting, promise
from crito.memory.recipe import Recipe
from crito.memory.record import Known, Measurement
from crito.memory.signature import ALIKE, Name, OneLine, RecordId, Signature, Signatures
from crito.tools.redaction import public_name

_DRAWN = ("spread", "null", "recall")
"""Operators that draw a recipe's examples anew, so that what it gained is not what a winner's examples gain."""


class Observation(Measurement):
    """One measured effect in one run.

    Attributes:
        kind: ``recipe``: how a prompt is put together; ``direction``: which way to change what it says.
        text: What was done or is to be done, in words; no text of an example or a prompt.
        label: The failure that it answers, for a direction.
        section: What kind of part of the prompt it changes.
        recipe: The recipe, for one.
        operator: What proposed it.
        candidate: On whom it was measured.
        low: Lower end of the gain's 95 % interval.
        high: Upper end.
    """

    kind: Literal["recipe", "direction"]
    text: OneLine = Field(min_length=1, max_length=600)
    label: Name = ""
    section: Name = ""
    recipe: Recipe | None = None
    operator: Name
    candidate: RecordId
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        if (self.kind == "recipe") != (self.recipe is not None):
            raise ValueError("a lesson of the kind recipe has a recipe, and no other has")
        if not self.low <= self.gain <= self.high:
            raise ValueError("low, gain and high must be in this order")
        return self

    @property
    def key(self) -> str:
        """Its name in a store."""
        return f"{self.run}.{self.candidate}.{self.lesson}"

    @property
    def unchosen(self) -> bool:
        """Whether it tells something of its advice: what a recipe gained that was made of a winner is the winner's."""
        return self.kind == "direction" or self.operator in _DRAWN

    @property
    def lesson(self) -> str:
        """Id of the lesson that it belongs to: the same advice, whatever task and model it was measured with."""
        said = self.recipe.model_dump_json() if self.recipe else f"{self.label}: {self.text}"
        return hashlib.sha256(" ".join(said.casefold().split()).encode()).hexdigest()[:12]


class Lesson(Known):
    """All observations of one piece of advice, the latest last."""

    id: str
    observations: tuple[Observation, ...] = Field(min_length=1)

    @property
    def latest(self) -> Observation:
        """The observation that says what the lesson is."""
        return self.observations[-1]

    @property
    def kind(self) -> Literal["recipe", "direction"]:
        """As of its observations."""
        return self.latest.kind

    @property
    def text(self) -> str:
        """What it says: a recipe in our own words, whatever the store has."""
        recipe = self.latest.recipe
        return recipe.text if recipe else self.latest.text

    @cached_property
    def measured(self) -> tuple[Observation, ...]:
        """One observation for each run: what it saw on several candidates, averaged."""
        return _by_run(self.observations)

    @cached_property
    def evidence(self) -> tuple[Observation, ...]:
        """The same, of candidates alone that tell something of the advice."""
        return _by_run([observation for observation in self.observations if observation.unchosen])

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the gain, from those of the runs: their errors add up as independent ones do."""
        halves = (effect.n * (effect.high - effect.low) / 2 for effect in self.measured)
        half = math.hypot(*halves) / self.n
        return max(-1.0, self.gain - half), min(1.0, self.gain + half)

    @property
    def confirmed(self) -> int:
        """Runs whose interval lies above zero."""
        return sum(effect.low > 0 for effect in self.measured)

    def promise(self, now: float) -> float:
        """The gain to be expected of it on a task like those that it was measured on, with the same model.

        What :meth:`Recollection.worth` reckons with for one task; that of a recipe is beside the seed here.

        Args:
            now: Seconds since 1970.
        """
        return promise(self.evidence, now)


def _by_run(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    by_run: dict[str, list[Observation]] = {}
    for observation in observations:
        by_run.setdefault(observation.run, []).append(observation)
    return tuple(_averaged(of_run) for of_run in by_run.values())


def _averaged(of_run: Sequence[Observation]) -> Observation:
    """A run as one observation: its candidates share their examples, so they count once and err as one."""
    if len(of_run) == 1:
        return of_run[0]
    weights = [o.n for o in of_run]
    means = {name: fmean((getattr(o, name) for o in of_run), weights) for name in ("gain", "low", "high")}
    return of_run[-1].model_copy(update={"n": max(weights), **means})


def lessons(observations: Iterable[Observation]) -> list[Lesson]:
    """The observations, pooled by lesson, in the order in which the lessons were last seen."""
    by_id: dict[str, list[Observation]] = {}
    for observation in sorted(observations, key=lambda o: (o.seen, o.run, o.candidate)):
        by_id.setdefault(observation.lesson, []).append(observation)
    found = [Lesson(id=key, observations=tuple(group)) for key, group in by_id.items()]
    return sorted(found, key=lambda lesson: (lesson.latest.seen, lesson.id))


def _beside_the_usual(effects: Sequence[Observation], gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gains, those of recipes less the mean gain of the run's other recipes where that is above none."""
    recipe = np.array([effect.kind == "recipe" for effect in effects], dtype=np.float64)
    run = np.unique([effect.run for effect in effects], return_inverse=True)[1]
    others = np.bincount(run, recipe)[run] - 1
    usual = (np.bincount(run, recipe * gains)[run] - gains) / np.maximum(others, 1)
    return gains - recipe * np.maximum(usual, 0.0)


class Recollection:
    """Lessons that can be asked for what helps with a task.

    Args:
        known: All lessons.
    """

    def __init__(self, known: Sequence[Lesson]) -> None:
        self._known = list(known)
        self._kind = np.array([lesson.latest.kind for lesson in known])
        self._words = Bm25([f"{lesson.latest.label} {lesson.text}" for lesson in known])
        rows = [(at, effect) for at, lesson in enumerate(known) for effect in lesson.evidence]
        self._lesson = np.array([at for at, _ in rows], dtype=np.intp)
        self._n, gains, self._seen = (
            np.array([getattr(e, name) for _, e in rows], dtype=np.float64) for name in ("n", "gain", "seen")
        )
        self._gain = _beside_the_usual([e for _, e in rows], gains)
        self._model = np.array([e.model for _, e in rows])
        self._signatures = Signatures([e.signature for _, e in rows])

    def worth(self, signature: Signature, model: str, *, now: float) -> NDArray[np.float64]:
        """The gain to be expected of each lesson on a task, pulled towards none where little is known.

        Of a recipe it is the gain over what is usual: nearly every recipe beats a bad seed, so what speaks for one is
        that it was better than the other recipes of its run, and than the seed. A lesson that was not in two runs of
        like tasks, and in more of them than it was, promises none, however large its first claim.

        The mean of the runs' gains, each weighted by its examples (100 at most), the square of the tasks' likeness,
        half for another model, and half for every 90 days that it is away from now, in the past or, by a wrong clock,
        in the future; 16 examples without a gain are added. So it shrinks with refutations and with disuse.

        Args:
            signature: Of the task at hand.
            model: Of the task at hand.
            now: Seconds since 1970.
        """
        known = np.where(self._model == public_name(model), 1.0, OTHER_MODEL)
        alike = self._signatures.likeness(signature)
        weights = np.minimum(self._n, MOST) * alike**2 * known * lasting(self._seen, now)
        found = self._summed(weights * self._gain) / (self._summed(weights) + DOUBT)
        return np.where(self._lost(alike), np.minimum(found, 0.0), found)

    def refuted(self, signature: Signature) -> list[Lesson]:
        """The lessons without a gain in two runs of like tasks or more, and with one in fewer.

        Args:
            signature: Of the task at hand.
        """
        lost = self._lost(self._signatures.likeness(signature)) if self._known else ()
        return [lesson for lesson, is_lost in zip(self._known, lost, strict=True) if is_lost]

    def _lost(self, alike: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which lessons are refuted, by how alike the tasks of all runs are; shape (lessons,)."""
        won, lost = (self._summed((alike >= ALIKE) & side) for side in (self._gain > 0, self._gain <= 0))
        return (lost >= REFUTED) & (lost > won)

    def _summed(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """The sum over each lesson's runs."""
        return np.bincount(self._lesson, values, minlength=len(self._known)).astype(np.float64)

    def best(
        self,
        kind: Literal["recipe", "direction"],
        signature: Signature,
        model: str,
        *,
        count: int,
        query: str = "",
        near: NDArray[np.float64] | None = None,
        now: float | None = None,
    ) -> list[tuple[Lesson, float]]:
        """The lessons that promise the largest gain, with it; none that promises no gain.

        Args:
            kind: What is looked for.
            signature: Of the task at hand.
            model: Of the task at hand.
            count: How many at most.
            query: Words that a lesson should be about; the best match counts twice as much as none (BM25).
            near: How near each lesson's meaning is to the query, 0 to 1, of shape (lessons,); where it is given, the
                match is the mean of both.
            now: Seconds since 1970; the clock's by default.
        """
        if not self._known:
            return []
        words = self._words.scores(query)
        match = words / max(words.max(), 1e-9)
        if near is not None:
            match = (match + near) / 2
        worth = self.worth(signature, model, now=time.time() if now is None else now)
        rank = np.where(self._kind == kind, worth * (1 + match), 0.0)
        return [(self._known[i], float(worth[i])) for i in np.argsort(-rank, kind="stable")[:count] if rank[i] > 0]
