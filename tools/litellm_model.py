"""Any provider that LiteLLM knows; LiteLLM itself (seconds, 180 MB) is imported by the first call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest
from crito.tools.endpoint_model import chat_payload, failure_of_status, read_reply
from crito.tools.prices import enforces_schema, reasons
from crito.tools.redaction import redacted

_KIND_OF_CLASS = (
    ("timeout", "timeout"),
    ("ratelimit", "rate_limit"),
    ("resourceexhausted", "rate_limit"),
    ("authentication", "auth"),
    ("permissiondenied", "auth"),
    ("connect", "connection"),
    ("responsevalidation", "garbage"),
    ("serviceunavailable", "server"),
)
_STATUS_OF_KIND = {"timeout": 408, "rate_limit": 429, "auth": 401, "server": 503}
_REASONING = 2048  # tokens
_KIND_OF_TEXT = (("connection error", "connection"), ("invalid response", "garbage"))


class LiteLLMModel:
    """A model named ``provider/model``.

    Keys and addresses come from the provider's environment variables, which LiteLLM reads by itself.

    Attributes:
        headroom: Output tokens that it may take beyond the request's limit. Hidden reasoning counts as output, and
            would leave nothing of a limit that is cut to a short answer.
        most_logprobs: What OpenAI allows at most.
    """

    most_logprobs = 20
    identity = ""  # the name says all that is known about it

    def __init__(self, name: str) -> None:
        self.name = name
        self.headroom = _REASONING if reasons(name) else 0
        self._litellm: Any = None

    @property
    def supports_schema(self) -> bool:
        """Whether the bundled table says that the model enforces a JSON schema."""
        return enforces_schema(self.name)

    @property
    def supports_logprobs(self) -> bool:
        """Whether LiteLLM passes log-probabilities on to this model; asking imports LiteLLM."""
        if self._litellm is None:
            self._litellm = _load()
        return "top_logprobs" in (self._litellm.get_supported_openai_params(self.name) or ())

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            CallFailed: Whatever went wrong, classified.
        """
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_load)
        payload = chat_payload(self.name, request)
        payload["max_tokens"] += self.headroom
        if not self._litellm.supports_response_schema(self.name):
            payload.pop("response_format", None)
        try:
            # drop_params: some models take no temperature, and LiteLLM refuses it for them unless told otherwise.
            response = await self._litellm.acompletion(
                **payload, num_retries=0, max_retries=0, caching=False, drop_params=True
            )
        except Exception as error:  # noqa: BLE001 - providers' SDKs raise whatever they like
            # `from None`: the original holds the request, its headers and so the key.
            raise failure_of_error(self.name, error) from None
        return read_reply(self.name, response.model_dump())

    async def embed(self, texts: Sequence[str]) -> dict[str, Any]:
        """The vectors of texts, in the format of OpenAI's embeddings.

        Raises:
            CallFailed: Whatever went wrong, classified.
        """
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_load)
        options = {"encoding_format": "float", "num_retries": 0, "max_retries": 0, "caching": False}
        try:
            response = await self._litellm.aembedding(model=self.name, input=list(texts), drop_params=True, **options)
        except Exception as error:  # noqa: BLE001 - as above
            raise failure_of_error(self.name, error) from None
        answer: dict[str, Any] = response.model_dump()
        return answer

    async def aclose(self) -> None:
        """Nothing to give back: LiteLLM's connections belong to the process, and a host may be using them."""


def failure_of_error(name: str, error: Exception, *secrets: str) -> CallFailed:
    """Classify an exception of a provider's SDK by its class name, its ``status_code`` and its ``Retry-After``.

    Args:
        name: The model's name.
        error: What the SDK raised.
        secrets: Texts that the message must not hold.
    """
    said = redacted(str(error), *secrets)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    label = type(error).__name__.lower()
    kind = next((kind for part, kind in _KIND_OF_CLASS if part in label), None)
    if kind is None and isinstance(status, int) and status >= 500:
        kind = next((kind for part, kind in _KIND_OF_TEXT if part in said.lower()), None)
    if kind in {"connection", "garbage"}:
        return CallFailed(str(kind), f"{name}: {said}", retryable=True)
    if not isinstance(status, int) or status < 400:
        status = _STATUS_OF_KIND.get(kind or "")
    if status is None:
        return CallFailed("bad_request", f"{name}: {type(error).__name__}: {said}", retryable=False)
    return failure_of_status(name, status, said, _headers(error, response))


def _headers(error: Exception, response: object) -> Mapping[str, str]:
    return getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}


def _load() -> Any:
    # Without these the import downloads the price table and reads a .env file into the environment.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.suppress_debug_info = True
    return litellm
