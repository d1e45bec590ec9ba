"""A race: contenders answer the same examples block by block, and the ones that fall behind drop out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crito.agents.evaluator import Evaluator
from crito.graph.schedules import Schedule, block_sizes, cost, dropouts
from crito.memory.archive import Archive
from crito.records import Candidate
from crito.task import Example
from crito.tools.stats import BetaArm, thompson
from crito.tools.together import together


@dataclass(frozen=True)
class Standing:
    """How a race ended: who answered every example, and why the others dropped out."""

    finished: tuple[str, ...]
    dropped: dict[str, str]


async def race(
    evaluator: Evaluator,
    archive: Archive,
    contenders: Sequence[Candidate],
    rival: str,
    examples: Sequence[Example],
    *,
    block: int,
    alpha: float,
    schedule: Schedule = "halving",
    calls: int | None = None,
    rng: np.random.Generator | None = None,
) -> Standing:
    """Race contenders against a rival that has answered all examples.

    Between equals the order of the contenders decides. Decisions use the blocks of this race alone, so that a race
    that is run again after a crash ends as it did before.

    Args:
        evaluator: Runs the candidates.
        archive: Where the outcomes are.
        contenders: Who races.
        rival: Id of the candidate to beat.
        examples: All validation examples, in the order of the race.
        block: Examples of one block.
        alpha: Level of the paired tests.
        schedule: Who answers what; see :data:`crito.graph.schedules.Schedule`.
        calls: The most calls of the race, cached ones included; None for no limit. ``thompson`` uses them all, given
            at least as many as there are examples. ``affordable`` keeps whom they reach for, and ``halving`` equal
            contenders with what is left of them; other schedules cost at most what :func:`contenders_for` reckons with.
        rng: Random numbers of ``thompson``.

    Raises:
        BudgetExhausted: The budget ended on the way.
    """
    if schedule == "thompson":
        rng = rng or np.random.default_rng(0)
        return await _sampled(evaluator, archive, contenders, examples, block=block, calls=calls, rng=rng)
    alive = list(contenders)
    dropped: dict[str, str] = {}
    done = spent = 0
    for size in block_sizes(schedule, len(examples), block):
        await together(evaluator.evaluate(c, examples[done : done + size]) for c in alive)
        done, spent = done + size, spent + size * len(alive)
        if done == len(examples) or not alive:
            break
        scores = {c: archive.scores(c, examples[:done]) for c in [*(a.id for a in alive), rival]}
        room = None if calls is None else contenders_for(calls - spent, len(examples) - done, block, schedule)
        out = dropouts(schedule, scores, rival, alpha=alpha, room=room)
        dropped.update(out)
        alive = [c for c in alive if c.id not in out]
    return Standing(finished=tuple(c.id for c in alive), dropped=dropped)


def contenders_for(calls: int, examples: int, block: int, schedule: Schedule = "halving") -> int:
    """How many contenders a race can take for so many calls even if no test drops anybody, at least 1."""
    count = 1
    while cost(schedule, count + 1, examples, block) <= calls:
        count += 1
    return count


async def _sampled(
    evaluator: Evaluator,
    archive: Archive,
    contenders: Sequence[Candidate],
    examples: Sequence[Example],
    *,
    block: int,
    calls: int | None,
    rng: np.random.Generator,
) -> Standing:
    """Thompson sampling over blocks; enough is kept back to let one contender finish, the best within reach."""
    by_id = {c.id: c for c in contenders}
    done = dict.fromkeys(by_id, 0)
    left: float = math.inf if calls is None else calls
    while running := [c for c in done if done[c] < len(examples)]:
        arms = {c: _arm(archive, c, examples[: done[c]]) for c in running}
        rest = {c: len(examples) - done[c] for c in running}
        chosen = thompson(arms, rng)
        within_reach = [c for c in running if rest[c] <= left]
        if within_reach and len(running) == len(done) and left - block < min(rest.values()):
            chosen = max(within_reach, key=lambda c: _expected(arms[c]))
        step = examples[done[chosen] : done[chosen] + block]
        if len(step) > left:
            break
        await evaluator.evaluate(by_id[chosen], step)
        done[chosen] += len(step)
        left -= len(step)
    return Standing(
        finished=tuple(c for c in done if c not in running),
        dropped={c: f"others were drawn after its {done[c]} examples" for c in running},
    )


def _arm(archive: Archive, candidate: str, examples: Sequence[Example]) -> BetaArm:
    """(wins, losses); a graded score is so much of a win."""
    known = [s for s in archive.scores(candidate, examples) if s is not None]
    return sum(known), len(known) - sum(known)


def _expected(arm: BetaArm) -> float:
    wins, losses = arm
    return (1 + wins) / (2 + wins + losses)
