import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.runtime import Runtime
from langgraph.types import Send

from crito.graph.deps import Deps
from crito.graph.preset import Preset, Stage
from crito.graph.rounds import WorkerState, plan, propose, screen
from crito.graph.state import RunState, gather, taken_by_step
from crito.memory.attempts import Attempt
from crito.prompt import Prompt
from crito.protocols import ModelRequest
from crito.records import Brief, Plan, Step
from tests.builders import make_candidate, make_deps, make_example, make_examples, make_outcome

TRAIN = make_examples(12, "train")
TRIED = {"calls": 60, "round": 1}
TRIED_BEFORE = Attempt(
    candidate="c", parent="s", round=0, operator="babble", author="code", hypothesis="h", fate="eliminated"
)


def preset_of(*operators: str, **fields: Any) -> Preset:
    """A preset with one stage."""
    settings = {name: fields.pop(name) for name in ("planner", "parents", "gate", "agents") if name in fields}
    return Preset(name="one", about="-", stages=(Stage(name="search", operators=operators, **fields),), **settings)


@asynccontextmanager
async def deps_with(path: Path, preset: Preset) -> AsyncIterator[Deps]:
    async with make_deps(path) as deps:
        yield replace(deps, preset=preset)


async def planned(deps: Deps, **state: Any) -> tuple[Plan, list[WorkerState]]:
    """The plan of a round, and what its workers are sent."""
    given: Any = {
        **TRIED,
        "stage": 0,
        "brief": Brief(kind="generation").model_dump(mode="json"),
        "operators": {},
        "recalled": {},
        "authors": {},
        "pool": [deps.seed],
        "incumbent": deps.seed,
        **state,
    }
    command = await plan(given, Runtime(context=deps))
    assert isinstance(command.goto, list)
    sends = [send.arg for send in command.goto if isinstance(send, Send)]
    assert command.update is not None
    return Plan.model_validate(dict(command.update)["plan"]), sends


async def proposed(deps: Deps, *, count: int, ask: bool = True) -> RunState:
    """What one worker gives back."""
    step = Step(operator="critique_synthesis", parents=(deps.seed,), author="stage")
    worker = WorkerState(step=step.model_dump(), index=3, count=count, round=1, ask=ask, recalled={})
    return await propose(worker, Runtime(context=deps))


async def test_each_step_goes_to_a_worker_of_its_own(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("babble", "format", steps=3, count=2)) as deps:
        chosen, workers = await planned(deps)
    assert len(chosen.steps) == 3
    assert [worker["index"] for worker in workers] == [0, 1, 2]
    assert [worker["step"] for worker in workers] == [step.model_dump() for step in chosen.steps]
    assert {worker["count"] for worker in workers} == {2}


async def test_without_a_count_the_steps_share_what_the_calls_reach_for(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("babble", "format", steps=2)) as deps:
        counts = [[w["count"] for w in (await planned(deps, calls=calls))[1]] for calls in (24, 132)]
    assert counts == [[1, 1], [6, 6]]  # 132 calls: 12 halved after 8 of the 12 examples, 96 + 24, and no 13th


async def test_no_more_steps_are_planned_than_could_race(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("babble", "format", steps=8, count=1)) as deps:
        planned_steps = [len((await planned(deps, calls=calls))[0].steps) for calls in (0, 12, 24, 500)]
    assert planned_steps == [1, 1, 2, 8]


@pytest.mark.parametrize(("schedule", "steps"), [("full", 1), ("halving", 2), (None, 2)])
async def test_how_the_stage_races_says_how_many_could(tmp_path: Path, schedule: str | None, steps: int) -> None:
    settings = preset_of("babble", "format", steps=8, count=1, schedule=schedule)  # the preset's own is halving
    async with deps_with(tmp_path, settings) as deps:
        chosen, _ = await planned(deps, calls=20)  # two cost 24 in full, and 8 + 8 and 4 where one drops out
    assert len(chosen.steps) == steps


async def test_the_calls_are_shared_by_the_steps_that_are_planned(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("babble", "format", steps=8)) as deps:
        _, workers = await planned(deps, calls=24)
    assert [worker["count"] for worker in workers] == [1, 1]


@pytest.mark.parametrize(("mode", "author"), [("advised", "planner"), ("bandit", "bandit"), ("random", "random")])
async def test_the_mode_of_planning_decides_whether_the_model_is_asked(tmp_path: Path, mode: str, author: str) -> None:
    advice = json.dumps({"steps": [{"operator": "format", "focus": "the end"}]})
    async with make_deps(tmp_path, agents=lambda _: advice) as made:
        deps = replace(made, preset=preset_of("babble", "format", steps=2, planner=mode))
        await deps.attempts.record(TRIED_BEFORE)
        understood = Brief(kind="generation", author="planner").model_dump(mode="json")
        chosen, _ = await planned(deps, brief=understood)
        asked = deps.ledger.meter.spent.calls
    assert chosen.steps[-1].author == author
    assert asked == (1 if mode == "advised" else 0)


@pytest.mark.parametrize(
    ("settings", "operators", "author"),
    [
        ({"planner": "random"}, ("babble", "format"), "random"),
        ({"planner": "random"}, ("babble",), "stage"),
        ({}, ("babble",), "stage"),
        ({}, ("babble", "format"), "bandit"),
    ],
)
async def test_who_chooses_is_written_into_the_step(
    tmp_path: Path, settings: dict[str, Any], operators: tuple[str, ...], author: str
) -> None:
    async with deps_with(tmp_path, preset_of(*operators, steps=2, **settings)) as deps:
        chosen, _ = await planned(deps)
    assert {step.author for step in chosen.steps} == {author}
    assert {step.operator for step in chosen.steps} <= set(operators)


async def test_a_random_choice_takes_every_operator_in_time(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("babble", "format", "strategy", planner="random")) as deps:
        plans = [(await planned(deps, round=number))[0] for number in range(20)]
    assert {plan.steps[0].operator for plan in plans} == {"babble", "format", "strategy"}


async def test_without_a_capable_model_only_operators_that_need_none_are_chosen(tmp_path: Path) -> None:
    settings = preset_of("induce", "restyle", "format", steps=8, planner="random")
    async with deps_with(tmp_path, settings) as deps:
        understood = Brief(kind="generation", author="planner").model_dump(mode="json")
        weak, able, deaf = [
            {step.operator for step in (await planned(deps, **state))[0].steps}
            for state in ({}, {"brief": understood}, {"brief": understood, "unheard": 2})
        ]
    assert (weak, deaf) == ({"format"}, {"format"})
    assert able >= {"induce", "restyle"}


async def test_without_right_answers_nothing_that_works_from_them_is_chosen(tmp_path: Path) -> None:
    settings = preset_of("induce", "format", steps=8, planner="random")
    understood = Brief(kind="generation", author="planner").model_dump(mode="json")
    async with make_deps(tmp_path, train=[make_example(f"mail {number}", None) for number in range(12)]) as deps:
        chosen, _ = await planned(replace(deps, preset=settings), brief=understood)
    assert {step.operator for step in chosen.steps} == {"format"}


async def test_a_preset_that_is_nothing_without_agents_keeps_its_operators(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("induce", agents=True)) as deps:
        chosen, workers = await planned(deps)
    assert [step.operator for step in chosen.steps] == ["induce"]
    assert workers[0]["ask"]


async def test_operators_of_the_incumbent_get_it_and_others_their_draw(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("compress", "merge", steps=6, planner="random")) as deps:
        others = [make_candidate(text, parents=(deps.seed,)) for text in ("One.", "Two.", "Three.")]
        await deps.archive.add(*others)
        for candidate in others:
            await deps.archive.record([make_outcome(candidate.id, e, 1.0) for e in deps.val])
        chosen, _ = await planned(deps, pool=[deps.seed, *(c.id for c in others)], incumbent=others[2].id)
    parents = {step.operator: step.parents for step in chosen.steps}
    assert parents["compress"] == (others[2].id,)
    assert len(set(parents["merge"])) == 2


async def test_a_worker_gives_ids_with_the_index_of_its_step(tmp_path: Path) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing it is") as deps:
        update = await proposed(deps, count=4)
        candidates = [deps.archive.candidate(c) for c in update["proposals"]]
    assert len(candidates) > 1
    assert set(update["proposals"].values()) == {3}
    assert {candidate.operator for candidate in candidates} == {"critique_synthesis"}


async def test_no_step_makes_more_than_it_is_sent_for(tmp_path: Path) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing it is") as deps:
        assert len((await proposed(deps, count=1))["proposals"]) == 1


@pytest.mark.parametrize("ask", [True, False], ids=["agents asked", "evidence alone"])
async def test_a_worker_says_what_proposing_took_the_same_when_it_runs_again(tmp_path: Path, ask: bool) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing it is") as deps:
        took = (await proposed(deps, count=4, ask=ask))["proposing"]
        paid = deps.ledger.meter.spent.tokens
        again = (await proposed(deps, count=4, ask=ask))["proposing"]  # from the cache and the archive
        assert deps.ledger.meter.spent.tokens == paid
    assert took == again == {3: paid}


@pytest.mark.parametrize(("ask", "unheard"), [(True, 1), (False, 0)])
async def test_agents_that_were_asked_in_vain_are_counted(tmp_path: Path, ask: bool, unheard: int) -> None:
    async with make_deps(tmp_path, answer=lambda _: "billing it is") as deps:
        assert (await proposed(deps, count=4, ask=ask))["unheard"] == unheard


def test_ids_from_workers_are_gathered_by_worker_whoever_was_faster() -> None:
    assert list(gather(None, {"b": 0, "a": 0})) == ["b", "a"]
    assert list(gather({"c": 1}, {"b": 0, "a": 0})) == ["b", "a", "c"]
    assert list(gather({"b": 0, "a": 0}, {"c": 1})) == ["b", "a", "c"]


def test_the_lowest_worker_keeps_a_candidate_that_several_propose() -> None:
    assert gather({"a": 0}, {"c": 1, "a": 1}) == gather({"c": 1, "a": 1}, {"a": 0}) == {"a": 0, "c": 1}


def test_what_the_workers_took_is_kept_by_the_index_of_the_step() -> None:
    assert taken_by_step(taken_by_step(None, {1: 30}), {0: 20}) == {0: 20, 1: 30}


def test_gathering_nothing_empties_what_was_gathered() -> None:
    assert gather({"a": 0}, None) == {}
    assert taken_by_step({0: 20}, None) == {}


async def test_screening_gives_reasons_and_keeps_what_is_sound(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        good = make_candidate("Name the team in one lower-case word.", parents=(deps.seed,))
        bad = make_candidate("Here is the improved prompt: name the team.", parents=(deps.seed,))
        again = make_candidate("Seen before, long ago, by us all.", parents=(deps.seed,))
        await deps.archive.add(good, bad, again)
        proposals = {again.id: 0, bad.id: 0, good.id: 1}
        state: RunState = {"proposals": proposals, "seen": [deps.seed, again.id], **TRIED}  # type: ignore[typeddict-item]
        update = await screen(state, Runtime(context=deps))
    assert update["alive"] == [good.id]
    assert update["rejected"][bad.id][0] == "screened"
    assert "talks about the prompt" in update["rejected"][bad.id][1]


@pytest.mark.parametrize(("operator", "alive"), [("null", True), ("ablate", False)])
async def test_only_the_null_prompt_may_be_bare(tmp_path: Path, operator: str, alive: bool) -> None:
    async with make_deps(tmp_path) as deps:
        bare = make_candidate(prompt=Prompt(), parents=(deps.seed,), operator=operator)
        await deps.archive.add(bare)
        state: RunState = {"proposals": {bare.id: 0}, "seen": [deps.seed], **TRIED}  # type: ignore[typeddict-item]
        update = await screen(state, Runtime(context=deps))
    assert update["alive"] == ([bare.id] if alive else [])


MERGING = ("merge", "format")


async def winners(deps: Deps, *gains: float | None, number: int = 1) -> list[str]:
    """Candidates of a round that were accepted with these gains; None was not."""
    made = [make_candidate(f"Winner {n} of {number}.", parents=(deps.seed,), round=number) for n in range(len(gains))]
    await deps.archive.add(*made)
    for candidate, gain in zip(made, gains, strict=True):
        fate = {"fate": "not_better" if gain is None else "accepted", "gain": gain, "round": number}
        await deps.attempts.record(TRIED_BEFORE.model_copy(update={"candidate": candidate.id, **fate}))
    return [candidate.id for candidate in made]


async def test_two_winners_of_the_last_round_are_merged_before_the_steps_that_are_chosen(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of(*MERGING, steps=3)) as deps:
        best, other = await winners(deps, 0.4, 0.2)
        chosen, workers = await planned(deps, round=2, incumbent=best)
    first, *others = chosen.steps
    assert (first.operator, first.parents, first.author) == ("merge", (best, other), "stage")
    assert [step.operator for step in others] == ["format"] * 3  # with one parent in the pool nothing else can be
    assert [worker["step"] for worker in workers] == [step.model_dump() for step in chosen.steps]


async def test_of_several_other_winners_the_one_that_gained_most_is_merged(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of(*MERGING)) as deps:
        _, good, best, _ = await winners(deps, 0.1, 0.3, 0.4, None)
        chosen, _ = await planned(deps, round=2, incumbent=best)
    assert (chosen.steps[0].operator, chosen.steps[0].parents) == ("merge", (best, good))


@pytest.mark.parametrize(
    ("operators", "gains", "number"),
    [
        (("babble", "format"), (0.4, 0.2), 2),
        (MERGING, (0.4,), 2),
        (MERGING, (0.4, None), 2),
        (MERGING, (0.4, 0.2), 3),
    ],
    ids=["the stage does not merge", "one winner", "the other is no better", "two rounds ago"],
)
async def test_nothing_else_is_merged_before_it_is_chosen(
    tmp_path: Path, operators: tuple[str, ...], gains: tuple[float | None, ...], number: int
) -> None:
    async with deps_with(tmp_path, preset_of(*operators, steps=2)) as deps:
        best, *_ = await winners(deps, *gains)
        chosen, _ = await planned(deps, round=number, incumbent=best)
    assert len(chosen.steps) == 2
    assert "merge" not in {step.operator for step in chosen.steps}


@pytest.mark.parametrize(("of_best", "of_other"), [(0, 1), (1, 0)])
async def test_winners_of_different_rounds_are_not_merged_before_it_is_chosen(
    tmp_path: Path, of_best: int, of_other: int
) -> None:
    async with deps_with(tmp_path, preset_of(*MERGING, steps=2)) as deps:
        (best,), _ = await winners(deps, 0.4, number=of_best), await winners(deps, 0.2, number=of_other)
        chosen, _ = await planned(deps, round=2, incumbent=best)
    assert "merge" not in {step.operator for step in chosen.steps}


async def test_members_are_worked_on_in_turn(tmp_path: Path) -> None:
    async with deps_with(tmp_path, preset_of("differential", steps=3, parents="member")) as deps:
        pool = await winners(deps, 0.1, 0.2, 0.3)
        chosen, _ = await planned(deps, pool=pool, calls=600)
        later, _ = await planned(deps, pool=pool, calls=600, round=2)
    assert [step.parents[0] for step in chosen.steps] == [pool[1], pool[2], pool[0]]
    assert [step.parents[0] for step in later.steps] == [pool[2], pool[0], pool[1]]


async def test_a_planned_step_has_its_prompt_and_its_share_of_the_calls(tmp_path: Path) -> None:
    def plan(request: ModelRequest) -> str:
        ids = re.findall(r"^- (\w+): made by test, score", request.messages[-1].content, re.MULTILINE)
        return json.dumps({"steps": [{"operator": "format", "focus": "the end", "parent": ids[-1], "share": 0.9}]})

    async with make_deps(tmp_path, agents=plan) as made:
        deps = replace(made, preset=preset_of("babble", "format", steps=2, parents="incumbent"))
        pool = await winners(deps, 0.3, 0.2, 0.1)
        understood = Brief(kind="generation", author="planner").model_dump(mode="json")
        chosen, workers = await planned(deps, brief=understood, pool=pool, incumbent=pool[0], calls=600, round=2)
    ours, theirs = chosen.steps
    assert (ours.author, theirs.author, theirs.parents) == ("bandit", "planner", (pool[2],))
    assert (ours.share, theirs.share) == pytest.approx((0.1, 0.9))
    assert workers[1]["count"] > workers[0]["count"]


async def test_the_planner_is_reminded_of_its_reading_of_the_task(tmp_path: Path) -> None:
    shown: list[str] = []

    def advise(request: ModelRequest) -> str:
        shown.append(request.messages[-1].content)
        return json.dumps({"steps": [{"operator": "format", "focus": "the end"}]})

    async with make_deps(tmp_path, agents=advise) as made:
        deps = replace(made, preset=preset_of("babble", "format", steps=2))
        await deps.attempts.record(TRIED_BEFORE)
        read = Brief(kind="generation", requirements=("One word.",), author="planner")
        await planned(deps, brief=read.model_dump(mode="json"))
    assert "One word." in shown[0]
