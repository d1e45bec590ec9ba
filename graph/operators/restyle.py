"""The same task asked for in another way: thinking styles and personas (PromptWizard, PromptBreeder)."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.records import Candidate

STYLES = (
    "Lead through the task step by step: what to look at first, what next, and what the answer is built from.",
    "As plain and short as it can be said, in everyday words.",
    "Ask the model to check its answer against each requirement before giving it.",
    "Open by saying who the model is: a seasoned expert whose daily work is this task.",
    "Open by saying who the model is: a careful reviewer who has seen every common mistake.",
    "Explain the purpose: who needs the answer, and what goes wrong if it is not right.",
    "Name the cases that are easily confused, and what tells them apart.",
    "Begin with the form of the answer, then say how to find it.",
    "Strict and exact, like a specification: must, must not, only if.",
    "As a question that the input answers.",
    "Break the task into two or three smaller questions, to be answered silently.",
    "Ask for the one detail of the input that decides, then for the answer that follows from it.",
)
_MOST = 5
_ROOM = 2000
"""Characters that all variants together may take, about: more does not fit into one reply."""


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Variants of the parent's main section, each in another style drawn at random, from one call.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    if not assignment.ask:
        return []
    parent = assignment.parent
    rng = deps.rng(12, assignment.round, assignment.worker)
    fitting = max(_ROOM // max(len(parent.main.instructions()), 1), 1)
    drawn = rng.choice(len(STYLES), min(assignment.count, _MOST, fitting), replace=False)
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patches = await deps.rewriter.restyle(parent, [STYLES[at] for at in drawn])
    return offspring([parent], patches, operator="restyle", round_number=assignment.round, author="rewriter")
