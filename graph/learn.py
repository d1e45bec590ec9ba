"""After the verdict: what this run measured becomes lessons for later ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.recipes import recipe
from crito.memory.confidential import Confidential
from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse, added
from crito.memory.proven import ProvenPrompt, Trial
from crito.memory.recalled import Offer, Recalled
from crito.memory.recipe import Recipe
from crito.memory.record import Record
from crito.memory.signature import Signature, signature_of
from crito.records import Candidate, FailureLabel, Verdict
from crito.tools.stats import bootstrap_interval

_LONGEST = 600
"""Characters of a direction."""
_PARTS = ("demos", "template", "words")
"""Parts of a prompt that are not its instructions, whose sections have names of the user's own."""


async def learn(deps: Deps, state: Mapping[str, Any]) -> None:
    """Write down every effect that was measured; a memory that cannot be written costs a warning, not the result.

    It comes after the workflow's end, so that a run that is drained in its verdict still gives it; done again after a
    crash, it writes the same.
    """
    if deps.lessons is None:
        return
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


def _records(deps: Deps, state: Mapping[str, Any], signature: Signature) -> Iterator[Record]:
    verdict = Verdict.model_validate(state["verdict"])
    about = {"signature": signature, "model": deps.task.model, "run": deps.ledger.run, "seen": time.time()}
    known = deps.archive.candidates()
    secret = Confidential(deps.task, (prompt for c in known for prompt in c.prompts.values()))
    recalled = Recalled.model_validate(state["recalled"])
    advised = {f"lesson {advice.lesson}": advice.recipe for advice in recalled.recipes if advice.recipe}
    for candidate in known:
        effect = _effect(deps, candidate)
        if effect is not None:
            yield from _recipes(deps, candidate, advised, {**about, **effect})
            yield from _direction(deps, candidate, secret, {**about, **effect})
    arms = _earned(state)
    if arms:
        yield OperatorUse(arms=arms, **about)
    for offer in recalled.prompts:
        if offer.whole:
            yield from _trial(deps, offer, about)
    if deps.task.remember_prompts and verdict.best not in {offer.candidate for offer in recalled.prompts}:
        yield from _proven(deps, verdict.best, about)


def _trial(deps: Deps, offer: Offer, about: dict[str, Any]) -> Iterator[Trial]:
    """What a proven prompt of another run is worth in this one, beside the seed."""
    effect = _summary(deps, offer.candidate, deps.seed)
    if effect is not None:
        yield Trial(origin=offer.run, n=effect["n"], gain=effect["gain"], **about)


def _proven(deps: Deps, best: str, about: dict[str, Any]) -> Iterator[ProvenPrompt]:
    """The run's best prompt, where it is better than the seed on the validation examples beyond chance."""
    effect = _summary(deps, best, deps.seed)
    if effect is not None and effect["low"] > 0:
        yield ProvenPrompt(
            inputs=deps.task.inputs,
            labels=deps.task.labels,
            prompt=deps.archive.candidate(best).main,
            n=effect["n"],
            gain=effect["gain"],
            **about,
        )


def _recipes(
    deps: Deps, candidate: Candidate, advised: Mapping[str, Recipe], about: dict[str, Any]
) -> Iterator[Observation]:
    """The recipe that a candidate is, and the one that it followed as far as the seed allowed it."""
    followed = advised.get(candidate.hypothesis.partition(":")[0]) if candidate.operator == "recall" else None
    for found in dict.fromkeys(filter(None, (recipe(deps, candidate), followed))):
        yield Observation(
            kind="recipe",
            text=found.text,
            recipe=found,
            operator=candidate.operator,
            candidate=candidate.id,
            **about,
        )


def _direction(deps: Deps, candidate: Candidate, secret: Confidential, about: dict[str, Any]) -> Iterator[Observation]:
    """What an agent said it would change, unless it tells what the user's texts say."""
    if candidate.author == "code" or candidate.patch is None or recipe(deps, candidate) is not None:
        return
    label, _, said = candidate.hypothesis.partition(": ")
    text = "".join(c for c in " ".join(said.split()) if c.isprintable())[:_LONGEST]
    if text and label in get_args(FailureLabel) and not secret.holds(text):
        part = candidate.patch.sections[0]
        known = part in _PARTS or part.startswith("layout")
        yield Observation(
            kind="direction",
            text=text,
            label=label,
            section=part if known else "instructions",
            operator=candidate.operator,
            candidate=candidate.id,
            **about,
        )


def _effect(deps: Deps, candidate: Candidate) -> dict[str, Any] | None:
    """What a candidate is worth on the validation examples: a recipe beside the seed, a direction beside its parent.

    Nothing of the test examples is remembered: the next run on this data has the same, and would begin with what they
    favoured.
    """
    if not candidate.parents:
        return None
    against = deps.seed if recipe(deps, candidate) is not None else candidate.parents[0]
    return _summary(deps, candidate.id, against)


def _summary(deps: Deps, candidate: str, against: str) -> dict[str, Any] | None:
    """The effect of a candidate on the validation examples, where it answered at least the first block of a race."""
    differences = deps.archive.differences(candidate, against, deps.val)
    n = len(differences)
    if n < min(deps.preset.block, len(deps.val)):
        return None
    low, high = bootstrap_interval(differences)
    return {"n": n, "gain": sum(differences) / n, "low": max(-1.0, low), "high": min(1.0, high)}


def _earned(state: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """What each operator's steps earned in this run alone, without any prior."""
    recalled = Recalled.model_validate(state["recalled"])
    before = added({name: entry.prior for name, entry in OPERATORS.items()}, recalled.operators)
    found = {}
    for name, (won, lost) in state["operators"].items():
        prior = before.get(name, OPERATORS[name].prior)
        if won + lost > prior[0] + prior[1]:
            found[name] = (max(0.0, won - prior[0]), max(0.0, lost - prior[1]))
    return found
