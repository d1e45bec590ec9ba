"""An OpenAI-compatible server on the loopback that answers, delays and fails as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One way in which a provider fails.

    Attributes:
        kind: An HTTP status, or: never answer, answer without JSON, with no text, cut off at the limit, hang up.
        retry_after: The ``Retry-After`` header, in seconds or as an HTTP date.
        message: What the provider says about it.
    """

    kind: int | Literal["timeout", "garbage", "empty", "truncated", "drop"]
    retry_after: float | str | None = None
    message: str = "injected fault"


class StubProvider:
    """Serves ``{url}/v1/chat/completions`` and ``{url}/v1/embeddings`` while the ``async with`` block runs.

    With ``logprobs``, by token, it gives them to whoever asks for log-probabilities; with ``vector`` it embeds.

    Attributes:
        url: Where it listens, without a path.
        bodies: What it was asked, in order of arrival.
        authorizations: The ``Authorization`` header of each request, or None.
        peak: The most requests that were in flight at once.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        fault: Callable[[int, Body], Fault | None] | None = None,
        reply: Callable[[Body], str] | None = None,
        logprobs: Mapping[str, float] | None = None,
        vector: Callable[[str], list[Any]] | None = None,
    ) -> None:
        self.url = ""
        self.bodies: list[Body] = []
        self.authorizations: list[str | None] = []
        self.peak = 0
        self._in_flight = 0
        self._latency = latency
        self._fault = fault or (lambda n, body: None)
        self._reply = reply or (lambda body: "ok")
        self._logprobs = logprobs or {}
        self._vector = vector or (lambda text: [1.0, float(len(text))])
        self._closing = asyncio.Event()

    @property
    def requests(self) -> int:
        """How many requests arrived."""
        return len(self.bodies)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/embeddings", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        try:
            return await self._respond(request)
        finally:
            self._in_flight -= 1

    async def _respond(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.bodies.append(body)
        self.authorizations.append(request.headers.get("Authorization"))
        fault = self._fault(self.requests, body)
        if self._latency:
            await asyncio.sleep(self._latency)
        if fault is None and "input" in body:
            return _embeddings(body, self._vector)
        if fault is None or fault.kind == "truncated":
            return _completion(body, self._reply(body), "stop" if fault is None else "length", self._logprobs)
        if fault.kind == "empty":
            return _completion(body, None, "stop", {})
        if fault.kind == "garbage":
            return web.Response(text="<html>502</html>", content_type="text/html")
        if fault.kind == "timeout":
            await self._closing.wait()
        if isinstance(fault.kind, int):
            return _refusal(fault.kind, fault)
        if request.transport is not None:
            request.transport.close()
        return web.Response()


def _completion(body: Body, text: str | None, finish: str, logprobs: Mapping[str, float]) -> web.Response:
    tokens_in = sum(len(str(message["content"]).split()) for message in body["messages"])
    tokens_out = len((text or "").split())
    choice: Body = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    if body.get("logprobs") and logprobs:
        ranked = sorted(logprobs.items(), key=lambda item: -item[1])[: body["top_logprobs"]]
        top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in ranked]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    answer = {
        "id": "stub",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "stub"),
        "choices": [choice],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }
    return web.Response(body=json.dumps(answer).encode(), content_type="application/json")


def _embeddings(body: Body, vector: Callable[[str], list[Any]]) -> web.Response:
    """The vectors, the last one first: their order is that of ``index``."""
    data = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]
    tokens = sum(len(text.split()) for text in body["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "model": body["model"], "data": data[::-1], "usage": usage})


def _refusal(status: int, fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response({"error": {"message": fault.message}}, status=status, headers=headers)
