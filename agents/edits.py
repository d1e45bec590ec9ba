"""Deterministic edits: what the rewriter can do without a model, for structural failures and weak models."""

from __future__ import annotations

from collections.abc import Sequence

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
    """Ask for the answer alone."""
    if len(task.labels) > 1:
        *first, last = task.labels
        one = "one of" if any(" " in label for label in task.labels) else "one word"
        return add_rule(prompt, f"Answer with {one}: {', '.join(first)} or {last}.")
    return add_rule(prompt, f"Answer with the {task.output.replace('_', ' ')} only and nothing else.")


def add_rule(prompt: Prompt, rule: str) -> Patch | None:
    """Append a rule to ``rules``, or to the only text section there is; None if it is there or something is frozen."""
    if rule in prompt.instructions():
        return None
    rules = prompt.section("rules")
    if rules is not None and isinstance(rules.body, str):
        edit = Edit(op="replace", path="rules", value=f"{rules.body}\n{rule}")
    elif rules is None and len(prompt.sections) == 1 and isinstance(prompt.sections[0].body, str):
        only = prompt.sections[0]
        text = only.text.rstrip()
        stop = "" if text.endswith((".", "!", "?", ":")) else "."
        edit = Edit(op="replace", path=only.name, value=f"{text}{stop} {rule}")
        if only.name in prompt.frozen:
            edit = Edit(op="add", path="rules", value=(rule,))
    else:
        edit = Edit(op="add", path="rules", value=(rule,) if rules is None else rule)
    patch = Patch(edits=(edit,), rationale=rule)
    try:
        prompt.apply(patch)
    except PatchRejected:
        return None
    return patch
