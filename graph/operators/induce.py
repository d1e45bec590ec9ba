"""Instructions guessed from answers: what somebody who gave these would have been told (APE)."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.records import Candidate
from crito.task import Example
from crito.tools.together import together

_PAIRS = 5
"""Pairs shown in one draw (APE)."""
_DRAWS = 4


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Children with an induced instruction in place of the parent's main section, each from other training pairs.

    Raises:
        BudgetExhausted: The rewriter's calls do not fit into the budget.
    """
    if not assignment.ask:
        return []
    parent = assignment.parent
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patches = await together(deps.rewriter.induce(parent, pairs) for pairs in _draws(deps, assignment))
    written = [patch for patch in patches if patch is not None]
    return offspring([parent], written, operator="induce", round_number=assignment.round, author="rewriter")


def _draws(deps: Deps, assignment: Assignment) -> list[list[Example]]:
    """Different sets of pairs with a given answer; fewer where the data has no more of them."""
    pairs = [example for example in deps.task.splits.train if example.expected is not None]
    if not pairs:
        return []
    rng = deps.rng(11, assignment.round, assignment.worker)
    size = min(_PAIRS, len(pairs))
    drawn = [sorted(rng.choice(len(pairs), size, replace=False)) for _ in range(min(assignment.count, _DRAWS))]
    return [[pairs[at] for at in places] for places in dict.fromkeys(map(tuple, drawn))]
