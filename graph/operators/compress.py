"""The operator that makes the parent cheaper: a shorter text, half the demonstrations, one part less."""

from __future__ import annotations

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators import ablate
from crito.graph.operators.assignment import Assignment
from crito.patch import Edit, Patch
from crito.prompt import Demo
from crito.records import Candidate, child


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Shorter versions of a parent, the boldest first; each must then prove that it is not worse.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    parent, demos = assignment.parent, assignment.parent.main.demos
    shortened = await _rewritten(deps, parent, assignment.round) if assignment.ask else None
    middle = len(demos) // 2
    halves = [_showing(parent, half, assignment.round) for half in (demos[:middle], demos[middle:]) if middle]
    dropped = [c.model_copy(update={"operator": "compress"}) for c in await ablate.propose(deps, assignment)]
    found: dict[str, Candidate] = {}
    for candidate in (shortened, *halves, *dropped):
        if candidate is not None:
            found.setdefault(candidate.id, candidate)
    return list(found.values())[: assignment.count]


async def _rewritten(deps: Deps, parent: Candidate, round_number: int) -> Candidate | None:
    if len(parent.main.instructions()) < 200:
        return None  # nothing to gain that deleting a part would not
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patch = await deps.rewriter.compress(parent)
    if patch is None:
        return None
    return child(parent, patch, operator="compress", round_number=round_number, author="rewriter")


def _showing(parent: Candidate, demos: tuple[Demo, ...], round_number: int) -> Candidate | None:
    patch = Patch(edits=(Edit(op="replace", path="demos", value=demos),), rationale="half the examples")
    try:
        return child(parent, patch, operator="compress", round_number=round_number)
    except PatchRejected:
        return None
