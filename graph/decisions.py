"""The second half of a round: remember what came of it, and decide how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from crito.errors import BudgetExhausted
from crito.graph.acceptance import better, cheaper
from crito.graph.allowance import answers_left, as_state, verdict_reserve
from crito.graph.confirm import confirm_calls, finalists_of
from crito.graph.deps import Deps
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.preset import Stage
from crito.graph.state import RunState
from crito.memory.attempts import Attempt, Fate
from crito.memory.selection import costs, survivors
from crito.records import Plan

_FADING = 0.5
"""What is left, a round later, of the most that a step has earned."""


async def remember(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Accept who beat the incumbent; write down what came of every proposal."""
    deps = runtime.context
    incumbent = state["incumbent"]
    stage = deps.preset.stages[state["stage"]]
    await _answer_again(deps, state)
    accepted = _accepted(deps, state, stage)
    best = max(accepted, key=lambda c: deps.archive.gain(c, incumbent, deps.val), default=incumbent)
    if stage.accept == "cheaper" and accepted:
        best = min(accepted, key=lambda c: tokens_per_use(deps, c))
    await deps.attempts.record(*_attempts(deps, state, accepted, best))
    pool = survivors(
        deps.preset.parents,
        deps.archive,
        [*state["pool"], *state["alive"]],
        deps.val,
        deps.preset.pool,
        gamma=deps.preset.length_price,
        decay=deps.preset.length_decay,
        reference=max(1.0, costs(deps.archive, deps.seed, deps.val)[0]),
    )
    deps.notify({"event": "best", "candidate": best, "score": deps.archive.mean(best, deps.val)})
    return {
        "incumbent": best,
        "pool": list(dict.fromkeys([*pool, best])),
        "seen": [*state["seen"], *(c for c in state["proposals"] if _fate(state, c) != "untried")],
        **_learned(deps, state, accepted),
        "unheard": _unheard(deps, state),
        "stale": 0 if best != incumbent else state["stale"] + 1,
        "spent": as_state(deps.ledger.meter.spent),
    }


async def decide(state: RunState, runtime: Runtime[Deps]) -> Command[Literal["plan", "confirm"]]:
    """Go on, change the stage, or end: no calls left, nothing left to gain, or nothing found for a while."""
    deps = runtime.context
    used = tokens_per_use(deps, deps.seed) + tokens_per_use(deps, state["incumbent"])
    reserve = verdict_reserve(deps.verdict, len(deps.test) * deps.task.repeats, used)
    deps.ledger.meter.keep_for_verdict(reserve)
    each = deps.calls_per_answer
    free = answers_left(deps.task.budget, state["spent"], reserve, each=each, most=deps.preset.calls)
    total = free + int(state["spent"]["calls"] / each)
    left = free - confirm_calls(deps, total, len(finalists_of(deps, state)))
    end: RunState = {"calls": free}
    if left < len(deps.val) or deps.ledger.meter.seconds_left() <= 0:
        return Command(update={**end, "stopped": "the budget of the search is used up"}, goto="confirm")
    hopeful = state["hopeful"] if state["stale"] else free
    following = _following(deps, state, left, total, hopeful - free)
    if following is None:
        return Command(update={**end, "stopped": "no further gain was found"}, goto="confirm")
    calls = min(left, max(len(deps.val), int(deps.preset.stages[following].share * total)))
    update: RunState = {
        "round": state["round"] + 1,
        "calls": calls,
        "stage_rounds": state["stage_rounds"] + 1,
        "hopeful": hopeful,
    }
    if following != state["stage"]:
        update = {**update, "stage": following, "stage_rounds": 1, "stale": 0, "hopeful": free}
    return Command(update=update, goto="plan")


def _unheard(deps: Deps, state: RunState) -> int:
    """What is added to the count of questions that led to nothing: all is forgiven once something came of one.

    What was there before, or was refused by a guard, is nothing.
    """
    written = [c for c in state["proposals"] if deps.archive.candidate(c).author != "code"]
    if any(c not in state["seen"] and _fate(state, c) != "screened" for c in written):
        return -state.get("unheard", 0)
    return 1 if written else 0


def _fate(state: RunState, candidate: str) -> str:
    """Why a candidate fell out of this round; empty for one that did not."""
    return state["rejected"].get(candidate, ("", ""))[0]


def _following(deps: Deps, state: RunState, left: int, total: int, waited: int) -> int | None:
    """Index of the stage of the next round: this one, a later one, or None at the end.

    ``waited``: calls that went by since the incumbent was new.

    Once every validation example is right, only stages that make the prompt cheaper are left to do.
    """
    stages = deps.preset.stages
    now = stages[state["stage"]]
    perfect = set(deps.archive.values(state["incumbent"], deps.val)) == {1.0}
    wanted = [i for i, stage in enumerate(stages) if not perfect or stage.accept == "cheaper"]
    advice = state["stage_rounds"] == 0  # of earlier runs: whatever came of it, the rest of the opening follows
    hope = advice or state["stale"] < now.patience or waited < now.persistence * total
    reserve = now.reserve if now is not stages[-1] else 0.0
    more = state["stage_rounds"] < now.rounds and hope and left > reserve * total
    if more and state["stage"] in wanted:
        return state["stage"]
    return next((i for i in wanted if i > state["stage"]), None)


def tokens_per_use(deps: Deps, candidate: str) -> float:
    """Mean tokens in and out of one use, over the validation examples that the candidate answered."""
    found = (deps.archive.outcome(candidate, e.id) for e in deps.val)
    used = [o.usage.tokens_in + o.usage.tokens_out for o in found if o is not None and o.score is not None]
    if any(used):
        return sum(used) / len(used)
    return float(deps.prompt_tokens(deps.archive.candidate(candidate).main))  # a program does not say what it used


async def _answer_again(deps: Deps, state: RunState) -> None:
    """Where answers waver, the incumbent and who is ahead of it answer once more: who won by luck loses it again.

    Who is ahead is told from first answers alone, so that a round that is run again after a crash asks the same.
    """
    if deps.task.repeats < 2:
        return
    first = {c: _first_scores(deps, c) for c in (state["incumbent"], *state["alive"])}
    mine = first[state["incumbent"]]
    ahead = [c for c in state["alive"] if better([s - mine[e] for e, s in first[c].items() if e in mine])]
    try:
        for candidate in (state["incumbent"], *ahead) if ahead else ():
            await deps.evaluator.evaluate(deps.archive.candidate(candidate), deps.val, sample=1)
    except BudgetExhausted:
        return  # the first answers stand, with as much noise as is known


def _first_scores(deps: Deps, candidate: str) -> dict[str, float]:
    found = (deps.archive.outcome(candidate, example.id) for example in deps.val)
    return {outcome.example: outcome.score.value for outcome in found if outcome and outcome.score}


def _wavering(deps: Deps, candidate: str) -> float:
    """Variance of a candidate's mean score on one example that its repeated answers show; 0 where it was asked once."""
    answers = [len(row) for row in deps.archive.repeats(candidate, deps.val) if row]
    return (deps.archive.noise(candidate, deps.val) or 0.0) / mean(answers or [1])


def _accepted(deps: Deps, state: RunState, stage: Stage) -> list[str]:
    """Winners that are better than the incumbent, or cheaper and not inferior, as the stage wants it."""
    found = []
    for candidate in state["alive"]:
        differences = deps.archive.differences(candidate, state["incumbent"], deps.val)
        if stage.accept == "cheaper":
            saved = tokens_per_use(deps, state["incumbent"]) - tokens_per_use(deps, candidate)
            accepted = cheaper(differences, saved, deps.preset.margin)
        else:
            wavering = sum(_wavering(deps, c) for c in (candidate, state["incumbent"]))
            accepted = better(differences, noise=wavering, alpha=deps.preset.alpha)
        if accepted:
            found.append(candidate)
    return found


def _attempts(deps: Deps, state: RunState, accepted: Sequence[str], best: str) -> list[Attempt]:
    made = []
    for candidate in (deps.archive.candidate(c) for c in state["proposals"]):
        if candidate.id in state["seen"]:
            continue
        fate: Fate = "accepted" if candidate.id in accepted else "not_better"
        reason = ""
        if candidate.id in state["rejected"]:
            fate, reason = state["rejected"][candidate.id]  # type: ignore[assignment]  # written by this module alone
        differences = deps.archive.differences(candidate.id, state["incumbent"], deps.val)
        made.append(
            Attempt(
                candidate=candidate.id,
                parent=candidate.parents[0] if candidate.parents else None,
                round=state["round"],
                operator=candidate.operator,
                author=candidate.author,
                hypothesis=candidate.hypothesis,
                sections=candidate.patch.sections if candidate.patch else (),
                fate=fate,
                reason=reason,
                gain=sum(differences) / len(differences) if differences else None,
                n=len(differences),
                incumbent=candidate.id == best,
            )
        )
    return made


def _learned(deps: Deps, state: RunState, accepted: Sequence[str]) -> RunState:
    """Posteriors of operators and authors after this round.

    A step earns the best accepted gain of its candidates per token that they and the step itself took, as a share of
    the most that any step has earned, which fades from round to round: gains get harder, and what the first round
    found cheaply is no measure of the tenth. Shares update a Beta posterior like coin flips with that mean (Agrawal &
    Goyal 2012).
    """
    plan = Plan.model_validate(state["plan"])
    earned = [_earned(deps, state, index, accepted) for index in range(len(plan.steps))]
    rate = max([state["rate"] * _FADING, *earned])
    operators = {name: list(arm) for name, arm in state["operators"].items()}
    authors = {name: list(arm) for name, arm in state["authors"].items()}
    for step, value in zip(plan.steps, earned, strict=True):
        share = value / rate if rate > 0 else 0.0
        for arms, name, prior in (
            (operators, step.operator, OPERATORS[step.operator].prior),
            (authors, step.author, (0.0, 0.0)),
        ):
            won, lost = arms.get(name, prior)
            arms[name] = [won + share, lost + 1 - share]
    return {"operators": operators, "authors": authors, "rate": rate}


def _earned(deps: Deps, state: RunState, step: int, accepted: Sequence[str]) -> float:
    """Gain per token of one step of this round: evidence, agents, gate and race together."""
    made = [c for c, index in state["proposals"].items() if index == step and c not in state["seen"]]
    gains = [deps.archive.gain(c, state["incumbent"], deps.val) for c in made if c in accepted]
    raced = [(c, example.id) for c in made for example in deps.val]
    gated = [(c, i) for c in made for i in _cited(deps, c)]
    found = (deps.archive.outcome(candidate, example) for candidate, example in [*raced, *gated])
    answers = sum(o.usage.tokens_in + o.usage.tokens_out for o in found if o is not None)
    return max([0.0, *gains]) / max(answers + state["proposing"].get(step, 0), 1)


def _cited(deps: Deps, candidate: str) -> tuple[str, ...]:
    """Training examples on which a candidate had to prove itself before its race."""
    made = deps.archive.candidate(candidate)
    return (*made.mends, *made.keeps)
