"""The state of a run: ids, counters and scores only; texts and outcomes are in the run database."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, TypedDict

Stage = Literal["opening", "search", "compress", "sweep"]


def gather(old: list[str] | None, new: list[str] | None) -> list[str]:
    """Reducer of ids from parallel workers: adds what is new, in order; None empties the list."""
    if new is None:
        return []
    known = old or []
    return known + [item for item in dict.fromkeys(new) if item not in known]


class RunState(TypedDict, total=False):
    """What a checkpoint holds.

    Attributes:
        brief: The planner's brief.
        stage: What the current round does.
        round: Rounds begun; the opening is round 0.
        plan: The current round's plan.
        calls: Target calls that the current round may make.
        proposals: Ids proposed in this round.
        rejected: Why candidates fell out of this round, by id: (fate, reason).
        seen: Every id proposed in earlier rounds.
        pool: Ids of the candidates that may become parents, the seed first.
        incumbent: Id of the best candidate so far.
        alive: Ids that are still in this round: screened, then repaired, then through the race.
        operators: Beta posterior of each operator: [accepted, not accepted].
        spent: What had been paid when the last round ended: calls, tokens, usd. Decisions are taken from this and
            never from the live meter, so that a resumed run decides as an undisturbed one.
        unheard: How often the critic and the rewriter were asked and gave nothing of use.
        stale: Rounds in a row without a new incumbent.
        stopped: Why the search ended.
        verdict: The final comparison.
    """

    brief: dict[str, Any]
    stage: Stage
    round: int
    plan: dict[str, Any]
    calls: int
    proposals: Annotated[list[str], gather]
    rejected: dict[str, tuple[str, str]]
    seen: list[str]
    pool: list[str]
    incumbent: str
    alive: list[str]
    operators: dict[str, list[float]]
    spent: dict[str, float]
    unheard: Annotated[int, operator.add]
    stale: int
    stopped: str
    verdict: dict[str, Any]
