from pathlib import Path
from typing import Any

import pytest

from crito.agents.edits import answer_only
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.verbalizer import propose
from crito.prompt import Prompt, Section
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_task

TEAMS = ("order_status", "billing")


async def proposed(
    path: Path, labels: tuple[str, ...], prompt: Prompt = SEED, *, count: int = 50, **fields: Any
) -> list[Candidate]:
    async with make_deps(path, labels=labels, **fields) as deps:
        return await propose(deps, Assignment((make_candidate(prompt=prompt),), count, 3))


async def said(path: Path, *labels: str) -> set[tuple[str, ...]]:
    return {tuple(c.main.words[label] for label in labels) for c in await proposed(path, labels)}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (TEAMS, {("A", "B"), ("1", "2"), ("Order_status", "Billing"), ("order status", "billing")}),
        (("yes", "no"), {("A", "B"), ("1", "2"), ("Yes", "No"), ("true", "false"), ("correct", "incorrect")}),
        (("B", "A"), {("1", "2")}),
        (("0", "1"), {("A", "B"), ("no", "yes"), ("false", "true")}),
        (("1", "2"), {("A", "B")}),
    ],
)
async def test_words_suit_the_kind_of_labels_and_name_no_other_label(
    tmp_path: Path, labels: tuple[str, ...], expected: set[tuple[str, ...]]
) -> None:
    assert await said(tmp_path, *labels) == expected


async def test_synonyms_follow_the_order_and_not_the_case_of_the_labels(tmp_path: Path) -> None:
    assert ("good", "bad") in await said(tmp_path, "Positive", "Negative")


async def test_many_labels_get_no_letters(tmp_path: Path) -> None:
    labels = tuple(f"team{n:02}" for n in range(27))
    assert all("A" not in words for words in await said(tmp_path, *labels))


async def test_the_instructions_say_what_each_word_stands_for(tmp_path: Path) -> None:
    texts = {c.main.instructions() for c in await proposed(tmp_path, TEAMS)}
    assert texts == {
        "Name the team. Answer with one letter: A for order_status or B for billing.",
        "Name the team. Answer with one number: 1 for order_status or 2 for billing.",
        "Name the team. Answer with one word: Order_status or Billing.",
        "Name the team. Answer with one of: order status or billing.",
    }


async def test_the_answer_rule_that_is_there_is_exchanged(tmp_path: Path) -> None:
    task = make_task(labels=TEAMS)
    ruled = answer_only(SEED, task)
    assert ruled is not None
    (first, *_) = await proposed(tmp_path, TEAMS, SEED.apply(ruled))
    again = await proposed(tmp_path, TEAMS, first.main)
    assert len(again) == 3
    for candidate in (first, *again):
        assert candidate.main.instructions().count("Answer with") == 1
        assert answer_only(candidate.main, task) is None


@pytest.mark.parametrize(("labels", "fields"), [((), {}), (TEAMS, {"reasoning": True})])
async def test_without_a_label_at_once_there_is_nothing_to_say_otherwise(
    tmp_path: Path, labels: tuple[str, ...], fields: dict[str, Any]
) -> None:
    assert await proposed(tmp_path, labels, **fields) == []


async def test_where_no_rule_may_be_added_the_words_stay(tmp_path: Path) -> None:
    rules = Section(name="rules", body=("One word.",))
    frozen = Prompt(sections=(*SEED.sections, rules), frozen=("rules",))
    assert await proposed(tmp_path, TEAMS, frozen) == []


async def test_no_more_are_proposed_than_there_is_room_for(tmp_path: Path) -> None:
    found = await proposed(tmp_path, TEAMS, count=2)
    assert [(c.operator, c.author, c.round) for c in found] == [("verbalizer", "code", 3)] * 2
