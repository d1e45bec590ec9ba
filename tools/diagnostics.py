"""What is wrong with an answer, told by code from the outcome alone, and what changed between two candidates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict
from rapidfuzz import fuzz

from crito.records import FailureLabel, Outcome
from crito.task import Example, Task
from crito.tools.metrics import parse

NO_ANSWER = "(none)"
"""Stands in confusion pairs for an answer in which the metric finds nothing."""

_NEAR_MISS = 80.0  # rapidfuzz ratio, 0 to 100
_VERBOSE_FACTOR, _VERBOSE_SLACK = 4, 40  # characters: longer than 4 times the longest expected answer, plus 40
_CLOSED = ("label", "numeric")  # metrics whose answers are right or wrong: similar spelling means nothing
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m (?:very )?sorry|i am (?:very )?sorry|sorry,|i apologi[sz]e|unfortunately,? i|as an ai\b"  # noqa: RUF001 - the typographic apostrophe is meant
    r"|i (?:can(?:no|['’])?t|am (?:not able|unable)|will not|won['’]t|do(?:n['’]t| not) have)\b)",  # noqa: RUF001
    re.IGNORECASE,
)


class Flips(BaseModel):
    """Ids of the examples on which a child differs from its parent: now right, and no longer right."""

    model_config = ConfigDict(frozen=True)
    fixed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def diagnose(outcome: Outcome, example: Example, task: Task) -> FailureLabel | None:
    """The failure's label; None when the answer got full marks.

    The first that applies, in this order: ``call_failed`` has no score; ``empty``; ``truncated`` was cut off at the
    output limit; ``refusal``; ``off_label`` mentions none of the labels; ``wrong_format`` holds the expected text
    among others; ``verbose`` is far longer than any expected answer; ``near_miss`` is spelt almost like the expected
    one; ``wrong_content`` is all else.
    """
    if outcome.score is None:
        return "call_failed"
    if outcome.right:
        return None
    text = outcome.output.strip()
    checks: tuple[tuple[FailureLabel, bool], ...] = (
        ("empty", not text),
        ("truncated", outcome.truncated),
        ("refusal", _REFUSAL.match(text) is not None),
        ("off_label", task.metric == "label" and parse(task, text) is None),
    )
    return next((label for label, holds in checks if holds), None) or _against_expected(text, example, task)


def confusions(outcomes: Iterable[Outcome], examples: Mapping[str, Example], task: Task) -> Counter[tuple[str, str]]:
    """How often each (expected, got) pair occurs among scored wrong answers; ``got`` is what the metric saw."""
    pairs: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        expected = examples[outcome.example].expected
        if outcome.score is not None and not outcome.right and expected is not None:
            pairs[expected, parse(task, outcome.output) or NO_ANSWER] += 1
    return pairs


def flips(parent: Mapping[str, Outcome], child: Mapping[str, Outcome]) -> Flips:
    """Examples that turned right or wrong from parent to child; those that either failed to answer do not count."""
    both = [
        (example, was.right, child[example].right)
        for example, was in parent.items()
        if was.score is not None and example in child and child[example].score is not None
    ]
    return Flips(
        fixed=tuple(example for example, was, now in both if now and not was),
        broken=tuple(example for example, was, now in both if was and not now),
    )


def clusters(
    outcomes: Iterable[Outcome], examples: Mapping[str, Example], task: Task
) -> dict[FailureLabel, tuple[str, ...]]:
    """Example ids by failure label, the largest cluster first."""
    found: dict[FailureLabel, tuple[str, ...]] = {}
    for outcome in outcomes:
        label = diagnose(outcome, examples[outcome.example], task)
        if label is not None:
            found[label] = (*found.get(label, ()), outcome.example)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _against_expected(text: str, example: Example, task: Task) -> FailureLabel:
    expected = (example.expected or "").strip()
    if expected and text.casefold() != expected.casefold() and _mentions(text, expected):
        return "wrong_format"
    longest = max((len(e.expected or "") for e in (*task.splits.train, *task.splits.val)), default=0)
    if longest and not task.reasoning and len(text) > _VERBOSE_FACTOR * longest + _VERBOSE_SLACK:
        return "verbose"
    if expected and task.metric not in _CLOSED and fuzz.ratio(text.casefold(), expected.casefold()) >= _NEAR_MISS:
        return "near_miss"
    return "wrong_content"


def _mentions(text: str, expected: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(expected)}(?!\w)", text, re.IGNORECASE) is not None
