"""What earlier runs learned, as candidates: proven prompts, and recipes followed with this task's own examples."""

from __future__ import annotations

from collections.abc import Sequence

from crito.agents.recipes import followed
from crito.graph.deps import Deps
from crito.graph.operators import demonstrations
from crito.graph.operators.offspring import offspring
from crito.memory.recalled import Recalled
from crito.prompt import Demo
from crito.records import Candidate


def proven(deps: Deps, recalled: Recalled) -> list[Candidate]:
    """The proven prompts that the run took along."""
    return [deps.archive.candidate(offer.candidate) for offer in recalled.prompts]


def followers(
    deps: Deps, seed: Candidate, recalled: Recalled, demos: Sequence[Demo], *, round_number: int = 0
) -> list[Candidate]:
    """One candidate for each recipe that the run took along, of the seed.

    Args:
        deps: The run.
        seed: What the recipes are followed on.
        recalled: What the run took along.
        demos: Demonstrations that may be shown.
        round_number: The round.
    """
    patches = []
    for at, (advice, recipe) in enumerate((a, a.recipe) for a in recalled.recipes if a.recipe is not None):
        chosen = demonstrations.sample(demos, deps.task, deps.rng(22, at), size=recipe.demos) if demos else []
        patch = followed(recipe, seed.main, deps.task, chosen)
        patches.append(patch.model_copy(update={"rationale": f"lesson {advice.lesson}: {advice.text}"}))
    return offspring([seed], patches, operator="recall", round_number=round_number, author="code")
