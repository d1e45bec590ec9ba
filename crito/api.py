"""The front door in Python: optimize, evaluate, resume."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from crito.errors import BadInput
from crito.graph.measure import measure
from crito.graph.presets import DEFAULT, Preset
from crito.graph.run import DATABASE, Run, stored
from crito.graph.wiring import Listener, Parts, silent
from crito.prompt import Prompt
from crito.protocols import Metric, Model, Output
from crito.result import Evaluation, Result
from crito.task import Budget, Example, Task
from crito.tools.database import Database
from crito.tools.metrics import UserMetric
from crito.tools.target import TargetFunction
from crito.tools.task_file import build_task, load_task

Pairs = Sequence[tuple[object, object]] | Sequence[Mapping[str, object]]


async def aoptimize(
    task: Task | Path | str,
    examples: Pairs | None = None,
    *,
    model: str | Model | None = None,
    agent_model: str | Model | None = None,
    prompt: str | Prompt | None = None,
    metric: str | Metric | Callable[[Output, Example], Any] | None = None,
    target: TargetFunction | None = None,
    labels: Sequence[str] = (),
    budget: Budget | None = None,
    seed: int | None = None,
    preset: Preset = DEFAULT,
    database: Path = DATABASE,
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
        preset: Settings of the search.
        database: The run database.
        listener: Takes progress events (mappings with the key ``event``).
        started: Takes the run before its first call, so that it can be drained.

    Raises:
        BadInput: Something given cannot work; nothing was written.
        ProviderFailure: The provider is down; the run can be resumed.
        Interrupted: Drained, or out of time; the run can be resumed.
    """
    given = {"model": model, "agent_model": agent_model}
    objects = {key: value for key, value in given.items() if value is not None and not isinstance(value, str)}
    names = {key: value if isinstance(value, str) else value.name for key, value in given.items() if value is not None}
    keys = {
        **names,
        "prompt": prompt,
        "metric": metric if isinstance(metric, str) else None,
        "labels": list(labels) or None,
        "budget": budget,
        "seed": seed,
    }
    fixed = _task(task, examples, {key: value for key, value in keys.items() if value is not None})
    parts = Parts(
        **objects,
        metric=UserMetric(getattr(metric, "__name__", "metric"), metric) if callable(metric) else None,
        target=target,
    )
    run = Run(fixed, database, parts=parts, preset=preset, listener=listener)
    started(run)
    return await run.start(new_run_id())


async def aresume(
    run: str,
    *,
    database: Path = DATABASE,
    parts: Parts | None = None,
    listener: Listener = silent,
    started: Callable[[Run], None] = lambda _: None,
) -> Result:
    """Go on with a run where it stopped; a finished one gives its result again without a call.

    Args:
        run: Id of the run.
        database: The run database.
        parts: Objects that the run was started with in place of names; they are not stored.
        listener: Takes progress events.
        started: Takes the run before its next call.

    Raises:
        BadInput: There is no such run or no such database.
        ProviderFailure: The provider is still down.
        Interrupted: Drained again.
    """
    if not database.exists():  # noqa: ASYNC240 - one stat, before anything runs
        raise BadInput(f"{database}: there is no run database here; name one with --db FILE")
    opened = Database(database)
    try:
        task, ended = stored(opened, run)
    finally:
        opened.dispose()
    if ended is not None:
        return ended
    resumed = Run(task, database, parts=parts, listener=listener)
    started(resumed)
    return await resumed.start(run)


async def aevaluate(
    task: Task | Path | str,
    prompt: Prompt | str | None = None,
    *,
    split: Literal["all", "train", "val", "test"] = "all",
    parts: Parts | None = None,
    database: Path = DATABASE,
    listener: Listener = silent,
) -> Evaluation:
    """Score one prompt on a task's examples; it takes any number of examples.

    Args:
        task: A :class:`Task` or the path of a TASK.yaml.
        prompt: The prompt to score; the task's own by default.
        split: Which examples.
        parts: Objects in place of names.
        database: Where the calls are kept.
        listener: Takes progress events.

    Raises:
        BadInput: Something given cannot work.
        ProviderFailure: The provider is down.
    """
    fixed = task if isinstance(task, Task) else load_task(Path(task), allow_few=True)
    if prompt is not None:
        seed = prompt if isinstance(prompt, Prompt) else Prompt.from_text(prompt, inputs=fixed.inputs)
        fixed = fixed.model_copy(update={"prompts": {"main": seed}})
    splits = fixed.splits
    by_split = {"train": splits.train, "val": splits.val, "test": splits.test}
    examples = by_split.get(split, (*splits.train, *splits.val, *splits.test))
    if not examples:
        raise BadInput(f"split: there are no {split} examples; choose another with --split")
    return await measure(fixed, examples, database, new_run_id(), parts=parts, listener=listener)


def optimize(task: Task | Path | str, examples: Pairs | None = None, **options: Any) -> Result:
    """:func:`aoptimize` for code without an event loop."""
    return asyncio.run(aoptimize(task, examples, **options))


def resume(run: str, **options: Any) -> Result:
    """:func:`aresume` for code without an event loop."""
    return asyncio.run(aresume(run, **options))


def evaluate(task: Task | Path | str, prompt: Prompt | str | None = None, **options: Any) -> Evaluation:
    """:func:`aevaluate` for code without an event loop."""
    return asyncio.run(aevaluate(task, prompt, **options))


def _task(task: Task | Path | str, examples: Pairs | None, keys: dict[str, Any]) -> Task:
    """The task from what was given; ``keys`` complete a description, or override the keys of a TASK.yaml."""
    if isinstance(task, Task):
        given = [key for key in keys if key not in ("model", "agent_model")] + ["examples"] * (examples is not None)
        if given:
            raise BadInput(f"optimize: a Task is complete; use task.model_copy in place of {', '.join(given)}")
        return task.model_copy(update={key: keys[key] for key in ("model", "agent_model") if key in keys})
    if isinstance(task, str) and examples is not None:
        if "model" not in keys:
            raise BadInput("optimize: 'model' is missing; name one, such as openai/gpt-5-mini or local/smollm2")
        return build_task(name="task", description=task, examples=examples, **keys)
    path = Path(task) if isinstance(task, str | Path) else Path()
    if path.suffix not in (".yaml", ".yml") or examples is not None:
        raise BadInput("optimize: give examples with a description, or the path of a TASK.yaml alone")
    if isinstance(keys.get("budget"), Budget):
        keys = {**keys, "budget": keys["budget"].model_dump(exclude_none=True)}
    return load_task(path, overrides=keys)


def new_run_id() -> str:
    """Eight hexadecimal digits."""
    return secrets.token_hex(4)
