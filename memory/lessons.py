"""Long-term memory: what earlier runs measured, pooled into lessons. A lesson is advice; what follows it must win anew.

Nothing here is an agent's claim: every observation is a measured paired effect. Observations are only ever added, one
for each run and candidate, so that two runs that write at once lose nothing, and a run can be forgotten.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crito.memory.bm25 import Bm25
from crito.memory.recipe import Recipe
from crito.memory.signature import Name, OneLine, Signature, Signatures

_DOUBT = 16.0
"""Examples' worth of doubt: the gain of a lesson is pulled towards none."""
_OTHER_MODEL = 0.5
"""What an observation with another model counts."""
_HALF_LIFE = 90 * 86_400.0
"""Seconds after which an observation that was not confirmed since counts half."""
_MOST = 100
"""Examples that one observation counts at most, so that a few runs can refute any claim."""
_Z = 1.96
_Id = Annotated[Name, Field(min_length=1)]


class Observation(BaseModel):
    """One measured effect in one run.

    Attributes:
        kind: ``recipe``: how a prompt is put together; ``direction``: which way to change what it says.
        text: What was done or is to be done, in words; no text of an example or a prompt.
        label: The failure that it answers, for a direction.
        section: What kind of part of the prompt it changes.
        recipe: The recipe, for one.
        signature: The task.
        model: The target.
        operator: What proposed it.
        n: Examples.
        gain: Mean paired difference of the score on them.
        low: Lower end of its 95 % interval.
        high: Upper end.
        run: Where it was measured.
        candidate: On whom.
        seen: When, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: Literal["recipe", "direction"]
    text: OneLine = Field(min_length=1, max_length=600)
    label: Name = ""
    section: Name = ""
    recipe: Recipe | None = None
    signature: Signature
    model: Name
    operator: Name
    n: int = Field(gt=0, le=1_000_000)
    gain: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    run: _Id
    candidate: _Id
    seen: float = Field(ge=0)

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        if (self.kind == "recipe") != (self.recipe is not None):
            raise ValueError("a lesson of the kind recipe has a recipe, and no other has")
        return self

    @property
    def key(self) -> str:
        """Its name in a store."""
        return f"{self.run}.{self.candidate}.{self.lesson}"

    @property
    def lesson(self) -> str:
        """Id of the lesson that it belongs to: the same advice, whatever task and model it was measured with."""
        said = self.recipe.model_dump_json() if self.recipe else f"{self.label}: {self.text}"
        return hashlib.sha256(" ".join(said.casefold().split()).encode()).hexdigest()[:12]


class Lesson(BaseModel):
    """All observations of one piece of advice, the latest last."""

    model_config = ConfigDict(frozen=True)
    id: str
    observations: tuple[Observation, ...] = Field(min_length=1)

    @property
    def latest(self) -> Observation:
        """The observation that says what the lesson is."""
        return self.observations[-1]

    @property
    def text(self) -> str:
        """What it says: a recipe in our own words, whatever the store has."""
        recipe = self.latest.recipe
        return recipe.text if recipe else self.latest.text

    @property
    def n(self) -> int:
        """Examples of all observations together."""
        return sum(o.n for o in self.observations)

    @property
    def gain(self) -> float:
        """Mean gain per example."""
        return sum(o.n * o.gain for o in self.observations) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the gain, from those of the observations: their errors add up as independent ones do."""
        errors = [o.n * (o.high - o.low) / (2 * _Z) for o in self.observations]
        half = _Z * math.sqrt(sum(error**2 for error in errors)) / self.n
        return max(-1.0, self.gain - half), min(1.0, self.gain + half)

    @property
    def confirmed(self) -> int:
        """Observations whose interval lies above zero."""
        return sum(o.low > 0 for o in self.observations)

    @property
    def refuted(self) -> int:
        """Observations without a gain."""
        return sum(o.gain <= 0 for o in self.observations)

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that it was measured in."""
        return tuple(dict.fromkeys(o.run for o in self.observations))


def lessons(observations: Iterable[Observation]) -> list[Lesson]:
    """The observations, pooled by lesson, in the order in which the lessons were last seen."""
    by_id: dict[str, list[Observation]] = {}
    for observation in sorted(observations, key=lambda o: (o.seen, o.run, o.candidate)):
        by_id.setdefault(observation.lesson, []).append(observation)
    found = [Lesson(id=key, observations=tuple(group)) for key, group in by_id.items()]
    return sorted(found, key=lambda lesson: (lesson.latest.seen, lesson.id))


class Recollection:
    """Lessons that can be asked for what helps with a task.

    Args:
        known: All lessons.
    """

    def __init__(self, known: Sequence[Lesson]) -> None:
        self._known = list(known)
        self._kind = np.array([lesson.latest.kind for lesson in known])
        self._words = Bm25([f"{lesson.latest.label} {lesson.text}" for lesson in known])
        rows = [(at, observation) for at, lesson in enumerate(known) for observation in lesson.observations]
        self._lesson = np.array([at for at, _ in rows], dtype=np.intp)
        self._n, self._gain, self._seen = (
            np.array([getattr(o, name) for _, o in rows], dtype=np.float64) for name in ("n", "gain", "seen")
        )
        self._model = np.array([o.model for _, o in rows])
        self._signatures = Signatures([o.signature for _, o in rows])

    def worth(self, signature: Signature, model: str, *, now: float) -> NDArray[np.float64]:
        """The gain to be expected of each lesson on a task, pulled towards none where little is known.

        The mean of the observed gains, each weighted by its examples (100 at most), the square of the tasks' likeness,
        half for another model, and half for every 90 days that it is away from now, in the past or, by a wrong clock,
        in the future; 16 examples without a gain are added. So it shrinks with refutations and with disuse.

        Args:
            signature: Of the task at hand.
            model: Of the task at hand.
            now: Seconds since 1970.
        """
        age = np.abs(now - self._seen)
        known = np.where(self._model == model, 1.0, _OTHER_MODEL)
        counted = np.minimum(self._n, _MOST)
        weights = counted * self._signatures.likeness(signature) ** 2 * known * 0.5 ** (age / _HALF_LIFE)
        total = len(self._known)
        gains = np.bincount(self._lesson, weights * self._gain, minlength=total)
        return np.asarray(gains / (np.bincount(self._lesson, weights, minlength=total) + _DOUBT))

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
