"""The last look before the verdict: the best few candidates answer training examples that none of them shows.

Who is best on a few validation examples owes part of that to luck, more so the more candidates were raced. Twice the
examples settle it better than a wider search does; the test split stays closed. Training examples are not as fresh as
validation ones (an operator may have been shown some), but all finalists answer the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.runtime import Runtime

from crito.errors import BudgetExhausted
from crito.graph.allowance import verdict_reserve
from crito.graph.deps import Deps
from crito.graph.operators.demonstrations import shown_ids
from crito.graph.state import RunState
from crito.memory.selection import costs, levels, survivors
from crito.records import Candidate
from crito.task import Example
from crito.tools.meter import Spend

_EXAMPLES = 40
"""Training examples that each finalist answers at most."""
_SHARE = 0.2
"""Share of the search's calls that the look may take."""
_FEWEST = 8
"""Examples below which the look is not worth its calls."""


async def confirm(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Take the finalist that is best on validation and fresh training examples together; of equals the incumbent."""
    deps, incumbent = runtime.context, state["incumbent"]
    finalists = finalists_of(deps, state)
    room = state["calls"] // max(1, len(finalists))
    fresh = _fresh(deps, [deps.archive.candidate(c) for c in finalists])[: min(_EXAMPLES, room)]
    if len(finalists) < 2 or len(fresh) < _FEWEST:
        return {}
    with deps.tracer.span("execute_tool", "confirm", finalists=len(finalists), examples=len(fresh)):
        try:
            for finalist in finalists:
                await deps.evaluator.evaluate(deps.archive.candidate(finalist), fresh)
        except BudgetExhausted:
            return {}  # what was found on validation examples stands
    score = levels(deps.archive, finalists, [*deps.val, *fresh])
    best = max(finalists, key=lambda c: (score[c], c == incumbent))
    if best == incumbent or not _fits_verdict(deps, incumbent, best):
        return {}
    deps.notify({"event": "best", "candidate": best, "score": deps.archive.mean(best, deps.val)})
    return {"incumbent": best}


def _fits_verdict(deps: Deps, incumbent: str, best: str) -> bool:
    """Whether the verdict on a new best fits into what is left; if it does, that much is kept back from now on."""
    kept, wanted = (_verdict_of(deps, candidate) for candidate in (incumbent, best))
    deps.ledger.meter.keep_for_verdict(wanted)
    if deps.ledger.meter.lacking() is None:
        return True
    deps.ledger.meter.keep_for_verdict(kept)
    return False


def _verdict_of(deps: Deps, candidate: str) -> Spend:
    used = sum(sum(costs(deps.archive, c, deps.val)) for c in (deps.seed, candidate))
    return verdict_reserve(deps.verdict, len(deps.test) * deps.task.repeats, used)


def confirm_calls(deps: Deps, total: int, finalists: int) -> int:
    """Target calls that are kept back for the last look at so many finalists, of all that the search may make."""
    answered = sum(example.expected is not None for example in deps.task.splits.train)
    each = min(_EXAMPLES, answered, int(_SHARE * total) // max(1, finalists))
    return finalists * each if finalists > 1 and each >= _FEWEST else 0


def finalists_of(deps: Deps, state: RunState) -> list[str]:
    """The incumbent and the next best of the pool; nobody where the preset wants no last look."""
    if deps.preset.finalists < 2:
        return []
    others = [c for c in state["pool"] if c not in (state["incumbent"], deps.seed)]
    best = survivors("top_k", deps.archive, others, deps.val, deps.preset.finalists - 1) if others else []
    return [state["incumbent"], *best]


def _fresh(deps: Deps, finalists: Sequence[Candidate]) -> list[Example]:
    """Training examples that no finalist shows or was made to mend or to keep."""
    used = {i for c in finalists for i in (*shown_ids(c), *c.mends, *c.keeps)}
    train = deps.task.splits.train
    order = deps.rng(21).permutation(len(train))
    return [train[i] for i in order if train[i].id not in used and train[i].expected is not None]
