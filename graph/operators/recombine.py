"""Two prompts into one: crossed, rewritten where they differ, or exchanged part for part (EvoPrompt)."""

from __future__ import annotations

from crito.agents.rewriter import Mode
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.patch import Edit, Patch
from crito.records import Candidate


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Children of the first two parents, the written one first; none when there is only one parent.

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    return await _recombined(deps, assignment, operator="recombine")


async def differential(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The same, but only what differs between the two is ever rewritten (EvoPrompt's differential form).

    Raises:
        BudgetExhausted: The rewriter's call does not fit into the budget.
    """
    return await _recombined(deps, assignment, operator="differential", mode="differential")


async def _recombined(
    deps: Deps, assignment: Assignment, *, operator: str, mode: Mode | None = None
) -> list[Candidate]:
    parents = assignment.parents[:2]
    if len({parent.id for parent in parents}) < 2:
        return []
    written: list[Patch] = []
    if assignment.ask:
        one, other = parents
        with deps.tracer.span("invoke_agent", "rewriter", candidate=one.id):
            patch = await deps.rewriter.recombine(one, other, mode or mode_for(one, other))
        written = [patch] if patch is not None else []
    found = offspring(parents, written, operator=operator, round_number=assignment.round, author="rewriter")
    for pair in (parents, parents[::-1]):
        found += offspring(pair, _exchange(*pair), operator=operator, round_number=assignment.round, author="code")
    return list({candidate.id: candidate for candidate in found}.values())[: assignment.count]


def mode_for(one: Candidate, other: Candidate) -> Mode:
    """``differential`` for prompts that share a section or a demonstration, ``crossover`` for strangers."""
    a, b = one.main, other.main
    shared = any(section in b.sections for section in a.sections) or any(demo in b.demos for demo in a.demos)
    return "differential" if shared else "crossover"


def _exchange(one: Candidate, other: Candidate) -> list[Patch]:
    """The first one's instructions with the second one's demonstrations, where they differ in both."""
    a, b = one.main, other.main
    if a.sections == b.sections or a.demos == b.demos:
        return []
    edit = Edit(op="replace", path="demos", value=b.demos)
    return [Patch(edits=(edit,), rationale="the instructions of one with the examples of the other")]
