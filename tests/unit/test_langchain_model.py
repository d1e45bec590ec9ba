from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, SecretStr

from crito.errors import CallFailed
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.langchain_model import LangChainModel


class HostModel(BaseChatModel):
    model: str = "host-1"
    temperature: float | None = 0.9
    max_tokens: int | None = None
    api_key: SecretStr = SecretStr("open sesame")
    answer: AIMessage = AIMessage("hello")
    failure: Exception | None = Field(default=None)
    seen: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "host"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append({"messages": messages, "stop": stop, "max_tokens": self.max_tokens, "t": self.temperature})
        if self.failure:
            raise self.failure
        return ChatResult(generations=[ChatGeneration(message=self.answer)])


class StatusError(Exception):
    def __init__(self, status_code: int, message: str = "no") -> None:
        super().__init__(message)
        self.status_code = status_code


class RateLimitError(Exception):
    pass


class ReadTimeoutError(Exception):
    pass


class APIConnectionError(Exception):
    pass


REQUEST = ModelRequest(
    messages=(Message(role="system", content="Be kind."), Message(role="user", content="hi")),
    max_tokens=33,
    temperature=0.2,
    stop=("END",),
)


async def failure_of(error: Exception) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await LangChainModel(HostModel(failure=error)).complete(REQUEST)
    return caught.value


def test_the_name_is_the_models_own() -> None:
    assert LangChainModel(HostModel()).name == "langchain/host-1"


async def test_messages_keep_their_roles() -> None:
    host = HostModel()
    await LangChainModel(host).complete(REQUEST)
    assert [(m.type, m.content) for m in host.seen[0]["messages"]] == [("system", "Be kind."), ("human", "hi")]


async def test_limit_temperature_and_stop_reach_the_model() -> None:
    host = HostModel()
    await LangChainModel(host).complete(REQUEST)
    assert (host.seen[0]["max_tokens"], host.seen[0]["t"], host.seen[0]["stop"]) == (33, 0.2, ["END"])


async def test_the_hosts_model_is_not_changed() -> None:
    host = HostModel()
    await LangChainModel(host).complete(REQUEST)
    assert (host.max_tokens, host.temperature) == (None, 0.9)


async def test_a_temperature_that_the_host_left_open_stays_open() -> None:
    host = HostModel(temperature=None)
    await LangChainModel(host).complete(REQUEST)
    assert host.seen[0]["t"] is None


async def test_usage_is_read() -> None:
    counts: Any = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11, "input_token_details": {"cache_read": 4}}
    reply = await LangChainModel(HostModel(answer=AIMessage("ok", usage_metadata=counts))).complete(REQUEST)
    assert reply == ModelReply(text="ok", usage=Usage(tokens_in=9, tokens_out=2, cached=4))


async def test_text_is_read_from_content_blocks() -> None:
    answer = AIMessage([{"type": "text", "text": "good "}, {"type": "text", "text": "day"}])
    assert (await LangChainModel(HostModel(answer=answer)).complete(REQUEST)).text == "good day"


@pytest.mark.parametrize(
    "about", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}, {"done_reason": "length"}]
)
async def test_a_cut_off_answer_says_so(about: dict[str, str]) -> None:
    reply = await LangChainModel(HostModel(answer=AIMessage("ha", response_metadata=about))).complete(REQUEST)
    assert reply.finish == "length"


async def test_an_answer_without_text_is_a_failure() -> None:
    with pytest.raises(CallFailed) as caught:
        await LangChainModel(HostModel(answer=AIMessage(""))).complete(REQUEST)
    assert (caught.value.kind, caught.value.retryable) == ("empty", True)


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (StatusError(429), "rate_limit", True),
        (StatusError(500), "server", True),
        (StatusError(401), "auth", False),
        (StatusError(404), "bad_request", False),
        (RateLimitError("slow down"), "rate_limit", True),
        (ReadTimeoutError(), "timeout", True),
        (TimeoutError(), "timeout", True),
        (APIConnectionError(), "connection", True),
        (ConnectionResetError(), "connection", True),
        (TypeError("a bug"), "bad_request", False),
    ],
)
async def test_every_failure_has_its_kind(error: Exception, kind: str, retryable: bool) -> None:
    failure = await failure_of(error)
    assert (failure.kind, failure.retryable) == (kind, retryable)


async def test_no_message_holds_the_hosts_key() -> None:
    assert "open sesame" not in str(await failure_of(StatusError(400, "key open sesame is odd")))


async def test_an_answer_without_text_says_what_it_took() -> None:
    counts: Any = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    with pytest.raises(CallFailed) as caught:
        await LangChainModel(HostModel(answer=AIMessage("", usage_metadata=counts))).complete(REQUEST)
    assert (caught.value.tokens_in, caught.value.tokens_out) == (9, 2)


def test_models_with_other_settings_have_another_identity() -> None:
    one, same, other = (FakeListChatModel(responses=[text]) for text in ("a", "a", "b"))
    assert LangChainModel(one).identity == LangChainModel(same).identity != LangChainModel(other).identity


def test_a_model_that_does_not_tell_its_settings_has_no_identity() -> None:
    assert LangChainModel(HostModel()).identity is None
