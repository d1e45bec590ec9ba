import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.runtime import Runtime

from crito.graph.confirm import confirm, confirm_calls
from crito.graph.deps import Deps
from crito.graph.presets import DEFAULT
from crito.graph.state import RunState
from crito.prompt import Demo, Prompt, Section
from crito.protocols import ModelRequest
from crito.records import Candidate
from crito.task import Budget, Example
from tests.builders import make_candidate, make_deps, make_example, make_examples, make_outcome

TRAIN = make_examples(12, "train")


def obeys(request: ModelRequest) -> str:
    """Right on as many training examples as the prompt says."""
    text = "\n".join(message.content for message in request.messages)
    right = int((re.findall(r"Right on (\d+)", text) or [0])[0])
    return "billing" if int(request.messages[-1].content.split()[-1]) < right else "delivery"


@asynccontextmanager
async def looking(path: Path, *, finalists: int = 2, **fields: Any) -> AsyncIterator[Deps]:
    async with make_deps(path, answer=obeys, **fields) as deps:
        yield replace(deps, preset=DEFAULT.model_copy(update={"finalists": finalists}))


async def member(deps: Deps, *, val: int, train: int, shown: tuple[Example, ...] = (), **fields: Any) -> Candidate:
    """A candidate of the pool that was right on so many validation examples and will be on so many of training."""
    demos = tuple(Demo(inputs=e.inputs, output="billing", example_id=e.id) for e in shown)
    body = f"Right on {train}, after {val} of validation."
    prompt = Prompt(sections=(Section(name="task", body=body),), demos=demos)
    candidate = make_candidate(prompt=prompt, parents=(deps.seed,), **fields)
    await deps.archive.add(candidate)
    await deps.archive.record(make_outcome(candidate.id, e, float(at < val)) for at, e in enumerate(deps.val))
    return candidate


async def looked(deps: Deps, incumbent: str, *others: Candidate, calls: int = 100) -> RunState:
    """What a last look at a pool changes."""
    pool = list(dict.fromkeys([deps.seed, *(c.id for c in others), incumbent]))
    state: RunState = {"incumbent": incumbent, "pool": pool, "calls": calls}
    return await confirm(state, Runtime(context=deps))


def answered(deps: Deps, candidate: str) -> set[str]:
    """The training examples that a candidate answered."""
    return {e.id for e in deps.task.splits.train if deps.archive.outcome(candidate, e.id)}


async def test_the_finalists_are_the_incumbent_and_the_next_best_of_the_pool(tmp_path: Path) -> None:
    async with looking(tmp_path, finalists=3) as deps:
        await deps.archive.record(make_outcome(deps.seed, e, 1.0) for e in deps.val)  # it has its place in the verdict
        pool = [await member(deps, val=val, train=val) for val in (1, 4, 2, 5)]
        await looked(deps, pool[2].id, *pool)
        looked_at = {c for c in (deps.seed, *(p.id for p in pool)) if answered(deps, c)}
    assert looked_at == {pool[1].id, pool[2].id, pool[3].id}


async def test_a_seed_that_nothing_has_beaten_is_compared_as_the_incumbent(tmp_path: Path) -> None:
    async with looking(tmp_path) as deps:
        await deps.archive.record(make_outcome(deps.seed, e, float(at < 6)) for at, e in enumerate(deps.val))
        other = await member(deps, val=5, train=12)
        update = await looked(deps, deps.seed, other)
        assert answered(deps, deps.seed) == answered(deps, other.id) == {e.id for e in TRAIN}
    assert update == {"incumbent": other.id}


async def test_no_finalist_was_made_from_the_examples_that_all_of_them_answer(tmp_path: Path) -> None:
    async with looking(tmp_path) as deps:
        best = await member(deps, val=6, train=6, shown=TRAIN[:1], mends=(TRAIN[1].id,))
        other = await member(deps, val=5, train=6, shown=TRAIN[2:3], keeps=(TRAIN[3].id,))
        await looked(deps, best.id, other)
        assert answered(deps, best.id) == answered(deps, other.id) == {e.id for e in TRAIN[4:]}


async def test_what_others_than_the_finalists_show_is_fresh(tmp_path: Path) -> None:
    async with looking(tmp_path) as deps:
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=6)
        third = await member(deps, val=4, train=6, shown=TRAIN[:4])
        await looked(deps, best.id, other, third)
        assert answered(deps, best.id) == {e.id for e in TRAIN}


async def test_examples_without_an_answer_are_not_looked_at(tmp_path: Path) -> None:
    async with looking(tmp_path, train=(make_example("train 99", None), *TRAIN)) as deps:
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=6)
        await looked(deps, best.id, other)
        assert answered(deps, best.id) == {e.id for e in TRAIN}


@pytest.mark.parametrize(("train", "replaced"), [(6, False), (7, False), (8, True)])
async def test_who_is_better_on_both_together_replaces_the_incumbent_and_of_equals_the_incumbent_stays(
    tmp_path: Path, train: int, replaced: bool
) -> None:
    heard: list[Any] = []
    async with looking(tmp_path) as made:
        deps = replace(made, notify=heard.append)
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=train)
        update = await looked(deps, best.id, other)
    assert update == ({"incumbent": other.id} if replaced else {})
    told = {"event": "best", "candidate": other.id, "score": pytest.approx(5 / 12)}
    assert heard == ([told] if replaced else [])


@pytest.mark.parametrize(
    ("finalists", "train", "calls"),
    [(0, 12, 100), (1, 12, 100), (2, 7, 100), (2, 12, 15), (2, 12, 0)],
    ids=["not wanted", "nobody to compare with", "few examples", "few calls", "no calls"],
)
async def test_a_look_that_would_show_nothing_is_left_out(
    tmp_path: Path, finalists: int, train: int, calls: int
) -> None:
    async with looking(tmp_path, finalists=finalists, train=TRAIN[:train]) as deps:
        best, other = await member(deps, val=6, train=0), await member(deps, val=5, train=12)
        assert await looked(deps, best.id, other, calls=calls) == {}
        assert deps.ledger.meter.spent.calls == 0


async def test_an_incumbent_without_rivals_is_not_looked_at(tmp_path: Path) -> None:
    async with looking(tmp_path) as deps:
        best = await member(deps, val=6, train=0)
        assert await looked(deps, best.id) == {}
        assert deps.ledger.meter.spent.calls == 0


@pytest.mark.parametrize(("calls", "each"), [(16, 8), (21, 10), (79, 39), (500, 40)])
async def test_each_finalist_answers_as_many_as_the_calls_reach_for_and_forty_at_most(
    tmp_path: Path, calls: int, each: int
) -> None:
    async with looking(tmp_path, train=make_examples(50, "train")) as deps:
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=6)
        await looked(deps, best.id, other, calls=calls)
        assert len(answered(deps, best.id)) == len(answered(deps, other.id)) == each
        assert deps.ledger.meter.spent.calls == 2 * each


async def test_a_look_that_is_taken_again_pays_for_nothing_twice(tmp_path: Path) -> None:
    async with looking(tmp_path, train=make_examples(50, "train")) as deps:
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=20)
        once, again = [await looked(deps, best.id, other, calls=40) for _ in range(2)]
        assert deps.ledger.meter.spent.calls == 40
    assert once == again


async def test_a_budget_that_ends_on_the_way_leaves_the_incumbent(tmp_path: Path) -> None:
    async with looking(tmp_path, budget=Budget(calls=20)) as deps:
        best, other = await member(deps, val=6, train=0), await member(deps, val=5, train=12)
        assert await looked(deps, best.id, other) == {}
        assert deps.ledger.meter.spent.calls == 20


@pytest.mark.parametrize(
    ("finalists", "train", "total", "calls"),
    [
        (3, 50, 119, 0),  # a fifth of them is 7 for each
        (3, 50, 120, 3 * 8),
        (3, 50, 599, 3 * 39),
        (3, 50, 10_000, 3 * 40),
        (3, 12, 10_000, 3 * 12),
        (3, 7, 10_000, 0),
        (3, 50, 0, 0),
        (1, 50, 10_000, 0),
        (0, 50, 10_000, 0),
    ],
)
async def test_a_fifth_of_the_calls_is_kept_back_at_most_and_none_where_it_would_not_be_enough(
    tmp_path: Path, finalists: int, train: int, total: int, calls: int
) -> None:
    async with looking(tmp_path, train=make_examples(train, "train")) as deps:
        assert confirm_calls(deps, total, finalists) == calls


@pytest.mark.parametrize(("tokens", "kept"), [(100_000, False), (2_000, True)])
async def test_a_finalist_whose_verdict_would_not_fit_is_not_taken(tmp_path: Path, tokens: int, kept: bool) -> None:
    async with looking(tmp_path, budget=Budget(calls=200, tokens=tokens)) as deps:
        best, other = await member(deps, val=6, train=6), await member(deps, val=5, train=12)
        outcomes = (deps.archive.outcome(other.id, example.id) for example in deps.val)
        long = [o.model_copy(update={"usage": o.usage.model_copy(update={"tokens_in": 400})}) for o in outcomes if o]
        await deps.archive.record(long)
        update = await looked(deps, best.id, other)
        assert (update == {}) is kept
        assert deps.ledger.meter.lacking() is None
