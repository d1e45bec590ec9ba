"""Before the first round: what earlier runs learned on tasks like this one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from langgraph.runtime import Runtime
from numpy.typing import NDArray

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.recipes import recipe
from crito.graph.state import RunState
from crito.memory.attempts import Attempt
from crito.memory.lesson_store import LessonStore
from crito.memory.lessons import Lesson, Observation, Recollection, lessons
from crito.memory.operator_use import OperatorUse, priors
from crito.memory.proven import ProvenPrompt, Trial, fitting, proven
from crito.memory.recalled import Advice, Offer, Recalled, taken_up
from crito.memory.signature import Signature, signature_of
from crito.prompt import Prompt
from crito.records import Candidate, child
from crito.result import NOT_TAKEN_UP, LessonUse
from crito.task import Task, example_id
from crito.tools.duplicates import Tried
from crito.tools.guards import screen
from crito.tools.redaction import redacted

_RECIPES, _DIRECTIONS, _PROMPTS, _REFUTED = 4, 12, 2, 48
"""How much is taken along: recipes and prompts cost a race, directions the critic's attention."""


async def recall(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Look up what helped on tasks like this one; nothing where memory is off, or the preset has no use for it.

    Raises:
        BadInput: The memory is damaged or from another version.
    """
    del state
    deps = runtime.context
    if deps.lessons is None or not deps.preset.recalls:
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
            recipes=tuple(Advice.of(lesson) for lesson, _ in recipes),
            directions=tuple(Advice.of(lesson) for lesson, _ in directions),
            refuted=tuple(x.latest.recipe for x in known.refuted(signature) if x.latest.recipe)[-_REFUTED:],
            prompts=await _proven(deps, deps.lessons, signature),
            operators=priors(await deps.lessons.read(OperatorUse), signature, model),
        )
        told = [offer.text for offer in recalled.prompts]
        told += [f"{advice.lesson}: {advice.text}" for advice in (*recalled.recipes, *recalled.directions)]
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


async def _proven(deps: Deps, store: LessonStore, signature: Signature) -> tuple[Offer, ...]:
    """Proven prompts of near tasks as candidates, as far as they pass every guard; what is held out is not shown."""
    seed = deps.archive.candidate(deps.seed)
    made: list[Candidate] = []
    offers: list[Offer] = []
    known = proven(await store.read(ProvenPrompt), await store.read(Trial))
    for found in fitting(known, deps.task, signature, count=_PROMPTS):
        prompt = _without_held_out(found.prompt.prompt, deps.task)
        patch = seed.main.diff(prompt).model_copy(update={"rationale": found.text})
        try:
            candidate = child(seed, patch, operator="proven", round_number=0)
        except PatchRejected:
            continue
        if screen(candidate, seed, deps.task, Tried(made), deps.prompt_tokens) is None:
            made.append(candidate)
            whole = prompt == found.prompt.prompt
            offers.append(
                Offer(candidate=candidate.id, run=found.id, text=found.text, gain=found.prompt.gain, whole=whole)
            )
    await deps.archive.add(*made)
    return tuple(offers)


def _without_held_out(prompt: Prompt, task: Task) -> Prompt:
    held_out = {example.id for example in (*task.splits.val, *task.splits.test)}
    kept = [demo for demo in prompt.demos if held_out.isdisjoint({demo.example_id, example_id(demo.inputs)})]
    return prompt.model_copy(update={"demos": tuple(kept)})


def uses(deps: Deps, recalled: Recalled) -> tuple[LessonUse, ...]:
    """What came of each lesson and prompt that a run took along.

    Gains of both runs are measured beside the same: those of recipes and prompts beside the seed, those of directions
    beside the prompt that they changed.
    """
    attempts = {attempt.candidate: attempt for attempt in deps.attempts.all()}
    by_agents = [attempt for attempt in attempts.values() if attempt.author != "code"]
    found = []
    for offer in recalled.prompts:
        told = LessonUse(lesson=offer.run, text=offer.text, before=offer.gain)
        found.append(_came_of(deps, told, attempts.get(offer.candidate), deps.seed))
    for advice in recalled.recipes:
        told = LessonUse(lesson=advice.lesson, text=advice.text, before=advice.gain)
        found.append(_came_of(deps, told, _follower(deps, advice, attempts), deps.seed))
    for advice in recalled.directions:
        told = LessonUse(lesson=advice.lesson, text=advice.text, before=advice.gain, outcome=NOT_TAKEN_UP)
        attempt = taken_up(advice, by_agents)
        found.append(_came_of(deps, told, attempt, attempt.parent if attempt else None))
    return tuple(found)


def _follower(deps: Deps, advice: Advice, attempts: Mapping[str, Attempt]) -> Attempt | None:
    """The attempt at a recipe: who was made of it or, as it was there already, whoever is put together like that."""
    made = (a for a in attempts.values() if a.hypothesis.partition(":")[0] == f"lesson {advice.lesson}")
    like = (a for c, a in attempts.items() if recipe(deps, deps.archive.candidate(c)) == advice.recipe)
    return next(made, None) or max(like, key=lambda attempt: attempt.n, default=None)


def _came_of(deps: Deps, use: LessonUse, attempt: Attempt | None, beside: str | None) -> LessonUse:
    if attempt is None:
        return use
    words = attempt.fate.replace("_", " ")
    outcome = f"{words}: {attempt.reason}" if attempt.reason else words
    differences = deps.archive.differences(attempt.candidate, beside, deps.val) if beside else []
    gain = sum(differences) / len(differences) if differences else None
    return use.model_copy(update={"outcome": outcome, "gain": gain, "n": len(differences)})
