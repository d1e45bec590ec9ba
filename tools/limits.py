"""What a budget buys: how many test and validation examples fit, and what a run will roughly take."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from crito.errors import BadInput
from crito.prompt import Message, Prompt
from crito.task import Budget, Example, Task
from crito.tools.meter import Spend
from crito.tools.prices import Price

DEFAULT_CALLS = 1000
"""Calls when the user sets no limit on calls, tokens or dollars."""
_LEAST = 10
"""Test and validation examples that a comparison needs at least (fewer only where the data has fewer)."""
_RACES = 6
"""The search should afford this many passes over the validation examples."""
_CHARACTERS_PER_TOKEN = 4.0
_PER_MESSAGE = 5
_DEMOS = 3
"""Demonstrations in an average candidate, for the estimate."""


class Estimate(NamedTuple):
    """What a run takes at most (calls) and about (tokens, usd; None for an unknown price)."""

    calls: int
    tokens: int
    usd: float | None


def message_tokens(messages: list[Message]) -> int:
    """About how many tokens messages have: a token per four characters and five for each message's frame."""
    return sum(int(len(m.content) / _CHARACTERS_PER_TOKEN) + _PER_MESSAGE for m in messages)


def prompt_tokens(prompt: Prompt) -> int:
    """About how many tokens a prompt has without its input."""
    return message_tokens(prompt.render(dict.fromkeys(prompt.fields, "")))


def output_limit(task: Task) -> int:
    """The cap on the target's answers: near the longest expected one, roomy where there is reasoning or no answer."""
    if task.max_output_tokens is not None:
        return task.max_output_tokens
    if task.reasoning:
        return 512
    examples = [*task.splits.train, *task.splits.val]
    known = [*task.labels, *(e.expected for e in examples if e.expected is not None)]
    if not known or task.metric.startswith("judge"):
        return 256
    return min(1024, int(max(len(answer) for answer in known) / 2.5) + 8)


def complete(budget: Budget) -> Budget:
    """The budget with a limit on calls where the user set none on calls, tokens or dollars."""
    if budget.calls is None and budget.tokens is None and budget.usd is None:
        return budget.model_copy(update={"calls": DEFAULT_CALLS})
    return budget


def estimate(task: Task, price: Price | None) -> Estimate:
    """What the run may take: the calls that the tightest limit allows, at an average candidate's length."""
    mean = _mean_tokens(task, demos=_DEMOS)
    calls = _affordable(task, mean, price)
    usd = None if price is None else calls * (mean * price.tokens_in + output_limit(task) * price.tokens_out)
    return Estimate(calls, calls * (mean + output_limit(task)), usd)


def fit(task: Task, price: Price | None) -> tuple[Task, Spend]:
    """The task with as many validation and test examples as the budget can use, and what the verdict keeps back.

    Returns:
        The task (splits cut to what fits, in their stratified order), and the verdict's share.

    Raises:
        BadInput: The budget is too small for a comparison; the message says the least that works.
    """
    mean = _mean_tokens(task, demos=_DEMOS)
    calls = _affordable(task, mean, price)
    splits = task.splits
    tests, vals = _shares(task, calls)
    if not _enough(task, calls):
        least = next(count for count in itertools.count(calls) if _enough(task, count))
        raise BadInput(
            f"budget: {_words(task.budget)} reaches for about {calls} calls, too few for a search and a verdict on "
            f"{min(_LEAST, len(splits.test))} test examples; the least that works is about {least} calls"
        )
    cut = splits.model_copy(update={"val": splits.val[:vals], "test": splits.test[:tests]})
    used = mean + output_limit(task)
    usd = 0.0 if price is None else 2 * tests * (mean * price.tokens_in + output_limit(task) * price.tokens_out)
    return task.model_copy(update={"splits": cut}), Spend(2 * tests, 2 * tests * used, usd)


def _shares(task: Task, calls: int) -> tuple[int, int]:
    """Test and validation examples that so many calls are enough for."""
    tests = min(len(task.splits.test), int(task.budget.verdict_share * calls / 2))
    return tests, min(len(task.splits.val), (calls - 2 * tests) // _RACES)


def _enough(task: Task, calls: int) -> bool:
    tests, vals = _shares(task, calls)
    return tests >= min(_LEAST, len(task.splits.test)) and vals >= min(_LEAST, len(task.splits.val))


def check_context(task: Task, context: int | None) -> None:
    """Refuse a seed whose longest request does not fit into the model.

    Raises:
        BadInput: It does not fit.
    """
    if context is None:
        return
    longest = max((_longest(task, e), e.id) for e in [*task.splits.train, *task.splits.val, *task.splits.test])
    if longest[0] + output_limit(task) > context:
        raise BadInput(
            f"prompt: with example {longest[1]} it has about {longest[0]} tokens, and {task.model} reads {context} "
            "with its answer; shorten the prompt or that input"
        )


def _longest(task: Task, example: Example) -> int:
    return max(message_tokens(prompt.render(example.inputs)) for prompt in task.prompts.values())


def _mean_tokens(task: Task, *, demos: int) -> int:
    """Mean tokens of a request: the seed, its input, and ``demos`` demonstrations of a training example's size."""
    train = task.splits.train[:50]
    seed = max(prompt_tokens(prompt) for prompt in task.prompts.values())
    sizes = [sum(len(v) for v in e.inputs.values()) / _CHARACTERS_PER_TOKEN + 2 * _PER_MESSAGE for e in train]
    example = sum(sizes) / len(sizes) if sizes else 0.0
    return int(seed + (1 + demos) * example)


def _affordable(task: Task, mean: int, price: Price | None) -> int:
    budget = task.budget
    limits = [float("inf")]
    if budget.calls is not None:
        limits.append(budget.calls)
    if budget.tokens is not None:
        limits.append(budget.tokens / (mean + output_limit(task)))
    if budget.usd is not None and price is not None:
        each = mean * price.tokens_in + output_limit(task) * price.tokens_out
        limits.append(budget.usd / each if each else float("inf"))
    most = min(limits)
    return DEFAULT_CALLS if most == float("inf") else int(most)


def _words(budget: Budget) -> str:
    named = {"usd": "US dollars", "calls": "calls", "tokens": "tokens"}
    parts = [f"{value:g} {word}" for key, word in named.items() if (value := getattr(budget, key)) is not None]
    return " and ".join(parts)
