import json
from pathlib import Path

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.restyle import STYLES, propose
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import make_candidate, make_deps


class Stylist:
    """Writes a variant for each of six styles, and keeps the styles that it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, request: ModelRequest) -> str:
        self.given.append([style for style in STYLES if style in request.messages[-1].content])
        return json.dumps({"variants": [{"style": n, "text": f"Variant {n}."} for n in range(1, 7)]})


async def proposed(
    path: Path, model: Stylist, *, body: str = "Name the team.", count: int = 3, round_number: int = 1, ask: bool = True
) -> list[Candidate]:
    async with make_deps(path, agents=model) as deps:
        return await propose(deps, Assignment((make_candidate(body),), count, round_number, ask=ask))


async def test_one_call_gives_a_variant_for_each_style(tmp_path: Path) -> None:
    model = Stylist()
    found = await proposed(tmp_path, model)
    assert [c.main.instructions() for c in found] == ["Variant 1.", "Variant 2.", "Variant 3."]
    assert {c.hypothesis.removeprefix("style: ") for c in found} == set(model.given[0])
    assert {(c.operator, c.author) for c in found} == {("restyle", "rewriter")}
    assert len(model.given) == 1


async def test_rounds_draw_different_styles(tmp_path: Path) -> None:
    model = Stylist()
    for number in (1, 2):
        await proposed(tmp_path, model, round_number=number)
    assert model.given[0] != model.given[1]


async def test_of_a_long_prompt_only_as_many_variants_are_asked_for_as_a_reply_holds(tmp_path: Path) -> None:
    model = Stylist()
    assert len(await proposed(tmp_path, model, body="Name the team. " * 60, count=5)) == 2


async def test_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    model = Stylist()
    assert await proposed(tmp_path, model, ask=False) == []
    assert model.given == []
