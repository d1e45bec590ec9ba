"""The operator that leaves a part out: one section, one rule or one demonstration."""

from __future__ import annotations

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.patch import Edit, Patch
from crito.prompt import Prompt
from crito.records import Candidate, child


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent without one of its parts, the largest parts (in tokens) first and equals in random order."""
    parent = assignment.parent
    found: dict[str, Candidate] = {}
    for path in _parts(parent.main):
        patch = Patch(edits=(Edit(op="delete", path=path),), rationale=f"do without {path}")
        try:
            candidate = child(parent, patch, operator="ablate", round_number=assignment.round)
        except PatchRejected:
            continue
        if candidate.main.sections or candidate.main.demos:
            found.setdefault(candidate.id, candidate)
    rng = deps.rng(16, assignment.round, assignment.worker)
    candidates = list(found.values())
    shuffled = [candidates[at] for at in rng.permutation(len(candidates))]
    return sorted(shuffled, key=lambda candidate: deps.prompt_tokens(candidate.main))[: assignment.count]


def _parts(prompt: Prompt) -> list[str]:
    """Paths of all that can be left out."""
    paths = [section.name for section in prompt.sections]
    for section in prompt.sections:
        if isinstance(section.body, tuple):
            paths += [f"{section.name}[{at}]" for at in range(len(section.body))]
    return [*paths, *(f"demos[{at}]" for at in range(len(prompt.demos)))]
