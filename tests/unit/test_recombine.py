import json
from pathlib import Path
from typing import Any

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.recombine import mode_for, propose
from crito.prompt import Demo, Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps

REPLY = json.dumps({"sections": [{"name": "task", "text": "Say who."}], "rationale": "both"})


def made(task: str, demo: str | None = None, rules: tuple[str, ...] = ()) -> Candidate:
    sections = [Section(name="task", body=task), *([Section(name="rules", body=rules)] if rules else [])]
    demos = (Demo(inputs={"input": demo}, output="x"),) if demo else ()
    return make_candidate(prompt=Prompt(sections=tuple(sections), demos=demos))


async def proposed(path: Path, *parents: Candidate, count: int = 9, ask: bool = True) -> list[Candidate]:
    async with make_deps(path, agents=lambda _: REPLY) as deps:
        return await propose(deps, Assignment(parents, count, 4, ask=ask))


def told(candidate: Candidate) -> tuple[Any, ...]:
    return candidate.main.instructions(), [d.inputs["input"] for d in candidate.main.demos], candidate.author


async def test_a_crossed_child_comes_first_then_those_that_exchange_demonstrations(tmp_path: Path) -> None:
    one, other = made("Name it.", "a"), made("Who?", "b")
    found = await proposed(tmp_path, one, other)
    assert [told(c) for c in found] == [
        ("Say who.", ["a"], "rewriter"),
        ("Name it.", ["b"], "code"),
        ("Who?", ["a"], "code"),
    ]
    assert [c.parents for c in found] == [(one.id, other.id), (one.id, other.id), (other.id, one.id)]
    assert {(c.operator, c.round) for c in found} == {("recombine", 4)}


async def test_without_a_model_demonstrations_are_exchanged_alone(tmp_path: Path) -> None:
    found = await proposed(tmp_path, made("Name it.", "a"), made("Who?", "b"), ask=False)
    assert {c.author for c in found} == {"code"}
    assert len(found) == 2


async def test_parents_that_differ_in_one_part_have_nothing_to_exchange(tmp_path: Path) -> None:
    assert await proposed(tmp_path, made("Name it.", "a"), made("Name it.", "b"), ask=False) == []
    assert await proposed(tmp_path, made("Name it.", "a"), made("Who?", "a"), ask=False) == []


async def test_it_takes_two_distinct_parents(tmp_path: Path) -> None:
    one = made("Name it.")
    assert await proposed(tmp_path, one) == []
    assert await proposed(tmp_path, one, one) == []


async def test_no_more_are_proposed_than_there_is_room_for(tmp_path: Path) -> None:
    (only,) = await proposed(tmp_path, made("Name it.", "a"), made("Who?", "b"), count=1)
    assert only.author == "rewriter"


def test_prompts_that_share_a_part_are_rewritten_where_they_differ() -> None:
    assert mode_for(made("Name it."), made("Who?")) == "crossover"
    assert mode_for(made("Name it.", rules=("Short.",)), made("Who?", rules=("Short.",))) == "differential"
    assert mode_for(made("Name it.", "a"), made("Who?", "a")) == "differential"
    assert mode_for(made("Name it.", "a"), made("Who?", "b")) == "crossover"
