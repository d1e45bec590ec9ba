"""A recipe: how a prompt is put together, without a word of what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crito.prompt import DemosPlace, Place, Style

LARGEST = 12
"""Demonstrations of the largest set."""
Instructions = Literal["kept", "none", "answer_rule"]


class LayoutChange(BaseModel):
    """What a recipe changes of a seed's layout, key by key as in :class:`crito.prompt.Layout`; None for what stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    style: Style | None = None
    demos: DemosPlace | None = None
    instructions: Place | None = None


_PLACES = {"system": "as the system message", "user": "before the first input", "each": "before every input"}
_SHOWN = {"turns": "as chat turns", "inline": "inside the message"}


class Recipe(BaseModel):
    """What was done to a seed prompt, so that it can be done to another one.

    Attributes:
        instructions: The seed's, none at all, or the seed's and the rule that asks for the answer alone.
        cue: Which of the answer cues ends the input; None for the seed's own template.
        layout_change: Which parts have another place or style than the seed's.
        demos: How many demonstrations there are; twelve for as many as fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    instructions: Instructions
    cue: int | None = Field(default=None, ge=0, le=99)
    layout_change: LayoutChange = LayoutChange()
    demos: int = Field(default=0, ge=0, le=999)

    @property
    def text(self) -> str:
        """The recipe in words."""
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield {
            "kept": "your instructions",
            "none": "no instructions",
            "answer_rule": "your instructions with an answer rule",
        }[self.instructions]
        change = self.layout_change
        if self.instructions != "none" and change.style:
            yield f"as {change.style}"
        if self.instructions != "none" and change.instructions:
            yield _PLACES[change.instructions]
        if self.cue is not None:
            yield "an answer cue" + (f" (form {self.cue + 1})" if self.cue else "")
        if self.demos:
            shown = "as many examples as fit" if self.demos >= LARGEST else f"{self.demos} examples"
            yield shown + (f" {_SHOWN[change.demos]}" if change.demos else "")
