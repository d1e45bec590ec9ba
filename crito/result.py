"""What a run gives back: the prompt to use, the evidence, the bill."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from crito.prompt import Prompt
from crito.records import Verdict


class Bill(BaseModel):
    """What a run paid for, over all roles. ``usd`` is None when a price is not known."""

    model_config = ConfigDict(frozen=True)
    calls: int = 0
    calls_target: int = 0
    calls_agents: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0


class Link(BaseModel):
    """One step of the way from the seed to the best prompt."""

    model_config = ConfigDict(frozen=True)
    candidate: str
    operator: str
    author: str
    hypothesis: str
    val_score: float


class Result(BaseModel):
    """The end of a run.

    Attributes:
        run: Id of the run, for ``crito show`` and ``crito trace``.
        prompts: What to use: the best prompts, or the seed when the verdict says to keep it.
        best_prompts: The best candidate on validation, whatever the verdict says.
        chain: From the seed to the best candidate.
        stopped: Why the search ended.
        splits: Hash over the examples of each split.
        calibration: With calibrated scoring, what the probability of each label must be divided by when the prompt is
            used: its mean over the validation inputs.
    """

    model_config = ConfigDict(frozen=True)
    run: str
    name: str
    model: str
    verdict: Verdict
    bill: Bill
    prompts: dict[str, Prompt]
    best_prompts: dict[str, Prompt]
    chain: tuple[Link, ...]
    stopped: str = ""
    splits: str = ""
    calibration: dict[str, float] | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt to use (module ``main``)."""
        return self.prompts.get("main") or next(iter(self.prompts.values()))

    def as_json(self) -> dict[str, Any]:
        """The object that ``crito optimize --json`` prints."""
        verdict, bill = self.verdict, self.bill
        return {
            "run": self.run,
            "name": self.name,
            "model": self.model,
            "verdict": verdict.decision,
            "reason": verdict.reason,
            "seed_score": verdict.seed_score,
            "best_score": verdict.best_score,
            "difference": verdict.difference,
            "interval": list(verdict.interval),
            "p_value": verdict.p_value,
            "n_test": verdict.n,
            "n_failed": verdict.failed,
            "tokens_per_use": {"seed": verdict.tokens_per_use[0], "best": verdict.tokens_per_use[1]},
            "usd_per_use": {"seed": verdict.usd_per_use[0], "best": verdict.usd_per_use[1]},
            **bill.model_dump(),
            "prompt": {"text": self.prompt.to_text(), "messages": self.prompt.to_messages()},
            "chain": [link.model_dump() for link in self.chain],
            "stopped": self.stopped,
            "splits": self.splits,
            "calibration": self.calibration,
            "uncalibrated": verdict.uncalibrated,
        }

    def __str__(self) -> str:
        verdict, bill = self.verdict, self.bill
        low, high = verdict.interval
        headline = {
            "improved": f"improved: {verdict.seed_score:.2f} -> {verdict.best_score:.2f}",
            "kept": f"keep your prompt ({verdict.seed_score:.2f})",
            "inconclusive": f"inconclusive: {verdict.seed_score:.2f} -> {verdict.best_score:.2f}",
        }[verdict.decision]
        usd = "price unknown" if bill.usd is None else f"${bill.usd:.4f}"
        return "\n".join(
            [
                f"{self.name}: {headline} on {verdict.n} held-out examples, {verdict.reason}",
                f"  difference {verdict.difference:+.2f} [{low:+.2f}, {high:+.2f}], p = {verdict.p_value:.2g}",
                f"  {bill.calls} calls ({bill.calls_target} target, {bill.calls_agents} agents), "
                f"{bill.tokens_in:,} + {bill.tokens_out:,} tokens, {usd}, {bill.seconds:.0f} s",
                f"  tokens per use: {verdict.tokens_per_use[0]:.0f} -> {verdict.tokens_per_use[1]:.0f}",
                f"  run {self.run}",
                "",
                self.prompt.to_text(),
            ]
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


class Evaluation(BaseModel):
    """How one prompt does on a set of examples.

    Attributes:
        score: Mean over the ``n`` examples that were answered; ``failed`` calls are not zeros.
        interval: 95 % interval of the score.
        failures: How many outcomes of each failure label.
        confusions: (expected, got, count), the most frequent first.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    model: str
    score: float
    interval: tuple[float, float]
    n: int
    failed: int
    failures: dict[str, int] = {}
    confusions: tuple[tuple[str, str, int], ...] = ()
    bill: Bill = Bill()

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"{self.name}: {self.score:.3f} [{low:.3f}, {high:.3f}] on {self.n} examples, {self.failed} calls failed"
        ]
        lines += [f"  {label}: {count}" for label, count in self.failures.items()]
        lines += [f"  {count} x {expected!r} answered as {got!r}" for expected, got, count in self.confusions[:5]]
        return "\n".join(lines)
