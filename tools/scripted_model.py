"""A model that says what it is told to: deterministic, without a network, for tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest, Usage


class ScriptedModel:
    """Answers with a function of the request, or with a list of texts in order.

    A returned exception is raised, which is how failing providers are played.

    Args:
        reply: The function or the list.
        name: Its name.
        supports_logprobs: Whether it says that it gives log-probabilities; the function's replies must hold them.
        supports_prefill: Whether it says that it goes on from a begun answer; the function must then do so.

    Attributes:
        requests: What it was asked, in order.
    """

    most_logprobs = 200

    def __init__(
        self,
        reply: Callable[[ModelRequest], str | ModelReply | Exception] | Sequence[str],
        name: str = "scripted",
        *,
        supports_logprobs: bool = False,
        supports_prefill: bool = False,
    ) -> None:
        self.name = name
        self.supports_logprobs = supports_logprobs
        self.supports_prefill = supports_prefill
        self.requests: list[ModelRequest] = []
        self._reply = reply

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self.requests)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer as scripted; usage is counted in words.

        Raises:
            CallFailed: The list of replies is used up.
            Exception: The function returned it.
        """
        self.requests.append(request)
        answer = self._reply(request) if callable(self._reply) else self._next(self._reply)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, ModelReply):
            return answer
        words_in = sum(len(message.content.split()) for message in request.messages)
        return ModelReply(text=answer, usage=Usage(tokens_in=words_in, tokens_out=len(answer.split())))

    async def aclose(self) -> None:
        """Nothing to give back."""

    def _next(self, replies: Sequence[str]) -> str | Exception:
        if self.calls <= len(replies):
            return replies[self.calls - 1]
        message = f"{self.name}: all {len(replies)} scripted replies are used up; script more"
        return CallFailed("bad_request", message, retryable=False)
