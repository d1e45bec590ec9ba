from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from crito.agents.critic import Critic, CritiqueReply, ExaminationReply
from crito.agents.planner import BriefReply, PlanReply
from crito.agents.rewriter import Rewriter
from crito.agents.rewrites import FreshReply, InstructionReply, PatchReply, SectionsReply, VariantsReply
from crito.agents.teacher import TeacherReply
from crito.memory.recalled import Advice
from crito.prompt import Demo, Message, Prompt, Section
from crito.protocols import ModelRequest
from crito.records import Critique, Hypothesis, Outcome
from crito.task import Example, Task
from crito.tools.structured import Speaker, quoted
from tests.bench.world_agents import reply
from tests.bench.world_rules import World, found
from tests.builders import make_candidate, make_outcome, speaking


def prompt_of(*sentences: str) -> Prompt:
    rules = (Section(name="rules", body=sentences),) if sentences else ()
    return Prompt(sections=(Section(name="task", body="Answer the note."), *rules), template="{note}")


async def share_right(world: World, prompt: Prompt) -> float:
    target, task = world.target(), world.task(calls=500)
    examples = (*task.splits.train, *task.splits.val, *task.splits.test)
    right = 0
    for example in examples:
        given = await target.complete(ModelRequest(messages=tuple(prompt.render(example.inputs))))
        right += given.text == example.expected
    return right / len(examples)


def wrong_cases(task: Task, prompt: Prompt, start: int) -> list[tuple[Example, Outcome]]:
    candidate = make_candidate(prompt=prompt)
    return [(e, make_outcome(candidate.id, e, 0.0)) for e in task.splits.train[start : start + 3]]


async def criticized(world: World, speaker: Speaker, advice: Sequence[Advice] = ()) -> list[tuple[Example, str]]:
    """Each wrong case with the direction that cites it, under a prompt that states nothing."""
    task, prompt = world.task(calls=500), prompt_of()
    critic, made = Critic(speaker, task), []
    for start in range(0, 90, 3):
        wrong = wrong_cases(task, prompt, start)
        critique = await critic.review(make_candidate(prompt=prompt), wrong, (), labels={}, advice=advice)
        by_id = {example.id: example for example, _ in wrong}
        made += [(by_id[h.examples[0]], h.direction) for h in critique.hypotheses]
    return made


async def test_a_prompt_that_states_everything_is_right_but_for_slips() -> None:
    world = World(16)
    assert await share_right(world, prompt_of(*(r.sentence for r in world.requirements))) == pytest.approx(
        0.95, abs=0.03
    )


async def test_a_prompt_that_states_nothing_is_right_by_slips_alone() -> None:
    assert await share_right(World(16), prompt_of()) == pytest.approx(0.05, abs=0.03)


async def test_a_missing_requirement_costs_the_notes_that_need_it() -> None:
    world = World(4)
    some = await share_right(world, prompt_of(*(r.sentence for r in world.requirements[:3])))
    assert 0.25 < some < 0.75


def test_a_topic_without_its_action_states_nothing() -> None:
    world = World(4)
    topic, action = world.requirements[0].topic, world.requirements[1].action
    assert found(prompt_of(f"For {topic}, take care.", f"For {topic}, {action}."), world) == 0


def test_each_example_needs_one_to_three_requirements() -> None:
    world = World(64)
    splits = world.task(calls=500).splits
    needed = {len(world.needed(e.inputs["note"])) for e in (*splits.train, *splits.val, *splits.test)}
    assert needed == {1, 2, 3}


def test_every_requirement_is_needed_where_the_search_looks() -> None:
    world = World(64)
    splits = world.task(calls=500).splits
    for examples in (splits.train, splits.val):
        assert {r for e in examples for r in world.needed(e.inputs["note"])} == set(world.requirements)


def test_demonstrations_state_about_three_tenths_of_what_they_need() -> None:
    world = World(64)
    shown = needed = 0
    for example in world.task(calls=500).splits.train:
        demo = Demo(inputs=example.inputs, output=example.expected or "")
        shown += found(prompt_of().model_copy(update={"demos": (demo,)}), world)
        needed += len(world.needed(example.inputs["note"]))
    assert shown / needed == pytest.approx(0.3, abs=0.08)


async def test_the_critic_names_what_is_missing_but_for_its_noise(tmp_path: Path) -> None:
    world = World(32, noise=0.25)
    async with speaking(tmp_path, partial(reply, world)) as (speaker, _):
        cases = await criticized(world, speaker)
    needed = [(r, direction) for example, direction in cases for r in world.needed(example.inputs["note"])]
    named = sum(r in world.stated(direction) for r, direction in needed)
    assert named / len(needed) == pytest.approx(0.75, abs=0.1)


async def test_the_critic_follows_advice_at_even_odds(tmp_path: Path) -> None:
    world = World(32, noise=0.0)
    wrong = [f"For {r.topic}, sing it." for r in world.requirements]
    told = [Advice(lesson="l", text=text, gain=0.5, n=10) for text in wrong]
    async with speaking(tmp_path, partial(reply, world)) as (speaker, _):
        cases = await criticized(world, speaker, told)
    needed = [(r, direction) for example, direction in cases for r in world.needed(example.inputs["note"])]
    followed = sum(f"For {r.topic}, sing it." in direction for r, direction in needed)
    assert followed / len(needed) == pytest.approx(0.5, abs=0.12)
    assert followed + sum(r in world.stated(direction) for r, direction in needed) == len(needed)


async def test_the_critic_names_only_topics_that_it_was_shown(tmp_path: Path) -> None:
    world = World(32, noise=0.25)
    async with speaking(tmp_path, partial(reply, world)) as (speaker, _):
        cases = await criticized(world, speaker)
    assert all(world.needed(direction) <= world.needed(example.inputs["note"]) for example, direction in cases)


async def test_the_rewriter_adds_the_rule_of_the_direction(tmp_path: Path) -> None:
    world = World(8, noise=0.0)
    wanted = world.requirements[3]
    hypothesis = Hypothesis(label="wrong_content", examples=("a",), direction=wanted.sentence)
    candidate = make_candidate(prompt=prompt_of(world.requirements[0].sentence))
    async with speaking(tmp_path, partial(reply, world), role="rewriter") as (speaker, _):
        rewriter = Rewriter(speaker, world.task(calls=500))
        made = await rewriter.synthesize(candidate, Critique(candidate=candidate.id, hypotheses=(hypothesis,)))
    assert world.stated(candidate.main.apply(made[0][1]).instructions()) == {world.requirements[0], wanted}


@pytest.mark.parametrize(
    "shape",
    [
        *(BriefReply, PlanReply, CritiqueReply, ExaminationReply, TeacherReply),
        *(PatchReply, InstructionReply, VariantsReply, SectionsReply, FreshReply),
    ],
)
async def test_every_agent_gets_a_reply_of_its_shape_at_once(shape: type[BaseModel], tmp_path: Path) -> None:
    world = World(8)
    cases = wrong_cases(world.task(calls=500), prompt_of(), 0)
    shown = "\n".join(f"case {e.id}\n{quoted('data', e.inputs['note'])}" for e, _ in cases)
    messages = [Message(role="user", content=f"{quoted('section', 'task: Answer.')}\nWrong:\n{shown}")]
    async with speaking(tmp_path, partial(reply, world)) as (speaker, model):
        assert isinstance(await speaker.ask(messages, shape), shape)
    assert model.calls == 1


async def test_a_new_instruction_names_topics_that_were_shown(tmp_path: Path) -> None:
    world = World(32, noise=0.0)
    candidate, task = make_candidate(prompt=prompt_of()), world.task(calls=500)
    async with speaking(tmp_path, partial(reply, world), role="rewriter") as (speaker, _):
        patch = await Rewriter(speaker, task).induce(candidate, task.splits.train[:3])
    assert patch is not None
    learned = world.stated(candidate.main.apply(patch).instructions())
    assert learned <= {r for e in task.splits.train[:3] for r in world.needed(e.inputs["note"])}
    assert len(learned) == 2


async def test_the_same_seed_gives_the_same_replies(tmp_path: Path) -> None:
    told = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        world = World(16, seed=3)
        async with speaking(tmp_path / folder, partial(reply, world)) as (speaker, _):
            told.append(await criticized(world, speaker))
    assert told[0] == told[1]


def test_another_seed_gives_another_world() -> None:
    assert World(8, seed=0).requirements != World(8, seed=1).requirements
