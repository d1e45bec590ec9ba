"""What racing saves against full evaluation, and what the pick is truly worth: a SIMULATION, no model is called.

Run it with `python tests/bench/racing.py`. Contenders have known true accuracies, drawn from a Beta distribution around
the incumbent's. An example's difficulty is shared: a candidate is right where the mix of the difficulty and its own
luck, both standard normal, stays below the threshold of its accuracy. Crito's own race runs on the answers, with block
and alpha of the default preset; the pick is the best of those that finished, the incumbent unless one is strictly
better on the validation examples. All schedules race the same contenders on the same answers. ``affordable`` gets .4,
.6 or all of the calls that full evaluation takes, ``thompson`` as many as ``halving`` is reckoned with; the others have
no limit. One JSON line per setting on stdout, a table on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito.graph.acceptance import better
from crito.graph.presets import DEFAULT
from crito.graph.racing import race
from crito.graph.schedules import Schedule, cost
from crito.records import Candidate
from crito.task import Example
from crito.tools.stats import Floats
from tests.builders import make_examples

Rule = tuple[Schedule, float | None]
"""A schedule, and the share of full evaluation's calls that it gets; None for no limit of that kind."""
RULES: tuple[Rule, ...] = tuple(
    (schedule, share)
    for schedule in get_args(Schedule)
    for share in ((0.4, 0.6, 1.0) if schedule == "affordable" else (None,))
)
RIVAL = "rival"


def main() -> None:
    """Run all settings, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", nargs="+", type=int, default=[50, 96], help="validation examples")
    parser.add_argument("--contenders", nargs="+", type=int, default=[4, 8, 16])
    parser.add_argument("--races", type=int, default=1000, help="of each setting")
    parser.add_argument("--incumbent", type=float, default=0.5, help="its true accuracy")
    parser.add_argument("--spread", type=float, default=0.1, help="standard deviation of the true accuracies")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")
    parser.add_argument("--agreement", type=float, default=0.5, help="share of luck that is the example's")
    options = parser.parse_args()
    made = []
    for examples, contenders in itertools.product(options.examples, options.contenders):
        field = Field(contenders, options.incumbent, options.spread, options.agreement)
        for row in asyncio.run(measured(field, examples, options.races, options.seed)):
            made.append(row)
            print(json.dumps(row), flush=True)
    print(table(made), file=sys.stderr)


@dataclass(frozen=True)
class Field:
    """Who races.

    Attributes:
        contenders: How many.
        incumbent: True accuracy of the incumbent, and mean of the contenders'.
        spread: Standard deviation of the contenders' true accuracies.
        agreement: See :func:`answers`.
    """

    contenders: int
    incumbent: float
    spread: float
    agreement: float

    def drawn(self, rng: np.random.Generator) -> dict[str, float]:
        """True accuracy by candidate, the rival's first."""
        weight = self.incumbent * (1 - self.incumbent) / self.spread**2 - 1
        drawn = rng.beta(self.incumbent * weight, (1 - self.incumbent) * weight, self.contenders)
        return {RIVAL: self.incumbent, **{f"c{n}": float(accuracy) for n, accuracy in enumerate(drawn)}}


class Answers:
    """Stands where evaluator and archive do: looks scores up and counts the calls.

    Args:
        scores: Scores by candidate; position k is example k.
        examples: The examples.
    """

    def __init__(self, scores: Mapping[str, Sequence[float]], examples: Sequence[Example]) -> None:
        self.calls = 0
        self._scores = scores
        self._place = {example.id: place for place, example in enumerate(examples)}

    async def evaluate(self, candidate: Candidate, examples: Sequence[Example]) -> None:
        """Pay for the answers."""
        self.calls += len(examples)

    def scores(self, candidate: str, examples: Sequence[Example]) -> list[float | None]:
        """What the candidate scored on the examples."""
        row = self._scores[candidate]
        return [row[self._place[example.id]] for example in examples]


def answers(accuracies: Sequence[float], examples: int, agreement: float, rng: np.random.Generator) -> Floats:
    """Scores of 0 and 1, shape (candidates, examples), with these true accuracies.

    Args:
        accuracies: By candidate; each within 0..1, neither included.
        examples: How many.
        agreement: 0: candidates are independent; towards 1: who is worse is right on a part of what others are.
        rng: Random numbers.
    """
    difficulty = rng.standard_normal(examples)
    own = rng.standard_normal((len(accuracies), examples))
    thresholds = np.array([NormalDist().inv_cdf(accuracy) for accuracy in accuracies])
    mixed = np.sqrt(agreement) * difficulty + np.sqrt(1 - agreement) * own
    return np.asarray(mixed < thresholds[:, None], dtype=np.float64)


def picked(finished: Sequence[str], scores: Mapping[str, Sequence[float]]) -> str:
    """Who is the incumbent after the race: the best that is strictly better, the first of equals."""
    gains = {name: [a - b for a, b in zip(scores[name], scores[RIVAL], strict=True)] for name in finished}
    accepted = [name for name in finished if better(gains[name])]
    return max(accepted, key=lambda name: sum(gains[name]), default=RIVAL)


async def raced(
    rule: Rule, scores: Mapping[str, Sequence[float]], examples: Sequence[Example], rng: np.random.Generator
) -> tuple[str, int]:
    """Who is picked after a race on these answers, and its calls."""
    known: Any = Answers(scores, examples)
    contenders = [Candidate(id=name, prompts={}, operator="drawn") for name in scores if name != RIVAL]
    schedule, share = rule
    limit = None if share is None else int(share * len(contenders) * len(examples))
    if schedule == "thompson":
        limit = cost("halving", len(contenders), len(examples), DEFAULT.block)
    settings: Any = {"block": DEFAULT.block, "alpha": DEFAULT.alpha, "schedule": schedule, "calls": limit, "rng": rng}
    standing = await race(known, known, contenders, RIVAL, examples, **settings)
    return picked(standing.finished, scores), known.calls


async def measured(field: Field, count: int, races: int, seed: int) -> list[dict[str, Any]]:
    """One row per rule, over so many races on ``count`` validation examples."""
    examples = make_examples(count)
    found: dict[Rule, list[tuple[str, float, int]]] = {rule: [] for rule in RULES}
    best = []
    for number in range(races):
        rng = np.random.default_rng([seed, number, count, field.contenders])
        true = field.drawn(rng)
        rows = answers(list(true.values()), count, field.agreement, rng).tolist()
        scores = dict(zip(true, rows, strict=True))
        best.append(max(true.values()))
        for rule in RULES:
            pick, calls = await raced(rule, scores, examples, rng)
            found[rule].append((pick, true[pick], calls))
    shared = {"simulation": True, **asdict(field), "seed": seed, "examples": count, "races": races}
    whole = found["full", None]
    return [
        {**shared, "best_true": float(np.mean(best)), "schedule": name, "share": share, **against(whole, rows)}
        for (name, share), rows in found.items()
    ]


def against(full: Sequence[tuple[str, float, int]], races: Sequence[tuple[str, float, int]]) -> dict[str, Any]:
    """Races beside full evaluations of the same contenders; each is (pick, its true accuracy, calls)."""
    lost = np.array([mine - whole for (_, mine, _), (_, whole, _) in zip(races, full, strict=True)])
    half = 1.96 * float(lost.std(ddof=1)) / len(lost) ** 0.5
    calls, whole = (float(np.mean([spent for *_, spent in rows])) for rows in (races, full))
    return {
        "calls": calls,
        "saved": 1 - calls / whole,
        "true": float(np.mean([accuracy for _, accuracy, _ in races])),
        "true_full": float(np.mean([accuracy for _, accuracy, _ in full])),
        "difference": float(lost.mean()),
        "interval": [float(lost.mean()) - half, float(lost.mean()) + half],
        "same_pick": float(np.mean([mine[0] == whole[0] for mine, whole in zip(races, full, strict=True)])),
    }


def table(made: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text."""
    first = made[0]
    lines = [
        f"SIMULATION ({first['races']} races each; incumbent {first['incumbent']}, spread {first['spread']}, "
        f"agreement {first['agreement']}, block {DEFAULT.block}, alpha {DEFAULT.alpha})",
        "examples contenders schedule          calls  saved  true acc. of pick  of full's  difference [95 %]"
        "           same pick  best of all",
    ]
    for row in made:
        low, high = row["interval"]
        name = row["schedule"] if row["share"] is None else f"{row['schedule']} {row['share']}"
        lines.append(
            f"{row['examples']:8} {row['contenders']:10} {name:16} {row['calls']:6.0f} {row['saved']:6.1%} "
            f"{row['true']:18.4f} {row['true_full']:10.4f}  {row['difference']:+.4f} [{low:+.4f}, {high:+.4f}] "
            f"{row['same_pick']:9.1%} {row['best_true']:12.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
