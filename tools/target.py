"""Targets: a model with a prompt, or any async callable that takes named prompts and inputs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from crito.errors import CallFailed
from crito.prompt import Message, Prompt
from crito.protocols import Model, ModelReply, ModelRequest, Output
from crito.records import main_module
from crito.tools.ledger import Ledger
from crito.tools.redaction import redacted

TargetFunction = Callable[[Mapping[str, Prompt], Mapping[str, str]], Awaitable[str]]


class ChatTarget:
    """Renders the prompt ``main`` (or the only one there is), asks one model and reads the prompt's words as labels.

    Args:
        ledger: Pays for the calls.
        model: The model that the prompt is improved for.
        max_tokens: Output limit of one answer.
        temperature: Of the answers.
    """

    def __init__(self, ledger: Ledger, model: Model, *, max_tokens: int, temperature: float = 0.0) -> None:
        self._ledger = ledger
        self._model = model
        self._max_tokens = max_tokens
        self._temperature = temperature

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """See :class:`crito.protocols.Target`."""
        prompt = prompts[main_module(prompts)]
        messages = tuple(prompt.render(inputs))
        request = ModelRequest(messages=messages, max_tokens=self._max_tokens, temperature=self._temperature)
        call = await self._ledger.call(self._model, request, role="target", sample=sample)
        return Output(
            text=prompt.read(call.reply.text),
            truncated=call.reply.finish == "length",
            usage=call.reply.usage,
            call_keys=(call.key,),
        )


class ProgramTarget:
    """The user's own program. Its runs go through the ledger like model calls: paid once, counted, resumable.

    What the program itself spends is its own business: a run counts as one call without tokens.

    Args:
        ledger: Counts the runs.
        function: Async callable of (prompts by module, inputs) that gives the answer's text.
    """

    def __init__(self, ledger: Ledger, function: TargetFunction) -> None:
        self._ledger = ledger
        self._program = _Program(function)

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """See :class:`crito.protocols.Target`."""
        named = {name: prompt.model_dump(mode="json") for name, prompt in prompts.items()}
        whole = json.dumps({"prompts": named, "inputs": dict(inputs)}, ensure_ascii=False)
        request = ModelRequest(messages=(Message(role="user", content=whole),))
        call = await self._ledger.call(self._program, request, role="target", sample=sample)
        return Output(text=call.reply.text, call_keys=(call.key,))


class _Program:
    """A user's function in the shape of a model, so that the ledger can keep its answers.

    It has no ``identity``: between runs the user may have changed the program.
    """

    def __init__(self, function: TargetFunction) -> None:
        self.name = f"program/{getattr(function, '__qualname__', type(function).__name__)}"
        self._function = function

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Run the program; whatever it raises is a failed call, not a wrong answer."""
        whole = json.loads(request.messages[0].content)
        prompts = {name: Prompt.model_validate(prompt) for name, prompt in whole["prompts"].items()}
        try:
            return ModelReply(text=await self._function(prompts, whole["inputs"]))
        except CallFailed:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {redacted(str(error))}"
            raise CallFailed("program", f"{self.name} raised {reason}", retryable=False) from error

    async def aclose(self) -> None:
        """There is nothing to give back."""
