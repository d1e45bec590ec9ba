import subprocess
import sys
from typing import Any

import pytest

from crito.errors import CallFailed
from crito.prompt import Message
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.embedder import Embedder, vectors_of
from crito.tools.litellm_model import LiteLLMModel, failure_of_error
from tests.stub_provider import Fault, StubProvider

HELLO = ModelRequest(messages=(Message(role="user", content="hello there"),), max_tokens=7)
FAULTS = [
    Fault(429, 7),
    Fault(500),
    Fault(401),
    Fault(403),
    Fault(400),
    Fault("garbage"),
    Fault("drop"),
    Fault("empty"),
]
KINDS = ["rate_limit", "server", "auth", "auth", "bad_request", "garbage", "connection", "empty"]


class SdkError(Exception):
    def __init__(self, message: str, **attributes: object) -> None:
        super().__init__(message)
        vars(self).update(attributes)


class APITimeoutError(SdkError):
    pass


async def test_litellm_answers_and_fails_through_the_same_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    # One test on purpose: importing LiteLLM takes seconds.
    async def refused(model: LiteLLMModel) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            await model.complete(HELLO)
        return caught.value

    def fault(n: int, body: dict[str, Any]) -> Fault | None:
        return FAULTS[n - 3] if n > 2 else None

    monkeypatch.setenv("OPENAI_API_KEY", "sk-hush-hush")
    async with StubProvider(fault=fault, reply=lambda body: "good day to you", logprobs={" good": -0.5}) as stub:
        monkeypatch.setenv("OPENAI_API_BASE", f"{stub.url}/v1")
        model = LiteLLMModel("openai/stub")
        assert await model.complete(HELLO) == ModelReply(text="good day to you", usage=Usage(tokens_in=2, tokens_out=4))
        likely = await model.complete(
            HELLO.model_copy(update={"json_schema": {"type": "object"}, "top_logprobs": model.most_logprobs})
        )
        failures = [await refused(model) for _ in FAULTS]
        await model.aclose()
    async with StubProvider(fault=lambda n, body: Fault(401) if n > 1 else None) as embedding:
        monkeypatch.setenv("OPENAI_API_BASE", f"{embedding.url}/v1")
        embedder = Embedder(LiteLLMModel("openai/stub"))
        embedded = await embedder.complete(HELLO)
        with pytest.raises(CallFailed) as unembedded:
            await embedder.complete(HELLO)
    assert vectors_of([embedded.text]).tolist() == [[1.0, 11.0]]
    assert embedded.usage == Usage(tokens_in=2)
    assert embedding.bodies[0] == {"model": "stub", "input": ["hello there"], "encoding_format": "float"}
    assert embedding.requests == 2, "one attempt per call"
    assert (unembedded.value.kind, "hush" in str(unembedded.value)) == ("auth", False)
    assert [failure.kind for failure in failures] == KINDS
    assert failures[0].retry_after == 7.0
    assert stub.requests == 2 + len(FAULTS), "one attempt per call"
    assert "response_format" not in stub.bodies[1], "the stub is not known to take schemas"
    assert likely.first_token == {" good": -0.5}
    assert LiteLLMModel("openai/gpt-4o-mini").supports_logprobs
    assert not any(LiteLLMModel(name).supports_logprobs for name in ("openai/o3-mini", "anthropic/x", "nobody/x"))
    assert not any("hush" in str(failure) for failure in failures)


def test_making_a_model_does_not_import_litellm() -> None:
    made = "import sys; from crito.tools.litellm_model import LiteLLMModel; LiteLLMModel('openai/x')"
    code = f"{made}; print('litellm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_schema_support_is_known_before_the_first_call() -> None:
    assert LiteLLMModel("openai/gpt-4o-mini").supports_schema
    assert not LiteLLMModel("openai/stub").supports_schema


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (APITimeoutError("slow", status_code=408), "timeout"),
        (SdkError("busy", status_code=529), "server"),
        (SdkError("no", status_code=403), "auth"),
        (SdkError("what?", status_code=422), "bad_request"),
        (SdkError("Connection error.", status_code=500), "connection"),
        (SdkError("Empty or invalid response from LLM endpoint", status_code=500), "garbage"),
        (SdkError("LLM Provider NOT provided"), "bad_request"),
    ],
)
def test_exceptions_are_told_apart(error: Exception, kind: str) -> None:
    assert failure_of_error("openai/x", error).kind == kind


def test_retry_after_is_found_in_litellms_own_headers() -> None:
    error = SdkError("slow down", status_code=429, litellm_response_headers={"retry-after": "3"})
    assert failure_of_error("openai/x", error).retry_after == 3.0


async def test_hidden_reasoning_gets_tokens_beyond_the_answers_limit() -> None:
    asked: dict[str, Any] = {}

    class Response:
        def model_dump(self) -> dict[str, Any]:
            return {"choices": [{"message": {"content": "ok"}}]}

    class Library:
        def supports_response_schema(self, name: str) -> bool:
            return False

        async def acompletion(self, **payload: Any) -> Response:
            asked[payload["model"]] = payload["max_tokens"]
            return Response()

    for name in ("openai/gpt-5-mini", "openai/gpt-4o-mini"):
        model = LiteLLMModel(name)
        model._litellm = Library()
        await model.complete(HELLO)
    assert asked == {"openai/gpt-5-mini": 7 + 2048, "openai/gpt-4o-mini": 7}
