from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.presets import DEFAULT
from crito.memory.recalled import Advice, Recalled
from crito.memory.recipe import Recipe
from crito.prompt import Demo, Prompt, Section
from crito.records import Candidate
from crito.tools.stats import thompson
from tests.bench.world_agents import reply
from tests.bench.world_rules import World
from tests.builders import make_candidate, make_deps, make_outcome


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_words_for_the_planner(name: str) -> None:
    about = OPERATORS[name].about
    assert 3 <= len(about.split()) <= 12
    assert not about.endswith(".")
    assert about[0].islower()


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_expected_to_fail_as_often_as_to_succeed_at_least(name: str) -> None:
    won, lost = OPERATORS[name].prior
    assert 0 < won <= lost


def test_no_operator_is_there_twice() -> None:
    functions = [entry.propose for entry in OPERATORS.values()]
    assert len(set(functions)) == len(functions)
    assert len({entry.about for entry in OPERATORS.values()}) == len(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_what_is_of_no_use_without_a_writer_asks_one(name: str) -> None:
    assert OPERATORS[name].asks or not OPERATORS[name].writes


def test_before_anything_is_known_critique_and_history_are_picked_most_and_demonstrations_next() -> None:
    search = next(stage for stage in DEFAULT.stages if stage.name == "search")
    rng = np.random.default_rng(0)
    picked = Counter(thompson({name: OPERATORS[name].prior for name in search.operators}, rng) for _ in range(4_000))
    first, second, third = (name for name, _ in picked.most_common(3))
    assert ({first, second}, third) == ({"critique_synthesis", "history"}, "demonstrations")
    assert set(picked) == set(search.operators)


ADVICE = Advice(
    lesson="l",
    text="your instructions, 2 examples",
    recipe=Recipe(instructions="kept", demos=2),
    gain=0.2,
    n=40,
)


async def proposed(path: Path, name: str) -> list[Candidate]:
    """What an operator makes of a prompt with examples and one with a rule, from the same seed, with able agents."""
    world = World(6, seed=0, noise=0.0)
    task = world.task(calls=500)
    prompt = Prompt(sections=(Section(name="task", body="Give each note its number."),), template="{note}")
    train, examples = task.splits.train[:24], task.splits.val[:4]
    given: dict[str, Any] = {"train": train, "val": examples, "inputs": task.inputs, "description": task.description}
    able = partial(reply, world)
    async with make_deps(path, answer=lambda _: "no", agents=able, prompts={"main": prompt}, **given) as deps:
        seed = deps.archive.candidate(deps.seed)
        rules = Section(name="rules", body=(world.requirements[0].sentence,))
        demos = tuple(Demo(inputs=e.inputs, output=e.expected or "", example_id=e.id) for e in train[:2])
        parents = [
            make_candidate(prompt=prompt.model_copy(update=changed), parents=(seed.id,))
            for changed in ({"demos": demos}, {"sections": (*prompt.sections, rules)})
        ]
        await deps.archive.add(*parents)
        for candidate in (seed, *parents):
            await deps.archive.record([make_outcome(candidate.id, e, 0.0) for e in deps.val])
        chosen = (seed,) if name == "opening" else tuple(parents)
        recalled = Recalled(recipes=(ADVICE,))
        return await OPERATORS[name].propose(deps, Assignment(parents=chosen, count=3, round=1, recalled=recalled))


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"opening", "verbalizer"}))
async def test_candidates_bear_the_name_of_their_operator(tmp_path: Path, name: str) -> None:
    assert {candidate.operator for candidate in await proposed(tmp_path, name)} == {name}


async def test_the_opening_is_the_null_prompt_advice_and_a_spread(tmp_path: Path) -> None:
    assert {candidate.operator for candidate in await proposed(tmp_path, "opening")} == {"null", "recall", "spread"}


async def test_a_world_without_labels_has_no_other_words_for_them(tmp_path: Path) -> None:
    assert await proposed(tmp_path, "verbalizer") == []
