"""The task: what is asked, the examples in their splits, and the limits the user set."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from crito.prompt import Prompt

Split = Literal["train", "val", "test"]
Scoring = Literal["sampled", "likelihood", "calibrated"]


class Example(BaseModel):
    """One row of data.

    Attributes:
        id: Stable name of the row, derived from its content (:func:`example_id`).
        expected: The right answer, if there is one; fields of a JSON answer are kept as JSON text.
        source: Where it comes from.
        confidence: How sure the label is, 0 to 1.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    inputs: dict[str, str]
    expected: str | None = None
    source: Literal["user", "synthetic", "boundary"] = "user"
    confidence: float = Field(default=1.0, ge=0.0, le=1.0)


def example_id(inputs: dict[str, str]) -> str:
    """Ten hexadecimal digits from the inputs alone, so that one input has one id in whatever file it comes."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:10]


class Score(BaseModel):
    """How good one output is: ``value`` from 0 to 1, and feedback in words for the critic."""

    model_config = ConfigDict(frozen=True)
    value: float = Field(ge=0.0, le=1.0)
    feedback: str = ""


class Splits(BaseModel):
    """Examples by use: ``train`` is shown to agents, ``val`` selects, ``test`` is opened once, for the verdict."""

    model_config = ConfigDict(frozen=True)
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def digest(self) -> str:
        """Hash over the ids of all three splits, by which runs on the same examples are told."""
        ids = {split: [e.id for e in getattr(self, split)] for split in ("train", "val", "test")}
        return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


class Budget(BaseModel):
    """Hard limits over all roles together; None means no limit.

    Attributes:
        usd: US dollars.
        calls: Paid model calls; answers from the cache are free.
        tokens: Tokens in and out.
        seconds: Wall-clock seconds of one start of the run.
        verdict_share: The most that the final comparison on the test split may take of ``calls``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    usd: float | None = Field(default=None, gt=0)
    calls: int | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    verdict_share: float = Field(default=0.4, gt=0, lt=1)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"must be a number (got {value})")
        return value


class Task(BaseModel):
    """Everything that a run needs to know; stored with the run, so that it can be resumed from the database alone.

    Attributes:
        inputs: Names of the input fields; ``output`` names the field with the right answer.
        metric: Name of a metric (``label``, ``exact_match`` …) or ``module:function``.
        labels: The possible answers, for ``label``.
        scoring: ``sampled`` lets the model write its answer; ``likelihood`` takes the label that the log-probabilities
            of the first token make most likely, or of the whole answer where labels begin alike; ``calibrated`` divides
            them by each label's mean probability first.
        prompts: The seed, one prompt per module (``main`` unless the target has several).
        model: Name of the model to improve the prompt for; ``agent_model`` speaks for the agents.
        max_prompt_tokens: Cap on the rendered prompt without its input, in tokens; None for no cap.
        max_output_tokens: Cap on the target's answers; None lets Crito set it from the longest expected answer.
        reasoning: Whether answers may contain reasoning before the result.
        temperature: Of the target's answers.
        repeats: How often each example is answered in the verdict and by an evaluation. In a search with more than one,
            who is ahead answers the validation examples twice.
        concurrency: Calls in flight at most; by default 8, and 1 for a local model, which one prompt keeps busy and
            whose prefix cache is per slot.
        prices: US dollars per million tokens (in, out), by model name, for models whose price is not known.
        memory: Where lessons of earlier runs come from and this run's go to: beside the run database, the user's own,
            or nowhere.
        remember_prompts: Whether the best prompt's text is kept in it as well, demonstrations included.
        embed: Name of the embedding model that compares lessons with the description; None for words alone.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    description: str
    requirements: tuple[str, ...] = ()
    inputs: tuple[str, ...]
    output: str
    labels: tuple[str, ...] = ()
    metric: str = "exact_match"
    scoring: Scoring = "sampled"
    splits: Splits
    prompts: dict[str, Prompt]
    model: str
    agent_model: str
    budget: Budget = Budget()
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    reasoning: bool = False
    temperature: float = Field(default=0.0, ge=0.0)
    repeats: int = Field(default=1, gt=0)
    concurrency: int | None = Field(default=None, gt=0)
    seed: int = 0
    prices: dict[str, tuple[float, float]] = {}
    memory: str = "project"
    remember_prompts: bool = False
    embed: str | None = None

    @property
    def answered(self) -> bool:
        """Whether any training example has a right answer."""
        return any(example.expected is not None for example in self.splits.train)

    @property
    def in_flight(self) -> int:
        """Calls in flight at most."""
        return self.concurrency or (1 if self.model.startswith("local/") else 8)
