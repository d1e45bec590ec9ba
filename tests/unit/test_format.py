from pathlib import Path

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.format import propose
from crito.prompt import Demo, Layout, Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps

SECTIONS = (Section(name="task", body="Name the team."), Section(name="rules", body=("One word.",)))
DEMO = Demo(inputs={"input": "my card"}, output="billing")
RICH = Prompt(sections=SECTIONS, demos=(DEMO,))


async def proposed(path: Path, prompt: Prompt, *, count: int = 500, worker: int = 0) -> list[Candidate]:
    async with make_deps(path) as deps:
        return await propose(deps, Assignment((make_candidate(prompt=prompt),), count, 3, worker))


async def test_every_layout_and_cue_can_be_drawn(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH)
    drawn = {(c.main.layout, c.main.template) for c in found}
    assert len({layout.style for layout, _ in drawn}) == 4
    assert len({layout.demos for layout, _ in drawn}) == 2
    assert len({layout.instructions for layout, _ in drawn}) == 3
    assert len({template for _, template in drawn}) == 4
    assert {(c.operator, c.author, c.round) for c in found} == {("format", "code", 3)}


async def test_no_two_show_the_same_messages_nor_those_of_the_parent(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH)
    shown = [str(prompt.to_messages()) for prompt in (RICH, *(c.main for c in found))]
    assert len(set(shown)) == len(shown)


async def test_only_the_layout_and_the_template_change(tmp_path: Path) -> None:
    for candidate in await proposed(tmp_path, RICH):
        main = candidate.main
        assert main.model_copy(update={"layout": Layout(), "template": RICH.template}) == RICH


async def test_no_more_are_drawn_than_there_is_room_for(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, RICH, count=3)) == 3


async def test_another_worker_draws_others(tmp_path: Path) -> None:
    drawn = [[c.id for c in await proposed(tmp_path, RICH, count=5, worker=worker)] for worker in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_a_frozen_template_stays(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH.model_copy(update={"frozen": ("template",)}))
    assert found
    assert {c.main.template for c in found} == {"{input}"}


async def test_a_bare_input_of_the_users_own_shape_has_one_layout(tmp_path: Path) -> None:
    assert await proposed(tmp_path, Prompt(template="Mail: {input}")) == []
