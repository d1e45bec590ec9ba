from dataclasses import replace
from pathlib import Path

import pytest
from langgraph.runtime import Runtime

from crito.graph.deps import Deps
from crito.graph.preset import Preset, Stage
from crito.graph.rounds import race_round
from crito.graph.schedules import Schedule
from crito.graph.state import RunState
from crito.protocols import ModelRequest
from crito.tools.meter import Spend
from tests.builders import make_candidate, make_deps, make_outcome


async def raced(deps: Deps, *alive: str, calls: int, number: int = 1) -> RunState:
    """What comes of a race of the first stage against the seed."""
    state: RunState = {"alive": list(alive), "rejected": {}, "incumbent": deps.seed, "calls": calls, "round": number}
    return await race_round({**state, "stage": 0}, Runtime(context=deps))


async def contender(deps: Deps, text: str) -> str:
    """A child of a seed that is never right."""
    await deps.archive.record([make_outcome(deps.seed, e, 0.0) for e in deps.val])
    made = make_candidate(text, parents=(deps.seed,))
    await deps.archive.add(made)
    return made.id


async def test_who_the_calls_do_not_reach_for_does_not_race(tmp_path: Path) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing") as deps:
        first, second = alive = [await contender(deps, text) for text in ("One.", "Two.")]
        update = await raced(deps, *alive, calls=12)
        assert deps.ledger.meter.spent.calls == 12
    assert update["alive"] == [first]
    assert update["rejected"] == {second: ("untried", "the round's calls do not reach for it")}


@pytest.mark.parametrize(("stage", "finished"), [(0, 1), (1, 0)])
async def test_the_rest_of_an_opening_races_beside_the_seed_and_not_what_advice_found(
    tmp_path: Path, stage: int, finished: int
) -> None:
    async with make_deps(tmp_path, answer=lambda _: "no idea") as deps:
        later = await contender(deps, "Later.")
        advised = make_candidate("Advised.", parents=(deps.seed,))
        await deps.archive.add(advised)
        await deps.archive.record([make_outcome(advised.id, e, 1.0) for e in deps.val])
        state: RunState = {"alive": [later], "rejected": {}, "incumbent": advised.id, "calls": 24, "round": 1}
        update = await race_round({**state, "stage": stage}, Runtime(context=deps))
    assert len(update["alive"]) == finished


async def test_a_race_that_was_paid_before_a_crash_ends_as_it_would_have(tmp_path: Path) -> None:
    stage = Stage(name="search", operators=("babble",), schedule="affordable")  # calls decide who stays
    async with make_deps(tmp_path, answer=lambda _: "billing") as made:
        deps = replace(made, preset=Preset(name="one", about="-", stages=(stage,)))
        alive = [await contender(deps, text) for text in ("One.", "Two.")]
        first = await raced(deps, *alive, calls=24)
        assert first["alive"] == alive
        deps.ledger.meter.settle(Spend(), Spend(calls=200 - 24 - 4))  # its calls are paid, and 4 are left of the 200
        assert await raced(deps, *alive, calls=24) == first


async def test_who_has_answered_all_when_the_budget_ends_has_finished(tmp_path: Path) -> None:
    stage = Stage(name="search", operators=("babble",), schedule="full")
    async with make_deps(tmp_path, answer=lambda _: "billing") as made:
        deps = replace(made, preset=Preset(name="one", about="-", stages=(stage,)))
        first, second = [await contender(deps, text) for text in ("One.", "Two.")]
        deps.ledger.meter.settle(Spend(), Spend(calls=200 - 20))
        update = await raced(deps, first, second, calls=24)
    assert update["alive"] == [first]
    assert update["rejected"][second][0] == "untried"


@pytest.mark.parametrize(
    ("schedule", "calls", "entered", "finished"),
    [(None, 20, 2, 1), ("full", 20, 1, 1), (None, 24, 2, 1), ("full", 24, 2, 2)],
)
async def test_a_stage_may_race_in_another_way_than_the_preset(
    tmp_path: Path, schedule: Schedule | None, calls: int, entered: int, finished: int
) -> None:
    stage = Stage(name="search", operators=("babble",), schedule=schedule)  # the preset's own is halving
    async with make_deps(tmp_path, answer=lambda _: "billing") as made:
        deps = replace(made, preset=Preset(name="one", about="-", stages=(stage,)))
        alive = [await contender(deps, text) for text in ("One.", "Two.")]
        update = await raced(deps, *alive, calls=calls)  # two cost 24 in full, and 8 + 8 and 4 where one drops out
    waiting = [reason for _, reason in update["rejected"].values() if "do not reach" in reason]
    assert (2 - len(waiting), len(update["alive"])) == (entered, finished)


async def test_each_round_races_over_the_examples_in_another_order(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: ModelRequest) -> str:
        asked.append(request.messages[-1].content)
        return "billing"

    orders = []
    async with make_deps(tmp_path, answer=answer) as deps:
        for text, number in (("One.", 1), ("Two.", 2), ("Three.", 1)):
            asked.clear()
            await raced(deps, await contender(deps, text), calls=12, number=number)
            orders.append((*asked,))
        everything = {e.inputs["input"] for e in deps.val}
    one, two, again = orders
    assert set(one) == set(two) == everything
    assert set(one[:8]) != set(two[:8])  # the first block
    assert again == one
