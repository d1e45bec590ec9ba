"""What the answers that one step looks at have taken, whoever asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from crito.protocols import Usage


@dataclass
class Tally:
    """Tokens in and out of all answers so far.

    Answers from cache or archive count as what they once took, so that a step that is run again after a crash comes
    to the same sum.
    """

    tokens: int = 0

    def add(self, usage: Usage) -> None:
        """Count one answer."""
        self.tokens += usage.tokens_in + usage.tokens_out


_running: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Count the answers inside, in this task and in those that it starts; of nested tallies the inner one counts."""
    tally = Tally()
    token = _running.set(tally)
    try:
        yield tally
    finally:
        _running.reset(token)


def count(usage: Usage) -> None:
    """Add an answer to the tally of the step that asked for it, if there is one."""
    tally = _running.get()
    if tally is not None:
        tally.add(usage)
