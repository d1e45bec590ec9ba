"""Scoring one prompt on a set of examples, through the same ledger as a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crito.errors import BadInput, BudgetExhausted
from crito.graph.checks import checked
from crito.graph.deps import Deps
from crito.graph.presets import DEFAULT
from crito.graph.robustness import Probe, probe, robustness
from crito.graph.run import bill
from crito.graph.wiring import Listener, Parts, silent, wired
from crito.records import Outcome
from crito.result import Evaluation, Robustness
from crito.task import Example, Task
from crito.tools.database import Database
from crito.tools.diagnostics import clusters, confusions
from crito.tools.limits import check_reach
from crito.tools.meter import Spend
from crito.tools.metrics import try_metric
from crito.tools.stats import mean_interval, noise


async def measure(
    task: Task,
    examples: tuple[Example, ...],
    path: Path,
    run: str,
    *,
    variants: int = 0,
    parts: Parts | None = None,
    listener: Listener = silent,
) -> Evaluation:
    """Score the task's prompt on examples, each answered ``task.repeats`` times.

    Args:
        task: The task with the prompt.
        examples: What to score on, at least one.
        path: The run database.
        run: Id under which the calls are billed.
        variants: How many variants of the prompt are scored too, on at most 30 of the examples.
        parts: Objects in place of names.
        listener: Takes progress events.

    Raises:
        BadInput: The task cannot work, its budget does not reach for all answers, or there is no variant to score.
        ProviderFailure: The provider is down.
    """
    began = time.monotonic()
    parts = parts or Parts()
    task, models, metric, prices = checked(task, parts)
    chosen, inputs = probe(task, examples, variants), _calibrating(task, examples)
    check_reach(task, examples, *prices, more=chosen.answers + len(inputs))
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
            outcomes, robust = await _answered(deps, examples, inputs, chosen)
            found = _evaluation(deps, models[0].name, examples, inputs, outcomes)
        paid = bill(database, run, time.monotonic() - began)
        return found.model_copy(update={"robustness": robust, "bill": paid})
    finally:
        await database.close()


def _calibrating(task: Task, examples: Sequence[Example]) -> tuple[Example, ...]:
    """Inputs that calibrated scoring is estimated on: those of validation, as in a verdict, else of training."""
    if task.scoring != "calibrated":
        return ()
    scored = {example.id for example in examples}
    unscored = ([e for e in split if e.id not in scored] for split in (task.splits.val, task.splits.train))
    found = next((tuple(inputs) for inputs in unscored if inputs), ())
    if not found:
        raise BadInput(
            "scoring: calibrated is estimated on inputs that are not scored, and none are left; use --split test"
        )
    return found


async def _answered(
    deps: Deps, examples: Sequence[Example], inputs: Sequence[Example], chosen: Probe
) -> tuple[list[Outcome], Robustness | None]:
    """All outcomes of the prompt, and what its variants came to."""
    deps.ledger.meter.open_verdict()  # no search is to come, so nothing is kept back for what follows it
    seed = deps.archive.candidate(deps.seed)
    outcomes: list[Outcome] = []
    with deps.tracer.span("execute_tool", "evaluate"):
        try:
            await deps.evaluator.evaluate(seed, inputs)
            for sample in range(deps.task.repeats):
                outcomes += await deps.evaluator.evaluate(seed, examples, sample=sample)
            return outcomes, await robustness(deps, chosen) if chosen.variants else None
        except BudgetExhausted as error:
            raise BadInput(
                f"{error} before all {len(examples)} examples were answered; raise it and evaluate again, "
                "which pays for the missing ones alone"
            ) from error


def _evaluation(
    deps: Deps, model: str, examples: Sequence[Example], inputs: Sequence[Example], outcomes: Sequence[Outcome]
) -> Evaluation:
    task, by_id = deps.task, {example.id: example for example in examples}
    rows = deps.archive.repeats(deps.seed, examples)
    scores = [value for value in deps.archive.values(deps.seed, examples, inputs=inputs or None) if value is not None]
    counted = confusions(outcomes, by_id, task) if task.labels else {}
    return Evaluation(
        name=task.name,
        model=model,
        score=sum(scores) / len(scores) if scores else 0.0,
        interval=mean_interval(scores),
        n=len(scores),
        failed=sum(outcome.score is None for outcome in outcomes),
        noise=noise(rows) if any(len(row) > 1 for row in rows) else None,
        failures={label: len(ids) for label, ids in clusters(outcomes, by_id, task).items()},
        confusions=tuple((e, g, n) for (e, g), n in sorted(counted.items(), key=lambda kv: -kv[1]) if e != g),
    )
