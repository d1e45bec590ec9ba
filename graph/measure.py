"""Scoring one prompt on a set of examples, through the same ledger as a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crito.errors import BadInput, BudgetExhausted
from crito.graph.checks import checked
from crito.graph.deps import Deps
from crito.graph.presets import DEFAULT
from crito.graph.run import bill
from crito.graph.wiring import Listener, Parts, silent, wired
from crito.records import Outcome
from crito.result import Bill, Evaluation
from crito.task import Example, Task
from crito.tools.database import Database
from crito.tools.diagnostics import clusters, confusions
from crito.tools.limits import check_reach
from crito.tools.meter import Spend
from crito.tools.metrics import try_metric
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
        BadInput: The task cannot work, or its budget does not reach for all examples.
        ProviderFailure: The provider is down.
    """
    began = time.monotonic()
    parts = parts or Parts()
    task, models, metric, prices = checked(task, parts)
    check_reach(task, examples, *prices)
    await try_metric(metric, task)
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
            outcomes = await _outcomes(deps, examples)
        return _evaluation(task, models[0].name, examples, outcomes, bill(database, run, time.monotonic() - began))
    finally:
        await database.close()


async def _outcomes(deps: Deps, examples: Sequence[Example]) -> list[Outcome]:
    deps.ledger.meter.open_verdict()  # no search is to come, so nothing is kept back for what follows it
    with deps.tracer.span("execute_tool", "evaluate"):
        try:
            return await deps.evaluator.evaluate(deps.archive.candidate(deps.seed), examples)
        except BudgetExhausted as error:
            raise BadInput(
                f"{error} before all {len(examples)} examples were answered; raise it and evaluate again, "
                "which pays for the missing ones alone"
            ) from error


def _evaluation(
    task: Task, model: str, examples: Sequence[Example], outcomes: Sequence[Outcome], paid: Bill
) -> Evaluation:
    by_id = {example.id: example for example in examples}
    scores = [o.score.value for o in outcomes if o.score is not None]
    counted = confusions(outcomes, by_id, task) if task.labels else {}
    return Evaluation(
        name=task.name,
        model=model,
        score=sum(scores) / len(scores) if scores else 0.0,
        interval=mean_interval(scores),
        n=len(scores),
        failed=len(outcomes) - len(scores),
        failures={label: len(ids) for label, ids in clusters(outcomes, by_id, task).items()},
        confusions=tuple((e, g, n) for (e, g), n in sorted(counted.items(), key=lambda kv: -kv[1]) if e != g),
        bill=paid,
    )
