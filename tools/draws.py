"""Which of many replies is meant when a question is asked again: above temperature 0, each draw has its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_running: ContextVar[int] = ContextVar("draw", default=0)


@contextmanager
def drawing(number: int) -> Iterator[None]:
    """What is asked inside, in this task and in those that it starts, is asked for the draw of this number.

    The ledger keeps one reply for each question and draw. So two workers with the same question get two replies, and
    a worker that is run again after a crash gets its own ones back.
    """
    token = _running.set(number)
    try:
        yield
    finally:
        _running.reset(token)


def current_draw() -> int:
    """The number of the draw that is being made; 0 outside of all."""
    return _running.get()
