"""What the rewriter answers with: the shape of each reply, and how it becomes a patch on a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from crito.errors import PatchRejected
from crito.patch import Edit, Patch
from crito.prompt import Prompt, Section

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class EditReply(BaseModel):
    """One edit of one section."""

    op: Literal["add", "replace", "delete"]
    path: str = Field(description="a section such as task, or one rule such as rules[2]; a new section to add one")
    text: str = Field(default="", max_length=4000)


class PatchReply(BaseModel):
    """The edits and why they should help."""

    edits: list[EditReply] = Field(min_length=1, max_length=3)
    rationale: str = Field(default="", max_length=400)


class InstructionReply(BaseModel):
    """One instruction, and what it does that the shown ones do not."""

    instruction: Text
    differs: str = Field(default="", max_length=400)


class VariantReply(BaseModel):
    """The text in one of the styles."""

    style: int = Field(ge=1, description="number of the style in the list")
    text: Text


class VariantsReply(BaseModel):
    """One variant for each style."""

    variants: list[VariantReply] = Field(min_length=1, max_length=6)


class SectionReply(BaseModel):
    """A section as it should read; the items of a list stand on lines of their own."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    text: Text


class SectionsReply(BaseModel):
    """The sections of the new prompt, and what was taken from which."""

    sections: list[SectionReply] = Field(min_length=1, max_length=8)
    rationale: str = Field(default="", max_length=400)


class FreshReply(BaseModel):
    """A prompt from nothing: what to do, and the rules to keep."""

    task: Text
    rules: list[Text] = Field(default=[], max_length=6)


def as_patch(prompt: Prompt, reply: PatchReply) -> Patch:
    """A reply as a patch; each edit is read on top of those before it, so that two new rules both stay.

    Raises:
        PatchRejected: An edit has no text or does not apply.
    """
    edits: list[Edit] = []
    for given in reply.edits:
        edits.append(_edit(prompt, given))
        prompt = prompt.apply(Patch(edits=(edits[-1],)))
    return Patch(edits=tuple(edits), rationale=reply.rationale)


def held(prompt: Prompt, name: str) -> bool:
    """Whether a frozen path or a frozen text lies in the section, so that it stays as it is."""
    section = prompt.section(name)
    if section is None:
        return False
    named = {mark: mark.split("[")[0] for mark in prompt.frozen if mark != "template"}
    paths = {mark for mark in named if prompt.section(named[mark]) is not None}
    return any(named[mark] == name if mark in paths else mark in section.text for mark in named)


def in_place_of(prompt: Prompt, sections: Iterable[Section], rationale: str) -> Patch | None:
    """The patch that puts these sections in place of all that may change; None when nothing does.

    A section with a frozen mark stays as it is, even where a new one has its name.
    """
    new = {section.name: section for section in sections if not held(prompt, section.name)}
    if not new:
        return None
    kept = [s if held(prompt, s.name) else new.pop(s.name, None) for s in prompt.sections]
    wanted = (*(section for section in kept if section is not None), *new.values())
    patch = prompt.diff(prompt.model_copy(update={"sections": wanted}))
    return patch.model_copy(update={"rationale": rationale}) if patch.edits else None


def rewritten(prompt: Prompt, sections: Sequence[SectionReply]) -> list[Section]:
    """The sections of a reply; one that is a list in the prompt stays a list, an item per line."""
    found: list[Section] = []
    for given in sections:
        before = prompt.section(given.name)
        if before is None or isinstance(before.body, str):
            found.append(Section(name=given.name, body=given.text))
        else:
            atoms = (line.strip().removeprefix("- ").strip() for line in given.text.splitlines())
            found.append(Section(name=given.name, body=tuple(atom for atom in atoms if atom)))
    return found


def main_section(prompt: Prompt) -> str | None:
    """The section that says what to do: ``task``, else the longest text; None when all of them are frozen."""
    texts = [s for s in prompt.sections if isinstance(s.body, str) and not held(prompt, s.name)]
    if not texts:
        return "task" if prompt.section("task") is None else None
    return max(texts, key=lambda section: (section.name == "task", len(section.text))).name


def differing(one: Prompt, other: Prompt) -> tuple[str, ...]:
    """Names of the sections that are not the same in both, and that may change in the first."""
    names = dict.fromkeys(section.name for prompt in (one, other) for section in prompt.sections)
    return tuple(name for name in names if one.section(name) != other.section(name) and not held(one, name))


def paths(prompt: Prompt) -> list[tuple[str, str]]:
    """Each path that an edit may name, with the text that stands there: sections, single rules, the template."""
    found: list[tuple[str, str]] = []
    for section in prompt.sections:
        if isinstance(section.body, str):
            found.append((section.name, section.body))
        else:
            found += [(f"{section.name}[{i}]", atom) for i, atom in enumerate(section.body)]
    return [*found, ("template", prompt.template)]


def _edit(prompt: Prompt, given: EditReply) -> Edit:
    """A model's edit as ours: it adds rules to a list, and replaces a section that it thought was new."""
    path = given.path.strip()
    name = path.split("[")[0] or "rules"
    if given.op == "delete":
        return Edit(op="delete", path=path)
    if not given.text.strip():
        raise PatchRejected(f"{given.op} of {path!r} has no text")
    if name == "template":
        return Edit(op="replace", path="template", value=given.text)
    section = prompt.section(name)
    if section is None:
        body: str | tuple[str, ...] = (given.text,) if name == "rules" else given.text
        return Edit(op="add", path=name, value=body)
    if given.op == "add" and isinstance(section.body, str):
        return Edit(op="replace", path=name, value=f"{section.body}\n{given.text}")
    return Edit(op=given.op, path=path, value=given.text)
