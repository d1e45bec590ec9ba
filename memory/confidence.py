"""How far a measurement of an earlier run is trusted: against doubt, against losses, and less as time goes by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crito.memory.record import Measurement

DOUBT = 16.0
"""Examples' worth of doubt: a gain that was seen is pulled towards none."""
MOST = 100
"""Examples that one run counts at most, so that a few runs can refute any claim."""
REFUTED = 2
"""Runs of like tasks without a gain from which what had fewer with one promises nothing."""
OTHER_MODEL = 0.5
"""What a run with another model counts."""
_HALF_LIFE = 90 * 86_400.0
"""Seconds after which a run that was not confirmed since counts half."""


def lasting(seen: NDArray[np.float64], now: float) -> NDArray[np.float64]:
    """What runs still count, from 1 to 0: half for every 90 days that they are away from now.

    A run that lies in the future, by a wrong clock, counts as little as one that is as long past.

    Args:
        seen: When each was, in seconds since 1970.
        now: Seconds since 1970.
    """
    return 0.5 ** (np.abs(now - seen) / _HALF_LIFE)


def promise(measured: Sequence[Measurement], now: float, shares: NDArray[np.float64] | None = None) -> float:
    """The gain that runs of like tasks with the same model promise: pulled towards none by doubt, losses and age.

    None without any, and where two of them or more saw no gain, and fewer saw one.

    Args:
        measured: One for each run.
        now: Seconds since 1970.
        shares: What each counts by its task and model, from 1 to 0; all 1 by default.
    """
    rows = [(m.n, m.gain, m.seen) for m in measured]
    n, gains, seen = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    lost, won = np.count_nonzero(gains <= 0), np.count_nonzero(gains > 0)
    weights = np.minimum(n, MOST) * lasting(seen, now) * (1.0 if shares is None else shares)
    found = float(weights @ gains / (weights.sum() + DOUBT))
    return min(found, 0.0) if lost >= REFUTED and lost > won else found
