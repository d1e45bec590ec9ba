"""A prompt as a structured value: named sections, demonstrations, a layout and an input template."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from crito.errors import BadInput
from crito.labels import find_label

if TYPE_CHECKING:
    from langchain_core.prompts import ChatPromptTemplate

    from crito.patch import Patch

Role = Literal["system", "user", "assistant"]
Style = Literal["plain", "markdown", "xml", "json"]
DemosPlace = Literal["turns", "inline"]
Place = Literal["system", "user", "each"]
Divisor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_FIELD = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}")
SECTION_NAME = re.compile(r"(?!(?:demos|layout|template|words|gap)\Z|layout\.)[^\[\]]+")
"""Names that a path can mean: the other parts of a prompt and list indices are taken."""
_PARAGRAPH = "\n\n"
_BREAK = re.compile(r"(?<=[.:!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)\s+|\s*\n\s*|(?<=[\u3002\uff1a\uff01\uff1f])\s*")
_NAMING = re.compile(r"\s*(?:[^\s\uff1a]+\s+)?[^\s\uff1a]{1,12}[:\uff1a]|\s*")
"""A name of the input such as "Question:", which is no sentence."""
ORDERED = "steps"
"""Name of the section whose list has an order; elsewhere rules may stand in any."""
_TRANSCRIPT = re.compile(r"\[(system|user)\]\s*\n.*\n\[assistant\]\s*\n", re.DOTALL)
"""How :meth:`Prompt.to_text` writes chat turns; where a turn ends cannot be told from the text."""


class Message(BaseModel):
    """One chat message."""

    model_config = ConfigDict(frozen=True)
    role: Role
    content: str


def placeholders(text: str) -> tuple[str, ...]:
    """Names in single braces, in order of appearance."""
    return tuple(dict.fromkeys(m.group(2) for m in _FIELD.finditer(text) if m.group(2)))


class Section(BaseModel):
    """A named part of the instructions: either a text or a list of atoms (rules, steps)."""

    model_config = ConfigDict(frozen=True)
    name: str
    body: str | tuple[str, ...]

    @property
    def text(self) -> str:
        """The body as it is shown: a text as it stands, a list as one ``- `` line per atom."""
        return self.body if isinstance(self.body, str) else "\n".join(f"- {atom}" for atom in self.body)


class Demo(BaseModel):
    """A demonstration: inputs and the output that the model should have given."""

    model_config = ConfigDict(frozen=True)
    inputs: dict[str, str]
    output: str
    example_id: str | None = None


class Layout(BaseModel):
    """How the parts become messages.

    Attributes:
        style: How sections are marked.
        demos: Demonstrations as chat turns, or inside the message that carries the input.
        instructions: Sections as the system message, at the head of the first user turn, or before every user turn.
    """

    model_config = ConfigDict(frozen=True)
    style: Style = "plain"
    demos: DemosPlace = "turns"
    instructions: Place = "system"


class Prompt(BaseModel):
    """Sections, demonstrations, layout and template of one prompt. Immutable; edited by :class:`crito.patch.Patch`.

    Placeholders (``{field}``) live in ``template`` only, so text from data can never be formatted by accident.
    ``{{field}}`` in the template stands for a literal ``{field}``.

    Attributes:
        frozen: Paths (``task``, ``rules[0]``) or literal texts that no edit may change.
        words: The word that the model is asked to say for a label, by label. Demonstrations show the words;
            :meth:`read` gives the labels back.
        calibration: What the probability of each label is to be divided by before the likeliest is taken, as
            :meth:`pick` does; empty for none. It holds for this prompt and the model that it was estimated with: an
            edit leaves it out. The model does not see it.
        gap: White space between instructions that are one plain text and the input, where both are in one message.
    """

    model_config = ConfigDict(frozen=True)
    sections: tuple[Section, ...] = ()
    demos: tuple[Demo, ...] = ()
    layout: Layout = Layout()
    template: str = Field(default="{input}", min_length=1)
    frozen: tuple[str, ...] = ()
    words: dict[str, str] = {}
    calibration: dict[str, Divisor] = Field(default={}, exclude_if=lambda divisors: not divisors)
    gap: str = Field(default=_PARAGRAPH, exclude_if=lambda gap: gap == _PARAGRAPH)

    @classmethod
    def from_text(cls, text: str, *, inputs: Sequence[str] = ("input",), frozen: Sequence[str] = ()) -> Prompt:
        """Read a plain prompt without losing a byte: ``from_text(t).to_text() == t``.

        The paragraph with the first ``{field}`` and all that follows is the input template. Where that is all there
        is, the sentences before the input are the instructions, in the same message. A text without any placeholder
        gets one line per input as its template (then ``to_text`` is the text plus that template).

        Args:
            text: The prompt as the user wrote it.
            inputs: Names of the task's input fields.
            frozen: Paths or literal texts that must never change.

        Raises:
            BadInput: It is the transcript of a prompt with chat turns, which would all go out as one message.
        """
        if _TRANSCRIPT.match(text):
            cure = "take the prompt's .yaml, which has every part: crito show RUN --output prompt.yaml"
            raise BadInput(f"prompt: is a transcript of chat turns, which would go out as one message; {cure}")
        cut = _template_start(text)
        if cut is None:
            template = "\n".join(f"{{{name}}}" if len(inputs) == 1 else f"{name}: {{{name}}}" for name in inputs)
            body = text
        else:
            body = text[:cut].removesuffix(_PARAGRAPH)
            template = text[cut:] if body else text
            led = None if body else _led(text)
            if led is not None:
                said, gap, rest = led
                layout, task = Layout(instructions="user"), Section(name="task", body=said)
                return cls(sections=(task,), layout=layout, template=rest, frozen=tuple(frozen), gap=gap)
        for style in ("markdown", "xml"):
            candidate = cls(sections=_parse(body, style), layout=Layout(style=style), template=template)
            if _addressable(candidate.sections) and candidate.instructions() == body:
                return candidate.model_copy(update={"frozen": tuple(frozen)})
        sections = (Section(name="task", body=body),) if body else ()
        return cls(sections=sections, template=template, frozen=tuple(frozen))

    @classmethod
    def from_yaml(cls, text: str) -> Prompt:
        """Read what :meth:`to_yaml` wrote."""
        return cls.model_validate(yaml.safe_load(text))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the placeholders in the template, in order of appearance."""
        return placeholders(self.template)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name what the model sees: neither ``frozen`` marks nor ``calibration``."""
        unseen: dict[str, Any] = {"frozen": True, "calibration": True, "demos": {"__all__": {"example_id"}}}
        if not self.words:
            unseen["words"] = True  # a prompt keeps the name that it had before there were words
        if self._between == _PARAGRAPH or not self.sections or self.layout.instructions == "system":
            unseen["gap"] = True
        canonical = self.model_dump_json(exclude=unseen)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def section(self, name: str) -> Section | None:
        """The section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def instructions(self) -> str:
        """All sections as one text, in the layout's style."""
        style = self.layout.style
        if style == "json" and self.sections:
            return json.dumps({s.name: s.body for s in self.sections}, ensure_ascii=False, indent=1)
        return "\n\n".join(_mark(section, style) for section in self.sections)

    @property
    def written(self) -> str:
        """Instructions and template in one text, as they stand where both are in one message."""
        return f"{self.instructions()}{self._between}{self.template}" if self.sections else self.template

    @property
    def _between(self) -> str:
        """What separates instructions from the input: the gap as long as they are one plain text beside it."""
        inline = bool(self.demos) and self.layout.demos == "inline"
        plain = len(self.sections) == 1 and isinstance(self.sections[0].body, str) and self.layout.style == "plain"
        return self.gap if plain and not inline else _PARAGRAPH

    def fill(self, inputs: Mapping[str, str]) -> str:
        """The template with its placeholders replaced, once: braces inside the values stay as they are.

        Raises:
            BadInput: A placeholder has no value in ``inputs``.
        """

        def value(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal is not None:
                return f"{{{literal}}}"
            if name not in inputs:
                raise BadInput(f"template: placeholder {{{name}}} has no input; there are: {', '.join(inputs)}")
            return str(inputs[name])

        return _FIELD.sub(value, self.template)

    def render(self, inputs: Mapping[str, str]) -> list[Message]:
        """The messages sent to the model: stable text first and the input last, so that prefix caches hit."""
        return self._assemble(self.fill(inputs))

    def read(self, text: str) -> str:
        """The label whose word an answer mentions first, whole and in either case; else the answer as it stands."""
        if not self.words:
            return text
        found = find_label(text, tuple(self.words.values()))
        return next((label for label, word in self.words.items() if word == found), text)

    def pick(self, probabilities: Mapping[str, float]) -> str:
        """The label to take, by the probability of each: the likeliest after calibration; of equals the first.

        Args:
            probabilities: By label (not by its word), such as the share of its first token among those of all labels.

        Raises:
            BadInput: There are divisors, but none for one of these labels.
        """
        absent = [label for label in probabilities if label not in self.calibration]
        if self.calibration and absent:
            raise BadInput(f"calibration: label {absent[0]!r} has no divisor; there are: {', '.join(self.calibration)}")
        return max(probabilities, key=lambda label: probabilities[label] / self.calibration.get(label, 1.0))

    def to_messages(self) -> list[dict[str, str]]:
        """The messages as they were scored, with the input's placeholders left open."""
        return [m.model_dump() for m in self._assemble(self.template)]

    def to_text(self) -> str:
        """The prompt as one text: as it is, or as a transcript where there are chat turns."""
        messages = self.to_messages()
        if self.demos and self.layout.demos == "turns":
            return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)
        return "\n\n".join(m["content"] for m in messages)

    def to_yaml(self) -> str:
        """Every part, readable and complete; :meth:`from_yaml` gives the same prompt back."""
        # PyYAML writes U+0085 as it stands and reads it as a line break; escaped, it comes back.
        readable = "\x85" not in self.model_dump_json()
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=readable)

    def to_langchain(self) -> ChatPromptTemplate:
        """A LangChain ``ChatPromptTemplate`` whose formatted messages equal :meth:`render` byte for byte."""
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        from langchain_core.prompts import ChatPromptTemplate, HumanMessagePromptTemplate

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        *fixed, last = self._assemble("")
        open_template = _escaped(last.content) + _langchain_template(self.template)
        messages: list[Any] = [kinds[m.role](content=m.content) for m in fixed]
        return ChatPromptTemplate.from_messages([*messages, HumanMessagePromptTemplate.from_template(open_template)])

    def apply(self, patch: Patch) -> Prompt:
        """A new prompt with the patch's edits made, in order.

        Raises:
            PatchRejected: A path does not exist, a value has the wrong type, or something frozen would change.
        """
        from crito.patch import apply

        return apply(self, patch)

    def diff(self, other: Prompt) -> Patch:
        """The edits that turn this prompt into ``other`` (section by section)."""
        from crito.patch import diff

        return diff(self, other)

    def _assemble(self, question: str) -> list[Message]:
        instructions = self.instructions()
        demos = [(self.fill(d.inputs), self.words.get(d.output, d.output)) for d in self.demos]
        if self.layout.demos == "inline" and demos:
            shown = "\n\n".join(f"{asked}\n{answer}" for asked, answer in demos)
            demos, question = [], f"{shown}\n\n{question}"
        messages: list[Message] = []
        place = self.layout.instructions if instructions else "system"
        if instructions and place == "system":
            messages.append(Message(role="system", content=instructions))
        turns = [*demos, (question, None)]
        for index, (asked, answer) in enumerate(turns):
            led = place == "each" or (place == "user" and index == 0)
            messages.append(Message(role="user", content=f"{instructions}{self._between}{asked}" if led else asked))
            if answer is not None:
                messages.append(Message(role="assistant", content=answer))
        return messages


def _template_start(text: str) -> int | None:
    match = next((m for m in _FIELD.finditer(text) if m.group(2)), None)
    if match is None:
        return None
    blank = text.rfind("\n\n", 0, match.start())
    return 0 if blank < 0 else blank + 2


def _led(text: str) -> tuple[str, str, str] | None:
    """Sentences before the first placeholder, the white space behind them, and the rest; None where there are none."""
    first = _FIELD.search(text)
    if first is None or first.group(2) is None:
        return None
    breaks = list(_BREAK.finditer(text, 0, first.start()))
    starts = [0, *(at.end() for at in breaks)]
    for start, at in reversed(list(zip(starts, breaks, strict=False))):
        if not _NAMING.fullmatch(text, start, at.start()):
            return text[: at.start()], at.group(), text[at.end() :]
    return None


def _mark(section: Section, style: str) -> str:
    if style == "markdown":
        return f"## {section.name}\n\n{section.text}"
    if style == "xml":
        return f"<{section.name}>\n{section.text}\n</{section.name}>"
    return section.text


def _parse(text: str, style: str) -> tuple[Section, ...]:
    if style == "markdown":
        pattern = r"^## (?P<name>[^\n]+)\n\n(?P<body>.*?)(?=\n\n## |\Z)"
    else:
        pattern = r"^<(?P<name>\w+)>\n(?P<body>.*?)\n</(?P=name)>(?=\n\n<|\Z)"
    found = re.finditer(pattern, text, re.DOTALL | re.MULTILINE)
    return tuple(Section(name=m["name"], body=_atoms(m["body"])) for m in found)


def _addressable(sections: Sequence[Section]) -> bool:
    names = {s.name for s in sections if SECTION_NAME.fullmatch(s.name)}
    return len(names) == len(sections) > 1


def _atoms(body: str) -> str | tuple[str, ...]:
    lines = body.split("\n")
    if all(line.startswith("- ") for line in lines):
        return tuple(line[2:] for line in lines)
    return body


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _langchain_template(template: str) -> str:
    parts: list[str] = []
    end = 0
    for match in _FIELD.finditer(template):
        parts.append(_escaped(template[end : match.start()]))
        literal, name = match.groups()
        parts.append(_escaped(f"{{{literal}}}") if literal is not None else f"{{{name}}}")
        end = match.end()
    return "".join(parts) + _escaped(template[end:])
