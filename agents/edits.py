"""Deterministic edits: what the rewriter can do without a model, for structural failures and weak models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crito.errors import PatchRejected
from crito.patch import Edit, Patch
from crito.prompt import Prompt
from crito.records import FailureLabel, Hypothesis
from crito.task import Task

_STRUCTURAL: frozenset[FailureLabel] = frozenset(
    {"wrong_format", "verbose", "off_label", "refusal", "truncated", "empty"}
)


def structural(prompt: Prompt, task: Task, hypotheses: Sequence[Hypothesis]) -> list[tuple[Hypothesis, Patch]]:
    """A rule for each structural failure among the hypotheses, unless the prompt has it already."""
    found: list[tuple[Hypothesis, Patch]] = []
    for hypothesis in hypotheses:
        if hypothesis.label not in _STRUCTURAL:
            continue
        rule = answer_only(prompt, task)
        found += [(hypothesis, patch) for patch in ([rule] if rule else []) + cues(prompt, task)]
    return found


def cues(prompt: Prompt, task: Task) -> list[Patch]:
    """Ways to end the input with a cue for the answer, for prompts whose template is the bare input."""
    fields = prompt.fields
    if "template" in prompt.frozen or len(fields) != 1 or prompt.template != f"{{{fields[0]}}}":
        return []
    name = task.output.replace("_", " ").capitalize()
    shown = f"{{{fields[0]}}}"
    templates = (f"{shown}\n\n{name}:", f'"{shown}"\n{name}:', f"{fields[0].capitalize()}: {shown}\n{name}:")
    return [
        Patch(
            edits=(Edit(op="replace", path="template", value=template),), rationale="end the input with an answer cue"
        )
        for template in templates
    ]


def answer_only(prompt: Prompt, task: Task) -> Patch | None:
    """Ask for the answer alone, in the prompt's words where it has some."""
    return add_rule(prompt, answer_rule(task, prompt.words))


def answer_rule(task: Task, words: Mapping[str, str]) -> str:
    """The rule that asks for the answer alone; a word that does not show its label is followed by it."""
    if len(task.labels) < 2:
        return f"Answer with the {task.output.replace('_', ' ')} only and nothing else."
    said = [words.get(label, label) for label in task.labels]
    named = [w if _alike(w, label) else f"{w} for {label}" for w, label in zip(said, task.labels, strict=True)]
    return f"Answer with {_kind(said)}: {', '.join(named[:-1])} or {named[-1]}."


def spaced(label: str) -> str:
    """The label with spaces for its underscores and hyphens."""
    return label.replace("_", " ").replace("-", " ")


def swap_rule(prompt: Prompt, old: str, new: str) -> Patch | None:
    """Put a rule where another one stands, or add it; None if it is there or something is frozen."""
    for section in prompt.sections:
        if old in section.body:
            body = section.body
            value = body.replace(old, new) if isinstance(body, str) else tuple(new if a == old else a for a in body)
            patch = Patch(edits=(Edit(op="replace", path=section.name, value=value),), rationale=new)
            return patch if _applies(prompt, patch) else None
    return add_rule(prompt, new)


def add_rule(prompt: Prompt, rule: str) -> Patch | None:
    """Append a rule to ``rules``, or to the only text section there is; None if it is there or something is frozen."""
    if rule in prompt.instructions():
        return None
    rules = prompt.section("rules")
    if rules is not None and isinstance(rules.body, str):
        edit = Edit(op="replace", path="rules", value=f"{rules.body}\n{rule}")
    elif rules is None and len(prompt.sections) == 1 and isinstance(prompt.sections[0].body, str):
        only = prompt.sections[0]
        text = only.text.rstrip().removesuffix(":")  # the rule comes between it and the input
        stop = "" if text.endswith((".", "!", "?")) else "."
        edit = Edit(op="replace", path=only.name, value=f"{text}{stop} {rule}")
        if only.name in prompt.frozen:
            edit = Edit(op="add", path="rules", value=(rule,))
    else:
        edit = Edit(op="add", path="rules", value=(rule,) if rules is None else rule)
    patch = Patch(edits=(edit,), rationale=rule)
    return patch if _applies(prompt, patch) else None


def _applies(prompt: Prompt, patch: Patch) -> bool:
    try:
        prompt.apply(patch)
    except PatchRejected:
        return False
    return True


def _alike(word: str, label: str) -> bool:
    return spaced(word).casefold() == spaced(label).casefold()


def _kind(said: Sequence[str]) -> str:
    if all(len(word) == 1 and word.isalpha() for word in said):
        return "one letter"
    if all(word.isdigit() for word in said):
        return "one number"
    return "one of" if any(" " in word for word in said) else "one word"
