"""What a run produces: candidates, outcomes, critiques, plans and the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crito.patch import Patch
from crito.prompt import Prompt
from crito.protocols import Usage
from crito.task import Score

FailureLabel = Literal[
    "wrong_format",
    "verbose",
    "off_label",
    "refusal",
    "truncated",
    "empty",
    "near_miss",
    "wrong_content",
    "call_failed",
]
"""The failure taxonomy; :mod:`crito.tools.diagnostics` says how each is told from the outcome alone."""


class Candidate(BaseModel):
    """A set of prompts with its history.

    Attributes:
        id: Fingerprint of its prompts, so that one content has one id.
        prompts: One prompt per module; ``main`` unless the target has several.
        parents: Ids it was made from; none for the seed.
        operator: What made it, such as ``seed``, ``critique_synthesis`` or ``demonstrations``.
        hypothesis: What it tests, in words.
        author: Who wrote it: an agent's name, or ``code`` for deterministic edits.
        round: Round it was proposed in; 0 for baselines.
        patch: The edits against its first parent.
        mends: Ids of failed training examples that it should get right.
        keeps: Ids of training examples that its parent got right, and that it must not break.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    prompts: dict[str, Prompt]
    parents: tuple[str, ...] = ()
    operator: str
    hypothesis: str = ""
    author: str = "code"
    round: int = 0
    patch: Patch | None = None
    mends: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()

    @property
    def main(self) -> Prompt:
        """The prompt of the module ``main``, or of the first module."""
        return self.prompts[main_module(self.prompts)]


def main_module(prompts: Mapping[str, Prompt]) -> str:
    """``main``, or the first module where none is called so."""
    return "main" if "main" in prompts else next(iter(prompts))


def candidate_id(prompts: dict[str, Prompt]) -> str:
    """Fingerprint over all modules' prompts, twelve hexadecimal digits."""
    if len(prompts) == 1:
        return next(iter(prompts.values())).fingerprint
    joined = "\n".join(f"{name}:{prompt.fingerprint}" for name, prompt in sorted(prompts.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def child(
    parent: Candidate,
    patch: Patch,
    *,
    operator: str,
    round_number: int,
    hypothesis: str = "",
    author: str = "code",
    mends: tuple[str, ...] = (),
    keeps: tuple[str, ...] = (),
) -> Candidate:
    """The candidate that a patch on the main prompt makes of its parent.

    Raises:
        PatchRejected: The patch does not apply, or changes something frozen.
    """
    module = main_module(parent.prompts)
    prompts = {**parent.prompts, module: parent.prompts[module].apply(patch)}
    return Candidate(
        id=candidate_id(prompts),
        prompts=prompts,
        parents=(parent.id,),
        operator=operator,
        hypothesis=hypothesis or patch.rationale,
        author=author,
        round=round_number,
        patch=patch,
        mends=mends,
        keeps=keeps,
    )


class Outcome(BaseModel):
    """One candidate on one example: a score, or an error. Never both, and never a zero in place of an error."""

    model_config = ConfigDict(frozen=True)
    candidate: str
    example: str
    sample: int = 0
    output: str = ""
    truncated: bool = False
    score: Score | None = None
    error: str | None = None
    usage: Usage = Usage()
    call_keys: tuple[str, ...] = ()
    probabilities: dict[str, float] | None = None

    @property
    def right(self) -> bool:
        """Whether the answer got full marks."""
        return self.score is not None and self.score.value >= 1.0


class Hypothesis(BaseModel):
    """One labelled explanation of failures, with its evidence and the direction of the edit that would test it."""

    model_config = ConfigDict(frozen=True)
    label: FailureLabel
    examples: tuple[str, ...]
    quotes: tuple[str, ...] = ()
    direction: str
    section: str = "rules"
    severity: float = Field(default=0.5, ge=0.0, le=1.0)


class Critique(BaseModel):
    """What the critic makes of a candidate: at most three hypotheses."""

    model_config = ConfigDict(frozen=True)
    candidate: str
    hypotheses: tuple[Hypothesis, ...] = Field(max_length=3)
    author: Literal["critic", "code"] = "critic"


TaskKind = Literal["classification", "extraction", "rewriting", "reasoning", "generation"]


class Brief(BaseModel):
    """The planner's reading of the task, made once."""

    model_config = ConfigDict(frozen=True)
    kind: TaskKind
    requirements: tuple[str, ...] = ()
    strategy: str = ""
    author: Literal["planner", "code"] = "code"


PlanAuthor = Literal["bandit", "planner", "random", "stage"]
"""Who chose a step: the bandit, the planner's model, a draw at random, or the stage itself, which leaves no choice."""


class Step(BaseModel):
    """One planned proposal.

    Attributes:
        operator: Which operator works.
        parents: On which candidates, by id; the one to edit first.
        focus: What it should look at.
        share: Its share of the round's calls.
        reason: Why, in the words of whoever chose it.
    """

    model_config = ConfigDict(frozen=True)
    operator: str
    parents: tuple[str, ...]
    author: PlanAuthor
    focus: str = ""
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    reason: str = ""


class Plan(BaseModel):
    """The steps of one round."""

    model_config = ConfigDict(frozen=True)
    round: int
    steps: tuple[Step, ...]


class Verdict(BaseModel):
    """The final comparison on the test split, which is opened for it and for nothing else.

    Attributes:
        decision: ``improved`` when the paired difference is above zero beyond chance, ``kept`` when the seed
            stays (nothing better was found on val, or the test says that it is worse), ``inconclusive`` otherwise.
        difference: Mean paired difference best - seed on the test items that both answered.
        interval: 95 % bootstrap interval of the difference.
        p_value: Two-sided paired sign-flip permutation test.
        n: Test items that both prompts answered; ``failed`` counts those where a call failed, ``unasked`` those that
            the budget did not reach for. Repeated answers to one item are averaged before anything is compared.
        noise: Variance of one answer's score of the best candidate around the mean of its item, a judge's own wavering
            included; None without repeats.
        usd_per_use, tokens_per_use: Mean cost of one use, (seed, best).
        uncalibrated: Scores (seed, best) without calibration, where the task wants calibrated scoring.
    """

    model_config = ConfigDict(frozen=True)
    decision: Literal["improved", "kept", "inconclusive"]
    seed: str
    best: str
    seed_score: float
    best_score: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    n: int
    failed: int = 0
    unasked: int = 0
    noise: float | None = None
    tokens_per_use: tuple[float, float] = (0.0, 0.0)
    usd_per_use: tuple[float | None, float | None] = (None, None)
    uncalibrated: tuple[float, float] | None = None
    reason: str = ""
