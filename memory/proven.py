"""Prompts that were better than their seed, kept if the user wants it, and offered to near tasks as further seeds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from crito.memory.confidence import OTHER_MODEL, promise
from crito.memory.record import Known, Measurement
from crito.memory.signature import ALIKE, RecordId, Signature, Signatures
from crito.prompt import Prompt
from crito.task import Task
from crito.tools.redaction import public_name


class ProvenPrompt(Measurement):
    """The best prompt of one run, better than its seed on the validation examples beyond chance.

    Nothing of the verdict is kept: the next run on the same data has the same test examples.

    Attributes:
        inputs: Input fields of its task.
        labels: Labels of its task.
        prompt: What won, demonstrations included.
        gain: Over the seed.
    """

    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    prompt: Prompt
    gain: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _shows_whole_examples(self) -> Self:
        if any(set(self.prompt.fields) - set(demo.inputs) for demo in self.prompt.demos):
            raise ValueError("prompt: a demonstration lacks an input that the template has")
        return self


class Trial(Measurement):
    """A proven prompt of one run, measured in another one beside that run's seed.

    Attributes:
        origin: The run whose prompt it is.
    """

    origin: RecordId

    @property
    def key(self) -> str:
        """Its name in a store."""
        return f"{self.run}.{self.origin}"


class Proven(Known):
    """A proven prompt and what later runs measured of it."""

    prompt: ProvenPrompt
    trials: tuple[Trial, ...] = ()

    @property
    def id(self) -> str:
        """The run that it is the best prompt of."""
        return self.prompt.run

    @property
    def text(self) -> str:
        """What it is, without a word of what it says."""
        return f"the best prompt of run {self.id}"

    @property
    def kind(self) -> Literal["prompt"]:
        """Beside the kinds of a lesson."""
        return "prompt"

    @property
    def measured(self) -> tuple[ProvenPrompt | Trial, ...]:
        """One for each run that measured it, its own first."""
        return (self.prompt, *self.trials)

    def promise(self, now: float) -> float:
        """The gain to be expected of it on tasks like that of its run, with the same model.

        Args:
            now: Seconds since 1970.
        """
        return self.worth(self.prompt.signature, self.prompt.model, now=now)

    def worth(self, signature: Signature, model: str, *, now: float) -> float:
        """The gain to be expected of it on a task: each run counts by its task's likeness and its model.

        Args:
            signature: Of the task at hand.
            model: Of the task at hand.
            now: Seconds since 1970.
        """
        alike = Signatures([m.signature for m in self.measured]).likeness(signature)
        known = np.array([1.0 if m.model == public_name(model) else OTHER_MODEL for m in self.measured])
        return promise(self.measured, now, alike**2 * known)


def proven(prompts: Iterable[ProvenPrompt], trials: Iterable[Trial]) -> list[Proven]:
    """Prompts with their trials, in the order in which they were last seen."""
    later: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: (trial.seen, trial.run)):
        later.setdefault(trial.origin, []).append(trial)
    found = [Proven(prompt=prompt, trials=tuple(later.get(prompt.run, ()))) for prompt in prompts]
    return sorted(found, key=lambda p: (p.seen, p.id))


def fitting(
    known: Sequence[Proven], task: Task, signature: Signature, *, count: int, now: float | None = None
) -> list[Proven]:
    """Prompts of near tasks with the same inputs and labels, those that promise most first; none that promises no gain.

    Args:
        known: All that there are.
        task: The task at hand.
        signature: Of the task at hand.
        count: How many at most.
        now: Seconds since 1970; the clock's by default.
    """
    same = [p for p in known if p.prompt.inputs == task.inputs and set(p.prompt.labels) == set(task.labels)]
    if not same:
        return []
    today = time.time() if now is None else now
    alike = Signatures([p.prompt.signature for p in same]).likeness(signature)
    near = [p for p, likeness in zip(same, alike, strict=True) if likeness >= ALIKE]
    worth = {p.id: p.worth(signature, task.model, now=today) for p in near}
    hopeful = [p for p in near if worth[p.id] > 0]
    return sorted(hopeful, key=lambda p: (-worth[p.id], p.id))[:count]
