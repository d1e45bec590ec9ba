"""How large a run's checkpoint gets, and how long the steps without model calls take, by number of candidates.

Run it with `python -m tests.bench.state_size`; it prints one JSON object for each size. Candidates, outcomes and
attempts are scripted: rounds of ten candidates, of which nine answer one block of validation examples and one answers
all. A step is the median processor time of several repeats of the same round, which does not depend on what else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.runtime import Runtime

from crito.agents.edits import add_rule
from crito.graph.decisions import decide, remember
from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.presets import DEFAULT
from crito.graph.rounds import plan, screen
from crito.graph.state import RunState
from crito.graph.workflow import build
from crito.memory.attempts import Attempt
from crito.memory.lineage import chain, lineage
from crito.memory.recalled import Advice, Offer, Recalled
from crito.memory.recipe import Recipe
from crito.prompt import Prompt
from crito.records import Brief, Candidate, Plan, Step, child
from crito.task import Budget
from tests.builders import make_deps, make_examples, make_outcome

SIZES = (50, 500, 5000)
VAL = 50
ROUND = 10
"""Candidates of one round; the last of them gets through the race."""
WORDS = ("read", "weigh", "name", "check", "sort", "mind", "quote", "split", "count", "rank", "trim", "skip")
SEARCH = next(at for at, stage in enumerate(DEFAULT.stages) if "critique_synthesis" in stage.operators)


def main() -> None:
    """Measure every size, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=5, help="of each step")
    options = parser.parse_args()
    for size in options.candidates:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measured(Path(folder), size, options.repeats))), flush=True)


async def measured(folder: Path, size: int, repeats: int) -> dict[str, float]:
    """Bytes of the checkpoint after so many candidates, and processor milliseconds of each step of the latest round."""
    async with make_deps(folder, val=make_examples(VAL, "val"), budget=Budget(calls=10**7)) as made:
        deps = replace(made, preset=DEFAULT.model_copy(update={"planner": "bandit"}))
        state = await filled(deps, size)
        runtime = Runtime(context=deps)
        found: dict[str, float] = {"candidates": size, "checkpoint_bytes": await checkpoint_bytes(folder, state)}
        steps = {"screen": screen, "remember": remember, "decide": decide, "plan": plan, "recollect": recollect}
        for name, step in steps.items():
            seconds = []
            for _ in range(repeats):
                began = time.process_time()
                await cast("Any", step)(state, runtime)
                seconds.append(time.process_time() - began)
            found[f"{name}_ms"] = round(1000 * statistics.median(seconds), 2)
        return found


async def recollect(state: RunState, runtime: Runtime[Deps]) -> None:
    """What the critic's operator looks up in memory before it asks."""
    deps = runtime.context
    line = chain(lineage(deps.archive.candidates()), state["incumbent"])
    deps.attempts.relevant(state["round"], line=line, labels={"verbose"})


async def filled(deps: Deps, size: int) -> RunState:
    """The state of a run with so many candidates, in the middle of the round that proposed the last ten of them."""
    rng = np.random.default_rng(0)
    seed = deps.archive.candidate(deps.seed)
    await deps.archive.record(make_outcome(seed.id, e, float(rng.random() < 0.5)) for e in deps.val)
    made: list[Candidate] = []
    pool, attempts = [seed], []
    for number in range(size // ROUND):
        batch = [written(pool[-1], number, rng) for _ in range(ROUND)]
        await deps.archive.add(*batch)
        await deps.archive.record(
            make_outcome(c.id, e, float(rng.random() < 0.5))
            for c in batch
            for e in (deps.val if c is batch[-1] else deps.val[: deps.preset.block])
        )
        attempts += [attempt(c, won=c is batch[-1]) for c in batch]
        made += batch
        if number % 10 == 0:  # a chain as long as a search can be expected to make
            pool = [*pool, batch[-1]][-DEFAULT.pool :]
    await deps.attempts.record(*attempts[:-ROUND])
    return state_after(deps, made, pool, size // ROUND)


def written(parent: Candidate, number: int, rng: np.random.Generator) -> Candidate:
    """The parent with one more rule, or with that rule in place of its own where it has several."""
    rule = " ".join(rng.choice(WORDS, size=12)) + "."
    patch = add_rule(_shorter(parent.main), rule)
    assert patch is not None
    patch = parent.main.diff(_shorter(parent.main).apply(patch))
    return child(parent, patch, operator="critique_synthesis", round_number=number, hypothesis=f"verbose: {rule}")


def _shorter(prompt: Prompt) -> Prompt:
    """The prompt without the oldest of its sentences, once it has eight."""
    first = prompt.sections[0]
    sentences = str(first.body).split(". ")
    body = ". ".join(sentences[-8:])
    return prompt.model_copy(update={"sections": (first.model_copy(update={"body": body}), *prompt.sections[1:])})


def attempt(candidate: Candidate, *, won: bool) -> Attempt:
    """What is written down of a candidate."""
    return Attempt(
        candidate=candidate.id,
        parent=candidate.parents[0],
        round=candidate.round,
        operator=candidate.operator,
        author=candidate.author,
        hypothesis=candidate.hypothesis,
        fate="not_better" if won else "eliminated",
        reason="in the lower half after 8 examples",
        gain=0.0,
        n=VAL if won else DEFAULT.block,
    )


def state_after(deps: Deps, made: Sequence[Candidate], pool: Sequence[Candidate], number: int) -> RunState:
    """All that a checkpoint holds before the round's last steps."""
    now = made[-ROUND:]
    steps = tuple(Step(operator="critique_synthesis", parents=(pool[-1].id,), author="bandit") for _ in range(2))
    state: dict[str, Any] = {
        "brief": Brief(kind="classification").model_dump(mode="json"),
        "recalled": fullest().model_dump(mode="json"),
        "stage": SEARCH,
        "stage_rounds": 2,
        "round": number,
        "plan": Plan(round=number, steps=steps).model_dump(mode="json"),
        "calls": 1000,
        "proposals": {candidate.id: at % 2 for at, candidate in enumerate(now)},
        "proposing": {0: 1000, 1: 1000},
        "rejected": {c.id: ("eliminated", "in the lower half after 8 examples") for c in now[:-1]},
        "seen": [deps.seed, *(candidate.id for candidate in made[:-ROUND])],
        "pool": [candidate.id for candidate in pool],
        "incumbent": pool[-1].id,
        "alive": [now[-1].id],
        "operators": {name: list(entry.prior) for name, entry in OPERATORS.items()},
        "authors": {"bandit": [1.0, 9.0]},
        "rate": 0.001,
        "spent": {"calls": float(len(made) * ROUND), "tokens": 1e6, "usd": 0.0},
        "unheard": 0,
        "stale": 0,
        "hopeful": 10**6,
    }
    return cast("RunState", state)


def fullest() -> Recalled:
    """The most that a run can take along: long directions in a script whose letters take three bytes each."""
    known = {"gain": 0.1, "n": 100}
    recipes = [
        Advice(lesson="0" * 12, text="t", recipe=Recipe(instructions="kept", demos=n), **known) for n in range(4)
    ]
    directions = [Advice(lesson=f"{n:012}", text="字" * 600, **known) for n in range(12)]
    prompts = [Offer(candidate=f"{n:012}", run="0" * 8, text="the best prompt", gain=0.2) for n in range(2)]
    operators = {name: entry.prior for name, entry in OPERATORS.items()}
    refuted = [Recipe(instructions="answer_rule", cue=n, demos=n) for n in range(48)]
    return Recalled(recipes=recipes, directions=directions, refuted=refuted, prompts=prompts, operators=operators)


async def checkpoint_bytes(folder: Path, state: RunState) -> int:
    """Size of the state as it is stored after a node."""
    config: Any = {"configurable": {"thread_id": "r"}}
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        await build(saver).aupdate_state(config, dict(state), as_node="race")
        rows = await saver.conn.execute_fetchall("SELECT max(length(checkpoint)) FROM checkpoints")
    ((size,),) = rows
    return int(size)


if __name__ == "__main__":
    main()
