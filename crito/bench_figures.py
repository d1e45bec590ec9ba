"""What a bench shows: scores with intervals by preset and task, what they cost, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from crito.bench_cells import CellResult
from crito.calls import Cost

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
        calls: Of the search by role, as all that follow but ``seconds``, which are of the whole run.
        prompt_tokens_target: Input tokens of the target's calls; ``prompt_tokens_agents`` are those of all other roles.
        tokens: In and out, over all roles.
        usd: US dollars, over all roles; None where a price is not known.
    """

    model_config = ConfigDict(frozen=True)
    preset: str
    runs: int
    score: float
    interval: Interval
    gap: float
    prompt_tokens: float
    calls: dict[str, float]
    prompt_tokens_target: float
    prompt_tokens_agents: float
    tokens: float
    usd: float | None
    seconds: float


class Difference(BaseModel):
    """Mean of ``preset`` minus ``other``, paired by seed and test example, with its 95 % interval.

    Attributes:
        difference: A mean over tasks of the mean over their pairs.
        interval: As that of a score, over seeds x test examples; the tasks taken as they are.
        pairs: Runs of the one that have a run of the other with their task and seed.
    """

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
    """Means of one preset on one task under resampled seeds and resampled test examples, shape (10,000,)."""
    return _crossed([result.scores for result in group], (1.0, 0.0))


def _crossed(group: Sequence[Mapping[str, float]], added: tuple[float, float]) -> Floats:
    """Means under resampled seeds and resampled test examples, shape (10,000,).

    Seeds share their test examples, so both are drawn anew and crossed (pigeonhole bootstrap, Owen 2007). Two
    examples more, the best and the worst there can be, keep the interval from collapsing where all are alike.

    Args:
        group: A value by test example, for each seed; an example may be missing.
        added: The values of the two examples more.
    """
    examples = sorted({name for values in group for name in values})
    known = np.array([[*(name in values for name in examples), True, True] for values in group], dtype=np.float64)
    scores = np.array([[*(values.get(name, 0.0) for name in examples), *added] for values in group], dtype=np.float64)
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
    roles = dict.fromkeys(role for result in group for role in result.costs)
    paid = [result.usd for result in group if result.usd is not None]
    return Summary(
        preset=preset,
        runs=len(group),
        score=score,
        interval=_interval(np.mean(means, axis=0), score),
        gap=_mean(r.val_score - r.test_score for r in group),
        prompt_tokens=_mean(r.prompt_tokens for r in group),
        calls={role: _mean(_of(r, role).calls for r in group) for role in roles},
        prompt_tokens_target=_mean(_of(r, "target").tokens_in for r in group),
        prompt_tokens_agents=_mean(sum(c.tokens_in for n, c in r.costs.items() if n != "target") for r in group),
        tokens=_mean(r.tokens for r in group),
        usd=_mean(paid) if len(paid) == len(group) else None,
        seconds=_mean(r.seconds for r in group),
    )


def _difference(found: Sequence[CellResult], preset: str, other: str) -> Difference:
    mine, theirs = ({(r.task, r.seed): r.scores for r in found if r.preset == p} for p in (preset, other))
    by_task: dict[str, list[dict[str, float]]] = {}
    for task, seed in (pair for pair in mine if pair in theirs):
        left, right = mine[task, seed], theirs[task, seed]
        paired = {name: left[name] - right[name] for name in left if name in right}
        by_task.setdefault(task, []).append(paired)
    difference = _mean(_mean(v for values in group for v in values.values()) for group in by_task.values())
    means = np.mean([_crossed(group, (1.0, -1.0)) for group in by_task.values()], axis=0)
    return Difference(
        preset=preset,
        other=other,
        difference=difference,
        interval=_interval(means, difference),
        pairs=sum(map(len, by_task.values())),
    )


def _of(result: CellResult, role: str) -> Cost:
    """What a role took in a run; nothing where it was not asked."""
    return result.costs.get(role, Cost())


def _score(group: Sequence[CellResult]) -> float:
    return _mean(result.test_score for result in group)


def _interval(means: Floats, score: float) -> Interval:
    """The middle 95 % of resampled means, widened to the score where the two added examples push it out."""
    low, high = np.quantile(means, [0.025, 0.975])
    return min(float(low), score), max(float(high), score)


def _mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing, as where every call failed."""
    return float(np.mean(list(values) or [0.0]))
