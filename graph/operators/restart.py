"""A prompt from nothing, for searches that a flaw of the seed holds back (the seed traps that VISTA describes)."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.patch import Edit, Patch
from crito.records import Candidate

_EXAMPLES = 3


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Fresh instructions from the task and three training examples, with the parent's demonstrations and without.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    if not assignment.ask:
        return []
    parent, train = assignment.parent, deps.task.splits.train
    rng = deps.rng(15, assignment.round, assignment.worker)
    drawn = rng.choice(len(train), min(_EXAMPLES, len(train)), replace=False)
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patch = await deps.rewriter.restart(parent, [train[at] for at in drawn])
    variants = [patch, _bare(patch)] if patch is not None else []
    made = offspring([parent], variants, operator="restart", round_number=assignment.round, author="rewriter")
    return made[: assignment.count]


def _bare(patch: Patch) -> Patch:
    drop = Edit(op="replace", path="demos", value=())
    return patch.model_copy(update={"edits": (*patch.edits, drop)})
