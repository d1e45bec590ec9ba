"""Small edits to a prompt: ADD, REPLACE, DELETE or MOVE on a path, with a rationale."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crito.errors import PatchRejected
from crito.prompt import Demo, Layout, Prompt, Section

_PATH = re.compile(r"layout\.(?P<key>\w+)|(?P<name>[^\[\]]+)(?:\[(?P<index>\d+)\])?")
Value = str | tuple[str, ...] | dict[str, str] | Demo | tuple[Demo, ...] | None


class Edit(BaseModel):
    """One edit.

    Attributes:
        op: ``add`` makes a section, atom or demo (an index says before which; without one it goes last),
            ``replace`` and ``delete`` want an existing path, ``move`` puts the part at index ``to`` among its like.
        path: ``task``, ``rules``, ``rules[2]``, ``demos``, ``demos[0]``, ``layout.style``, ``template``, ``words``,
            ``gap``.
    """

    model_config = ConfigDict(frozen=True)
    op: Literal["add", "replace", "delete", "move"]
    path: str
    value: Value = None
    to: int | None = None


class Patch(BaseModel):
    """A few edits that belong together, and why they should help."""

    model_config = ConfigDict(frozen=True)
    edits: tuple[Edit, ...]
    rationale: str = ""

    @property
    def sections(self) -> tuple[str, ...]:
        """The parts that it edits, without indices: ``rules`` for ``rules[2]``."""
        return tuple(dict.fromkeys(edit.path.partition("[")[0] for edit in self.edits))


def apply(prompt: Prompt, patch: Patch) -> Prompt:
    """See :meth:`crito.prompt.Prompt.apply`."""
    result = prompt
    for edit in patch.edits:
        result = _apply_one(result, edit)
    result = _keep_frozen(prompt, result)
    if result.calibration and result.fingerprint != prompt.fingerprint:
        return result.model_copy(update={"calibration": {}})
    return result


def diff(old: Prompt, new: Prompt) -> Patch:
    """See :meth:`crito.prompt.Prompt.diff`."""
    edits = _section_edits(old, new)
    if old.demos != new.demos:
        edits.append(Edit(op="replace", path="demos", value=new.demos))
    for key in Layout.model_fields:
        if getattr(old.layout, key) != getattr(new.layout, key):
            edits.append(Edit(op="replace", path=f"layout.{key}", value=getattr(new.layout, key)))
    for key in ("template", "words", "gap"):
        if getattr(old, key) != getattr(new, key):
            edits.append(Edit(op="replace", path=key, value=getattr(new, key)))
    return Patch(edits=tuple(edits))


def _section_edits(old: Prompt, new: Prompt) -> list[Edit]:
    kept = {s.name for s in new.sections}
    edits = [Edit(op="delete", path=s.name) for s in old.sections if s.name not in kept]
    for section in new.sections:
        before = old.section(section.name)
        if before is None:
            edits.append(Edit(op="add", path=section.name, value=section.body))
        elif before.body != section.body:
            edits.append(Edit(op="replace", path=section.name, value=section.body))
    order = [s.name for s in old.sections if s.name in kept]
    order += [s.name for s in new.sections if s.name not in order]
    for index, section in enumerate(new.sections):
        if order[index] != section.name:
            edits.append(Edit(op="move", path=section.name, to=index))
            order.remove(section.name)
            order.insert(index, section.name)
    return edits


def _apply_one(prompt: Prompt, edit: Edit) -> Prompt:
    match = _PATH.fullmatch(edit.path)
    if match is None:
        raise PatchRejected(f"{edit.path!r} is not a path; write section, section[2], demos[0] or layout.style")
    name, index, key = match["name"], match["index"], match["key"]
    if key or name == "layout":
        return _edit_layout(prompt, edit, key)
    if name in _WHOLE:
        return _WHOLE[name](prompt, edit)
    if name == "demos":
        demos = _edit_list(list(prompt.demos), edit, index, Demo)
        return prompt.model_copy(update={"demos": demos})
    if index is None:
        return _edit_section(prompt, edit, name)
    return _edit_atom(prompt, edit, name, index)


def _edit_layout(prompt: Prompt, edit: Edit, key: str | None) -> Prompt:
    if edit.op != "replace" or key not in Layout.model_fields:
        raise PatchRejected(
            f"layout takes 'replace' on one of: {', '.join(f'layout.{k}' for k in Layout.model_fields)}"
        )
    try:
        layout = Layout.model_validate({**prompt.layout.model_dump(), key: edit.value})
    except ValidationError as error:
        raise PatchRejected(f"layout.{key}: {error.errors()[0]['msg']}") from error
    return prompt.model_copy(update={"layout": layout})


def _edit_template(prompt: Prompt, edit: Edit) -> Prompt:
    if edit.op != "replace" or not isinstance(edit.value, str) or not edit.value:
        raise PatchRejected("template takes 'replace' with a text")
    changed = prompt.model_copy(update={"template": edit.value})
    if set(changed.fields) != set(prompt.fields):
        raise PatchRejected(f"template must keep its placeholders: {', '.join(prompt.fields)}")
    return changed


def _edit_gap(prompt: Prompt, edit: Edit) -> Prompt:
    if edit.op != "replace" or not isinstance(edit.value, str) or edit.value.strip():
        raise PatchRejected("gap takes 'replace' with white space")
    return prompt.model_copy(update={"gap": edit.value})


def _edit_words(prompt: Prompt, edit: Edit) -> Prompt:
    words = edit.value if isinstance(edit.value, dict) else {"": ""}
    distinct = {word.casefold() for word in words.values()}
    if edit.op != "replace" or "" in distinct or len(distinct) < len(words):
        raise PatchRejected("words takes 'replace' with a word for each label, no two alike; {} for none")
    return prompt.model_copy(update={"words": words})


def _edit_section(prompt: Prompt, edit: Edit, name: str) -> Prompt:
    names = [s.name for s in prompt.sections]
    if edit.op == "add" and name in names:
        body = prompt.sections[names.index(name)].body
        if isinstance(body, tuple) and isinstance(edit.value, str):
            return _edit_atom(prompt, edit, name, None)
        raise PatchRejected(f"section {name!r} is there already; use 'replace'")
    if edit.op != "add" and name not in names:
        raise PatchRejected(f"there is no section {name!r}; there are: {', '.join(names) or 'none'}")
    sections = list(prompt.sections)
    if edit.op == "delete":
        del sections[names.index(name)]
    elif edit.op == "move":
        section = sections.pop(names.index(name))
        sections.insert(_position(edit, len(sections)), section)
    else:
        section = Section(name=name, body=_body(edit))
        if edit.op == "add":
            sections.insert(len(sections) if edit.to is None else _position(edit, len(sections)), section)
        else:
            sections[names.index(name)] = section
    return prompt.model_copy(update={"sections": tuple(sections)})


def _edit_atom(prompt: Prompt, edit: Edit, name: str, index: str | None) -> Prompt:
    section = prompt.section(name)
    if section is None or isinstance(section.body, str):
        raise PatchRejected(f"{name!r} is not a list of atoms, so {edit.path!r} does not exist")
    atoms = _edit_list(list(section.body), edit, index, str)
    sections = tuple(Section(name=name, body=atoms) if s.name == name else s for s in prompt.sections)
    return prompt.model_copy(update={"sections": tuple(s for s in sections if s.body)})


_WHOLE: Mapping[str, Callable[[Prompt, Edit], Prompt]] = {
    "template": _edit_template,
    "words": _edit_words,
    "gap": _edit_gap,
}


def _edit_list(items: list[Any], edit: Edit, index: str | None, kind: type) -> tuple[Any, ...]:
    if index is None and edit.op in ("replace", "delete"):
        value = edit.value if edit.op == "replace" else ()
        if not isinstance(value, tuple) or not all(isinstance(v, kind) for v in value):
            raise PatchRejected(f"{edit.path} takes a list of {kind.__name__}")
        return value
    at = len(items) if index is None else int(index)
    if at > len(items) or (edit.op != "add" and at >= len(items)):
        raise PatchRejected(f"{edit.path} does not exist; there are {len(items)}")
    if edit.op in ("add", "replace") and not isinstance(edit.value, kind):
        raise PatchRejected(f"{edit.path} takes a {kind.__name__}")
    if edit.op == "add":
        items.insert(at, edit.value)
    elif edit.op == "replace":
        items[at] = edit.value
    else:
        item = items.pop(at)
        if edit.op == "move":
            items.insert(_position(edit, len(items)), item)
    return tuple(items)


def _body(edit: Edit) -> str | tuple[str, ...]:
    value = edit.value
    if isinstance(value, str) and value:
        return value
    if isinstance(value, tuple) and value:
        atoms = tuple(atom for atom in value if isinstance(atom, str))
        if len(atoms) == len(value):
            return atoms
    raise PatchRejected(f"{edit.path} takes a text or a list of texts")


def _position(edit: Edit, length: int) -> int:
    if edit.to is None or not 0 <= edit.to <= length:
        raise PatchRejected(f"{edit.op} of {edit.path} wants 'to' between 0 and {length}")
    return edit.to


def _keep_frozen(old: Prompt, new: Prompt) -> Prompt:
    marks = []
    for mark in old.frozen:
        if mark == "template":
            marks.append(mark)
            continue
        section_name, index = _frozen_path(old, mark)
        if section_name is None:
            if _wholeness(new, mark) < _wholeness(old, mark):
                raise PatchRejected(f"the frozen text {mark!r} must stay as it is")
            marks.append(mark)
            continue
        was, now = old.section(section_name), new.section(section_name)
        if was is None or now is None or (index is None and was.body != now.body):
            raise PatchRejected(f"{mark!r} is frozen")
        if index is not None:
            atom = was.body[index]
            if isinstance(now.body, str) or atom not in now.body:
                raise PatchRejected(f"{mark!r} is frozen")
            marks.append(f"{section_name}[{now.body.index(atom)}]")
        else:
            marks.append(mark)
    if "template" in old.frozen and old.template != new.template:
        raise PatchRejected("'template' is frozen")
    return new.model_copy(update={"frozen": tuple(marks)})


def _wholeness(prompt: Prompt, text: str) -> int:
    """2 where a text stands in the instructions or in the template, 1 where it begins in one and ends in the other."""
    if text in prompt.instructions() or text in prompt.template:
        return 2
    return int(text in prompt.written)


def _frozen_path(prompt: Prompt, mark: str) -> tuple[str | None, int | None]:
    match = _PATH.fullmatch(mark)
    section = prompt.section(match["name"]) if match else None
    if match is None or section is None:
        return None, None
    if match["index"] is None:
        return section.name, None
    index = int(match["index"])
    if isinstance(section.body, str) or index >= len(section.body):
        return None, None
    return section.name, index
