"""How many demonstrations a prompt may show."""

from __future__ import annotations

from collections.abc import Sequence

from crito.memory.recipe import LARGEST
from crito.prompt import Demo, Message
from crito.task import Task
from crito.tools.limits import message_tokens

_SIZES = (2, 4, 6, 8, 10, LARGEST)
_TOKENS = 280
"""Tokens that a set may take, about: they are paid for in every use."""


def shorter(demos: Sequence[Demo]) -> list[Demo]:
    """The shorter two thirds, shortest first."""
    ordered = sorted(demos, key=lambda d: sum(len(v) for v in d.inputs.values()))
    return ordered[: max(len(ordered) * 2 // 3, 1)]


def set_sizes(demos: Sequence[Demo], task: Task) -> list[int]:
    """Sizes of sets, ascending, that fit into the tokens for demonstrations; the two smallest in any case."""
    mean = sum(message_tokens(_turns(d)) for d in demos) / len(demos)
    sizes = sorted({*_SIZES, *((len(task.labels),) if len(task.labels) >= 2 else ())})
    fitting = sum(size * mean <= _TOKENS for size in sizes)
    return sizes[: max(2, fitting)]


def largest_set(task: Task) -> int:
    """How many of the training examples with their given answers fit at most; the largest set where none has one."""
    demos = [Demo(inputs=e.inputs, output=e.expected) for e in task.splits.train if e.expected is not None]
    short = shorter(demos)
    return min(set_sizes(short, task)[-1], len(short)) if demos else LARGEST


def _turns(demo: Demo) -> list[Message]:
    return [
        Message(role="user", content="\n".join(demo.inputs.values())),
        Message(role="assistant", content=demo.output),
    ]
