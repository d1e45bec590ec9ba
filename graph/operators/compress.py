"""The loop that makes the incumbent cheaper: fewer demonstrations, fewer rules, a shorter text."""

from __future__ import annotations

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.patch import Edit, Patch
from crito.records import Candidate, child


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Shorter versions of a parent, the boldest first; each must then prove that it is not worse.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    parent, round_number = assignment.parent, assignment.round
    prompt = parent.main
    found: dict[str, Candidate] = {}
    halves = [prompt.demos[: len(prompt.demos) // 2], prompt.demos[len(prompt.demos) // 2 :]]
    if len(prompt.demos) > 1:
        for half in halves:
            _keep(found, parent, Edit(op="replace", path="demos", value=half), round_number)
    if len(prompt.demos) > 2:
        for at in range(len(prompt.demos)):
            _keep(found, parent, Edit(op="delete", path=f"demos[{at}]"), round_number)
    for section in prompt.sections:
        if len(prompt.sections) > 1 or prompt.demos:
            _keep(found, parent, Edit(op="delete", path=section.name), round_number)
        if isinstance(section.body, tuple):
            for at in range(len(section.body)):
                _keep(found, parent, Edit(op="delete", path=f"{section.name}[{at}]"), round_number)
    shortened = await _rewritten(deps, parent, round_number) if assignment.ask else None
    written = [shortened] if shortened is not None else []
    return [*written, *list(found.values())][: assignment.count]


async def _rewritten(deps: Deps, parent: Candidate, round_number: int) -> Candidate | None:
    if len(parent.main.instructions()) < 200:
        return None  # nothing to gain that deleting a part would not
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patch = await deps.rewriter.compress(parent)
    if patch is None:
        return None
    return child(parent, patch, operator="compression", round_number=round_number, author="rewriter")


def _keep(found: dict[str, Candidate], parent: Candidate, edit: Edit, round_number: int) -> None:
    patch = Patch(edits=(edit,), rationale=f"do without {edit.path}" if edit.op == "delete" else "half the examples")
    try:
        candidate = child(parent, patch, operator="compression", round_number=round_number)
    except PatchRejected:
        return
    found.setdefault(candidate.id, candidate)
