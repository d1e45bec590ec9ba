"""What operators earned in earlier runs, as a prior for the bandit of the next one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from crito.memory.confidence import OTHER_MODEL, lasting
from crito.memory.record import Record
from crito.memory.signature import Name, Signature, Signatures
from crito.tools.redaction import public_name
from crito.tools.stats import BetaArm

_MOVED = 1.25
"""What earlier runs may multiply or divide an operator's odds by; by 2, a false memory cost half of the score in the
scripted world, and a true one gained nothing (docs/benchmarks.md)."""
_Steps = Annotated[float, Field(ge=0, le=1e6)]
_MOST = 6.0
"""Steps' worth that earlier runs may weigh, so that this one can overrule them."""


class OperatorUse(Record):
    """The steps of one run, by operator.

    Attributes:
        arms: (earned, not earned) of each operator that was used.
    """

    arms: dict[Name, tuple[_Steps, _Steps]]


def priors(
    uses: Sequence[OperatorUse], signature: Signature, model: str, *, now: float | None = None
) -> dict[str, BetaArm]:
    """What is to be added to each operator's prior on a task: (earned, not earned).

    Runs weigh by the square of the tasks' likeness, half with another model, and less the older they are; no operator
    gets more than 6 steps.

    Args:
        uses: Of earlier runs.
        signature: Of the task at hand.
        model: Of the task at hand.
        now: Seconds since 1970; the clock's by default.
    """
    if not uses:
        return {}
    alike = Signatures([use.signature for use in uses]).likeness(signature)
    lasts = lasting(np.array([use.seen for use in uses]), time.time() if now is None else now)
    found: dict[str, BetaArm] = {}
    for use, share in zip(uses, alike**2 * lasts, strict=True):
        weight = float(share) * (1.0 if use.model == public_name(model) else OTHER_MODEL)
        for name, (won, lost) in use.arms.items():
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + weight * won, before[1] + weight * lost)
    return {name: _held(arm) for name, arm in found.items()}


def added(base: Mapping[str, BetaArm], more: Mapping[str, BetaArm]) -> dict[str, list[float]]:
    """Priors with what earlier runs add to them, for the operators that these know.

    No operator's odds are moved by more than a quarter: a memory that is wrong must not lead a search astray for long.
    """
    return {name: _moved(base[name], earned) for name, earned in more.items() if name in base}


def _moved(prior: BetaArm, earned: BetaArm) -> list[float]:
    (won, lost), odds = prior, prior[0] / prior[1]
    won_more = min(earned[0], max(0.0, _MOVED * odds * (lost + earned[1]) - won))
    lost_more = min(earned[1], max(0.0, _MOVED / odds * (won + won_more) - lost))
    return [won + won_more, lost + lost_more]


def _held(arm: BetaArm) -> BetaArm:
    scale = min(1.0, _MOST / max(sum(arm), 1e-9))
    return arm[0] * scale, arm[1] * scale
