"""What a budget buys: how many test and validation examples fit, and what a run will roughly take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from crito.errors import BadInput
from crito.prompt import Message, Prompt
from crito.task import Budget, Example, Task
from crito.tools.likelihood import answer_calls
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
_AGENTS = 0.03
"""About the agents' share of a run's calls, measured over our scenarios; a judge's calls come on top."""
_JUDGED = 350
"""About the tokens of a judge's instructions and rulings, beside the inputs and the answer."""
_CONCLUSIVE = 6
"""The fewest test examples whose sign-flip test can fall below p = .05: 2 / 2^6 = .03."""
_SHORTEST = 1.0
"""Seconds in which nothing at all can be done."""


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
    """The cap on the target's answers: near the longest expected one, roomy where there is reasoning or no answer.

    With labels scored by likelihood one token, or room for the answer that is begun where no first token tells.
    """
    if task.scoring != "sampled" and _target_calls(task) == 1:
        return 1
    if task.max_output_tokens is not None:
        return task.max_output_tokens
    if task.reasoning:
        return 512
    examples = [*task.splits.train, *task.splits.val]
    known = [*task.labels, *(e.expected for e in examples if e.expected is not None)]
    if not known or task.metric.startswith("judge"):
        return 256
    return min(1024, int(max(len(answer) for answer in known) / 2.5) + 8)


def complete(budget: Budget, price: Price | None, agents: Price | None) -> Budget:
    """The budget with a limit on calls where nothing else limits them: no tokens, and no dollars that a call takes.

    Args:
        budget: The user's limits.
        price: The target's price, if it is known.
        agents: The agents' price, if it is known.
    """
    paid = budget.usd is not None and any(known is None or _usd(known, 1, 1) > 0 for known in (price, agents))
    if budget.calls is None and budget.tokens is None and not paid:
        return budget.model_copy(update={"calls": DEFAULT_CALLS})
    return budget


def estimate(task: Task, price: Price | None, agents: Price | None) -> Estimate:
    """What the run may take: what the tightest limit allows, at an average candidate's length.

    Args:
        task: The task, with its budget completed.
        price: The target's price.
        agents: The agents' price; about 3 % of the calls are theirs, and all of a judge's.
    """
    use = _use(task, _mean_tokens(task, demos=_DEMOS), price, agents)
    uses = _affordable(task.budget, use)
    priced = price is not None and agents is not None
    return Estimate(uses * use.calls, uses * use.tokens, uses * use.usd if priced else None)


def fit(task: Task, price: Price | None, agents: Price | None) -> tuple[Task, Spend]:
    """The task with as many validation and test examples as the budget can use, and what the verdict keeps back.

    Args:
        task: The task, with its budget completed.
        price: The target's price, if it is known.
        agents: The agents' price, if it is known.

    Returns:
        The task (splits cut to what fits, in their stratified order, and the cap on answers set, so that fitting it
        again gives the same), and the verdict's share.

    Raises:
        BadInput: The budget is too small for a comparison; the message says the least that works.
    """
    use = _use(task, _mean_tokens(task, demos=_DEMOS), price, agents)
    uses = _affordable(task.budget, use)
    splits = task.splits
    tests, vals = _shares(task, uses)
    if not _enough(task, uses):
        least = next(count for count in itertools.count(uses) if _enough(task, count))
        raise BadInput(
            f"budget: {_words(task.budget)} reaches for about {uses * use.calls} calls, too few for a search and a "
            f"verdict on {min(_LEAST, len(splits.test))} test examples; the least that works is about "
            f"{least * use.calls} calls"
        )
    cut = splits.model_copy(update={"val": splits.val[:vals], "test": splits.test[:tests]})
    answers = 2 * tests * task.repeats
    verdict = Spend(answers * use.calls, answers * use.tokens, answers * use.usd)
    return task.model_copy(update={"splits": cut, "max_output_tokens": output_limit(task)}), verdict


def check_reach(
    task: Task, examples: Sequence[Example], price: Price | None, agents: Price | None, *, more: int = 0
) -> None:
    """Refuse a budget that does not reach for every example's answers.

    Args:
        task: The task, with its budget and the answers to each example.
        examples: What is to be answered.
        price: The target's price, if it is known.
        agents: The agents' price, if it is known.
        more: Answers that are wanted on top.

    Raises:
        BadInput: It does not; the message says how many calls are needed.
    """
    mean = sum(_longest(task, example) for example in examples) // len(examples)
    use = _use(task, mean, price, agents)
    answers = len(examples) * task.repeats + more
    uses = _affordable(task.budget, use, unlimited=answers)
    if uses < answers:
        single = answers == len(examples)
        raise BadInput(
            f"budget: {_words(task.budget)} reaches for about {uses} of {answers} "
            f"{'examples' if single else 'answers'}, which need {answers * use.calls} calls; raise it, or take fewer "
            f"examples{'' if single else ', repeats or variants'}"
        )


def check_time(budget: Budget) -> None:
    """Refuse a time in which nothing can be done.

    Raises:
        BadInput: It is shorter than a second.
    """
    if budget.seconds is not None and budget.seconds < _SHORTEST:
        raise BadInput(f"budget.seconds: {budget.seconds:g} s is too short for a single answer; give at least 1")


def caution(task: Task) -> str | None:
    """What the user should know of the test split before anything is paid for; None where it is large enough."""
    tests = len(task.splits.test)
    if tests >= _CONCLUSIVE:
        return None
    return (
        f"with {tests} test example{'' if tests == 1 else 's'} no gain can be told from luck (p < .05): at least "
        f"{_CONCLUSIVE} are needed, which a file of {2 * _LEAST} examples gives"
    )


def wavering(task: Task) -> str | None:
    """That the noise of the answers will not be known; None where there is none, or it is measured."""
    if task.temperature == 0 or task.repeats > 1:
        return None
    return (
        f"at temperature {task.temperature:g} answers waver, and each example is answered once: repeats: 3 measures by "
        "how much, and takes it into account"
    )


def _shares(task: Task, uses: int) -> tuple[int, int]:
    """Test and validation examples that so many uses of a prompt are enough for."""
    tests = min(len(task.splits.test), int(task.budget.verdict_share * uses / (2 * task.repeats)))
    return tests, min(len(task.splits.val), (uses - 2 * tests * task.repeats) // _RACES)


def _enough(task: Task, uses: int) -> bool:
    tests, vals = _shares(task, uses)
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


def capped(task: Task, context: int | None) -> Task:
    """The task with a cap on prompt tokens that lets every example fit into the model's context.

    Without it a candidate could win on short inputs and fail on long ones, which no comparison would see. That is why
    the longest test input counts too: its length alone, not its answer, nor what any prompt makes of it.
    """
    if context is None:
        return task
    seed = max(prompt_tokens(prompt) for prompt in task.prompts.values())
    longest = max(_longest(task, e) for e in [*task.splits.train, *task.splits.val, *task.splits.test])
    room = context - output_limit(task) - (longest - seed)
    return task.model_copy(update={"max_prompt_tokens": min(room, task.max_prompt_tokens or room)})


def _longest(task: Task, example: Example) -> int:
    return max(message_tokens(prompt.render(example.inputs)) for prompt in task.prompts.values())


def _mean_tokens(task: Task, *, demos: int) -> int:
    """Mean tokens of a request: the seed, its input, and ``demos`` demonstrations of a training example's size."""
    train = task.splits.train[:50]
    seed = max(prompt_tokens(prompt) for prompt in task.prompts.values())
    sizes = [sum(len(v) for v in e.inputs.values()) / _CHARACTERS_PER_TOKEN + 2 * _PER_MESSAGE for e in train]
    example = sum(sizes) / len(sizes) if sizes else 0.0
    return int(seed + (1 + demos) * example)


def _use(task: Task, tokens_in: int, price: Price | None, agents: Price | None) -> Spend:
    """What one scored answer takes, a judge's ruling on it and the agents' share of the run included."""
    answer, judged = output_limit(task), task.metric.partition(":")[0] == "judge"
    usd = _usd(price, tokens_in, answer) + _AGENTS * _usd(agents, tokens_in, answer)
    if not judged:
        calls = _target_calls(task)
        return Spend(calls, calls * (tokens_in + answer), calls * usd)
    return Spend(2, tokens_in + 2 * answer + _JUDGED, usd + _usd(agents, answer + _JUDGED // 2, _JUDGED // 2))


def _target_calls(task: Task) -> int:
    """About how many calls of the target one answer takes: several only where no first token tells labels apart."""
    if task.scoring == "sampled":
        return 1
    words = ([prompt.words.get(label, label) for label in task.labels] for prompt in task.prompts.values())
    return max(map(answer_calls, words))


def _usd(price: Price | None, tokens_in: int, tokens_out: int) -> float:
    return 0.0 if price is None else tokens_in * price.tokens_in + tokens_out * price.tokens_out


def _affordable(budget: Budget, use: Spend, *, unlimited: int = DEFAULT_CALLS) -> int:
    """Uses of a prompt that fit into every limit; ``unlimited`` where none is set."""
    limits = [
        limit / each
        for name in ("calls", "tokens", "usd")
        if (limit := getattr(budget, name)) is not None and (each := getattr(use, name)) > 0
    ]
    return int(min(limits, default=unlimited))


def _words(budget: Budget) -> str:
    named = {"usd": "US dollars", "calls": "calls", "tokens": "tokens"}
    parts = [f"{value:g} {word}" for key, word in named.items() if (value := getattr(budget, key)) is not None]
    return " and ".join(parts)
