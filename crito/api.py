"""The front door in Python: optimize, evaluate, resume."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crito.config import Memory
from crito.errors import BadInput
from crito.graph.measure import measure
from crito.graph.preset import Preset
from crito.graph.presets import preset as by_name
from crito.graph.run import Run, stored
from crito.graph.wiring import Listener, Parts, silent
from crito.memory.lesson_store import LessonStore
from crito.place import DATABASE
from crito.prompt import Prompt
from crito.protocols import Metric, Model, Output
from crito.result import Evaluation, Result
from crito.task import Budget, Example, Task
from crito.tools.database import Database
from crito.tools.metrics import UserMetric
from crito.tools.models import resolve
from crito.tools.target import TargetFunction
from crito.tools.task_file import build_task, load_task

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.store.base import BaseStore

Pairs = Sequence[tuple[object, object]] | Sequence[Mapping[str, object]]


async def aoptimize(
    task: Task | Path | str,
    examples: Pairs | None = None,
    *,
    model: str | Model | BaseChatModel | None = None,
    agent_model: str | Model | BaseChatModel | None = None,
    prompt: str | Prompt | None = None,
    metric: str | Metric | Callable[[Output, Example], Any] | None = None,
    target: TargetFunction | None = None,
    labels: Sequence[str] = (),
    budget: Budget | None = None,
    seed: int | None = None,
    preset: str | Preset | None = None,
    memory: Memory | None = None,
    remember_prompts: bool | None = None,
    embed: str | None = None,
    store: BaseStore | None = None,
    namespace: tuple[str, ...] = (),
    database: Path | str = DATABASE,
    listener: Listener = silent,
    started: Callable[[Run], None] = lambda _: None,
) -> Result:
    """Look for a better prompt and compare it with yours on held-out examples.

    Args:
        task: What the model should do, in a sentence; or a path to a TASK.yaml; or a :class:`Task`.
        examples: (input, right answer) pairs, or mappings whose last key is the answer; only with a sentence.
        model: Who the prompt is for, as a name or an object.
        agent_model: Who speaks for the agents; the same as ``model`` by default.
        prompt: The prompt to improve; the sentence by default.
        metric: Name of a metric, ``module:function``, or a callable (output, example) -> Score.
        target: An async callable (prompts, inputs) -> text, in place of a single model call.
        labels: The possible answers, for classification.
        budget: Hard limits over all roles.
        seed: Seed of all random choices.
        preset: A method, by name (``crito presets`` lists them) or as settings of your own; None lets the task decide.
        memory: Whose lessons are used and added to: those beside the run database (``project``, the default), the
            user's own (``user``), or nobody's (``off``).
        remember_prompts: Whether the best prompt's text is kept there as well, demonstrations included.
        embed: Embedding model that compares lessons with the task, by name; words alone do by default. A provider's is
            sent the task's description and the texts of lessons.
        store: A LangGraph store of the host, in place of ``memory``.
        namespace: Where in it, such as ``("team", "alice")``; Crito's records are under ``crito`` there.
        database: The run database.
        listener: Takes progress events (mappings with the key ``event``); silent by default. Give ``print`` to see
            them, or a :class:`crito.progress.Progress`, entered with ``with``, for what the command line shows.
        started: Takes the run before its first call, so that it can be drained.

    Raises:
        BadInput: Something given cannot work; nothing was written.
        ProviderFailure: The provider is down; the run can be resumed.
        Interrupted: Drained, or out of time; the run can be resumed.
    """
    models = _models(model=model, agent_model=agent_model)
    keys = {
        **_names(models),
        "prompt": prompt,
        "metric": metric if isinstance(metric, str) else None,
        "labels": list(labels) or None,
        "budget": budget,
        "seed": seed,
        "memory": memory,
        "remember_prompts": remember_prompts,
        "embed": embed,
    }
    fixed = _task(task, examples, {key: value for key, value in keys.items() if value is not None})
    named = by_name(preset) if isinstance(preset, str) else preset
    parts = _parts(models, metric, target, _lessons(store, namespace))
    run = Run(fixed, Path(database), parts=parts, preset=named, listener=listener)
    started(run)
    return await run.start(new_run_id())


async def aresume(
    run: str,
    *,
    model: Model | BaseChatModel | None = None,
    agent_model: Model | BaseChatModel | None = None,
    metric: Metric | Callable[[Output, Example], Any] | None = None,
    target: TargetFunction | None = None,
    memory: Memory | None = None,
    store: BaseStore | None = None,
    namespace: tuple[str, ...] = (),
    budget: Budget | None = None,
    database: Path | str = DATABASE,
    listener: Listener = silent,
    started: Callable[[Run], None] = lambda _: None,
) -> Result:
    """Go on with a run where it stopped; a finished one gives its result again without a call.

    Args:
        run: Id of the run.
        model: The object that the run was started with, if it was one; objects are not stored.
        agent_model: The same for the agents' model.
        metric: The same for the metric.
        target: The same for the user's own program.
        memory: In place of the run's own, from here on.
        store: The same for the host's store.
        namespace: The same for the place in it.
        budget: Limits that replace those of the run, over all of its starts; those not set stay as they are.
        database: The run database.
        listener: Takes progress events.
        started: Takes the run before its next call.

    Raises:
        BadInput: There is no such run or no such database, another process is at work on it, or it has ended and new
            limits are given.
        ProviderFailure: The provider is still down.
        Interrupted: Drained again.
    """
    path = Path(database)
    if not path.exists():  # noqa: ASYNC240 - one stat, before anything runs
        raise BadInput(f"{path}: there is no run database here; name one with --db FILE")
    opened = Database(path)
    try:
        task, preset, ended = stored(opened, run)
    finally:
        opened.dispose()
    if ended is not None and budget is not None:
        raise BadInput(f"budget: run {run} has ended, and its verdict was opened once; start a new run with more")
    if ended is not None:
        return ended
    if budget is not None:
        limits = task.budget.model_copy(update=budget.model_dump(exclude_unset=True))
        task = task.model_copy(update={"budget": limits})
    if memory is not None:
        task = task.model_copy(update={"memory": memory})
    parts = _parts(_models(model=model, agent_model=agent_model), metric, target, _lessons(store, namespace))
    resumed = Run(task, path, parts=parts, preset=preset, listener=listener)
    started(resumed)
    return await resumed.start(run)


async def aevaluate(
    task: Task | Path | str,
    examples: Pairs | None = None,
    *,
    prompt: str | Prompt | None = None,
    split: Literal["all", "train", "val", "test"] = "all",
    model: str | Model | BaseChatModel | None = None,
    agent_model: str | Model | BaseChatModel | None = None,
    metric: str | Metric | Callable[[Output, Example], Any] | None = None,
    target: TargetFunction | None = None,
    labels: Sequence[str] = (),
    robustness: int = 0,
    budget: Budget | None = None,
    database: Path | str = DATABASE,
    listener: Listener = silent,
) -> Evaluation:
    """Score one prompt on a task's examples; it takes any number of examples.

    Args:
        task: What the model should do, in a sentence; or a path to a TASK.yaml; or a :class:`Task`.
        examples: (input, right answer) pairs, or mappings whose last key is the answer; only with a sentence.
        prompt: The prompt to score; the task's own, or the sentence, by default.
        split: Which examples.
        model: Who answers, as a name or an object.
        agent_model: Who a judge asks.
        metric: Name of a metric, ``module:function``, or a callable (output, example) -> Score.
        target: An async callable (prompts, inputs) -> text, in place of a single model call.
        labels: The possible answers, for classification.
        robustness: Score so many variants of the prompt too, which mean the same, on at most 30 of the examples.
        budget: Hard limits.
        database: Where the calls are kept.
        listener: Takes progress events.

    Raises:
        BadInput: Something given cannot work, or the budget does not reach for all examples.
        ProviderFailure: The provider is down.
    """
    if robustness < 0:
        raise BadInput(f"robustness: {robustness} variants cannot be scored; give a number such as 10, or 0 for none")
    models = _models(model=model, agent_model=agent_model)
    keys = {
        **_names(models),
        "metric": metric if isinstance(metric, str) else None,
        "labels": list(labels) or None,
        "budget": budget,
    }
    fixed = _task(task, examples, {key: value for key, value in keys.items() if value is not None}, allow_few=True)
    if prompt is not None:
        scored = prompt if isinstance(prompt, Prompt) else Prompt.from_text(prompt, inputs=fixed.inputs)
        fixed = fixed.model_copy(update={"prompts": {"main": scored}})
    splits = fixed.splits
    by_split = {"train": splits.train, "val": splits.val, "test": splits.test}
    chosen = by_split.get(split, (*splits.train, *splits.val, *splits.test))
    if not chosen:
        raise BadInput(f"split: there are no {split} examples; choose another with --split")
    parts = _parts(models, metric, target)
    path, run = Path(database), new_run_id()
    return await measure(fixed, chosen, path, run, variants=robustness, parts=parts, listener=listener)


def optimize(task: Task | Path | str, examples: Pairs | None = None, **options: Any) -> Result:
    """:func:`aoptimize` for code without an event loop."""
    return asyncio.run(aoptimize(task, examples, **options))


def resume(run: str, **options: Any) -> Result:
    """:func:`aresume` for code without an event loop."""
    return asyncio.run(aresume(run, **options))


def evaluate(task: Task | Path | str, examples: Pairs | None = None, **options: Any) -> Evaluation:
    """:func:`aevaluate` for code without an event loop."""
    return asyncio.run(aevaluate(task, examples, **options))


def _models(**given: str | Model | BaseChatModel | None) -> dict[str, str | Model]:
    """The models that were given, by key: names as they are, objects as Crito speaks to them."""
    return {
        key: value if isinstance(value, str) else resolve(value) for key, value in given.items() if value is not None
    }


def _names(models: Mapping[str, str | Model]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else value.name for key, value in models.items()}


def _parts(
    models: Mapping[str, str | Model],
    metric: str | Metric | Callable[[Output, Example], Any] | None,
    target: TargetFunction | None,
    store: LessonStore | None = None,
) -> Parts:
    objects = {key: value for key, value in models.items() if not isinstance(value, str)}
    scorer = UserMetric(getattr(metric, "__name__", "metric"), metric) if callable(metric) else None
    model, agent_model = objects.get("model"), objects.get("agent_model")
    return Parts(model=model, agent_model=agent_model, metric=scorer, target=target, store=store)


def _lessons(store: BaseStore | None, namespace: tuple[str, ...]) -> LessonStore | None:
    if store is not None:
        return LessonStore(store, "/".join((type(store).__name__, *namespace)), namespace=namespace)
    if namespace:
        raise BadInput("namespace: is a place in a store; give the store too")
    return None


def _task(task: Task | Path | str, examples: Pairs | None, keys: dict[str, Any], *, allow_few: bool = False) -> Task:
    """The task from what was given; ``keys`` complete a description, or override the keys of a TASK.yaml."""
    if isinstance(task, Task):
        given = [key for key in keys if key not in ("model", "agent_model")] + ["examples"] * (examples is not None)
        if given:
            raise BadInput(f"task: a Task is complete; use task.model_copy in place of {', '.join(given)}")
        names: dict[str, Any] = {key: keys[key] for key in ("model", "agent_model") if key in keys}
        if task.agent_model == task.model:  # one model for both stays one
            names = {"agent_model": names.get("model", task.model), **names}
        return task.model_copy(update=names)
    if isinstance(task, str) and examples is not None:
        if "model" not in keys:
            raise BadInput("task: 'model' is missing; name one, such as openai/gpt-5-mini or local/smollm2")
        return build_task(name="task", description=task, examples=examples, allow_few=allow_few, **keys)
    path = Path(task) if isinstance(task, str | Path) else Path()
    if path.suffix not in (".yaml", ".yml") or examples is not None:
        raise BadInput("task: give examples with a description, or the path of a TASK.yaml alone")
    if isinstance(keys.get("budget"), Budget):
        keys = {**keys, "budget": keys["budget"].model_dump(exclude_none=True)}
    return load_task(path, overrides=keys, allow_few=allow_few)


def new_run_id() -> str:
    """Eight hexadecimal digits."""
    return secrets.token_hex(4)
