"""What memory saves: calls to 95 % of the final score with lessons of like tasks, against an empty memory.

Run it with `python tests/bench/memory.py`. For each seed every task of the series is first searched with an empty
memory; then again with the lessons of the others. `--unrelated` adds a task that is not like them, a folder with
task.json; `--poison` searches a third time, with a memory that is sure of bad advice. `--requirements N` is a
SIMULATION in place of the series: a scripted world, searched after another one with the same N requirements and other
notes, whose best prompt is remembered. One JSON line per search with a memory on stdout, a table on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito.api import optimize
from crito.bench_tasks import tasks as read_tasks
from crito.memory.lesson_store import opened
from crito.memory.lessons import Observation, lessons
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt
from crito.prompt import Section
from crito.task import Budget, Task
from crito.tools.scripted_model import ScriptedModel
from tests.bench import series
from tests.bench.world_agents import agents
from tests.bench.world_rules import World

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


_Search = tuple[Curve, float, tuple[Any, ...]]


def main() -> None:
    """Search with an empty memory, then with a full one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="local/smollm2")
    parser.add_argument("--tasks", nargs="+", default=list(series.TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=int, default=300, help="of each search; the verdict's come on top")
    parser.add_argument("--unrelated", type=Path, help="folder of a task that is not like the others")
    parser.add_argument("--poison", action="store_true", help="also with a memory that is sure of bad advice")
    parser.add_argument("--requirements", type=int, help="a scripted world with so many, in place of the series")
    options = parser.parse_args()
    made: list[dict[str, Any]] = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as place:
            searches = _worlds if options.requirements else _series
            for row in searches(options, seed, Path(place)):
                made.append(row)
                print(json.dumps(row), flush=True)
    for memory in dict.fromkeys(row["memory"] for row in made):
        print(table([row for row in made if row["memory"] == memory]), file=sys.stderr)


def _series(options: argparse.Namespace, seed: int, place: Path) -> Iterator[dict[str, Any]]:
    tasks = _tasks(options, seed)
    empty = {name: _searched(task, place / name) for name, task in tasks.items()}
    for name, task in tasks.items():
        others = [place / other for other in options.tasks if other != name]
        for memory in ("warm", "poisoned") if options.poison else ("warm",):
            folder = place / f"{name}-{memory}"
            asyncio.run(_carried(others, folder, poison=memory == "poisoned"))
            yield _compared(empty[name], _searched(task, folder), options.calls, task=name, seed=seed, memory=memory)


def _worlds(options: argparse.Namespace, seed: int, place: Path) -> Iterator[dict[str, Any]]:
    before, now = (World(options.requirements, seed, deal=deal) for deal in (0, 1))
    kept = {"memory": "project", "remember_prompts": True}
    tasks = {world: world.task(calls=options.calls).model_copy(update=kept) for world in (before, now)}

    def searched(world: World, folder: str) -> _Search:
        return _searched(tasks[world], place / folder, model=world.target(), agent_model=agents(world))

    empty, _ = searched(now, "empty"), searched(before, "before")
    about: dict[str, Any] = {"simulation": True, "task": f"world-{options.requirements}", "seed": seed}
    for memory in ("warm", "poisoned") if options.poison else ("warm",):
        asyncio.run(_carried([place / "before"], place / memory, poison=memory == "poisoned"))
        yield _compared(empty, searched(now, memory), options.calls, **about, memory=memory)


def table(made: Sequence[Mapping[str, Any]]) -> str:
    """One line a task, over its seeds, and one for all."""
    kind = made[0]["memory"]
    lines = [f"{'task':16} {'calls to 95 %: empty':>20} {kind:>9} {'saved':>6} {'held out: empty':>16} {kind:>9}"]
    groups = {name: [row for row in made if row["task"] == name] for name in dict.fromkeys(r["task"] for r in made)}
    for name, rows in {**groups, "all": list(made)}.items():
        empty, full = (sum(row[f"calls_{side}"] for row in rows) for side in ("empty", "full"))
        scores = [mean(row[f"test_{side}"] for row in rows) for side in ("empty", "full")]
        lines.append(f"{name:16} {empty:20} {full:9} {1 - full / empty:6.0%} {scores[0]:16.3f} {scores[1]:9.3f}")
    saved = median(1 - row["calls_full"] / row["calls_empty"] for row in made)
    both = [sum(row[f"calls_{side}_both"] for row in made) for side in ("empty", "full")]
    level = f"to the level that both reach: {both[0]} and {both[1]} calls, {1 - both[1] / both[0]:.0%} saved"
    return "\n".join([*lines, f"median over runs: {saved:.0%} saved", level])


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


def _searched(
    task: Task, folder: Path, *, model: ScriptedModel | None = None, agent_model: ScriptedModel | None = None
) -> _Search:
    """The curve of a search, its held-out score, and the lessons that it took along."""
    curve = Curve()
    result = optimize(task, model=model, agent_model=agent_model, database=folder / "crito.db", listener=curve)
    return curve, result.verdict.best_score, result.lessons


async def _carried(others: Sequence[Path], folder: Path, *, poison: bool) -> None:
    """Put the lessons of other projects into a new one."""
    seen: list[Observation] = []
    used: list[OperatorUse] = []
    proven: list[ProvenPrompt] = []
    async with opened(folder / "lessons.db") as store:
        for other in others:
            async with opened(other / "lessons.db") as known:
                seen += await known.read(Observation)
                used += await known.read(OperatorUse)
                proven += await known.read(ProvenPrompt)
        await store.write(*(poisoned(seen) if poison else seen))
        await store.write(*(map(turned, used) if poison else used))
        await store.write(*(map(useless, proven) if poison else proven))


def poisoned(seen: Sequence[Observation]) -> list[Observation]:
    """The same advice with sure and false claims: what gained no more than most of its kind is good, the rest bad."""
    known = lessons(seen)
    usual = {kind: median(x.gain for x in known if x.latest.kind == kind) for kind in {o.kind for o in seen}}
    claims = {x.id: _CLAIM if x.gain <= usual[x.latest.kind] else -_CLAIM for x in known}
    return [
        o.model_copy(update={"n": 1_000, "gain": claim, "low": claim - 0.02, "high": claim + 0.02})
        for o, claim in ((o, claims[o.lesson]) for o in seen)
    ]


def turned(use: OperatorUse) -> OperatorUse:
    """What a run's operators earned, upside down: what earned nothing is said to have earned all."""
    return use.model_copy(update={"arms": {name: (lost, won) for name, (won, lost) in use.arms.items()}})


def useless(proven: ProvenPrompt) -> ProvenPrompt:
    """A proven prompt that says nothing of use, with a sure claim that it gained all."""
    prompt = proven.prompt.model_copy(update={"sections": (Section(name="task", body="Do as you like."),), "demos": ()})
    return proven.model_copy(update={"prompt": prompt, "n": 1_000, "gain": 1.0})


def _compared(empty: _Search, full: _Search, budget: int, **about: object) -> dict[str, Any]:
    """Calls to 95 % of what the empty memory's search ended with, and to 95 % of the lower of both ends.

    Who is first measured by its own end reaches it always, and the other only with luck; the level that both reach
    favours nobody.
    """
    ends = [run[0].points[-1][1] for run in (empty, full)]
    level, both = _SHARE * ends[0], _SHARE * min(ends)
    return {
        **about,
        "level": level,
        "calls_empty": empty[0].reached(level, budget),
        "calls_full": full[0].reached(level, budget),
        "calls_empty_both": empty[0].reached(both, budget),
        "calls_full_both": full[0].reached(both, budget),
        "test_empty": empty[1],
        "test_full": full[1],
        "lessons": [f"{use.text}: {use.outcome}" for use in full[2] if use.gain is not None],
    }


if __name__ == "__main__":
    main()
