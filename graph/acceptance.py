"""Acceptance: whether a candidate that finished its race may take the incumbent's place.

``differences`` are paired per example, candidate minus incumbent. Nothing is accepted on no evidence at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from crito.tools.stats import non_inferior

_ROUNDING = 1e-9  # graded scores add up to no more than this where they are equal


def better(differences: Sequence[float], *, noise: float = 0.0, alpha: float = 0.2) -> bool:
    """Strict acceptance: the mean paired difference is above zero, and above what the answers' own noise explains.

    Without noise equal is not better, and anything above is. With noise it is the one-sided z-test of "the same
    answers would do as well if they were given anew": which examples were drawn is not doubted here.

    Args:
        differences: Paired differences.
        noise: Variance of one of them that is due to answers that waver.
        alpha: Level of the test.
    """
    least = NormalDist().inv_cdf(1 - alpha) * math.sqrt(noise * len(differences))
    return sum(differences) > max(least, _ROUNDING)


def cheaper(differences: Sequence[float], saved: float, margin: float) -> bool:
    """Non-inferior at a lower price.

    Args:
        differences: Paired differences.
        saved: What one use costs less than the incumbent's, in tokens; must be above zero.
        margin: How much the mean score may fall (:func:`crito.tools.stats.non_inferior`).
    """
    return saved > 0 and bool(differences) and non_inferior(differences, margin)
