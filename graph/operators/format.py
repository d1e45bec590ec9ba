"""The operator that shows the same content in another layout.

What a layout is worth jumps from one to the next, so layouts are sampled and not climbed (CFPO; FormatSpread).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import get_args

from crito.agents.recipes import templates
from crito.errors import PatchRejected
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.prompt import Layout, Prompt
from crito.records import Candidate, child
from crito.task import Task


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The parent in random layouts, no two of which show the same messages."""
    parent = assignment.parent
    options = list(_options(parent.main, deps.task))
    seen = [parent.main.to_messages()]
    found: list[Candidate] = []
    for at in deps.rng(17, assignment.round, assignment.worker).permutation(len(options)):
        if len(found) == assignment.count:
            break
        patch = parent.main.diff(options[at])
        described = "show it with " + ", ".join(f"{edit.path} {edit.value!r}" for edit in patch.edits)
        try:
            candidate = child(parent, patch, operator="format", round_number=assignment.round, hypothesis=described)
        except PatchRejected:
            continue
        messages = candidate.main.to_messages()
        if messages not in seen:
            seen.append(messages)
            found.append(candidate)
    return found


def _options(prompt: Prompt, task: Task) -> Iterator[Prompt]:
    """The prompt in every layout with every template."""
    axes = [get_args(field.annotation) for field in Layout.model_fields.values()]
    for template, *values in itertools.product(templates(prompt, task), *axes):
        layout = Layout.model_validate(dict(zip(Layout.model_fields, values, strict=True)))
        yield prompt.model_copy(update={"template": template, "layout": layout})
