import pytest

from crito.errors import CallFailed
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.scripted_model import ScriptedModel


def ask(text: str = "How are you?") -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content=text),))


async def test_a_function_sees_the_request() -> None:
    model = ScriptedModel(lambda request: request.messages[-1].content.upper())
    assert (await model.complete(ask("hello"))).text == "HELLO"


async def test_a_list_is_answered_in_order() -> None:
    model = ScriptedModel(["one", "two"])
    assert [(await model.complete(ask())).text for _ in range(2)] == ["one", "two"]


async def test_a_used_up_list_says_so() -> None:
    model = ScriptedModel(["one"], name="scripted/critic")
    await model.complete(ask())
    with pytest.raises(CallFailed, match="scripted/critic: all 1 scripted replies are used up"):
        await model.complete(ask())


async def test_a_returned_exception_is_raised() -> None:
    model = ScriptedModel(lambda request: CallFailed("server", "down", retryable=True))
    with pytest.raises(CallFailed, match="down"):
        await model.complete(ask())


async def test_a_complete_reply_is_passed_on() -> None:
    reply = ModelReply(text="cut", finish="length", usd=0.5)
    assert await ScriptedModel(lambda request: reply).complete(ask()) == reply


def test_it_gives_log_probabilities_only_where_it_is_told_to() -> None:
    assert [ScriptedModel([], supports_logprobs=told).supports_logprobs for told in (True, False)] == [True, False]
    assert not ScriptedModel([]).supports_logprobs


def test_it_goes_on_from_a_begun_answer_only_where_it_is_told_to() -> None:
    assert [ScriptedModel([], supports_prefill=told).supports_prefill for told in (True, False)] == [True, False]
    assert not ScriptedModel([]).supports_prefill


async def test_usage_is_counted_in_words() -> None:
    reply = await ScriptedModel(["fine, thank you all"]).complete(ask("How are you?"))
    assert reply.usage == Usage(tokens_in=3, tokens_out=4)


async def test_failed_calls_count_too() -> None:
    model = ScriptedModel(lambda request: CallFailed("server", "down", retryable=True))
    with pytest.raises(CallFailed):
        await model.complete(ask("first"))
    assert model.calls == 1
    assert model.requests == [ask("first")]
