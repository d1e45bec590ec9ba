"""The verdict: the test split is opened, once, for the seed and the best candidate, and the result is reported."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.runtime import Runtime

from crito.errors import BudgetExhausted
from crito.graph.deps import Deps
from crito.graph.state import RunState
from crito.records import Candidate, Outcome, Verdict
from crito.task import Example
from crito.tools.stats import bootstrap_interval, paired_test

_LEVEL = 0.05
_BLOCK = 50
"""Test examples that both prompts answer before the next ones, so that a budget that ends early leaves pairs."""


async def verdict(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Compare the best candidate with the seed on the test examples that were kept back.

    Raises:
        BudgetExhausted: The time is used up before the comparison is done; it goes on when the run is resumed.
        ProviderFailure: The provider is down.
    """
    deps = runtime.context
    deps.ledger.meter.open_verdict()
    seed, best = deps.archive.candidate(deps.seed), deps.archive.candidate(state["incumbent"])
    deps.notify({"event": "verdict", "n": len(deps.test)})
    with deps.tracer.span("execute_tool", "verdict", seed=seed.id, best=best.id) as span:
        for start in range(0, len(deps.test), _BLOCK):
            block = deps.test[start : start + _BLOCK]
            try:
                await _answer(deps, (seed, best), block)
            except BudgetExhausted as error:
                if error.dimension == "seconds":
                    raise
                break  # both prompts have answered the same examples until here
        found = compare(deps, seed.id, best.id, deps.test)
        if deps.task.scoring == "calibrated":
            plain = compare(deps, seed.id, best.id, deps.test, calibrated=False)
            found = found.model_copy(update={"uncalibrated": (plain.seed_score, plain.best_score)})
        span.set_attribute("crito.decision", found.decision)
    return {"verdict": found.model_dump(mode="json")}


async def _answer(deps: Deps, pair: Sequence[Candidate], block: Sequence[Example]) -> None:
    """Both prompts on the same examples, as often as the task wants it; each time both in turn."""
    for sample in range(deps.task.repeats):
        for candidate in pair:
            await deps.evaluator.evaluate(candidate, block, sample=sample)


def compare(deps: Deps, seed: str, best: str, examples: Sequence[Example], *, calibrated: bool = True) -> Verdict:
    """The paired comparison of two candidates on examples that both have tried.

    Calibration, where the task wants it and ``calibrated`` is true, comes from the validation inputs: what is compared
    has no part in it.
    """
    divisors = {c: deps.archive.marginal(c, deps.val) if calibrated else {} for c in (seed, best)}
    scored = [deps.archive.values(c, examples, divisors=divisors[c]) for c in (seed, best)]
    pairs, seeds, bests = [], [], []
    for example, mine, theirs in zip(examples, *scored, strict=True):
        if mine is not None and theirs is not None:
            pairs.append([deps.archive.outcome(candidate, example.id) for candidate in (seed, best)])
            seeds.append(mine)
            bests.append(theirs)
    differences = [b - s for s, b in zip(seeds, bests, strict=True)]
    n = len(pairs)
    unasked = sum(any(deps.archive.outcome(c, e.id) is None for c in (seed, best)) for e in examples)
    mean = sum(differences) / n if n else 0.0
    same = seed == best
    p_value = 1.0 if same or not n else paired_test(differences)
    word, reason = decision(mean, p_value, n, same=same)
    return Verdict(
        decision=word,
        seed=seed,
        best=best,
        seed_score=sum(seeds) / n if n else 0.0,
        best_score=sum(bests) / n if n else 0.0,
        difference=mean,
        interval=(0.0, 0.0) if same or not n else bootstrap_interval(differences),
        p_value=p_value,
        noise=deps.archive.noise(best, examples),
        n=n,
        failed=len(examples) - n - unasked,
        unasked=unasked,
        tokens_per_use=(_tokens([m for m, _ in pairs if m]), _tokens([t for _, t in pairs if t])),
        usd_per_use=(_usd(deps, [m for m, _ in pairs if m]), _usd(deps, [t for _, t in pairs if t])),
        reason=reason,
    )


def decision(difference: float, p_value: float, n: int, *, same: bool) -> tuple[str, str]:
    """What the verdict says, and why.

    Args:
        difference: Mean paired difference on the test examples.
        p_value: Of the paired test.
        n: Examples that both prompts answered.
        same: Whether the best candidate is the seed itself.
    """
    if not n:
        return "kept", "no test example was answered by both prompts"
    if same:
        return "kept", "nothing beat your prompt on the validation examples"
    if difference <= 0:
        return "kept", "the best candidate was not better than your prompt on the test examples"
    if p_value < _LEVEL:
        return "improved", "better on test examples that nothing was chosen by"
    return "inconclusive", "better on the test examples, but by no more than chance can do"


def _tokens(outcomes: Sequence[Outcome]) -> float:
    used = [o.usage.tokens_in + o.usage.tokens_out for o in outcomes]
    return sum(used) / len(used) if used else 0.0


def _usd(deps: Deps, outcomes: Sequence[Outcome]) -> float | None:
    costs = [deps.ledger.cost(o.usage, deps.task.model) for o in outcomes]
    known = [c for c in costs if c is not None]
    return sum(known) / len(known) if known and len(known) == len(costs) else None
