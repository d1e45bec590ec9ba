import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from crito.errors import ProviderFailure
from crito.graph.run import _checkpoints, _keep_for_verdict
from crito.task import Budget
from crito.tools.meter import Spend
from tests.builders import make_deps, make_outcome


@pytest.mark.parametrize(("round_", "kept"), [(0, 100), (1, 27_599)])
async def test_a_resumed_run_keeps_back_what_its_last_round_measured(tmp_path: Path, round_: int, kept: int) -> None:
    budget = Budget(tokens=100_000)
    async with make_deps(tmp_path, budget=budget, verdict=Spend(calls=24, tokens=100)) as deps:
        await deps.archive.record([make_outcome(deps.seed, example, 1.0, tokens=1000) for example in deps.val])
        _keep_for_verdict(deps, {"round": round_, "incumbent": deps.seed})
        meter = deps.ledger.meter
        assert (meter.lacking(Spend(tokens=100_000 - kept)), meter.lacking(Spend(tokens=100_001 - kept))) == (
            None,
            "tokens",
        )


class Numbered(TypedDict):
    number: int


async def share(state: Numbered) -> Command[Any]:
    return Command(goto=[Send("work", {"number": number}) for number in range(6)])


async def work(state: Numbered) -> Numbered:
    if state["number"] == 0:
        raise ProviderFailure("the provider is down")
    await asyncio.sleep(60)
    return state


async def test_a_worker_that_fails_beside_others_leaves_the_database_free(tmp_path: Path) -> None:
    graph = StateGraph(Numbered)
    graph.add_node("share", share)
    graph.add_node("work", work)
    graph.add_edge(START, "share")
    async with _checkpoints(tmp_path / "crito.db") as saver:
        with pytest.raises(ProviderFailure):
            await graph.compile(saver).ainvoke({"number": 0}, {"configurable": {"thread_id": "r"}}, durability="sync")
    connection = sqlite3.connect(tmp_path / "crito.db", timeout=0)
    connection.execute("BEGIN IMMEDIATE")
    connection.close()
