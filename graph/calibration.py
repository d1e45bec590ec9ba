"""Calibrated scoring of single prompts: whose divisors count, and on which inputs they are estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crito.errors import BadInput
from crito.graph.deps import Deps
from crito.records import Candidate, main_module
from crito.task import Example, Task
from crito.tools.splits import MINIMUM


def own_divisors(task: Task) -> Mapping[str, float]:
    """The divisors that the task's prompt has from an earlier run; empty where it has none or they play no part.

    Raises:
        BadInput: Some label has none.
    """
    divisors = task.prompts[main_module(task.prompts)].calibration
    if task.scoring != "calibrated" or not divisors:
        return {}
    absent = next((label for label in task.labels if label not in divisors), None)
    if absent is not None:
        cure = "add it, or remove 'calibration', so that all are estimated anew"
        raise BadInput(f"prompt.calibration: label {absent!r} has no divisor; {cure}")
    return divisors


def calibration_inputs(task: Task, examples: Sequence[Example]) -> tuple[Example, ...]:
    """Inputs that divisors are estimated on: those of validation, as in a verdict, else of training; never scored ones.

    Raises:
        BadInput: None are left.
    """
    scored = {example.id for example in examples}
    unscored = ([e for e in split if e.id not in scored] for split in (task.splits.val, task.splits.train))
    found = next((tuple(inputs) for inputs in unscored if inputs), ())
    if not found:
        cure = "use --split test" if task.splits.val or task.splits.train else f"give at least {MINIMUM} examples"
        raise BadInput(f"scoring: calibrated is estimated on inputs that are not scored, and none are left; {cure}")
    return found


async def divisors_of(deps: Deps, candidate: Candidate, inputs: Sequence[Example]) -> Mapping[str, float]:
    """What a candidate's label probabilities are divided by: what its prompt brings along, else their means.

    Args:
        deps: With a task that wants calibrated scoring, or there are no divisors.
        candidate: Whose answers.
        inputs: What it answers for its means.

    Raises:
        BudgetExhausted: The budget ended on the way.
        ProviderFailure: The provider is down.
    """
    if deps.task.scoring != "calibrated":
        return {}
    if candidate.main.calibration:
        return candidate.main.calibration
    await deps.evaluator.evaluate(candidate, inputs)
    return deps.archive.marginal(candidate.id, inputs)


def unused_divisors(task: Task, *, search: bool) -> str | None:
    """Why the divisors of the task's prompt play no part, as a warning; None where they do or there are none."""
    if not task.prompts[main_module(task.prompts)].calibration:
        return None
    if task.scoring != "calibrated":
        cure = "" if search else "; set scoring: calibrated"
        return f"prompt.calibration is not used: scoring: {task.scoring} divides nothing{cure}"
    if search:
        return (
            "prompt.calibration is not used: a search estimates the divisors of every prompt, the first one included, "
            "on the same validation inputs"
        )
    return None
