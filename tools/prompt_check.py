"""Whether a prompt that a user gives can be filled in, and its parts be told apart."""

from __future__ import annotations

from collections.abc import Sequence

from crito.errors import BadInput
from crito.prompt import SECTION_NAME, Prompt, placeholders


def check_prompt(prompt: Prompt, inputs: Sequence[str], place: str) -> None:
    """Refuse a prompt that does not take the inputs, or whose sections edits could not tell apart.

    Args:
        prompt: The prompt.
        inputs: Names of the task's inputs.
        place: What errors begin with.

    Raises:
        BadInput: It has a placeholder too many or too few, or one where none is filled in; or a section's name is there
            twice, or means another part of a prompt.
    """
    _check_template(prompt, inputs, place)
    _check_sections(prompt, inputs, place)
    for index, demo in enumerate(prompt.demos):
        absent = next((name for name in inputs if name not in demo.inputs), None)
        if absent is not None:
            raise BadInput(f"{place}: prompt: demos[{index}] has no input {absent!r}; add it")


def _check_template(prompt: Prompt, inputs: Sequence[str], place: str) -> None:
    odd = next((field for field in prompt.fields if field not in inputs), None)
    if odd is not None:
        known = ", ".join(inputs)
        raise BadInput(f"{place}: prompt: placeholder {{{odd}}} is not among the inputs: {known}; correct one of them")
    absent = next((name for name in inputs if name not in prompt.fields), None)
    if absent is not None:
        raise BadInput(f"{place}: prompt: input {absent!r} has no placeholder; add {{{absent}}}")


def _check_sections(prompt: Prompt, inputs: Sequence[str], place: str) -> None:
    names = [section.name for section in prompt.sections]
    for section in prompt.sections:
        if names.count(section.name) > 1 or not SECTION_NAME.fullmatch(section.name):
            cure = "each needs a name of its own, without brackets, and none of demos, layout, template, words and gap"
            raise BadInput(f"{place}: prompt: section {section.name!r}: {cure}; rename it")
        held = next((field for field in placeholders(section.text) if field in inputs), None)
        if held is not None:
            cure = "the template alone carries inputs; move it there"
            raise BadInput(f"{place}: prompt: section {section.name!r} holds {{{held}}}, but {cure}")
