"""What happened in a run, read from its database: rounds, their steps, the candidates and the calls behind them.

A killed or running process leaves spans that never ended; their calls are in the trace, but in no round.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.errors import BadInput
from crito.memory.attempts import Attempt
from crito.records import Candidate, Outcome, Verdict, candidate_id
from crito.result import Result
from crito.runs import status_of
from crito.task import Task
from crito.tools.database import Database, attempts, calls, candidates, outcomes, runs, spans

_AGENT = "invoke_agent "
_PLAN = "plan planner"
_VERDICT = "execute_tool verdict"


class Call(BaseModel):
    """One paid model call.

    Attributes:
        status: ``ok``, ``failed``, or ``double`` when another run paid for the same reply at the same moment.
        span: Id of the span that it was made in; ``operation`` is that span's name, empty where it never ended.
        round: The round it belongs to; None for the verdict and for spans that never ended.
        candidate: Id of the candidate that it answered for.
        request: What was sent, defaults left out.
        cached: Input tokens that the provider read from its cache.
        usd: US dollars, or None where the price is not known.
        started: Seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)
    id: int
    role: str
    model: str
    status: str
    span: str | None
    operation: str
    round: int | None
    candidate: str | None
    request: dict[str, Any]
    reply: str | None
    error: str | None
    tokens_in: int
    tokens_out: int
    cached: int
    usd: float | None
    started: float
    seconds: float
    attempts: int

    @property
    def failed(self) -> bool:
        """Whether it ended without a reply."""
        return self.status == "failed"


class Cost(BaseModel):
    """What some calls took together; ``seconds`` adds up calls that may have run side by side."""

    model_config = ConfigDict(frozen=True)
    calls: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0


class Proposal(BaseModel):
    """One candidate and what came of it.

    Attributes:
        fate: As in :class:`crito.memory.attempts.Attempt`; ``seed`` for the seed, ``open`` while nothing is decided.
        gain: Mean paired difference against the incumbent of its round, on ``n`` examples that both answered.
        val_score: Mean over the ``val_n`` validation examples that it answered by the end of the run.
        calls: Ids of the target calls behind its outcomes.
        failed: Outcomes that ended in a failed call.
    """

    model_config = ConfigDict(frozen=True)
    candidate: Candidate
    fate: str
    reason: str = ""
    gain: float | None = None
    n: int = 0
    val_score: float | None = None
    val_n: int = 0
    failed: int = 0
    calls: tuple[int, ...] = ()
    cost: Cost = Cost()


class Said(BaseModel):
    """What an agent said in a dialogue, in short: a question, a ruling on questions, a suggestion, an answer."""

    model_config = ConfigDict(frozen=True)
    agent: str
    text: str


class Step(BaseModel):
    """One proposing worker.

    Attributes:
        operator: What it applied to ``parent``; both are empty for candidates whose worker left no span.
        author: Who chose it: ``bandit``, ``planner``, ``random``, or ``stage`` where there was no choice.
        focus: What it was told to look at, if the planner said so.
        hypotheses: What the critic found.
        dialogue: What its teacher, critic and student said, in order.
        unusable: Why an agent's reply was of no use, if one was not; begins with the agent's name.
        calls: Ids of its agents' calls.
        proposals: Candidates that it was the first to propose.
        repeated: Ids that it proposed although they were known.
    """

    model_config = ConfigDict(frozen=True)
    operator: str
    parent: str
    author: str = ""
    focus: str = ""
    hypotheses: tuple[str, ...] = ()
    dialogue: tuple[Said, ...] = ()
    unusable: str = ""
    calls: tuple[int, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    repeated: tuple[str, ...] = ()


class Round(BaseModel):
    """One round.

    Attributes:
        stage: What the round did: ``opening``, ``search``, ``compress`` or ``sweep``.
        calls: Ids of agents' calls outside of its steps: the planner's.
        costs: Everything that was paid in it, by role.
    """

    model_config = ConfigDict(frozen=True)
    number: int
    stage: str = ""
    calls: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    costs: dict[str, Cost] = {}


class Trace(BaseModel):
    """A whole run.

    Attributes:
        verdict_costs: What the final comparison took, by role.
        unplaced_costs: What was paid in steps that never ended, by role.
    """

    model_config = ConfigDict(frozen=True)
    run: str
    name: str
    model: str
    status: str
    seed: Proposal
    rounds: tuple[Round, ...]
    verdict: Verdict | None
    verdict_costs: dict[str, Cost]
    unplaced_costs: dict[str, Cost]
    calls: tuple[Call, ...]

    @property
    def failures(self) -> tuple[Call, ...]:
        """The calls that failed for good."""
        return tuple(call for call in self.calls if call.failed)


class _Span(NamedTuple):
    id: str
    parent: str | None
    name: str
    attributes: dict[str, Any]


def read_trace(database: Database, run: str) -> Trace:
    """The trace of a run, finished or not.

    Raises:
        BadInput: There is no run of that id.
    """
    found = database.read(sa.select(runs).where(runs.c.id == run))
    if not found:
        raise BadInput(f"{database.path}: there is no run {run!r}; see: crito runs")
    task = Task.model_validate_json(found[0].task)
    result = Result.model_validate_json(found[0].result) if found[0].result else None
    paid = read_calls(database, run)
    proposals = _proposals(database, run, task, paid)
    seed = proposals.pop(candidate_id(task.prompts), None) or _untried_seed(task)
    outside = [call for call in paid if call.round is None]
    return Trace(
        run=run,
        name=task.name,
        model=task.model,
        status=status_of(database, run, found[0].status),
        seed=seed,
        rounds=_rounds(_spans(database, run), proposals, paid),
        verdict=result.verdict if result else None,
        verdict_costs=by_role(call for call in outside if call.operation == _VERDICT),
        unplaced_costs=by_role(call for call in outside if call.operation != _VERDICT),
        calls=paid,
    )


def read_calls(database: Database, run: str) -> tuple[Call, ...]:
    """Every paid call of a run, in the order they began."""
    known = {span.id: span for span in _spans(database, run)}
    owners = {key: outcome.candidate for outcome in _outcomes(database, run) for key in outcome.call_keys}
    rows = database.read(sa.select(calls).where(calls.c.run == run).order_by(calls.c.started, calls.c.id))
    return tuple(
        Call(
            **{name: getattr(row, name) for name in Call.model_fields if name in calls.c and name != "request"},
            request=json.loads(row.request),
            operation=known[row.span].name if row.span in known else "",
            round=_round_of(row.span, known),
            candidate=owners.get(row.key),
        )
        for row in rows
    )


def by_role(paid: Iterable[Call]) -> dict[str, Cost]:
    """What calls cost, by role; the target first, then the agents by name."""
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in paid:
        groups[call.role].append(call)
    return {role: cost_of(groups[role]) for role in sorted(groups, key=lambda role: (role != "target", role))}


def cost_of(paid: Sequence[Call]) -> Cost:
    """What calls cost together."""
    known = [call.usd for call in paid if call.usd is not None]
    return Cost(
        calls=len(paid),
        failed=sum(call.failed for call in paid),
        tokens_in=sum(call.tokens_in for call in paid),
        tokens_out=sum(call.tokens_out for call in paid),
        cached=sum(call.cached for call in paid),
        usd=sum(known) if len(known) == len(paid) else None,
        seconds=sum(call.seconds for call in paid),
    )


def _spans(database: Database, run: str) -> list[_Span]:
    query = sa.select(spans.c.id, spans.c.parent, spans.c.name, spans.c.attributes)
    rows = database.read(query.where(spans.c.run == run).order_by(spans.c.started))
    return [_Span(row.id, row.parent, row.name, row.attributes) for row in rows]


def _outcomes(database: Database, run: str) -> list[Outcome]:
    rows = database.read(sa.select(outcomes.c.body).where(outcomes.c.run == run))
    return [Outcome.model_validate_json(row.body) for row in rows]


def _round_of(span: str | None, known: Mapping[str, _Span]) -> int | None:
    """The round that the nearest enclosing span names."""
    while span is not None and span in known:
        number = known[span].attributes.get("crito.round")
        if number is not None:
            return int(number)
        span = known[span].parent
    return None


def _proposals(database: Database, run: str, task: Task, paid: Sequence[Call]) -> dict[str, Proposal]:
    """Every candidate of the run by id, in the order they were made."""
    fates: dict[str, Attempt] = {}
    for row in database.read(sa.select(attempts.c.body).where(attempts.c.run == run)):
        attempt = Attempt.model_validate_json(row.body)
        fates[attempt.candidate] = attempt
    results: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in _outcomes(database, run):
        results[outcome.candidate].append(outcome)
    behind: dict[str | None, list[Call]] = defaultdict(list)
    for call in paid:
        behind[call.candidate].append(call)
    val = {example.id for example in task.splits.val}
    query = sa.select(candidates.c.body).where(candidates.c.run == run).order_by(sa.text("rowid"))
    made = [Candidate.model_validate_json(row.body) for row in database.read(query)]
    return {c.id: _proposal(c, fates.get(c.id), results[c.id], behind[c.id], val) for c in made}


def _proposal(
    candidate: Candidate, attempt: Attempt | None, results: Sequence[Outcome], paid: Sequence[Call], val: set[str]
) -> Proposal:
    scores = [o.score.value for o in results if o.score is not None and o.example in val]
    measured = Proposal(
        candidate=candidate,
        fate="seed" if candidate.operator == "seed" else "open",
        val_score=sum(scores) / len(scores) if scores else None,
        val_n=len(scores),
        failed=sum(o.error is not None for o in results),
        calls=tuple(call.id for call in paid),
        cost=cost_of(paid),
    )
    if attempt is None:
        return measured
    return measured.model_copy(update=attempt.model_dump(include={"fate", "reason", "gain", "n"}))


def _untried_seed(task: Task) -> Proposal:
    seed = Candidate(id=candidate_id(task.prompts), prompts=task.prompts, operator="seed", author="user")
    return Proposal(candidate=seed, fate="seed")


def _rounds(known: Sequence[_Span], proposals: Mapping[str, Proposal], paid: Sequence[Call]) -> tuple[Round, ...]:
    plans = {s.attributes["crito.round"]: s.attributes for s in known if s.name == _PLAN}
    numbers = {p.candidate.round for p in proposals.values()} | {c.round for c in paid if c.round is not None}
    found = []
    for number in sorted(numbers | set(plans)):
        mine = [call for call in paid if call.round == number]
        steps = _steps(number, known, {n: p for n, p in proposals.items() if p.candidate.round == number}, mine)
        in_steps = {call for step in steps for call in step.calls}
        plan = plans.get(number, {})
        found.append(
            Round(
                number=number,
                stage=plan.get("crito.stage", ""),
                calls=tuple(call.id for call in mine if _by_agent(call) and call.id not in in_steps),
                steps=steps,
                costs=by_role(mine),
            )
        )
    return tuple(found)


def _by_agent(call: Call) -> bool:
    return call.role not in ("target", "judge")


def _steps(
    number: int, known: Sequence[_Span], proposals: Mapping[str, Proposal], paid: Sequence[Call]
) -> tuple[Step, ...]:
    """A round's steps; each candidate stands under the first that proposed it, or under one for those of no step."""
    left = dict(proposals)
    steps = []
    for worker in known:
        named = worker.attributes.get("crito.proposed")
        if named is None or worker.attributes.get("crito.round") != number:
            continue
        new = tuple(left.pop(name) for name in dict.fromkeys(named) if name in left)
        steps.append(_step(worker, [s for s in known if s.parent == worker.id], new, paid))
    if left:
        steps.append(Step(operator="", parent="", proposals=tuple(left.values())))
    return tuple(steps)


def _step(worker: _Span, inside: Sequence[_Span], new: tuple[Proposal, ...], paid: Sequence[Call]) -> Step:
    named, firsts = worker.attributes["crito.proposed"], {p.candidate.id for p in new}
    ids = {worker.id, *(span.id for span in inside)}
    return Step(
        operator=worker.name.removeprefix(_AGENT),
        parent=worker.attributes.get("crito.parent", ""),
        author=worker.attributes.get("crito.author", ""),
        focus=worker.attributes.get("crito.focus", ""),
        hypotheses=tuple(h for span in inside for h in span.attributes.get("crito.hypotheses", ())),
        dialogue=tuple(said for span in inside for said in _said(span)),
        unusable=next((_unusable(span) for span in inside if "crito.unusable" in span.attributes), ""),
        calls=tuple(call.id for call in paid if _by_agent(call) and call.span in ids),
        proposals=new,
        repeated=tuple(name for name in named if name not in firsts),
    )


def _said(span: _Span) -> list[Said]:
    known = span.attributes
    judged = known.get("crito.ruling", ())
    texts = [*known.get("crito.questions", ()), *(f"question {n}: {ruling}" for n, ruling in enumerate(judged, 1))]
    if known.get("crito.suggestion"):
        texts.append(f"suggests: {known['crito.suggestion']}")
    if "crito.answer" in known:
        texts.append(known["crito.answer"] or "edits the prompt")
    return [Said(agent=span.name.removeprefix(_AGENT), text=text) for text in texts]


def _unusable(span: _Span) -> str:
    return f"{span.name.removeprefix(_AGENT)}: {span.attributes['crito.unusable']}"
