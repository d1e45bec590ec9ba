"""Replies with a shape: a pydantic model in, a validated instance out, or a typed error."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from crito.errors import CallFailed, ProviderFailure, ReplyUnusable
from crito.prompt import Message
from crito.protocols import Model, ModelReply, ModelRequest
from crito.tools.draws import current_draw
from crito.tools.ledger import Call, Ledger
from crito.tools.loose_json import loose_json
from crito.tools.tally import count

Reply = TypeVar("Reply", bound=BaseModel)

_SIGN_OF_LIFE = ModelRequest(messages=(Message(role="user", content="Say OK."),), max_tokens=16)
"""What anybody can answer who can be reached."""


class Speaker:
    """A model with the ledger it pays through: what an agent speaks with.

    Args:
        ledger: Pays for the calls.
        model: Who answers.
        role: The agent's name, as it shows in the bill.
        max_tokens: Output limit of one reply.
        temperature: Of the replies.
    """

    def __init__(
        self, ledger: Ledger, model: Model, *, role: str, max_tokens: int = 1024, temperature: float = 0.0
    ) -> None:
        self.role = role
        self.model = model.name
        self._ledger = ledger
        self._model = model
        self._max_tokens = max_tokens
        self._temperature = temperature

    async def ask(self, messages: Sequence[Message], shape: type[Reply]) -> Reply:
        """Ask for a reply of the given shape; above temperature 0, for the current draw's reply.

        The schema goes through the provider's schema mode where the model has one, and stands in the prompt in any
        case. A reply that cannot be read is repaired, then asked for once more with the reason.

        Raises:
            ReplyUnusable: The second reply could not be read either, or was cut off.
            CallFailed: The call failed for good, and it is this request that cannot be answered.
            ProviderFailure: The model cannot be reached. That says nothing of the request, so nobody may go on as if
                its answer were of no use: a resumed run would end otherwise than an undisturbed one.
            BudgetExhausted: The call does not fit.
        """
        schema = shape.model_json_schema()
        asked = [*messages[:-1], _with_schema(messages[-1], schema)]
        problem = ""
        for _ in range(2):
            reply = await self._complete(asked, schema)
            try:
                return _read(reply, shape)
            except ValueError as error:
                problem = _one_line(error)
            asked = [
                *asked,
                Message(role="assistant", content=reply.text),
                Message(
                    role="user", content=f"That cannot be used: {problem}. Answer again with the JSON object alone."
                ),
            ]
        raise ReplyUnusable(f"{self.role} ({self.model}): {problem}")

    async def _complete(self, asked: Sequence[Message], schema: dict[str, object]) -> ModelReply:
        supported = getattr(self._model, "supports_schema", False)
        request = ModelRequest(
            messages=tuple(asked),
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            json_schema=schema if supported else None,
        )
        sample = current_draw() if self._temperature else 0
        try:
            reply = (await self._call(request, sample)).reply
        except CallFailed as failure:
            if not failure.unreached:
                raise
            await self._reach(failure)
            reply = (await self._call(request, sample)).reply
        count(reply.usage)
        return reply

    async def _reach(self, failure: CallFailed) -> None:
        """Tell a request that cannot be answered from a model that cannot be reached, by asking for something else."""
        try:
            await self._call(_SIGN_OF_LIFE, time.time_ns())  # as no other sample, so that no cache answers
        except CallFailed as error:
            if error.unreached:
                raise ProviderFailure(f"{self.role}: the model cannot be reached; {failure}") from error

    async def _call(self, request: ModelRequest, sample: int) -> Call:
        return await self._ledger.call(self._model, request, role=self.role, sample=sample)


def quoted(tag: str, text: str) -> str:
    """Text from data, marked so that an agent takes it for data: it cannot close its own tag."""
    # Models take </DATA > for </data>, so neither may stand in the text.
    inside = re.sub(rf"<(?=\s*/\s*{tag}\b)", "&lt;", text, flags=re.IGNORECASE)
    return f"<{tag}>\n{inside}\n</{tag}>"


def _read(reply: ModelReply, shape: type[Reply]) -> Reply:
    if reply.finish == "length":
        raise ValueError("the reply was cut off at its length limit; be shorter")
    return shape.model_validate(loose_json(reply.text))


def _with_schema(message: Message, schema: dict[str, object]) -> Message:
    shown = json.dumps(schema, ensure_ascii=False)
    return Message(
        role=message.role,
        content=f"{message.content}\n\nAnswer with one JSON object that follows this schema, nothing else:\n{shown}",
    )


def _one_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'the reply'}: {first['msg']}"
    return str(error).splitlines()[0]
