"""What a search is to be measured by: prompts that owe nothing to it, and what they scored on validation examples."""

from __future__ import annotations

from crito.agents.recipes import recipe_of
from crito.graph.deps import Deps
from crito.graph.operators.opening import null
from crito.graph.operators.strategy import chain_of_thought
from crito.memory.recipe import Recipe
from crito.records import Candidate
from crito.result import Baseline


def baselines(deps: Deps) -> tuple[Baseline, ...]:
    """The seed and, of what the run has raced, the null prompt, chain of thought, and the seed with examples alone.

    Of several sets of examples, drawn for the seed and not made of another set, it is the best of those that answered
    most.
    """
    seed = deps.archive.candidate(deps.seed)
    named = {
        seed.id: "your prompt",
        **{candidate.id: "no instructions" for candidate in null(seed)},
        **{candidate.id: "your prompt, step by step" for candidate in chain_of_thought(seed, deps.task)},
    }
    known = deps.archive.candidates()
    single = [_scored(deps, candidate, named[candidate.id]) for candidate in known if candidate.id in named]
    drawn = [candidate for candidate in known if candidate.parents == (seed.id,)]
    recipes = [(candidate, recipe_of(candidate.main, seed.main, deps.task)) for candidate in drawn]
    shown = [
        _scored(deps, candidate, f"your prompt, {recipe.demos} examples")
        for candidate, recipe in recipes
        if recipe is not None and recipe.demos and recipe == Recipe(instructions="kept", demos=recipe.demos)
    ]
    best = sorted(shown, key=lambda baseline: (baseline.n, baseline.val_score))[-1:]
    return tuple(baseline for baseline in (*single, *best) if baseline.n)


def _scored(deps: Deps, candidate: Candidate, name: str) -> Baseline:
    scores = [score for score in deps.archive.values(candidate.id, deps.val) if score is not None]
    mean = sum(scores) / max(1, len(scores))
    return Baseline(name=name, candidate=candidate.id, val_score=mean, n=len(scores))
