"""What a preset is made of: stages with operators, an archive, a schedule of races and rules of acceptance."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crito.graph.schedules import Schedule, cost
from crito.memory.selection import Kind
from crito.task import Budget

MERGE = "merge"
"""The operator that joins two winners of one round in the next."""


class Stage(BaseModel):
    """Rounds of one kind.

    Attributes:
        name: What the trace calls it.
        operators: Operators that its rounds choose from.
        steps: Steps, and so workers, of one round; each has an operator and a parent.
        count: Candidates that one step is to propose; None for as many as the round's calls reach for.
        share: Share of the search budget for one round.
        rounds: The most rounds.
        patience: Rounds in a row without a new incumbent after which the next stage begins.
        persistence: Share of the search budget that must have gone by without one, too: where gains are small, rounds
            without luck are many.
        accept: ``better``: strictly positive paired difference; ``cheaper``: fewer tokens and not inferior.
        reserve: Share of the search budget that is left to later stages.
        schedule: How its contenders race; None for the preset's schedule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    operators: tuple[str, ...] = Field(min_length=1)
    steps: int = Field(default=1, gt=0)
    count: int | None = Field(default=None, gt=0)
    share: float = Field(default=0.2, gt=0, le=1)
    rounds: int = Field(default=1, gt=0)
    patience: int = Field(default=1, gt=0)
    persistence: float = Field(default=0.0, ge=0, le=1)
    accept: Literal["better", "cheaper"] = "better"
    reserve: float = Field(default=0.0, ge=0, lt=1)
    schedule: Schedule | None = None

    @property
    def contenders(self) -> int | None:
        """Candidates that one round proposes at most, None without a count.

        Where two of a round may win, the next one joins them in a step of its own, which makes one candidate.
        """
        if self.count is None:
            return None
        most = self.steps * self.count
        return most + int(MERGE in self.operators and most > 1)


class Preset(BaseModel):
    """Settings of a search: a method is a preset, not a code path.

    Attributes:
        source: Where the method is published; empty for ours.
        about: What it does, in a sentence.
        kept: Where the published form is flawed: which of our guards is kept in its place.
        stages: One after the other.
        parents: How parents are drawn from the pool, and who stays in it.
        pool: Candidates that may become parents at most.
        schedule: How contenders race.
        block: Validation examples of one race block, and of a minibatch.
        alpha: Level of the paired tests that eliminate a candidate from a race.
        margin: How much a cheaper prompt may lose (non-inferiority).
        length_price: What a prompt as long as the seed costs in score, in choosing survivors (CAPO's gamma).
        length_decay: How fast a score fades with each word of the instructions, in choosing survivors (Promptomatix's
            lambda); at most one of the two prices.
        gate: Whether a patch must mend more cited failures than it breaks cited successes before it is raced.
        taxonomy: Whether diagnoses of failures are shown to the critic and answered by edits in code.
        planner: Who chooses the operators: the bandit ``advised`` by the model, the ``bandit`` alone, or a draw at
            ``random``.
        demos: Whether prompts may get demonstrations.
        own_outputs: Whether demonstrations show the target's own correct outputs where the task has reasoning.
        likelihood: Whether a task's scoring by likelihood is followed.
        temperature: Of the agents' replies.
        finalists: Candidates that are compared on fresh training examples before the verdict; 0 for no such look.
        calls: The most calls of the search, whatever the budget allows; None for no such limit.
        agents: Whether the method is nothing without a capable agent model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str
    source: str = ""
    about: str
    kept: str = ""
    stages: tuple[Stage, ...] = Field(min_length=1)
    parents: Kind = "instance_pareto"
    pool: int = Field(default=12, gt=0)
    schedule: Schedule = "halving"
    block: int = Field(default=8, gt=0)
    alpha: float = Field(default=0.2, gt=0, lt=0.5)
    margin: float = Field(default=0.02, ge=0)
    length_price: float = Field(default=0.0, ge=0)
    length_decay: float = Field(default=0.0, ge=0)
    gate: bool = True
    taxonomy: bool = True
    planner: Literal["advised", "bandit", "random"] = "advised"
    demos: bool = True
    own_outputs: bool = True
    likelihood: bool = True
    temperature: float = Field(default=0.0, ge=0)
    finalists: int = Field(default=0, ge=0)
    calls: int | None = Field(default=None, gt=0)
    agents: bool = False

    @model_validator(mode="after")
    def _one_length_price(self) -> Self:
        if self.length_price and self.length_decay:
            raise ValueError("length_price and length_decay both price length; set one of them to 0")
        return self

    @property
    def rounds(self) -> int:
        """The most rounds of all stages together."""
        return sum(stage.rounds for stage in self.stages)

    def capped(self, budget: Budget, verdict: int) -> Budget:
        """The budget, with the preset's own limit on calls if it has one and the verdict's calls on top of it."""
        if self.calls is None:
            return budget
        most = self.calls + verdict
        return budget.model_copy(update={"calls": min(budget.calls or most, most)})

    def schedule_of(self, stage: Stage) -> Schedule:
        """How the contenders of a stage race."""
        return stage.schedule or self.schedule

    def most_calls(self, examples: int, search: float = math.inf) -> float:
        """Target calls that a search takes at most: what its rounds may take, and no more than it is given.

        Infinite for a method that takes whatever it is given, where it is given no limit. What advice of earlier runs
        adds to an opening is not in it.

        Args:
            examples: Validation examples.
            search: Target calls that the budget leaves to the search.
        """
        limit = min(search, self.calls or search)
        total = 0.0
        for stage in self.stages:
            room = max(examples, stage.share * limit)
            if stage.contenders is not None:
                room = min(room, cost(self.schedule_of(stage), stage.contenders, examples, self.block))
            total += stage.rounds * room
        return min(limit, total)

    @property
    def operators(self) -> tuple[str, ...]:
        """Every operator of any stage, once."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.operators))

    @property
    def recalls(self) -> bool:
        """Whether its search takes along what earlier runs learned: their advice races in an opening at its start."""
        return "opening" in self.stages[0].operators
