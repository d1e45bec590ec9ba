"""Prompts that were better than their seed, kept if the user wants it, and offered to near tasks as further seeds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from crito.memory.signature import ALIKE, Signature, Signatures, TargetName
from crito.prompt import Prompt
from crito.task import Task


class ProvenPrompt(BaseModel):
    """The best prompt of one run, better than its seed on the validation examples beyond chance.

    Nothing of the verdict is kept: the next run on the same data has the same test examples.

    Attributes:
        run: The run.
        signature: Of its task.
        model: Its target.
        inputs: Input fields of its task.
        labels: Labels of its task.
        prompt: What won, demonstrations included.
        n: Validation examples that both answered.
        gain: Mean paired difference on them.
        seen: When, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    run: str = Field(min_length=1)
    signature: Signature
    model: TargetName
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    prompt: Prompt
    n: int = Field(gt=0)
    gain: float = Field(gt=0, le=1)
    seen: float = Field(ge=0)

    @property
    def key(self) -> str:
        """Its name in a store."""
        return self.run


def fitting(
    proven: Sequence[ProvenPrompt], task: Task, signature: Signature, *, count: int
) -> list[tuple[ProvenPrompt, float]]:
    """Prompts of near tasks with the same inputs and labels, the likeliest to help first, with the tasks' likeness."""
    same = [p for p in proven if p.inputs == task.inputs and set(p.labels) == set(task.labels)]
    alike = Signatures([p.signature for p in same]).likeness(signature) if same else ()
    near = [(p, float(a)) for p, a in zip(same, alike, strict=True) if a >= ALIKE]
    return sorted(near, key=lambda pair: (-pair[1] * pair[0].gain, pair[0].run))[:count]
