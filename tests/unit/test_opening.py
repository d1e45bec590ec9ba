from pathlib import Path

from crito.graph.operators import opening
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.opening import null
from crito.prompt import Prompt, Section
from tests.builders import make_candidate, make_deps

FIND = Prompt(sections=(Section(name="task", body="Find."),), template="F: {input}")
MAIN = Prompt(sections=(Section(name="task", body="Answer."),))


def test_the_null_prompt_is_the_bare_input_of_every_module() -> None:
    seed = make_candidate(prompts={"find": FIND, "main": MAIN})
    (bare,) = null(seed)
    assert {name: p.sections for name, p in bare.prompts.items()} == {"find": (), "main": ()}
    assert bare.prompts["find"].template == "F: {input}"
    assert (bare.operator, bare.parents) == ("null", (seed.id,))


def test_the_null_prompt_can_be_read_as_a_patch() -> None:
    seed = make_candidate(prompt=MAIN)
    (bare,) = null(seed)
    assert bare.patch is not None
    assert seed.main.apply(bare.patch) == bare.main


def test_a_bare_or_frozen_seed_has_no_null_prompt() -> None:
    assert null(make_candidate(prompt=Prompt())) == []
    assert null(make_candidate(prompt=MAIN.model_copy(update={"frozen": ("task",)}))) == []


async def test_the_opening_is_the_null_prompt_and_a_spread_around_the_seed(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await opening.propose(deps, Assignment(parents=(seed,), count=8, round=0))
    assert [c.operator for c in found] == ["null", *["demonstrations"] * 7]
    assert len({c.id for c in found}) == 8
    assert any(c.main.demos for c in found[1:])
    assert any(not c.main.demos for c in found[1:])
