"""A small task, and a provider's answers that reward demonstrations and rules, so that a search has a way to go."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from crito.prompt import Prompt
from crito.result import Result
from crito.task import Budget, Example, Splits, Task, example_id

Body = dict[str, Any]
_THINGS = ("lamp", "kettle", "rug", "chair", "mirror", "shelf", "clock", "basket")
_WISHES = ("arrived broken", "never came", "is the wrong colour", "came twice", "smells odd")


def toy_task(url: str, *, budget: Budget | None = None, concurrency: int = 4, seed: int = 0, name: str = "toy") -> Task:
    """Find the order code in 40 messages, others for each seed; ``endpoint/{url}#m`` answers."""
    rows = [_row(40 * seed + number) for number in range(40)]
    return Task(
        name=name,
        description="Find the order code in the message.",
        inputs=("input",),
        output="code",
        metric="exact_match",
        splits=Splits(train=tuple(rows[:12]), val=tuple(rows[12:24]), test=tuple(rows[24:])),
        prompts={"main": Prompt.from_text("Find the order code in the message.")},
        model=f"endpoint/{url}#m",
        agent_model=f"endpoint/{url}#m",
        budget=budget or Budget(calls=600),
        concurrency=concurrency,
        seed=seed,
        memory="off",
    )


def _row(number: int) -> Example:
    code = f"{chr(65 + number % 26)}{4000 + 37 * number % 2000}"
    text = f"My {_THINGS[number % 8]} {_WISHES[number % 5]}, the order is {code}, please help."
    inputs = {"input": text}
    return Example(id=example_id(inputs), inputs=inputs, expected=code)


def answer(body: Body) -> str:
    """What the model says: an agent's reply to a request with a schema, else a code or a sentence around it."""
    texts = [str(message["content"]) for message in body["messages"]]
    if "follows this schema" in "".join(texts):
        return _agent("\n".join(texts))
    found = re.findall(r"[A-Z][45]\d{3}", texts[-1])
    code = found[-1] if found else "unknown"
    shown = sum(message["role"] == "assistant" for message in body["messages"])
    chance = 5 + 6 * min(6, shown) + 18 * ("nothing else" in "".join(texts)) + 8 * ("Code:" in texts[-1])
    return code if _drawn("".join(texts)) < chance else f"The code is {code}."


def _agent(text: str) -> str:
    """A reply that depends on every byte of the request, so that a resumed search that asks otherwise goes astray."""
    drawn = _drawn(text)
    if '"strategy"' in text:
        return json.dumps({"kind": "extraction", "requirements": ["It is one code."], "strategy": "short"})
    if '"hypotheses"' in text:
        case = re.findall(r"case (\w{10})", text)[0]
        direction = f"say in way {drawn} what a code looks like"
        return json.dumps({"hypotheses": [{"label": "wrong_format", "case_ids": [case], "direction": direction}]})
    if '"focus"' in text:
        return json.dumps(
            {"steps": [{"operator": ("critique_synthesis", "demonstrations")[drawn % 2], "focus": f"f{drawn}"}]}
        )
    edit = {"op": "add", "path": "rules", "text": f"Give the code and nothing else, as in way {drawn}."}
    return json.dumps({"edits": [edit], "rationale": f"way {drawn}"})


def _drawn(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 100


def essence(result: Result) -> dict[str, Any]:
    """What must be the same however often a run was stopped on its way."""
    verdict = result.verdict
    return {
        "verdict": verdict.model_dump(),
        "chain": [link.model_dump() for link in result.chain],
        "stopped": result.stopped,
        "prompt": result.prompt.to_text(),
    }


def stored(path: Path) -> bytes:
    """All bytes that a database keeps on disk, its write-ahead log included."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
