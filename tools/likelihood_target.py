"""A model with a prompt, whose label is read off the log-probabilities of its answer's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crito.errors import CallFailed
from crito.prompt import Message, Prompt
from crito.protocols import Model, ModelRequest, Output, Usage
from crito.records import main_module
from crito.tools.label_tree import START, Beginning, Reading, read
from crito.tools.ledger import Call, Ledger
from crito.tools.likelihood import ambiguous, decided, inseparable, label_probabilities, worth_asking
from crito.tools.together import together

_MOST_LOGPROBS = 200
"""Tokens asked for where the model gives as many; rarer ones say next to nothing."""
_HALF = "\ufffd"
"""What a token that is half a character is shown as."""


class LikelihoodTarget:
    """Renders the prompt ``main`` (or the only one there is) and asks one model how likely each label is.

    One call tells labels apart by the first token of the answer. Where none can, a model that ``supports_prefill`` is
    asked again with the answer begun by each likely token that several labels begin with, and so on until none is left.

    Args:
        ledger: Pays for the calls.
        model: The model that the prompt is improved for; it ``supports_logprobs``.
        labels: The possible answers.
    """

    def __init__(self, ledger: Ledger, model: Model, labels: Sequence[str]) -> None:
        self._ledger = ledger
        self._model = model
        self._labels = labels
        self._top = min(_MOST_LOGPROBS, getattr(model, "most_logprobs", _MOST_LOGPROBS))
        self._prefill: bool = getattr(model, "supports_prefill", False)

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """The most likely label with the probability of each; what the model said where no label is likelier.

        Raises:
            CallFailed: An answer could not be had, the model cannot tell the prompt's words for the labels apart, or it
                gave no log-probabilities.
        """
        prompt = prompts[main_module(prompts)]
        words = [prompt.words.get(label, label) for label in self._labels]
        alike = inseparable(words, prefill=self._prefill)
        if alike is not None:
            named = " and ".join(map(repr, alike))
            message = f"prompt: no {'answer' if self._prefill else 'first token'} tells {named} apart"
            raise CallFailed("bad_request", f"{message}; choose other words for the labels", retryable=False)
        calls, readings = await self._walk(tuple(prompt.render(inputs)), words, sample)
        by_word = label_probabilities(readings, words)
        probabilities = dict(zip(self._labels, by_word.values(), strict=True))
        return Output(
            text=decided(probabilities) if len(set(probabilities.values())) > 1 else calls[0].reply.text,
            usage=sum((call.reply.usage for call in calls), Usage()),
            call_keys=tuple(call.key for call in calls),
            probabilities=probabilities,
        )

    async def _walk(
        self, messages: tuple[Message, ...], words: Sequence[str], sample: int
    ) -> tuple[list[Call], list[Reading]]:
        """All that was asked of one answer, its start first, and what was read of it, in the same order."""
        calls: list[Call] = []
        readings: list[Reading] = []
        goes_on = ambiguous(words) is not None
        level = [START]
        while level:
            asked = await together(self._ask(messages, begun, sample) for begun in level)
            tokens = (call.reply.first_token or {} for call in asked)
            found = [read(begun, listed, words) for begun, listed in zip(level, tokens, strict=True)]
            level = worth_asking(readings, found) if goes_on else []
            calls += asked
            readings += found
        return calls, readings

    async def _ask(self, messages: tuple[Message, ...], begun: Beginning, sample: int) -> Call:
        """The log-probabilities of the token that follows a begun answer."""
        if begun.text:
            messages += (Message(role="assistant", content=begun.text),)
        request = ModelRequest(messages=messages, max_tokens=1, top_logprobs=self._top)
        call = await self._ledger.call(self._model, request, role="target", sample=sample)
        said = call.reply.text.removeprefix(begun.text)  # some servers repeat what was begun
        # Without a text it is silence, which favours no label; llama.cpp tells nothing of a token of half a character.
        if call.reply.first_token is None and said.strip(_HALF):
            message = f"{self._model.name}: the answer has no log-probabilities; use scoring: sampled"
            raise CallFailed("bad_request", message, retryable=False)
        return call
