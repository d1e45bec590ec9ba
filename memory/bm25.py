"""Lexical search over short texts: Okapi BM25 in numpy."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
"""Scripts that put no blanks between words."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_K1, _B = 1.2, 0.75
"""The usual settings: how soon repeated words stop to count, and how much long texts are held back."""


class Bm25:
    """Texts that can be ranked by the words of a query.

    The formula is that of Robertson & Zaragoza (2009) with the idf ln(1 + (N - n + .5) / (n + .5)), which is never
    negative. Words are runs of letters and digits, case does not count.

    Args:
        texts: What is searched; their order is that of the scores.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words_of(text)) for text in texts]
        lengths = np.array([count.total() for count in counts], dtype=np.float64)
        mean = lengths.mean() if len(lengths) and lengths.any() else 1.0
        self._norm = _K1 * (1 - _B + _B * lengths / mean)
        postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, count in enumerate(counts):
            for word, times in count.items():
                postings[word].append((row, times))
        self._postings = {word: np.array(found) for word, found in postings.items()}

    def scores(self, query: str) -> NDArray[np.float64]:
        """How well each text fits the query, at least 0; shape (texts,)."""
        total = len(self._norm)
        found = np.zeros(total)
        for word in dict.fromkeys(words_of(query)):
            posting = self._postings.get(word)
            if posting is not None:
                rows, times = posting[:, 0], posting[:, 1]
                idf = np.log1p((total - len(rows) + 0.5) / (len(rows) + 0.5))
                found[rows] += idf * times * (_K1 + 1) / (times + self._norm[rows])
        return found


def words_of(text: str) -> list[str]:
    """Its runs of letters and digits, in lower case; in Chinese, Japanese and Thai each character is a word."""
    return _WORD.findall(text.casefold())
