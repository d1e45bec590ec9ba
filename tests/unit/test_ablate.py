from pathlib import Path

from crito.graph.operators.ablate import propose
from crito.graph.operators.assignment import Assignment
from crito.prompt import Demo, Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps

LONG, SHORT = "Give the name of the team in lower case and add nothing to it.", "No dot."
DEMOS = tuple(Demo(inputs={"input": str(n)}, output="x") for n in range(4))
RICH = Prompt(
    sections=(Section(name="task", body="Name the team."), Section(name="rules", body=(LONG, SHORT))), demos=DEMOS
)


async def proposed(path: Path, prompt: Prompt, *, count: int = 50, worker: int = 0) -> list[Candidate]:
    async with make_deps(path) as deps:
        return await propose(deps, Assignment((make_candidate(prompt=prompt),), count, 3, worker))


async def test_every_section_rule_and_demonstration_is_left_out_once(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH)
    paths = {c.patch.edits[0].path for c in found if c.patch}
    assert paths == {"task", "rules", "rules[0]", "rules[1]", *(f"demos[{at}]" for at in range(4))}
    assert {(c.operator, c.author, c.round) for c in found} == {("ablate", "code", 3)}


async def test_the_largest_part_goes_first(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH, count=2)
    assert [c.hypothesis for c in found] == ["do without rules", "do without rules[0]"]


async def test_equal_parts_come_in_an_order_of_the_workers_own(tmp_path: Path) -> None:
    drawn = [await proposed(tmp_path, Prompt(demos=DEMOS), worker=worker) for worker in (0, 0, 1, 2, 3)]
    orders = [tuple(c.id for c in found) for found in drawn]
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1


async def test_what_is_frozen_stays(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH.model_copy(update={"frozen": ("task", "rules[1]")}))
    assert len(found) == 5
    for candidate in found:
        assert candidate.main.section("task") == RICH.section("task")
        assert SHORT in candidate.main.instructions()


async def test_the_only_part_is_not_left_out(tmp_path: Path) -> None:
    assert await proposed(tmp_path, Prompt(sections=(Section(name="rules", body=(SHORT,)),))) == []
    assert await proposed(tmp_path, Prompt(demos=DEMOS[:1])) == []


async def test_a_list_of_one_rule_is_left_out_once(tmp_path: Path) -> None:
    sections = (Section(name="task", body="Name the team."), Section(name="rules", body=(SHORT,)))
    assert len(await proposed(tmp_path, Prompt(sections=sections))) == 2
