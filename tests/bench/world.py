"""Calls that each preset needs to find all hidden requirements of a scripted world: a SIMULATION, no model is called.

Run it with `python tests/bench/world.py`. The rules are published in world_rules.py (the target) and world_agents.py
(the agents). One JSON line per run on stdout; a table of medians and means over the seeds at the end on stderr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito.api import optimize
from crito.graph import presets
from crito.protocols import ModelRequest
from crito.tools.database import Database, calls
from tests.bench.world_agents import agents
from tests.bench.world_rules import World, found


def main() -> None:
    """Run the presets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=sorted(presets.PRESETS))
    parser.add_argument("--requirements", nargs="+", type=int, default=[4, 8, 16, 32, 64])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=int, default=2000, help="of the search; the verdict's come on top")
    parser.add_argument("--noise", type=float, default=0.2, help="how often the agents err")
    options = parser.parse_args()
    made = []
    for name, number, seed in itertools.product(options.presets, options.requirements, options.seeds):
        made.append(run(name, World(number, seed, options.noise), options.calls))
        print(json.dumps(made[-1]), flush=True)
    print(table(made), file=sys.stderr)


def run(name: str, world: World, limit: int) -> dict[str, Any]:
    """One search in the world.

    Returns:
        ``calls_until_all``: calls paid up to the first request to the target whose prompt states all requirements,
        None where there was none; ``most_tried``: the most that one tried prompt stated; ``final``: what the best
        prompt states, by its instructions or its demonstrations.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crito.db"
        result = optimize(
            world.task(calls=limit),
            model=world.target(),
            agent_model=agents(world),
            preset=presets.preset(name),
            database=path,
        )
        database = Database(path)
        rows = database.read(sa.select(calls.c.role, calls.c.request).order_by(calls.c.id))
        database.dispose()
    total = len(world.requirements)
    stated = [_stated(world, row.request) if row.role == "target" else 0 for row in rows]
    return {
        "simulation": True,
        "preset": name,
        "requirements": total,
        "seed": world.seed,
        "noise": world.noise,
        "search_calls": limit,
        "calls_until_all": stated.index(total) + 1 if total in stated else None,
        "most_tried": max(stated),
        "final": found(result.best_prompts["main"], world),
        "verdict": result.verdict.decision,
        "calls": len(rows),
        "calls_by_role": dict(Counter(row.role for row in rows)),
    }


def table(made: list[dict[str, Any]]) -> str:
    """The runs by preset and number of requirements."""
    lines = [
        "SIMULATION (scripted target and agents): calls until a tried prompt states all hidden requirements",
        f"{'preset':16} {'reqs':>4} {'until all (median)':>20} {'found in':>8} {'final':>6}  calls by role (mean)",
    ]
    for (name, number), group in itertools.groupby(made, key=lambda r: (r["preset"], r["requirements"])):
        runs = list(group)
        # A run that did not get there took longer than any that did, so that the median may be unknown.
        taken = [r["calls_until_all"] or float("inf") for r in runs]
        middle = statistics.median(taken)
        until = "not found" if middle == float("inf") else f"{middle:.0f}"
        final = statistics.mean(r["final"] for r in runs)
        roles = sum((Counter(r["calls_by_role"]) for r in runs), Counter())
        means = ", ".join(f"{role} {count / len(runs):.0f}" for role, count in roles.most_common())
        share = f"{sum(t < float('inf') for t in taken)}/{len(runs)}"
        lines.append(f"{name:16} {number:4} {until:>20} {share:>8} {final:6.1f}  {means}")
    return "\n".join(lines)


def _stated(world: World, request: str) -> int:
    return len(world.known_in(ModelRequest.model_validate_json(request)))


if __name__ == "__main__":
    main()
