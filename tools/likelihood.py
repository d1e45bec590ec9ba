"""Labels scored by the log-probabilities of an answer's first token: graded, and without sampling a word.

A probability here is a label's share among the labels, not among all that the model could say.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from crito.records import Outcome
from crito.task import Example, Score

_PIECE = re.compile(r"\d|[^\W\d_]+|\S")
"""Where tokenizers split at the latest: after a word, a sign and, in many of them, every digit."""
_LEAST = 1e-9
"""No listed token is less likely than this, so that every quotient and logarithm is finite."""


def label_tokens(labels: Sequence[str]) -> dict[str, str]:
    """The label by each beginning that only one label has, in folded case.

    ``{"yes", "no"}`` gives y, ye, yes, n and no; of ``{"spam", "sport"}``, "sp" tells nothing.
    """
    texts = {label: _folded(label) for label in labels}
    beginnings = [(text[:end], label) for label, text in texts.items() for end in range(1, len(text) + 1)]
    shared = Counter(beginning for beginning, _ in beginnings)
    return {beginning: label for beginning, label in beginnings if shared[beginning] == 1}


def label_probabilities(first_token: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """How likely each label is, from the first token alone.

    A token supports the one label that begins with it; white space around it and case do not count. A label's
    probability is the sum over its tokens, divided by the sum over all labels. A label without a token is less likely
    than every token that was listed, and has a part at most of what the listed ones leave: it gets half of the smaller
    of both. Without any support all labels are equally likely.

    Args:
        first_token: Natural log-probabilities by token text, as in ``ModelReply.first_token``.
        labels: The possible answers; :func:`ambiguous` must have nothing against them.

    Returns:
        A positive probability by label, in the order of the labels; they add up to 1.
    """
    tokens = label_tokens(labels)
    seen = {token: max(math.exp(logprob), _LEAST) for token, logprob in first_token.items()}
    support = dict.fromkeys(labels, 0.0)
    for token, probability in seen.items():
        label = tokens.get(_folded(token))
        if label is not None:
            support[label] += probability
    rest = max(1 - math.fsum(seen.values()), _LEAST)
    floor = min(min(seen.values(), default=1.0), rest) / 2
    return _normalised({label: value or floor for label, value in support.items()})


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
    match = _PIECE.match(_folded(label))
    return match[0] if match else ""


def _folded(text: str) -> str:
    return text.strip().casefold()
