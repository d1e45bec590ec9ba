"""A small routing task and a scripted model that rewards the right prompt: a whole run in a second."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from crito.api import optimize
from crito.config import Memory
from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest, Usage
from crito.result import Result
from crito.task import Budget
from crito.tools.scripted_model import ScriptedModel

LABELS = ("billing", "shipping")
DESCRIPTION = "Route the message to a team."
RULE = "Refunds go to billing."
BROKEN = "parcel 21"
"""What the message says whose calls fail for good."""


def rows(number: int = 40) -> list[tuple[object, object]]:
    """Messages about invoices and refunds (billing) and about parcels (shipping)."""
    things = ("invoice", "parcel", "refund", "parcel")
    return [(f"My {things[i % 4]} {i} is {('late', 'lost', 'wrong')[i % 3]}", LABELS[i % 2]) for i in range(number)]


def task_folder(folder: Path, more: str = "", *, number: int = 40) -> Path:
    """A TASK.yaml with its data in ``folder``."""
    lines = (json.dumps({"message": message, "team": team}) for message, team in rows(number))
    (folder / "data.jsonl").write_text("\n".join(lines))
    path = folder / "TASK.yaml"
    path.write_text(
        f"name: routing\ndescription: {DESCRIPTION}\nmodel: scripted/toy\ndata: data.jsonl\n"
        f"inputs: [message]\noutput: team\nbudget: {{calls: 200}}\n{more}"
    )
    return path


def target(request: ModelRequest) -> str | ModelReply | Exception:
    """Right when the prompt asks for one word or shows examples; on refunds only when it holds the rule."""
    text = "\n".join(message.content for message in request.messages)
    asked = request.messages[-1].content
    if BROKEN in asked:
        return CallFailed("bad_request", "the message was refused", retryable=False)
    if "Answer with" not in text and "shipping" not in text:
        return "That depends on many things."
    if "refund" in asked:
        return "billing" if RULE in text else "shipping"
    return "shipping" if "parcel" in asked else "billing"


def agents(request: ModelRequest) -> str | ModelReply | Exception:
    """The planner agrees with the data, the critic cites a refund, the rewriter writes the rule."""
    text = "\n".join(message.content for message in request.messages)
    if "You examine why" in text:
        cited = re.findall(r"case (\w+)[^\n]*\n<data>\n[^<]*refund", text) or re.findall(r"case (\w+)", text)
        return json.dumps(
            {"hypotheses": [{"label": "wrong_content", "case_ids": cited[:3], "direction": "say where refunds go"}]}
        )
    if "You edit prompts" in text:
        return json.dumps({"edits": [{"op": "add", "path": "rules", "text": RULE}], "rationale": "name the rule"})
    if "Describe the task" in text:
        return json.dumps({"kind": "classification", "requirements": ["one label"]})
    return json.dumps({"steps": [{"operator": "critique_synthesis", "focus": "refunds", "reason": "refunds fail"}]})


def toy_model(answer: Callable[[ModelRequest], str | ModelReply | Exception] = target) -> ScriptedModel:
    """Target and agents in one model."""
    known = ("You examine why", "You edit prompts", "You plan the improvement", "steps of reasoning")

    def reply(request: ModelRequest) -> str | ModelReply | Exception:
        mine = any(mark in message.content for message in request.messages for mark in known)
        given = (agents if mine else answer)(request)
        if not isinstance(given, str):
            return given
        words = sum(len(message.content.split()) for message in request.messages)
        return ModelReply(text=given, usage=Usage(tokens_in=words, tokens_out=len(given.split())), usd=0.001)

    return ScriptedModel(reply, name="scripted/toy")


def finished(
    database: Path, *, calls: int = 300, seed: int = 0, memory: Memory = "off", remember_prompts: bool = False
) -> Result:
    """A whole run in ``database``."""
    return optimize(
        DESCRIPTION,
        rows(),
        model=toy_model(),
        labels=LABELS,
        budget=Budget(calls=calls),
        seed=seed,
        memory=memory,
        remember_prompts=remember_prompts,
        database=database,
    )
