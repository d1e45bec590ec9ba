import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from crito.errors import BudgetExhausted, CallFailed, ProviderFailure
from crito.protocols import ModelReply, Usage
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.endpoint_model import EndpointModel
from crito.tools.ledger import paid
from crito.tools.limiter import Limiter
from crito.tools.meter import Spend
from crito.tools.prices import Price
from crito.tools.scripted_model import ScriptedModel
from tests.builders import Pauses, ask, failure, make_ledger, rows_of
from tests.stub_provider import Fault, StubProvider


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


def model_of(answers: Sequence[str | ModelReply | Exception]) -> ScriptedModel:
    """Gives the answers in order, then the last one for ever."""
    left = list(answers)
    return ScriptedModel(lambda request: left.pop(0) if len(left) > 1 else left[0])


# --- failures ----------------------------------------------------------------------------------------------------


async def test_a_failure_has_its_row(database: Database) -> None:
    ledger = make_ledger(database)
    with pytest.raises(CallFailed):
        await ledger.call(ScriptedModel(lambda r: failure("bad_request", retryable=False)), ask(), role="t")
    assert rows_of(database, "status", "reply", "error") == [("failed", None, "bad_request: injected")]


async def test_a_failure_is_asked_again_when_the_call_is_made_again(database: Database) -> None:
    ledger, model = make_ledger(database), model_of([failure("bad_request", retryable=False), "yes"])
    with pytest.raises(CallFailed):
        await ledger.call(model, ask(), role="t")
    assert (await ledger.call(model, ask(), role="t")).reply.text == "yes"
    assert rows_of(database, "status") == [("failed",), ("ok",)]


async def test_a_failed_call_counts_in_the_budget(database: Database) -> None:
    ledger = make_ledger(database, budget=Budget(calls=1))
    with pytest.raises(CallFailed):
        await ledger.call(ScriptedModel(lambda r: failure("bad_request", retryable=False)), ask(), role="t")
    assert ledger.meter.spent == Spend(calls=1)
    with pytest.raises(BudgetExhausted):
        await ledger.call(ScriptedModel(["yes"]), ask(), role="t")


def wasted(kind: str) -> CallFailed:
    return CallFailed(kind, "injected", retryable=True, tokens_in=10, tokens_out=2)


async def test_silence_that_is_paid_for_is_on_the_bill(database: Database) -> None:
    ledger = make_ledger(database, price=Price(0.01, 0.1, 0.001))
    call = await ledger.call(ScriptedModel(lambda request: wasted("empty")), ask(), role="t")
    assert call.reply.usage == Usage(tokens_in=20, tokens_out=4)
    assert call.reply.usd == pytest.approx(0.6)
    for spent in (ledger.meter.spent, paid(database, "r")):
        assert (spent.calls, spent.tokens) == (1, 24)
        assert spent.usd == pytest.approx(0.6)


async def test_attempts_before_the_reply_are_on_the_bill(database: Database) -> None:
    reply = ModelReply(text="yes", usage=Usage(tokens_in=10, tokens_out=3))
    ledger = make_ledger(database, price=Price(0.01, 0.1, 0.001))
    await ledger.call(model_of([wasted("garbage"), wasted("garbage"), reply]), ask(), role="t")
    assert rows_of(database, "tokens_in", "tokens_out", "attempts") == [(30, 7, 3)]
    for spent in (ledger.meter.spent, paid(database, "r")):
        assert (spent.calls, spent.tokens) == (1, 37)
        assert spent.usd == pytest.approx(1.0)


async def test_a_failure_that_is_paid_for_is_on_the_bill(database: Database) -> None:
    ledger = make_ledger(database)
    with pytest.raises(CallFailed):
        await ledger.call(ScriptedModel(lambda request: wasted("garbage")), ask(), role="t")
    assert rows_of(database, "tokens_in", "tokens_out", "usd") == [(30, 6, None)]
    assert ledger.meter.spent == Spend(1, 36)


async def test_a_paid_attempt_is_not_repeated_beyond_the_budget(database: Database) -> None:
    ledger = make_ledger(database, budget=Budget(tokens=60))
    model = ScriptedModel(lambda request: wasted("garbage"))
    with pytest.raises(CallFailed):
        await ledger.call(model, ask(max_tokens=10), role="t")
    assert model.calls == 1


# --- retries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "tries"), [("rate_limit", 8), ("server", 5), ("timeout", 3), ("connection", 5), ("garbage", 3)]
)
async def test_each_kind_of_failure_has_its_number_of_tries(database: Database, kind: str, tries: int) -> None:
    pauses, model = Pauses(), ScriptedModel(lambda request: failure(kind))
    with pytest.raises(CallFailed) as caught:
        await make_ledger(database, pause=pauses).call(model, ask(), role="t")
    assert (model.calls, len(pauses.waits), caught.value.kind) == (tries, tries - 1, kind)
    assert rows_of(database, "attempts") == [(tries,)]


async def test_a_call_that_succeeds_at_last_is_one_row(database: Database) -> None:
    ledger, model = make_ledger(database), model_of([failure("server"), failure("timeout"), "yes"])
    assert (await ledger.call(model, ask(), role="t")).reply.text == "yes"
    assert rows_of(database, "status", "attempts") == [("ok", 3)]


async def test_what_cannot_be_mended_is_not_retried(database: Database) -> None:
    model = ScriptedModel(lambda request: failure("bad_request", retryable=False))
    with pytest.raises(CallFailed):
        await make_ledger(database).call(model, ask(), role="t")
    assert model.calls == 1


async def test_the_provider_says_how_long_to_wait(database: Database) -> None:
    pauses, model = Pauses(), model_of([failure("rate_limit", retry_after=7.5), "yes"])
    await make_ledger(database, pause=pauses).call(model, ask(), role="t")
    assert pauses.waits == [7.5]


async def test_no_wait_is_longer_than_half_a_minute(database: Database) -> None:
    pauses, model = Pauses(), model_of([failure("rate_limit", retry_after=3600.0), "yes"])
    await make_ledger(database, pause=pauses).call(model, ask(), role="t")
    assert pauses.waits == [30.0]


async def test_waits_grow_and_are_spread(database: Database) -> None:
    pauses, model = Pauses(), ScriptedModel(lambda request: failure("rate_limit"))
    with pytest.raises(CallFailed):
        await make_ledger(database, pause=pauses).call(model, ask(), role="t")
    for attempt, wait in enumerate(pauses.waits, start=1):
        assert min(30.0, 0.5 * 2**attempt) / 2 <= wait <= min(30.0, 0.5 * 2**attempt)
    assert len(set(pauses.waits)) == len(pauses.waits)


@pytest.mark.parametrize("kind", ["rate_limit", "server"])
async def test_push_back_halves_what_is_in_flight(database: Database, kind: str) -> None:
    limiter, model = Limiter(8), model_of([failure(kind), "yes"])
    await make_ledger(database, limiter=limiter).call(model, ask(), role="t")
    assert limiter.limit == 4


async def test_other_failures_leave_what_is_in_flight_alone(database: Database) -> None:
    limiter, model = Limiter(8), model_of([failure("garbage"), "yes"])
    await make_ledger(database, limiter=limiter).call(model, ask(), role="t")
    assert limiter.limit == 8


async def test_a_silent_model_times_out(database: Database) -> None:
    async with StubProvider(fault=lambda n, body: Fault("timeout")) as stub:
        model = EndpointModel("endpoint/stub", stub.url, "m")
        with pytest.raises(CallFailed, match=r"no answer within 0\.05 s") as caught:
            await make_ledger(database, timeout=0.05).call(model, ask(), role="t")
        await model.aclose()
    assert caught.value.kind == "timeout"
    assert rows_of(database, "status", "attempts") == [("failed", 3)]


# --- empty and truncated -----------------------------------------------------------------------------------------


async def test_silence_is_asked_twice_and_is_then_the_answer(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(lambda request: failure("empty"))
    assert (await ledger.call(model, ask(), role="t")).reply.text == ""
    assert model.calls == 2
    assert (await ledger.call(model, ask(), role="t")).hit


async def test_a_word_after_silence_counts(database: Database) -> None:
    model = model_of([failure("empty"), "yes"])
    assert (await make_ledger(database).call(model, ask(), role="t")).reply.text == "yes"


async def test_a_truncated_reply_stays_marked_in_the_cache(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(lambda request: ModelReply(text="ye", finish="length"))
    await ledger.call(model, ask(), role="t")
    assert (await ledger.call(model, ask(), role="t")).reply.finish == "length"


# --- the provider is down ----------------------------------------------------------------------------------------


async def test_a_refused_key_ends_the_run_at_once(database: Database) -> None:
    model = ScriptedModel(lambda request: failure("auth", retryable=False))
    with pytest.raises(ProviderFailure, match="mend the key and resume") as caught:
        await make_ledger(database).call(model, ask(), role="t")
    assert (model.calls, caught.value.exit_code) == (1, 3)
    assert rows_of(database, "status") == [("failed",)]


async def test_six_failures_in_a_row_are_a_provider_that_is_down(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(lambda request: failure("server"))
    for number in range(5):
        with pytest.raises(CallFailed):
            await ledger.call(model, ask(str(number)), role="t")
    with pytest.raises(ProviderFailure, match="6 calls in a row"):
        await ledger.call(model, ask("5"), role="t")


async def test_one_success_starts_the_count_anew(database: Database) -> None:
    broken = ScriptedModel(lambda request: failure("server"))
    ledger = make_ledger(database)
    for number in range(12):
        with pytest.raises(CallFailed):
            await ledger.call(broken, ask(str(number)), role="t")
        if number % 5 == 4:
            await ledger.call(ScriptedModel(["yes"]), ask(f"between {number}"), role="t")


async def test_calls_that_wait_are_not_sent_to_a_provider_that_is_down(database: Database) -> None:
    ledger, model = make_ledger(database, limiter=Limiter(2)), ScriptedModel(lambda request: failure("connection"))
    found = await asyncio.gather(
        *(ledger.call(model, ask(str(number)), role="t") for number in range(100)), return_exceptions=True
    )
    assert sum(isinstance(error, ProviderFailure) for error in found) >= 95
    assert len(rows_of(database, "id")) <= 7  # six, and one that was in flight
    assert model.calls <= 7 * 5


async def test_calls_that_wait_are_not_sent_with_a_refused_key(database: Database) -> None:
    ledger = make_ledger(database, limiter=Limiter(2))
    model = ScriptedModel(lambda request: failure("auth", retryable=False))
    found = await asyncio.gather(
        *(ledger.call(model, ask(str(number)), role="t") for number in range(50)), return_exceptions=True
    )
    assert all(isinstance(error, ProviderFailure) for error in found)
    assert model.calls <= 3


async def test_requests_refused_one_by_one_are_not_a_provider_that_is_down(database: Database) -> None:
    ledger, refusing = make_ledger(database), ScriptedModel(lambda request: failure("bad_request", retryable=False))
    await ledger.call(ScriptedModel(["yes"]), ask(), role="t")
    for number in range(20):
        with pytest.raises(CallFailed):
            await ledger.call(refusing, ask(str(number)), role="t")


async def test_a_provider_that_takes_no_request_at_all_ends_the_run(database: Database) -> None:
    """A misspelt model name gives 404 to everything."""
    ledger, refusing = make_ledger(database), ScriptedModel(lambda request: failure("bad_request", retryable=False))
    for number in range(5):
        with pytest.raises(CallFailed):
            await ledger.call(refusing, ask(str(number)), role="t")
    with pytest.raises(ProviderFailure):
        await ledger.call(refusing, ask("5"), role="t")
