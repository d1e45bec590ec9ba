"""Presets with one part switched off, to see what the part brings and costs."""

from __future__ import annotations

from collections.abc import Mapping

from crito.config import suggestion
from crito.errors import BadInput
from crito.graph.preset import Preset

_PARTS: Mapping[str, Mapping[str, object]] = {
    "own-outputs": {"own_outputs": False},
    "repair": {"gate": False},
    "racing": {"schedule": "full"},
    "pareto": {"parents": "top_k"},
    "taxonomy": {"taxonomy": False},
    "planner": {"planner": "bandit"},
    "bandit": {"planner": "random"},
    "demos": {"demos": False},
    "likelihood": {"likelihood": False},
    "confirmation": {"finalists": 0},
}
_OPERATORS_OF: Mapping[str, tuple[str, ...]] = {
    "demos": ("demonstrations", "spread"),
    "socratic": ("socratic",),
    "compression": ("compress",),
    "sweep": ("sweep",),
}

_READ_BY: Mapping[str, tuple[str, ...]] = {
    "demos": ("opening", "demonstrations", "spread", "critique_synthesis"),
    "own-outputs": ("opening", "demonstrations", "spread"),
    "repair": ("critique_synthesis", "socratic"),
    "taxonomy": ("critique_synthesis",),
}
"""Operators on which a setting tells; without any of them there is nothing to switch off."""


PARTS = tuple(dict.fromkeys((*_PARTS, *_OPERATORS_OF)))
"""The parts that can be switched off."""


def without(base: Preset, part: str) -> Preset:
    """A preset with one part switched off, for ablations.

    Raises:
        BadInput: There is no such part, the preset does not have it, or nothing would be left.
    """
    if part not in PARTS:
        raise BadInput(f"preset {base.name}: there is no part {part!r}{suggestion(part, PARTS)}")
    gone = _OPERATORS_OF.get(part, ())
    kept = ((stage, tuple(o for o in stage.operators if o not in gone)) for stage in base.stages)
    raced = {"schedule": None} if part == "racing" else {}
    stages = tuple(stage.model_copy(update={"operators": left, **raced}) for stage, left in kept if left)
    if not stages:
        raise BadInput(f"preset {base.name}: nothing is left of it without {part}")
    bare = base.model_copy(update={"stages": stages, **_PARTS.get(part, {})})
    unread = part in _READ_BY and not set(_READ_BY[part]) & set(base.operators)
    unchosen = part in ("planner", "bandit") and all(len(stage.operators) == 1 for stage in base.stages)
    unadvised = part == "planner" and base.planner != "advised"
    unranked = part == "pareto" and "pareto" not in base.parents
    if bare == base or unread or unchosen or unadvised or unranked:
        raise BadInput(f"preset {base.name}: has no part {part!r} to switch off; leave it out")
    return bare.model_copy(update={"name": f"{base.name}-{part}"})
