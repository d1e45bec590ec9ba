"""After the verdict: what this run measured becomes lessons for later ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.runtime import Runtime

from crito.agents.recipes import recipe_of
from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.state import RunState
from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse, added
from crito.memory.proven import ProvenPrompt
from crito.memory.recalled import Recalled
from crito.memory.signature import Signature, signature_of
from crito.records import Candidate, Verdict
from crito.tools.guards import copies
from crito.tools.stats import bootstrap_interval

_FEWEST = 8
"""Examples below which an effect is not worth remembering."""


async def learn(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Write down every effect that was measured; a memory that cannot be written costs a warning, not the result."""
    deps = runtime.context
    if deps.lessons is None:
        return {}
    with deps.tracer.span("execute_tool", "learn") as span:
        try:
            signature = await asyncio.to_thread(signature_of, deps.task)
            records = list(_records(deps, state, signature))
            await deps.lessons.write(*records)
        except Exception as error:  # noqa: BLE001 - a host's store may fail in any way, and the verdict is paid for
            span.set_attribute("crito.unusable", str(error)[:200])
            deps.notify({"event": "warning", "text": f"nothing was remembered of this run: {error}"})
        else:
            span.set_attribute("crito.observations", len(records))
    return {}


def _records(deps: Deps, state: RunState, signature: Signature) -> Iterator[Observation | OperatorUse | ProvenPrompt]:
    verdict = Verdict.model_validate(state["verdict"])
    about = {"signature": signature, "model": deps.task.model, "run": deps.ledger.run, "seen": time.time()}
    for candidate in deps.archive.candidates():
        effect = _effect(deps, candidate, verdict)
        if effect is not None:
            yield from _observed(deps, candidate, {**about, **effect})
    arms = _earned(state)
    if arms:
        yield OperatorUse(arms=arms, **about)
    if deps.task.remember_prompts and verdict.decision == "improved":
        yield ProvenPrompt(
            inputs=deps.task.inputs,
            labels=deps.task.labels,
            prompt=deps.archive.candidate(verdict.best).main,
            n=verdict.n,
            gain=verdict.difference,
            **about,
        )


def _observed(deps: Deps, candidate: Candidate, about: dict[str, Any]) -> Iterator[Observation]:
    recipe = recipe_of(candidate.main, deps.archive.candidate(deps.seed).main, deps.task)
    if recipe is not None:
        yield Observation(
            kind="recipe",
            text=recipe.text,
            recipe=recipe,
            operator=candidate.operator,
            candidate=candidate.id,
            **about,
        )
    elif candidate.author != "code" and candidate.patch is not None:
        label, _, text = candidate.hypothesis.partition(": ")
        if text and not copies(text, deps.task, candidate.main):
            yield Observation(
                kind="direction",
                text=text[:600],
                label=label,
                section=candidate.patch.edits[0].path,
                operator=candidate.operator,
                candidate=candidate.id,
                **about,
            )


def _effect(deps: Deps, candidate: Candidate, verdict: Verdict) -> dict[str, Any] | None:
    """What a candidate is worth: the best one on the test examples, others on the validation examples.

    A recipe is compared with the seed, a direction with the prompt that it changed.
    """
    if not candidate.parents:
        return None
    if candidate.id == verdict.best and verdict.n >= _FEWEST:
        low, high = verdict.interval
        return {"n": verdict.n, "gain": verdict.difference, "low": max(-1.0, low), "high": min(1.0, high)}
    whole = recipe_of(candidate.main, deps.archive.candidate(deps.seed).main, deps.task) is not None
    differences = deps.archive.differences(candidate.id, deps.seed if whole else candidate.parents[0], deps.val)
    return _summary(differences)


def _summary(differences: Sequence[float]) -> dict[str, Any] | None:
    n = len(differences)
    if n < _FEWEST:
        return None
    low, high = bootstrap_interval(differences)
    return {"n": n, "gain": sum(differences) / n, "low": max(-1.0, low), "high": min(1.0, high)}


def _earned(state: RunState) -> dict[str, tuple[float, float]]:
    """What each operator's steps earned in this run alone, without any prior."""
    recalled = Recalled.model_validate(state["recalled"])
    before = added({name: entry.prior for name, entry in OPERATORS.items()}, recalled.operators)
    found = {}
    for name, (won, lost) in state["operators"].items():
        prior = before.get(name, OPERATORS[name].prior)
        if won + lost > prior[0] + prior[1]:
            found[name] = (max(0.0, won - prior[0]), max(0.0, lost - prior[1]))
    return found
