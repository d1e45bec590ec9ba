from pathlib import Path
from typing import Any

import pytest

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.merge import propose, three_way
from crito.prompt import Demo, Layout, Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps, make_outcome

TASK, RULES = Section(name="task", body="Name the team."), Section(name="rules", body=("One word.",))
ROOT = make_candidate(prompt=Prompt(sections=(TASK, RULES)))
DEMOS = (Demo(inputs={"input": "a"}, output="b"),)
NEW_TASK, NEWER_TASK = Section(name="task", body="Who answers?"), Section(name="task", body="Which team is it?")


def heir(**changed: Any) -> Candidate:
    return make_candidate(prompt=ROOT.main.model_copy(update=changed), parents=(ROOT.id,), round=1)


async def merged(path: Path, *parents: Candidate, scores: tuple[float, float, float] = (0, 1, 1)) -> list[Candidate]:
    """The children of the parents, where root, first and second parent have these scores on one example."""
    async with make_deps(path) as deps:
        await deps.archive.add(ROOT, *parents)
        await measured(deps, [ROOT, *parents], scores)
        return await propose(deps, Assignment(parents, 4, 2))


async def measured(deps: Deps, candidates: list[Candidate], scores: tuple[float, ...]) -> None:
    pairs = zip(candidates, scores, strict=False)
    await deps.archive.record(make_outcome(c.id, deps.val[0], score) for c, score in pairs)


async def test_what_each_changed_since_the_ancestor_is_joined(tmp_path: Path) -> None:
    one = heir(sections=(NEW_TASK, RULES), layout=Layout(instructions="user"))
    other = heir(sections=(TASK,), demos=DEMOS, template="{input}\nTeam:")
    (child,) = await merged(tmp_path, one, other)
    assert child.main == Prompt(
        sections=(NEW_TASK,), demos=DEMOS, template="{input}\nTeam:", layout=Layout(instructions="user")
    )
    assert child.parents == (one.id, other.id)
    assert (child.operator, child.author, child.round) == ("merge", "code", 2)


@pytest.mark.parametrize(("scores", "task"), [((0, 1, 0.5), NEW_TASK), ((0, 0.5, 1), NEWER_TASK)])
async def test_where_both_changed_the_better_one_is_followed(
    tmp_path: Path, scores: tuple[float, float, float], task: Section
) -> None:
    one, other = heir(sections=(NEW_TASK,)), heir(sections=(NEWER_TASK, RULES), demos=DEMOS)
    (child,) = await merged(tmp_path, one, other, scores=scores)
    assert child.main == Prompt(sections=(task,), demos=DEMOS)


def ruled(*rules: str) -> Section:
    return Section(name="rules", body=rules)


@pytest.mark.parametrize(
    ("before", "one", "other", "joined"),
    [
        (("Old.",), ("Old.", "A."), ("Old.", "B."), ("Old.", "A.", "B.")),
        (("Old.",), ("A.", "Old."), ("Old.", "A.", "B."), ("Old.", "A.", "B.")),
        (("Old.", "Bad."), ("Old.", "A."), ("Old.", "Bad.", "B."), ("Old.", "A.", "B.")),
        (("Old.", "Bad."), ("Old.",), ("A.",), ("A.",)),
        (None, ("A.",), ("B.", "A."), ("A.", "B.")),
    ],
    ids=["both added", "both added the same", "one dropped", "both dropped", "there was none"],
)
@pytest.mark.parametrize("first_leads", [True, False])
def test_lists_of_rules_that_both_changed_hold_what_neither_dropped_and_what_either_added(
    before: tuple[str, ...] | None,
    one: tuple[str, ...],
    other: tuple[str, ...],
    joined: tuple[str, ...],
    first_leads: bool,
) -> None:
    root = Prompt(sections=(TASK, *([ruled(*before)] if before else [])))
    left, right = (Prompt(sections=(TASK, ruled(*rules))) for rules in (one, other))
    merged = three_way(root, left, right, first_leads=first_leads)
    assert merged == Prompt(sections=(TASK, ruled(*joined)))


def test_steps_have_an_order_so_that_the_leaders_stand() -> None:
    root, left, right = (
        Prompt(sections=(Section(name="steps", body=body),))
        for body in (("Read.",), ("Read.", "Answer."), ("Think.", "Read."))
    )
    assert three_way(root, left, right, first_leads=False) == right


def test_of_two_versions_of_one_rule_the_leaders_stands() -> None:
    root, left, right = (Prompt(sections=(ruled(rule, "B."),)) for rule in ("Read it.", "Read it twice.", "Skim it."))
    assert three_way(root, left, right, first_leads=True) == left


def test_a_list_of_which_the_two_leave_nothing_is_left_out() -> None:
    root = Prompt(sections=(TASK, ruled("A.", "B.")))
    left, right = (Prompt(sections=(TASK, ruled(rule))) for rule in ("A.", "B."))
    assert three_way(root, left, right) == Prompt(sections=(TASK,))


def test_a_list_that_one_alone_changed_stands_as_it_wrote_it() -> None:
    left, right = Prompt(sections=(ruled("Old.", "More."),)), Prompt(sections=(ruled("A.", "Old."),))
    assert three_way(left, left, right) == three_way(left, right, left) == right


@pytest.mark.parametrize(("first_leads", "rules"), [(True, "In one word."), (False, ("One word.", "B."))])
def test_where_one_made_a_text_of_the_rules_the_leader_is_followed(first_leads: bool, rules: str) -> None:
    left, right = (Prompt(sections=(Section(name="rules", body=b),)) for b in ("In one word.", ("One word.", "B.")))
    merged = three_way(Prompt(sections=(RULES,)), left, right, first_leads=first_leads)
    assert merged == Prompt(sections=(Section(name="rules", body=rules),))


async def test_a_parent_that_is_worse_than_the_ancestor_is_not_merged(tmp_path: Path) -> None:
    one, other = heir(sections=(NEW_TASK, RULES)), heir(demos=DEMOS)
    assert await merged(tmp_path, one, other, scores=(0.5, 1, 0)) == []


async def test_an_ancestor_and_its_heir_have_nothing_to_merge(tmp_path: Path) -> None:
    one = heir(demos=DEMOS)
    assert await merged(tmp_path, ROOT, one) == []
    assert await merged(tmp_path, one) == []


async def test_candidates_without_a_common_ancestor_are_not_merged(tmp_path: Path) -> None:
    stranger = heir(demos=DEMOS).model_copy(update={"parents": ()})
    assert await merged(tmp_path, heir(sections=(NEW_TASK, RULES)), stranger) == []


async def test_a_merge_that_adds_nothing_to_a_parent_is_no_child(tmp_path: Path) -> None:
    one, other = heir(sections=(NEW_TASK, RULES), demos=DEMOS), heir(demos=DEMOS)
    assert await merged(tmp_path, one, other) == []
