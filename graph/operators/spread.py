"""The operator that spreads candidates: demonstrations x answer rule x answer cue x place of the instructions.

What helps depends on the model and cannot be climbed step by step, so recipes are drawn at random. Demonstrations are
turns of the conversation: inside the message they cost .1 to .7 on five tasks of five (docs/benchmarks.md), and are
left to ``format``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from crito.agents.recipes import followed, templates
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.demonstrations import harvest, sample
from crito.graph.operators.offspring import offspring
from crito.memory.recipe import LARGEST, LayoutChange, Recipe
from crito.prompt import Demo, Prompt
from crito.records import Candidate
from crito.task import Task

_RULE, _CUE = 0.5, 0.5
"""How often a recipe has the answer rule and an answer cue."""
_PLACES = {"system": 0.5, "user": 0.3, "each": 0.2}
"""How often its instructions stand where."""
_BARE = 5
"""One in so many recipes around the seed is rule and cue alone."""
_TRIES = 4
"""Draws for each candidate that is wanted, as some come twice."""


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """A parent with a new set of demonstrations, its place and cue drawn anew; what it says stays.

    Raises:
        BudgetExhausted: Harvesting reasoning does not fit into the budget.
    """
    parent, task = assignment.parent, deps.task
    rng = deps.rng(23, assignment.round, assignment.worker)
    demos = await harvest(deps, parent)
    known = templates(deps.archive.candidate(deps.seed).main, task)
    bare = parent.main
    if bare.template in known:
        bare = bare.model_copy(update={"template": known[0]})
    patches = []
    for _ in range(assignment.count * _TRIES if demos else 0):
        found, chosen = drawn(bare, demos, len(known) - 1, task, rng)
        recipe = found.model_copy(update={"instructions": "kept"})
        patch = parent.main.diff(bare.apply(followed(recipe, bare, task, chosen)))
        patches.append(patch.model_copy(update={"rationale": recipe.text}))
    made = offspring([parent], patches, operator="spread", round_number=assignment.round, author="code")
    return made[: assignment.count]


def around(deps: Deps, seed: Candidate, demos: Sequence[Demo], count: int, *, round_number: int = 0) -> list[Candidate]:
    """A spread around the seed, the largest set of demonstrations in the seed's own layout first.

    The odds follow what about a thousand candidates gained on validation examples of public tasks with a small model
    (docs/benchmarks.md).

    Args:
        deps: The run.
        seed: What recipes are followed on.
        demos: Demonstrations that may be shown.
        count: How many candidates are wanted.
        round_number: The round.
    """
    recipes = islice(_spread(seed, demos, deps.task, deps.rng(2, 0)), count * _TRIES)
    patches = (followed(recipe, seed.main, deps.task, chosen) for recipe, chosen in recipes)
    return offspring([seed], patches, operator="spread", round_number=round_number, author="code")[:count]


def drawn(
    prompt: Prompt, demos: Sequence[Demo], cues: int, task: Task, rng: np.random.Generator
) -> tuple[Recipe, list[Demo]]:
    """A random recipe for a prompt, and demonstrations for it.

    Args:
        prompt: What the recipe is for.
        demos: Demonstrations that may be shown.
        cues: How many answer cues its template may get.
        task: Its labels are kept even in the demonstrations.
        rng: Random numbers.
    """
    chosen = sample(demos, task, rng) if demos else []
    place, now = str(rng.choice(list(_PLACES), p=list(_PLACES.values()))), prompt.layout.instructions
    recipe = Recipe(
        instructions="answer_rule" if rng.random() < _RULE else "kept",
        cue=int(rng.integers(cues)) if cues and rng.random() < _CUE else None,
        layout_change=LayoutChange.model_validate({"instructions": place if place != now else None}),
        demos=len(chosen),
    )
    return recipe, chosen


def _spread(
    seed: Candidate, demos: Sequence[Demo], task: Task, rng: np.random.Generator
) -> Iterator[tuple[Recipe, list[Demo]]]:
    """Recipes without end: a plain one, then random ones, and in between the rule and the cues by themselves."""
    cues = len(templates(seed.main, task)) - 1
    bare = [Recipe(instructions="answer_rule", cue=cue) for cue in (None, *range(cues))]
    if demos:
        chosen = sample(demos, task, rng, size=LARGEST)
        yield Recipe(instructions="kept", demos=len(chosen)), chosen
    while True:
        for _ in range(_BARE - 1 if demos or not bare else 0):
            yield drawn(seed.main, demos, cues, task, rng)
        if bare:
            yield bare.pop(0), []
