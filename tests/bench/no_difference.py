"""How often the verdict errs, first of all where no prompt is better than another: a SIMULATION, no model is called.

Run it with `python tests/bench/no_difference.py`. One JSON line per run and setting on stdout, two tables on stderr.

- Runs: the whole of Crito with the agents of the scripted world (world_agents.py) on its notes. Whether the target is
  right is a hash of seed, prompt and note: right with probability p, whatever the prompt says, so that the true
  difference is 0. Counted is how often the verdict says "improved", and how often its interval holds 0.
- Verdicts: the verdict's interval and decision on drawn answers of two prompts with known true accuracies
  (:func:`tests.bench.racing.answers`), with and without a true difference.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito.api import optimize
from crito.graph.presets import DEFAULT
from crito.graph.verdict import decision
from crito.protocols import ModelRequest
from crito.task import Budget, Splits, Task
from crito.tools.scripted_model import ScriptedModel
from crito.tools.stats import bootstrap_interval, paired_test
from tests.bench.racing import answers
from tests.bench.world_agents import agents
from tests.bench.world_rules import World

SIZES = {"train": 30, "val": 30, "test": 60}
PAIRS = ((0.1, 0.1), (0.5, 0.5), (0.8, 0.8), (0.95, 0.95), (0.5, 0.55), (0.5, 0.7), (0.1, 0.9), (0.9, 0.95))
"""True accuracies of seed and best; no prompt is better than another in the first half."""
_REQUIREMENTS = 16
_ROUNDING = 1e-9
_NOTE = re.compile(r"Note \d+: [^.]*\.")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chances", nargs="*", type=float, default=[0.3, 0.5, 0.8], help="that an answer is right")
    parser.add_argument("--runs", type=int, default=200, help="of the whole of Crito, for each chance")
    parser.add_argument("--calls", type=int, default=400, help="of a search; the verdict's come on top")
    parser.add_argument("--verdicts", type=int, default=10_000, help="drawn for each pair of accuracies")
    parser.add_argument("--examples", nargs="*", type=int, default=[50, 100, 200], help="of a drawn verdict")
    parser.add_argument("--agreement", nargs="+", type=float, default=[0.0, 0.5, 0.9], help="see racing.py")
    options = parser.parse_args()
    made = []
    for chance, seed in itertools.product(options.chances, range(options.runs)):
        made.append(run(chance, seed, options.calls))
        print(json.dumps(made[-1]), flush=True)
    drawn = []
    for agreement, pair, n in itertools.product(options.agreement, PAIRS, options.examples):
        drawn.append(verdicts(pair, n, agreement, options.verdicts))
        print(json.dumps(drawn[-1]), flush=True)
    print(f"{runs_table(made)}\n\n{verdicts_table(drawn)}", file=sys.stderr)


def run(chance: float, seed: int, calls: int) -> dict[str, Any]:
    """One search where no prompt is better than another."""
    world = World(_REQUIREMENTS, seed)
    with tempfile.TemporaryDirectory() as folder:
        result = optimize(
            task_of(world, calls),
            model=target(world, chance),
            agent_model=agents(world),
            preset=DEFAULT,
            database=Path(folder) / "crito.db",
        )
    verdict = result.verdict
    return {
        "simulation": True,
        "chance": chance,
        "seed": seed,
        "decision": verdict.decision,
        "found": verdict.seed != verdict.best,
        "difference": verdict.difference,
        "interval": verdict.interval,
        "p_value": verdict.p_value,
        "n": verdict.n,
    }


def task_of(world: World, calls: int) -> Task:
    """The world's task on fewer examples."""
    verdict = 2 * SIZES["test"]
    whole = world.task(calls=calls)
    examples = iter((*whole.splits.train, *whole.splits.val, *whole.splits.test))
    splits = {name: tuple(itertools.islice(examples, size)) for name, size in SIZES.items()}
    budget = Budget(calls=calls + verdict, verdict_share=verdict / (calls + verdict) + 1e-6)
    return whole.model_copy(update={"splits": Splits(**splits), "budget": budget})


def target(world: World, chance: float) -> ScriptedModel:
    """A model that is right with this probability, whatever the prompt says, and always alike on one request."""

    def reply(request: ModelRequest) -> str:
        text = "\n".join(message.content for message in request.messages)
        note = _NOTE.findall(text)[-1]
        return world.answer(note if world.chance("right", text) < chance else f"not {note}")

    return ScriptedModel(reply, name="scripted/world")


def verdicts(pair: tuple[float, float], n: int, agreement: float, count: int) -> dict[str, Any]:
    """Verdicts on ``n`` test examples that seed and best with these true accuracies answered."""
    rng = np.random.default_rng(0)
    true = pair[1] - pair[0]
    found = []
    for _ in range(count):
        mine, theirs = answers(pair, n, agreement, rng)
        gained, lost = (int(np.count_nonzero(step > 0)) for step in (theirs - mine, mine - theirs))
        found.append(_verdict(gained, lost, n))
    too_high = fmean(low > true + _ROUNDING for low, *_ in found)
    too_low = fmean(high < true - _ROUNDING for _, high, _ in found)
    return {
        "simulation": True,
        "accuracies": pair,
        "n": n,
        "agreement": agreement,
        "verdicts": count,
        "covered": 1 - too_high - too_low,
        "too_high": too_high,
        "too_low": too_low,
        "width": fmean(high - low for low, high, _ in found),
        "improved": fmean(word == "improved" for *_, word in found),
    }


@cache
def _verdict(gained: int, lost: int, n: int) -> tuple[float, float, str]:
    """Interval and decision where so many examples were gained and lost: the order of the examples has no part."""
    differences = [1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost)
    word, _ = decision((gained - lost) / n, paired_test(differences), n, same=False)
    return *bootstrap_interval(differences), word


def runs_table(made: Sequence[Mapping[str, Any]]) -> str:
    """The runs by chance, and all together."""
    lines = [
        f"SIMULATION (whole runs without a true difference, splits {'/'.join(map(str, SIZES.values()))})",
        "chance  runs  improved  inconclusive  kept  interval holds 0  a candidate in the verdict: interval holds 0",
    ]
    chances = dict.fromkeys(row["chance"] for row in made)
    groups = [(f"{chance}", [row for row in made if row["chance"] == chance]) for chance in chances]
    for name, rows in [*groups, ("all", made)] if made else []:
        decided = [row["decision"] for row in rows]
        found = [row for row in rows if row["found"]]
        shares = [f"{decided.count(word) / len(rows):.1%}" for word in ("improved", "inconclusive", "kept")]
        held, held_found = (sum(row["interval"][0] <= 0 <= row["interval"][1] for row in g) for g in (rows, found))
        lines.append(
            f"{name:>6} {len(rows):5} {shares[0]:>9} {shares[1]:>13} {shares[2]:>5} {held / len(rows):17.1%} "
            f"{held_found / max(1, len(found)):42.1%} ({held_found} of {len(found)})"
        )
    return "\n".join(lines)


def verdicts_table(drawn: Sequence[Mapping[str, Any]]) -> str:
    """The drawn verdicts, and their mean coverage."""
    lines = [
        "SIMULATION (drawn verdicts with known true accuracies)",
        "agreement  seed   best    n  interval holds the difference  too high  too low  width  improved",
    ]
    for row in drawn:
        seed, best = row["accuracies"]
        lines.append(
            f"{row['agreement']:9} {seed:5} {best:6} {row['n']:4} {row['covered']:30.1%} {row['too_high']:9.1%} "
            f"{row['too_low']:8.1%} {row['width']:6.3f} {row['improved']:9.1%}"
        )
    if drawn:
        lines.append(f"mean coverage {fmean(row['covered'] for row in drawn):.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
