"""The agents of the scripted world, a SIMULATION: valid replies by published rules, from the request alone.

They have common sense, that is the table from topics to actions, but look up only topics that the request shows.
What they do not see they do not know: not the examples' needs, not the target, not what demonstrations conveyed.
``noise`` is the world's; every draw is a hash of seed and request.

- Critic: a hypothesis for each of up to three wrong cases, directions not tried yet first. It names each requirement
  that the case's note calls for and the shown prompt does not state: right with probability 1 - noise, else with a
  wrong action or only vaguely, at even odds. A case that lacks nothing gets a vague direction. Where advice of earlier
  runs says something about the topic, right or wrong, it repeats that instead, at even odds.
- Rewriter and whoever else replies with edits: adds up to three rules that the request states outside the sections
  shown (a direction, a question, a second prompt); where there are none, one for a topic shown, known as the critic
  knows it. Each is useless instead with probability noise, and with probability noise / 4 one rule is dropped. Asked
  to be shorter, it drops the last rule that says nothing; where all say something, the last rule with probability
  noise, and else tidies up.
- All other replies are filled in by their JSON schema. A text keeps each requirement stated in the request with
  probability 1 - noise / 4 and adds up to two for topics shown, wrong cases first, known as the critic knows them; a
  question asks about them. Yes or no is yes with probability 1 - noise; a choice is drawn, an operator among those
  listed; numbers are drawn within their limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from crito.protocols import ModelRequest
from crito.tools.scripted_model import ScriptedModel
from tests.bench.world_rules import DESCRIPTION, Requirement, World

_SCHEMA = "follows this schema, nothing else:\n"
_CASE = re.compile(r"case (\w+)[^\n]*\n<data>\n(.*?)\n</data>", re.DOTALL)
_QUOTED = re.compile(r"<(prompt|section)>\n(.*?)\n</\1>", re.DOTALL)
_RULE = re.compile(r"^(rules\[\d+\]): (.*)$")
_ADVICE = re.compile(r"Advice from earlier runs[^\n]*\n+<data>\n(.*?)\n</data>", re.DOTALL)
_CREDULITY = 0.5
"""Probability that the critic repeats advice rather than what it believes itself."""
_SENTENCES = ("rules", "requirements", "steps")
_ADDED, _EDITS, _HYPOTHESES = 2, 3, 3
_DIRECTION = 8
"""The fewest characters of a direction."""


def agents(world: World) -> ScriptedModel:
    """The model that speaks for all agents of a world."""
    return ScriptedModel(partial(reply, world), name="scripted/agents")


def reply(world: World, request: ModelRequest) -> str:
    """What the agent that a request addresses answers, as JSON."""
    return json.dumps(_Reply(world, request).given())


class _Reply:
    """What an agent makes of one request."""

    def __init__(self, world: World, request: ModelRequest) -> None:
        whole = "\n".join(message.content for message in request.messages)
        before, _, after = whole.rpartition(_SCHEMA)
        self.schema: dict[str, Any] = json.JSONDecoder().raw_decode(after)[0]
        self.text = before
        self.world = world

    def given(self) -> Any:
        """The reply as a JSON value."""
        fields = self.schema["properties"]
        if "hypotheses" in fields:
            return {"hypotheses": self._hypotheses()}
        if "edits" in fields:
            return {"edits": self._shorter() if "the prompt shorter" in self.text else self._edits()}
        return self._filled(self.schema, "reply", "reply")

    def _draw(self, *of: object) -> float:
        return self.world.chance(self.text, *of)

    def _errs(self, *of: object) -> bool:
        return self._draw("errs", *of) < self.world.noise

    def _drops(self, *of: object) -> bool:
        return self._draw("drops", *of) < self.world.noise / 4

    def _recalled(self, requirement: Requirement, *of: object) -> str:
        """A requirement as advice has it, where the agent follows that; as it believes it: right, wrong or vague."""
        advised = re.search(rf"For {requirement.topic}, [^.]*\.", self._advice())
        if advised and self._draw("follows", requirement.topic, *of) < _CREDULITY:
            return advised[0]
        if not self._errs(requirement.topic, *of):
            return requirement.sentence
        if self._draw("vague", requirement.topic, *of) < 0.5:
            return _vague(requirement)
        wrong = [action for action in self.world.actions if action != requirement.action]
        return f"For {requirement.topic}, {wrong[int(self._draw('wrong', requirement.topic, *of) * len(wrong))]}."

    def _hypotheses(self) -> list[dict[str, Any]]:
        stated = self.world.stated(self._shown())
        tried = self.text.partition("Tried already:")[2]
        made = [self._hypothesis(case, text, stated) for case, text in _CASE.findall(self._wrong())]
        made.sort(key=lambda hypothesis: hypothesis["direction"] in tried)
        return made[:_HYPOTHESES]

    def _hypothesis(self, case: str, text: str, stated: frozenset[Requirement]) -> dict[str, Any]:
        needed = self.world.needed(text)
        lacking = _ordered(needed - stated)
        said = [self._recalled(r, case) for r in lacking] or [_vague(r) for r in _ordered(needed)]
        direction = " ".join(said).ljust(_DIRECTION, ".")
        return {"label": "wrong_content", "case_ids": [case], "direction": direction}

    def _edits(self) -> list[dict[str, str]]:
        base = self.world.stated(self._shown())
        wanted = [r.sentence for r in _ordered(self.world.stated(self._outside()) - base)]
        if not wanted:
            wanted = [self._recalled(r) for r in self._drawn(self._lacking(base), 1)]
        wanted = wanted[:_EDITS] or ["Work with care."]
        edits = [_add(f"Take care of this: {i}" if self._errs("edit", i) else s) for i, s in enumerate(wanted)]
        rules = self._rules()
        if rules and len(edits) < _EDITS and self._drops("rule"):
            edits.append({"op": "delete", "path": rules[int(self._draw("which") * len(rules))][0]})
        return edits

    def _shorter(self) -> list[dict[str, str]]:
        rules = self._rules()
        idle = [path for path, text in rules if not self.world.stated(text)]
        if idle or (rules and self._errs("shorter")):
            return [{"op": "delete", "path": idle[-1] if idle else rules[-1][0]}]
        return [{"op": "replace", "path": "task", "text": "Answer with the code."}]

    def _rules(self) -> list[tuple[str, str]]:
        shown = (_RULE.match(text) for tag, text in _QUOTED.findall(self.text) if tag == "section")
        return [(match[1], match[2]) for match in shown if match]

    def _shown(self) -> str:
        """The prompt to work on: its sections where they are shown one by one, else the first prompt quoted."""
        quoted = _QUOTED.findall(self.text)
        sections = [text for tag, text in quoted if tag == "section"]
        return "\n".join(sections or [text for _, text in quoted[:1]])

    def _outside(self) -> str:
        """What else the request says, without what was tried already."""
        rest = self.text
        for part in self._shown().split("\n"):
            rest = rest.replace(part, "") if part else rest
        return re.sub(r"Tried already:\n+<data>.*?</data>", "", rest, flags=re.DOTALL)

    def _advice(self) -> str:
        """What earlier runs advise."""
        advice = _ADVICE.search(self.text)
        return advice[1] if advice else ""

    def _wrong(self) -> str:
        """The part with the wrong cases, or everything."""
        wrong = re.search(r"Wrong:\n(.*?)(?:\nRight:|\Z)", self.text, re.DOTALL)
        return wrong[1] if wrong else self.text

    def _lacking(self, stated: frozenset[Requirement]) -> list[Requirement]:
        wrong = self.world.needed(self._wrong()) - stated
        return _ordered(wrong or self.world.needed(self.text) - stated)

    def _drawn(self, among: list[Requirement], number: int, *of: object) -> list[Requirement]:
        return sorted(among, key=lambda r: self._draw("pick", r.topic, *of))[:number]

    def _filled(self, schema: dict[str, Any], name: str, place: str) -> Any:
        schema = self._resolved(schema)
        if "enum" in schema:
            return schema["enum"][int(self._draw(place) * len(schema["enum"]))]
        match schema.get("type"):
            case "object":
                wanted = {key: part for key, part in schema.get("properties", {}).items() if not part.get("default")}
                return {key: self._filled(part, key, f"{place}.{key}") for key, part in wanted.items()}
            case "array":
                return self._list(schema, name, place)
            case "boolean":
                return not self._errs(place)
            case "integer" | "number" as kind:
                return self._number(schema, place, whole=kind == "integer")
        return self._written(name, place)[: schema.get("maxLength")]

    def _list(self, schema: dict[str, Any], name: str, place: str) -> list[Any]:
        if name in _SENTENCES and self._resolved(schema["items"]).get("type") == "string":
            return self._sentences(place)[: schema.get("maxItems")]
        if "name" in self._resolved(schema["items"]).get("properties", {}):
            return self._sections(place)
        number = min(schema.get("maxItems", _ADDED), max(_ADDED, schema.get("minItems", 1)))
        return [self._filled(schema["items"], name, f"{place}[{i}]") for i in range(number)]

    def _number(self, schema: dict[str, Any], place: str, *, whole: bool) -> float:
        low = schema.get("minimum", 0)
        if whole and "maximum" not in schema:  # it numbers something: the first is the first, and so on
            return int(low) + int((re.findall(r"\[(\d+)\]", place) or ["0"])[-1])
        drawn = float(low + self._draw(place) * (schema.get("maximum", 1) - low))
        return round(drawn) if whole else drawn

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A part of the schema with its reference followed; of several shapes the first."""
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                return self._resolved(schema[several][0])
        if "$ref" in schema:
            return self._resolved(self.schema["$defs"][schema["$ref"].rpartition("/")[2]])
        return schema

    def _written(self, name: str, place: str) -> str:
        if name == "operator":
            offered = self.text.partition("The operators:")[2]
            listed = re.findall(r"^- (\w+):", offered, re.MULTILINE) or ["critique_synthesis"]
            return str(listed[int(self._draw(place) * len(listed))])
        if name == "parent":
            return ""
        if name.rstrip("s") in ("id", "case_id", "case"):
            return next(iter(re.findall(r"case (\w+)", self._wrong())), "")
        if name.rstrip("s") == "question":
            added = self._added(place)[:1]
            return " ".join(f"{said.rstrip('.')}: is that asked for?" for said in added) or "What is left open?"
        return " ".join([DESCRIPTION, *self._sentences(place)])

    def _sentences(self, place: str) -> list[str]:
        """Requirements as rules: those that the request states, but for what is dropped, and a few more."""
        stated = _ordered(self.world.stated(self.text))
        return [*(r.sentence for r in stated if not self._drops(r.topic, place)), *self._added(place)]

    def _added(self, place: str) -> list[str]:
        lacking = self._lacking(self.world.stated(self.text))
        return [self._recalled(r, place) for r in self._drawn(lacking, _ADDED, place)]

    def _sections(self, place: str) -> list[dict[str, str]]:
        said = self._sentences(place)
        rules = [{"name": "rules", "text": "\n".join(said)}] if said else []
        return [{"name": "task", "text": DESCRIPTION}, *rules]


def _ordered(requirements: Iterable[Requirement]) -> list[Requirement]:
    return sorted(requirements, key=lambda r: r.topic)


def _vague(requirement: Requirement) -> str:
    return f"Be more exact about {requirement.topic}."


def _add(text: str) -> dict[str, str]:
    return {"op": "add", "path": "rules", "text": text}
