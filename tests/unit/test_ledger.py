import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crito.errors import BudgetExhausted, CallFailed, ProviderFailure
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.endpoint_model import EndpointModel
from crito.tools.ledger import call_key, paid
from crito.tools.limiter import Limiter
from crito.tools.meter import Spend
from crito.tools.prices import Price
from crito.tools.scripted_model import ScriptedModel
from tests.builders import ask, failure, make_ledger, rows_of
from tests.stub_provider import Fault, StubProvider

SECRET = "zebra-quilt-7741-lantern"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


# --- paid once ---------------------------------------------------------------------------------------------------


async def test_an_equal_request_is_paid_once(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(["yes"])
    first = await ledger.call(model, ask(), role="target")
    second = await ledger.call(model, ask(), role="critic")
    assert (first.hit, second.hit, second.reply) == (False, True, first.reply)
    assert model.calls == 1


def identified(model: ScriptedModel, identity: str) -> ScriptedModel:
    model.identity = identity  # type: ignore[attr-defined]  # what named models have
    return model


async def test_the_cache_is_shared_by_all_runs_of_a_file(tmp_path: Path) -> None:
    model = identified(ScriptedModel(["yes"]), "")
    for run in ("a", "b"):
        database = Database(tmp_path / "crito.db")
        call = await make_ledger(database, run=run).call(model, ask(), role="target")
        assert call.reply.text == "yes"
        await database.close()
    assert model.calls == 1


async def test_a_hit_gives_the_whole_reply_back(database: Database) -> None:
    reply = ModelReply(text="y\u00e9s", finish="length", usage=Usage(tokens_in=9, tokens_out=2, cached=3), usd=0.25)
    ledger, model = make_ledger(database), ScriptedModel(lambda request: reply)
    await ledger.call(model, ask(), role="target")
    assert (await ledger.call(model, ask(), role="target")).reply == reply


async def test_equal_requests_in_flight_share_one_call(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(["yes"])
    found = await asyncio.gather(*(ledger.call(model, ask(), role="target") for _ in range(5)))
    assert [call.reply.text for call in found] == ["yes"] * 5
    assert (model.calls, len(rows_of(database, "id"))) == (1, 1)


async def test_equal_requests_in_flight_share_one_failure(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(lambda request: failure("bad_request", retryable=False))
    found = await asyncio.gather(*(ledger.call(model, ask(), role="t") for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [CallFailed] * 3
    assert (model.calls, len(rows_of(database, "id"))) == (1, 1)


async def test_a_repeat_with_its_own_sample_index_is_paid_for(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(["one", "two"])
    texts = [(await ledger.call(model, ask(), role="t", sample=sample)).reply.text for sample in (0, 1, 1)]
    assert texts == ["one", "two", "two"]


@pytest.mark.parametrize(
    "other",
    [
        ask("ho"),
        ask(max_tokens=9),
        ask(temperature=0.5),
        ask(stop=("x",)),
        ask(json_schema={"type": "object"}),
        ask(top_logprobs=5),
        ModelRequest(messages=(Message(role="system", content="hi"),)),
    ],
)
def test_whatever_decides_the_reply_is_in_the_key(other: ModelRequest) -> None:
    assert call_key("m", ask(), 0) != call_key("m", other, 0)


def test_a_request_without_logprobs_keeps_the_key_that_it_had_before_there_were_any() -> None:
    assert call_key("m", ask(), 0) == "fc1c8503ff89934850510b35521b487d"


async def test_a_reply_from_the_cache_has_its_first_tokens(database: Database) -> None:
    reply = ModelReply(text="yes", first_token={" yes": -0.25, "\ud800": -2.5})
    ledger, model = make_ledger(database), ScriptedModel(lambda request: reply)
    calls = [await ledger.call(model, ask(top_logprobs=2), role="target") for _ in range(2)]
    assert [call.hit for call in calls] == [False, True]
    assert [call.reply.first_token for call in calls] == [reply.first_token] * 2


def test_another_models_reply_is_not_taken() -> None:
    assert call_key("m", ask(), 0) != call_key("n", ask(), 0)


async def test_models_of_one_name_are_told_apart_by_their_identity(database: Database) -> None:
    ledger, hits = make_ledger(database), []
    for identity in ("old", "new", "new"):
        call = await ledger.call(identified(ScriptedModel([identity]), identity), ask(), role="t")
        assert call.reply.text == identity
        hits.append(call.hit)
    assert hits == [False, False, True]


async def test_answers_of_a_model_without_an_identity_stay_in_their_run(database: Database) -> None:
    for run in ("a", "b"):
        call = await make_ledger(database, run=run).call(ScriptedModel([run]), ask(), role="t")
        assert call.reply.text == run


async def test_whoever_waits_for_a_cancelled_call_pays_itself(database: Database) -> None:
    ledger = make_ledger(database)
    gate, asked = asyncio.Event(), 0

    class Slow(ScriptedModel):
        async def complete(self, request: ModelRequest) -> ModelReply:
            nonlocal asked
            asked += 1
            await gate.wait()
            return await super().complete(request)

    model = Slow(["yes"])
    first, *others = [asyncio.create_task(ledger.call(model, ask(), role="t")) for _ in range(3)]
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    gate.set()
    assert [(await task).reply.text for task in others] == ["yes", "yes"]
    assert (asked, first.cancelled()) == (2, True)


async def test_half_a_character_in_a_reply_is_replaced(database: Database) -> None:
    call = await make_ledger(database).call(ScriptedModel(["a\ud800"]), ask(), role="t")
    assert call.reply.text == "a?"


async def test_a_reply_is_handed_over_only_when_its_row_is_durable(database: Database) -> None:
    ledger, model = make_ledger(database), ScriptedModel(["yes"])
    write, gate = database.write, asyncio.Event()

    async def slow(table: sa.Table, *rows: Any) -> None:
        await gate.wait()
        await write(table, *rows)

    database.write = slow  # type: ignore[method-assign]
    task = asyncio.create_task(ledger.call(model, ask(), role="t"))
    await asyncio.sleep(0.02)
    assert model.calls == 1
    assert not task.done()
    gate.set()
    await task
    assert rows_of(database, "status") == [("ok",)]


# --- the row is the bill and the trace ---------------------------------------------------------------------------


async def test_a_row_says_who_asked_whom_what_and_what_it_took(database: Database) -> None:
    reply = ModelReply(text="yes", usage=Usage(tokens_in=10, tokens_out=2))
    ledger = make_ledger(database, price=Price(0.01, 0.1, 0.001))
    call = await ledger.call(ScriptedModel(lambda request: reply), ask("hi there"), role="critic")
    columns = ("key", "run", "role", "model", "reply", "finish", "tokens_in", "tokens_out", "attempts", "error")
    assert rows_of(database, *columns) == [(call.key, "r", "critic", "scripted", "yes", "stop", 10, 2, 1, None)]
    ((request, usd),) = rows_of(database, "request", "usd")
    assert json.loads(request)["messages"] == [{"role": "user", "content": "hi there"}]
    assert usd == pytest.approx(0.3)
    assert call.reply.usd == pytest.approx(0.3)


async def test_what_the_provider_says_a_call_cost_goes_before_the_table(database: Database) -> None:
    reply = ModelReply(text="yes", usage=Usage(tokens_in=10), usd=0.07)
    await make_ledger(database, price=Price(1, 1, 1)).call(ScriptedModel(lambda request: reply), ask(), role="t")
    assert rows_of(database, "usd") == [(0.07,)]


async def test_an_unknown_price_is_stored_as_unknown(database: Database) -> None:
    await make_ledger(database).call(ScriptedModel(["yes"]), ask(), role="t")
    assert rows_of(database, "usd") == [(None,)]


async def test_a_run_has_paid_what_its_rows_say_and_nothing_of_others(database: Database) -> None:
    reply = ModelReply(text="yes", usage=Usage(tokens_in=10, tokens_out=2), usd=0.5)
    model = ScriptedModel(lambda request: reply)
    await make_ledger(database, run="a").call(model, ask("1"), role="t")
    await make_ledger(database, run="b").call(model, ask("2"), role="t")
    assert paid(database, "a") == Spend(1, 12, 0.5)
    assert paid(database, "none") == Spend()


# --- budgets -----------------------------------------------------------------------------------------------------


async def test_calls_of_all_roles_share_the_budget(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(calls=2)), ScriptedModel(lambda request: "yes")
    await ledger.call(model, ask("1"), role="target")
    await ledger.call(model, ask("2"), role="critic")
    with pytest.raises(BudgetExhausted):
        await ledger.call(model, ask("3"), role="planner")


async def test_hits_are_free(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(calls=1)), ScriptedModel(["yes"])
    for _ in range(3):
        await ledger.call(model, ask(), role="t")
    assert ledger.meter.spent.calls == 1


async def test_calls_at_once_do_not_run_over_the_budget(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(calls=7)), ScriptedModel(lambda request: "yes")
    found = await asyncio.gather(
        *(ledger.call(model, ask(str(n)), role="t") for n in range(30)), return_exceptions=True
    )
    assert model.calls == 7
    assert sum(isinstance(error, BudgetExhausted) for error in found) == 23


async def test_tokens_and_dollars_are_settled_at_what_the_call_took(database: Database) -> None:
    reply = ModelReply(text="yes", usage=Usage(tokens_in=10, tokens_out=2))
    ledger = make_ledger(database, budget=Budget(tokens=1000, usd=100), price=Price(0.1, 1.0, 0.1))
    await ledger.call(ScriptedModel(lambda request: reply), ask(max_tokens=50), role="t")
    assert ledger.meter.spent == Spend(1, 12, 10 * 0.1 + 2 * 1.0)


async def test_calls_that_wait_for_room_are_not_made_once_the_provider_is_down(database: Database) -> None:
    class Refusing:
        name, calls = "m", 0

        async def complete(self, request: ModelRequest) -> ModelReply:
            self.calls += 1
            await asyncio.sleep(0.01)
            raise failure("auth", retryable=False)

        async def aclose(self) -> None:
            pass

    ledger, model = make_ledger(database, budget=Budget(tokens=1500)), Refusing()
    asked = (ledger.call(model, ask(f"{n}", max_tokens=1000), role="t") for n in range(4))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [ProviderFailure] * 4
    assert model.calls == 1


async def test_a_call_that_could_take_more_tokens_than_are_left_is_not_made(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(tokens=100)), ScriptedModel(["yes"])
    with pytest.raises(BudgetExhausted, match="tokens"):
        await ledger.call(model, ask(max_tokens=200), role="t")
    assert model.calls == 0


async def test_a_call_that_could_cost_more_than_is_left_is_not_made(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(usd=0.01), price=Price(0.0, 1e-3, 0.0)), ScriptedModel(["yes"])
    with pytest.raises(BudgetExhausted, match="usd"):
        await ledger.call(model, ask(max_tokens=200), role="t")
    assert model.calls == 0


async def test_the_deadline_cuts_calls_off_and_is_not_the_providers_failure(database: Database) -> None:
    async with StubProvider(fault=lambda n, body: Fault("timeout")) as stub:
        model = EndpointModel("endpoint/stub", stub.url, "m")
        ledger = make_ledger(database, budget=Budget(seconds=0.2), limiter=Limiter(8))
        found = await asyncio.gather(
            *(ledger.call(model, ask(str(n)), role="t") for n in range(20)), return_exceptions=True
        )
        await model.aclose()
        requests = stub.requests
    assert [type(error) for error in found] == [BudgetExhausted] * 20
    assert requests == 8


async def test_what_was_never_sent_has_no_row(database: Database) -> None:
    ledger, model = make_ledger(database, budget=Budget(seconds=1e-9)), ScriptedModel(["yes"])
    with pytest.raises(BudgetExhausted, match="seconds"):
        await ledger.call(model, ask(), role="t")
    assert (model.calls, rows_of(database, "id")) == (0, [])


@pytest.mark.parametrize(
    ("text", "tokens"), [("\u5bff\u9650\u7121", 9), ("1234567890", 10), ("\U0001f9d1" * 3, 12), ("word " * 20, 20)]
)
async def test_no_text_takes_more_tokens_than_are_set_aside(database: Database, text: str, tokens: int) -> None:
    """What the most wasteful tokenizers make of it: a token for every byte, digit or word."""
    model = ScriptedModel(lambda request: ModelReply(text="a", usage=Usage(tokens_in=tokens, tokens_out=1)))
    frame = 32 + 8  # what the template may add
    ledger = make_ledger(database, budget=Budget(tokens=frame + tokens))
    with pytest.raises(BudgetExhausted):
        await ledger.call(model, ask(text, max_tokens=1), role="t")
    assert model.calls == 0


async def test_a_schema_and_hidden_reasoning_are_set_aside_too(database: Database) -> None:
    ledger, plain = make_ledger(database, budget=Budget(tokens=200)), ask(max_tokens=1)
    await ledger.call(ScriptedModel(["yes"]), plain, role="t")
    with pytest.raises(BudgetExhausted):
        await ledger.call(ScriptedModel(["yes"]), ask(max_tokens=1, json_schema={"a": "1" * 200}), role="t")
    thinker = ScriptedModel(["yes"], name="thinker")
    thinker.headroom = 200  # type: ignore[attr-defined]  # what reasoning models have
    with pytest.raises(BudgetExhausted):
        await ledger.call(thinker, plain, role="t")


# --- no secret ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_the_key_is_nowhere_but_in_the_request(
    tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    monkeypatch.setenv("CRITO_ENDPOINT_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    database = Database(tmp_path / "crito.db")
    fault = Fault(status, message=f"the key {SECRET} is odd")
    async with StubProvider(fault=lambda n, body: fault if n <= 1 or status < 429 else None) as stub:
        model = EndpointModel(f"endpoint/{stub.url}#m", stub.url, "m", SECRET)
        ledger = make_ledger(database)
        said = ""
        try:
            await ledger.call(model, ask(), role="t")
        except (CallFailed, ProviderFailure) as error:
            said = f"{error} {error.__cause__}"
        await model.aclose()
        sent = stub.authorizations
    await database.close()
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs
    printed = capsys.readouterr()
    assert sent[0] == f"Bearer {SECRET}"
    assert SECRET.encode() not in on_disk
    assert SECRET not in said + caplog.text + printed.out + printed.err
