"""Labels scored by the log-probabilities of an answer's tokens: graded, and without sampling a word.

A probability here is a label's share among the labels, not among all that the model could say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from crito.records import Outcome
from crito.task import Example, Score, Scoring
from crito.tools.label_tree import Beginning, Reading, folded

_PIECE = re.compile(r"\d|[^\W\d_]+|\S")
"""Where tokenizers split at the latest: after a word, a sign and, in many of them, every digit."""
_WORTH = 0.05
"""Share of all that supports a label, or may, up to which an undecided beginning is not asked for. A share of .01 took
60 % more calls on one task (SmolLM2, no demonstrations) and changed no answer of 40."""


def label_probabilities(readings: Sequence[Reading], labels: Sequence[str]) -> dict[str, float]:
    """How likely each label is, from what was read of one answer.

    A label's probability is the sum over the paths that lead to it, divided by the sum over all labels. A label that no
    path leads to is less likely than every path that was seen: it gets the least floor of the readings. Without any
    support all labels are equally likely.

    Args:
        readings: Of the answer's start, and of the beginnings that were worth asking for; at least one.
        labels: The possible answers.

    Returns:
        A positive probability by label, in the order of the labels; they add up to 1.
    """
    support = {label: sum(reading.support[label] for reading in readings) for label in labels}
    floor = min(reading.floor for reading in readings)
    return _normalised({label: value or floor for label, value in support.items()})


def worth_asking(before: Sequence[Reading], last: Sequence[Reading]) -> list[Beginning]:
    """The undecided beginnings of the last readings that are likely enough to move the probabilities.

    Likely is measured by all that supports a label or still may, which leaves out what came to nothing on the way. Each
    is longer than what it was read after and begins two labels, so that an answer is asked for more at most as often
    as the second longest label has characters.

    Args:
        before: What was read of shorter beginnings.
        last: What was read of the beginnings of the last step.
    """
    undecided = [begun for reading in last for begun in reading.undecided]
    found = [share for reading in (*before, *last) for share in reading.support.values()]
    least = _WORTH * math.fsum([*found, *(begun.probability for begun in undecided)])
    return [begun for begun in undecided if begun.probability > least]


def inseparable(labels: Sequence[str], *, prefill: bool) -> tuple[str, ...] | None:
    """The first labels that scoring cannot tell apart; None if there are none.

    Args:
        labels: The possible answers.
        prefill: Whether the model goes on from a begun answer. If it does, only labels that are the same in folded case
            remain; else all that :func:`ambiguous` names.
    """
    if not prefill:
        return ambiguous(labels)
    same = ([other for other in labels if folded(other) == folded(label)] for label in labels)
    return next((tuple(alike) for alike in same if len(alike) > 1), None)


def ambiguous(labels: Sequence[str]) -> tuple[str, ...] | None:
    """The first labels that begin alike, so that no first token can tell one of them; None if there are none.

    That is so where a label's first word, sign or digit is, or begins, another's: ``num_date`` and ``num_count``,
    ``object`` and ``objective``, ``10`` and ``12``. Other labels may still share a first token in some tokenizer
    (``unfair``, ``unkind``); what that token says then counts for neither.
    """
    pieces = [(label, _first_piece(label)) for label in labels]
    for _, piece in pieces:
        alike = [other for other, beginning in pieces if beginning.startswith(piece)]
        if len(alike) > 1:
            return tuple(alike)
    return None


def answer_calls(labels: Sequence[str]) -> int:
    """About how many calls one answer takes: 1 where first tokens tell the labels apart.

    Else one more for each word, sign or digit of the longest beginning that labels share: 2 for ``object`` and
    ``objective``, 3 for ``num_date`` and ``num_count``. A model that wavers between spellings takes more.
    """
    pieces = [_PIECE.findall(folded(label)) for label in labels]
    texts = ["".join(row) for row in pieces]
    alike = [[sum(text.startswith(begun) for text in texts) > 1 for begun in accumulate(row)] for row in pieces]
    return 1 + max(map(sum, alike), default=0)


def calibration(probabilities: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each label's mean probability over inputs: what the model is prone to say, whatever it is asked.

    The labels of the inputs are not needed. One prompt's answers go in, on inputs that are never test items.

    Args:
        probabilities: By label, of at least one input; all of the same labels.
    """
    return {label: math.fsum(p[label] for p in probabilities) / len(probabilities) for label in probabilities[0]}


def calibrated(probabilities: Mapping[str, float], marginal: Mapping[str, float]) -> dict[str, float]:
    """Calibration by marginalization (Yang et al. 2023): p(label | input) / p(label), made to add up to 1.

    Args:
        probabilities: Of one input, by label.
        marginal: What :func:`calibration` gave for the same prompt; positive.
    """
    return _normalised({label: probability / marginal[label] for label, probability in probabilities.items()})


def calibrated_outcome(outcome: Outcome, example: Example, marginal: Mapping[str, float]) -> Outcome:
    """The outcome with the label, the score and the probabilities that it has after calibration.

    A failed one, one without probabilities, and every one without a marginal stays as it is.
    """
    if outcome.score is None or not outcome.probabilities or not marginal:
        return outcome
    shares = calibrated(outcome.probabilities, marginal)
    label = decided(shares)
    score = Score(value=float(label == right_label(shares, example)))
    return outcome.model_copy(update={"output": label, "score": score, "probabilities": shares})


def as_scored(outcomes: Iterable[Outcome], examples: Mapping[str, Example], scoring: Scoring) -> list[Outcome]:
    """The outcomes of one candidate as a task scores them: calibrated on each other, if it wants that.

    Args:
        outcomes: Of these examples.
        examples: By id.
        scoring: The task's.
    """
    known = list(outcomes)
    shares = [outcome.probabilities for outcome in known if outcome.probabilities]
    divisors = calibration(shares) if scoring == "calibrated" and shares else {}
    return [calibrated_outcome(outcome, examples[outcome.example], divisors) for outcome in known]


def right_label(labels: Iterable[str], example: Example) -> str:
    """The right one of the labels, as the task spells it."""
    wanted, known = (example.expected or "").strip().casefold(), list(labels)
    return next((label for label in known if label.strip().casefold() == wanted), known[0])


def decided(probabilities: Mapping[str, float]) -> str:
    """The most likely label; of equals the first."""
    return max(probabilities, key=lambda label: probabilities[label])


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def _first_piece(label: str) -> str:
    match = _PIECE.match(folded(label))
    return match[0] if match else ""
