"""A host application's own LangChain chat model."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from crito.protocols import ModelReply, ModelRequest, Usage
from crito.tools.endpoint_model import unusable
from crito.tools.litellm_model import failure_of_error

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

_CUT_OFF = {"length", "max_tokens", "model_length"}


class LangChainModel:
    """Speaks through ``BaseChatModel.ainvoke``.

    The request's output limit and temperature are set where the model has such a field; a temperature that the host
    left open stays open, because some models accept none. Log-probabilities are not asked for: LangChain has no one way
    to do so.

    Args:
        chat_model: The host's model; it is copied, never changed.

    Attributes:
        identity: Hash of the model's class and settings; None where it does not tell its settings.
    """

    def __init__(self, chat_model: BaseChatModel) -> None:
        known_as = getattr(chat_model, "model_name", None) or getattr(chat_model, "model", None)
        self.name = f"langchain/{known_as if isinstance(known_as, str) else type(chat_model).__name__}"
        self.identity = _identity(chat_model)
        self._chat_model = chat_model

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            CallFailed: Whatever went wrong, classified.
        """
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            answer = await self._tuned(request).ainvoke(messages, stop=list(request.stop) or None)
        except Exception as error:  # noqa: BLE001 - every integration raises its own SDK's errors
            raise failure_of_error(self.name, error, *self._secrets()) from None
        return _read(self.name, answer)

    async def aclose(self) -> None:
        """Nothing to give back: the host owns the model."""

    def _tuned(self, request: ModelRequest) -> BaseChatModel:
        fields = getattr(type(self._chat_model), "model_fields", {})
        update: dict[str, Any] = {}
        if "max_tokens" in fields:
            update["max_tokens"] = request.max_tokens
        if getattr(self._chat_model, "temperature", None) is not None and "temperature" in fields:
            update["temperature"] = request.temperature
        return self._chat_model.model_copy(update=update) if update else self._chat_model

    def _secrets(self) -> list[str]:
        values = vars(self._chat_model).values()
        return [value.get_secret_value() for value in values if hasattr(value, "get_secret_value")]


def _identity(chat_model: BaseChatModel) -> str | None:
    settings = chat_model._identifying_params  # noqa: SLF001 - what LangChain's own cache goes by
    if not settings:
        return None
    kind = type(chat_model)
    whole = [kind.__module__, kind.__qualname__, dict(settings)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _read(name: str, answer: BaseMessage) -> ModelReply:
    text = str(answer.text)
    about = answer.response_metadata
    reason = about.get("finish_reason") or about.get("stop_reason") or about.get("done_reason")
    cut_off = str(reason).lower() in _CUT_OFF
    usage = _usage(answer)
    if not text.strip() and not cut_off:
        raise unusable("empty", f"{name}: the answer has no text", usage)
    return ModelReply(text=text, finish="length" if cut_off else "stop", usage=usage)


def _usage(answer: BaseMessage) -> Usage:
    counts = getattr(answer, "usage_metadata", None) or {}
    return Usage(
        tokens_in=counts.get("input_tokens", 0),
        tokens_out=counts.get("output_tokens", 0),
        cached=counts.get("input_token_details", {}).get("cache_read", 0),
    )
