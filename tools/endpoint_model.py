"""Any OpenAI-compatible server over aiohttp: the fast path for vLLM, Ollama and llama.cpp."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.redaction import redacted


class EndpointModel:
    """A model behind ``{base_url}/chat/completions``, or ``{base_url}/embeddings``.

    Args:
        name: The name as the user wrote it.
        base_url: Root of the API; ``/v1`` is added where the URL has no path.
        model: The name that the server knows the model by.
        api_key: Sent as a bearer token, if there is one.
        timeout: Seconds after which a silent server counts as hung. The ledger's own limit is usually shorter.

    Attributes:
        most_logprobs: What OpenAI allows at most, and vLLM unless it is set up otherwise.
    """

    supports_schema = True
    supports_logprobs = True
    most_logprobs = 20
    identity = ""  # the name says all that is known about it

    def __init__(
        self, name: str, base_url: str, model: str, api_key: str | None = None, *, timeout: float = 600.0
    ) -> None:
        self.name = name
        root = base_url.rstrip("/")
        self._root = root if urlsplit(root).path else f"{root}/v1"
        self._model = model
        self._api_key = api_key
        self._timeout = timeout
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            CallFailed: Whatever went wrong, classified.
        """
        payload = chat_payload(self._model, request)
        return read_reply(self.name, await self.post(f"{self._root}/chat/completions", payload))

    async def embed(self, texts: Sequence[str]) -> dict[str, Any]:
        """The vectors of texts, in the format of OpenAI's embeddings.

        Raises:
            CallFailed: Whatever went wrong, classified.
        """
        payload = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        return await self.post(f"{self._root}/embeddings", payload)

    async def post(self, url: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send one JSON object and read the JSON object that comes back.

        Raises:
            CallFailed: No connection, no answer in time, an HTTP error, or an answer that is not a JSON object.
        """
        # `from None` throughout: aiohttp's errors carry the request with its headers, and so the key.
        try:
            async with self._session().post(url, data=json.dumps(payload).encode(), allow_redirects=False) as response:
                body = await response.read()
        except TimeoutError:
            message = f"{self.name}: no answer within {self._timeout:g} s"
            raise CallFailed("timeout", message, retryable=True) from None
        except aiohttp.ClientError as error:
            message = (
                f"{self.name}: no connection to {urlsplit(url).netloc} ({type(error).__name__}); is the server up?"
            )
            raise CallFailed("connection", message, retryable=True) from None
        if response.status != 200:
            said = redacted(_provider_message(body), self._api_key or "")
            raise failure_of_status(self.name, response.status, said, response.headers)
        answer = _json(body)
        if not isinstance(answer, dict):
            raise CallFailed("garbage", f"{self.name}: the answer is not a JSON object", retryable=True)
        return answer

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            headers = {"Content-Type": "application/json"}
            if self._api_key:
                headers["Authorization"] = f"Bearer {self._api_key}"
            session = self._sessions[loop] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the ledger limits what is in flight
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers=headers,
            )
        return session


def chat_payload(model: str, request: ModelRequest) -> dict[str, Any]:
    """The request in the chat-completions format, built by hand because it is on the path of every call."""
    payload: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
    }
    if request.stop:
        payload["stop"] = list(request.stop)
    if request.json_schema is not None:
        # Not "strict": OpenAI's strict mode refuses schemas with defaults or without additionalProperties.
        schema = {"name": "reply", "schema": request.json_schema}
        payload["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.top_logprobs:
        payload |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return payload


def read_reply(name: str, answer: Mapping[str, Any]) -> ModelReply:
    """Read an answer in the chat-completions format.

    Raises:
        CallFailed: ``garbage`` for another format; ``empty`` for no text, unless the output limit cut it off or there
            are log-probabilities instead. Both carry the tokens that the provider counted.
    """
    usage = read_usage(answer)
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
        reply = ModelReply(text=text, finish=finish, usage=usage, first_token=_first_token(choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        message = f"{name}: the answer is not in the chat-completions format"
        raise unusable("garbage", message, usage) from None
    if finish == "stop" and not text.strip() and reply.first_token is None:
        raise unusable("empty", f"{name}: the answer has no text", usage)
    return reply


def unusable(kind: str, message: str, usage: Usage) -> CallFailed:
    """An answer that is of no use and was paid for all the same."""
    return CallFailed(kind, message, retryable=True, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)


def failure_of_status(name: str, status: int, said: str, headers: Mapping[str, str]) -> CallFailed:
    """Classify an HTTP status.

    Args:
        name: The model's name.
        status: Any but 200.
        said: The provider's own words, redacted; not repeated for a refused key, which providers like to quote.
        headers: Of the response, for ``Retry-After``.
    """
    if status in {401, 402, 403} or (status == 429 and "insufficient_quota" in said):
        message = (
            f"{name}: the provider refused the API key or the account (HTTP {status}); check the key and its credit"
        )
        return CallFailed("auth", message, retryable=False)
    message = f"{name}: HTTP {status}" + (f": {said}" if said else "")
    if status == 408:
        return CallFailed("timeout", message, retryable=True)
    if status == 429 or status >= 500:
        kind = "rate_limit" if status == 429 else "server"
        return CallFailed(kind, message, retryable=True, retry_after=_retry_after(headers))
    return CallFailed("bad_request", message, retryable=False)


def _first_token(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """The log-probabilities of the first token; None where there are none that can be read."""
    try:
        ranked = choice["logprobs"]["content"][0]["top_logprobs"]
        found: dict[str, float] = {}
        for entry in ranked:
            if math.isfinite(entry["logprob"]):
                # Some texts, such as broken bytes, are those of several tokens; the likeliest comes first.
                found.setdefault(str(entry["token"]), float(entry["logprob"]))
    except (KeyError, IndexError, TypeError):
        return None
    return found or None


def read_usage(answer: Mapping[str, Any]) -> Usage:
    """The tokens that the provider reports; none where it reports none that can be read."""
    try:
        counts = answer.get("usage") or {}
        return Usage(
            tokens_in=counts.get("prompt_tokens") or 0,
            tokens_out=counts.get("completion_tokens") or 0,
            cached=(counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        )
    except (AttributeError, ValueError):
        return Usage()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    # RFC 9110, 10.2.3: seconds or an HTTP date.
    value = headers.get("Retry-After") or headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value) if value.replace(".", "", 1).isdigit() else _until(value)
    except ValueError:
        return None
    return max(0.0, seconds)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _provider_message(body: bytes) -> str:
    answer = _json(body)
    if not isinstance(answer, dict):
        return ""  # a proxy's HTML page says nothing that the status does not
    error = answer.get("error", answer)
    said = (error.get("message") or error.get("detail") or "") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    return f"{said} ({code})" if isinstance(code, str) else str(said)


def _json(body: bytes) -> object:
    try:
        answer: object = json.loads(body)
    except ValueError:
        return None
    return answer
