"""Live progress of a bench on stderr: one moving line on a terminal, plain lines as cells begin and end elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from crito.bench_cells import Cell

_A_SECOND = 4


class BenchProgress:
    """A bench's listener that shows what it hears; use it as a context manager.

    Args:
        cells: Every cell, in order.
        quiet: Show nothing of the progress; what is said with :meth:`say` is shown all the same.
        console: Where to; stderr by default.
    """

    def __init__(self, cells: Sequence[Cell], *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._quiet = quiet
        self._live: Live | None = None
        self._numbers = {cell: number for number, cell in enumerate(cells, 1)}
        self._best: dict[Cell, float | None] = {}
        self._began = time.monotonic()
        self._left = len(cells)
        self._done = 0

    def __enter__(self) -> BenchProgress:
        if self._console.is_interactive and not self._quiet:
            self._live = Live(
                console=self._console, get_renderable=self._line, refresh_per_second=_A_SECOND, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, cell: Cell, event: Mapping[str, Any]) -> None:
        """Take one event of a cell."""
        match event["event"]:
            case "known":
                self._left -= 1
            case "start":
                self._best[cell] = None
                if self._live is None:
                    self._inform(self._at(cell))
            case "warning":
                self.say(f"warning: {cell}: {event['text']}")
            case "best":
                self._best[cell] = event["score"]
            case "finished":
                self._finished(cell, event["result"].test_score)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(text)

    def _finished(self, cell: Cell, score: float) -> None:
        at = self._at(cell)
        self._best.pop(cell, None)
        self._left -= 1
        self._done += 1
        self._inform(f"{at} · held out {score:.3f}{self._time_left()}")

    def _inform(self, text: str) -> None:
        if not self._quiet:
            self.say(text)

    def _at(self, cell: Cell) -> str:
        best = self._best.get(cell)
        scored = "" if best is None else f" · best {best:.2f}"
        return f"{self._numbers[cell]} of {len(self._numbers)} · {cell}{scored}"

    def _time_left(self) -> str:
        """What the cells that are left take at the pace of those that this start has done."""
        if not self._done or not self._left:
            return ""
        seconds = (time.monotonic() - self._began) / self._done * self._left
        return f" · {timedelta(seconds=int(seconds))} left"

    def _line(self) -> Text:
        running = " | ".join(self._at(cell) for cell in self._best)
        return Text(f"{running}{self._time_left()}", no_wrap=True, overflow="ellipsis")
