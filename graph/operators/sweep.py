"""The joint sweep: instructions x demonstrations x template x place of what has done well (MIPROv2's idea)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.records import Candidate, child

_TOP = 5
_PLACES = ("system", "user", "each")
_PRIOR = 8.0
"""Examples' worth of doubt: a mean over few examples is pulled towards the mean of all candidates."""
_SEEDS = 2**32
"""Seeds that the estimator takes."""
_Part = TypeVar("_Part")


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """New combinations of the best candidates' parts, suggested by a tree-structured Parzen estimator (optuna).

    The estimator learns from every candidate of the run that is a combination of these parts; what it suggests is
    raced like any other candidate.
    """
    import optuna

    incumbent, count, round_number = assignment.parent, assignment.count, assignment.round
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    worth = _worth(deps)
    ranked = [deps.archive.candidate(c) for c in sorted(worth, key=lambda c: (c != incumbent.id, -worth[c]))]
    parts: dict[str, list[Any]] = {
        "instructions": _distinct((c.main.sections, c.main.words) for c in ranked),
        "demos": _distinct(c.main.demos for c in ranked),
        "template": _distinct(c.main.template for c in ranked),
        "place": list(_PLACES),
    }
    axes = {name: optuna.distributions.CategoricalDistribution(range(len(options))) for name, options in parts.items()}
    number = int(deps.rng(24, round_number, assignment.worker).integers(_SEEDS))
    sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=5, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for candidate in ranked:
        main = candidate.main
        values = ((main.sections, main.words), main.demos, main.template, main.layout.instructions)
        if all(value in options for value, options in zip(values, parts.values(), strict=True)):
            at = {name: parts[name].index(value) for name, value in zip(parts, values, strict=True)}
            study.add_trial(optuna.trial.create_trial(params=at, distributions=axes, value=worth[candidate.id]))
    found: dict[str, Candidate] = {}
    for _ in range(count * 5):
        if len(found) == count:
            break
        suggested = study.ask(axes).params
        picked = {name: options[suggested[name]] for name, options in parts.items()}
        combined = _combine(incumbent, picked, round_number)
        if combined is not None and combined.id not in worth:
            found[combined.id] = combined
    return list(found.values())


def _worth(deps: Deps) -> dict[str, float]:
    """Mean gain of each measured candidate over the seed, by id, shrunk towards the mean of all.

    A gain and not a score: races take the examples in different orders, and who answered the easy ones is no better.
    """
    ids = [candidate.id for candidate in deps.archive.candidates()]
    gains = {c: deps.archive.differences(c, deps.seed, deps.val) for c in ids}
    measured = {c: values for c, values in gains.items() if values}
    total = [value for values in measured.values() for value in values]
    centre = sum(total) / len(total)
    return {c: (sum(values) + _PRIOR * centre) / (len(values) + _PRIOR) for c, values in measured.items()}


def _distinct(values: Iterable[_Part]) -> list[_Part]:
    found: list[_Part] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found[:_TOP]


def _combine(incumbent: Candidate, picked: dict[str, Any], round_number: int) -> Candidate | None:
    main = incumbent.main
    layout = main.layout.model_copy(update={"instructions": picked["place"]})
    sections, words = picked["instructions"]
    wanted = main.model_copy(
        update={
            "sections": sections,
            "words": words,
            "demos": picked["demos"],
            "template": picked["template"],
            "layout": layout,
        }
    )
    patch = main.diff(wanted).model_copy(update={"rationale": "combine parts that did well"})
    try:
        return child(incumbent, patch, operator="sweep", round_number=round_number) if patch.edits else None
    except PatchRejected:
        return None
