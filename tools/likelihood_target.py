"""A model with a prompt, whose label is read off the log-probabilities of one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crito.errors import CallFailed
from crito.prompt import Prompt
from crito.protocols import Model, ModelRequest, Output
from crito.records import main_module
from crito.tools.ledger import Ledger
from crito.tools.likelihood import ambiguous, decided, label_probabilities

_MOST_LOGPROBS = 200
"""Tokens asked for where the model gives as many; rarer ones say next to nothing."""
_HALF = "\ufffd"
"""What a token that is half a character is shown as."""


class LikelihoodTarget:
    """Renders the prompt ``main`` (or the only one there is) and asks one model how likely each label is.

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

    async def run(self, prompts: Mapping[str, Prompt], inputs: Mapping[str, str], *, sample: int = 0) -> Output:
        """The most likely label with the probability of each; what the model said where no label is likelier.

        Raises:
            CallFailed: The answer could not be had, the prompt's words for the labels begin alike, or the model gave no
                log-probabilities.
        """
        prompt = prompts[main_module(prompts)]
        words = [prompt.words.get(label, label) for label in self._labels]
        alike = ambiguous(words)
        if alike is not None:
            named = " and ".join(map(repr, alike))
            message = f"prompt: no first token tells {named} apart; choose other words for the labels"
            raise CallFailed("bad_request", message, retryable=False)
        messages = tuple(prompt.render(inputs))
        request = ModelRequest(messages=messages, max_tokens=1, top_logprobs=self._top)
        call = await self._ledger.call(self._model, request, role="target", sample=sample)
        reply = call.reply
        # Without a text it is silence, which favours no label; llama.cpp tells nothing of a token of half a character.
        if reply.first_token is None and reply.text.strip(_HALF):
            message = f"{self._model.name}: the answer has no log-probabilities; use scoring: sampled"
            raise CallFailed("bad_request", message, retryable=False)
        by_word = label_probabilities(reply.first_token or {}, words)
        probabilities = dict(zip(self._labels, by_word.values(), strict=True))
        return Output(
            text=decided(probabilities) if len(set(probabilities.values())) > 1 else reply.text,
            usage=reply.usage,
            call_keys=(call.key,),
            probabilities=probabilities,
        )
