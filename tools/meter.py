"""The budget while it is being spent: reserve before a call, settle after it."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass

from crito.errors import BudgetExhausted
from crito.task import Budget

_SEARCH_TIME = 0.75
"""Share of a time budget after which the search stops, so that the verdict still fits."""


@dataclass(frozen=True)
class Spend:
    """An amount: calls, tokens (in and out together), US dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Spend) -> Spend:
        return Spend(self.calls - other.calls, self.tokens - other.tokens, self.usd - other.usd)


class Meter:
    """Counts one run's spending over all roles and refuses what does not fit.

    The search is given everything except ``verdict``, which :meth:`open_verdict` releases at the end. On resume the
    meter starts at what the ledger says was paid, so a killed run cannot spend its budget twice.

    Args:
        budget: The user's limits.
        spent: What this run has paid before.
        verdict: The part kept back for the final comparison.
    """

    def __init__(self, budget: Budget, *, spent: Spend = Spend(), verdict: Spend = Spend()) -> None:
        self.budget = budget
        self.spent = spent
        self._held = Spend()
        self._settled = asyncio.Event()
        self._verdict = verdict
        self._started = time.monotonic()
        self._searching = True

    async def reserve(self, amount: Spend) -> None:
        """Set an amount aside before a call; where it would fit but for what calls in flight hold, wait for them.

        They hold the most that they can take, which is more than they will.

        Raises:
            BudgetExhausted: It does not fit; nothing was set aside.
        """
        while self.lacking(amount) is not None:
            lacking = self.lacking(amount - self._held)
            if lacking is not None:
                raise BudgetExhausted(lacking)
            await self._settled.wait()
        self._held += amount

    def lacking(self, amount: Spend = Spend()) -> str | None:
        """What there is too little of for an amount on top of all that is set aside; None where it fits."""
        total = self.spent + self._held + self._verdict + amount
        for name in ("calls", "tokens", "usd"):
            limit = getattr(self.budget, name)
            if limit is not None and getattr(total, name) > limit:
                return name
        return "seconds" if self.seconds_left() <= 0 else None

    def calls_left(self) -> int:
        """Calls that nothing is set aside for; very many where calls have no limit."""
        limit = self.budget.calls
        total = self.spent + self._held + self._verdict
        return sys.maxsize if limit is None else max(0, limit - total.calls)

    def settle(self, reserved: Spend, actual: Spend) -> None:
        """Replace a reservation by what the call really took."""
        self._held -= reserved
        self.spent += actual
        self._settled.set()
        self._settled = asyncio.Event()

    def keep_for_verdict(self, amount: Spend) -> None:
        """Keep an amount back for the verdict."""
        self._verdict = amount

    def open_verdict(self) -> None:
        """Release what was kept back, time included."""
        self._verdict = Spend()
        self._searching = False

    def seconds_left(self) -> float:
        """Seconds until the deadline, which is earlier while the verdict is still to come; infinite without one."""
        if self.budget.seconds is None:
            return float("inf")
        share = _SEARCH_TIME if self._searching else 1.0
        return share * self.budget.seconds - (time.monotonic() - self._started)
