"""Before the first round: read the task and measure what there is to beat."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from crito.errors import BudgetExhausted, ProviderFailure
from crito.graph.allowance import answers_left, as_state
from crito.graph.confirm import confirm_calls
from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.state import RunState
from crito.memory.operator_use import added
from crito.memory.recalled import Recalled
from crito.records import Brief


async def brief(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Let the planner read the task, once."""
    del state
    deps = runtime.context
    with deps.tracer.span("invoke_agent", "planner", round=0) as span:
        try:
            read = await deps.planner.brief()
        except BudgetExhausted:
            read = Brief(kind="generation")
        span.set_attribute("crito.kind", read.kind)
        span.set_attribute("crito.author", read.author)
    return {"brief": read.model_dump(mode="json")}


async def baseline(state: RunState, runtime: Runtime[Deps]) -> Command[Literal["plan", "verdict"]]:
    """Score the seed on all validation examples; without headroom there, nothing can be found to be better.

    Raises:
        BudgetExhausted: The budget does not even reach for the seed.
        ProviderFailure: Every answer failed.
    """
    deps = runtime.context
    seed = deps.archive.candidate(deps.seed)
    with deps.tracer.span("execute_tool", "baseline", round=0, candidate=seed.id):
        await deps.evaluator.evaluate(seed, deps.val)
    if not any(score is not None for score in deps.archive.values(seed.id, deps.val)):
        first = deps.archive.outcome(seed.id, deps.val[0].id)
        raise ProviderFailure(f"no validation example was answered; {first.error if first else 'nothing came back'}")
    spent = as_state(deps.ledger.meter.spent)
    left = answers_left(deps.task.budget, spent, deps.verdict, each=deps.calls_per_answer, most=deps.preset.calls)
    raced = left - confirm_calls(deps, left, deps.preset.finalists)
    score = deps.archive.mean(seed.id, deps.val)
    deps.notify({"event": "best", "candidate": seed.id, "score": score})
    recalled = Recalled.model_validate(state["recalled"])
    update: RunState = {
        "stage": 0,
        "stage_rounds": 0 if recalled.leads else 1,
        "round": 0,
        "calls": max(0, int(deps.preset.stages[0].share * raced)),
        "seen": [seed.id],
        "pool": [seed.id],
        "incumbent": seed.id,
        "operators": added({name: entry.prior for name, entry in OPERATORS.items()}, recalled.operators),
        "authors": {},
        "rate": 0.0,
        "spent": spent,
        "stale": 0,
        "hopeful": left,
    }
    if score >= 1.0:
        stopped = "your prompt answers every validation example right"
        return Command(update={**update, "stopped": stopped}, goto="verdict")
    return Command(update=update, goto="plan")
