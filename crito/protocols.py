"""What Crito asks of the outside: a model to call, a target to improve, a metric to score with."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from crito.prompt import Message, Prompt
from crito.task import Example, Score


class Usage(BaseModel):
    """Tokens of one or more calls; ``cached`` is the part of ``tokens_in`` that the provider read from its cache."""

    model_config = ConfigDict(frozen=True)
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cached=self.cached + other.cached,
        )


class ModelRequest(BaseModel):
    """Everything that decides a model's reply; its hash is the key of the call cache.

    Attributes:
        json_schema: A JSON schema that the reply must follow; adapters without a schema mode ignore it.
        top_logprobs: How many of the most likely first tokens the reply should tell, with their log-probabilities; 0
            for none. Only for models that say ``supports_logprobs``; others ignore it.
    """

    model_config = ConfigDict(frozen=True)
    messages: tuple[Message, ...]
    max_tokens: int = Field(default=512, gt=0)
    temperature: float = Field(default=0.0, ge=0.0)
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    top_logprobs: int = Field(default=0, ge=0)


class ModelReply(BaseModel):
    """A model's answer.

    Attributes:
        finish: ``stop`` when the model ended by itself, ``length`` when it was cut off.
        usd: What the provider says that the call cost, or None where it does not say.
        first_token: Natural log-probabilities of the most likely first tokens, by the token's text as it is, with its
            leading space and empty for the end of the answer; None where none were asked for or given.
    """

    model_config = ConfigDict(frozen=True)
    text: str
    finish: Literal["stop", "length"] = "stop"
    usage: Usage = Usage()
    usd: float | None = None
    first_token: dict[str, float] | None = None


class Model(Protocol):
    """A model behind one provider. It makes one attempt; retries, cache and budget are the ledger's.

    Attributes:
        name: The name as the user wrote it, such as ``local/smollm2`` or ``openai/gpt-5-mini``.

    A model may also have ``supports_schema`` (it enforces ``ModelRequest.json_schema`` by itself),
    ``supports_logprobs`` (it gives ``ModelReply.first_token``), ``supports_prefill`` (it goes on from a last message of
    the role ``assistant`` as from an answer that it has begun itself), ``most_logprobs`` (the largest ``top_logprobs``
    that it takes), ``identity`` (what tells it from another model of the same name, part of the cache key) and
    ``headroom`` (tokens that it may write unseen).
    """

    name: str

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            crito.errors.CallFailed: Whatever went wrong, already classified.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections and processes."""
        ...


class Output(BaseModel):
    """What a target gave back for one input.

    Attributes:
        text: The answer to be scored.
        truncated: Whether the model was cut off at its output limit.
        call_keys: Ledger keys of the model calls behind it.
        probabilities: The probability of each label, by label, where labels were scored by likelihood.
        sample: Index of the repeat, set before the output is scored: a metric that asks a model asks anew for each.
    """

    model_config = ConfigDict(frozen=True)
    text: str
    truncated: bool = False
    usage: Usage = Usage()
    call_keys: tuple[str, ...] = ()
    probabilities: dict[str, float] | None = None
    sample: int = 0


class Target(Protocol):
    """What is being improved: a model with a prompt, a chain, a graph, any async callable with named prompts."""

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """Answer one input with these prompts; ``sample`` tells repeats of one input apart.

        Raises:
            crito.errors.CallFailed: The answer could not be had; the outcome is *failed*, not zero.
        """
        ...


class Metric(Protocol):
    """Scores an output against its example; says in words what is wrong whenever it can."""

    def __call__(self, output: Output, example: Example) -> Score | Awaitable[Score]:
        """Score one output."""
        ...
