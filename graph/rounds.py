"""The first half of a round: plan, propose, screen, repair, race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from crito.agents.planner import Choice
from crito.errors import BudgetExhausted
from crito.graph.decisions import tokens_per_use
from crito.graph.deps import Deps
from crito.graph.operators import demonstrations
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.preset import MERGE, Stage
from crito.graph.racing import contenders_for, race
from crito.graph.state import RunState
from crito.memory.attempts import Fate
from crito.memory.recalled import Recalled
from crito.memory.selection import draw
from crito.records import Brief, Candidate, Plan, PlanAuthor, Step
from crito.tools.diagnostics import flips
from crito.tools.draws import drawing
from crito.tools.duplicates import Tried
from crito.tools.guards import screen as guard
from crito.tools.stats import BetaArm
from crito.tools.tally import tallied
from crito.tools.together import together

_DEAF = 2
"""After so many questions that led to no patch the agents' model is not asked again in this run: it is too weak."""
_LEAST = 0.1
"""Share that the planner leaves to each step of the bandit's."""
_ROUNDING = 1e-9
_DRAWS = 2**31
"""So many numbers may a worker's draw have that two of a run hardly have the same."""


class WorkerState(TypedDict):
    """What one proposing worker is sent: its step with its index, and how many candidates it may make.

    ``count`` is what the round's calls reach for; ``most``, where the stage sets it, is never exceeded. ``recalled`` is
    what the run took along from earlier ones, as far as this round is told of it.
    """

    step: dict[str, object]
    index: int
    count: int
    round: int
    ask: bool
    recalled: dict[str, Any]


async def plan(state: RunState, runtime: Runtime[Deps]) -> Command[Literal["propose", "screen"]]:
    """Choose the round's steps and send each to a worker."""
    deps, number = runtime.context, state["round"]
    stage = deps.preset.stages[state["stage"]]
    room = contenders_for(state["calls"], len(deps.val), deps.preset.block, deps.preset.schedule_of(stage))
    with deps.tracer.span("plan", "planner", round=number, stage=stage.name) as span:
        merging = _merging(deps, state, stage)
        count = min(stage.steps, room - len(merging))
        try:
            steps = await _steps(state, deps, stage, count, merging) if count else merging
        except BudgetExhausted:
            steps = merging
        chosen = Plan(round=number, steps=tuple(steps))
        span.set_attribute("crito.steps", [f"{s.author}: {s.operator} {s.reason}".strip() for s in chosen.steps])
    ask, most = _heard(state), stage.count
    recalled = Recalled.model_validate(state["recalled"]).told(number).model_dump(mode="json")
    update: RunState = {
        "plan": chosen.model_dump(mode="json"),
        "proposals": None,  # type: ignore[typeddict-item]  # None empties it
        "proposing": None,  # type: ignore[typeddict-item]
        "rejected": {},
        "alive": [],
    }
    sends = [
        Send(
            "propose",
            WorkerState(
                step=step.model_dump(),
                index=index,
                count=count,
                round=number,
                ask=ask,
                recalled=recalled,
            ),
        )
        for index, step in enumerate(chosen.steps)
        if (count := min(most or room, max(1, int(room * step.share + _ROUNDING))))
    ]
    deps.notify({"event": "round", "round": number, "stage": stage.name, "calls": state["calls"]})
    return Command(update=update, goto=sends or "screen")


async def propose(state: WorkerState, runtime: Runtime[Deps]) -> RunState:
    """Let one step's operator work on its parents."""
    deps, step = runtime.context, Step.model_validate(state["step"])
    entry = OPERATORS[step.operator]
    assignment = Assignment(
        parents=tuple(deps.archive.candidate(parent) for parent in step.parents),
        count=state["count"],
        round=state["round"],
        worker=state["index"],
        focus=step.focus,
        recalled=Recalled.model_validate(state["recalled"]),
        ask=state["ask"] or not entry.asks,
    )
    told = {"parent": step.parents[0], "focus": step.focus, "reason": step.reason, "author": step.author}
    with deps.tracer.span("invoke_agent", step.operator, round=state["round"], **told) as span:
        number = int(deps.rng(14, state["round"], state["index"]).integers(_DRAWS))
        with tallied() as tally, drawing(number):
            try:
                proposed = (await entry.propose(deps, assignment))[: state["count"]]
            except BudgetExhausted:
                proposed = []
        span.set_attribute("crito.proposed", [c.id for c in proposed])
    untried = {a.candidate for a in deps.attempts.all() if a.fate == "untried" and a.round < state["round"]}
    await deps.archive.add(*proposed, anew=untried)
    asked = entry.asks and state["ask"] and bool(proposed or entry.writes)  # nothing proposed: nobody may have asked
    useless = asked and all(candidate.author == "code" for candidate in proposed)
    index = state["index"]
    return {
        "proposals": {c.id: index for c in proposed},
        "proposing": {index: tally.tokens},
        "unheard": int(useless),
    }


async def screen(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Reject by code what should not cost a call."""
    deps = runtime.context
    seen = frozenset(state["seen"])
    known = Tried(deps.archive.candidate(c) for c in state["seen"])
    kept: list[str] = []
    rejected: dict[str, tuple[str, str]] = {}
    with deps.tracer.span("execute_tool", "screen", round=state["round"]):
        for candidate in (deps.archive.candidate(c) for c in state["proposals"]):
            if candidate.id in seen:
                continue
            parent = deps.archive.candidate(candidate.parents[0]) if candidate.parents else None
            null = candidate.operator == "null"  # measured to know what the instructions are worth, so it may have none
            reason = None if null else guard(candidate, parent, deps.task, known, deps.prompt_tokens)
            if reason is None:
                kept.append(candidate.id)
                known.add(candidate)
            else:
                rejected[candidate.id] = ("screened", reason)
    return {"rejected": rejected, "alive": kept}


async def repair(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Let through only what mends more of the cited failures than it breaks of the cited successes."""
    deps = runtime.context
    if not deps.preset.gate:
        return {"calls": _unspent(deps, state)}
    with deps.tracer.span("execute_tool", "repair", round=state["round"]):
        reasons = await together(_unrepaired(deps, deps.archive.candidate(c)) for c in state["alive"])
    found = dict(zip(state["alive"], reasons, strict=True))
    failed = {c: reason for c, reason in found.items() if reason is not None}
    return {
        "rejected": {**state["rejected"], **failed},
        "alive": [c for c in state["alive"] if c not in failed],
        "calls": _unspent(deps, state),
    }


async def race_round(state: RunState, runtime: Runtime[Deps]) -> RunState:
    """Race what is left against the incumbent."""
    deps = runtime.context
    schedule = deps.preset.schedule_of(deps.preset.stages[state["stage"]])
    room = contenders_for(state["calls"], len(deps.val), deps.preset.block, schedule)
    entered, waiting = state["alive"][:room], state["alive"][room:]
    rejected = {**state["rejected"], **dict.fromkeys(waiting, ("untried", "the round's calls do not reach for it"))}
    contenders = [deps.archive.candidate(c) for c in entered]
    # An opening races as if there were no proven prompt: few examples against it would throw out what is better.
    rival = deps.seed if state["stage"] == 0 and deps.preset.recalls else state["incumbent"]
    with deps.tracer.span("execute_tool", "race", round=state["round"], contenders=len(contenders)) as span:
        try:
            standing = await race(
                deps.evaluator,
                deps.archive,
                contenders,
                rival,
                deps.race_order(state["round"]),
                block=deps.preset.block,
                alpha=deps.preset.alpha,
                schedule=schedule,
                calls=state["calls"],
                rng=deps.rng(5, state["round"]),
            )
        except BudgetExhausted as error:
            finished = [c for c in entered if all(deps.archive.outcome(c, example.id) for example in deps.val)]
            out = {c: ("untried", f"the race was not finished: {error}") for c in entered if c not in finished}
            return {"alive": finished, "rejected": {**rejected, **out}}
        span.set_attribute("crito.finished", list(standing.finished))
    dropped = {c: ("eliminated", reason) for c, reason in standing.dropped.items()}
    return {"alive": list(standing.finished), "rejected": {**rejected, **dropped}}


def _unspent(deps: Deps, state: RunState) -> int:
    """Answers that are left to the race: agents and gate drew on the same limit.

    Fixed before the race begins, so that a race that is run again finds as many as it did at first.
    """
    return min(state["calls"], int(deps.ledger.meter.calls_left() / deps.calls_per_answer))


async def _steps(state: RunState, deps: Deps, stage: Stage, count: int, merging: Sequence[Step]) -> list[Step]:
    """Who works on what after ``merging``, in so many steps: nobody is asked for what could not race."""
    number = state["round"]
    rng = deps.rng(4, number)
    usable, brief = _usable(state, deps, stage), Brief.model_validate(state["brief"])
    if len(usable) == 1 or deps.preset.planner == "random":  # there is nothing to choose, or chance is to
        author: PlanAuthor = "stage" if len(usable) == 1 else "random"
        names = [str(rng.choice(list(usable))) for _ in range(count)]
        choices = [Choice(operator=name, author=author) for name in names]
    else:
        choices = await deps.planner.choose(
            count,
            operators=usable,
            about={name: OPERATORS[name].about for name in usable},
            authors={name: (won, lost) for name, (won, lost) in state["authors"].items()},
            attempts=deps.attempts.all(),
            parents={c: _told(deps, c) for c in state["pool"]},
            brief=brief,
            advised=deps.preset.planner == "advised" and _heard(state) and brief.author == "planner",
            rng=rng,
        )
    chosen = [
        Step(**choice.model_dump(exclude={"parent", "share"}), parents=_parents(deps, state, choice, rng, turn))
        for turn, choice in enumerate(choices, start=number)
    ]
    shares = _shared([*(0.0 for _ in merging), *(choice.share for choice in choices)])
    steps = zip([*merging, *chosen], shares, strict=True)
    return [step.model_copy(update={"share": share}) for step, share in steps]


def _shared(named: Sequence[float]) -> list[float]:
    """Shares of a round's steps: what a plan names, 0 for none, as far as the others keep some; they share the rest."""
    even, total = named.count(0.0), sum(named)
    most = max(0.0, 1.0 - _LEAST * even)
    scale = most / total if total and (total > most or not even) else 1.0
    rest = (1.0 - total * scale) / max(1, even)
    return [share * scale if share else rest for share in named]


def _told(deps: Deps, candidate: str) -> str:
    """What the planner is told of a candidate."""
    operator, score = deps.archive.candidate(candidate).operator, deps.archive.mean(candidate, deps.val)
    return f"made by {operator}, score {score:.2f}, {tokens_per_use(deps, candidate):.0f} tokens a use"


def _merging(deps: Deps, state: RunState, stage: Stage) -> list[Step]:
    """A step that joins the incumbent with the next best winner of the last round: their gains may well add up."""
    best, last = state["incumbent"], state["round"] - 1
    won = [a for a in deps.attempts.all() if a.round == last and a.fate == "accepted" and a.candidate != best]
    if MERGE not in stage.operators or not won or deps.archive.candidate(best).round != last:
        return []
    other = max(won, key=lambda attempt: (attempt.gain or 0.0, attempt.candidate)).candidate
    reason = "two candidates won the last round"
    return [Step(operator=MERGE, parents=(best, other), author="stage", reason=reason)]


def _usable(state: RunState, deps: Deps, stage: Stage) -> Mapping[str, BetaArm]:
    """Posterior of each of the stage's operators that have what they need: parents, and a model that can write."""
    capable = _heard(state) and (deps.preset.agents or Brief.model_validate(state["brief"]).author == "planner")
    entries = {name: OPERATORS[name] for name in stage.operators if OPERATORS[name].parents <= len(state["pool"])}
    answered = deps.task.answered
    served = [n for n, entry in entries.items() if (capable or not entry.writes) and (answered or not entry.answers)]
    names = served or list(stage.operators)
    found = {}
    for name in names:
        won, lost = state["operators"].get(name, OPERATORS[name].prior)
        found[name] = (won, lost)
    return found


def _parents(deps: Deps, state: RunState, choice: Choice, rng: np.random.Generator, turn: int) -> tuple[str, ...]:
    """Parents drawn as the preset says, the planned one first; operators of the incumbent alone get that."""
    entry = OPERATORS[choice.operator]
    if entry.incumbent:
        return (state["incumbent"],)
    drawn = draw(deps.preset.parents, deps.archive, state["pool"], deps.val, count=entry.parents, rng=rng, turn=turn)
    return tuple(dict.fromkeys((choice.parent, *drawn) if choice.parent else drawn))[: entry.parents]


def _heard(state: RunState) -> bool:
    """Whether the agents' model may be asked: it has given something of use lately."""
    return state.get("unheard", 0) < _DEAF


async def _unrepaired(deps: Deps, candidate: Candidate) -> tuple[Fate, str] | None:
    train = {e.id: e for e in deps.task.splits.train}
    shown = demonstrations.shown_ids(candidate)
    mends = [train[i] for i in candidate.mends if i not in shown]
    keeps = [train[i] for i in candidate.keeps if i not in shown]
    if not mends:
        return None
    try:
        await deps.evaluator.evaluate(candidate, [*mends, *keeps])
    except BudgetExhausted as error:
        return "untried", f"the cited cases were not all asked: {error}"
    parent = candidate.parents[0]
    before = {e.id: o for e in [*mends, *keeps] if (o := deps.archive.outcome(parent, e.id))}
    after = {e.id: o for e in [*mends, *keeps] if (o := deps.archive.outcome(candidate.id, e.id))}
    change = flips(before, after)
    if not change.fixed:
        return "no_repair", f"mends none of the {len(mends)} cited failures"
    if len(change.broken) >= len(change.fixed):
        mended, broken = len(change.fixed), len(change.broken)
        return "no_repair", f"mends {mended} of the {len(mends)} cited failures, breaks {broken} right cases"
    return None
