"""Runs, results and traces as text: coloured on a terminal, plain when piped.

Texts from models and data are shown without control characters, so that none can steer the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from crito.calls import Call, Cost
from crito.patch import Edit
from crito.place import db_option, resume_command
from crito.result import NOT_TAKEN_UP, Baseline, Evaluation, LessonUse, Result
from crito.runs import RunSummary
from crito.trace import Proposal, Round, Step, Trace

if TYPE_CHECKING:  # these need numpy, which most reports do without
    from crito.descent import Descent
    from crito.memory.credit import Credit

_COLOURS = {"accepted": "green", "improved": "bold green", "inconclusive": "bold yellow", "kept": "bold"}
_FAILURES_SHOWN = 10
_VALUE_SHOWN = 100
_PIECE_SHOWN = 300
_BILL = ("role", "calls", "failed", "tokens in", "tokens out", "cached", "usd", "seconds")
_CALL = ("call", "round", "role", "candidate", "tokens in", "tokens out", "cached", "usd", "seconds", "tries", "error")
Lines = Iterator[Text | str]


def stdout() -> Console:
    """A console for reports; lines are never folded, so that what is piped stays one line each."""
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def print_lines(console: Console, lines: Lines) -> None:
    """Print a report line by line."""
    for line in lines:
        console.print(line)


def result_lines(result: Result, bill: Mapping[str, Cost], database: Path) -> Lines:
    """Verdict, bill by role, the way from the seed to the best prompt, the prompt, and how to export it."""
    verdict = result.verdict
    low, high = verdict.interval
    yield Text.assemble(
        f"{one_line(result.name)} on {result.model}: ",
        (verdict.decision if verdict.decision != "kept" else "keep your prompt", _COLOURS[verdict.decision]),
    )
    yield f"  {verdict.reason}"
    failed = f", {verdict.failed} more failed" if verdict.failed else ""
    unasked = f", the budget did not reach for {verdict.unasked} more" if verdict.unasked else ""
    scores = f"{verdict.seed_score:.3f} -> {verdict.best_score:.3f}"
    yield f"  held-out score {scores} on {verdict.n} examples{failed}{unasked}"
    yield f"  difference {verdict.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {verdict.p_value:.2g}"
    if verdict.uncalibrated is not None:
        plain_seed, plain_best = verdict.uncalibrated
        yield f"  without calibration {plain_seed:.3f} -> {plain_best:.3f}"
    if verdict.noise is not None:
        yield f"  repeated answers to one example vary by {verdict.noise**0.5:.3f} (standard deviation of the score)"
    tokens, usd = verdict.tokens_per_use, verdict.usd_per_use
    priced = f", {_usd(usd[0], 6)} -> {_usd(usd[1], 6)}" if usd[0] else ""
    yield f"  one use takes {tokens[0]:.0f} -> {tokens[1]:.0f} tokens{priced}"
    yield f"  run {result.run}, {result.bill.seconds:.0f} s" + (f", ended: {result.stopped}" if result.stopped else "")
    yield from _titled("Bill", _bill_lines(bill))
    if result.baselines:
        yield from _titled("What the search had to beat, on validation examples", _baseline_lines(result.baselines))
    yield from _titled("From your prompt to the best found", _chain_lines(result))
    if result.lessons:
        title = "Lessons of earlier runs, by their gain beside your prompt; a direction's beside the prompt it changed"
        yield from _titled(title, _use_lines(result.lessons))
    yield from _titled("Prompt", iter([clean(result.prompt.to_text())]))
    if result.calibration is not None:
        yield from _titled("Divide each label's probability by", _calibration_lines(result.calibration))
    yield from _titled("Export", _export_lines(result.run, db_option(database)))


def _calibration_lines(divisors: Mapping[str, float]) -> Lines:
    yield from (f"  {one_line(label)}  {divisor:.4f}" for label, divisor in divisors.items())


def _baseline_lines(found: Sequence[Baseline]) -> Lines:
    yield from columns([(baseline.name, f"val {baseline.val_score:.2f} of {baseline.n}") for baseline in found])


def _use_lines(uses: Sequence[LessonUse]) -> Lines:
    left = sum(use.outcome == NOT_TAKEN_UP for use in uses)
    for use in (use for use in uses if use.outcome != NOT_TAKEN_UP):
        measured = "" if use.gain is None else f", {use.gain:+.2f} on {use.n} in this one"
        said, outcome = one_line(use.text), one_line(use.outcome)
        yield f"  {use.lesson}  {said}: {use.before:+.2f} in earlier runs{measured}; {outcome}"
    if left:
        yield f"  {left} {'more direction was' if left == 1 else 'more directions were'} not taken up"


def status_lines(summary: RunSummary, bill: Mapping[str, Cost], database: Path) -> Lines:
    """Where an unfinished run stands."""
    yield Text(f"{one_line(summary.name)} on {summary.model}: {summary.status}", "bold")
    yield f"  go on with: {resume_command(summary.run, database)}"
    yield f"  see what it did: crito trace {summary.run}{db_option(database)}"
    yield from _titled("Bill so far", _bill_lines(bill))


def evaluation_lines(evaluation: Evaluation) -> Lines:
    """Score, failures by label, confusions and the bill of one evaluation."""
    bill = evaluation.bill
    yield clean(str(evaluation))
    tokens = f"{bill.tokens_in:,} + {bill.tokens_out:,} tokens"
    yield f"  {bill.calls} calls, {tokens}, {_usd(bill.usd)}, {bill.seconds:.0f} s"


def runs_lines(summaries: Sequence[RunSummary]) -> Lines:
    """One line a run."""
    rows = [("run", "begun", "status", "name", "model", "verdict", "calls", "usd")]
    for summary in summaries:
        begun = datetime.fromtimestamp(summary.created).strftime("%Y-%m-%d %H:%M")
        verdict = summary.result.verdict if summary.result else None
        words = f"{verdict.decision} {verdict.seed_score:.2f} -> {verdict.best_score:.2f}" if verdict else ""
        names = (one_line(summary.name), summary.model, words)
        rows.append((summary.run, begun, summary.status, *names, f"{summary.calls:,}", _usd(summary.usd)))
    yield from columns(rows, right=(6, 7))


def trace_lines(trace: Trace, database: Path) -> Lines:
    """Round by round: who proposed what from which critique, what became of it, and what it cost."""
    calls = {call.id: call for call in trace.calls}
    yield Text(
        f"run {trace.run}: {one_line(trace.name)} on {trace.model}, preset {trace.preset}, {trace.status}", "bold"
    )
    yield f"  seed {trace.seed.candidate.id}: {_measured(trace.seed)}"
    yield from (f"  failures {cluster.told}" for cluster in trace.clusters)
    for round_ in trace.rounds:
        yield ""
        yield from _round_lines(round_, calls)
    if trace.verdict:
        verdict = trace.verdict
        compared = f"{verdict.seed_score:.3f} -> {verdict.best_score:.3f} on {verdict.n} examples"
        yield ""
        yield Text(
            f"verdict: {verdict.decision} ({compared}), best {verdict.best}{_costs(trace.verdict_costs)}", "bold"
        )
    if trace.unplaced_costs:
        yield f"steps that did not end{_costs(trace.unplaced_costs)}"
    if trace.failures:
        more = len(trace.failures) - _FAILURES_SHOWN
        yield from _titled(f"Failed calls: {len(trace.failures)}", calls_lines(trace.failures[:_FAILURES_SHOWN]))
        if more > 0:
            yield f"  and {more} more: crito trace {trace.run}{db_option(database)} --failed"


def descent_lines(descent: Descent) -> Lines:
    """Each change that the best prompt carries against the seed: where it came from, and what it is worth."""
    known = descent.graph.nodes.get(descent.best, {})
    score = f"val {known['val']:.2f} of {known['n']}" if "val" in known else "not measured"
    yield Text(f"run {descent.run}: {one_line(descent.name)} on {descent.model}, {descent.status}", "bold")
    if not descent.credits:
        yield f"  the best prompt is your own: {score}"
        return
    yield f"  best prompt {descent.best}: {score}, made in {len({c.candidate for c in descent.credits})} steps"
    for credit in descent.credits:
        yield ""
        yield from _credit_lines(credit)


def calls_lines(calls: Sequence[Call]) -> Lines:
    """One line a call."""
    rows = [_CALL]
    for call in calls:
        place = call.operation.removeprefix("execute_tool ") if call.round is None else str(call.round)
        tokens = (f"{call.tokens_in:,}", f"{call.tokens_out:,}", f"{call.cached:,}")
        spent = (_usd(call.usd, 6), f"{call.seconds:.2f}", str(call.attempts))
        rows.append((str(call.id), place, call.role, call.candidate or "", *tokens, *spent, one_line(call.error or "")))
    yield from columns(rows, right=(0, 1, 4, 5, 6, 7, 8, 9))


def _titled(title: str, lines: Lines) -> Lines:
    yield ""
    yield Text(title, "bold")
    yield from lines


def _bill_lines(bill: Mapping[str, Cost]) -> Lines:
    rows = [_BILL]
    for role, cost in bill.items():
        tokens = (f"{cost.tokens_in:,}", f"{cost.tokens_out:,}", f"{cost.cached:,}")
        rows.append((role, f"{cost.calls:,}", f"{cost.failed:,}", *tokens, _usd(cost.usd), f"{cost.seconds:.1f}"))
    yield from columns(rows, right=range(1, len(_BILL)))


def _chain_lines(result: Result) -> Lines:
    rows = [
        (link.candidate, f"val {link.val_score:.2f}", f"{link.operator} by {link.author}", one_line(link.hypothesis))
        for link in result.chain
    ]
    yield from columns(rows)


def _credit_lines(credit: Credit) -> Lines:
    text, gone = (_pieces(credit.place, pieces) for pieces in (credit.text, credit.removed))
    instead = f" (in place of: {gone})" if text and gone else ""
    yield Text(f"{one_line(credit.place)}: {text or f'without: {gone}'}{instead}", "cyan")
    why = f": {one_line(credit.hypothesis)}" if credit.hypothesis else ""
    yield f"  from {credit.candidate}, round {credit.round}, {credit.operator} by {credit.author}{why}"
    yield f"  {_worth(credit)}"


def _pieces(place: str, pieces: Sequence[str]) -> str:
    if place == "demos" and pieces:
        return f"{len(pieces)} examples"
    text = one_line(" ".join(pieces))
    return text if len(text) <= _PIECE_SHOWN else text[: _PIECE_SHOWN - 1] + "…"


def _worth(credit: Credit) -> str:
    if credit.gain is None or credit.interval is None:
        return "worth unknown: nothing was measured on both sides of it"
    low, high = credit.interval
    shared = f", together with {credit.others} other edits" if credit.others else ""
    undone = f"; {', '.join(credit.undone)} took it back, which counts too" if credit.undone else ""
    return f"worth {credit.gain:+.2f} [{low:+.2f}, {high:+.2f}] on {credit.n} examples{shared}{undone}"


def _export_lines(run: str, db: str) -> Lines:
    yield f"  crito show {run}{db} --output prompt.yaml   every part of it, for crito evaluate and Prompt.from_yaml"
    yield f"  crito show {run}{db} --prompt               its text alone"
    yield f"  crito show {run}{db} --messages             chat messages, as JSON"
    yield f"  crito lineage {run}{db}                     where each part came from, and what it is worth"


def _round_lines(round_: Round, calls: Mapping[int, Call]) -> Lines:
    yield Text(f"round {round_.number}: {round_.stage or 'not planned yet'}{_costs(round_.costs)}", "bold")
    yield from (f"  {_agent(calls[call])}" for call in round_.calls)
    for step in round_.steps:
        yield from _step_lines(step, calls)
    yield from (f"  failures {cluster.told}" for cluster in round_.clusters)


def _step_lines(step: Step, calls: Mapping[int, Call]) -> Lines:
    if step.operator:
        chosen = f", chosen by {step.author}" if step.author not in ("", "stage") else ""
        told = (("focus", step.focus), ("reason", step.reason))
        words = "".join(f", {name}: {one_line(text)}" for name, text in told if text)
        yield Text(f"  {step.operator} on {step.parent}{chosen}{words}", "cyan")
    yield from (f"    critic: {one_line(hypothesis)}" for hypothesis in step.hypotheses)
    yield from (f"    {said.agent}: {one_line(said.text)}" for said in step.dialogue)
    if step.unusable:
        yield f"    a reply was of no use: {one_line(step.unusable)}"
    yield from (f"    {_agent(calls[call])}" for call in step.calls)
    for proposal in step.proposals:
        yield from _proposal_lines(proposal)
    if step.repeated:
        yield f"    proposed again: {', '.join(step.repeated)}"
    if not step.proposals and not step.repeated:
        yield "    proposed nothing"


def _proposal_lines(proposal: Proposal) -> Lines:
    candidate = proposal.candidate
    reason = f": {one_line(proposal.reason)}" if proposal.reason else ""
    yield Text.assemble(
        f"    {candidate.id} ", (proposal.fate.replace("_", " ") + reason, _COLOURS.get(proposal.fate, "yellow"))
    )
    parents = ", ".join(candidate.parents)
    yield f"      {candidate.operator} by {candidate.author} from {parents}: {one_line(candidate.hypothesis) or '-'}"
    if candidate.patch:
        yield f"      edits: {'; '.join(_edit(edit) for edit in candidate.patch.edits)}"
    if proposal.val_n or proposal.cost.calls:
        yield f"      {_measured(proposal)}"


def _measured(proposal: Proposal) -> str:
    gain = "" if proposal.gain is None else f"gain {proposal.gain:+.2f} on {proposal.n}, "
    score = "not measured" if proposal.val_score is None else f"val {proposal.val_score:.2f} of {proposal.val_n}"
    failed = f", {proposal.failed} failed" if proposal.failed else ""
    return f"{gain}{score}{failed}{_cost(proposal.cost)}"


def _agent(call: Call) -> str:
    tries = "" if call.attempts == 1 else f", {call.attempts} tries"
    failed = f", failed: {one_line(call.error or '')}" if call.failed else ""
    tokens = f"{call.tokens_in:,} + {call.tokens_out:,} tokens"
    return f"{call.role} asked {call.model}: {tokens}, {call.seconds:.1f} s, {_usd(call.usd)}{tries}{failed}"


def _edit(edit: Edit) -> str:
    match edit.value:
        case str():
            value = one_line(edit.value)
        case tuple():
            value = f"{len(edit.value)} items"
        case _:
            value = "" if edit.value is None else "1 item"
    shown = value if len(value) <= _VALUE_SHOWN else value[: _VALUE_SHOWN - 1] + "…"
    moved = f" to {edit.to}" if edit.op == "move" else ""
    return f"{edit.op} {one_line(edit.path)}{moved}" + (f": {shown}" if shown else "")


def _costs(costs: Mapping[str, Cost]) -> str:
    parts = [f"{role} {cost.calls}" for role, cost in costs.items()]
    tokens = sum(cost.tokens_in + cost.tokens_out for cost in costs.values())
    known = [cost.usd for cost in costs.values() if cost.usd is not None]
    usd = _usd(sum(known) if len(known) == len(costs) else None)
    return f" · calls: {', '.join(parts)} · {tokens:,} tokens · {usd}" if costs else ""


def _cost(cost: Cost) -> str:
    tokens = f"{cost.tokens_in + cost.tokens_out:,} tokens"
    return f" · {cost.calls} calls · {tokens} · {_usd(cost.usd)}" if cost.calls else ""


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Lines:
    """Rows under each other, as wide as their cells; ``right`` names the columns that end flush."""
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = []
        for at, cell in enumerate(row):
            gap = " " * (widths[at] - cell_len(cell))
            cells.append(gap + cell if at in right else cell + gap)
        yield ("  " + "  ".join(cells)).rstrip()


def _usd(usd: float | None, digits: int = 4) -> str:
    return "price unknown" if usd is None else f"${usd:.{digits}f}"


def one_line(text: str) -> str:
    """A text from outside on one line."""
    return clean(" ".join(text.split()))


def clean(text: str) -> str:
    """A text from outside without control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
