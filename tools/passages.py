"""The passages of a prompt: its texts by place, and the sentences in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from crito.prompt import Prompt

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def places(prompt: Prompt) -> list[tuple[str, str]]:
    """Everything that stands in the prompt by itself: texts, atoms and the template, each after its place."""
    parts = [(s.name, part) for s in prompt.sections for part in ((s.body,) if isinstance(s.body, str) else s.body)]
    return [*parts, ("template", prompt.template)]


def texts(prompt: Prompt) -> list[str]:
    """The same without the places."""
    return [text for _, text in places(prompt)]


def sentences(passages: Iterable[str]) -> list[str]:
    """The sentences and lines of some texts, in their order."""
    return [part.strip() for text in passages for part in _SENTENCE_END.split(text) if part.strip()]
