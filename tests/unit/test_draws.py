import json
from dataclasses import replace
from pathlib import Path

from langgraph.runtime import Runtime

from crito.agents.rewriter import Rewriter
from crito.graph.rounds import WorkerState, propose
from crito.protocols import ModelRequest
from crito.records import Step
from crito.tools.draws import current_draw, drawing
from crito.tools.scripted_model import ScriptedModel
from crito.tools.structured import Speaker
from tests.builders import make_candidate, make_deps


def test_draws_nest() -> None:
    with drawing(7):
        with drawing(8):
            assert current_draw() == 8
        assert current_draw() == 7
    assert current_draw() == 0


async def test_workers_with_the_same_question_get_replies_of_their_own_and_the_same_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def agents(request: ModelRequest) -> str:
        asked.append(request.messages[-1].content)
        return json.dumps({"sections": [{"name": "task", "text": f"Child {len(asked)}."}]})

    async with make_deps(tmp_path) as made:
        speaker = Speaker(made.ledger, ScriptedModel(agents), role="rewriter", temperature=0.5)
        deps = replace(made, rewriter=Rewriter(speaker, made.task))
        other = make_candidate("Say who answers.", parents=(deps.seed,))
        await deps.archive.add(other)
        step = Step(operator="differential", parents=(deps.seed, other.id), author="stage").model_dump()
        children: list[str] = []
        for at, index in ((1, 0), (1, 1), (2, 0), (1, 0)):  # round and worker; the first runs again after a crash
            worker = WorkerState(step=step, index=index, count=1, round=at, ask=True, recalled={})
            children += (await propose(worker, Runtime(context=deps)))["proposals"]
    assert (len(asked), len(set(asked))) == (3, 1)
    assert children[0] == children[3]
    assert len(set(children)) == 3
