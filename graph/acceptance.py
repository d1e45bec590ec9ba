"""Acceptance: whether a candidate that finished its race may take the incumbent's place.

``differences`` are paired per example, candidate minus incumbent. Nothing is accepted on no evidence at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from crito.tools.stats import non_inferior

_ROUNDING = 1e-9  # graded scores add up to no more than this where they are equal


def better(differences: Sequence[float]) -> bool:
    """Strict acceptance: the mean paired difference is above zero; equal is not better."""
    return sum(differences) > _ROUNDING


def cheaper(differences: Sequence[float], saved: float, margin: float) -> bool:
    """Non-inferior at a lower price.

    Args:
        differences: Paired differences.
        saved: What one use costs less than the incumbent's, in tokens; must be above zero.
        margin: How much the mean score may fall (:func:`crito.tools.stats.non_inferior`).
    """
    return saved > 0 and bool(differences) and non_inferior(differences, margin)
