"""A race: candidates answer the same examples block by block, and the ones that fall behind drop out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crito.agents.evaluator import Evaluator
from crito.memory.archive import Archive
from crito.records import Candidate
from crito.task import Example
from crito.tools.stats import eliminated
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
) -> Standing:
    """Race contenders against a rival that has answered all examples.

    After each block (CAPO's blocks with successive halving): who is beaten by the rival or by a contender in a
    one-sided paired test drops out, and so does the lower half of those that are left. Ties stay in by order.
    Decisions use the blocks of this race alone.

    Args:
        evaluator: Runs the candidates.
        archive: Where the outcomes are.
        contenders: Who races.
        rival: Id of the candidate to beat.
        examples: All validation examples, in the order of the race.
        block: Examples of one block.
        alpha: Level of the paired tests.

    Raises:
        BudgetExhausted: The budget ended on the way.
    """
    alive = list(contenders)
    dropped: dict[str, str] = {}
    for start in range(0, len(examples), block):
        if not alive:
            break
        await together(evaluator.evaluate(c, examples[start : start + block]) for c in alive)
        done = examples[: start + block]
        if len(done) == len(examples):
            break
        beaten = _beaten(archive, [c.id for c in alive], rival, done, alpha)
        dropped.update(dict.fromkeys(beaten, f"beaten after {len(done)} examples"))
        alive = [c for c in alive if c.id not in beaten]
        ranked = sorted(alive, key=lambda c: -archive.gain(c.id, rival, done))
        places = max(1, -(-len(ranked) // 2))
        for candidate in ranked[places:]:
            dropped[candidate.id] = f"in the lower half after {len(done)} examples"
        alive = ranked[:places]
    return Standing(finished=tuple(c.id for c in alive), dropped=dropped)


def contenders_for(calls: int, examples: int, block: int) -> int:
    """How many contenders a race of halving blocks can take for so many calls, at least 1."""
    count = 1
    while _cost(count + 1, examples, block) <= calls:
        count += 1
    return count


def _cost(contenders: int, examples: int, block: int) -> int:
    total, alive = 0, contenders
    for start in range(0, examples, block):
        total += alive * min(block, examples - start)
        alive = max(1, -(-alive // 2))
    return total


def _beaten(
    archive: Archive, alive: Sequence[str], rival: str, done: Sequence[Example], alpha: float
) -> frozenset[str]:
    scores = {c: archive.scores(c, done) for c in [*alive, rival]}
    answered = [i for i in range(len(done)) if all(s[i] is not None for s in scores.values())]
    table = {c: [s[i] or 0.0 for i in answered] for c, s in scores.items()}
    return eliminated(table, keep=1, alpha=alpha) - {rival}
