"""What a run takes along from earlier ones: fixed when it begins, so that a resumed run goes by the same advice."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from crito.memory.attempts import Attempt
from crito.memory.bm25 import words_of
from crito.memory.lessons import Lesson
from crito.memory.recipe import Recipe
from crito.tools.stats import BetaArm

_AND = "; "
"""Between the directions of an attempt that follows several; one direction may have it too."""
_TOLD = 3
"""Directions that the critic is told of in one round."""
_SAME = 0.7
"""Share of the words of a direction and a hypothesis that both have, from which the one is taken for the other."""


class Advice(BaseModel):
    """One lesson, as it was known when the run began.

    Attributes:
        lesson: Its id.
        text: What it says.
        recipe: For a recipe; None for a direction.
        gain: Mean gain that was observed.
        n: Examples of all runs.
    """

    model_config = ConfigDict(frozen=True)
    lesson: str
    text: str
    recipe: Recipe | None = None
    gain: float
    n: int

    @classmethod
    def of(cls, lesson: Lesson) -> Advice:
        """The advice that a lesson is."""
        return cls(lesson=lesson.id, text=lesson.text, recipe=lesson.latest.recipe, gain=lesson.gain, n=lesson.n)


class Offer(BaseModel):
    """The best prompt of an earlier run as a candidate of this one, with the gain that its own run measured.

    It is not ``whole`` where demonstrations were left out that this task holds out.
    """

    model_config = ConfigDict(frozen=True)
    candidate: str
    run: str
    text: str
    gain: float
    whole: bool = True


class Recalled(BaseModel):
    """Everything that a run takes along.

    Attributes:
        recipes: Ways to put a prompt together, the most promising first; each is tried and must win.
        directions: Ways to change what a prompt says, for the critic.
        refuted: Ways to put a prompt together that lost in like runs again and again, and are not tried.
        prompts: Candidates made of proven prompts, where the user had them kept.
        operators: What earlier runs add to each operator's prior, (earned, not earned).
    """

    model_config = ConfigDict(frozen=True)
    recipes: tuple[Advice, ...] = ()
    directions: tuple[Advice, ...] = ()
    refuted: tuple[Recipe, ...] = ()
    prompts: tuple[Offer, ...] = ()
    operators: dict[str, BetaArm] = {}

    @property
    def leads(self) -> bool:
        """Whether something of it is raced before anything else, in a round of its own: proven prompts are."""
        return bool(self.prompts)

    def told(self, number: int) -> Recalled:
        """What the workers of a round are told: of the directions the next few, so that each is told in one round.

        Bad advice can mislead those rounds and no others; what came of it the critic sees among the attempts. Whatever
        is for the opening alone is left out once that is over.

        Args:
            number: The round; the opening takes one, or two where something is raced before it.
        """
        searched = number - 1 - self.leads
        first = _TOLD * max(0, searched)
        told = self.directions[first : first + _TOLD]
        over = {"recipes": (), "refuted": (), "prompts": ()} if searched >= 0 else {}
        return self.model_copy(update={"directions": told, **over})


def taken_up(advice: Advice, attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt whose hypothesis says what a direction says: the likest, of equals the first that was measured."""
    likeness = {attempt.candidate: _likeness(advice.text, attempt) for attempt in attempts}
    nearest = max(attempts, key=lambda a: (likeness[a.candidate], a.gain is not None), default=None)
    return nearest if nearest is not None and likeness[nearest.candidate] >= _SAME else None


def _likeness(direction: str, attempt: Attempt) -> float:
    """The largest share of common words with one of the directions that an attempt followed, which may be several."""
    wanted = set(words_of(direction))
    followed = attempt.hypothesis.removeprefix(f"{attempt.label}: ").split(_AND)
    length = min(len(followed), direction.count(_AND) + 1)
    parts = (_AND.join(followed[at : at + length]) for at in range(len(followed) - length + 1))
    return max(len(wanted & said) / max(1, len(wanted | said)) for said in (set(words_of(part)) for part in parts))
