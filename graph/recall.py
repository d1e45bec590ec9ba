"""Before the first round: what earlier runs learned on tasks like this one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from langgraph.runtime import Runtime
from numpy.typing import NDArray

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.state import RunState
from crito.memory.attempts import Attempt
from crito.memory.lessons import Lesson, Observation, Recollection, lessons
from crito.memory.operator_use import OperatorUse, priors
from crito.memory.proven import ProvenPrompt, fitting
from crito.memory.recalled import Advice, Recalled, taken_up
from crito.memory.signature import Signature, signature_of
from crito.records import Candidate, child
from crito.result import NOT_TAKEN_UP, LessonUse
from crito.tools.duplicates import Tried
from crito.tools.guards import screen
from crito.tools.redaction import redacted

_RECIPES, _DIRECTIONS, _PROMPTS = 4, 24, 2
"""How much is taken along: recipes and prompts cost a race, directions the critic's attention."""


async def recall(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Look up what helped on tasks like this one; nothing where memory is off, or the preset has no use for it.

    Raises:
        BadInput: The memory is damaged or from another version.
    """
    del state
    deps = runtime.context
    if deps.lessons is None or "opening" not in deps.preset.operators:
        return {"recalled": Recalled().model_dump(mode="json")}
    with deps.tracer.span("execute_tool", "recall", round=0) as span:
        signature = await asyncio.to_thread(signature_of, deps.task)
        pooled = lessons(await deps.lessons.read(Observation))
        known, near = Recollection(pooled), await _near(deps, pooled)
        model = deps.task.model
        recipes = known.best("recipe", signature, model, count=_RECIPES)
        about = deps.task.description
        directions = known.best("direction", signature, model, count=_DIRECTIONS, query=about, near=near)
        recalled = Recalled(
            recipes=tuple(Advice.of(*found) for found in recipes),
            directions=tuple(Advice.of(*found) for found in directions),
            prompts=await _proven(deps, await deps.lessons.read(ProvenPrompt), signature),
            operators=priors(await deps.lessons.read(OperatorUse), signature, model),
        )
        told = [f"{advice.lesson}: {advice.text}" for advice in (*recalled.recipes, *recalled.directions)]
        span.set_attribute("crito.lessons", told)
    return {"recalled": recalled.model_dump(mode="json")}


async def _near(deps: Deps, known: Sequence[Lesson]) -> NDArray[np.float64] | None:
    """How near each lesson's meaning is to the task; None where no embedding model is named, or it fails."""
    if deps.nearness is None:
        return None
    try:
        return await deps.nearness.of(deps.task.description, known)
    except Exception as error:  # noqa: BLE001 - a host's store may fail in any way too, and words alone will do
        text = f"embed: lessons are found by their words alone: {redacted(str(error))}"
        deps.notify({"event": "warning", "text": text})
        return None


async def _proven(deps: Deps, known: Sequence[ProvenPrompt], signature: Signature) -> tuple[str, ...]:
    """Proven prompts of near tasks as candidates; only what passes every guard."""
    seed = deps.archive.candidate(deps.seed)
    made: list[Candidate] = []
    for proven, _ in fitting(known, deps.task, signature, count=_PROMPTS):
        patch = seed.main.diff(proven.prompt).model_copy(update={"rationale": f"the best prompt of run {proven.run}"})
        try:
            candidate = child(seed, patch, operator="recall", round_number=0)
        except PatchRejected:
            continue
        if screen(candidate, seed, deps.task, Tried(made), deps.prompt_tokens) is None:
            made.append(candidate)
    await deps.archive.add(*made)
    return tuple(candidate.id for candidate in made)


def uses(deps: Deps, recalled: Recalled) -> tuple[LessonUse, ...]:
    """What came of each lesson that a run took along."""
    attempts = deps.attempts.all()
    tried = {attempt.hypothesis.partition(":")[0]: attempt for attempt in attempts}
    by_agents = [attempt for attempt in attempts if attempt.author != "code"]
    return (
        *(_use(advice, tried.get(f"lesson {advice.lesson}"), "not tried") for advice in recalled.recipes),
        *(_use(advice, taken_up(advice, by_agents), NOT_TAKEN_UP) for advice in recalled.directions),
    )


def _use(advice: Advice, attempt: Attempt | None, otherwise: str) -> LessonUse:
    use = LessonUse(lesson=advice.lesson, text=advice.text, expected=advice.expected, outcome=otherwise)
    if attempt is None:
        return use
    words = attempt.fate.replace("_", " ")
    outcome = f"{words}: {attempt.reason}" if attempt.reason else words
    return use.model_copy(update={"outcome": outcome, "gain": attempt.gain, "n": attempt.n})
