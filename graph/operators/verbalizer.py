"""The operator that has the model say other words for the labels; the prompt maps them back when it reads an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from crito.agents.edits import answer_rule, spaced, swap_rule
from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.patch import Edit, Patch
from crito.prompt import Prompt
from crito.records import Candidate, child
from crito.task import Task
from crito.tools.likelihood import ambiguous

_SYNONYMS: Mapping[tuple[str, str], Sequence[tuple[str, str]]] = {
    ("negative", "positive"): (("bad", "good"), ("terrible", "great"), ("unhappy", "happy")),
    ("neg", "pos"): (("negative", "positive"), ("bad", "good"), ("terrible", "great")),
    ("no", "yes"): (("false", "true"), ("incorrect", "correct")),
    ("false", "true"): (("no", "yes"), ("incorrect", "correct")),
    ("0", "1"): (("no", "yes"), ("false", "true")),
}
"""Words for common pairs of labels, in the pair's order."""


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent with other words, in random order; none without labels.

    None either where answers reason first: there the word mentioned first is not the answer.
    """
    parent, task = assignment.parent, deps.task
    if len(task.labels) < 2 or task.reasoning:
        return []
    sets = [words for words in _word_sets(task.labels) if words != parent.main.words and _clear(words, task)]
    found: dict[str, Candidate] = {}
    for at in deps.rng(19, assignment.round, assignment.worker).permutation(len(sets)):
        try:
            patch = _patch(parent.main, task, sets[at])
            candidate = child(parent, patch, operator="verbalizer", round_number=assignment.round)
        except PatchRejected:
            continue
        found.setdefault(candidate.id, candidate)
    return list(found.values())[: assignment.count]


def _patch(prompt: Prompt, task: Task, words: dict[str, str]) -> Patch:
    """The words, and the answer rule that names them in place of the one for the words so far.

    Raises:
        PatchRejected: The rule would change something frozen, and without it the model could not know the words.
    """
    rule = answer_rule(task, words)
    patch = swap_rule(prompt, answer_rule(task, prompt.words), rule)
    if patch is None:
        raise PatchRejected(f"the rule {rule!r} cannot be added")
    edit = Edit(op="replace", path="words", value=words)
    return Patch(edits=(edit, *patch.edits), rationale=f"say {', '.join(words.values())} for the labels")


def _word_sets(labels: Sequence[str]) -> list[dict[str, str]]:
    said: list[Sequence[str]] = [
        [str(number) for number in range(1, len(labels) + 1)],
        [label[:1].upper() + label[1:] for label in labels],
        [spaced(label) for label in labels],
    ]
    if len(labels) <= len(ascii_uppercase):
        said.append(ascii_uppercase[: len(labels)])
    sets = [dict(zip(labels, words, strict=True)) for words in said]
    for pair, synonyms in _SYNONYMS.items():
        if sorted(label.casefold() for label in labels) == sorted(pair):
            sets += [{label: words[pair.index(label.casefold())] for label in labels} for words in synonyms]
    return sets


def _clear(words: Mapping[str, str], task: Task) -> bool:
    """Whether some word is new, no two are alike, and none is the label that another word stands for."""
    if task.scoring != "sampled" and ambiguous(tuple(words.values())) is not None:
        return False  # no first token would tell them apart: refused by most models, and several calls for the others
    said = {word.casefold() for word in words.values()}
    taken = any(w.casefold() == o.casefold() for label, w in words.items() for o in words if o != label)
    return not taken and len(said) == len(words) and any(label != word for label, word in words.items())
