import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from crito.errors import CallFailed
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.endpoint_model import EndpointModel, read_reply
from tests.stub_provider import Fault, StubProvider

HELLO = ModelRequest(messages=(Message(role="user", content="hello there"),), max_tokens=7)


async def exchange(
    request: ModelRequest = HELLO,
    *,
    fault: Fault | None = None,
    reply: Callable[[dict[str, Any]], str] | None = None,
    api_key: str | None = None,
    path: str = "",
    logprobs: dict[str, float] | None = None,
) -> tuple[ModelReply | CallFailed, StubProvider]:
    async with StubProvider(fault=lambda n, body: fault, reply=reply, logprobs=logprobs) as stub:
        model = EndpointModel("endpoint/stub", stub.url + path, "stub", api_key, timeout=0.2)
        try:
            return await model.complete(request), stub
        except CallFailed as failure:
            return failure, stub
        finally:
            await model.aclose()


async def failure_of(fault: Fault, api_key: str | None = None) -> CallFailed:
    result, _ = await exchange(fault=fault, api_key=api_key)
    assert isinstance(result, CallFailed)
    return result


async def test_an_answer_is_read_with_its_usage() -> None:
    result, _ = await exchange(reply=lambda body: "good day to you")
    assert result == ModelReply(text="good day to you", usage=Usage(tokens_in=2, tokens_out=4))


async def test_the_request_is_sent_as_it_is() -> None:
    messages = (Message(role="system", content="Be kind."), Message(role="user", content="hi \ud800"))
    _, stub = await exchange(ModelRequest(messages=messages, max_tokens=9, temperature=0.5, stop=("END",)))
    assert stub.bodies == [
        {
            "model": "stub",
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi \ud800"}],
            "max_tokens": 9,
            "temperature": 0.5,
            "stop": ["END"],
        }
    ]


async def test_a_schema_is_asked_for_as_response_format() -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}}}
    _, stub = await exchange(HELLO.model_copy(update={"json_schema": schema}))
    assert stub.bodies[0]["response_format"]["type"] == "json_schema"
    assert stub.bodies[0]["response_format"]["json_schema"]["schema"] == schema


async def test_the_first_tokens_are_asked_for_and_read() -> None:
    request = HELLO.model_copy(update={"max_tokens": 1, "top_logprobs": 2})
    result, stub = await exchange(request, logprobs={" no": -1.5, "x": -9.0, " yes": -0.25})
    assert (stub.bodies[0]["logprobs"], stub.bodies[0]["top_logprobs"]) == (True, 2)
    assert isinstance(result, ModelReply)
    assert result.first_token == {" yes": -0.25, " no": -1.5}


def ranked(*tokens: tuple[str, object]) -> dict[str, Any]:
    top = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    return {"message": {"content": None}, "finish_reason": "stop", "logprobs": {"content": [{"top_logprobs": top}]}}


def test_of_two_tokens_with_one_text_the_likelier_counts() -> None:
    choice = ranked(("\ufffd", -1.0), ("a", -2.0), ("\ufffd", -3.0))
    assert read_reply("m", {"choices": [choice]}).first_token == {"\ufffd": -1.0, "a": -2.0}


def test_a_token_that_cannot_come_is_left_out() -> None:
    choice = ranked(("a", -1.0), ("b", float("-inf")))
    assert read_reply("m", {"choices": [choice]}).first_token == {"a": -1.0}


def test_an_answer_of_log_probabilities_alone_is_not_empty() -> None:
    assert read_reply("m", {"choices": [ranked(("a", -1.0))]}).text == ""


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{}]}, [1], "many"])
def test_log_probabilities_that_cannot_be_read_are_none(logprobs: object) -> None:
    choice = {"message": {"content": "ok"}, "logprobs": logprobs}
    assert read_reply("m", {"choices": [choice]}).first_token is None


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
async def test_v1_is_added_where_the_address_has_no_path(path: str) -> None:
    result, _ = await exchange(path=path)
    assert isinstance(result, ModelReply)


async def test_the_key_is_sent_as_a_bearer_token() -> None:
    _, stub = await exchange(api_key="hush-hush")
    assert stub.authorizations == ["Bearer hush-hush"]


async def test_no_key_sends_no_authorization() -> None:
    _, stub = await exchange()
    assert stub.authorizations == [None]


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (429, "rate_limit", True),
        (500, "server", True),
        (503, "server", True),
        (401, "auth", False),
        (402, "auth", False),
        (403, "auth", False),
        (400, "bad_request", False),
        (404, "bad_request", False),
        (422, "bad_request", False),
        (301, "bad_request", False),
        (408, "timeout", True),
        ("timeout", "timeout", True),
        ("drop", "connection", True),
        ("garbage", "garbage", True),
        ("empty", "empty", True),
    ],
)
async def test_every_failure_has_its_kind(fault: Any, kind: str, retryable: bool) -> None:
    failure = await failure_of(Fault(fault))
    assert (failure.kind, failure.retryable) == (kind, retryable)
    assert str(failure).startswith("endpoint/stub: ")


async def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    async with StubProvider() as stub:
        gone = stub.url
    model = EndpointModel("endpoint/gone", gone, "m")
    with pytest.raises(CallFailed, match="is the server up") as caught:
        await model.complete(HELLO)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)
    await model.aclose()


async def test_a_used_up_account_is_not_asked_again() -> None:
    failure = await failure_of(Fault(429, message="You have no money left: insufficient_quota"))
    assert (failure.kind, failure.retryable) == ("auth", False)


async def test_retry_after_is_read_in_seconds() -> None:
    assert (await failure_of(Fault(429, 7))).retry_after == 7.0


async def test_retry_after_is_read_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait = (await failure_of(Fault(503, later))).retry_after
    assert wait is not None
    assert 55 < wait <= 60


async def test_a_retry_after_in_the_past_is_no_wait() -> None:
    assert (await failure_of(Fault(429, "Wed, 21 Oct 2015 07:28:00 GMT"))).retry_after == 0.0


async def test_an_unreadable_retry_after_is_ignored() -> None:
    assert (await failure_of(Fault(429, "soon"))).retry_after is None


async def test_a_refused_request_repeats_the_providers_words_in_short() -> None:
    failure = await failure_of(Fault(400, message="unknown\nparameter " + "x" * 900))
    assert "HTTP 400: unknown parameter" in str(failure)
    assert len(str(failure)) < 300


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_no_message_holds_the_key(status: int) -> None:
    failure = await failure_of(Fault(status, message="your key hush-hush is odd"), api_key="hush-hush")
    assert "hush-hush" not in str(failure)
    assert failure.__cause__ is None


async def test_a_cut_off_answer_says_so() -> None:
    result, _ = await exchange(fault=Fault("truncated"), reply=lambda body: "half of")
    assert isinstance(result, ModelReply)
    assert (result.text, result.finish) == ("half of", "length")


def test_an_answer_cut_off_before_its_first_word_is_truncated_and_not_empty() -> None:
    answer = {"choices": [{"finish_reason": "length", "message": {"content": None}}]}
    assert read_reply("m", answer) == ModelReply(text="", finish="length")


def test_tokens_from_the_providers_cache_are_counted() -> None:
    answer = {
        "choices": [{"message": {"content": "ok"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}},
    }
    assert read_reply("m", answer).usage == Usage(tokens_in=9, tokens_out=1, cached=8)


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": None}, {"choices": [{"message": {"content": 3}}]}])
def test_an_answer_of_another_shape_is_garbage(answer: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match="not in the chat-completions format") as caught:
        read_reply("m", answer)
    assert caught.value.kind == "garbage"


async def test_the_adapter_itself_limits_no_concurrency() -> None:
    async with StubProvider(latency=0.5) as stub:
        model = EndpointModel("endpoint/stub", stub.url, "stub")
        await asyncio.gather(*(model.complete(HELLO) for _ in range(130)))
        await model.aclose()
    assert stub.peak > 100  # aiohttp's own limit


def test_a_model_serves_one_event_loop_after_another() -> None:
    model: EndpointModel | None = None

    async def once() -> str:
        nonlocal model
        async with StubProvider() as stub:
            model = model or EndpointModel("endpoint/stub", stub.url, "stub")
            model._root = f"{stub.url}/v1"
            reply = await model.complete(HELLO)
            await model.aclose()
            return reply.text

    assert [asyncio.run(once()), asyncio.run(once())] == ["ok", "ok"]


@pytest.mark.parametrize("message", [{"content": None}, None])
def test_an_answer_of_no_use_says_what_it_took(message: object) -> None:
    answer = {"choices": [{"message": message}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    with pytest.raises(CallFailed) as caught:
        read_reply("m", answer)
    assert (caught.value.tokens_in, caught.value.tokens_out) == (9, 4)


@pytest.mark.parametrize("usage", ["many", {"prompt_tokens": "many"}, {"prompt_tokens": -1}])
def test_a_count_that_cannot_be_read_is_none(usage: object) -> None:
    assert read_reply("m", {"choices": [{"message": {"content": "ok"}}], "usage": usage}).usage == Usage()
