"""What earlier runs learned, as candidates: proven prompts, and recipes followed with this task's own examples."""

from __future__ import annotations

from crito.agents.recipes import followed
from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators import demonstrations
from crito.memory.recalled import Recalled
from crito.prompt import Demo
from crito.records import Candidate, child


async def advised(deps: Deps, seed: Candidate, recalled: Recalled) -> list[Candidate]:
    """One candidate for each proven prompt and each recipe that the run took along, of the seed.

    Raises:
        BudgetExhausted: Harvesting reasoning does not fit into the budget.
    """
    found = {name: deps.archive.candidate(name) for name in recalled.prompts}
    recipes = [(advice, advice.recipe) for advice in recalled.recipes if advice.recipe is not None]
    demos = await _demos(deps, seed) if any(recipe.demos for _, recipe in recipes) else []
    for at, (advice, recipe) in enumerate(recipes):
        rng = deps.rng(22, at)
        chosen = demonstrations.sample(demos, deps.task, rng, size=recipe.demos) if demos else []
        patch = followed(recipe, seed.main, deps.task, chosen)
        try:
            made = child(
                seed,
                patch,
                operator="recall",
                round_number=0,
                hypothesis=f"lesson {advice.lesson}: {advice.text}",
            )
        except PatchRejected:
            continue
        found.setdefault(made.id, made)
    return list(found.values())


async def _demos(deps: Deps, seed: Candidate) -> list[Demo]:
    return await demonstrations.harvest(deps, seed) if deps.preset.demos else []
