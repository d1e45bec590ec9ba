"""What happened in a run, read from its database: rounds, their steps, the candidates and the calls behind them.

A killed or running process leaves spans that never ended; their calls are in the trace, but in no round.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.calls import Call, Cost, Span, by_role, cost_of, read_calls, read_outcomes, read_spans
from crito.memory.attempts import Attempt, Attempts
from crito.memory.clusters import Cluster, Moment, followed
from crito.records import Candidate, Outcome, Verdict, candidate_id
from crito.result import Result
from crito.runs import row_of, status_of
from crito.task import Task
from crito.tools.database import Database, candidates
from crito.tools.likelihood import as_scored

_AGENT = "invoke_agent "
_PLAN = "plan planner"
_VERDICT = "execute_tool verdict"


class Proposal(BaseModel):
    """One candidate and what came of it.

    Attributes:
        fate: As in :class:`crito.memory.attempts.Attempt`; ``seed`` for the seed, ``open`` while nothing is decided.
        gain: Mean paired difference against the incumbent of its round, on ``n`` examples that both answered.
        val_score: Mean over the ``val_n`` validation examples that it answered by the end of the run, calibrated on
            them where the task wants it.
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
        reason: Why, in the words of who chose it.
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
    reason: str = ""
    hypotheses: tuple[str, ...] = ()
    dialogue: tuple[Said, ...] = ()
    unusable: str = ""
    calls: tuple[int, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    repeated: tuple[str, ...] = ()


class Round(BaseModel):
    """One round.

    Attributes:
        stage: What the round did: ``opening``, ``search`` or ``compress``.
        calls: Ids of agents' calls outside of its steps: the planner's.
        costs: Everything that was paid in it, by role.
        clusters: What became of the failures on validation examples, where the round brought a new incumbent.
    """

    model_config = ConfigDict(frozen=True)
    number: int
    stage: str = ""
    calls: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    costs: dict[str, Cost] = {}
    clusters: tuple[Cluster, ...] = ()


class Trace(BaseModel):
    """A whole run.

    Attributes:
        preset: Name of the settings of its search.
        clusters: The seed's failures on validation examples.
        verdict_costs: What the final comparison took, by role.
        unplaced_costs: What was paid in steps that never ended, by role.
    """

    model_config = ConfigDict(frozen=True)
    run: str
    name: str
    model: str
    preset: str
    status: str
    seed: Proposal
    clusters: tuple[Cluster, ...] = ()
    rounds: tuple[Round, ...]
    verdict: Verdict | None
    verdict_costs: dict[str, Cost]
    unplaced_costs: dict[str, Cost]
    calls: tuple[Call, ...]

    @property
    def failures(self) -> tuple[Call, ...]:
        """The calls that failed for good."""
        return tuple(call for call in self.calls if call.failed)


def read_trace(database: Database, run: str) -> Trace:
    """The trace of a run, finished or not.

    Raises:
        BadInput: There is no run of that id.
    """
    row = row_of(database, run)
    task = Task.model_validate_json(row.task)
    result = Result.model_validate_json(row.result) if row.result else None
    paid = read_calls(database, run)
    tried = Attempts(database, run).all()
    results: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in read_outcomes(database, run):
        results[outcome.candidate].append(outcome)
    query = sa.select(candidates.c.body).where(candidates.c.run == run).order_by(sa.text("rowid"))
    made = [Candidate.model_validate_json(row.body) for row in database.read(query)]
    proposals = _proposals(made, task, paid, tried, results)
    seed = proposals.pop(candidate_id(task.prompts), None) or _untried_seed(task)
    failures = _failures(task, seed.candidate.id, tried, results)
    outside = [call for call in paid if call.round is None]
    return Trace(
        run=run,
        name=task.name,
        model=task.model,
        preset=json.loads(row.preset)["name"],
        status=status_of(database, run, row.status),
        seed=seed,
        clusters=failures[None],
        rounds=_rounds(read_spans(database, run), proposals, paid, failures),
        verdict=result.verdict if result else None,
        verdict_costs=by_role(call for call in outside if call.operation == _VERDICT),
        unplaced_costs=by_role(call for call in outside if call.operation != _VERDICT),
        calls=paid,
    )


def _failures(
    task: Task, seed: str, tried: Sequence[Attempt], results: Mapping[str, Sequence[Outcome]]
) -> dict[int | None, tuple[Cluster, ...]]:
    """The clusters of the seed (None) and of each round's new incumbent."""
    incumbents = {None: seed} | {attempt.round: attempt.candidate for attempt in tried if attempt.incumbent}
    moments = [Moment(number, [o for o in results.get(c, ()) if not o.sample]) for number, c in incumbents.items()]
    return dict(zip(incumbents, followed(moments, task), strict=True))


def _proposals(
    made: Sequence[Candidate],
    task: Task,
    paid: Sequence[Call],
    tried: Sequence[Attempt],
    results: Mapping[str, Sequence[Outcome]],
) -> dict[str, Proposal]:
    """Every candidate of the run by id, in the given order."""
    fates = {attempt.candidate: attempt for attempt in tried}
    behind: dict[str | None, list[Call]] = defaultdict(list)
    for call in paid:
        behind[call.candidate].append(call)
    return {c.id: _proposal(c, fates.get(c.id), results.get(c.id, ()), behind[c.id], task) for c in made}


def _proposal(
    candidate: Candidate, attempt: Attempt | None, results: Sequence[Outcome], paid: Sequence[Call], task: Task
) -> Proposal:
    scores = _val_scores(task, results)
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


def _val_scores(task: Task, results: Sequence[Outcome]) -> list[float]:
    """Score of each validation example that was answered, the mean of its repeats."""
    val = {example.id: example for example in task.splits.val}
    scores: dict[str, list[float]] = defaultdict(list)
    for outcome in as_scored((o for o in results if o.example in val), val, task.scoring):
        if outcome.score is not None:
            scores[outcome.example].append(outcome.score.value)
    return [mean(answers) for answers in scores.values()]


def _untried_seed(task: Task) -> Proposal:
    seed = Candidate(id=candidate_id(task.prompts), prompts=task.prompts, operator="seed", author="user")
    return Proposal(candidate=seed, fate="seed")


def _rounds(
    known: Sequence[Span],
    proposals: Mapping[str, Proposal],
    paid: Sequence[Call],
    failures: Mapping[int | None, tuple[Cluster, ...]],
) -> tuple[Round, ...]:
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
                clusters=failures.get(number, ()),
            )
        )
    return tuple(found)


def _by_agent(call: Call) -> bool:
    return call.role not in ("target", "judge")


def _steps(
    number: int, known: Sequence[Span], proposals: Mapping[str, Proposal], paid: Sequence[Call]
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


def _step(worker: Span, inside: Sequence[Span], new: tuple[Proposal, ...], paid: Sequence[Call]) -> Step:
    named, firsts = worker.attributes["crito.proposed"], {p.candidate.id for p in new}
    ids = {worker.id, *(span.id for span in inside)}
    return Step(
        operator=worker.name.removeprefix(_AGENT),
        parent=worker.attributes.get("crito.parent", ""),
        author=worker.attributes.get("crito.author", ""),
        focus=worker.attributes.get("crito.focus", ""),
        reason=worker.attributes.get("crito.reason", ""),
        hypotheses=tuple(h for span in inside for h in span.attributes.get("crito.hypotheses", ())),
        dialogue=tuple(said for span in inside for said in _said(span)),
        unusable=next((_unusable(span) for span in inside if "crito.unusable" in span.attributes), ""),
        calls=tuple(call.id for call in paid if _by_agent(call) and call.span in ids),
        proposals=new,
        repeated=tuple(name for name in named if name not in firsts),
    )


def _said(span: Span) -> list[Said]:
    known = span.attributes
    judged = known.get("crito.ruling", ())
    texts = [*known.get("crito.questions", ()), *(f"question {n}: {ruling}" for n, ruling in enumerate(judged, 1))]
    if known.get("crito.suggestion"):
        texts.append(f"suggests: {known['crito.suggestion']}")
    if "crito.answer" in known:
        texts.append(known["crito.answer"] or "edits the prompt")
    return [Said(agent=span.name.removeprefix(_AGENT), text=text) for text in texts]


def _unusable(span: Span) -> str:
    return f"{span.name.removeprefix(_AGENT)}: {span.attributes['crito.unusable']}"
