from pathlib import Path
from typing import Any

import pytest

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.merge import propose
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
