"""The operator that says how to go about the task: at once, step by step, or by parts (adaptive prompting's idea)."""

from __future__ import annotations

from collections.abc import Iterable

from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.patch import Edit, Patch
from crito.prompt import Prompt
from crito.records import Candidate, child
from crito.task import Task
from crito.tools.limits import output_limit

_SECTIONS = ("steps", "strategy", "approach", "method")
"""Names under which prompts say how to proceed."""
_ROOM = 200
"""Answer tokens below which reasoning would be cut off before its result."""
_LAST_LINE = "Write the answer alone, in the form asked for, on the last line."
_DIRECT = {
    "direct": ("Answer at once, without any explanation.",),
    "silent": ("Think the input through to yourself.", "Write down nothing but the answer."),
    "silent check": (
        "Settle on an answer to yourself, and check it against the input once more.",
        "Write down nothing but the answer.",
    ),
}
_BASELINE = "chain of thought"
_REASONED = {
    _BASELINE: ("Reason briefly, one short step after another.", _LAST_LINE),
    "least-to-most": (
        "List the simpler questions that have to be settled first, the easiest one at the top.",
        "Answer them in that order, each with the help of those before it.",
        _LAST_LINE,
    ),
    "decompose": (
        "Split the input into its parts.",
        "Work out what each part contributes, then put the results together.",
        _LAST_LINE,
    ),
    "self-check": (
        "Work out an answer.",
        "Look for a mistake in it: something overlooked, misread or miscounted. Correct what you find.",
        _LAST_LINE,
    ),
}


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent with other strategies, in random order; those that write reasoning only where there is room for it."""
    names = list({**_DIRECT, **(_REASONED if _roomy(deps.task) else {})})
    order = deps.rng(18, assignment.round, assignment.worker).permutation(len(names))
    return _with(assignment.parent, [names[at] for at in order], assignment.round)[: assignment.count]


def chain_of_thought(seed: Candidate, task: Task, round_number: int = 0) -> list[Candidate]:
    """The seed that reasons before it answers, as a baseline; none where there is no room for it."""
    return _with(seed, [_BASELINE], round_number) if _roomy(task) else []


def _with(parent: Candidate, names: Iterable[str], round_number: int) -> list[Candidate]:
    found = []
    for name in names:
        patch = _patch(parent.main, name, {**_DIRECT, **_REASONED}[name])
        try:
            candidate = child(parent, patch, operator="strategy", round_number=round_number)
        except PatchRejected:
            continue
        if candidate.id != parent.id:
            found.append(candidate)
    return found


def _patch(prompt: Prompt, name: str, steps: tuple[str, ...]) -> Patch:
    there = next((s.name for s in prompt.sections if s.name.casefold() in _SECTIONS), None)
    edit = Edit(op="replace" if there else "add", path=there or _SECTIONS[0], value=steps)
    return Patch(edits=(edit,), rationale=f"strategy: {name}")


def _roomy(task: Task) -> bool:
    return task.reasoning or (not task.labels and output_limit(task) >= _ROOM)
