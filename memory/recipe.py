"""A recipe: how a prompt is put together, without a word of what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crito.prompt import Layout

Instructions = Literal["kept", "none", "answer_rule"]


class Recipe(BaseModel):
    """What was done to a seed prompt, so that it can be done to another one.

    Attributes:
        instructions: The seed's, none at all, or the seed's and the rule that asks for the answer alone.
        cue: Which of the answer cues ends the input; None for the seed's own template.
        layout: Where the parts are.
        demos: How many demonstrations there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    instructions: Instructions
    cue: int | None = Field(default=None, ge=0, le=99)
    layout: Layout = Layout()
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
        if self.instructions != "none" and self.layout.style != "plain":
            yield f"as {self.layout.style}"
        if self.instructions != "none" and self.layout.instructions != "system":
            yield "before the first input" if self.layout.instructions == "user" else "before every input"
        if self.cue is not None:
            yield "an answer cue" + (f" (form {self.cue + 1})" if self.cue else "")
        if self.demos:
            yield f"{self.demos} examples" + (" inside the message" if self.layout.demos == "inline" else "")
