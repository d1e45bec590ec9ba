"""A GGUF file served by llama.cpp inside this process, on the loopback, behind a random key."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest
from crito.tools.endpoint_model import EndpointModel

_CONTEXT = 2048  # tokens of a slot
_TOO_LONG = ("context size", "too large to process")  # in the server's errors, for prompts and for texts
_CACHE_MIB = 256  # of prompts; the server's own default grows to 8 GiB


@dataclass(frozen=True)
class _Served:
    """A running server; it stops when the last model that holds it lets go."""

    server: Any
    key: str

    @property
    def address(self) -> str:
        return str(self.server.listening_address)


# The only module-level state of the tools: weights, threads and caches belong to the process, and a target model and
# an agent model with the same file must not load them twice. It keeps nothing alive by itself.
_running: WeakValueDictionary[tuple[Path, bool], _Served] = WeakValueDictionary()
_starting = threading.Lock()


class LocalModel:
    """A model in a file. The server starts with the first call; all models of one file in one process share it.

    Texts are turned into vectors by a server of their own, because it has other settings.

    Args:
        name: The name as the user wrote it.
        path: The GGUF file.
        slots: Requests that it works on at once; a server that runs already keeps its own number.

    Attributes:
        context: Tokens that a prompt and its answer may have together.
        most_logprobs: Enough for the first tokens of all labels; llama.cpp would give the whole vocabulary.
        identity: Size and time of the file, so that other weights under the same path are another model.
    """

    supports_schema = True  # by grammar
    supports_logprobs = True
    supports_prefill = True  # llama.cpp goes on from a last message of the assistant's
    most_logprobs = 200
    context = _CONTEXT

    def __init__(self, name: str, path: Path, slots: int) -> None:
        self.name = name
        self._path = path.resolve()
        about = self._path.stat()
        self.identity = f"{about.st_size}-{about.st_mtime_ns}"
        self._slots = slots
        self._served: dict[bool, _Served] = {}
        self._endpoints: dict[bool, EndpointModel] = {}

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            CallFailed: Whatever went wrong, classified; ``bad_request`` for a prompt longer than the context.
        """
        endpoint = await self._connect(embeds=False)
        with self._within("request", "shorten the prompt or use fewer demonstrations"):
            return await endpoint.complete(request)

    async def embed(self, texts: Sequence[str]) -> dict[str, Any]:
        """The vectors of texts, each the mean over its tokens, in the format of OpenAI's embeddings.

        Raises:
            CallFailed: Whatever went wrong, classified; ``bad_request`` for a text longer than the context.
        """
        endpoint = await self._connect(embeds=True)
        with self._within("text", "shorten the task's description"):
            return await endpoint.embed(texts)

    async def aclose(self) -> None:
        """Let go of the server; the last model to do so stops it and frees its memory."""
        endpoints, self._endpoints, self._served = self._endpoints, {}, {}
        for endpoint in endpoints.values():
            await endpoint.aclose()

    async def _connect(self, *, embeds: bool) -> EndpointModel:
        if embeds not in self._served:
            served = await asyncio.to_thread(_serve, self.name, self._path, self._slots, embeds=embeds)
            self._served.setdefault(embeds, served)
        if embeds not in self._endpoints:
            served = self._served[embeds]
            self._endpoints[embeds] = EndpointModel(self.name, served.address, self._path.stem, served.key)
        return self._endpoints[embeds]

    @contextmanager
    def _within(self, what: str, cure: str) -> Iterator[None]:
        """Says in clear words where something is longer than the context."""
        try:
            yield
        except CallFailed as failure:
            if not any(mark in str(failure) for mark in _TOO_LONG):
                raise
            message = f"{self.name}: the {what} is longer than the model's context of {self.context} tokens; {cure}"
            raise CallFailed("bad_request", message, retryable=False) from None


def _serve(name: str, path: Path, slots: int, *, embeds: bool) -> _Served:
    with _starting:
        served = _running.get((path, embeds))
        if served is None:
            served = _running[path, embeds] = _start(name, path, slots, embeds=embeds)
        return served


def _start(name: str, path: Path, slots: int, *, embeds: bool) -> _Served:
    import xllamacpp

    key = secrets.token_hex(16)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = slots
    params.n_ctx = slots * _CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _cores()
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    params.api_keys = [key]
    params.cache_ram_mib = _CACHE_MIB
    params.ui = False
    params.warmup = False  # the token below warms it up
    params.verbosity = -1  # its log would go to the user's terminal
    if embeds:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_parallel = 1
        params.n_ctx = params.n_batch = params.n_ubatch = _CONTEXT  # a text is pooled in one piece
        # A short text keeps one thread busy; more of them mostly wait for each other, for seconds on busy cores.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    try:
        server = xllamacpp.Server(params)
        # A server let go of before its loop runs (Ctrl-C right after the start) was once seen to hang; one answered
        # token proves that the loop runs.
        server.handle_completions({"prompt": "a", "n_predict": 1})
        return _Served(server, key)
    except RuntimeError:
        message = f"{name}: llama.cpp cannot load {path.name}; is it a complete GGUF file of a chat model?"
        raise CallFailed("server", message, retryable=False) from None


def _cores() -> int:
    # A container is often given fewer cores than the machine has, and threads beyond them slow all of them down.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
