"""What a run takes along from earlier ones: fixed when it begins, so that a resumed run goes by the same advice."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from crito.memory.attempts import Attempt
from crito.memory.bm25 import words_of
from crito.memory.lessons import Lesson
from crito.memory.recipe import Recipe
from crito.tools.stats import BetaArm

_SAME = 0.7
"""Share of the words of a direction and a hypothesis that both have, from which the one is taken for the other."""


class Advice(BaseModel):
    """One lesson, as it was known when the run began.

    Attributes:
        lesson: Its id.
        text: What it says.
        recipe: For a recipe; None for a direction.
        expected: Gain to be expected on this task; of a recipe, over what is usual.
        gain: Mean gain that was observed.
        interval: 95 % interval of it.
        n: Examples of all runs.
        runs: Runs that observed it.
        refuted: Runs without a gain.
    """

    model_config = ConfigDict(frozen=True)
    lesson: str
    text: str
    recipe: Recipe | None = None
    expected: float
    gain: float
    interval: tuple[float, float]
    n: int
    runs: int
    refuted: int

    @classmethod
    def of(cls, lesson: Lesson, expected: float) -> Advice:
        """The advice that a lesson is."""
        return cls(
            lesson=lesson.id,
            text=lesson.text,
            recipe=lesson.latest.recipe,
            expected=expected,
            gain=lesson.gain,
            interval=lesson.interval,
            n=lesson.n,
            runs=len(lesson.runs),
            refuted=lesson.refuted,
        )


class Recalled(BaseModel):
    """Everything that a run takes along.

    Attributes:
        recipes: Ways to put a prompt together, the most promising first; each is tried and must win.
        directions: Ways to change what a prompt says, for the critic.
        prompts: Ids of candidates made of proven prompts, where the user had them kept.
        operators: What earlier runs add to each operator's prior, (earned, not earned).
    """

    model_config = ConfigDict(frozen=True)
    recipes: tuple[Advice, ...] = ()
    directions: tuple[Advice, ...] = ()
    prompts: tuple[str, ...] = ()
    operators: dict[str, BetaArm] = {}


def taken_up(advice: Advice, attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt whose hypothesis says what a direction says: the likest, of equals the first that was measured."""
    likeness = {attempt.candidate: _likeness(advice.text, attempt) for attempt in attempts}
    nearest = max(attempts, key=lambda a: (likeness[a.candidate], a.gain is not None), default=None)
    return nearest if nearest is not None and likeness[nearest.candidate] >= _SAME else None


def _likeness(direction: str, attempt: Attempt) -> float:
    """The largest share of common words with one of the directions that an attempt followed."""
    wanted = set(words_of(direction))
    followed = attempt.hypothesis.removeprefix(f"{attempt.label}: ").split("; ")
    return max(len(wanted & said) / max(1, len(wanted | said)) for said in (set(words_of(part)) for part in followed))
