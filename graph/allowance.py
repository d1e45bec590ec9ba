"""How many answers the search may still have scored, from what the state says was spent."""

from __future__ import annotations

from collections.abc import Mapping

from crito.task import Budget
from crito.tools.meter import Spend

_MARGIN = 1.15
"""Test examples may be longer than validation examples."""


def answers_left(
    budget: Budget, spent: Mapping[str, float], verdict: Spend, *, each: float = 1.0, most: int | None = None
) -> int:
    """Answers that fit into every limit, with tokens and dollars turned into calls at the run's own mean rate.

    No call is reckoned cheaper than the verdict's: before the first race only the seed has answered, and contenders
    with demonstrations take several times as much.

    Args:
        budget: The user's limits; one of calls, tokens and usd that the models count against is set.
        spent: Calls, tokens and usd paid when the last round ended.
        verdict: What is kept back.
        each: Calls that one answer takes.
        most: Calls of the whole search, where the preset has a limit of its own.
    """
    calls = max(spent["calls"], 1.0)
    left = [] if most is None else [most - spent["calls"]]
    for name in ("calls", "tokens", "usd"):
        limit = getattr(budget, name)
        if limit is not None:
            planned = getattr(verdict, name) / max(verdict.calls, 1)
            rate = 1.0 if name == "calls" else max(spent[name] / calls, planned)
            free = limit - spent[name] - getattr(verdict, name)
            left.append(free / rate if rate > 0 else float("inf"))
    return max(0, int(min(left, default=0) / each))


def verdict_reserve(planned: Spend, answers: int, tokens_per_use: float) -> Spend:
    """What the verdict needs, now that the use of both prompts is known.

    Args:
        planned: What was kept back before anything was measured, and is kept at least; dollars follow the tokens.
        answers: Of each prompt: test examples times repeats.
        tokens_per_use: Mean tokens of one use of the seed and one of the best candidate, together.
    """
    tokens = max(planned.tokens, int(answers * tokens_per_use * _MARGIN))
    usd = planned.usd * tokens / planned.tokens if planned.tokens else planned.usd
    return Spend(planned.calls, tokens, usd)


def as_state(spend: Spend) -> dict[str, float]:
    """A spend as plain numbers, for the state."""
    return {"calls": spend.calls, "tokens": spend.tokens, "usd": spend.usd}
