"""Scoring one prompt on a set of examples, through the same ledger as a run."""

from __future__ import annotations

import time
from pathlib import Path

from crito.graph.presets import DEFAULT
from crito.graph.run import bill
from crito.graph.wiring import Listener, Parts, silent, wired
from crito.result import Evaluation
from crito.task import Example, Task
from crito.tools.database import Database
from crito.tools.diagnostics import clusters, confusions
from crito.tools.meter import Spend
from crito.tools.stats import mean_interval


async def measure(
    task: Task,
    examples: tuple[Example, ...],
    path: Path,
    run: str,
    *,
    parts: Parts | None = None,
    listener: Listener = silent,
) -> Evaluation:
    """Score the task's prompt on examples.

    Args:
        task: The task with the prompt.
        examples: What to score on, at least one.
        path: The run database.
        run: Id under which the calls are billed.
        parts: Objects in place of names.
        listener: Takes progress events.

    Raises:
        BadInput: The task cannot work.
        BudgetExhausted: The task's budget does not reach for all examples.
        ProviderFailure: The provider is down.
    """
    began = time.monotonic()
    parts = parts or Parts()
    task = parts.named(task)
    models = parts.models(task)
    database = Database(path)
    try:
        async with wired(
            task,
            database,
            run,
            parts=parts,
            models=models,
            preset=DEFAULT,
            listener=listener,
            verdict=Spend(),
        ) as deps:
            with deps.tracer.span("execute_tool", "evaluate"):
                outcomes = await deps.evaluator.evaluate(deps.archive.candidate(deps.seed), examples)
        by_id = {example.id: example for example in examples}
        scores = [o.score.value for o in outcomes if o.score is not None]
        counted = confusions(outcomes, by_id, task) if task.labels else {}
        return Evaluation(
            name=task.name,
            model=models[0].name,
            score=sum(scores) / len(scores) if scores else 0.0,
            interval=mean_interval(scores),
            n=len(scores),
            failed=len(outcomes) - len(scores),
            failures={label: len(ids) for label, ids in clusters(outcomes, by_id, task).items()},
            confusions=tuple((e, g, n) for (e, g), n in sorted(counted.items(), key=lambda kv: -kv[1]) if e != g),
            bill=bill(database, run, time.monotonic() - began),
        )
    finally:
        await database.close()
