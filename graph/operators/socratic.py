"""The Socratic dialogue: a teacher asks about failures, a critic judges the questions, a student edits the prompt.

MARS's dialogue without its flaws: the teacher sees the cases that fail, and the result of every turn is raced like any
other candidate, so that a turn for the worse is not carried on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.trace import Span

from crito.agents.teacher import FailedCases, Refused
from crito.errors import CallFailed, PatchRejected, ReplyUnusable
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.critique_synthesis import Evidence, collect
from crito.patch import Edit, Patch
from crito.records import Candidate, child
from crito.tools.diagnostics import clusters

_TURNS = 3


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent after each turn of a dialogue about its largest failure cluster.

    Each turn edits what the turn before left. A reply that cannot be used ends the dialogue, and what was found until
    then stays.

    Raises:
        BudgetExhausted: A call does not fit into the budget.
        ProviderFailure: The provider is down.
    """
    if not assignment.ask:
        return []
    evidence = await collect(deps, assignment.parent, assignment.round, assignment.worker)
    if not evidence.wrong:
        return []
    dialogue = _Dialogue(deps, assignment, largest(deps, evidence), tuple(e.id for e, _ in evidence.right))
    found: list[Candidate] = []
    asked: tuple[str, ...] = ()
    while len(found) < min(_TURNS, assignment.count):
        questions, made = await dialogue.turn(found, asked)
        if made is None:
            break
        found.append(made)
        asked += questions
    return found


def largest(deps: Deps, evidence: Evidence) -> FailedCases:
    """The largest cluster of the evidence's failures, of which there must be one."""
    outcomes = [outcome for _, outcome in evidence.wrong]
    found = clusters(outcomes, {example.id: example for example, _ in evidence.wrong}, deps.task)
    label, ids = next(iter(found.items()))
    return FailedCases(label=label, cases=tuple((e, o) for e, o in evidence.wrong if e.id in ids))


@dataclass(frozen=True)
class _Dialogue:
    """What stays the same from turn to turn; ``keeps`` are the ids of cases that the parent got right."""

    deps: Deps
    assignment: Assignment
    cluster: FailedCases
    keeps: tuple[str, ...]

    async def turn(self, found: Sequence[Candidate], asked: Sequence[str]) -> tuple[tuple[str, ...], Candidate | None]:
        """The next questions, and what the student makes of the latest prompt; None where the dialogue ends."""
        parent = self.assignment.parent
        latest = found[-1] if found else parent
        before = found[-1].patch.edits if found and found[-1].patch else ()
        questions = await self._questions(latest, asked)
        made = await self._answer(latest, before, questions) if questions else None
        known = {candidate.id for candidate in (parent, *found)}
        return questions, made if made and made.id not in known else None

    async def _questions(self, latest: Candidate, asked: Sequence[str]) -> tuple[str, ...]:
        """The questions that the critic lets through, else the second attempt; none where a reply is of no use."""
        try:
            first = await self._ask(latest, asked)
            refused = await self._examine(latest, first)
            passed = tuple(q for q, fault in zip(first, refused.ruling.faults, strict=True) if not fault)
            return passed or await self._ask(latest, asked, refused)
        except (ReplyUnusable, CallFailed):
            return ()

    async def _ask(self, latest: Candidate, asked: Sequence[str], refused: Refused | None = None) -> tuple[str, ...]:
        teacher, focus = self.deps.teacher, self.assignment.focus
        with self._agent("teacher", latest) as span:
            questions = await teacher.ask(latest, self.cluster, before=asked, refused=refused, focus=focus)
            span.set_attribute("crito.questions", questions)
        return tuple(questions)

    async def _examine(self, latest: Candidate, questions: tuple[str, ...]) -> Refused:
        with self._agent("critic", latest) as span:
            ruling = await self.deps.critic.examine(questions, self.cluster.cases)
            span.set_attribute("crito.ruling", [fault or "may be asked" for fault in ruling.faults])
            span.set_attribute("crito.suggestion", ruling.suggestion)
        return Refused(questions=questions, ruling=ruling)

    async def _answer(
        self, latest: Candidate, before: tuple[Edit, ...], questions: tuple[str, ...]
    ) -> Candidate | None:
        with self._agent("student", latest) as span:
            patch = await self.deps.student.answer(latest, questions)
            if patch is None:
                span.set_attribute("crito.unusable", "no edit that can be made")
                return None
            span.set_attribute("crito.answer", patch.rationale)
        return self._made(Patch(edits=(*before, *patch.edits), rationale=patch.rationale), questions)

    def _made(self, patch: Patch, questions: tuple[str, ...]) -> Candidate | None:
        """The parent with all edits of the dialogue; no earlier turn was measured, so none can be its parent."""
        try:
            return child(
                self.assignment.parent,
                patch,
                operator="socratic",
                round_number=self.assignment.round,
                hypothesis=f"{self.cluster.label}: {' '.join(questions)}"[:300],
                author="student",
                mends=tuple(example.id for example, _ in self.cluster.cases),
                keeps=self.keeps,
            )
        except PatchRejected:
            return None

    @contextmanager
    def _agent(self, name: str, latest: Candidate) -> Iterator[Span]:
        """The span of one agent, which keeps why its reply was of no use."""
        with self.deps.tracer.span("invoke_agent", name, candidate=latest.id) as span:
            try:
                yield span
            except (ReplyUnusable, CallFailed) as error:
                span.set_attribute("crito.unusable", str(error)[:200])
                raise
