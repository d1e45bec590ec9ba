"""The state of a run: what decisions are taken from. Prompts, outcomes and replies are in the run database."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict


def gather(old: dict[str, int] | None, new: dict[str, int] | None) -> dict[str, int]:
    """Reducer of what parallel workers propose, by worker: the first keeps a candidate; None empties it."""
    if new is None:
        return {}
    kept = old or {}
    first = {c: min(index, kept.get(c, index)) for c, index in {**kept, **new}.items()}
    return dict(sorted(first.items(), key=lambda item: item[1]))


def taken_by_step(old: dict[int, int] | None, new: dict[int, int] | None) -> dict[int, int]:
    """Reducer of what parallel workers took, by the index of the step; None empties it."""
    return {} if new is None else {**(old or {}), **new}


class RunState(TypedDict, total=False):
    """What a checkpoint holds.

    Attributes:
        brief: The planner's brief.
        recalled: What the run takes along from earlier ones.
        stage: Index of the preset's stage that the current round belongs to.
        stage_rounds: Rounds of this stage begun.
        round: Rounds begun; the first is round 0.
        plan: The current round's plan.
        calls: Answers that the current round may have scored; a call each, but for a judge and the like.
        proposals: What was proposed in this round: the index of its step, by candidate.
        proposing: What proposing took, in tokens of evidence and agents: by the index of the step.
        rejected: Why candidates fell out of this round, by id: (fate, reason).
        seen: Every id of earlier rounds but those that the calls did not reach for, which may come again.
        pool: Ids of the candidates that may become parents, the seed first.
        incumbent: Id of the best candidate so far.
        alive: Ids that are still in this round: screened, then repaired, then through the race.
        operators: Beta posterior of each operator that was used: [earned, not earned].
        authors: The same for who chose: bandit, planner.
        rate: The most that a step has earned, in accepted gain per token; half of it is left each round.
        spent: What had been paid when the last round ended: calls, tokens, usd. Decisions are taken from this,
            so that a resumed run decides as an undisturbed one; docs/design.md says when the live meter is asked.
        unheard: How often the agents were asked and gave nothing of use.
        stale: Rounds in a row of this stage without a new incumbent.
        hopeful: Answers of the search that were left when the incumbent, or this stage, was new.
        stopped: Why the search ended.
        verdict: The final comparison.
    """

    brief: dict[str, Any]
    recalled: dict[str, Any]
    stage: int
    stage_rounds: int
    round: int
    plan: dict[str, Any]
    calls: int
    proposals: Annotated[dict[str, int], gather]
    proposing: Annotated[dict[int, int], taken_by_step]
    rejected: dict[str, tuple[str, str]]
    seen: list[str]
    pool: list[str]
    incumbent: str
    alive: list[str]
    operators: dict[str, list[float]]
    authors: dict[str, list[float]]
    rate: float
    spent: dict[str, float]
    unheard: Annotated[int, operator.add]
    stale: int
    hopeful: int
    stopped: str
    verdict: dict[str, Any]
