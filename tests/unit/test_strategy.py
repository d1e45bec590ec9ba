from pathlib import Path
from typing import Any

import pytest

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.strategy import chain_of_thought, propose
from crito.prompt import Prompt, Section
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_task

SILENT = {"strategy: direct", "strategy: silent", "strategy: silent check"}
ALL = SILENT | {f"strategy: {name}" for name in ("chain of thought", "least-to-most", "decompose", "self-check")}


async def proposed(path: Path, prompt: Prompt = SEED, *, count: int = 50, **fields: Any) -> list[Candidate]:
    async with make_deps(path, **fields) as deps:
        return await propose(deps, Assignment((make_candidate(prompt=prompt),), count, 3))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, SILENT),
        ({"labels": ("billing", "delivery"), "max_output_tokens": 512}, SILENT),
        ({"reasoning": True, "labels": ("billing", "delivery")}, ALL),
        ({"metric": "judge:It is polite."}, ALL),
    ],
)
async def test_reasoning_is_written_only_where_there_is_room_for_it(
    tmp_path: Path, fields: dict[str, Any], expected: set[str]
) -> None:
    found = await proposed(tmp_path, **fields)
    assert {c.hypothesis for c in found} == expected
    assert {(c.operator, c.author, c.round) for c in found} == {("strategy", "code", 3)}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"reasoning": True}, True),
        ({"reasoning": True, "labels": ("billing", "delivery")}, True),
        ({"max_output_tokens": 200}, True),
        ({"max_output_tokens": 199}, False),
        ({"max_output_tokens": 512, "labels": ("billing", "delivery")}, False),
        ({}, False),
    ],
)
def test_a_chain_of_thought_is_a_baseline_where_there_is_room_for_it(fields: dict[str, Any], found: bool) -> None:
    made = chain_of_thought(make_candidate(prompt=SEED), make_task(**fields))
    assert [c.hypothesis for c in made] == ["strategy: chain of thought"] * found


def test_a_seed_that_reasons_already_has_no_other_baseline() -> None:
    task = make_task(reasoning=True)
    (reasoning,) = chain_of_thought(make_candidate(prompt=SEED), task)
    assert chain_of_thought(reasoning, task) == []


async def test_the_strategy_follows_what_the_prompt_says(tmp_path: Path) -> None:
    for candidate in await proposed(tmp_path):
        assert [s.name for s in candidate.main.sections] == ["task", "steps"]


@pytest.mark.parametrize("name", ["steps", "Strategy"])
async def test_a_strategy_that_is_there_is_replaced(tmp_path: Path, name: str) -> None:
    before = Prompt(sections=(Section(name=name, body="Guess."), *SEED.sections))
    for candidate in await proposed(tmp_path, before):
        assert [s.name for s in candidate.main.sections] == [name, "task"]
        assert "Guess." not in candidate.main.instructions()


async def test_the_strategy_that_stands_there_is_not_proposed_again(tmp_path: Path) -> None:
    (first, *_) = await proposed(tmp_path)
    others = await proposed(tmp_path, first.main)
    assert {c.hypothesis for c in others} == SILENT - {first.hypothesis}


async def test_a_frozen_strategy_stays(tmp_path: Path) -> None:
    before = Prompt(sections=(Section(name="steps", body="Guess."),), frozen=("steps",))
    assert await proposed(tmp_path, before) == []


async def test_no_more_are_proposed_than_there_is_room_for(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, count=2)) == 2
