"""Paired tests, intervals, racing decisions and bandit draws.

``differences`` are always paired per example, candidate minus reference, each within -1..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
BetaArm = tuple[float, float]
"""(wins, losses) of one arm, both at least 0; fractions are fine."""

_EXACT_UP_TO = 12  # non-zero differences: 4,096 sign patterns
_RACE_RESAMPLES = 2_000  # a Monte Carlo error below .01 at alpha = .2, where races decide
_BOOTSTRAP_RESAMPLES = 10_000
_POSTERIOR_DRAWS = 10_000
_ROUNDING = 1e-9  # two sums that differ by less are the same sum


def paired_test(differences: Sequence[float], *, seed: int = 0, resamples: int = 10_000) -> float:
    """Two-sided p-value of the sign-flip permutation test of "the mean difference is zero".

    Exact up to 12 non-zero differences; beyond that Monte Carlo, (1 + hits) / (1 + resamples), which never
    understates (Phipson & Smyth 2010).
    """
    observed, null, exact = _sign_flips(differences, seed, resamples)
    hits = int(np.count_nonzero(np.abs(null) >= abs(observed) - _ROUNDING))
    return hits / len(null) if exact else (1 + hits) / (1 + len(null))


def bootstrap_interval(differences: Sequence[float], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean difference, smoothed so that it also covers with few or rare differences.

    The plain percentile and BCa intervals collapse when almost all pairs agree: with 1 pair in 20 differing they
    cover in 65 % of cases, and equal answers on 20 examples give (0, 0). So the percentile bootstrap draws from the
    data plus two pseudo-pairs (half a gain, half a loss, one tie), the adjustment of Agresti & Min (2005) for paired
    proportions. Where scores are graded the pseudo-pairs are as large as the largest difference seen.

    Raises:
        ValueError: There are no differences.
    """
    data = _checked(differences)
    size = float(np.abs(data).max()) or 1.0
    values = np.concatenate([data, [size, -size, 0.0]])
    weights = np.concatenate([np.ones(len(data)), [0.5, 0.5, 1.0]])
    means = _resampled_means(values, weights, len(data) + 2, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def non_inferior(differences: Sequence[float], margin: float, *, level: float = 0.9, seed: int = 0) -> bool:
    """Whether the lower one-sided bootstrap bound of the mean difference lies above ``-margin``.

    It gates a compression, it proves nothing: the plain bootstrap is used, so that a shorter prompt with the same
    answers throughout passes on any number of examples.

    Raises:
        ValueError: There are no differences.
    """
    data = _checked(differences)
    means = _resampled_means(data, np.ones(len(data)), len(data), seed)
    return float(np.quantile(means, 1 - level)) > -margin


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927); (0, 1) when nothing was observed."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(scores: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval of a mean score: Wilson's for scores of 0 and 1, else a percentile bootstrap; (0, 1) for none."""
    if all(score in (0.0, 1.0) for score in scores):
        return wilson(sum(scores), len(scores), level)
    means = _resampled_means(np.asarray(scores), np.ones(len(scores)), len(scores), 0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def eliminated(scores: Mapping[str, Sequence[float]], *, keep: int, alpha: float) -> frozenset[str]:
    """Candidates that are out of the race: at least ``keep`` rivals beat them on the same items.

    "Beat" is the one-sided paired sign-flip test at ``alpha`` (CAPO's racing with a permutation test in place of its
    t-test). All pairs are tested on the same sign patterns. At least ``keep`` candidates always stay.

    Args:
        scores: Scores by candidate; position k is the same item for all of them.
        keep: How many the race is to leave, at least 1.
        alpha: Level of each single test, below .5.

    Raises:
        ValueError: The candidates were not scored on the same number of items.
    """
    names = list(scores)
    if len({len(s) for s in scores.values()}) > 1:
        raise ValueError("a race needs every candidate's scores on the same items")
    if len(names) <= keep or not len(scores[names[0]]):
        return frozenset()
    table = np.array([scores[name] for name in names], dtype=np.float64)
    first, second = np.triu_indices(len(names), k=1)
    p_first, p_second = _race_p_values(table, first, second)
    losers = np.concatenate([second[p_first < alpha], first[p_second < alpha]])
    defeats = np.bincount(losers, minlength=len(names))
    return frozenset(name for name, count in zip(names, defeats, strict=True) if count >= keep)


def thompson(arms: Mapping[str, BetaArm], rng: np.random.Generator) -> str:
    """The arm with the largest draw from its posterior Beta(1 + wins, 1 + losses).

    Raises:
        ValueError: There are no arms.
    """
    if not arms:
        raise ValueError("thompson needs at least one arm")
    counts = np.array(list(arms.values()), dtype=np.float64)
    draws = rng.beta(1 + counts[:, 0], 1 + counts[:, 1])
    return list(arms)[int(np.argmax(draws))]


def best_probabilities(scores: Mapping[str, Sequence[float]], *, seed: int = 0) -> dict[str, float]:
    """How probable it is for each candidate that none is better, under a normal posterior of all means together.

    The means are drawn from N(observed means, sample covariance / n), so that what is common to all on an example
    cancels out, as in a paired test; 10,000 draws. Equal candidates share a first place in full, so the sum may
    exceed 1.

    Args:
        scores: Scores by candidate; position k is the same item for all of them. At least 2 items.
        seed: Seed of the draws.

    Raises:
        ValueError: Fewer than 2 items, or not the same number for all.
    """
    if len({len(s) for s in scores.values()}) > 1 or min(map(len, scores.values()), default=2) < 2:
        raise ValueError("the probability of being the best needs at least 2 items, the same for all candidates")
    if not scores:
        return {}
    table = np.array(list(scores.values()), dtype=np.float64)
    n = table.shape[1]
    means = table.mean(axis=1, keepdims=True)
    noise = np.random.default_rng(seed).standard_normal((n, _POSTERIOR_DRAWS))
    # Centred scores times white noise have the sample covariance: no matrix needs to be factored.
    draws = means + np.einsum("cn,nd->cd", table - means, noise) / np.sqrt(n * (n - 1))
    first = draws >= draws.max(axis=0) - _ROUNDING
    return dict(zip(scores, first.mean(axis=1).tolist(), strict=True))


def halving_sizes(arms: int, rungs: int) -> list[int]:
    """Arms alive on each rung of successive halving, rounded up: 5 arms on 4 rungs are 5, 3, 2, 1."""
    sizes: list[int] = []
    for _ in range(rungs):
        sizes.append(arms)
        arms = -(-arms // 2)
    return sizes


def noise(repeats: Sequence[Sequence[float]]) -> float:
    """Variance of one answer's score around the mean score of its example, pooled over the examples.

    With m_i repeats x_ij of example i: sum_ij (x_ij - mean_i)^2 / sum_i (m_i - 1), which is unbiased.

    Args:
        repeats: One row per example: the scores of its repeated answers, in any number.

    Raises:
        ValueError: No example was answered twice.
    """
    freedom = sum(len(row) - 1 for row in repeats if row)
    if freedom < 1:
        raise ValueError("noise can be told only from examples that were answered at least twice")
    return float(sum(np.square(np.subtract(row, np.mean(row))).sum() for row in repeats if row)) / freedom


def _sign_flips(differences: Sequence[float], seed: int, resamples: int) -> tuple[float, Floats, bool]:
    """Observed sum, sums under random or all sign patterns, and whether these were all."""
    data = np.asarray(differences, dtype=np.float64)
    data = data[data != 0]
    if len(data) <= _EXACT_UP_TO:
        patterns = np.arange(2 ** len(data))[:, None] >> np.arange(len(data)) & 1
        return float(data.sum()), (2 * patterns - 1) @ data, True
    # Signs of equally large differences add up to one binomial draw: scores of 0 and 1 need a single column.
    sizes, counts = np.unique(np.abs(data), return_counts=True)
    heads = np.random.default_rng(seed).binomial(counts, 0.5, size=(resamples, len(counts)))
    return float(data.sum()), (2 * heads - counts) @ sizes, False


def _race_p_values(table: Floats, first: Ints, second: Ints) -> tuple[Floats, Floats]:
    """One-sided p-values, shape (pairs,), of "first above second" and of "second above first"."""
    rng = np.random.default_rng(0)
    signs = rng.integers(0, 2, size=(table.shape[1], _RACE_RESAMPLES)) * 2.0 - 1.0
    # Per candidate, as a pair's sums are differences of two rows. No BLAS: its threads wait on busy cores.
    flipped = np.einsum("ck,kr->cr", table, signs)
    null = flipped[first] - flipped[second]
    observed = (table[first] - table[second]).sum(axis=1, keepdims=True)
    above = np.count_nonzero(null >= observed - _ROUNDING, axis=1)
    below = np.count_nonzero(null <= observed + _ROUNDING, axis=1)
    return (1 + above) / (1 + _RACE_RESAMPLES), (1 + below) / (1 + _RACE_RESAMPLES)


def _resampled_means(values: Floats, weights: Floats, n: int, seed: int) -> Floats:
    """Means of ``n`` draws with replacement, shape (10,000,)."""
    distinct, inverse = np.unique(values, return_inverse=True)
    chances = np.bincount(inverse, weights=weights) / weights.sum()
    counts = np.random.default_rng(seed).multinomial(n, chances, size=_BOOTSTRAP_RESAMPLES)
    return np.asarray(counts @ distinct / n, dtype=np.float64)


def _checked(differences: Sequence[float]) -> Floats:
    if not len(differences):
        raise ValueError("an interval needs at least one difference")
    return np.asarray(differences, dtype=np.float64)
