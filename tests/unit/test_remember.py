"""What a round accepts, and what it writes down."""

from dataclasses import replace
from pathlib import Path

import pytest
from langgraph.runtime import Runtime

from crito.graph.decisions import remember
from crito.graph.presets import DEFAULT
from crito.patch import Edit, Patch
from tests.builders import make_candidate, make_deps, make_outcome
from tests.unit.test_decisions import COMPRESS, STEPS, raced, state_of


async def test_the_best_of_the_accepted_becomes_the_incumbent(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        best, good, poor = [await raced(deps, f"{score}.", score) for score in (1.0, 0.75, 0.25)]
        proposals = {good.id: 0, best.id: 0, poor.id: 0}
        state = await state_of(deps, STEPS[0], proposals=proposals, alive=list(proposals), stale=1)
        update = await remember(state, Runtime(context=deps))
        fates = {attempt.candidate: (attempt.fate, attempt.gain) for attempt in deps.attempts.all()}
        led = deps.attempts.incumbents(state["round"] + 1)
    assert (update["incumbent"], update["stale"]) == (best.id, 0)
    assert fates == {best.id: ("accepted", 0.5), good.id: ("accepted", 0.25), poor.id: ("not_better", -0.25)}
    assert update["seen"] == [deps.seed, *proposals]
    assert [attempt.candidate for attempt in led] == [best.id]


async def test_what_the_calls_did_not_reach_for_may_come_again(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        found = [await raced(deps, f"{fate}.", 0.25) for fate in ("untried", "eliminated")]
        rejected = {c.id: (fate, "why") for c, fate in zip(found, ("untried", "eliminated"), strict=True)}
        proposals = dict.fromkeys(rejected, 0)
        update = await remember(
            await state_of(deps, STEPS[0], proposals=proposals, alive=[], rejected=rejected), Runtime(context=deps)
        )
    assert update["seen"] == [deps.seed, found[1].id]


async def test_equal_is_not_better(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        equal = await raced(deps, "Equal.", 0.5)
        state = await state_of(deps, STEPS[0], proposals={equal.id: 0}, alive=[equal.id], stale=1)
        update = await remember(state, Runtime(context=deps))
    assert (update["incumbent"], update["stale"]) == (deps.seed, 2)


async def test_to_become_cheaper_equal_is_enough_and_the_cheapest_wins(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        given = {at: float(at % 2) for at in range(len(deps.val))}
        made = [await raced(deps, f"{tokens}.", 0.0, tokens=tokens) for tokens in (6, 4, 12)]
        for candidate, tokens in zip(made, (6, 4, 12), strict=True):
            outcomes = (make_outcome(candidate.id, deps.val[at], s, tokens=tokens) for at, s in given.items())
            await deps.archive.record(outcomes)
        ids = [candidate.id for candidate in made]
        state = await state_of(deps, STEPS[0], proposals=dict.fromkeys(ids, 0), alive=ids, stage=COMPRESS)
        update = await remember(state, Runtime(context=deps))
    assert update["incumbent"] == ids[1]


async def test_the_reason_for_a_rejection_is_kept(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        edits = (Edit(op="add", path="rules", value=("Out.",)), Edit(op="delete", path="rules[0]"))
        made = {"parents": (deps.seed,), "operator": "restyle", "patch": Patch(edits=edits)}
        out = make_candidate("Out.", **made)
        await deps.archive.add(out)
        rejected = {out.id: ("screened", "too long")}
        state = await state_of(deps, STEPS[0], proposals={out.id: 0}, alive=[], rejected=rejected)
        await remember(state, Runtime(context=deps))
        (attempt,) = deps.attempts.all()
    assert (attempt.operator, attempt.fate, attempt.reason, attempt.n) == ("restyle", "screened", "too long", 0)
    assert (attempt.sections, attempt.incumbent) == (("rules",), False)


async def test_the_pool_keeps_no_more_than_the_preset_lets_and_always_the_incumbent(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as made:
        deps = replace(made, preset=DEFAULT.model_copy(update={"parents": "top_k", "pool": 2}))
        best, good, poor = [await raced(deps, f"{score}.", score) for score in (1.0, 0.75, 0.25)]
        ids = [best.id, good.id, poor.id]
        state = await state_of(deps, STEPS[0], proposals=dict.fromkeys(ids, 0), alive=ids)
        update = await remember(state, Runtime(context=deps))
        kept = await remember(
            {**state, "alive": [good.id, best.id], "incumbent": poor.id, "stage": COMPRESS}, Runtime(context=deps)
        )
    assert update["pool"] == [best.id, good.id]
    assert poor.id in kept["pool"]


@pytest.mark.parametrize(("price", "stays"), [({}, 0), ({"length_price": 0.05}, 1), ({"length_decay": 0.05}, 1)])
async def test_a_presets_price_on_length_decides_who_stays(tmp_path: Path, price: dict[str, float], stays: int) -> None:
    async with make_deps(tmp_path) as made:
        deps = replace(made, preset=DEFAULT.model_copy(update={"parents": "top_k", "pool": 1, **price}))
        wordy, short = make_candidate("Name the one team that is to answer."), make_candidate("Name it.")
        await deps.archive.add(wordy, short)
        await deps.archive.record(make_outcome(wordy.id, e, 0.6, tokens=100) for e in deps.val)
        await deps.archive.record(make_outcome(short.id, e, 0.55, tokens=10) for e in deps.val)
        pair = [wordy.id, short.id]
        state = await state_of(deps, STEPS[0], proposals=dict.fromkeys(pair, 0), alive=pair, incumbent=pair[stays])
        update = await remember(state, Runtime(context=deps))
    assert pair[stays] == update["pool"][0]
