"""Which preset a task gets whose user named none: by its budget, its data and the kind of its labels."""

from __future__ import annotations

from crito.graph.preset import Preset
from crito.graph.presets import DEFAULT, LEAN
from crito.task import Task

_FEWEST_CALLS, _FEWEST_EXAMPLES = 400, 10
"""Calls for answers, and training examples, below which the default's later stages have nothing to work with.

In the scripted world that holds with right answers and without: up to about 400 calls the default finds no more than
lean, which finds most with right answers, by showing them, and hardly anything without.
"""


def chosen(task: Task, calls: int) -> tuple[Preset, str]:
    """The preset for a task whose user named none, and why, in a line.

    Args:
        task: The task.
        calls: About how many calls its budget reaches for; where a judge scores, half of them are the judge's.
    """
    train, judged = len(task.splits.train), task.metric.partition(":")[0] == "judge"
    given = f"{_kind(task)}; about {calls} calls{', half of them to judge,' if judged else ''}"
    if calls < _FEWEST_CALLS * (2 if judged else 1):
        return LEAN, f"preset lean: {given} are too few for the default's stages"
    if train < _FEWEST_EXAMPLES:
        return LEAN, f"preset lean: {_kind(task)}; {train} training examples are too few for the default's stages"
    return DEFAULT, f"preset default: {given} and {train} training examples reach for all its stages"


def _kind(task: Task) -> str:
    """What kind of answers the training examples have, and what of them can be shown as demonstrations."""
    if not task.answered:
        return "no right answers, so only the model's own with full marks can be shown"
    return f"{len(task.labels)} labels" if task.labels else "free-text answers"
