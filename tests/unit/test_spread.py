from pathlib import Path

from crito.agents.recipes import templates
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.demonstrations import shown_ids
from crito.graph.operators.spread import around, propose
from crito.prompt import Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps
from tests.unit.test_demonstrations import DEMOS, LABELS, TRAIN, seed_of


async def test_a_spread_is_over_demonstrations_rules_and_cues(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=TRAIN, labels=LABELS, metric="label") as deps:
        found = around(deps, seed_of(deps), DEMOS, 16)
        again = around(deps, seed_of(deps), DEMOS, 16)
    assert [c.id for c in found] == [c.id for c in again]
    assert len({c.id for c in found}) == 16
    assert any(c.main.demos for c in found)
    assert any(not c.main.demos for c in found)
    assert len({c.main.template for c in found}) == 4
    assert {c.parents for c in found} == {(deps.seed,)}


async def test_demonstrations_come_from_training_alone(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=TRAIN) as deps:
        found = around(deps, seed_of(deps), DEMOS, 30)
    shown = {i for c in found for i in shown_ids(c)}
    assert shown
    assert shown <= {e.id for e in TRAIN}


async def test_a_frozen_template_gets_no_cue(tmp_path: Path) -> None:
    prompt = Prompt(sections=(Section(name="task", body="Name it."),), frozen=("template", "task"))
    async with make_deps(tmp_path, train=TRAIN, prompts={"main": prompt}) as deps:
        found = around(deps, seed_of(deps), DEMOS, 12)
    assert {c.main.template for c in found} == {"{input}"}
    assert all(c.main.section("task") == prompt.section("task") for c in found)


async def test_without_examples_there_are_still_rules_and_cues(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=()) as deps:
        found = around(deps, seed_of(deps), [], 6)
        assert await propose(deps, Assignment((seed_of(deps),), 4, 1)) == []
    assert found
    assert not any(c.main.demos for c in found)


async def test_a_spread_begins_with_the_largest_set_in_the_seeds_own_layout(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=TRAIN) as deps:
        first, *_ = around(deps, seed := seed_of(deps), DEMOS, 4)
    assert len(first.main.demos) == 12
    assert first.main.model_copy(update={"demos": ()}) == seed.main


async def test_what_a_parent_says_stays_and_how_it_is_shown_is_drawn_anew(tmp_path: Path) -> None:
    async with make_deps(tmp_path, train=TRAIN) as deps:
        said = (*seed_of(deps).main.sections, Section(name="rules", body=("Refunds go to billing.",)))
        plain, cued, *_ = templates(seed_of(deps).main, deps.task)
        shown = {"sections": said, "template": cued, "demos": tuple(DEMOS[:2])}
        parent = make_candidate(prompt=seed_of(deps).main.model_copy(update=shown))
        found = await propose(deps, Assignment((parent,), 12, 1))
        own = await propose(deps, Assignment((made_own(parent),), 12, 1))
    assert {c.main.sections for c in found} == {said}
    assert {c.main.template for c in found} >= {plain, cued}
    assert {c.main.layout.instructions for c in found} == {"system", "user", "each"}
    assert {c.main.template for c in own} == {"Say of {input}:"}


def made_own(parent: Candidate) -> Candidate:
    """The parent with a template that no cue makes."""
    return make_candidate(prompt=parent.main.model_copy(update={"template": "Say of {input}:"}))
