"""How many calls may be in flight at once: halves when a provider pushes back, recovers one by one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType

_RECOVERY = 10
"""Successes in a row before the limit grows by one (additive increase, multiplicative decrease)."""


class Limiter:
    """An adaptive semaphore.

    Args:
        most: Upper bound of calls in flight, the user's ``concurrency``.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._active = 0
        self._streak = 0
        self._shrunk = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def succeeded(self) -> None:
        """A call went well."""
        self._streak += 1
        if self._streak >= _RECOVERY and self.limit < self._most:
            self.limit += 1
            self._streak = 0
            self._wake()

    def pushed_back(self) -> None:
        """The provider answered 429 or 5xx; at most one halving a second, since a burst fails together."""
        self._streak = 0
        now = time.monotonic()
        if now - self._shrunk >= 1.0:
            self.limit = max(1, self.limit // 2)
            self._shrunk = now

    async def __aenter__(self) -> None:
        if self._active >= self.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._active -= 1
                    self._wake()
                raise
        else:
            self._active += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._active < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._active += 1
                turn.set_result(None)
