"""Schedules: who goes on after a block of a race, and what a race costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from crito.tools.stats import best_probabilities, eliminated, halving_sizes

Schedule = Literal["full", "minibatch", "blocks", "halving", "affordable", "thompson", "best_probability"]
"""How contenders share the examples of a race.

- ``full``: everybody answers everything.
- ``minibatch``: everybody answers the first block, the best one all the rest.
- ``blocks``: who is beaten in a paired test drops out after each block (CAPO's racing).
- ``halving``: so does the lower half of those that are left.
- ``affordable``: who is beaten drops out, and of the others only who is behind and cannot be afforded.
- ``best_probability``: who is the best with less than ``EPSILON`` probability drops out after each block.
- ``thompson``: each next block goes to the contender with the best draw from its posterior, until the calls are used.
"""

Scores = Mapping[str, Sequence[float | None]]
"""Scores by candidate; position k is the same example for all, None a call that failed."""

EPSILON = 0.05
_FEWEST = 6
"""Examples below which the probability of being the best is not trusted."""
_TIED = 1.5
"""Contenders that stay, as a multiple of the places, where some are equal to the last that has a place."""
_ROUNDING = 9


def block_sizes(schedule: Schedule, examples: int, block: int) -> list[int]:
    """Examples of each block; after each but the last, somebody may drop out."""
    match schedule:
        case "full":
            return [examples] if examples else []
        case "minibatch":
            return [size for size in (min(block, examples), examples - block) if size > 0]
        case _:
            return [min(block, examples - start) for start in range(0, examples, block)]


def cost(schedule: Schedule, contenders: int, examples: int, block: int) -> int:
    """Calls of a race in which no test drops anybody.

    For ``thompson``, which takes what it is given: a block for each, and all the rest for one.
    """
    sizes = block_sizes(schedule, examples, block)
    match schedule:
        case "halving" | "affordable":
            alive = halving_sizes(contenders, len(sizes))
        case "minibatch" | "thompson":
            alive = [contenders, *[min(contenders, 1)] * (len(sizes) - 1)]
        case _:
            alive = [contenders] * len(sizes)
    return sum(size * count for size, count in zip(sizes, alive, strict=True))


def dropouts(
    schedule: Schedule, scores: Scores, rival: str, *, alpha: float, room: int | None = None
) -> dict[str, str]:
    """Who drops out after the examples that ``scores`` covers, with the reason.

    Args:
        schedule: The rule.
        scores: Scores of those that are left, in order of preference between equals, and of the rival.
        rival: Who is to be beaten; it never drops out.
        alpha: Level of the paired tests.
        room: How many may go on where contenders are equal; None for as many as the rule lets.
    """
    done = len(scores[rival])
    silent = [c for c, row in scores.items() if c != rival and not any(score is not None for score in row)]
    if silent:  # compared on what all have answered, they would leave nothing to compare the others on
        rest = {c: row for c, row in scores.items() if c not in silent}
        out = dropouts(schedule, rest, rival, alpha=alpha, room=room) if len(rest) > 1 else {}
        return {**dict.fromkeys(silent, f"answered none of {done} examples"), **out}
    match schedule:
        case "blocks":
            return _beaten(scores, rival, alpha)
        case "halving" | "affordable":
            out = _beaten(scores, rival, alpha)
            left = {c: s for c, s in scores.items() if c not in out}
            places = halving_sizes(len(left) - 1, 2)[1]
            if schedule == "affordable":
                places = max(places, len(left) - 1 if room is None else min(room, len(left) - 1))
            behind = _behind(left, rival, places, room)
            where = "in the lower half" if schedule == "halving" else "behind"
            return out | dict.fromkeys(behind, f"{where} after {done} examples")
        case "minibatch":
            return dict.fromkeys(_behind(scores, rival, 1, 1), f"not the best of the minibatch of {done} examples")
        case "best_probability":
            return _unlikely(scores, rival)
        case _:
            return {}


def _beaten(scores: Scores, rival: str, alpha: float) -> dict[str, str]:
    table = _common(scores)
    beaten = eliminated(table, keep=1, alpha=alpha) - {rival}
    return dict.fromkeys([c for c in scores if c in beaten], f"beaten after {len(scores[rival])} examples")


def _unlikely(scores: Scores, rival: str) -> dict[str, str]:
    table = _common(scores)
    if len(table[rival]) < _FEWEST:
        return {}
    chances = best_probabilities(table)
    likeliest = max(chances.values())
    reason = f"the best with less than {EPSILON:.0%} probability after {len(scores[rival])} examples"
    return {c: reason for c, p in chances.items() if p < min(EPSILON, likeliest) and c != rival}


def _behind(scores: Scores, rival: str, places: int, room: int | None) -> list[str]:
    """Who has no place. Who is equal to the last that has one stays too, up to half as many again."""
    gains = {c: _gain(s, scores[rival]) for c, s in scores.items() if c != rival}
    ranked = sorted(gains, key=lambda c: -gains[c])
    equal = sum(gains[c] == gains[ranked[places - 1]] for c in ranked[places:])
    most = int(_TIED * places) if room is None else min(room, int(_TIED * places))
    return ranked[max(places, min(places + equal, most)) :]


def _gain(mine: Sequence[float | None], theirs: Sequence[float | None]) -> float:
    """Mean paired difference where both answered; 0 where they never did."""
    paired = [a - b for a, b in zip(mine, theirs, strict=True) if a is not None and b is not None]
    return round(sum(paired) / len(paired), _ROUNDING) if paired else 0.0


def _common(scores: Scores) -> dict[str, list[float]]:
    """Scores on the examples that all of them answered."""
    answered = [all(s is not None for s in column) for column in zip(*scores.values(), strict=True)]
    return {
        c: [s for s, all_of_them in zip(row, answered, strict=True) if all_of_them and s is not None]
        for c, row in scores.items()
    }
