from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.runtime import Runtime

from crito.errors import ProviderFailure
from crito.graph.opening import baseline
from crito.graph.operators import opening
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.opening import null
from crito.graph.recipes import recipe
from crito.graph.state import RunState
from crito.memory.lessons import lessons
from crito.memory.recalled import Advice, Offer, Recalled
from crito.memory.recipe import Recipe
from crito.prompt import Prompt, Section
from crito.protocols import ModelRequest
from crito.task import Budget
from crito.tools.meter import Spend
from tests.builders import failure, make_candidate, make_deps, make_examples
from tests.unit.test_lessons import observed

FIND = Prompt(sections=(Section(name="task", body="Find."),), template="F: {input}")
FRESH: RunState = {"recalled": {}}
"""The state of a run that knows nothing of earlier ones."""
FEW = make_examples(4, "val")
"""Fewer than the failures in a row after which the ledger gives up by itself."""
MAIN = Prompt(sections=(Section(name="task", body="Answer."),))


def test_the_null_prompt_is_the_bare_input_of_every_module() -> None:
    seed = make_candidate(prompts={"find": FIND, "main": MAIN})
    (bare,) = null(seed)
    assert {name: p.sections for name, p in bare.prompts.items()} == {"find": (), "main": ()}
    assert bare.prompts["find"].template == "F: {input}"
    assert (bare.operator, bare.parents) == ("null", (seed.id,))


def test_the_null_prompt_can_be_read_as_a_patch() -> None:
    seed = make_candidate(prompt=MAIN)
    (bare,) = null(seed)
    assert bare.patch is not None
    assert seed.main.apply(bare.patch) == bare.main


def test_a_bare_or_frozen_seed_has_no_null_prompt() -> None:
    assert null(make_candidate(prompt=Prompt())) == []
    assert null(make_candidate(prompt=MAIN.model_copy(update={"frozen": ("task",)}))) == []


async def test_the_opening_is_the_null_prompt_and_a_spread_around_the_seed(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0))
    assert [c.operator for c in found] == ["null", *["spread"] * 7]
    assert len({c.id for c in found}) == 8
    assert any(c.main.demos for c in found[1:])
    assert any(not c.main.demos for c in found[1:])


async def test_the_opening_has_a_chain_of_thought_where_there_is_room_for_it(tmp_path: Path) -> None:
    async with make_deps(tmp_path, reasoning=True) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0))
    assert [c.operator for c in found] == ["null", "strategy", *["spread"] * 6]
    assert (found[1].hypothesis, found[1].parents, found[1].round) == ("strategy: chain of thought", (seed.id,), 0)
    assert "Reason briefly" in found[1].main.instructions()


def recipes(*known: Recipe) -> tuple[Advice, ...]:
    """Recipes as advice."""
    seen = (observed(kind="recipe", recipe=recipe, label="", text=recipe.text) for recipe in known)
    return tuple(Advice.of(lessons([observation])[0]) for observation in seen)


async def test_recipes_of_earlier_runs_take_half_of_the_opening_at_most(tmp_path: Path) -> None:
    recalled = Recalled(recipes=recipes(*(Recipe(instructions="kept", demos=2 + n) for n in range(6))))
    async with make_deps(tmp_path) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0, recalled=recalled))
    assert [c.operator for c in found] == ["null", *["recall"] * 3, *["spread"] * 4]
    assert [len(c.main.demos) for c in found[1:4]] == [2, 3, 4]


async def test_a_proven_prompt_is_tried_alone_before_the_rest(tmp_path: Path) -> None:
    proven = make_candidate("Proven.", operator="proven")
    offers = (Offer(candidate=proven.id, run="r", text="t", gain=0.1),)
    recalled = Recalled(recipes=recipes(*(Recipe(instructions="kept", demos=2 + n) for n in range(3))), prompts=offers)
    async with make_deps(tmp_path) as deps:
        await deps.archive.add(proven)
        seed = deps.archive.candidate(deps.seed)
        first = await opening.propose(deps, Assignment(parents=(seed,), count=3, round=0, recalled=recalled))
        second = await opening.propose(deps, Assignment(parents=(seed,), count=6, round=1, recalled=recalled))
    assert first == [proven]
    assert [(c.operator, c.round) for c in second] == [("null", 1), *[("recall", 1)] * 2, *[("spread", 1)] * 3]


async def test_what_lost_again_and_again_is_left_out_of_the_opening(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        seed = deps.archive.candidate(deps.seed)
        before = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0))
        largest = recipe(deps, before[1])
        assert largest is not None
        recalled = Recalled(refuted=(Recipe(instructions="none"), largest))
        found = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0, recalled=recalled))
        assert found[0].operator == "spread"
        assert {recipe(deps, c) for c in found}.isdisjoint(recalled.refuted)
    assert len(found) == 8


async def test_a_proven_prompt_takes_a_round_and_no_calls_from_the_opening(tmp_path: Path) -> None:
    told = Recalled(recipes=recipes(Recipe(instructions="kept", demos=1)))
    offered = told.model_copy(update={"prompts": (Offer(candidate="c", run="r", text="t", gain=0.1),)})
    async with make_deps(tmp_path, budget=Budget(calls=1000), verdict=Spend(calls=24)) as deps:
        plain, led = [
            cast("RunState", (await baseline({"recalled": k.model_dump(mode="json")}, Runtime(context=deps))).update)
            for k in (told, offered)
        ]
    assert (plain["stage_rounds"], led["stage_rounds"]) == (1, 0)
    assert plain["calls"] == led["calls"] == int(0.35 * (1000 - 24 - 12 - 3 * 12))


@pytest.mark.parametrize(("count", "operators"), [(1, ["null"]), (2, ["null", "strategy"])])
async def test_baselines_come_before_the_spread_and_are_no_more_than_wanted(
    tmp_path: Path, count: int, operators: list[str]
) -> None:
    async with make_deps(tmp_path, reasoning=True) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=count, round=0))
    assert [c.operator for c in found] == operators


async def test_the_search_is_given_what_the_baseline_and_the_last_look_leave(tmp_path: Path) -> None:
    async with make_deps(tmp_path, budget=Budget(calls=1000), verdict=Spend(calls=24)) as deps:
        command = await baseline(FRESH, Runtime(context=deps))
    update: Any = command.update
    assert (command.goto, update["incumbent"]) == ("plan", deps.seed)
    assert update["calls"] == int(0.35 * (1000 - 24 - 12 - 3 * 12))  # the opening's share


async def test_a_perfect_seed_goes_straight_to_the_verdict(tmp_path: Path) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing") as deps:
        command = await baseline(FRESH, Runtime(context=deps))
    assert command.goto == "verdict"


async def test_where_no_validation_example_is_answered_the_provider_has_failed(tmp_path: Path) -> None:
    def never(request: ModelRequest) -> Exception:
        return failure("bad_request", retryable=False)

    async with make_deps(tmp_path, answer=never, val=FEW) as deps:
        with pytest.raises(ProviderFailure, match="no validation example was answered; bad_request: injected"):
            await baseline(FRESH, Runtime(context=deps))


async def test_one_answered_validation_example_is_enough_to_begin(tmp_path: Path) -> None:
    def once(request: ModelRequest) -> str | Exception:
        return "x" if request.messages[-1].content == "val 0" else failure("bad_request", retryable=False)

    async with make_deps(tmp_path, answer=once, val=FEW) as deps:
        command = await baseline(FRESH, Runtime(context=deps))
    assert command.goto == "plan"


async def test_the_bandit_begins_with_what_earlier_runs_know_of_operators(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        command = await baseline({"recalled": {"operators": {"restyle": [0.25, 1.0]}}}, Runtime(context=deps))
    update: Any = command.update
    assert update["operators"] == {"restyle": [2.25, 9.0]}
