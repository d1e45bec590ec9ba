"""Targets: a model with a prompt, or any async callable that takes named prompts and inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from crito.prompt import Prompt
from crito.protocols import Model, ModelRequest, Output
from crito.tools.ledger import Ledger

TargetFunction = Callable[[Mapping[str, Prompt], Mapping[str, str]], Awaitable[str]]


class ChatTarget:
    """Renders the prompt ``main`` and asks one model.

    Args:
        ledger: Pays for the calls.
        model: The model that the prompt is improved for.
        max_tokens: Output limit of one answer.
    """

    def __init__(self, ledger: Ledger, model: Model, *, max_tokens: int) -> None:
        self._ledger = ledger
        self._model = model
        self._max_tokens = max_tokens

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """See :class:`crito.protocols.Target`."""
        request = ModelRequest(messages=tuple(prompts["main"].render(inputs)), max_tokens=self._max_tokens)
        call = await self._ledger.call(self._model, request, role="target", sample=sample)
        return Output(
            text=call.reply.text,
            truncated=call.reply.finish == "length",
            usage=call.reply.usage,
            call_keys=(call.key,),
        )


class FunctionTarget:
    """The user's own program as a target; its model calls are its own business and are not in the bill."""

    def __init__(self, function: TargetFunction) -> None:
        self._function = function

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """See :class:`crito.protocols.Target`; any exception of the function is the user's bug and is raised."""
        del sample
        return Output(text=await self._function(prompts, inputs))
