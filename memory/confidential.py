"""What must not be remembered without the user's leave: what examples, answers, labels and prompts say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from crito.memory.bm25 import words_of
from crito.prompt import Prompt
from crito.task import Task

_RUN = 5
"""Words in a row that make a passage; what is shorter is one as a whole."""
_FEWEST = 3
"""Words below which a whole input or sentence is no passage: such are said by chance."""
_NAMED = 4
"""Characters from which one answer, label or word with a digit tells something by itself."""


class Confidential:
    """The passages of a task's examples and prompts.

    Args:
        task: Whose examples and labels.
        prompts: The user's, and those that were made of it.
    """

    def __init__(self, task: Task, prompts: Iterable[Prompt]) -> None:
        examples = [e for split in (task.splits.train, task.splits.val, task.splits.test) for e in split]
        answers = {*task.labels, *(e.expected for e in examples if e.expected)}
        texts = [*(value for e in examples for value in e.inputs.values()), *answers, *map(_said, prompts)]
        self._passages = {passage for text in texts for passage in _passages(text)}
        self._passages |= {tuple(words_of(answer)) for answer in answers if len(answer) >= _NAMED}
        self._passages |= {(w,) for text in texts for w in words_of(text) if len(w) >= _NAMED and not w.isalpha()}
        self._lengths = sorted({len(passage) for passage in self._passages} - {0})

    def holds(self, text: str) -> bool:
        """Whether a text repeats one of them."""
        words = words_of(text)
        return any(run in self._passages for length in self._lengths for run in _runs(words, length))


def _said(prompt: Prompt) -> str:
    """All that a prompt says, the names of its sections included; its examples are known from the data."""
    return "\n".join([*(f"{s.name}\n{s.text}" for s in prompt.sections), prompt.template])


def _passages(text: str) -> Iterator[tuple[str, ...]]:
    yield from _runs(words_of(text), _RUN)
    for sentence in re.split(r"[.!?]\s|\n", text):
        words = tuple(words_of(sentence))
        if _FEWEST <= len(words) < _RUN:
            yield words


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words) - length + 1))
