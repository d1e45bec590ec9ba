"""Whatever a provider does, a run ends with a verdict or can be resumed, and no failed call is scored."""

import logging
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crito.api import aoptimize, aresume
from crito.errors import BadInput, ProviderFailure
from crito.graph import wiring
from crito.graph.run import Run
from crito.records import Outcome
from crito.result import Result
from crito.task import Budget
from crito.tools.ledger import Ledger
from tests.faults.toy import Body, answer, essence, stored, toy_task
from tests.stub_provider import Fault, StubProvider

SECRET = "zebra-quilt-7741-lantern"
Faults = Callable[[int, Body], Fault | None]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(seconds: float) -> None:
        del seconds

    monkeypatch.setattr(wiring, "Ledger", partial(Ledger, pause=pause, timeout=0.3))


def sometimes(kind: Any, share: float, *, retry_after: float | None = None) -> Faults:
    rng = random.Random(7)  # noqa: S311 - chooses faults
    return lambda number, body: Fault(kind, retry_after) if rng.random() < share else None


def always_for(text: str, kind: Any) -> Faults:
    """A fault for every request whose last message holds a text."""
    return lambda number, body: Fault(kind) if text in body["messages"][-1]["content"] else None


async def run_with(
    faults: Faults, database: Path, *, budget: Budget | None = None, seed: int = 0
) -> tuple[Result, StubProvider]:
    async with StubProvider(reply=answer, fault=faults) as stub:
        return await Run(toy_task(stub.url, budget=budget or Budget(calls=300), seed=seed), database).start("r"), stub


def query(database: Path, text: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


def outcomes(database: Path) -> dict[tuple[str, str], Outcome]:
    found = [Outcome.model_validate_json(body) for (body,) in query(database, "SELECT body FROM outcomes")]
    return {(outcome.candidate, outcome.example): outcome for outcome in found}


def failed_rows(database: Path) -> int:
    ((count,),) = query(database, "SELECT count(*) FROM calls WHERE status = 'failed'")
    return int(count)


@pytest.fixture(scope="module")
def calm() -> dict[tuple[str, str], Outcome]:
    """Outcomes of calm runs, by candidate and example; filled by the first test that needs them."""
    return {}


@pytest.mark.parametrize(
    ("kind", "share"),
    [(429, 0.3), (500, 0.3), (503, 0.2), ("garbage", 0.2), ("drop", 0.3), ("timeout", 0.02), (408, 0.1)],
)
async def test_a_run_among_faults_ends_with_a_verdict_and_scores_no_failure(
    tmp_path: Path, kind: Any, share: float, calm: dict[tuple[str, str], Outcome]
) -> None:
    if not calm:
        await run_with(lambda number, body: None, tmp_path / "calm.db")
        calm.update(outcomes(tmp_path / "calm.db"))
    database = tmp_path / "crito.db"
    result, stub = await run_with(sometimes(kind, share), database)
    assert result.verdict.n + result.verdict.failed == 16
    assert result.verdict.n >= 12
    assert result.bill.failed == failed_rows(database)
    assert stub.requests > result.bill.calls  # there was something to retry
    compared = 0
    for key, outcome in outcomes(database).items():
        assert (outcome.score is None) == (outcome.error is not None)
        if outcome.score is not None and key in calm and calm[key].score is not None:
            assert outcome.score == calm[key].score  # the faults have cost calls, not points
            compared += 1
    assert compared >= 40


@pytest.mark.parametrize("kind", ["empty", "truncated"])
async def test_empty_and_cut_off_answers_are_the_models_own(tmp_path: Path, kind: Any) -> None:
    result, _ = await run_with(sometimes(kind, 0.2), tmp_path / "crito.db")
    assert (result.verdict.n, result.bill.failed) == (16, 0)
    found = outcomes(tmp_path / "crito.db").values()
    if kind == "empty":
        assert any(outcome.output == "" and outcome.score and outcome.score.value == 0 for outcome in found)
    else:
        assert any(outcome.truncated and outcome.score is not None for outcome in found)


@pytest.mark.parametrize("kind", [400, 500, "garbage"])
async def test_a_test_example_that_always_fails_is_counted_and_left_out(tmp_path: Path, kind: Any) -> None:
    database = tmp_path / "crito.db"
    example = toy_task("http://x").splits.test[3]
    result, _ = await run_with(always_for(example.inputs["input"], kind), database)
    assert (result.verdict.n, result.verdict.failed) == (15, 1)
    assert result.bill.failed == failed_rows(database) == 2  # the seed's and the best candidate's
    failed = [outcome for (_, name), outcome in outcomes(database).items() if name == example.id]
    assert len(failed) == 2
    assert all(outcome.score is None and outcome.error for outcome in failed)


async def test_a_validation_example_that_always_fails_weighs_on_nobody(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    example = toy_task("http://x").splits.val[3]
    result, _ = await run_with(always_for(example.inputs["input"], 400), database)
    answered = [o for o in outcomes(database).values() if o.candidate == result.verdict.best and o.score]
    val = {e.id for e in toy_task("http://x").splits.val} - {example.id}
    scores = [o.score.value for o in answered if o.score and o.example in val]
    assert result.chain[-1].val_score == pytest.approx(sum(scores) / len(scores))
    assert len(scores) == 11


@pytest.mark.parametrize("kind", ["garbage", 500])
async def test_agents_that_always_fail_leave_the_run_to_code(tmp_path: Path, kind: Any) -> None:
    def faults(number: int, body: Body) -> Fault | None:
        return Fault(kind) if "response_format" in body else None

    result, _ = await run_with(faults, tmp_path / "crito.db", budget=Budget(calls=500))
    assert result.verdict.best_score > result.verdict.seed_score
    assert {link.author for link in result.chain} <= {"user", "code"}


@pytest.mark.parametrize("kind", [503, 429, "drop", "timeout"])
async def test_agents_that_cannot_be_reached_pause_the_run(tmp_path: Path, kind: Any) -> None:
    database = tmp_path / "crito.db"
    async with StubProvider(reply=answer) as stub, StubProvider(fault=lambda number, body: Fault(kind)) as agents:
        task = toy_task(stub.url).model_copy(update={"agent_model": f"endpoint/{agents.url}#a"})
        with pytest.raises(ProviderFailure, match=r"^planner: the model cannot be reached; endpoint/.*crito resume r"):
            await Run(task, database).start("r")
    assert query(database, "SELECT status FROM runs") == [("paused",)]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Essence of a run that nothing happened to; filled by the first test that needs it."""
    return {}


class Outage:
    """A provider that goes down at the n-th request that holds a text, until it is mended."""

    def __init__(self, text: str, nth: int) -> None:
        self._text, self._left = text, nth
        self.failed = 0
        self.mended = False

    def __call__(self, number: int, body: Body) -> Fault | None:
        self._left -= any(self._text in message["content"] for message in body["messages"])
        if self._left > 0 or self.mended:
            return None
        self.failed += 1
        return Fault(503)


@pytest.mark.parametrize(
    ("text", "nth"),
    [
        pytest.param("", 163, id="in a race"),
        pytest.param("Describe the task", 1, id="at the start"),
        pytest.param("Which should come next", 2, id="in planning"),
        pytest.param("You examine why a prompt fails", 2, id="in a critique"),
        pytest.param("You edit prompts", 2, id="in an edit"),
    ],
)
async def test_a_provider_that_goes_down_pauses_the_run_and_resuming_ends_it(
    tmp_path: Path, text: str, nth: int, undisturbed: dict[str, Any]
) -> None:
    database = tmp_path / "crito.db"
    budget = Budget(calls=1500)  # more than the run takes: failed calls count, and would end it earlier
    if not undisturbed:
        result, _ = await run_with(lambda number, body: None, tmp_path / "undisturbed.db", budget=budget, seed=12)
        undisturbed.update(essence(result))
    outage = Outage(text, nth)
    async with StubProvider(reply=answer, fault=outage) as stub:
        with pytest.raises(ProviderFailure, match=r"HTTP 503: .*; go on with: crito resume r") as caught:
            await Run(toy_task(stub.url, budget=budget, seed=12), database).start("r")
        assert caught.value.exit_code == 3
        assert query(database, "SELECT status FROM runs") == [("paused",)]
        outage.mended = True
        result = await aresume("r", database=database)
    assert essence(result) == undisturbed
    assert outage.failed <= 5 * 12  # six calls, and those in flight beside them
    assert result.bill.failed == failed_rows(database) >= 2


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_key_stops_the_run_at_once(tmp_path: Path, status: int) -> None:
    async with StubProvider(fault=lambda number, body: Fault(status)) as stub:
        with pytest.raises(ProviderFailure, match="mend the key and resume"):
            await Run(toy_task(stub.url), tmp_path / "crito.db").start("r")
        assert stub.requests <= 4


async def test_a_model_that_the_provider_does_not_know_stops_the_run(tmp_path: Path) -> None:
    async with StubProvider(fault=lambda number, body: Fault(404, message="no such model")) as stub:
        with pytest.raises(ProviderFailure, match="no such model"):
            await Run(toy_task(stub.url), tmp_path / "crito.db").start("r")
        assert stub.requests <= 12


@pytest.mark.parametrize("budget", [Budget(calls=150), Budget(calls=233), Budget(tokens=20_000)])
async def test_no_budget_is_ever_exceeded(tmp_path: Path, budget: Budget) -> None:
    result, _ = await run_with(sometimes("garbage", 0.2), tmp_path / "crito.db", budget=budget)
    assert result.bill.calls <= (budget.calls or 10**9)
    assert result.bill.tokens_in + result.bill.tokens_out <= (budget.tokens or 10**9)


async def test_a_dollar_budget_is_never_exceeded(tmp_path: Path) -> None:
    async with StubProvider(reply=answer) as stub:
        task = toy_task(stub.url, budget=Budget(usd=0.02))
        task = task.model_copy(update={"prices": {task.model: (1.0, 2.0)}})
        result = await Run(task, tmp_path / "crito.db").start("r")
    assert result.bill.usd is not None
    assert 0.005 < result.bill.usd <= 0.02


async def test_a_deadline_ends_the_search_and_leaves_time_for_the_verdict(tmp_path: Path) -> None:
    async with StubProvider(reply=answer, latency=0.05) as stub:
        task = toy_task(stub.url, budget=Budget(calls=600, seconds=4.0))
        result = await Run(task, tmp_path / "crito.db").start("r")
    assert result.stopped == "the budget of the search is used up"
    assert result.verdict.n == 16
    assert result.bill.failed <= 4  # those in flight, cut off
    assert result.bill.seconds < 6


async def test_a_dollar_budget_without_a_price_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    async with StubProvider() as stub:
        with pytest.raises(BadInput, match=r"the price of endpoint/.* is not known; give it under 'prices'"):
            await aoptimize(toy_task(stub.url, budget=Budget(usd=1.0)), database=database)
        assert stub.requests == 0
    assert not database.exists()


async def test_a_budget_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    async with StubProvider() as stub:
        with pytest.raises(BadInput, match="the least that works is about"):
            await aoptimize(toy_task(stub.url, budget=Budget(calls=30)), database=tmp_path / "crito.db")
    assert not [*tmp_path.iterdir()]  # noqa: ASYNC240 - nothing else runs


@pytest.mark.parametrize("kind", [None, 500, 401, 400])
async def test_the_key_is_in_no_file_no_log_and_no_message(
    tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    monkeypatch.setenv("CRITO_ENDPOINT_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    fault = None if kind is None else Fault(kind, message=f"{SECRET} is odd")
    said = ""
    async with StubProvider(reply=answer, fault=lambda number, body: fault) as stub:
        try:
            said = str(await Run(toy_task(stub.url, budget=Budget(calls=200)), tmp_path / "crito.db").start("r"))
        except ProviderFailure as error:
            said = f"{error} {error.__cause__!r} {error.__context__!r}"
        assert stub.authorizations[0] == f"Bearer {SECRET}"
    printed = capfd.readouterr()
    assert SECRET.encode() not in stored(tmp_path / "crito.db")
    assert SECRET not in said + caplog.text + printed.out + printed.err


async def test_every_span_and_call_of_a_run_hangs_from_its_root(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    await run_with(lambda number, body: None, database, budget=Budget(calls=600))
    rows = query(
        database, "SELECT id, parent, name, json_extract(attributes, '$.\"gen_ai.operation.name\"') FROM spans"
    )
    parents = {span: parent for span, parent, _, _ in rows}
    (root,) = [span for span, parent, _, _ in rows if parent is None]
    assert all(name.startswith(f"{operation} ") for _, _, name, operation in rows)
    assert {operation for *_, operation in rows} == {"invoke_workflow", "invoke_agent", "plan", "execute_tool"}
    for (span,) in query(database, "SELECT DISTINCT span FROM calls"):
        steps = 0
        while span != root:
            span, steps = parents[span], steps + 1  # noqa: PLW2901 - climbs
            assert steps < 10
