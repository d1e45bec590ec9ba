"""Live progress of a run on stderr: one moving line on a terminal, one plain line per round elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from crito.task import Budget

_A_SECOND = 4


class Progress:
    """A listener that shows what it hears; use it as a context manager.

    Args:
        quiet: Show nothing of the progress; what is said with :meth:`say` is shown all the same.
        console: Where to; stderr by default.

    Attributes:
        run: Id of the run, once it has started.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.run = ""
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._quiet = quiet
        self._live: Live | None = None
        self._budget: Budget | None = None
        self._priced = False
        self._began = time.monotonic()
        self._deadline = math.inf
        self._stage = ""
        self._best: float | None = None
        self._calls = self._tokens = 0
        self._usd = 0.0

    def __enter__(self) -> Progress:
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

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event of a run."""
        match event["event"]:
            case "start":
                self._start(event)
            case "warning":
                self.say(f"warning: {event['text']}")
            case "round":
                self._stage = f"round {event['round']} {event['stage']}"
            case "outcome":
                spent = event["spent"]
                self._calls, self._tokens, self._usd = spent.calls, spent.tokens, spent.usd
                self._deadline = time.monotonic() + event["left"]
            case "best":
                self._best = event["score"]
                self._plainly(self.summary())
            case "verdict":
                self._stage = f"verdict on {event['n']} held-out examples"
                self._plainly(self._stage)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(text)

    def inform(self, text: str) -> None:
        """Show a line that stays, unless quiet."""
        if not self._quiet:
            self.say(text)

    def summary(self) -> str:
        """Where the run stands: round, stage, best score on validation, and what was spent of what."""
        limits = self._budget
        parts = [
            self._stage,
            "" if self._best is None else f"best {self._best:.2f}",
            f"{_of(self._calls, limits.calls if limits else None)} calls",
            f"{_of(self._tokens, limits.tokens if limits else None)} tokens",
            f"${self._usd:.4f}" + (f"/${limits.usd:g}" if limits and limits.usd else "") if self._priced else "",
        ]
        return " · ".join(part for part in parts if part)

    def _start(self, event: Mapping[str, Any]) -> None:
        self.run, task, estimate = event["run"], event["task"], event["estimate"]
        self._budget = task.budget
        self._priced = estimate.usd is not None
        price = f"${estimate.usd:.4f}" if self._priced else "price unknown"
        self.inform(
            f"run {self.run}: {task.name} on {task.model}: at most {estimate.calls:,} calls, "
            f"about {estimate.tokens:,} tokens, {price}"
        )
        self.inform(event["why"] or f"preset {event['preset']}")

    def _plainly(self, text: str) -> None:
        if self._live is None:
            self.inform(text)

    def _line(self) -> Text:
        now = time.monotonic()
        left = self._deadline - now
        clock = f"{_minutes(now - self._began)} gone" if math.isinf(left) else f"{_minutes(left)} left"
        return Text(f"{clock} · {self.summary()}", no_wrap=True, overflow="ellipsis")


def _of(spent: int, limit: int | None) -> str:
    return f"{spent:,}" if limit is None else f"{spent:,}/{limit:,}"


def _minutes(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02}"
