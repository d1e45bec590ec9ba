"""The evaluator: runs candidates on examples and scores what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from crito.errors import BudgetExhausted, CallFailed
from crito.memory.archive import Archive
from crito.protocols import Metric, Target
from crito.records import Candidate, Outcome
from crito.task import Example
from crito.tools.metrics import score
from crito.tools.tally import count


class Evaluator:
    """Scores candidates on examples, each pair once.

    Args:
        target: What answers.
        metric: What scores the answers.
        archive: Where outcomes are kept and looked up.
        done: Called with each finished outcome, for progress.
    """

    def __init__(
        self, target: Target, metric: Metric, archive: Archive, *, done: Callable[[Outcome], None] = lambda _: None
    ) -> None:
        self._target = target
        self._metric = metric
        self._archive = archive
        self._done = done

    async def evaluate(self, candidate: Candidate, examples: Sequence[Example], *, sample: int = 0) -> list[Outcome]:
        """Outcomes in the order of ``examples``; what the archive has is not run again, but failed ones are.

        The requests of one candidate go out together and in order, so that its common prefix stays in the
        provider's cache. A failed call becomes an outcome with an error.

        Raises:
            BudgetExhausted: The budget ended on the way; what was answered until then is in the archive.
            ProviderFailure: The provider is down or refuses.
        """
        missing = [e for e in examples if not self._known(candidate, e, sample)]
        results = await asyncio.gather(*(self._run(candidate, e, sample) for e in missing), return_exceptions=True)
        await self._archive.record([outcome for outcome in results if isinstance(outcome, Outcome)])
        errors = [error for error in results if isinstance(error, BaseException)]
        if errors:
            raise next((e for e in errors if not isinstance(e, BudgetExhausted)), errors[0])
        known = (self._archive.outcome(candidate.id, example.id, sample) for example in examples)
        found = [outcome for outcome in known if outcome is not None]
        for outcome in found:
            count(outcome.usage)
        return found

    def _known(self, candidate: Candidate, example: Example, sample: int) -> bool:
        """Answered before, or refused by the provider as impossible: that would be refused again."""
        outcome = self._archive.outcome(candidate.id, example.id, sample)
        return outcome is not None and (outcome.score is not None or (outcome.error or "").startswith("bad_request"))

    async def _run(self, candidate: Candidate, example: Example, sample: int) -> Outcome:
        base = Outcome(candidate=candidate.id, example=example.id, sample=sample)
        try:
            output = await self._target.run(candidate.prompts, example.inputs, sample=sample)
            result = await score(self._metric, output.model_copy(update={"sample": sample}), example)
        except CallFailed as failure:
            outcome = base.model_copy(update={"error": f"{failure.kind}: {failure}"})
        else:
            update = {"output": output.text, "truncated": output.truncated, "score": result}
            paid = {"usage": output.usage, "call_keys": output.call_keys, "probabilities": output.probabilities}
            outcome = base.model_copy(update={**update, **paid})
        self._done(outcome)
        return outcome
