"""Random words in place of the instructions: the null that every method must beat."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.patch import Patch
from crito.prompt import Section
from crito.records import Candidate

_LENGTHS = (1, 2, 4, 8)
_SYLLABLES = ("ba", "den", "fi", "gor", "hul", "ka", "lem", "mi", "nor", "pa", "ris", "so", "tal", "ve", "wun", "zi")


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Prompts whose instructions are made-up words (Library of Babel): what they gain is selection alone."""
    rng = deps.rng(20, assignment.round, assignment.worker)
    main = assignment.parent.main
    patches: list[Patch] = []
    for _ in range(assignment.count):
        words = ["".join(rng.choice(_SYLLABLES, 2)) for _ in range(int(rng.choice(_LENGTHS)))]
        wanted = main.model_copy(update={"sections": (Section(name="task", body=" ".join(words)),)})
        patches.append(main.diff(wanted).model_copy(update={"rationale": "random words"}))
    return offspring((assignment.parent,), patches, operator="babble", round_number=assignment.round, author="code")
