import asyncio
import json
import time
from pathlib import Path

import pytest

from crito.calls import by_role
from crito.errors import BadInput
from crito.memory.archive import Archive
from crito.memory.attempts import Attempt
from crito.report import trace_lines
from crito.result import Result
from crito.runs import opened
from crito.tools.database import Database, calls, spans
from crito.tools.telemetry import Tracer
from crito.trace import Step, Trace, read_trace
from tests.builders import make_candidate, make_outcome, make_task
from tests.toy_run import finished

Done = tuple[Path, Result]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    database = tmp_path_factory.mktemp("trace") / "crito.db"
    return database, finished(database)


@pytest.fixture(scope="module")
def trace(done: Done) -> Trace:
    with opened(done[0]) as database:
        return read_trace(database, done[1].run)


def critiques(trace: Trace) -> list[Step]:
    return [step for round_ in trace.rounds for step in round_.steps if step.operator == "critique_synthesis"]


def test_rounds_come_in_order_with_their_stage(trace: Trace) -> None:
    assert [round_.number for round_ in trace.rounds] == list(range(len(trace.rounds)))
    assert [round_.stage for round_ in trace.rounds][:2] == ["opening", "search"]


def test_every_candidate_stands_once_in_the_trace(trace: Trace, done: Done) -> None:
    ids = [p.candidate.id for r in trace.rounds for s in r.steps for p in s.proposals]
    with opened(done[0]) as database:
        kept = database.read(calls.metadata.tables["candidates"].select())
    assert sorted([trace.seed.candidate.id, *ids]) == sorted(row.id for row in kept)


def test_the_seed_is_apart_and_measured(trace: Trace) -> None:
    assert (trace.seed.fate, trace.seed.val_score) == ("seed", 0.0)
    assert trace.seed.cost.calls == len(trace.seed.calls) > 0


def test_a_step_names_its_critique_and_its_agents_calls(trace: Trace) -> None:
    step = next(step for step in critiques(trace) if step.hypotheses)
    roles = {call.id: call.role for call in trace.calls}
    assert step.hypotheses[0] == "wrong_content: say where refunds go"
    assert {roles[call] for call in step.calls} <= {"critic", "rewriter"}
    assert any("critic" in (roles[call] for call in step.calls) for step in critiques(trace))


def test_a_proposal_has_its_author_gain_and_cost(trace: Trace) -> None:
    won = next(p for step in critiques(trace) for p in step.proposals if p.candidate.author == "rewriter")
    assert (won.fate, won.val_score) == ("accepted", 1.0)
    assert won.gain is not None
    assert won.gain > 0
    assert won.cost.usd == pytest.approx(0.001 * won.cost.calls)
    assert won.cost.calls == len(won.calls) >= won.val_n


def test_a_proposal_has_the_fate_that_was_written_down(trace: Trace, done: Done) -> None:
    with opened(done[0]) as database:
        rows = database.read(calls.metadata.tables["attempts"].select())
    written = {
        a.candidate: (a.fate, a.reason, a.gain, a.n) for a in (Attempt.model_validate_json(r.body) for r in rows)
    }
    proposals = [p for r in trace.rounds for s in r.steps for p in s.proposals]
    assert {p.candidate.id: (p.fate, p.reason, p.gain, p.n) for p in proposals if p.fate != "open"} == written
    assert {fate for fate, *_ in written.values()} > {"accepted"}


def test_the_calls_of_all_parts_add_up_to_the_bill(trace: Trace, done: Done) -> None:
    parts = [*(round_.costs for round_ in trace.rounds), trace.verdict_costs, trace.unplaced_costs]
    bill = done[1].bill
    assert sum(cost.calls for part in parts for cost in part.values()) == bill.calls == len(trace.calls)
    assert sum(cost.usd or 0 for part in parts for cost in part.values()) == pytest.approx(bill.usd)
    assert by_role(trace.calls)["target"].calls == bill.calls_target
    assert next(iter(by_role(trace.calls))) == "target"
    assert trace.unplaced_costs == {}


def test_failed_calls_are_listed_with_their_error(trace: Trace, done: Done) -> None:
    assert len(trace.failures) == done[1].bill.failed > 0
    assert {call.error for call in trace.failures} == {"bad_request: the message was refused"}


def test_failures_are_followed_from_one_incumbent_to_the_next(trace: Trace) -> None:
    assert [(c.id, c.label, c.state, len(c.cases)) for c in trace.clusters] == [("c1", "off_label", "new", 12)]
    rows = [[(c.id, c.label, c.state, c.first) for c in round_.clusters] for round_ in trace.rounds]
    assert rows[0] == [("c1", "off_label", "fixed", 12), ("c2", "wrong_content", "new", 3)]
    assert rows[1] == [("c1", "off_label", "fixed", 12), ("c2", "wrong_content", "fixed", 3)]
    assert rows[2:] == [[]] * len(rows[2:])  # no new incumbent, nothing to tell


def test_the_text_of_a_trace_tells_what_became_of_failures(trace: Trace, done: Done) -> None:
    lines = [str(line) for line in trace_lines(trace, done[0])]
    assert lines[2] == "  failures c1 off_label: 12 cases at the start, 12 now, new"
    assert "  failures c2 wrong_content: 3 cases in round 0, 0 now, fixed" in lines


def test_a_trace_names_its_preset_and_why_the_planner_chose_what(trace: Trace, done: Done) -> None:
    lines = [str(line) for line in trace_lines(trace, done[0])]
    assert lines[0].endswith(", preset lean, done")
    planned = [step for round_ in trace.rounds for step in round_.steps if step.author == "planner"]
    assert planned
    for step in planned:
        assert any(step.operator in line and f", reason: {step.reason}" in line for line in lines)


def test_the_planners_calls_belong_to_the_round(trace: Trace) -> None:
    roles = {call.id: call.role for call in trace.calls}
    assert {roles[call] for round_ in trace.rounds for call in round_.calls} == {"planner"}


def test_a_whole_trace_is_json(trace: Trace) -> None:
    assert Trace.model_validate_json(trace.model_dump_json()) == trace


def test_calls_of_a_span_that_never_ended_are_in_no_round(tmp_path: Path) -> None:
    path = tmp_path / "cut.db"
    result = finished(path, calls=200)
    with opened(path) as database:
        whole = read_trace(database, result.run)
    cut = next(call for call in whole.calls if call.role == "target")

    async def forget() -> None:
        database = Database(path)
        row = {"key": "k", "status": "ok", "run": result.run, "span": "gone", "role": "critic", "model": "m"}
        times = {"request": "{}", "started": time.time(), "seconds": 1.0, "usd": None}
        columns = dict.fromkeys(c.name for c in calls.c if c.name != "id")
        counts = {"tokens_in": 1, "tokens_out": 1, "cached": 0, "attempts": 1}
        await database.write(calls, {**columns, **row, **times, **counts})
        await database.close()

    asyncio.run(forget())
    with opened(path) as database:
        found = read_trace(database, result.run)
    assert cut.round == 0
    assert found.unplaced_costs["critic"].calls == 1
    assert found.unplaced_costs["critic"].usd is None


def test_a_candidate_whose_worker_left_no_span_is_still_shown(tmp_path: Path) -> None:
    path = tmp_path / "lost.db"
    result = finished(path, calls=200)
    with opened(path) as database:
        before = read_trace(database, result.run)

    async def lose() -> None:
        database = Database(path)
        (row,) = database.read(spans.select().where(spans.c.name == "invoke_agent opening"))
        await database.write(spans, {**row._mapping, "attributes": {}})
        await database.close()

    asyncio.run(lose())
    with opened(path) as database:
        after = read_trace(database, result.run)
    (step,) = after.rounds[0].steps
    assert step.operator == ""
    assert step.proposals == before.rounds[0].steps[0].proposals


async def test_repeats_of_an_example_count_once(tmp_path: Path) -> None:
    database, task = Database(tmp_path / "crito.db"), make_task()
    database.add_run("r", name="toy", preset=json.dumps({"name": "default"}), task=task.model_dump_json())
    candidate = make_candidate(prompt=task.prompts["main"], operator="seed", author="user")
    one, other = task.splits.val[:2]
    archive = Archive(database, "r")
    await archive.add(candidate)
    again = make_outcome(candidate.id, one, 0.0).model_copy(update={"sample": 1})
    await archive.record([make_outcome(candidate.id, one, 1.0), again, make_outcome(candidate.id, other, 1.0)])
    await database.close()
    with opened(tmp_path / "crito.db") as written:
        found = read_trace(written, "r").seed
    assert (found.val_score, found.val_n) == (0.75, 2)


async def talked(path: Path, *said: tuple[str, dict[str, str | list[str]]]) -> Trace:
    """The trace of a run in which one socratic step consists of these agents' spans."""
    database = Database(path)
    database.add_run("r", name="toy", preset=json.dumps({"name": "mars"}), task=make_task().model_dump_json())
    candidate = make_candidate("Name the one team.", parents=("seed",), round=1)
    await Archive(database, "r").add(candidate)
    tracer = Tracer(database, "r")
    with tracer.span("invoke_agent", "socratic", round=1, parent="seed") as step:
        step.set_attribute("crito.proposed", [candidate.id])
        for agent, attributes in said:
            with tracer.span("invoke_agent", agent) as span:
                for name, value in attributes.items():
                    span.set_attribute(f"crito.{name}", value)
    tracer.shutdown()
    await database.close()
    with opened(path) as written:
        return read_trace(written, "r")


async def test_a_dialogue_is_told_turn_by_turn(tmp_path: Path) -> None:
    trace = await talked(
        tmp_path / "crito.db",
        ("teacher", {"questions": ["Is it nice?", "What decides?"]}),
        ("critic", {"ruling": ["beside the point", "may be asked"], "suggestion": "ask about refunds"}),
        ("student", {"answer": "refunds were open"}),
    )
    (step,) = trace.rounds[0].steps
    assert [(said.agent, said.text) for said in step.dialogue] == [
        ("teacher", "Is it nice?"),
        ("teacher", "What decides?"),
        ("critic", "question 1: beside the point"),
        ("critic", "question 2: may be asked"),
        ("critic", "suggests: ask about refunds"),
        ("student", "refunds were open"),
    ]
    assert step.unusable == ""


async def test_the_text_of_a_trace_shows_questions_ruling_and_answer(tmp_path: Path) -> None:
    trace = await talked(
        tmp_path / "crito.db",
        ("teacher", {"questions": ["What\ndecides?"]}),
        ("critic", {"ruling": ["may be asked"], "suggestion": ""}),
        ("student", {"answer": ""}),
    )
    lines = [str(line) for line in trace_lines(trace, tmp_path / "crito.db")]
    start = lines.index("  socratic on seed")
    assert lines[start + 1 : start + 4] == [
        "    teacher: What decides?",
        "    critic: question 1: may be asked",
        "    student: edits the prompt",
    ]


async def test_an_agent_whose_reply_was_of_no_use_is_named(tmp_path: Path) -> None:
    trace = await talked(tmp_path / "crito.db", ("teacher", {"unusable": "questions: too many"}))
    assert trace.rounds[0].steps[0].unusable == "teacher: questions: too many"
    lines = [str(line) for line in trace_lines(trace, tmp_path / "crito.db")]
    assert "    a reply was of no use: teacher: questions: too many" in lines


def test_an_unknown_run_is_refused(done: Done) -> None:
    with opened(done[0]) as database, pytest.raises(BadInput, match="there is no run 'zz'; see: crito runs --db "):
        read_trace(database, "zz")
