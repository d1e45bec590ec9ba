"""The recipe that a candidate is, in the terms in which runs of different tasks tell each other of it."""

from __future__ import annotations

from crito.agents.recipes import recipe_of
from crito.graph.deps import Deps
from crito.memory.recipe import LARGEST, Recipe
from crito.records import Candidate


def recipe(deps: Deps, candidate: Candidate) -> Recipe | None:
    """What was done to the seed to get a candidate; None where it says something of its own.

    How many examples fit depends on their length, so a set as large as this task allows counts as the largest of all.
    """
    found = recipe_of(candidate.main, deps.archive.candidate(deps.seed).main, deps.task)
    if found is None or not found.demos or found.demos < deps.largest_set:
        return found
    return found.model_copy(update={"demos": LARGEST})
