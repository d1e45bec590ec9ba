"""What the nodes work with: handed over through LangGraph's runtime context, never stored in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crito.agents.critic import Critic
from crito.agents.demo_sizes import largest_set
from crito.agents.evaluator import Evaluator
from crito.agents.planner import Planner
from crito.agents.rewriter import Rewriter
from crito.agents.student import Student
from crito.agents.synthesizer import Synthesizer
from crito.agents.teacher import Teacher
from crito.graph.preset import Preset
from crito.memory.archive import Archive
from crito.memory.attempts import Attempts
from crito.memory.lesson_store import LessonStore
from crito.memory.nearness import Nearness
from crito.prompt import Prompt
from crito.task import Example, Task
from crito.tools.ledger import Ledger
from crito.tools.meter import Spend
from crito.tools.splits import interleaved
from crito.tools.telemetry import Tracer


@dataclass(frozen=True)
class Deps:
    """The run's task, agents, memory and tools.

    Attributes:
        seed: Id of the seed candidate.
        test: The test examples that the verdict uses.
        verdict: What is kept back for the verdict.
        prompt_tokens: Counts the tokens of a rendered prompt without its input.
        lessons: What earlier runs learned; None where memory is off.
        nearness: How near lessons are to the task by their meaning; None without an embedding model.
        notify: Takes progress events; observers cannot change the run.
    """

    task: Task
    preset: Preset
    seed: str
    test: tuple[Example, ...]
    planner: Planner
    critic: Critic
    rewriter: Rewriter
    synthesizer: Synthesizer
    teacher: Teacher
    student: Student
    evaluator: Evaluator
    archive: Archive
    attempts: Attempts
    lessons: LessonStore | None
    nearness: Nearness | None
    ledger: Ledger
    tracer: Tracer
    verdict: Spend
    prompt_tokens: Callable[[Prompt], int]
    notify: Callable[[Mapping[str, Any]], None]

    def rng(self, *scope: int) -> np.random.Generator:
        """Random numbers that depend on the task's seed and the scope alone, so that a replay draws the same."""
        return np.random.default_rng([self.task.seed, *scope])

    @cached_property
    def val(self) -> tuple[Example, ...]:
        """The validation examples, labels evenly mixed."""
        return self.race_order(0)

    @cached_property
    def largest_set(self) -> int:
        """How many demonstrations a prompt of this task shows at most."""
        return largest_set(self.task)

    @cached_property
    def calls_per_answer(self) -> float:
        """Calls that a scored answer takes: one more with a judge, several where no first token tells labels apart."""
        return max(1.0, self.verdict.calls / (2 * len(self.test) * self.task.repeats))

    def race_order(self, round_number: int) -> tuple[Example, ...]:
        """The validation examples as the races of a round take them, labels evenly mixed.

        Another order each round: who won a race owes part of it to luck on the first blocks, and would throw out all
        later contenders there if every race began with them.
        """
        return tuple(interleaved(self.task.splits.val, self.task.seed + round_number))
