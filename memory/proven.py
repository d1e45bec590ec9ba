"""Prompts that were better than their seed, kept if the user wants it, and offered to near tasks as further seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crito.memory.confidence import DOUBT, MOST, REFUTED, lasting
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


class Trial(BaseModel):
    """A proven prompt of one run, measured in another one beside that run's seed.

    Attributes:
        run: Where it was measured.
        origin: The run whose prompt it is.
        n: Validation examples that both answered.
        gain: Mean paired difference on them.
        seen: When, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    run: str = Field(min_length=1)
    origin: str = Field(min_length=1)
    n: int = Field(gt=0)
    gain: float = Field(ge=-1, le=1)
    seen: float = Field(ge=0)

    @property
    def key(self) -> str:
        """Its name in a store."""
        return f"{self.run}.{self.origin}"


def fitting(
    proven: Sequence[ProvenPrompt],
    trials: Sequence[Trial],
    task: Task,
    signature: Signature,
    *,
    count: int,
    now: float | None = None,
) -> list[tuple[ProvenPrompt, float]]:
    """Prompts of near tasks with the same inputs and labels, the likeliest to help first, with the gain they promise.

    The promise is the mean of what their own run and later ones measured, weighed by examples (100 at most) and age,
    with 16 examples without a gain added, times the tasks' likeness. What promises none is left out, and so is what
    lost in two runs and in more than it won.

    Args:
        proven: All that are known.
        trials: What later runs measured of them.
        task: The task at hand.
        signature: Of the task at hand.
        count: How many at most.
        now: Seconds since 1970; the clock's by default.
    """
    same = [p for p in proven if p.inputs == task.inputs and set(p.labels) == set(task.labels)]
    alike = Signatures([p.signature for p in same]).likeness(signature) if same else ()
    today = time.time() if now is None else now
    later = {p.run: [trial for trial in trials if trial.origin == p.run] for p in same}
    near = [
        (p, float(likeness) * _promise([p, *later[p.run]], today))
        for p, likeness in zip(same, alike, strict=True)
        if likeness >= ALIKE
    ]
    hopeful = [(p, promise) for p, promise in near if promise > 0]
    return sorted(hopeful, key=lambda pair: (-pair[1], pair[0].run))[:count]


def _promise(measured: Sequence[ProvenPrompt | Trial], now: float) -> float:
    """The gain to be expected of a prompt; none where it lost more often than it won."""
    n, gains, seen = (
        np.array([getattr(m, name) for m in measured], dtype=np.float64) for name in ("n", "gain", "seen")
    )
    lost, won = np.count_nonzero(gains <= 0), np.count_nonzero(gains > 0)
    if lost >= REFUTED and lost > won:
        return 0.0
    weights = np.minimum(n, MOST) * lasting(seen, now)
    return float(weights @ gains / (weights.sum() + DOUBT))
