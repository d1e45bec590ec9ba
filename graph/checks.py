"""What is checked before anything is written or paid for, by a run and by an evaluation alike."""

from __future__ import annotations

from typing import NamedTuple

from crito.errors import BadInput
from crito.graph.wiring import Parts
from crito.protocols import Metric, Model, ModelReply, ModelRequest
from crito.task import Task
from crito.tools.embedder import Embedder, resolve_embedder
from crito.tools.likelihood import inseparable
from crito.tools.limits import capped, check_context, check_time
from crito.tools.metrics import PatternMetric, TextMetric, resolve_metric
from crito.tools.prices import Price, context_of, price_of
from crito.tools.prompt_check import check_prompt


class Checked(NamedTuple):
    """A task that can work.

    Attributes:
        task: With a note of what was given as an object.
        models: The target's and the agents'.
        metric: To be tried only: a judge of it has no model to ask.
        prices: The target's and the agents', None where one is not known.
    """

    task: Task
    models: tuple[Model, Model]
    metric: Metric
    prices: tuple[Price | None, Price | None]


def checked(task: Task, parts: Parts) -> Checked:
    """Check models, prices, metric, placeholders and lengths; nothing is loaded, called or written.

    Raises:
        BadInput: The task cannot work: unknown model or metric, missing key or price, wrong placeholder, no time,
            a prompt longer than the model's context, a scoring that the labels or the model do not allow, repeats
            that would all be alike.
    """
    task = parts.named(task)
    check_time(task.budget)
    models = parts.models(task)
    target, agents = (_price(task, model.name) for model in models)
    _check_scoring(task, models[0], program=parts.target is not None)
    metric = parts.metric or resolve_metric(task, _not_asked)
    _check_repeats(task, metric, program=parts.target is not None)
    if parts.target is None:  # a program fills its prompts as it likes
        for prompt in task.prompts.values():
            check_prompt(prompt, task.inputs, "task")
        context = getattr(models[0], "context", None) or context_of(models[0].name)
        check_context(task, context)
        task = capped(task, context)
    return Checked(task, models, metric, (target, agents))


def checked_embedder(task: Task) -> Embedder | None:
    """The embedding model that a search looks lessons up with; None where it names none, or memory is off.

    Raises:
        BadInput: The name cannot be an embedding model's, its file, package or key is missing, or its price is.
    """
    if task.embed is None or task.memory == "off":
        return None
    embedder = resolve_embedder(task.embed)
    _price(task, embedder.name)
    return embedder


def _price(task: Task, name: str) -> Price | None:
    """A model's price; a budget in dollars must know it."""
    price = price_of(name, task.prices)
    if task.budget.usd is not None and price is None:
        raise BadInput(f"budget.usd: the price of {name} is not known; give it under 'prices', or use calls")
    return price


def _check_scoring(task: Task, model: Model, *, program: bool) -> None:
    if task.scoring == "sampled":
        return
    place, cure = f"scoring: {task.scoring}", "use scoring: sampled"
    if program:
        raise BadInput(f"{place} needs log-probabilities, which a program of yours does not give; {cure}")
    if task.metric != "label" or not task.labels:
        raise BadInput(f"{place} compares labels, so it needs 'labels' and metric: label; give both, or {cure}")
    if task.reasoning:
        raise BadInput(f"{place} reads the first token, which reasoning: true gives away; set it to false, or {cure}")
    if not getattr(model, "supports_logprobs", False):
        cures = f"{cure}, or a model such as local/smollm2 or endpoint/<url>#<model>"
        raise BadInput(f"{place} needs log-probabilities, which {model.name} does not give; {cures}")
    prefill = getattr(model, "supports_prefill", False)
    for prompt in task.prompts.values():
        alike = inseparable([prompt.words.get(label, label) for label in task.labels], prefill=prefill)
        if alike is not None:
            named, what = " and ".join(map(repr, alike)), "answer" if prefill else "first token"
            more = "" if prefill else ", or a model that goes on from a begun answer, such as local/<path to .gguf>"
            raise BadInput(f"{place}: no {what} tells the labels {named} apart; rename them, or {cure}{more}")


def _check_repeats(task: Task, metric: Metric, *, program: bool) -> None:
    if task.temperature > 0 and program:
        raise BadInput("temperature: a program of yours answers at its own; set it there, and leave it out here")
    if task.scoring != "sampled" and (task.temperature > 0 or task.repeats > 1):
        raise BadInput(
            f"scoring: {task.scoring} reads probabilities, which temperature and repeats do not change; leave them "
            "out, or use scoring: sampled"
        )
    fixed = isinstance(metric, TextMetric | PatternMetric)  # a judge, or a function of the user's, may waver
    if task.repeats > 1 and task.temperature == 0 and fixed and not program:
        raise BadInput(
            f"repeats: {task.repeats} answers at temperature 0 are alike; set a temperature above it, or repeats: 1"
        )


async def _not_asked(request: ModelRequest, sample: int) -> ModelReply:
    raise AssertionError(f"a metric that is only checked asks nothing: {request} ({sample})")
