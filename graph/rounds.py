"""One round of the search: plan, propose, screen, repair, race, remember, decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from crito.errors import BudgetExhausted
from crito.graph.allowance import as_state, calls_left, verdict_reserve
from crito.graph.deps import Deps
from crito.graph.operators import demonstrations
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.racing import contenders_for, race
from crito.graph.state import RunState
from crito.memory.attempts import Attempt, Fate
from crito.prompt import Prompt
from crito.records import Brief, Candidate, Plan, Step, candidate_id
from crito.tools.diagnostics import flips
from crito.tools.guards import screen as guard
from crito.tools.stats import non_inferior
from crito.tools.together import together

_DEAF = 2
"""After so many critiques that led to no patch the agents' model is not asked again in this run: it is too weak."""
_POOL = 12
"""Candidates that may become parents at most, the best on validation."""


class WorkerState(TypedDict):
    """What one proposing worker is sent."""

    step: dict[str, object]
    index: int
    count: int
    round: int
    ask: bool


async def plan(state: RunState, runtime: Runtime[Deps]) -> Command[Literal["propose", "screen"]]:
    """Choose the round's steps and send each to a worker."""
    deps, number, stage = runtime.context, state["round"], state["stage"]
    with deps.tracer.span("plan", "planner", round=number, stage=stage) as span:
        try:
            chosen = await _steps(state, deps)
        except BudgetExhausted:
            chosen = Plan(round=number, steps=())
        span.set_attribute("crito.author", chosen.author)
    count = contenders_for(state["calls"], len(deps.val), deps.preset.block)
    share = max(1, count // max(1, len(chosen.steps)))
    update: RunState = {"plan": chosen.model_dump(mode="json"), "proposals": None, "rejected": {}, "alive": []}  # type: ignore[typeddict-item]  # None empties the list
    ask = state.get("unheard", 0) < _DEAF
    sends = [
        Send("propose", WorkerState(step=step.model_dump(), index=index, count=share, round=number, ask=ask))
        for index, step in enumerate(chosen.steps)
    ]
    deps.notify({"event": "round", "round": number, "stage": stage, "calls": state["calls"]})
    return Command(update=update, goto=sends or "screen")


async def propose(state: WorkerState, runtime: Runtime[Deps]) -> RunState:
    """Let one step's operator work on its parent."""
    deps, step = runtime.context, Step.model_validate(state["step"])
    parent = deps.archive.candidate(step.parent)
    told = {"parent": step.parent, "focus": step.focus, "reason": step.reason}
    with deps.tracer.span("invoke_agent", step.operator, round=state["round"], **told) as span:
        try:
            proposed = await _work(deps, step, parent, state)
        except BudgetExhausted:
            proposed = []
        span.set_attribute("crito.proposed", [c.id for c in proposed])
    await deps.archive.add(*proposed)
    asked = state["ask"] and step.operator == "critique_synthesis" and bool(proposed)
    useless = asked and not any(candidate.author == "rewriter" for candidate in proposed)
    return {"proposals": [c.id for c in proposed], "unheard": int(useless)}


async def screen(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Reject by code what should not cost a call."""
    deps = runtime.context
    known = [deps.archive.candidate(c) for c in state["seen"]]
    kept: list[str] = []
    rejected: dict[str, tuple[str, str]] = {}
    with deps.tracer.span("execute_tool", "screen", round=state["round"]):
        for candidate in (deps.archive.candidate(c) for c in state["proposals"]):
            if candidate.id in state["seen"]:
                continue
            parent = deps.archive.candidate(candidate.parents[0]) if candidate.parents else None
            null = candidate.operator == "null"  # measured to know what the instructions are worth, so it may have none
            reason = None if null else guard(candidate, parent, deps.task, known, deps.prompt_tokens)
            if reason is None:
                kept.append(candidate.id)
                known.append(candidate)
            else:
                rejected[candidate.id] = ("screened", reason)
    return {"rejected": rejected, "alive": kept}


async def repair(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Let through only what mends a cited failure and breaks no cited success."""
    deps = runtime.context
    with deps.tracer.span("execute_tool", "repair", round=state["round"]):
        reasons = await together(_unrepaired(deps, deps.archive.candidate(c)) for c in state["alive"])
    found = dict(zip(state["alive"], reasons, strict=True))
    failed = {c: ("no_repair", reason) for c, reason in found.items() if reason is not None}
    return {"rejected": {**state["rejected"], **failed}, "alive": [c for c in state["alive"] if c not in failed]}


async def race_round(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Race what is left against the incumbent."""
    deps = runtime.context
    room = contenders_for(state["calls"], len(deps.val), deps.preset.block)
    entered, waiting = state["alive"][:room], state["alive"][room:]
    rejected = {**state["rejected"], **dict.fromkeys(waiting, ("screened", "the round's calls do not reach for it"))}
    contenders = [deps.archive.candidate(c) for c in entered]
    with deps.tracer.span("execute_tool", "race", round=state["round"], contenders=len(contenders)) as span:
        try:
            standing = await race(
                deps.evaluator,
                deps.archive,
                contenders,
                state["incumbent"],
                deps.val,
                block=deps.preset.block,
                alpha=deps.preset.alpha,
            )
        except BudgetExhausted as error:
            out = dict.fromkeys(entered, ("eliminated", f"the race was not finished: {error}"))
            return {"alive": [], "rejected": {**rejected, **out}}
        span.set_attribute("crito.finished", list(standing.finished))
    dropped = {c: ("eliminated", reason) for c, reason in standing.dropped.items()}
    return {"alive": list(standing.finished), "rejected": {**rejected, **dropped}}


async def remember(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Accept who beat the incumbent; write down what came of every proposal."""
    deps = runtime.context
    incumbent = state["incumbent"]
    accepted = _accepted(deps, state)
    best = max(accepted, key=lambda c: deps.archive.gain(c, incumbent, deps.val), default=incumbent)
    if state["stage"] == "compress" and accepted:
        best = min(accepted, key=lambda c: tokens_per_use(deps, c))
    await deps.attempts.record(*_attempts(deps, state, accepted))
    pool = _pool(deps, [*state["pool"], *state["alive"]], best)
    deps.notify({"event": "best", "candidate": best, "score": deps.archive.mean(best, deps.val)})
    return {
        "incumbent": best,
        "pool": pool,
        "seen": [*state["seen"], *state["proposals"]],
        "operators": _learned(deps, state, accepted),
        "stale": 0 if best != incumbent else state["stale"] + 1,
        "spent": as_state(deps.ledger.meter.spent),
    }


async def decide(state: RunState, runtime: Runtime[Deps]) -> Command[Literal["plan", "verdict"]]:
    """Go on searching, change the stage, or end: no calls left, nothing left to gain, or nothing found for a while."""
    deps, preset = runtime.context, runtime.context.preset
    used = tokens_per_use(deps, deps.seed) + tokens_per_use(deps, state["incumbent"])
    reserve = verdict_reserve(deps.verdict, len(deps.test), used)
    deps.ledger.meter.keep_for_verdict(reserve)
    left = calls_left(deps.task.budget, state["spent"], reserve)
    total = left + int(state["spent"]["calls"])
    perfect = set(deps.archive.scores(state["incumbent"], deps.val)) == {1.0}
    stage = state["stage"]
    improved = state["stale"] == 0
    match stage:
        case "opening":
            following = "compress" if perfect else "sweep"
        case "search":
            go_on = not perfect and state["stale"] < preset.patience and left > preset.reserve * total
            following = "search" if go_on else "compress"
        case "compress":
            following = "compress" if improved else ("" if perfect else "sweep")
        case "sweep":  # once over what the opening found, once at the end over everything
            following = "search" if state["round"] == 1 and not perfect else ""
    if left < len(deps.val) or deps.ledger.meter.seconds_left() <= 0:
        return Command(update={"stopped": "the budget of the search is used up"}, goto="verdict")
    if not following or state["round"] >= preset.rounds:
        return Command(update={"stopped": "no further gain was found"}, goto="verdict")
    share = preset.compress if following == "compress" else preset.round
    calls = min(left, max(len(deps.val), int(share * total)))
    return Command(update={"stage": following, "round": state["round"] + 1, "calls": calls}, goto="plan")


def tokens_per_use(deps: Deps, candidate: str) -> float:
    """Mean tokens in and out of one use, over the validation examples that the candidate answered."""
    found = (deps.archive.outcome(candidate, e.id) for e in deps.val)
    used = [o.usage.tokens_in + o.usage.tokens_out for o in found if o is not None and o.score is not None]
    if any(used):
        return sum(used) / len(used)
    return float(deps.prompt_tokens(deps.archive.candidate(candidate).main))  # a program does not say what it used


async def _steps(state: RunState, deps: Deps) -> Plan:
    number, stage = state["round"], state["stage"]
    if stage != "search":
        parent = deps.seed if stage == "opening" else state["incumbent"]
        return Plan(round=number, steps=(Step(operator=stage, parent=parent, reason="the stage"),))
    rng = deps.rng(4, number)
    parents = [deps.archive.parent(state["pool"], deps.val, rng) for _ in range(deps.preset.steps)]
    return await deps.planner.plan(
        number,
        brief=Brief.model_validate(state["brief"]),
        parents=parents,
        operators={name: (a, b) for name, (a, b) in state["operators"].items()},
        attempts=deps.attempts.all(),
        rng=rng,
    )


async def _work(deps: Deps, step: Step, parent: Candidate, state: WorkerState) -> Sequence[Candidate]:
    assignment = Assignment(
        parents=(parent,),
        count=state["count"],
        round=state["round"],
        worker=state["index"],
        focus=step.focus,
        ask=state["ask"],
    )
    if step.operator == "opening":
        return [*_null(parent), *await demonstrations.opening(deps, parent, state["count"] - 1)]
    return await OPERATORS[step.operator].propose(deps, assignment)


def _null(seed: Candidate) -> list[Candidate]:
    """The null prompt: the bare input. What it reaches owes nothing to the instructions."""
    prompts = {name: Prompt(template=prompt.template) for name, prompt in seed.prompts.items()}
    if any(prompt.frozen for prompt in seed.prompts.values()) or candidate_id(prompts) == seed.id:
        return []
    null = Candidate(id=candidate_id(prompts), prompts=prompts, parents=(seed.id,), operator="null")
    patch = seed.main.diff(null.main).model_copy(update={"rationale": "the input alone, as a baseline"})
    return [null.model_copy(update={"patch": patch, "hypothesis": patch.rationale})]


async def _unrepaired(deps: Deps, candidate: Candidate) -> str | None:
    train = {e.id: e for e in deps.task.splits.train}
    shown = demonstrations.shown_ids(candidate)
    mends = [train[i] for i in candidate.mends if i not in shown]
    keeps = [train[i] for i in candidate.keeps if i not in shown]
    if not mends:
        return None
    try:
        await deps.evaluator.evaluate(candidate, [*mends, *keeps])
    except BudgetExhausted as error:
        return f"it was not tried: {error}"
    parent = candidate.parents[0]
    before = {e.id: o for e in [*mends, *keeps] if (o := deps.archive.outcome(parent, e.id))}
    after = {e.id: o for e in [*mends, *keeps] if (o := deps.archive.outcome(candidate.id, e.id))}
    change = flips(before, after)
    if change.broken:
        return f"breaks {len(change.broken)} of {len(keeps)} cases that were right"
    if not change.fixed:
        return f"mends none of the {len(mends)} cited failures"
    return None


def _accepted(deps: Deps, state: RunState) -> list[str]:
    """Winners that are better than the incumbent; when compressing, those that are cheaper and not inferior."""
    found = []
    for candidate in state["alive"]:
        differences = deps.archive.differences(candidate, state["incumbent"], deps.val)
        if not differences:
            continue
        if state["stage"] == "compress":
            cheaper = tokens_per_use(deps, candidate) < tokens_per_use(deps, state["incumbent"])
            if cheaper and non_inferior(differences, deps.preset.margin):
                found.append(candidate)
        elif sum(differences) > 0:
            found.append(candidate)
    return found


def _attempts(deps: Deps, state: RunState, accepted: Sequence[str]) -> list[Attempt]:
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
                fate=fate,
                reason=reason,
                gain=sum(differences) / len(differences) if differences else None,
                n=len(differences),
            )
        )
    return made


def _learned(deps: Deps, state: RunState, accepted: Sequence[str]) -> dict[str, list[float]]:
    """Each operator's posterior after this round: one success if any of its proposals was accepted, else a failure."""
    learned = {name: list(arm) for name, arm in state["operators"].items()}
    used = {deps.archive.candidate(c).operator for c in state["proposals"]}
    won = {deps.archive.candidate(c).operator for c in accepted}
    for step in Plan.model_validate(state["plan"]).steps:
        if step.operator in learned and step.operator not in used:
            used.add(step.operator)  # it proposed nothing of use
    for operator in used & set(learned):
        learned[operator][0 if operator in won else 1] += 1.0
    return learned


def _pool(deps: Deps, ids: Sequence[str], best: str) -> list[str]:
    unique = list(dict.fromkeys(ids))
    if len(unique) <= _POOL:
        return unique
    ranked = sorted(unique, key=lambda c: -deps.archive.gain(c, best, deps.val))
    kept = {*ranked[:_POOL], best, unique[0]}
    return [c for c in unique if c in kept]
