"""Prompts that were tried before, so that nothing equal in effect is tried again."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from rapidfuzz import fuzz

from crito.prompt import ORDERED, Prompt
from crito.records import Candidate
from crito.tools.passages import sentences, texts

_SAME_PROMPT, _SAME_SENTENCES = 97.0, 90.0  # rapidfuzz ratios, 0 to 100
_TELLING = re.compile(r"\d+(?:[.,]\d+)*|\b(?:not?|nor|never|none|nothing|null|without|cannot|\w+n't)\b")
"""Numbers and negations in lower case: what hardly changes a text's letters and turns its meaning."""


class _Text(NamedTuple):
    """Instructions of one prompt, and its sentences."""

    instructions: str
    sentences: list[str]


class Tried:
    """Candidates by what the model sees of them.

    Args:
        candidates: Who was tried; more are taken in with :meth:`add`.
    """

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._ids: set[str] = set()
        self._shown: dict[Hashable, str] = {}
        self._alike: defaultdict[Hashable, list[tuple[str, list[_Text]]]] = defaultdict(list)
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """Take in one more."""
        self._ids.add(candidate.id)
        self._shown.setdefault(_of_all(candidate, _shown), candidate.id)
        self._alike[_of_all(candidate, _form)].append((candidate.id, _texts(candidate)))

    def objection(self, candidate: Candidate) -> str | None:
        """Why it is nothing new; None if it is.

        It is not where the model sees the same: parts may have other names, rules may stand in another order (steps
        may not), and neither capitals nor blanks count. Nor where its texts are nearly those of another one that
        equals it in everything else.
        """
        if candidate.id in self._ids:
            return f"it is the same as {candidate.id}"
        same = self._shown.get(_of_all(candidate, _shown))
        if same is not None:
            return f"it shows the same as {same}"
        mine = _texts(candidate)
        for other, theirs in self._alike.get(_of_all(candidate, _form), ()):
            if all(_nearly_equal(a, b) for a, b in zip(mine, theirs, strict=True)):
                return f"it is nearly the same as {other}"
        return None


def _of_all(candidate: Candidate, what: Callable[[Prompt], Hashable]) -> Hashable:
    return tuple((name, what(prompt)) for name, prompt in sorted(candidate.prompts.items()))


def _texts(candidate: Candidate) -> list[_Text]:
    prompts = (prompt for _, prompt in sorted(candidate.prompts.items()))
    return [_Text(prompt.instructions(), sentences(texts(prompt))) for prompt in prompts]


def _shown(prompt: Prompt) -> Hashable:
    """What the model sees and how it is read, without what makes no difference."""
    sections = (
        s
        if isinstance(s.body, str) or s.name.casefold() == ORDERED
        else s.model_copy(update={"body": tuple(sorted(s.body))})
        for s in prompt.sections
    )
    messages = prompt.model_copy(update={"sections": tuple(sections)}).to_messages()
    return _words(prompt), tuple((m["role"], " ".join(m["content"].casefold().split())) for m in messages)


def _form(prompt: Prompt) -> Hashable:
    """All of a prompt but its instructions."""
    demos = tuple((tuple(sorted(demo.inputs.items())), demo.output) for demo in prompt.demos)
    return _words(prompt), prompt.template, tuple(prompt.layout.model_dump().values()), demos


def _words(prompt: Prompt) -> Hashable:
    return tuple(sorted(prompt.words.items()))


def _nearly_equal(one: _Text, other: _Text) -> bool:
    if fuzz.ratio(one.instructions, other.instructions, score_cutoff=_SAME_PROMPT) < _SAME_PROMPT:
        return False
    # One more rule hardly changes the ratio of a long prompt, so the sentences that differ must be alike as well.
    only_mine = " ".join(s for s in one.sentences if s not in other.sentences)
    only_theirs = " ".join(s for s in other.sentences if s not in one.sentences)
    if Counter(_TELLING.findall(only_mine.casefold())) != Counter(_TELLING.findall(only_theirs.casefold())):
        return False
    return fuzz.ratio(only_mine, only_theirs) >= _SAME_SENTENCES
