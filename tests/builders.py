"""Plain builders for tests: examples, tasks, candidates, outcomes, ledgers, speakers and command lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from typer.testing import CliRunner, Result

from crito.cli import app
from crito.errors import CallFailed
from crito.graph.deps import Deps
from crito.graph.presets import DEFAULT
from crito.graph.wiring import Parts, silent, wired
from crito.prompt import Message, Prompt, Section
from crito.protocols import ModelRequest, Usage
from crito.records import Candidate, Outcome, candidate_id
from crito.task import Budget, Example, Score, Splits, Task, example_id
from crito.tools.database import Database, calls
from crito.tools.ledger import Ledger
from crito.tools.limiter import Limiter
from crito.tools.meter import Meter, Spend
from crito.tools.prices import Price
from crito.tools.scripted_model import ScriptedModel
from crito.tools.structured import Speaker

SEED = Prompt(sections=(Section(name="task", body="Name the team."),))


def make_example(text: str, expected: str | None = "billing") -> Example:
    inputs = {"input": text}
    return Example(id=example_id(inputs), inputs=inputs, expected=expected)


def make_examples(count: int, kind: str = "message") -> tuple[Example, ...]:
    return tuple(make_example(f"{kind} {number}") for number in range(count))


def make_task(**fields: Any) -> Task:
    """A task with 12 training, 12 validation and 12 test examples, unless the fields say otherwise."""
    splits = Splits(
        train=fields.pop("train", make_examples(12, "train")),
        val=fields.pop("val", make_examples(12, "val")),
        test=fields.pop("test", make_examples(12, "test")),
    )
    given = {
        "name": "toy",
        "description": "Which team should answer?",
        "inputs": ("input",),
        "output": "team",
        "splits": splits,
        "prompts": {"main": SEED},
        "model": "scripted",
        "agent_model": "scripted",
        "budget": Budget(calls=200),
        "memory": "off",
    }
    return Task.model_validate({**given, **fields})


def make_candidate(body: str = "Name the team.", **fields: Any) -> Candidate:
    prompt = fields.pop("prompt", Prompt(sections=(Section(name="task", body=body),)))
    prompts = fields.pop("prompts", {"main": prompt})
    return Candidate(**{"id": candidate_id(prompts), "prompts": prompts, "operator": "test", **fields})


def make_outcome(
    candidate: str, example: Example, value: float | None, *, tokens: int = 10, text: str = "x"
) -> Outcome:
    """An outcome with this score; None for a call that failed."""
    base = Outcome(candidate=candidate, example=example.id, output=text, usage=Usage(tokens_in=tokens))
    if value is None:
        return base.model_copy(update={"error": "server: down", "usage": Usage()})
    return base.model_copy(update={"score": Score(value=value)})


@dataclass
class Pauses:
    """A sleep that takes no time and remembers how long it was to be."""

    waits: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def make_ledger(
    database: Database,
    *,
    budget: Budget | None = None,
    run: str = "r",
    limiter: Limiter | None = None,
    price: Price | None = None,
    pause: Pauses | None = None,
    timeout: float = 120.0,
) -> Ledger:
    return Ledger(
        database,
        run=run,
        meter=Meter(budget or Budget()),
        limiter=limiter or Limiter(8),
        price=lambda name: price,
        timeout=timeout,
        pause=pause or Pauses(),
    )


def rows_of(database: Database, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of all calls, in the order that they were written."""
    query = sa.select(*(calls.c[name] for name in columns)).order_by(calls.c.id)
    return [tuple(row) for row in database.read(query)]


def ask(text: str = "hi", **options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message(role="user", content=text),), **options)


def failure(kind: str, *, retryable: bool = True, retry_after: float | None = None) -> CallFailed:
    return CallFailed(kind, "injected", retryable=retryable, retry_after=retry_after)


@asynccontextmanager
async def speaking(
    path: Path, replies: Sequence[object] | Callable[[ModelRequest], Any], *, role: str = "critic"
) -> AsyncIterator[tuple[Speaker, ScriptedModel]]:
    """A speaker whose model gives these replies (values become JSON), with that model."""
    scripted = replies if callable(replies) else [r if isinstance(r, str) else json.dumps(r) for r in replies]
    model = ScriptedModel(scripted)
    database = Database(path / "crito.db")
    try:
        yield Speaker(make_ledger(database), model, role=role), model
    finally:
        await database.close()


@asynccontextmanager
async def make_deps(
    path: Path,
    *,
    answer: Callable[[ModelRequest], Any] = lambda _: "x",
    agents: Callable[[ModelRequest], Any] = lambda _: "no",
    verdict: Spend | None = None,
    **fields: Any,
) -> AsyncIterator[Deps]:
    """What the nodes work with, over scripted models."""
    database = Database(path / "crito.db")
    models = (ScriptedModel(answer, name="scripted"), ScriptedModel(agents, name="scripted/agents"))
    try:
        async with wired(
            make_task(**fields),
            database,
            "r",
            parts=Parts(),
            models=models,
            preset=DEFAULT,
            listener=silent,
            verdict=verdict or Spend(),
        ) as deps:
            yield deps
    finally:
        await database.close()


def asked(model: ScriptedModel, number: int = 0) -> str:
    """All that the model was shown in one request."""
    return "\n\n".join(message.content for message in model.requests[number].messages)


def crito(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """What a command line prints, and its exit code."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def refused(*arguments: str | Path) -> str:
    """The one line on stderr of a command line that cannot work; nothing was made."""
    got = crito(*arguments)
    assert (got.exit_code, got.stdout) == (2, "")
    assert got.stderr.startswith("crito: ")
    assert got.stderr.count("\n") == 1
    assert not Path(".crito").exists()
    return got.stderr
