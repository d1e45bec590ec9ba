"""What a run gives back: the prompt to use, the evidence, the bill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from crito.prompt import Prompt
from crito.records import Verdict, main_module


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


class Baseline(BaseModel):
    """A prompt that owes nothing to the search, and its score on the ``n`` validation examples that it answered."""

    model_config = ConfigDict(frozen=True)
    name: str
    candidate: str
    val_score: float
    n: int


NOT_TAKEN_UP = "not taken up"
"""Outcome of a direction that no agent followed."""


class LessonUse(BaseModel):
    """A lesson or a proven prompt of earlier runs that this one took along, and what came of it.

    Attributes:
        lesson: Its id, for ``crito lessons show``; of a prompt, that of its run.
        text: What it says.
        before: The mean gain that earlier runs measured, of a prompt its own run: of a recipe or a prompt beside the
            seed, of a direction beside the prompt that it changed.
        outcome: What became of it, in words.
        gain: The same, measured in this run on ``n`` examples; None where none was raced.
    """

    model_config = ConfigDict(frozen=True)
    lesson: str
    text: str
    before: float
    outcome: str = "not tried"
    gain: float | None = None
    n: int = 0


class Result(BaseModel):
    """The end of a run.

    Attributes:
        run: Id of the run, for ``crito show`` and ``crito trace``.
        prompts: What to use: the best prompts, or the seed when the verdict says to keep it.
        best_prompts: The best candidate on validation, whatever the verdict says.
        chain: From the seed to the best candidate.
        baselines: Your prompt, and of what was raced the bare input, chain of thought and your prompt with examples.
        lessons: What it took along from earlier runs.
        stopped: Why the search ended.
        splits: Hash over the examples of each split.
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
    baselines: tuple[Baseline, ...] = ()
    lessons: tuple[LessonUse, ...] = ()
    stopped: str = ""
    splits: str = ""

    @property
    def prompt(self) -> Prompt:
        """The prompt to use (module ``main``)."""
        return self.prompts[main_module(self.prompts)]

    @property
    def calibration(self) -> dict[str, float] | None:
        """What the prompt's label probabilities are to be divided by; None where it was not scored so."""
        return self.prompt.calibration if self.verdict.uncalibrated is not None else None

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
            "n_unasked": verdict.unasked,
            "noise": verdict.noise,
            "tokens_per_use": {"seed": verdict.tokens_per_use[0], "best": verdict.tokens_per_use[1]},
            "usd_per_use": {"seed": verdict.usd_per_use[0], "best": verdict.usd_per_use[1]},
            **bill.model_dump(),
            "prompt": {"text": self.prompt.to_text(), "messages": self.prompt.to_messages()},
            "chain": [link.model_dump() for link in self.chain],
            "baselines": [baseline.model_dump() for baseline in self.baselines],
            "lessons": [use.model_dump() for use in self.lessons],
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
                *([f"  label probabilities are divided by {_listed(self.calibration)}"] if self.calibration else []),
                f"  run {self.run}",
                "",
                self.prompt.to_text(),
            ]
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


class Robustness(BaseModel):
    """How a prompt does when it is written in other ways that mean the same.

    Attributes:
        mean: Mean score of the prompt and its variants, each on the same ``n`` examples.
        worst, best: The lowest and the highest of these scores.
        spread: Their standard deviation.
        sensitivity: From 0 to 1, how often two of them answer an example differently. Above temperature 0 an answer's
            own noise is part of it.
        posix: How much the log-probability of an answer depends on the variant, where labels have probabilities.
        by_variant: (kind, score) of each, ``as written`` first; one that got no answer at all is left out.
        failed: Calls that failed; they are not zeros.
    """

    model_config = ConfigDict(frozen=True)
    mean: float
    worst: float
    best: float
    spread: float
    sensitivity: float
    posix: float | None = None
    by_variant: tuple[tuple[str, float], ...]
    n: int
    failed: int = 0

    def __str__(self) -> str:
        posix = "" if self.posix is None else f", POSIX {self.posix:.2f}"
        kinds: dict[str, list[str]] = {}
        for kind, score in self.by_variant:
            kinds.setdefault(kind, []).append(f"{score:.2f}")
        shown = ", ".join(f"{kind.replace('_', ' ')} {' '.join(scores)}" for kind, scores in kinds.items())
        return (
            f"written in {len(self.by_variant)} ways, {self.n} examples each, {self.failed} calls failed: "
            f"mean {self.mean:.3f}, worst {self.worst:.3f}, best {self.best:.3f}, spread {self.spread:.3f}\n"
            f"  two of them answer differently in {self.sensitivity:.0%} of cases{posix}\n"
            f"  {shown}"
        )


class Evaluation(BaseModel):
    """How one prompt does on a set of examples.

    Attributes:
        score: Mean over the ``n`` examples that were answered; ``failed`` calls are not zeros. Repeated answers to one
            example are averaged first.
        interval: 95 % interval of the score.
        noise: Variance of one answer's score around the mean of its example; None where each was answered once.
        failures: How many outcomes of each failure label.
        confusions: (expected, got, count), the most frequent first.
        calibration: With calibrated scoring, what each label's probability was divided by.
        calibrated_on: How many inputs, none of them scored, that was estimated on; None where the prompt brought it
            along.
        uncalibrated: The score without calibration, where the task wants calibrated scoring.
        robustness: The same prompt written in other ways, where that was asked for.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    model: str
    score: float
    interval: tuple[float, float]
    n: int
    failed: int
    noise: float | None = None
    failures: dict[str, int] = {}
    confusions: tuple[tuple[str, str, int], ...] = ()
    calibration: dict[str, float] | None = None
    calibrated_on: int | None = None
    uncalibrated: float | None = None
    robustness: Robustness | None = None
    bill: Bill = Bill()

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"{self.name}: {self.score:.3f} [{low:.3f}, {high:.3f}] on {self.n} examples, {self.failed} calls failed"
        ]
        if self.uncalibrated is not None:
            lines.append(f"  without calibration {self.uncalibrated:.3f}")
        if self.calibration is not None:
            whence = "the prompt's own" if self.calibrated_on is None else f"estimated on {self.calibrated_on} inputs"
            lines.append(f"  label probabilities are divided by {_listed(self.calibration)} ({whence})")
        if self.noise is not None:
            lines.append(f"  repeated answers to one example vary by {self.noise**0.5:.3f} (standard deviation)")
        lines += [f"  {label}: {count}" for label, count in self.failures.items()]
        lines += [f"  {count} x {expected!r} answered as {got!r}" for expected, got, count in self.confusions[:5]]
        lines += [f"  {self.robustness}"] if self.robustness else []
        return "\n".join(lines)


def _listed(divisors: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {divisor:.4f}" for label, divisor in divisors.items()) or "nothing"
