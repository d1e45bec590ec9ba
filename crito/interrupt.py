"""Ctrl-C on a run: the first signal drains it, the second quits at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar

from crito.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Found = TypeVar("_Found")


class Drainable(Protocol):
    """What stops after its current step when it is asked to."""

    def drain(self, reason: str) -> None:
        """Stop after the current step."""
        ...


Started = Callable[[Drainable], None]


def run_stoppably(work: Callable[[Started], Coroutine[Any, Any, _Found]], say: Callable[[str], None]) -> _Found:
    """Run ``work`` to its end, or until the user stops it.

    Args:
        work: Makes the coroutine; it hands the run over before its first call.
        say: Tells the user that the first signal was heard.

    Raises:
        Interrupted: A second signal ended the run at once; what is in the database can be resumed.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def watch(run: Drainable) -> None:
        loop, running = asyncio.get_running_loop(), asyncio.current_task()

        def drain() -> None:
            say("stopping after the current step, Ctrl-C again to quit at once")
            run.drain("interrupted")

        def first(_signal: int, _frame: FrameType | None) -> None:
            _handle(second)
            loop.call_soon_threadsafe(drain)

        def second(_signal: int, _frame: FrameType | None) -> None:
            _handle(signal.SIG_DFL)  # should the clean-up hang, a third signal ends the process
            if running is not None:
                loop.call_soon_threadsafe(running.cancel)

        _handle(first)

    try:
        return asyncio.run(work(watch))
    except asyncio.CancelledError:
        raise Interrupted("quit at once") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)
