"""Other ways to write the same prompt, made by code: what it is worth should not depend on them.

The kinds follow PromptSuite's perturbations, as far as they need no model. Placeholders, labels, the words for them,
demonstrations, whatever stands in quotes, backticks or braces, and whatever is frozen stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count as counting
from itertools import zip_longest
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from crito.errors import PatchRejected
from crito.prompt import ORDERED, Layout, Prompt, Section

VariantKind = Literal[
    "layout", "place", "demos_order", "rules_order", "white_space", "case", "punctuation", "typos", "cue"
]
"""What a variant changes; ``place`` is that of the instructions, ``cue`` what the template ends with."""

_TRIES = 4
"""Random orders and misspellings that are drawn."""
_WORDS_PER_TYPO = 12
_BRACES = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
"""Placeholders, and JSON of three levels."""
_VERBATIM = (_BRACES, r'"[^"\n]*"', "“[^”]*”", "`[^`]+`")
"""What an answer may have to hold as it is written."""
_CUE = re.compile(r"\n+\w+(?: \w+)?:\s*\Z")
_CUES = ("", "\n\nAnswer:", "\nOutput:", "\n\nResponse:")
New = str | Callable[[re.Match[str]], str]
Change = tuple[str, New]
"""A pattern and what stands in its place."""
_WHITE_SPACE: tuple[Change, ...] = (
    (r"([.!?]) +", r"\1\n"),
    (r"(?<=\S)\s*\Z", "\n"),
    (r"([.!?]) +", r"\1  "),
    (r"\n\n+", r"\n"),
)
_CASE: tuple[Change, ...] = (
    (r"\A\W*\w+", lambda match: match[0].upper()),
    (r"\A\W*\w+", lambda match: match[0].lower()),
)
_PUNCTUATION: tuple[Change, ...] = (
    (r"(\w)\.(?=\s*\Z)", r"\1"),
    (r"(\w)(?=\s*\Z)", r"\1."),
    (r"(\w)\.(?=\s|\Z)", r"\1!"),
    (r":(?=\s|\Z)", " -"),
)


class Variant(BaseModel):
    """A prompt that means the same as another, and what was changed in it."""

    model_config = ConfigDict(frozen=True)
    kind: VariantKind
    prompt: Prompt


def variants(prompt: Prompt, *, labels: Sequence[str] = (), seed: int, count: int) -> tuple[Variant, ...]:
    """Variants of a prompt, as different in kind as possible, no two of which show the model the same messages.

    Args:
        prompt: The prompt to vary.
        labels: The possible answers, which stay as they are wherever they stand.
        seed: Decides the orders and the misspellings.
        count: How many; there are fewer where the prompt has too little to change.
    """
    rng = np.random.default_rng([seed, 23])
    kept = _Kept(prompt, labels)
    makers: dict[VariantKind, Iterator[Prompt]] = {
        "layout": _layouts(prompt, "style"),
        "place": _layouts(prompt, "instructions"),
        "demos_order": _demo_orders(prompt, rng),
        "rules_order": _rule_orders(prompt, rng),
        "white_space": (_rewritten(prompt, kept, *change) for change in _WHITE_SPACE),
        "case": _cases(prompt, kept),
        "punctuation": (_rewritten(prompt, kept, *change) for change in _PUNCTUATION),
        "typos": _misspelt(prompt, kept, rng),
        "cue": _cues(prompt, kept),
    }
    seen, found = [prompt.to_messages()], []
    for turn in zip_longest(*makers.values()):  # one of each kind, then the second of each
        for kind, changed in zip(makers, turn, strict=True):
            allowed = _allowed(prompt, changed) if changed is not None else None
            if allowed is not None and allowed.to_messages() not in seen:
                seen.append(allowed.to_messages())
                found.append(Variant(kind=kind, prompt=allowed))
    return tuple(found[:count])


class _Kept:
    """What no change of a text may touch: labels, the words for them, and what is verbatim or frozen."""

    def __init__(self, prompt: Prompt, labels: Sequence[str]) -> None:
        self.frozen = prompt.frozen
        named = sorted({*labels, *prompt.words.values()}, key=len, reverse=True)
        marks = [re.escape(mark) for mark in prompt.frozen]
        marks += [rf"(?<!\w){re.escape(name)}(?!\w)" for name in named if name]
        # Each kind by itself: a span that begins in one of another kind is found as well.
        spans = (*_VERBATIM, "|".join(marks)) if marks else _VERBATIM
        self._spans = [re.compile(span, re.IGNORECASE) for span in spans]

    def touched(self, match: re.Match[str]) -> bool:
        """Whether a match lies on something that is kept."""
        kept = (found for span in self._spans for found in span.finditer(match.string))
        return any(match.start() < found.end() and found.start() < match.end() for found in kept)

    def replace(self, pattern: str, new: New, text: str) -> str:
        """The text with every match replaced that touches nothing that is kept."""

        def replaced(match: re.Match[str]) -> str:
            if self.touched(match):
                return match[0]
            return match.expand(new) if isinstance(new, str) else new(match)

        return re.sub(pattern, replaced, text)


def _allowed(prompt: Prompt, changed: Prompt) -> Prompt | None:
    """The changed prompt, reached by a patch, which keeps to what is frozen; None where it cannot."""
    try:
        return prompt.apply(prompt.diff(changed))
    except PatchRejected:
        return None


def _rewritten(prompt: Prompt, kept: _Kept, pattern: str, new: New) -> Prompt:
    """The prompt with its instructions changed; they stand in the template where there are no sections."""
    if not prompt.sections:
        return prompt.model_copy(update={"template": kept.replace(pattern, new, prompt.template)})

    def body(section: Section) -> str | tuple[str, ...]:
        if section.name in kept.frozen:
            return section.body
        if isinstance(section.body, str):
            return kept.replace(pattern, new, section.body)
        named = ((f"{section.name}[{index}]", atom) for index, atom in enumerate(section.body))
        return tuple(atom if path in kept.frozen else kept.replace(pattern, new, atom) for path, atom in named)

    return _with_sections(prompt, (Section(name=section.name, body=body(section)) for section in prompt.sections))


def _with_sections(prompt: Prompt, sections: Iterable[Section]) -> Prompt:
    return prompt.model_copy(update={"sections": tuple(sections)})


def _layouts(prompt: Prompt, key: str) -> Iterator[Prompt]:
    others = (v for v in get_args(Layout.model_fields[key].annotation) if v != getattr(prompt.layout, key))
    for value in others:
        yield prompt.model_copy(update={"layout": prompt.layout.model_copy(update={key: value})})


def _demo_orders(prompt: Prompt, rng: np.random.Generator) -> Iterator[Prompt]:
    for _ in range(_TRIES):
        order = rng.permutation(len(prompt.demos))
        yield prompt.model_copy(update={"demos": tuple(prompt.demos[at] for at in order)})


def _rule_orders(prompt: Prompt, rng: np.random.Generator) -> Iterator[Prompt]:
    def shuffled(section: Section) -> Section:
        if isinstance(section.body, str) or section.name.casefold() == ORDERED:
            return section
        order = rng.permutation(len(section.body))
        return Section(name=section.name, body=tuple(section.body[at] for at in order))

    for _ in range(_TRIES):
        yield _with_sections(prompt, map(shuffled, prompt.sections))


def _cases(prompt: Prompt, kept: _Kept) -> Iterator[Prompt]:
    first, *rest = (_rewritten(prompt, kept, *change) for change in _CASE)
    loud = [Section(name=section.name.upper(), body=section.body) for section in prompt.sections]
    apart = len({section.name for section in loud}) == len(loud)
    yield from (first, *([_with_sections(prompt, loud)] if apart else []), *rest)


def _misspelt(prompt: Prompt, kept: _Kept, rng: np.random.Generator) -> Iterator[Prompt]:
    """One word in twelve with two neighbouring letters swapped, and one at least."""

    def with_typos(chosen: set[int], number: Iterator[int]) -> Prompt:
        return _rewritten(
            prompt, kept, r"[^\W\d_]{4,}", lambda match: _swapped(match[0]) if next(number) in chosen else match[0]
        )

    numbers = counting()
    with_typos(set(), numbers)  # misspells nothing, and counts the words
    words = next(numbers)
    for _ in range(_TRIES if words else 0):
        chosen = rng.choice(words, size=max(1, words // _WORDS_PER_TYPO), replace=False)
        yield with_typos(set(chosen.tolist()), counting())


def _swapped(word: str) -> str:
    """The word with two letters near its middle swapped; its first and last letter stay."""
    places = [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]
    if not places:
        return word
    at = places[len(places) // 2]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _cues(prompt: Prompt, kept: _Kept) -> Iterator[Prompt]:
    cue = _CUE.search(prompt.template)
    if cue is not None and kept.touched(cue):
        return
    bare = prompt.template[: cue.start()] if cue else prompt.template
    yield from (prompt.model_copy(update={"template": bare + new}) for new in _CUES)
