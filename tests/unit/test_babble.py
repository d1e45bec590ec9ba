from pathlib import Path

from crito.graph.operators import babble
from crito.graph.operators.assignment import Assignment
from crito.prompt import Prompt, Section
from crito.records import Candidate
from tests.builders import make_deps

SEED = Prompt(
    sections=(Section(name="task", body="Name the team."), Section(name="rules", body=("One word.",))),
    template="Message: {input}",
)


async def babbled(path: Path, *, prompt: Prompt = SEED, worker: int = 0) -> list[Candidate]:
    async with make_deps(path, prompts={"main": prompt}) as deps:
        seed = deps.archive.candidate(deps.seed)
        found = await babble.propose(deps, Assignment(parents=(seed,), count=20, round=2, worker=worker))
        assert deps.ledger.meter.spent.calls == 0
    return found


async def test_made_up_words_take_the_place_of_all_instructions(tmp_path: Path) -> None:
    found = await babbled(tmp_path)
    assert len(found) > 15
    for candidate in found:
        assert [section.name for section in candidate.main.sections] == ["task"]
        assert len(candidate.main.sections[0].text.split()) in (1, 2, 4, 8)
        assert not set(candidate.main.instructions().split()) & {"Name", "the", "team.", "One", "word."}


async def test_the_input_is_shown_as_before(tmp_path: Path) -> None:
    assert {candidate.main.template for candidate in await babbled(tmp_path)} == {"Message: {input}"}


async def test_the_same_words_come_again_but_not_to_another_worker(tmp_path: Path) -> None:
    once, again, elsewhere = [
        [c.id for c in await babbled(tmp_path / str(at), worker=worker)] for at, worker in enumerate((0, 0, 1))
    ]
    assert once == again
    assert not set(once) & set(elsewhere)


async def test_frozen_instructions_stay(tmp_path: Path) -> None:
    assert await babbled(tmp_path, prompt=SEED.model_copy(update={"frozen": ("task",)})) == []
