"""A task's signature: by what tasks are alike for which the same advice may hold. It holds no text of the task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crito.records import TaskKind
from crito.task import Task
from crito.tools.metrics import parse
from crito.tools.redaction import public_name

ALIKE = 0.8
"""Likeness from which two tasks count as like ones, where that is asked with yes or no."""
_COPIED = 0.8
"""Share of the answers that stand in their inputs from which a task is an extraction."""
_SHORT = 60
"""Characters of an answer up to which a text counts as rewritten, not as generated."""
_READ = 20
"""Inputs that the language is told from."""
_WEIGHTS = {"kind": 0.4, "labels": 0.2, "metric": 0.15, "input_words": 0.15, "language": 0.1}
"""What each part weighs; ours, and not fitted to anything."""


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters on one line")
    return text


OneLine = Annotated[str, AfterValidator(_plain)]
"""A text that cannot steer a terminal: a store may be filled by others."""
Name = Annotated[OneLine, Field(max_length=300)]
RecordId = Annotated[Name, Field(min_length=1)]
"""Of a run or a candidate."""
TargetName = Annotated[Name, AfterValidator(public_name)]
"""A model, as it is remembered: without the keys that its address may hold."""


class Signature(BaseModel):
    """What is known of a task without a look at its texts.

    Attributes:
        kind: What it asks for.
        metric: Name of the metric, without what it is given: a rubric or a pattern is the user's own text.
        labels: How many answers there are to choose from; 0 for free text.
        input_words: Words of a median training input.
        language: ISO 639-1 code of the inputs' language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: TaskKind
    metric: Name
    labels: int = Field(ge=0, le=1_000_000)
    input_words: float = Field(ge=0)
    language: Name


class Signatures:
    """Many signatures side by side, as columns.

    Args:
        signatures: Their order is that of the results.
    """

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self._columns = {name: np.array([getattr(s, name) for s in signatures]) for name in Signature.model_fields}

    def likeness(self, other: Signature) -> NDArray[np.float64]:
        """How alike each is to another one, from 0 to 1; shape (signatures,).

        Names count where they are equal, numbers by the quotient of the smaller and the larger, one added to both.
        """
        found = np.zeros(len(self._columns["kind"]))
        for name, weight in _WEIGHTS.items():
            column, wanted = self._columns[name], getattr(other, name)
            if isinstance(wanted, str):
                found += weight * (column == wanted)
            else:
                found += weight * (1 + np.minimum(column, wanted)) / (1 + np.maximum(column, wanted))
        return found


def signature_of(task: Task) -> Signature:
    """The signature of a task; the first one of a process loads the language identifier, which takes about a second."""
    texts = [" ".join(example.inputs.values()) for example in task.splits.train]
    return Signature(
        kind=kind_of(task),
        metric=task.metric.partition(":")[0],
        labels=len(task.labels),
        input_words=median(len(text.split()) for text in texts) if texts else 0.0,
        language=_identifier().classify("\n".join(texts[:_READ]))[0],
    )


def kind_of(task: Task) -> TaskKind:
    """The kind that the examples show: labels, answers copied from the input, numbers worked out, or free text."""
    if task.labels:
        return "classification"
    if task.reasoning:
        return "reasoning"
    known = [e for e in task.splits.train if e.expected]
    copied = sum(any((e.expected or "") in value for value in e.inputs.values()) for e in known)
    if known and copied >= _COPIED * len(known):
        return "extraction"
    short = sum(len(parse(task, e.expected or "") or "") <= _SHORT for e in known)
    return "rewriting" if known and short >= 0.8 * len(known) else "generation"


@cache
def _identifier() -> Any:
    import py3langid

    return py3langid
