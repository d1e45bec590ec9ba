"""What memory saves: calls to 95 % of the final score with lessons of like tasks, against an empty memory.

Run it with `python tests/bench/memory.py`. For each seed every task of the series is first searched with an empty
memory; then again with the lessons of the others. `--unrelated` adds a task that is not like them, a folder with
task.json; `--poison` fills the memory with bad advice, to see what it costs. One JSON line per task on stdout, a table
on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito.api import optimize
from crito.bench_tasks import tasks as read_tasks
from crito.memory.lesson_store import opened
from crito.memory.lessons import Observation, lessons
from crito.memory.operator_use import OperatorUse
from crito.task import Budget, Task
from tests.bench import series

_SHARE = 0.95
_CLAIM = 0.5
"""The gain that bad advice is said to have had."""


class Curve:
    """The validation score of the incumbent against the calls of the search, as the run tells it."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.calls = 0
        self._ended = False

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take a progress event."""
        self._ended |= event["event"] == "verdict"
        if event["event"] == "outcome" and not self._ended:
            self.calls = int(event["spent"].calls)
        if event["event"] == "best":
            self.points.append((self.calls, float(event["score"])))

    def reached(self, level: float, budget: int) -> int:
        """Calls until the incumbent had this score; the whole budget where it never had, however soon it gave up."""
        return next((calls for calls, score in self.points if score >= level), budget)


def main() -> None:
    """Run the series cold, then warm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="local/smollm2")
    parser.add_argument("--tasks", nargs="+", default=list(series.TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=int, default=300, help="of each search; the verdict's come on top")
    parser.add_argument("--unrelated", type=Path, help="folder of a task that is not like the others")
    parser.add_argument("--poison", action="store_true", help="the memory is sure that bad advice is good")
    options = parser.parse_args()
    made: list[dict[str, Any]] = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as place:
            tasks = _tasks(options, seed)
            cold = {name: _searched(task, Path(place) / name) for name, task in tasks.items()}
            for name, task in tasks.items():
                others = [Path(place) / other for other in options.tasks if other != name]
                warmed = Path(place) / f"{name}-warm"
                asyncio.run(_carried(others, warmed, poison=options.poison))
                made.append(_compared(name, seed, cold[name], _searched(task, warmed), options.calls))
                print(json.dumps(made[-1]), flush=True)
    print(table(made), file=sys.stderr)


def table(made: Sequence[Mapping[str, Any]]) -> str:
    """One line a task, over its seeds, and one for all."""
    lines = [f"{'task':16} {'calls to 95 %: empty':>20} {'warm':>6} {'saved':>6} {'held out: empty':>16} {'warm':>6}"]
    groups = {name: [row for row in made if row["task"] == name] for name in dict.fromkeys(r["task"] for r in made)}
    for name, rows in {**groups, "all": list(made)}.items():
        cold, warm = (sum(row[f"calls_{side}"] for row in rows) for side in ("empty", "warm"))
        scores = [mean(row[f"test_{side}"] for row in rows) for side in ("empty", "warm")]
        lines.append(f"{name:16} {cold:20} {warm:6} {1 - warm / cold:6.0%} {scores[0]:16.3f} {scores[1]:6.3f}")
    saved = median(1 - row["calls_warm"] / row["calls_empty"] for row in made)
    return "\n".join([*lines, f"median over runs: {saved:.0%} saved"])


def _tasks(options: argparse.Namespace, seed: int) -> dict[str, Task]:
    made = {
        name: series.task(name, model=options.model, calls=options.calls, seed=seed, memory="project")
        for name in options.tasks
    }
    if options.unrelated is not None:
        (name, other), *_ = read_tasks([options.unrelated], model=options.model).items()
        verdict = 2 * len(other.splits.test)
        total = options.calls + verdict
        budget = Budget(calls=total, verdict_share=verdict / total + 1e-6)
        made[name] = other.model_copy(update={"seed": seed, "budget": budget, "memory": "project"})
    return made


def _searched(task: Task, folder: Path) -> tuple[Curve, float, tuple[Any, ...]]:
    """The curve of a search, its held-out score, and the lessons that it took along."""
    curve = Curve()
    result = optimize(task, database=folder / "crito.db", listener=curve)
    return curve, result.verdict.best_score, result.lessons


async def _carried(others: Sequence[Path], folder: Path, *, poison: bool) -> None:
    """Put the lessons of other projects into a new one."""
    seen: list[Observation] = []
    async with opened(folder / "lessons.db") as store:
        for other in others:
            async with opened(other / "lessons.db") as known:
                seen += await known.read(Observation)
                await store.write(*await known.read(OperatorUse))
        await store.write(*(poisoned(seen) if poison else seen))


def poisoned(seen: Sequence[Observation]) -> list[Observation]:
    """The same advice with sure and false claims: what gained no more than most of its kind is good, the rest bad."""
    known = lessons(seen)
    usual = {kind: median(x.gain for x in known if x.latest.kind == kind) for kind in {o.kind for o in seen}}
    claims = {x.id: _CLAIM if x.gain <= usual[x.latest.kind] else -_CLAIM for x in known}
    return [
        o.model_copy(update={"n": 1_000, "gain": claim, "low": claim - 0.02, "high": claim + 0.02})
        for o, claim in ((o, claims[o.lesson]) for o in seen)
    ]


def _compared(
    task: str,
    seed: int,
    cold: tuple[Curve, float, tuple[Any, ...]],
    warm: tuple[Curve, float, tuple[Any, ...]],
    budget: int,
) -> dict[str, Any]:
    level = _SHARE * cold[0].points[-1][1]
    return {
        "task": task,
        "seed": seed,
        "level": level,
        "calls_empty": cold[0].reached(level, budget),
        "calls_warm": warm[0].reached(level, budget),
        "all_empty": cold[0].calls,
        "all_warm": warm[0].calls,
        "test_empty": cold[1],
        "test_warm": warm[1],
        "lessons": [f"{use.text}: {use.outcome}" for use in warm[2]],
    }


if __name__ == "__main__":
    main()
