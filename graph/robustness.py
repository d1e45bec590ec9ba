"""What a prompt is worth when it is written in other ways that mean the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from statistics import fmean, pstdev
from typing import NamedTuple

from crito.errors import BadInput
from crito.graph.calibration import divisors_of
from crito.graph.deps import Deps
from crito.records import Candidate, Outcome, candidate_id, main_module
from crito.result import Robustness
from crito.task import Example, Task
from crito.tools.likelihood import calibrated_outcome, decided
from crito.tools.metrics import parse
from crito.tools.splits import interleaved
from crito.tools.variants import Variant, variants

EXAMPLES = 30
"""The most examples that each variant answers."""
_AS_WRITTEN = "as written"


class Probe(NamedTuple):
    """What is to be answered: variants of the prompt, the examples that all get, and those to calibrate each on."""

    variants: tuple[Variant, ...]
    examples: tuple[Example, ...]
    inputs: tuple[Example, ...]

    @property
    def answers(self) -> int:
        """Answers that it takes at most, besides those to the prompt as it is written."""
        return len(self.variants) * (len(self.examples) + len(self.inputs))


def probe(task: Task, examples: Sequence[Example], count: int, inputs: tuple[Example, ...] = ()) -> Probe:
    """Choose the variants and the examples, labels evenly mixed.

    Args:
        task: The task with the prompt.
        examples: Where to take the examples from; at most 30 are taken.
        count: How many variants; there may be fewer.
        inputs: With calibrated scoring, what the divisors of each variant are estimated on.

    Raises:
        BadInput: Variants are wanted, and nothing of the prompt may be changed.
    """
    prompt = task.prompts[main_module(task.prompts)]
    made = variants(prompt, labels=task.labels, seed=task.seed, count=count)
    if count and not made:
        raise BadInput(
            "robustness: nothing of the prompt may be written in another way; freeze less of it, or leave this out"
        )
    return Probe(made, tuple(interleaved(examples, task.seed)[:EXAMPLES]), inputs)


async def robustness(deps: Deps, chosen: Probe) -> Robustness:
    """Score the prompt and its variants on the same examples; what the archive has is not paid again.

    Calibrated answers are so by the divisors of the variant that gave them, so that score, sensitivity and POSIX are
    those of what each variant would be used as.

    Raises:
        BudgetExhausted: The budget ended on the way.
        ProviderFailure: The provider is down.
    """
    kinds = [_AS_WRITTEN, *(variant.kind for variant in chosen.variants)]
    candidates = [deps.archive.candidate(deps.seed), *(_candidate(deps, variant) for variant in chosen.variants)]
    outcomes = [await _outcomes(deps, candidate, chosen) for candidate in candidates]
    return summary(deps.task, kinds, outcomes)


async def _outcomes(deps: Deps, candidate: Candidate, chosen: Probe) -> list[Outcome]:
    divisors = await divisors_of(deps, candidate, chosen.inputs)
    answered = await deps.evaluator.evaluate(candidate, chosen.examples)
    return [calibrated_outcome(o, e, divisors) for o, e in zip(answered, chosen.examples, strict=True)]


def summary(task: Task, kinds: Sequence[str], outcomes: Sequence[Sequence[Outcome]]) -> Robustness:
    """What outcomes say of a prompt's robustness.

    Args:
        task: Says how answers are read.
        kinds: What was changed in each variant.
        outcomes: For each variant those on the same examples, in the same order.
    """
    means = [(kind, _mean(row)) for kind, row in zip(kinds, outcomes, strict=True)]
    scored = tuple((kind, mean) for kind, mean in means if mean is not None)
    scores = [score for _, score in scored] or [0.0]
    return Robustness(
        mean=fmean(scores),
        worst=min(scores),
        best=max(scores),
        spread=pstdev(scores),
        sensitivity=sensitivity([[_answer(task, outcome) for outcome in row] for row in outcomes]),
        posix=posix([[outcome.probabilities for outcome in row] for row in outcomes]),
        by_variant=scored,
        n=max(map(len, outcomes)),
        failed=sum(outcome.score is None for row in outcomes for outcome in row),
    )


def sensitivity(answers: Sequence[Sequence[str | None]]) -> float:
    """1 - mean pairwise agreement over the variants: the stand-in for POSIX where there are no log-probabilities.

    Args:
        answers: One row per variant, the same examples in the same order; None for a call that failed, which is no
            part of any pair.

    Returns:
        From 0 (all answer alike) to 1; 0 where there is no pair.
    """
    pairs = [
        one == other
        for mine, theirs in combinations(answers, 2)
        for one, other in zip(mine, theirs, strict=True)
        if one is not None and other is not None
    ]
    return 1 - fmean(pairs) if pairs else 0.0


def posix(probabilities: Sequence[Sequence[Mapping[str, float] | None]]) -> float | None:
    """The prompt sensitivity index POSIX, averaged over the examples; at least 0, in nats.

    Over N variants x of an input with answers y: 1 / (N (N - 1)) * sum over i != j of
    |log P(y_j | x_j) - log P(y_j | x_i)| / length(y_j). The form is given here from memory, not checked against its
    publication. An answer is one label here, so its length is 1 and P is its share among the labels: with calibrated
    scoring, the share after calibration, which adds up to 1 as well.

    Args:
        probabilities: One row per variant, the same examples in the same order; by label, None where there are none.

    Returns:
        The mean over the examples that at least two variants answered; None where there is no such example.
    """
    columns = ([p for p in column if p] for column in zip(*probabilities, strict=True))
    indices = [
        fmean(abs(math.log(mine[decided(mine)]) - math.log(other[decided(mine)])) for mine, other in pairs)
        for column in columns
        if (pairs := list(permutations(column, 2)))
    ]
    return fmean(indices) if indices else None


def _candidate(deps: Deps, variant: Variant) -> Candidate:
    prompts = {**deps.task.prompts, main_module(deps.task.prompts): variant.prompt}
    return Candidate(
        id=candidate_id(prompts), prompts=prompts, parents=(deps.seed,), operator="variant", hypothesis=variant.kind
    )


def _mean(outcomes: Sequence[Outcome]) -> float | None:
    scores = [outcome.score.value for outcome in outcomes if outcome.score is not None]
    return fmean(scores) if scores else None


def _answer(task: Task, outcome: Outcome) -> str | None:
    """The answer as the metric sees it, in folded case; empty where it sees none, None where the call failed."""
    if outcome.score is None:
        return None
    return (parse(task, outcome.output) or "").casefold()
