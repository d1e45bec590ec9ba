"""Scoring one prompt on a set of examples, through the same ledger as a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from crito.errors import BadInput, BudgetExhausted
from crito.graph.calibration import calibration_inputs, divisors_of, own_divisors, unused_divisors
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
from crito.tools.likelihood import calibrated_outcome
from crito.tools.limits import check_reach, wavering
from crito.tools.meter import Spend
from crito.tools.metrics import try_metric
from crito.tools.stats import mean_interval


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
    own = own_divisors(task)
    inputs = calibration_inputs(task, examples) if task.scoring == "calibrated" and (variants or not own) else ()
    chosen = probe(task, examples, variants, inputs)
    check_reach(task, examples, *prices, more=chosen.answers + (0 if own else len(inputs)))
    await try_metric(metric, task)
    for warning in filter(None, (wavering(task), unused_divisors(task, search=False))):
        listener({"event": "warning", "text": warning})
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
            outcomes, divisors, robust = await _answered(deps, examples, inputs, chosen)
            found = _evaluation(deps, models[0].name, examples, outcomes, divisors)
            calibrated = _calibration(deps, examples, inputs, divisors)
        paid = bill(database, run, time.monotonic() - began)
        return found.model_copy(update={**calibrated, "robustness": robust, "bill": paid})
    finally:
        await database.close()


async def _answered(
    deps: Deps, examples: Sequence[Example], inputs: Sequence[Example], chosen: Probe
) -> tuple[list[Outcome], Mapping[str, float], Robustness | None]:
    """All outcomes of the prompt, its divisors, and what its variants came to."""
    deps.ledger.meter.open_verdict()  # no search is to come, so nothing is kept back for what follows it
    seed = deps.archive.candidate(deps.seed)
    outcomes: list[Outcome] = []
    with deps.tracer.span("execute_tool", "evaluate"):
        try:
            divisors = await divisors_of(deps, seed, inputs)
            for sample in range(deps.task.repeats):
                outcomes += await deps.evaluator.evaluate(seed, examples, sample=sample)
            return outcomes, divisors, await robustness(deps, chosen) if chosen.variants else None
        except BudgetExhausted as error:
            raise BadInput(
                f"{error} before all {len(examples)} examples were answered; raise it and evaluate again, "
                "which pays for the missing ones alone"
            ) from error


def _evaluation(
    deps: Deps, model: str, examples: Sequence[Example], raw: Sequence[Outcome], divisors: Mapping[str, float]
) -> Evaluation:
    task, by_id = deps.task, {example.id: example for example in examples}
    scores = _known(deps.archive.values(deps.seed, examples, divisors=divisors))
    outcomes = [calibrated_outcome(outcome, by_id[outcome.example], divisors) for outcome in raw]
    counted = confusions(outcomes, by_id, task) if task.labels else {}
    return Evaluation(
        name=task.name,
        model=model,
        score=fmean(scores or [0.0]),
        interval=mean_interval(scores),
        n=len(scores),
        failed=sum(outcome.score is None for outcome in outcomes),
        noise=deps.archive.noise(deps.seed, examples),
        failures={label: len(ids) for label, ids in clusters(outcomes, by_id, task).items()},
        confusions=tuple((e, g, n) for (e, g), n in sorted(counted.items(), key=lambda kv: -kv[1]) if e != g),
    )


def _calibration(
    deps: Deps, examples: Sequence[Example], inputs: Sequence[Example], divisors: Mapping[str, float]
) -> dict[str, Any]:
    """What an evaluation says of its calibration; nothing where the task wants none."""
    if deps.task.scoring != "calibrated":
        return {}
    own = deps.archive.candidate(deps.seed).main.calibration
    return {
        "calibration": dict(divisors),
        "calibrated_on": None if own else len(_known(deps.archive.values(deps.seed, inputs))),
        "uncalibrated": fmean(_known(deps.archive.values(deps.seed, examples, divisors={})) or [0.0]),
    }


def _known(scores: Sequence[float | None]) -> list[float]:
    return [score for score in scores if score is not None]
