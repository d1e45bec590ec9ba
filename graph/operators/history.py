"""A better instruction read off the ones that were measured, worst to best (OPRO)."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.records import Candidate

_SHOWN = 20
_EXAMPLES = 3


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent with one new instruction, written in view of the scored trajectory.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    scored = trajectory(deps)
    if not assignment.ask or not scored:
        return []
    parent, train = assignment.parent, deps.task.splits.train
    rng = deps.rng(13, assignment.round, assignment.worker)
    drawn = rng.choice(len(train), min(_EXAMPLES, len(train)), replace=False)
    with deps.tracer.span("invoke_agent", "rewriter", candidate=parent.id):
        patch = await deps.rewriter.extrapolate(parent, scored, [train[at] for at in drawn])
    written = [patch] if patch is not None else []
    return offspring([parent], written, operator="history", round_number=assignment.round, author="rewriter")


def trajectory(deps: Deps) -> list[tuple[str, int]]:
    """The best instructions measured so far with their scores, 0 to 100, the best last.

    A score is the seed's on validation plus the mean gain over it on what both answered: races take the examples in
    different orders, and who dropped out early has answered a few alone.

    Candidates that differ in other parts only count as one instruction, with the best score among them.
    """
    best: dict[str, int] = {}
    seed = deps.archive.mean(deps.seed, deps.val)
    for candidate in deps.archive.candidates():
        text = candidate.main.instructions().strip()
        answered = any(score is not None for score in deps.archive.scores(candidate.id, deps.val))
        if text and answered:
            gain = deps.archive.gain(candidate.id, deps.seed, deps.val)
            score = round(100 * min(1.0, max(0.0, seed + gain)))
            best[text] = max(score, best.get(text, 0))
    return sorted(best.items(), key=lambda pair: pair[1])[-_SHOWN:]
