from pathlib import Path
from typing import Any

import pytest
from langgraph.runtime import Runtime

from crito.graph.deps import Deps
from crito.graph.rounds import _learned, _null, _pool, _unrepaired, decide, screen
from crito.graph.state import RunState, gather
from crito.prompt import Demo, Prompt, Section
from crito.records import Plan, Step
from crito.tools.meter import Spend
from tests.builders import make_candidate, make_deps, make_examples, make_outcome

TRAIN = make_examples(12, "train")


async def decided(path: Path, *, score: float = 0.5, verdict: Spend | None = None, **state: Any) -> tuple[str, Any]:
    """Where a run goes from this state, and the update."""
    async with make_deps(path, verdict=verdict) as deps:
        await deps.archive.record(make_outcome(deps.seed, e, score) for e in deps.val)
        spent = {"calls": 20.0, "tokens": 100.0, "usd": 0.0}
        given: RunState = {"stage": "search", "round": 2, "incumbent": deps.seed, "stale": 0, "spent": spent, **state}  # type: ignore[typeddict-item]  # keys come from the tests
        command = await decide(given, Runtime(context=deps))
        return str(command.goto), command.update


@pytest.mark.parametrize(
    ("score", "state", "following"),
    [
        (0.5, {"stage": "opening", "stale": 0}, "sweep"),
        (0.5, {"stage": "opening", "stale": 1}, "sweep"),
        (1.0, {"stage": "opening", "stale": 0}, "compress"),
        (0.5, {"stage": "search", "stale": 1}, "search"),
        (0.5, {"stage": "search", "stale": 2}, "compress"),
        (1.0, {"stage": "search", "stale": 0}, "compress"),
        (0.5, {"stage": "compress", "stale": 0}, "compress"),
        (0.5, {"stage": "compress", "stale": 3}, "sweep"),
    ],
)
async def test_the_stages_follow_each_other(
    tmp_path: Path, score: float, state: dict[str, Any], following: str
) -> None:
    place, update = await decided(tmp_path, score=score, **state)
    assert (place, update["stage"], update["round"]) == ("plan", following, 3)


async def test_the_first_sweep_is_followed_by_the_search(tmp_path: Path) -> None:
    place, update = await decided(tmp_path, score=0.5, stage="sweep", stale=1, round=1)
    assert (place, update["stage"]) == ("plan", "search")


@pytest.mark.parametrize(
    ("score", "state", "stopped"),
    [
        (1.0, {"stage": "compress", "stale": 1}, "no further gain was found"),
        (0.5, {"stage": "sweep", "stale": 1}, "no further gain was found"),
        (0.5, {"stage": "sweep", "stale": 0}, "no further gain was found"),
        (0.5, {"round": 12}, "no further gain was found"),
        (0.5, {"spent": {"calls": 189.0, "tokens": 0.0, "usd": 0.0}}, "the budget of the search is used up"),
    ],
)
async def test_the_search_ends(tmp_path: Path, score: float, state: dict[str, Any], stopped: str) -> None:
    place, update = await decided(tmp_path, score=score, **state)
    assert (place, update["stopped"]) == ("verdict", stopped)


async def test_what_the_verdict_needs_is_not_searched_away(tmp_path: Path) -> None:
    assert (await decided(tmp_path, verdict=Spend(calls=168)))[0] == "plan"
    assert (await decided(tmp_path, verdict=Spend(calls=169)))[0] == "verdict"


async def test_searching_stops_in_time_for_the_later_stages(tmp_path: Path) -> None:
    for calls, following in ((140.0, "search"), (155.0, "compress")):
        _, update = await decided(tmp_path, spent={"calls": calls, "tokens": 0.0, "usd": 0.0})
        assert update["stage"] == following


async def test_a_round_may_take_its_share_of_the_calls_and_no_more_than_are_left(tmp_path: Path) -> None:
    for calls, share in ((20.0, 40), (185.0, 15)):
        _, update = await decided(tmp_path, spent={"calls": calls, "tokens": 0.0, "usd": 0.0})
        assert update["calls"] == share


def test_ids_from_workers_are_gathered_once_in_order() -> None:
    assert gather(None, ["b", "a", "b"]) == ["b", "a"]
    assert gather(["a"], ["c", "a", "b"]) == ["a", "c", "b"]
    assert gather(["a"], None) == []


async def test_screening_gives_reasons_and_keeps_what_is_sound(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        good = make_candidate("Name the team in one lower-case word.", parents=(deps.seed,))
        bad = make_candidate("Here is the improved prompt: name the team.", parents=(deps.seed,))
        again = make_candidate("Seen before, long ago, by us all.", parents=(deps.seed,))
        await deps.archive.add(good, bad, again)
        state: RunState = {
            "proposals": [again.id, bad.id, good.id],
            "seen": [deps.seed, again.id],
            "calls": 60,
            "round": 1,
        }
        update = await screen(state, Runtime(context=deps))
    assert update["alive"] == [good.id]
    assert update["rejected"][bad.id][0] == "screened"
    assert "talks about the prompt" in update["rejected"][bad.id][1]


@pytest.mark.parametrize(
    ("mended", "kept", "reason"),
    [
        ((1.0, 0.0), (1.0,), None),
        ((0.0, 0.0), (1.0,), "mends none of the 2 cited failures"),
        ((1.0, 1.0), (0.0,), "breaks 1 of 1 cases that were right"),
        ((1.0, None), (None,), None),  # a failed call breaks nothing
    ],
)
async def test_a_patch_must_mend_and_not_break(
    tmp_path: Path, mended: tuple[float | None, ...], kept: tuple[float | None, ...], reason: str | None
) -> None:
    async with make_deps(tmp_path, answer=lambda _: RuntimeError("nothing is left to ask")) as deps:
        cited = TRAIN[:3]
        candidate = make_candidate(
            "New.", parents=(deps.seed,), mends=tuple(e.id for e in cited[:2]), keeps=(cited[2].id,)
        )
        await deps.archive.record(make_outcome(deps.seed, e, v) for e, v in zip(cited, (0.0, 0.0, 1.0), strict=True))
        # A refused request is not asked again, so that the failed ones stay as they are.
        found = [make_outcome(candidate.id, e, v) for e, v in zip(cited, (*mended, *kept), strict=True)]
        failed = {"error": "bad_request: no"}
        await deps.archive.record(o if o.score else o.model_copy(update=failed) for o in found)
        assert await _unrepaired(deps, candidate) == reason


async def test_a_case_that_is_shown_is_no_proof(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        shown = Demo(inputs=TRAIN[0].inputs, output="billing", example_id=TRAIN[0].id)
        candidate = make_candidate(prompt=Prompt(demos=(shown,)), parents=(deps.seed,), mends=(TRAIN[0].id,))
        assert await _unrepaired(deps, candidate) is None
        assert deps.ledger.meter.spent.calls == 0


def test_the_null_prompt_is_the_bare_input_of_every_module() -> None:
    find = Prompt(sections=(Section(name="task", body="Find."),), template="F: {input}")
    main = Prompt(sections=(Section(name="task", body="Answer."),))
    seed = make_candidate(prompts={"find": find, "main": main})
    (null,) = _null(seed)
    assert {name: p.sections for name, p in null.prompts.items()} == {"find": (), "main": ()}
    assert null.prompts["find"].template == "F: {input}"
    assert null.patch is not None
    assert seed.main.apply(null.patch) == null.main
    assert _null(null) == []
    frozen = make_candidate(prompt=main.model_copy(update={"frozen": ("task",)}))
    assert _null(frozen) == []


async def learned(deps: Deps, accepted: bool) -> dict[str, list[float]]:
    steps = [Step(operator="demonstrations", parent=deps.seed), Step(operator="critique_synthesis", parent=deps.seed)]
    made = make_candidate("New.", operator="demonstrations", parents=(deps.seed,))
    await deps.archive.add(made)
    state: RunState = {
        "operators": {"demonstrations": [2.0, 2.0], "critique_synthesis": [2.0, 2.0]},
        "proposals": [made.id],
        "plan": Plan(round=1, steps=tuple(steps)).model_dump(mode="json"),
    }
    return _learned(deps, state, [made.id] if accepted else [])


async def test_an_operator_learns_from_what_became_of_its_proposals(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        assert (await learned(deps, True))["demonstrations"] == [3.0, 2.0]
        assert (await learned(deps, False))["demonstrations"] == [2.0, 3.0]


async def test_an_operator_without_a_proposal_has_lost(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        assert (await learned(deps, True))["critique_synthesis"] == [2.0, 3.0]


async def test_the_pool_keeps_the_best_the_seed_and_the_incumbent(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        names = ["seed", *(f"c{n}" for n in range(20))]
        for index, name in enumerate(names):
            await deps.archive.record([make_outcome(name, e, index / 20) for e in deps.val])
        pool = _pool(deps, [*names, "c3"], "c1")
    assert pool == ["seed", "c1", *(f"c{n}" for n in range(8, 20))]
