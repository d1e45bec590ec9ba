"""Selection: which candidates of a pool are worked on next, and which stay in it.

All kinds share one picture: a pool of ids, oldest first, over the archive's outcomes on the same examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from crito.memory.archive import Archive
from crito.records import Candidate
from crito.task import Example

_ELITE = 0.5
"""How often ``elite_pareto`` draws the best: gains add up on one lineage; the rest of the front keeps others open."""
Kind = Literal[
    "incumbent", "top_k", "beam", "population", "member", "instance_pareto", "elite_pareto", "objective_pareto"
]
"""How a pool is kept, and how parents are drawn from it.

========================  ===========================================  =====================================
kind                      who stays                                    who is drawn
========================  ===========================================  =====================================
``incumbent``             the best                                     the best
``top_k``, ``beam``       the best of old and new together             anyone, evenly
``population``            the same (N + N, keep N: EvoPrompt's GA)     by roulette: in proportion to its score
``member``                each, until its own child is better          each in turn, with anyone (EvoPrompt's DE)
``instance_pareto``       who leads on some example, then the best     by the number of examples led (GEPA)
``elite_pareto``          the same                                     the best in half the draws, else the same
``objective_pareto``      who is not dominated, then the best          anyone who is not dominated, evenly
========================  ===========================================  =====================================

The objectives are score (up), tokens in and tokens out (down).
"""


def draw(
    kind: Kind,
    archive: Archive,
    pool: Sequence[str],
    examples: Sequence[Example],
    *,
    count: int,
    rng: np.random.Generator,
    turn: int = 0,
) -> tuple[str, ...]:
    """Up to ``count`` different parents, one after the other; fewer only where the pool has fewer.

    Each later parent is drawn as the first is, from the others; after a ``member`` whose turn it is, anyone is.

    Args:
        kind: How to draw; see :data:`Kind`.
        archive: Where the outcomes are.
        pool: Who may be drawn.
        examples: What scores are compared on.
        count: How many parents.
        rng: Random numbers.
        turn: Number of this draw; as many in a row as the pool has members use each of them once.
    """
    drawn: list[str] = [pool[turn % len(pool)]] if kind == "member" and pool else []
    while len(drawn) < min(count, len(pool)):
        drawn.append(_parent(kind, archive, [c for c in pool if c not in drawn], examples, rng))
    return tuple(drawn)


def survivors(
    kind: Kind,
    archive: Archive,
    pool: Sequence[str],
    examples: Sequence[Example],
    size: int,
    *,
    gamma: float = 0.0,
    reference: float = 1.0,
    decay: float = 0.0,
) -> list[str]:
    """Who stays in a pool of old and new candidates, oldest first.

    Args:
        kind: How to keep; see :data:`Kind`.
        archive: Where the outcomes are.
        pool: Old and new candidates, oldest first; repeated ids count once.
        examples: What they are compared on.
        size: How many may stay; ``incumbent`` keeps one.
        gamma: Length price, see :func:`priced`; 0 lets length decide between equal scores alone.
        reference: Tokens in of one use at which the whole price is due, such as the seed's.
        decay: The other length price, see :func:`decayed`; at most one of the two.
    """
    pool = list(dict.fromkeys(pool))
    score = levels(archive, pool, examples)
    cost = {c: costs(archive, c, examples) for c in pool}
    worth = {c: priced(score[c], cost[c][0], reference, gamma) for c in pool}
    if decay:
        worth = {c: decayed(score[c], words(archive.candidate(c)), decay) for c in pool}
    best = sorted(pool, key=lambda c: (-worth[c], sum(cost[c])))
    match kind:
        case "member":
            first: Sequence[str] = _replaced(archive, pool, worth, size)
        case "instance_pareto" | "elite_pareto":
            first = list(archive.front(pool, examples))
        case "objective_pareto":
            front = non_dominated({c: (score[c], *cost[c]) for c in pool})
            first = [c for c in best if c in front]
        case _:
            first = best
    kept = list(dict.fromkeys([*first, *best]))[: 1 if kind == "incumbent" else size]
    return [c for c in pool if c in kept]


def levels(archive: Archive, pool: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """Mean score of each, 0 for who answered nothing.

    A failed call counts as the mean of the others on that example, so that it is no help to fail on the hard ones.
    """
    table = {c: archive.scores(c, examples) for c in pool}
    known = [[s for s in column if s is not None] for column in zip(*table.values(), strict=True)]
    usual = [sum(column) / len(column) if column else None for column in known]
    found = {}
    for candidate, scores in table.items():
        filled = [s if s is not None else u for s, u in zip(scores, usual, strict=True) if u is not None]
        answered = any(s is not None for s in scores)
        found[candidate] = sum(filled) / len(filled) if answered else 0.0
    return found


def costs(archive: Archive, candidate: str, examples: Sequence[Example]) -> tuple[float, float]:
    """Mean tokens (in, out) of one use, over the examples that were answered; 0 where nobody counted them."""
    found = [archive.outcome(candidate, example.id) for example in examples]
    used = [o.usage for o in found if o is not None and o.score is not None]
    n = max(len(used), 1)
    return sum(u.tokens_in for u in used) / n, sum(u.tokens_out for u in used) / n


def non_dominated(objectives: Mapping[str, tuple[float, float, float]]) -> frozenset[str]:
    """Objective-level Pareto front over (score, tokens in, tokens out); of equals all are in it."""
    as_losses = {c: (-score, *tokens) for c, (score, *tokens) in objectives.items()}
    return frozenset(
        mine
        for mine, losses in as_losses.items()
        if not any(
            other != losses and all(b <= a for a, b in zip(losses, other, strict=True)) for other in as_losses.values()
        )
    )


def priced(score: float, tokens: float, reference: float, gamma: float) -> float:
    """Score less a price for length: score - gamma * tokens / reference (CAPO)."""
    return score - gamma * tokens / reference


def decayed(score: float, words: int, decay: float) -> float:
    """Score that fades with length: score * exp(-decay * words) (Promptomatix, where decay is .005)."""
    return score * math.exp(-decay * words)


def words(candidate: Candidate) -> int:
    """Words of a candidate's instructions, parted at blanks, as Promptomatix counts them.

    Demonstrations and the template are no instructions, and cost nothing here.
    """
    return sum(len(prompt.instructions().split()) for prompt in candidate.prompts.values())


def _replaced(archive: Archive, pool: Sequence[str], worth: Mapping[str, float], size: int) -> list[str]:
    """The first ``size``, each but where a child of its own is worth more: the best one then has its place."""
    place = {member: member for member in pool[:size]}
    for child in pool[size:]:
        parent = next(iter(archive.candidate(child).parents), "")
        if parent in place and worth[child] > worth[place[parent]]:
            place[parent] = child
    return list(place.values())


def _parent(
    kind: Kind, archive: Archive, pool: Sequence[str], examples: Sequence[Example], rng: np.random.Generator
) -> str:
    match kind:
        case "incumbent":
            return survivors(kind, archive, pool, examples, 1)[0]
        case "elite_pareto":
            elite = rng.random() < _ELITE
            return _parent("incumbent" if elite else "instance_pareto", archive, pool, examples, rng)
        case "top_k" | "beam" | "member":
            return str(rng.choice(list(pool)))
        case "population":
            weights = np.array(list(levels(archive, pool, examples).values()))
            chances = weights / weights.sum() if weights.any() else None
            return str(rng.choice(list(pool), p=chances))
        case "instance_pareto":
            return archive.parent(pool, examples, rng)
        case "objective_pareto":
            score = levels(archive, pool, examples)
            front = non_dominated({c: (score[c], *costs(archive, c, examples)) for c in pool})
            return str(rng.choice([c for c in pool if c in front]))
