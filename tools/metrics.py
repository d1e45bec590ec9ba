"""From a metric's name to a function that scores: ``label``, ``numeric``, ``judge:<rubric>``, ``module:function``."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import Any

from pydantic import ValidationError

from crito.errors import BadInput, CritoError
from crito.labels import find_label
from crito.protocols import Metric, Output
from crito.task import Example, Score, Task
from crito.tools import judge, text_metrics
from crito.tools.redaction import redacted

Ask = judge.Ask

_COMPARISONS: Mapping[str, Callable[[str, str], Score]] = {
    "exact_match": text_metrics.exact_match,
    "contains": text_metrics.contains,
    "numeric": text_metrics.numeric,
    "regex": text_metrics.regex,
    "json_fields": text_metrics.json_fields,
    "rouge": text_metrics.rouge,
    "chrf": text_metrics.chrf,
}
_NAMES = ("label", *_COMPARISONS, "judge")


@dataclass(frozen=True)
class TextMetric:
    """Compares the answer's text with the example's expected answer."""

    name: str
    compare: Callable[[str, str], Score]

    def __call__(self, output: Output, example: Example) -> Score:
        """Score one output.

        Raises:
            BadInput: The example has no expected answer, or one that the metric cannot use.
        """
        if example.expected is None:
            raise BadInput(f"example {example.id} has no expected answer, which metric {self.name} needs")
        try:
            return self.compare(output.text, example.expected)
        except BadInput as error:
            raise BadInput(f"example {example.id}: {error}") from error


@dataclass(frozen=True)
class PatternMetric:
    """Looks for one pattern in every answer; examples need no expected answer."""

    name: str
    pattern: str

    def __call__(self, output: Output, example: Example) -> Score:  # noqa: ARG002 - the shape of a Metric
        """Score one output."""
        return text_metrics.regex(output.text, self.pattern)


@dataclass(frozen=True)
class UserMetric:
    """A user's function of (output, example), sync or async, giving a Score, a number, a bool or (number, feedback)."""

    name: str
    function: Callable[[Output, Example], Any]

    async def __call__(self, output: Output, example: Example) -> Score:
        """Score one output.

        Raises:
            BadInput: The function gave something that is not a score from 0 to 1.
        """
        value = self.function(output, example)
        if isawaitable(value):
            value = await value
        if isinstance(value, Score):
            return value
        number, feedback = value if isinstance(value, tuple) and len(value) == 2 else (value, "")
        try:
            return Score(value=number, feedback=feedback)
        except ValidationError as error:
            raise BadInput(
                f"metric {self.name} gave {value!r} on example {example.id}; "
                "return a number from 0 to 1, a bool, a Score or (number, feedback)"
            ) from error


def resolve_metric(task: Task, ask: Ask | None = None) -> Metric:
    """The metric that ``task.metric`` names.

    Args:
        task: Gives the name, the labels and, for ``judge``, the requirements.
        ask: How ``judge`` reaches its model; no other metric uses it.

    Raises:
        BadInput: The name is unknown, or what the metric needs is missing.
    """
    name, _, argument = task.metric.partition(":")
    if name == "judge":
        return judge.Judge.of(task, argument, ask)
    if name == "regex" and argument:
        text_metrics.regex("", argument)  # a broken pattern must show before any work is done
        return PatternMetric(task.metric, argument)
    if argument and name not in _NAMES:
        return UserMetric(task.metric, _import(name, argument))
    if name == "label" and not task.labels:
        raise BadInput("metric label needs the labels: list the possible answers under 'labels'")
    if task.metric == "label":
        return TextMetric("label", partial(text_metrics.label, labels=task.labels))
    if task.metric in _COMPARISONS:
        compare = _COMPARISONS[task.metric]
        compare("{}", "{}")  # a missing package must show before any work is done
        return TextMetric(task.metric, compare)
    raise _unknown(task.metric)


async def score(metric: Metric, output: Output, example: Example) -> Score:
    """The metric's score, awaited where it is async.

    Raises:
        BadInput: The metric raised; the message names the example and the error.
        CallFailed: The metric asked a model and that call failed.
    """
    try:
        value = metric(output, example)
        return await value if isawaitable(value) else value
    except CritoError:
        raise
    except Exception as error:
        name = getattr(metric, "name", getattr(metric, "__name__", type(metric).__name__))
        said = text_metrics.shorten(redacted(str(error)))
        reason = f"{type(error).__name__} on example {example.id}: {said}"
        raise BadInput(f"metric {name} raised {reason}") from error


async def try_metric(metric: Metric, task: Task) -> None:
    """Score every example's own expected answer, so that a metric that cannot work shows before anything is paid.

    A judge is not tried, because it is paid itself.

    Raises:
        BadInput: The metric fails on an example, which the message names.
    """
    if isinstance(metric, judge.Judge):
        return
    for example in (*task.splits.train, *task.splits.val, *task.splits.test):
        if example.expected is not None or isinstance(metric, TextMetric):
            await score(metric, Output(text=example.expected or ""), example)


def parse(task: Task, text: str) -> str | None:
    """The answer as the task's metric sees it: the label or number found, else the stripped text; None for nothing."""
    if task.metric == "label":
        return find_label(text, task.labels) if task.labels else None
    if task.metric == "numeric":
        return text_metrics.find_number(text)
    return text.strip() or None


def _import(module: str, function: str) -> Callable[[Output, Example], Any]:
    place = f"metric {module}:{function}"
    if not re.fullmatch(r"\w+(\.\w+)*", module):
        raise _unknown(f"{module}:{function}")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        near = _near(module)
        raise BadInput(f"{place}: there is no module {error.name!r} on the Python path{near}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {redacted(str(error))}"
        raise BadInput(f"{place}: importing {module} raised {reason}") from error
    if not callable(found):
        raise BadInput(f"{place}: module {module} has no function {function!r}")
    checked: Callable[[Output, Example], Any] = found
    return checked


def _unknown(name: str) -> BadInput:
    return BadInput(f"metric {name!r} is unknown{_near(name)}; there are: {', '.join(_NAMES)} and module:function")


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.casefold(), _NAMES, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
