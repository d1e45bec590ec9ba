from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.runtime import Runtime

from crito.graph.decisions import _learned, decide, remember, tokens_per_use
from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.presets import preset as by_name
from crito.graph.state import RunState
from crito.memory.recalled import Offer, Recalled
from crito.records import Candidate, Plan, PlanAuthor, Step
from crito.tools.meter import Spend
from tests.builders import make_candidate, make_deps, make_outcome

OPENING, SEARCH, COMPRESS = range(3)
"""The default's stages."""
SPENT = {"calls": 20.0, "tokens": 100.0, "usd": 0.0}
FREE = 180
"""Of 200 calls after the 20."""
EARLIER: dict[str, Any] = {
    "stage": SEARCH,
    "stage_rounds": 1,
    "round": 2,
    "stale": 0,
    "hopeful": 1000,
    "spent": SPENT,
    "recalled": {},
}


ADVISED = Recalled(prompts=(Offer(candidate="c", run="r", text="t", gain=0.1),)).model_dump(mode="json")


async def decided(
    path: Path,
    *,
    score: float = 0.5,
    verdict: Spend | None = None,
    calls: int | None = None,
    rivals: int = 2,
    preset: str = "default",
    **state: Any,
) -> tuple[str, Any]:
    """Where a run goes from this state, with so many rivals of the incumbent, and the update."""
    async with make_deps(path, verdict=verdict) as made:
        deps = replace(made, preset=by_name(preset).model_copy(update={"calls": calls}))
        found = [make_candidate(f"Route the mail, version {number}.") for number in range(rivals + 1)]
        await deps.archive.add(*found)
        pool = [deps.seed, *(candidate.id for candidate in found)]
        await deps.archive.record([make_outcome(c, e, score) for c in pool for e in deps.val])
        given: RunState = {**EARLIER, "incumbent": pool[1], "pool": pool, **state}  # type: ignore[typeddict-item]  # keys come from the tests
        command = await decide(given, Runtime(context=deps))
        return str(command.goto), command.update


@pytest.mark.parametrize(
    ("score", "state", "following"),
    [
        (0.5, {"stage": OPENING}, SEARCH),
        (0.5, {"stage": OPENING, "stale": 1}, SEARCH),
        (1.0, {"stage": OPENING}, COMPRESS),
        (0.5, {"stage": SEARCH, "stale": 2}, SEARCH),
        (0.5, {"stage": SEARCH, "stale": 3}, COMPRESS),
        (0.5, {"stage": SEARCH, "stage_rounds": 199}, SEARCH),
        (0.5, {"stage": SEARCH, "stage_rounds": 200}, COMPRESS),
        (1.0, {"stage": SEARCH}, COMPRESS),
        (0.5, {"stage": COMPRESS}, COMPRESS),
        (1.0, {"stage": COMPRESS}, COMPRESS),
    ],
)
async def test_the_stages_follow_each_other(
    tmp_path: Path, score: float, state: dict[str, Any], following: int
) -> None:
    place, update = await decided(tmp_path, score=score, **state)
    assert (place, {**EARLIER, **state, **update}["stage"], update["round"]) == ("plan", following, 3)


@pytest.mark.parametrize(("waited", "following"), [(0, SEARCH), (59, SEARCH), (60, COMPRESS)])
async def test_patience_waits_for_its_share_of_the_budget(tmp_path: Path, waited: int, following: int) -> None:
    spent = {**SPENT, "calls": SPENT["calls"] + waited}
    _, update = await decided(tmp_path, stale=3, spent=spent, hopeful=FREE)  # three tenths of 200 calls are 60
    assert {**EARLIER, **update}["stage"] == following


async def test_a_new_incumbent_sets_the_wait_back(tmp_path: Path) -> None:
    _, fresh = await decided(tmp_path, stale=0)
    _, stale = await decided(tmp_path, stale=1)
    assert (fresh["hopeful"], stale["hopeful"]) == (FREE, EARLIER["hopeful"])


async def test_a_stage_counts_its_own_rounds(tmp_path: Path) -> None:
    _, same = await decided(tmp_path, stale=1)
    _, other = await decided(tmp_path, stale=3)
    assert (same["stage_rounds"], same.get("stale", 1)) == (2, 1)
    assert (other["stage_rounds"], other["stale"]) == (1, 0)


@pytest.mark.parametrize(
    ("score", "state", "stopped"),
    [
        (1.0, {"stage": COMPRESS, "stale": 1}, "no further gain was found"),
        (0.5, {"stage": COMPRESS, "stage_rounds": 4}, "no further gain was found"),
        (0.5, {"spent": {**SPENT, "calls": 189.0}}, "the budget of the search is used up"),
        (0.5, {"calls": 31}, "the budget of the search is used up"),
    ],
)
async def test_the_search_ends(tmp_path: Path, score: float, state: dict[str, Any], stopped: str) -> None:
    place, update = await decided(tmp_path, score=score, **state)
    assert (place, update["stopped"]) == ("confirm", stopped)


@pytest.mark.parametrize("each", [1, 2])  # calls of an answer: two with a judge
async def test_what_the_verdict_needs_is_not_searched_away(tmp_path: Path, each: int) -> None:
    last = 200.0 - each * (24 + 12)  # both prompts answer 12 test examples, and a race takes 12 answers
    kept = Spend(calls=24 * each)
    place, update = await decided(tmp_path, rivals=0, verdict=kept, spent={**SPENT, "calls": last})
    assert (place, update["calls"]) == ("plan", 12)
    assert (await decided(tmp_path, rivals=0, verdict=kept, spent={**SPENT, "calls": last + 1}))[0] == "confirm"


@pytest.mark.parametrize(("rivals", "kept"), [(2, 36), (1, 24), (0, 0)])
async def test_what_the_last_look_needs_is_not_searched_away_and_it_gets_all_that_is_left(
    tmp_path: Path, rivals: int, kept: int
) -> None:
    # each finalist answers 12 training examples, a round takes 12 at least, and 200 are all there are
    last = 200.0 - kept - 12
    place, update = await decided(tmp_path, rivals=rivals, spent={**SPENT, "calls": last})
    assert (place, update["calls"]) == ("plan", 12)
    place, update = await decided(tmp_path, rivals=rivals, spent={**SPENT, "calls": last + 1})
    assert (place, update["calls"]) == ("confirm", kept + 11)


async def test_searching_stops_in_time_for_the_later_stages(tmp_path: Path) -> None:
    for calls, following in ((143.0, SEARCH), (144.0, COMPRESS)):
        _, update = await decided(tmp_path, spent={**SPENT, "calls": calls})
        assert update.get("stage", SEARCH) == following


async def test_a_last_stage_leaves_nothing_for_later_ones(tmp_path: Path) -> None:
    for calls, place in ((152.0, "plan"), (153.0, "confirm")):  # 36 for the last look, 12 for a round
        found, update = await decided(tmp_path, preset="default-compression", spent={**SPENT, "calls": calls})
        assert (found, update.get("stage", SEARCH)) == (place, SEARCH)


async def test_a_round_may_take_its_share_of_the_calls_and_no_more_than_are_left(tmp_path: Path) -> None:
    for calls, share in ((20.0, 40), (140.0, 24)):
        place, update = await decided(tmp_path, stage=OPENING, spent={**SPENT, "calls": calls})
        assert (place, update["calls"]) == ("plan", share)


@pytest.mark.parametrize("stale", [0, 1])
async def test_advice_is_followed_by_the_rest_of_the_opening(tmp_path: Path, stale: int) -> None:
    _, update = await decided(tmp_path, stage=OPENING, stage_rounds=0, stale=stale, recalled=ADVISED)
    assert (update.get("stage", OPENING), update["stage_rounds"]) == (OPENING, 1)
    assert update["calls"] == int(0.35 * 200)
    _, update = await decided(tmp_path / "rest", stage=OPENING, stale=stale, recalled=ADVISED)
    assert update["stage"] == SEARCH


async def test_a_share_is_of_the_presets_own_calls_where_it_has_fewer(tmp_path: Path) -> None:
    _, update = await decided(tmp_path, calls=100)
    assert update["calls"] == 20


async def test_a_round_reaches_for_one_race_at_least(tmp_path: Path) -> None:
    _, update = await decided(tmp_path, calls=40)
    assert update["calls"] == 12


async def raced(deps: Deps, text: str, score: float, *, tokens: int = 10, **fields: Any) -> Candidate:
    """A child of the seed that answered every validation example."""
    made = make_candidate(text, parents=(deps.seed,), **fields)
    await deps.archive.add(made)
    await deps.archive.record([make_outcome(made.id, e, score, tokens=tokens) for e in deps.val])
    return made


async def state_of(deps: Deps, *steps: tuple[str, PlanAuthor], **state: Any) -> RunState:
    """A round in which the seed, which is right half of the time, is the incumbent."""
    scores = (float(at % 2) for at in range(len(deps.val)))
    await deps.archive.record([make_outcome(deps.seed, e, s) for e, s in zip(deps.val, scores, strict=True)])
    planned = tuple(Step(operator=name, parents=(deps.seed,), author=author) for name, author in steps)
    known: dict[str, Any] = {"operators": {}, "authors": {}, "rate": 0.0, "incumbent": deps.seed, "rejected": {}}
    made: Any = {
        **EARLIER,
        **known,
        "proposing": {},
        "seen": [deps.seed],
        "pool": [deps.seed],
        "plan": Plan(round=2, steps=planned).model_dump(mode="json"),
        **state,
    }
    return cast("RunState", made)


STEPS: tuple[tuple[str, PlanAuthor], ...] = (
    ("demonstrations", "bandit"),
    ("critique_synthesis", "bandit"),
    ("socratic", "planner"),
)


async def learned(path: Path, **state: Any) -> RunState:
    """After a round in which the first step gained .5, the second .25 at the same price, and the third nothing."""
    async with make_deps(path) as deps:
        best, good = await raced(deps, "Best.", 1.0), await raced(deps, "Good.", 0.75)
        poor = await raced(deps, "Poor.", 0.25)
        proposals = {best.id: 0, good.id: 1, poor.id: 2}
        return _learned(deps, await state_of(deps, *STEPS, proposals=proposals, **state), [best.id, good.id])


def gained(found: RunState) -> dict[str, tuple[float, float]]:
    """What was added to each operator's prior."""
    priors = {name: OPERATORS[name].prior for name in found["operators"]}
    return {name: (won - priors[name][0], lost - priors[name][1]) for name, (won, lost) in found["operators"].items()}


async def test_a_step_counts_as_what_it_earned_of_the_most_that_any_did(tmp_path: Path) -> None:
    found = await learned(tmp_path)
    assert found["rate"] == pytest.approx(0.5 / 120)
    assert gained(found) == {
        "demonstrations": pytest.approx((1.0, 0.0)),
        "critique_synthesis": pytest.approx((0.5, 0.5)),
        "socratic": pytest.approx((0.0, 1.0)),
    }


async def test_whoever_chose_a_step_is_credited_with_it(tmp_path: Path) -> None:
    found = await learned(tmp_path)
    assert found["authors"] == {"bandit": pytest.approx([1.5, 0.5]), "planner": [0.0, 1.0]}


async def test_what_was_learned_before_stays(tmp_path: Path) -> None:
    found = await learned(
        tmp_path, operators={"socratic": [3.0, 9.0], "merge": [1.0, 7.0]}, authors={"bandit": [5.0, 1.0]}
    )
    assert (found["operators"]["socratic"], found["operators"]["merge"]) == ([3.0, 10.0], [1.0, 7.0])
    assert found["authors"]["bandit"] == pytest.approx([6.5, 1.5])


async def test_half_of_an_earlier_rate_stays_the_measure_until_it_is_beaten(tmp_path: Path) -> None:
    found = await learned(tmp_path, rate=2.0 / 120)
    assert found["rate"] == pytest.approx(1.0 / 120)
    assert gained(found)["demonstrations"] == pytest.approx((0.5, 0.5))


async def test_what_an_earlier_round_found_cheaply_is_beaten_in_time(tmp_path: Path) -> None:
    found = await learned(tmp_path, rate=0.8 / 120)
    assert found["rate"] == pytest.approx(0.5 / 120)
    assert gained(found)["demonstrations"] == pytest.approx((1.0, 0.0))


async def test_a_round_that_finds_nothing_halves_the_rate(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        found = _learned(deps, await state_of(deps, STEPS[0], proposals={}, rate=0.5), [])
    assert (found["rate"], gained(found)) == (0.25, {"demonstrations": (0.0, 1.0)})


async def test_a_gain_that_cost_twice_the_tokens_counts_half(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        cheap, dear = await raced(deps, "Cheap.", 1.0), await raced(deps, "Dear.", 1.0, tokens=20)
        state = await state_of(deps, *STEPS[:2], proposals={cheap.id: 0, dear.id: 1})
        found = _learned(deps, state, [cheap.id, dear.id])
    assert gained(found)["critique_synthesis"] == pytest.approx((0.5, 0.5))


async def test_a_step_is_not_charged_for_what_raced_before(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        best, other = await raced(deps, "Best.", 1.0), await raced(deps, "Other.", 1.0)
        before = await raced(deps, "Before.", 0.0, tokens=500)
        proposals = {best.id: 0, before.id: 0, other.id: 1}
        state = await state_of(deps, *STEPS[:2], proposals=proposals, seen=[deps.seed, before.id])
        found = _learned(deps, state, [best.id, other.id])
    assert gained(found) == {name: pytest.approx((1.0, 0.0)) for name in ("demonstrations", "critique_synthesis")}


async def priced(path: Path, *, proposing: dict[int, int] | None = None, cited: int = 0) -> dict[str, Any]:
    """After two steps of equal gain, of which the second took this to propose, or answered cited training examples."""
    async with make_deps(path) as deps:
        train = deps.task.splits.train[:cited]
        mends, keeps = (tuple(example.id for example in half) for half in (train[::2], train[1::2]))
        plain, gated = await raced(deps, "Plain.", 1.0), await raced(deps, "Gated.", 1.0, mends=mends, keeps=keeps)
        await deps.archive.record(make_outcome(gated.id, example, 1.0, tokens=60) for example in train)
        proposals = {plain.id: 0, gated.id: 1}
        state = await state_of(deps, *STEPS[:2], proposals=proposals, proposing=proposing or {})
        return gained(_learned(deps, state, list(proposals)))


async def test_what_proposing_took_is_part_of_the_price(tmp_path: Path) -> None:
    found = await priced(tmp_path, proposing={0: 0, 1: 120})  # as much again as the race
    assert found["demonstrations"] == pytest.approx((1.0, 0.0))
    assert found["critique_synthesis"] == pytest.approx((0.5, 0.5))


async def test_what_the_gate_took_is_part_of_the_price(tmp_path: Path) -> None:
    found = await priced(tmp_path, cited=2)  # one to mend and one to keep, 60 tokens each
    assert found["demonstrations"] == pytest.approx((1.0, 0.0))
    assert found["critique_synthesis"] == pytest.approx((0.5, 0.5))


async def test_a_step_without_a_proposal_has_lost(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        found = _learned(deps, await state_of(deps, STEPS[0], proposals={}), [])
    assert gained(found) == {"demonstrations": (0.0, 1.0)}
    assert (found["authors"], found["rate"]) == ({"bandit": [0.0, 1.0]}, 0.0)


@pytest.mark.parametrize(
    ("author", "fate", "before", "left"),
    [
        ("rewriter", "", False, 0),
        ("rewriter", "no_repair", False, 0),
        ("rewriter", "screened", False, 2),
        ("rewriter", "", True, 2),
        ("code", "", False, 1),
    ],
    ids=["raced", "stopped at the gate", "screened out", "there already", "by code"],
)
async def test_agents_are_heard_where_they_wrote_something_new_that_no_guard_refused(
    tmp_path: Path, author: str, fate: str, before: bool, left: int
) -> None:
    async with make_deps(tmp_path) as deps:
        made = await raced(deps, "New.", 0.0, author=author)
        seen = [deps.seed, *([made.id] if before else [])]
        rejected = {made.id: (fate, "why")} if fate else {}
        state = await state_of(
            deps, STEPS[0], proposals={made.id: 0}, alive=[], seen=seen, rejected=rejected, unheard=1
        )
        update = await remember(state, Runtime(context=deps))
    assert 1 + update["unheard"] == left  # the update is added to what there was


async def test_a_use_costs_the_mean_tokens_of_the_answers(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        assert tokens_per_use(deps, deps.seed) == deps.prompt_tokens(deps.archive.candidate(deps.seed).main)
        used = zip(deps.val[:3], (8, 12, None), strict=True)
        await deps.archive.record(
            make_outcome(deps.seed, e, 1.0 if tokens else None, tokens=tokens or 0) for e, tokens in used
        )
        assert tokens_per_use(deps, deps.seed) == 10.0
