"""Which of several labels, or of the words that stand for them, an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence


def find_label(text: str, labels: Sequence[str]) -> str | None:
    """The first label that the text mentions as a word of its own, in either case; of two at one place the longer."""
    by_length = sorted(labels, key=len, reverse=True)
    pattern = "|".join(re.escape(label) for label in by_length)
    match = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE)
    if match is None:
        return None
    return next((label for label in by_length if label.casefold() == match[0].casefold()), match[0])
