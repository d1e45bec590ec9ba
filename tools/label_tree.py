"""The tree of tokens by which an answer becomes one of several labels, read node by node.

A node is a begun answer; the tokens that may follow it lead to a label, to a longer beginning of several, or nowhere.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_LEAST = 1e-9
"""No listed token is less likely than this, so that every quotient and logarithm is finite."""
_WORD = re.compile(r"\w")


class Beginning(NamedTuple):
    """A begun answer as it stands, and how likely the model is to begin with just these tokens."""

    text: str
    probability: float


START = Beginning("", 1.0)
"""An answer of which nothing is written yet."""


class Reading(NamedTuple):
    """What the tokens that may follow a begun answer say.

    Attributes:
        support: By label, how likely the answer is to become this one and no other.
        undecided: The beginnings, one token longer, that two labels or more have in common.
        floor: Less than any path that was seen, and at most half of what the listed tokens leave: the part of a label
            that nothing supports.
    """

    support: dict[str, float]
    undecided: tuple[Beginning, ...]
    floor: float


def read(begun: Beginning, tokens: Mapping[str, float], labels: Sequence[str]) -> Reading:
    """Sort the tokens that may follow a begun answer by the labels that they lead to.

    White space around an answer and case do not count. A token that leaves one label is taken for all of it. The answer
    is at its end, and is the label that is written by then, where a token adds nothing (the end of the turn, white
    space) or goes on with what no label does and is no part of the last word.

    Args:
        begun: The answer so far.
        tokens: Natural log-probabilities by token text, as in ``ModelReply.first_token``.
        labels: The possible answers, different in folded case.
    """
    known = labels_by_beginning(labels)
    here = folded(begun.text)
    whole = next((label for label in labels if folded(label) == here), None)
    paths = {token: begun.probability * max(math.exp(logprob), _LEAST) for token, logprob in tokens.items()}
    support, undecided = dict.fromkeys(labels, 0.0), []
    for token, probability in paths.items():
        text = folded(begun.text + token)
        reached = known.get(text, ()) if text != here else ()
        if len(reached) > 1:
            undecided.append(Beginning(begun.text + token, probability))
        elif reached:
            support[reached[0]] += probability
        elif whole is not None and not _WORD.match(token):
            support[whole] += probability
    rest = max(begun.probability - math.fsum(paths.values()), begun.probability * _LEAST)
    return Reading(support, tuple(undecided), min(min(paths.values(), default=begun.probability), rest) / 2)


def labels_by_beginning(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The labels that each text begins, by that text in folded case.

    ``{"yes", "no"}`` have y, ye, yes, n and no to themselves; of ``{"spam", "sport"}``, "sp" begins both.
    """
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for label in labels:
        text = folded(label)
        for end in range(1, len(text) + 1):
            found[text[:end]] += (label,)
    return dict(found)


def folded(text: str) -> str:
    """The text in folded case, without white space around it."""
    return text.strip().casefold()
