import json
from pathlib import Path
from typing import Any

import pytest

from crito.graph.decisions import _accepted
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.compress import propose
from crito.graph.preset import Stage
from crito.prompt import Demo, Prompt, Section
from crito.records import Candidate
from tests.builders import make_candidate, make_deps, make_outcome

DEMOS = tuple(Demo(inputs={"input": str(n)}, output="x") for n in range(4))
RICH = Prompt(
    sections=(Section(name="task", body="Name the team."), Section(name="rules", body=("One word.", "No dot."))),
    demos=DEMOS,
)


async def proposed(path: Path, prompt: Prompt, *, count: int = 50, agents: Any = lambda _: "no") -> list[Candidate]:
    async with make_deps(path, agents=agents) as deps:
        return await propose(deps, Assignment((make_candidate(prompt=prompt),), count, 3))


async def test_half_the_demonstrations_are_tried_first_then_every_part(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH)
    assert [c.main.demos for c in found[:2]] == [DEMOS[:2], DEMOS[2:]]
    assert len(found) == 2 + len(DEMOS) + 2 + 2
    assert {(c.operator, c.author, c.round) for c in found} == {("compress", "code", 3)}


async def test_half_of_two_demonstrations_is_proposed_once(tmp_path: Path) -> None:
    found = await proposed(tmp_path, Prompt(demos=DEMOS[:2]))
    assert [c.main.demos for c in found] == [DEMOS[:1], DEMOS[1:2]]


async def test_no_more_are_proposed_than_there_is_room_for(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, RICH, count=3)) == 3


async def test_what_is_frozen_stays(tmp_path: Path) -> None:
    found = await proposed(tmp_path, RICH.model_copy(update={"frozen": ("task", "rules[1]")}))
    for candidate in found:
        assert candidate.main.section("task") == RICH.section("task")
        assert "No dot." in candidate.main.instructions()


async def test_a_prompt_of_one_part_has_nothing_to_lose(tmp_path: Path) -> None:
    assert await proposed(tmp_path, Prompt(sections=(Section(name="task", body="Name it."),))) == []


async def test_a_long_text_is_shortened_by_the_rewriter(tmp_path: Path) -> None:
    reply = json.dumps({"edits": [{"op": "replace", "path": "task", "text": "Be brief."}], "rationale": "shorter"})
    long = Prompt(sections=(Section(name="task", body="Be very brief. " * 20),))
    (candidate,) = await proposed(tmp_path, long, agents=lambda _: reply)
    assert (candidate.main.instructions(), candidate.author) == ("Be brief.", "rewriter")


async def test_without_a_usable_reply_the_parts_are_tried_alone(tmp_path: Path) -> None:
    long = RICH.model_copy(update={"sections": (Section(name="task", body="Be very brief. " * 20),)})
    assert {c.author for c in await proposed(tmp_path, long)} == {"code"}


async def judged(deps: Deps, score: list[float], tokens: int) -> bool:
    """Whether a compressed candidate with these scores and tokens is accepted over (1, 1, ..., 0) at 20 tokens."""
    before = [1.0] * (len(deps.val) - 1) + [0.0]
    await deps.archive.record(make_outcome("old", e, v, tokens=20) for e, v in zip(deps.val, before, strict=True))
    await deps.archive.record(make_outcome("new", e, v, tokens=tokens) for e, v in zip(deps.val, score, strict=True))
    stage = Stage(name="compress", operators=("compress",), accept="cheaper")
    return _accepted(deps, {"alive": ["new"], "incumbent": "old"}, stage) == ["new"]


@pytest.mark.parametrize(
    ("lost", "tokens", "accepted"),
    [(0, 10, True), (0, 20, False), (0, 30, False), (-1, 10, True), (1, 10, False), (6, 10, False)],
)
async def test_only_the_cheaper_and_not_inferior_is_accepted(
    tmp_path: Path, lost: int, tokens: int, accepted: bool
) -> None:
    async with make_deps(tmp_path) as deps:
        scores = [0.0] * lost + [1.0] * (11 - lost) + [0.0] if lost >= 0 else [1.0] * 12
        assert await judged(deps, scores, tokens) is accepted
