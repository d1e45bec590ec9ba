"""Metrics that compare an answer's text with the expected text, by code alone."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Sequence
from typing import Any

from crito.errors import BadInput
from crito.labels import find_label
from crito.task import Score
from crito.tools.loose_json import loose_json

_SHOWN = 80  # characters of a text that feedback quotes
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-+])?(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?"
)
_OPERATORS = ("/", "^", "*", "+", "{")
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9  # tolerance of plain numbers: writing them out differently is not an error
_PARSE_SECONDS = 5


def shorten(text: str) -> str:
    """The text on one line, cut for quoting."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def find_number(text: str) -> str | None:
    """The last number in the text, as it is written there."""
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def label(text: str, expected: str, labels: Sequence[str]) -> Score:
    """1 when the first label mentioned is the expected one, in either case."""
    found = find_label(text, labels)
    if found is None:
        return Score(
            value=0.0, feedback=f"expected {expected!r}, but none of the labels is mentioned: {shorten(text)!r}"
        )
    return _same(found.casefold() == expected.strip().casefold(), expected, found)


def exact_match(text: str, expected: str) -> Score:
    """1 when both texts are equal but for surrounding white space and case."""
    return _same(text.strip().casefold() == expected.strip().casefold(), expected, text)


def contains(text: str, expected: str) -> Score:
    """1 when the expected text occurs anywhere in the answer, in either case."""
    return _same(expected.strip().casefold() in text.casefold(), expected, text)


def numeric(text: str, expected: str) -> Score:
    """1 when the answer's last number or expression equals the expected one.

    Plain numbers are compared within a relative 1e-6; anything else (fractions, LaTeX, roots) by math-verify.
    """
    wanted, got = _plain(expected, whole=True), _plain(text, whole=False)
    if wanted is not None and got is not None:
        return _same(math.isclose(got, wanted, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE), expected, find_number(text) or "")
    return _same(_equivalent(text, expected), expected, text)


def regex(text: str, pattern: str) -> Score:
    """1 when the pattern is found in the answer.

    Raises:
        BadInput: The pattern is not a regular expression.
    """
    try:
        found = re.search(pattern, text)
    except re.error as error:
        raise BadInput(f"metric regex: {shorten(pattern)!r} is not a regular expression: {error}") from error
    return Score(value=1.0) if found else Score(value=0.0, feedback=f"{pattern!r} does not match: {shorten(text)!r}")


def json_fields(text: str, expected: str) -> Score:
    """F1 over the fields of two JSON objects; nested objects count by their leaves.

    A field is right when it is there with the same value; numbers may be written as text, case does not count.

    Raises:
        BadInput: The expected answer is not a JSON object.
    """
    try:
        wanted = _leaves(json.loads(expected))
    except ValueError as error:
        raise BadInput(f"metric json_fields: the expected answer {shorten(expected)!r} is not JSON: {error}") from error
    if wanted is None:
        raise BadInput(f"metric json_fields: the expected answer {shorten(expected)!r} is not a JSON object")
    got = _leaves(_repaired(text))
    if got is None:
        return Score(value=0.0, feedback=f"expected a JSON object, got: {shorten(text)!r}")
    right = sum(1 for key, value in wanted.items() if key in got and got[key] == value)
    total = len(wanted) + len(got)
    return Score(value=2 * right / total if total else 1.0, feedback=_field_feedback(wanted, got))


def rouge(text: str, expected: str) -> Score:
    """ROUGE-L F1 over stemmed words (Lin 2004)."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise _extra_missing("rouge", "rouge-score") from error
    value = float(RougeScorer(["rougeL"], use_stemmer=True).score(expected, text)["rougeL"].fmeasure)
    return Score(value=value, feedback=_overlap("ROUGE-L", value, expected, text))


def chrf(text: str, expected: str) -> Score:
    """ChrF, character n-gram F-score over 0..1 (Popović 2015)."""
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise _extra_missing("chrf", "sacrebleu") from error
    value = min(1.0, float(sentence_chrf(text, [expected]).score) / 100)
    return Score(value=value, feedback=_overlap("chrF", value, expected, text))


def _same(right: bool, expected: str, got: str) -> Score:
    if right:
        return Score(value=1.0)
    return Score(value=0.0, feedback=f"expected {shorten(expected)!r}, got {shorten(got)!r}")


def _plain(text: str, *, whole: bool) -> float | None:
    """The text's number if it is a plain one: not a part of a fraction, a power or a LaTeX group."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = found[-1]
    if text[: last.start()].rstrip()[-1:] in _OPERATORS or (whole and last[0] != text.strip().strip("$€£% ")):
        return None
    return float(last[0].replace(",", ""))


def _equivalent(text: str, expected: str) -> bool:
    from math_verify import parse, verify

    # math-verify limits its time by a signal, which only the main thread can receive.
    seconds = _PARSE_SECONDS if threading.current_thread() is threading.main_thread() else None
    bare_latex = "\\" in expected and "$" not in expected  # math-verify reads LaTeX between dollar signs only
    wanted = parse(f"${expected}$" if bare_latex else expected, parsing_timeout=seconds)
    got = parse(text, parsing_timeout=seconds)
    return bool(wanted and got and verify(wanted, got, timeout_seconds=seconds))


def _repaired(text: str) -> Any:
    try:
        value = loose_json(text)
    except ValueError:
        return None
    if isinstance(value, list):  # several objects in one answer: the last one is the result
        return next((item for item in reversed(value) if isinstance(item, dict)), None)
    return value


def _leaves(value: object, prefix: str = "") -> dict[str, object] | None:
    if not isinstance(value, dict):
        return None
    leaves: dict[str, object] = {}
    for key, item in value.items():
        nested = _leaves(item, f"{prefix}{key}.")
        leaves.update({f"{prefix}{key}": _plain_value(item)} if nested is None else nested)
    return leaves


def _plain_value(value: object) -> object:
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    text = str(value).strip().casefold()
    number = None if re.match(r"0\d", text) else _plain(text, whole=True)  # 0012 is a code, not a number
    return text if number is None else number


def _field_feedback(wanted: dict[str, object], got: dict[str, object]) -> str:
    missing = [key for key in wanted if key not in got]
    wrong = [
        f"{key} (expected {shorten(str(value))!r}, got {shorten(str(got[key]))!r})"
        for key, value in wanted.items()
        if key in got and got[key] != value
    ]
    extra = [key for key in got if key not in wanted]
    parts = (("missing", missing), ("wrong", wrong), ("not asked for", extra))
    return "; ".join(f"{name}: {', '.join(keys)}" for name, keys in parts if keys)


def _overlap(name: str, value: float, expected: str, got: str) -> str:
    return "" if value >= 1 else f"{name} {value:.2f}: expected {shorten(expected)!r}, got {shorten(got)!r}"


def _extra_missing(metric: str, package: str) -> BadInput:
    return BadInput(f'metric {metric} needs the package {package}: pip install "crito[text]"')
