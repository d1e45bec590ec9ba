import json
from pathlib import Path

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.restart import propose
from crito.prompt import Demo
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps

DEMOS = (Demo(inputs={"input": "a"}, output="b"),)
SHOWING = make_candidate(prompt=SEED.model_copy(update={"demos": DEMOS}))


async def proposed(
    path: Path, parent: Candidate, seen: list[str], *, count: int = 4, ask: bool = True
) -> list[Candidate]:
    def agents(request: ModelRequest) -> str:
        seen.append(request.messages[-1].content)
        return json.dumps({"task": "Say who answers.", "rules": ["Lower case."]})

    async with make_deps(path, agents=agents) as deps:
        return await propose(deps, Assignment((parent,), count, 5, ask=ask))


async def test_fresh_instructions_are_tried_with_and_without_the_demonstrations(tmp_path: Path) -> None:
    seen: list[str] = []
    found = await proposed(tmp_path, SHOWING, seen)
    assert [c.main.demos for c in found] == [DEMOS, ()]
    assert {c.main.instructions() for c in found} == {"Say who answers.\n\n- Lower case."}
    assert {(c.operator, c.author, c.round) for c in found} == {("restart", "rewriter", 5)}
    assert (len(seen), seen[0].count("answer: billing"), "Name the team." in seen[0]) == (1, 3, False)


async def test_without_demonstrations_there_is_one_child(tmp_path: Path) -> None:
    assert len(await proposed(tmp_path, make_candidate(), [])) == 1


async def test_no_more_are_proposed_than_there_is_room_for(tmp_path: Path) -> None:
    (only,) = await proposed(tmp_path, SHOWING, [], count=1)
    assert only.main.demos == DEMOS


async def test_without_a_model_nothing_is_asked(tmp_path: Path) -> None:
    seen: list[str] = []
    assert await proposed(tmp_path, SHOWING, seen, ask=False) == []
    assert seen == []
