"""The workflow as a LangGraph graph.

recall -> brief -> baseline -> plan | verdict
plan -> propose* -> screen -> repair -> race -> remember -> decide -> plan | confirm -> verdict
"""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from crito.graph.confirm import confirm
from crito.graph.decisions import decide, remember
from crito.graph.deps import Deps
from crito.graph.opening import baseline, brief
from crito.graph.recall import recall
from crito.graph.rounds import plan, propose, race_round, repair, screen
from crito.graph.state import RunState
from crito.graph.verdict import verdict


def build(
    checkpointer: BaseCheckpointSaver[Any] | None = None,
) -> CompiledStateGraph[RunState, Deps, RunState, RunState]:
    """Compile the workflow; run it with ``context=Deps(...)``.

    Args:
        checkpointer: Where checkpoints go; without one, a run cannot be resumed.
    """
    graph = StateGraph(RunState, context_schema=Deps)
    graph.add_node("recall", recall)
    graph.add_node("brief", brief)
    graph.add_node("baseline", baseline)
    graph.add_node("plan", plan)
    graph.add_node("propose", propose)
    graph.add_node("screen", screen)
    graph.add_node("repair", repair)
    graph.add_node("race", race_round)
    graph.add_node("remember", remember)
    graph.add_node("decide", decide)
    graph.add_node("confirm", confirm)
    graph.add_node("verdict", verdict)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "brief")
    graph.add_edge("brief", "baseline")
    graph.add_edge("propose", "screen")
    graph.add_edge("screen", "repair")
    graph.add_edge("repair", "race")
    graph.add_edge("race", "remember")
    graph.add_edge("remember", "decide")
    graph.add_edge("confirm", "verdict")
    graph.add_edge("verdict", END)
    return graph.compile(checkpointer=checkpointer, name="prompt_optimizer")
