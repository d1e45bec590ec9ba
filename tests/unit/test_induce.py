import json
from pathlib import Path
from typing import Any

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.induce import propose
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import make_candidate, make_deps, make_example, make_examples


class Inductor:
    """Answers each request with another instruction, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, request: ModelRequest) -> str:
        self.shown.append(request.messages[-1].content)
        return json.dumps({"instruction": f"Idea {len(self.shown)}."})


async def proposed(path: Path, agents: Any, *, count: int = 3, ask: bool = True, **task: Any) -> list[Candidate]:
    async with make_deps(path, agents=agents, **task) as deps:
        return await propose(deps, Assignment((make_candidate(),), count, 2, ask=ask))


async def test_each_draw_shows_five_other_pairs(tmp_path: Path) -> None:
    model = Inductor()
    found = await proposed(tmp_path, model)
    assert sorted(c.main.instructions() for c in found) == ["Idea 1.", "Idea 2.", "Idea 3."]
    assert {(c.operator, c.author, c.round) for c in found} == {("induce", "rewriter", 2)}
    assert [text.count("answer: billing") for text in model.shown] == [5, 5, 5]
    assert len(set(model.shown)) == 3


async def test_at_most_four_draws_are_made(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, Inductor(), count=9)) == 4


async def test_the_same_pairs_are_not_asked_about_twice(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, Inductor(), train=make_examples(4, "train"))) == 1


async def test_inputs_without_an_answer_are_not_shown(tmp_path: Path) -> None:
    model = Inductor()
    await proposed(tmp_path, model, train=(make_example("known"), make_example("unknown", None)))
    assert "input: known" in model.shown[0]
    assert "unknown" not in model.shown[0]


async def test_without_answers_or_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    model = Inductor()
    assert await proposed(tmp_path, model, train=(make_example("unknown", None),)) == []
    assert await proposed(tmp_path, model, ask=False) == []
    assert model.shown == []
