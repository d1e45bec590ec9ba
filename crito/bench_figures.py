"""What a bench shows: scores with intervals by preset and task, what they cost, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from crito.bench_cells import CellResult
from crito.tools.stats import bootstrap_interval

_RESAMPLES = 10_000
_REFERENCE = "default"
Floats = NDArray[np.float64]
Interval = tuple[float, float]


class Figure(BaseModel):
    """Mean held-out score of a preset on one task, with its 95 % interval over seeds x test examples."""

    model_config = ConfigDict(frozen=True)
    preset: str
    task: str
    score: float
    interval: Interval


class Summary(BaseModel):
    """A preset over all tasks; every figure is a mean over its runs, which all tasks have equally many of.

    Attributes:
        score: Held-out; ``interval`` is its 95 % interval, the tasks taken as they are.
        gap: Validation minus held-out score of the best candidates.
        prompt_tokens: Input tokens of one use of the best candidate.
        calls_target: Of the search, as all that follow but ``seconds``, which are of the whole run.
        tokens: In and out, over all roles.
    """

    model_config = ConfigDict(frozen=True)
    preset: str
    runs: int
    score: float
    interval: Interval
    gap: float
    prompt_tokens: float
    calls_target: float
    calls_agents: float
    prompt_tokens_target: float
    prompt_tokens_agents: float
    tokens: float
    seconds: float


class Difference(BaseModel):
    """Mean of ``preset`` minus ``other`` over the pairs (task, seed), with its 95 % bootstrap interval."""

    model_config = ConfigDict(frozen=True)
    preset: str
    other: str
    difference: float
    interval: Interval
    pairs: int


class Figures(BaseModel):
    """All figures of a bench."""

    model_config = ConfigDict(frozen=True)
    by_task: tuple[Figure, ...]
    by_preset: tuple[Summary, ...]
    differences: tuple[Difference, ...]


def figures(found: Sequence[CellResult]) -> Figures:
    """The figures of a bench's cells; presets and tasks in the order in which they come."""
    presets = list(dict.fromkeys(result.preset for result in found))
    tasks = list(dict.fromkeys(result.task for result in found))
    groups = {(p, t): [r for r in found if (r.preset, r.task) == (p, t)] for p in presets for t in tasks}
    means = {key: resampled(group) for key, group in groups.items()}
    reference = _REFERENCE if _REFERENCE in presets else presets[0]
    return Figures(
        by_task=tuple(
            Figure(preset=p, task=t, score=_score(group), interval=_interval(means[p, t], _score(group)))
            for (p, t), group in groups.items()
        ),
        by_preset=tuple(_summary(p, [groups[p, t] for t in tasks], [means[p, t] for t in tasks]) for p in presets),
        differences=tuple(_difference(found, reference, other) for other in presets if other != reference),
    )


def resampled(group: Sequence[CellResult]) -> Floats:
    """Means of one preset on one task under resampled seeds and resampled test examples, shape (10,000,).

    Seeds share their test examples, so both are drawn anew and crossed (pigeonhole bootstrap, Owen 2007). Two
    examples more, one right and one wrong, keep the interval from collapsing where all answers are alike.
    """
    examples = sorted({name for result in group for name in result.scores})
    known = np.array([[*(name in r.scores for name in examples), True, True] for r in group], dtype=np.float64)
    scores = np.array([[*(r.scores.get(name, 0.0) for name in examples), 1.0, 0.0] for r in group], dtype=np.float64)
    rng = np.random.default_rng(0)
    rows, columns = scores.shape
    seeds = rng.multinomial(rows, np.full(rows, 1 / rows), size=_RESAMPLES).astype(np.float64)
    items = rng.multinomial(columns, np.full(columns, 1 / columns), size=_RESAMPLES)
    # No BLAS: its threads wait on busy cores.
    total = (np.einsum("rs,sc->rc", seeds, scores) * items).sum(axis=1)
    counted = (np.einsum("rs,sc->rc", seeds, known) * items).sum(axis=1)
    return np.asarray(total / np.maximum(counted, 1.0), dtype=np.float64)


def _summary(preset: str, by_task: Sequence[Sequence[CellResult]], means: Sequence[Floats]) -> Summary:
    group = [result for results in by_task for result in results]
    score = _mean(_score(results) for results in by_task)
    return Summary(
        preset=preset,
        runs=len(group),
        score=score,
        interval=_interval(np.mean(means, axis=0), score),
        gap=_mean(r.val_score - r.test_score for r in group),
        prompt_tokens=_mean(r.prompt_tokens for r in group),
        calls_target=_mean(r.target.calls for r in group),
        calls_agents=_mean(r.agents.calls for r in group),
        prompt_tokens_target=_mean(r.target.tokens_in for r in group),
        prompt_tokens_agents=_mean(r.agents.tokens_in for r in group),
        tokens=_mean(r.tokens for r in group),
        seconds=_mean(r.seconds for r in group),
    )


def _difference(found: Sequence[CellResult], preset: str, other: str) -> Difference:
    mine, theirs = ({(r.task, r.seed): r.test_score for r in found if r.preset == p} for p in (preset, other))
    differences = [mine[pair] - theirs[pair] for pair in mine if pair in theirs]
    return Difference(
        preset=preset,
        other=other,
        difference=_mean(differences),
        interval=bootstrap_interval(differences),
        pairs=len(differences),
    )


def _score(group: Sequence[CellResult]) -> float:
    return _mean(result.test_score for result in group)


def _interval(means: Floats, score: float) -> Interval:
    """The middle 95 % of resampled means, widened to the score where the two added examples push it out."""
    low, high = np.quantile(means, [0.025, 0.975])
    return min(float(low), score), max(float(high), score)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
