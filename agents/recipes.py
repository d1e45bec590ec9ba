"""Recipes of prompts: read off one, and followed on another."""

from __future__ import annotations

from collections.abc import Sequence

from crito.agents.edits import answer_only, cues
from crito.memory.recipe import Instructions, LayoutChange, Recipe
from crito.patch import Patch
from crito.prompt import Demo, Prompt
from crito.task import Task


def recipe_of(prompt: Prompt, seed: Prompt, task: Task) -> Recipe | None:
    """What was done to the seed to get this prompt; None where it says something of its own.

    Args:
        prompt: The prompt to read.
        seed: The user's prompt.
        task: The task of both.
    """
    instructions = _instructions(prompt, seed, task)
    known = templates(seed, task)
    if instructions is None or prompt.template not in known or prompt.words != seed.words:
        return None
    cue = known.index(prompt.template) - 1
    unseen = () if prompt.sections else ("style", "instructions")
    changed = {k: value for k, value in prompt.layout if value != getattr(seed.layout, k) and k not in unseen}
    return Recipe(
        instructions=instructions,
        cue=None if cue < 0 else cue,
        layout_change=LayoutChange.model_validate(changed),
        demos=len(prompt.demos),
    )


def followed(recipe: Recipe, seed: Prompt, task: Task, demos: Sequence[Demo]) -> Patch:
    """The patch that does to the seed what a recipe says, with these demonstrations.

    What the seed does not allow, such as a cue where its template has one of its own, is left out.
    """
    layout = seed.layout.model_copy(update=recipe.layout_change.model_dump(exclude_none=True))
    wanted = seed.model_copy(update={"layout": layout, "demos": tuple(demos[: recipe.demos])})
    cued = templates(seed, task)[1:]
    if recipe.cue is not None and recipe.cue < len(cued):
        wanted = wanted.model_copy(update={"template": cued[recipe.cue]})
    rule = answer_only(seed, task)
    if recipe.instructions == "none" and demos:
        wanted = wanted.model_copy(update={"sections": ()})
    elif recipe.instructions == "answer_rule" and rule:
        wanted = wanted.model_copy(update={"sections": seed.apply(rule).sections})
    return seed.diff(wanted).model_copy(update={"rationale": recipe.text})


def templates(seed: Prompt, task: Task) -> list[str]:
    """The seed's template, then it with each answer cue."""
    return [seed.template, *(str(edit.value) for patch in cues(seed, task) for edit in patch.edits)]


def _instructions(prompt: Prompt, seed: Prompt, task: Task) -> Instructions | None:
    if prompt.sections == seed.sections:
        return "kept"
    if not prompt.sections:
        return "none"
    rule = answer_only(seed, task)
    return "answer_rule" if rule and prompt.sections == seed.apply(rule).sections else None
