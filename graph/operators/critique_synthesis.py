"""The loop of critique and synthesis: failures beside successes, labelled hypotheses, a patch for each.

PromptWizard's idea without its flaws: critique moves instruction and demonstrations alike, the answers in
demonstrations are never invented, and nothing goes on that was not measured. When the critic's or the rewriter's
reply is of no use, the computed diagnostics and the deterministic edits carry the round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

from crito.agents.demo_sizes import set_sizes
from crito.agents.edits import structural
from crito.errors import CallFailed, PatchRejected, ReplyUnusable
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.demonstrations import unseen
from crito.graph.operators.merge import three_way
from crito.memory.attempts import Attempt
from crito.memory.clusters import Cluster, Moment, followed
from crito.memory.lineage import chain, lineage
from crito.patch import Edit, Patch
from crito.prompt import Demo
from crito.records import Candidate, Critique, FailureLabel, Hypothesis, Outcome, child
from crito.task import Example, Task
from crito.tools.diagnostics import clusters, diagnose

_SHOWN = 3
"""Wrong and right cases shown to the critic (GRACE: 3 + 3)."""
_BATCH = 6
_TRIED = 24
"""Training examples run at most to find them."""


@dataclass(frozen=True)
class Evidence:
    """Cases of a candidate on training examples that it does not show."""

    wrong: tuple[tuple[Example, Outcome], ...]
    right: tuple[tuple[Example, Outcome], ...]


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """Candidates that each test one hypothesis about the parent's failures.

    Raises:
        BudgetExhausted: A call does not fit into the budget.
        ProviderFailure: The provider is down.
    """
    parent, round_number = assignment.parent, assignment.round
    evidence = await collect(deps, parent, round_number, assignment.worker)
    if not evidence.wrong:
        return []
    computed = diagnosed(deps, parent, evidence)
    tried = _tried(deps, assignment, computed) if assignment.ask else ()
    critique = await criticized(deps, assignment, evidence, tried) if assignment.ask else None
    found: dict[str, Candidate] = {}
    if critique is not None:
        if assignment.count == 1:
            critique = critique.model_copy(update={"hypotheses": critique.hypotheses[:1]})
        for hypothesis, patch in _with_joint(parent, await deps.rewriter.synthesize(parent, critique, tried)):
            _keep(found, parent, patch, hypothesis, evidence, round_number=round_number, author="rewriter")
    for hypothesis, patch in structural(parent.main, deps.task, computed.hypotheses) if deps.preset.taxonomy else ():
        _keep(found, parent, patch, hypothesis, evidence, round_number=round_number)
    shown = _show_failures(parent, evidence, deps.task) if deps.preset.demos else None
    if shown is not None:
        _keep(found, parent, shown, computed.hypotheses[0], evidence, round_number=round_number)
    return list(found.values())


async def collect(deps: Deps, parent: Candidate, round_number: int, index: int) -> Evidence:
    """Run the parent on shuffled training examples until there are enough wrong and right ones.

    Raises:
        BudgetExhausted: The calls do not fit into the budget.
    """
    rng = deps.rng(3, round_number, index)
    pool = unseen(parent, deps.task.splits.train)
    order = [pool[i] for i in rng.permutation(len(pool))][:_TRIED]
    wrong: list[tuple[Example, Outcome]] = []
    right: list[tuple[Example, Outcome]] = []
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        for example, outcome in zip(batch, await deps.evaluator.evaluate(parent, batch), strict=True):
            if outcome.score is not None:
                (right if outcome.right else wrong).append((example, outcome))
        if len(wrong) >= _SHOWN and (len(right) >= _SHOWN or start + _BATCH >= 2 * _BATCH):
            break
    return Evidence(tuple(wrong[:_SHOWN]), tuple(right[:_SHOWN]))


def diagnosed(deps: Deps, parent: Candidate, evidence: Evidence) -> Critique:
    """A critique from the diagnostics alone: one hypothesis for each of the largest failure clusters."""
    outcomes = [outcome for _, outcome in evidence.wrong]
    examples = {example.id: example for example, _ in evidence.wrong}
    found = clusters(outcomes, examples, deps.task)
    hypotheses = [
        Hypothesis(
            label=label,
            examples=ids,
            direction=_DIRECTIONS.get(label, "say more exactly what a right answer is"),
            severity=len(ids) / len(outcomes),
        )
        for label, ids in found.items()
    ]
    return Critique(candidate=parent.id, hypotheses=tuple(hypotheses[:3]), author="code")


_DIRECTIONS: dict[FailureLabel, str] = {
    "wrong_format": "ask for the answer alone: the right text is there, wrapped in more words",
    "verbose": "ask for the answer alone, without explanation",
    "off_label": "name the possible answers and ask for one of them",
    "refusal": "say what is asked for more plainly",
    "truncated": "ask for a short answer",
    "empty": "end the input with a cue for the answer",
    "near_miss": "ask for an exact answer",
    "wrong_content": "say more exactly what tells the right answer from the given one",
}


def _tried(deps: Deps, assignment: Assignment, computed: Critique) -> tuple[Attempt, ...]:
    """Earlier attempts on the parent's line and, where failures are labelled, against the same ones."""
    line = chain(lineage(deps.archive.candidates()), assignment.parent.id)
    labels = {hypothesis.label for hypothesis in computed.hypotheses if deps.preset.taxonomy}
    return deps.attempts.relevant(assignment.round, line=line, labels=labels)


def _failures(deps: Deps, round_number: int) -> tuple[Cluster, ...]:
    """What became of the incumbents' failures on validation examples before a round."""
    since = [(a.round, a.candidate) for a in deps.attempts.incumbents(round_number)]
    moments = [
        Moment(number, [o for e in deps.val if (o := deps.archive.outcome(candidate, e.id))])
        for number, candidate in ((None, deps.seed), *since)
    ]
    return followed(moments, deps.task)[-1]


async def criticized(
    deps: Deps, assignment: Assignment, evidence: Evidence, tried: Sequence[Attempt] = ()
) -> Critique | None:
    """The critic's reading of the evidence; None where its reply is of no use.

    Raises:
        BudgetExhausted: The call does not fit.
    """
    parent = assignment.parent
    diagnoses = {e.id: diagnose(o, e, deps.task) for e, o in evidence.wrong if deps.preset.taxonomy}
    labels = {example: label for example, label in diagnoses.items() if label is not None}
    known = _failures(deps, assignment.round) if deps.preset.taxonomy else ()
    with deps.tracer.span("invoke_agent", "critic", candidate=parent.id) as span:
        try:
            critique = await deps.critic.review(
                parent,
                evidence.wrong,
                evidence.right,
                labels=labels,
                tried=tried,
                clusters=known,
                advice=assignment.recalled.directions,
                focus=assignment.focus,
            )
        except (ReplyUnusable, CallFailed) as error:
            span.set_attribute("crito.unusable", str(error)[:200])
            return None
        span.set_attribute("crito.hypotheses", [_told(hypothesis) for hypothesis in critique.hypotheses])
    return critique if critique.hypotheses else None


def _with_joint(parent: Candidate, single: Sequence[tuple[Hypothesis, Patch]]) -> list[tuple[Hypothesis, Patch]]:
    """What all patches make of the parent together, where there are several, then each by itself.

    A race costs as much for one rule as for three; where the rules do not get along, the single ones are there.
    """
    if len(single) < 2:
        return list(single)
    hypotheses = [hypothesis for hypothesis, _ in single]
    main = parent.main
    alone = [main.apply(patch) for _, patch in single]
    joined = reduce(partial(three_way, main), alone)
    if joined in alone:  # all changed the same part, of which there can be only one version
        return list(single)
    done = "; ".join(patch.rationale for _, patch in single if patch.rationale)
    wanted = "; ".join(hypothesis.direction for hypothesis in hypotheses)
    cited = dict.fromkeys(example for hypothesis in hypotheses for example in hypothesis.examples)
    of_all = hypotheses[0].model_copy(update={"examples": tuple(cited), "direction": wanted})
    return [(of_all, main.diff(joined).model_copy(update={"rationale": done})), *single]


def _show_failures(parent: Candidate, evidence: Evidence, task: Task) -> Patch | None:
    """Add failed training cases with their given answers to the demonstrations; in a full set the oldest go."""
    failed = [e for e, _ in evidence.wrong if e.expected is not None]
    if not failed:
        return None
    added = tuple(Demo(inputs=e.inputs, output=e.expected or "", example_id=e.id) for e in failed[:2])
    shown = (*parent.main.demos, *added)
    edit = Edit(op="replace", path="demos", value=shown[-set_sizes(shown, task)[-1] :])
    return Patch(edits=(edit,), rationale="show cases that failed, with their right answers")


def _told(hypothesis: Hypothesis) -> str:
    """A hypothesis with the words of the cases that speak for it."""
    words = ", ".join(f'"{quote}"' for quote in hypothesis.quotes)
    return f"{hypothesis.label}: {hypothesis.direction}" + (f" (from {words})" if words else "")


def _keep(
    found: dict[str, Candidate],
    parent: Candidate,
    patch: Patch,
    hypothesis: Hypothesis,
    evidence: Evidence,
    *,
    round_number: int,
    author: str = "code",
) -> None:
    said = hypothesis.direction if author == "rewriter" else patch.rationale
    text = f"{hypothesis.label}: {said or hypothesis.direction}"
    try:
        candidate = child(
            parent,
            patch,
            operator="critique_synthesis",
            round_number=round_number,
            hypothesis=text,
            author=author,
            mends=hypothesis.examples,
            keeps=tuple(example.id for example, _ in evidence.right),
        )
    except PatchRejected:
        return
    found.setdefault(candidate.id, candidate)
