"""Put together what the nodes work with: database, ledger, models, memory and agents of one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from crito.agents.critic import Critic
from crito.agents.evaluator import Evaluator
from crito.agents.planner import Planner
from crito.agents.rewriter import Rewriter
from crito.agents.synthesizer import Synthesizer
from crito.errors import BadInput
from crito.graph.deps import Deps
from crito.graph.presets import Preset
from crito.memory.archive import Archive
from crito.memory.attempts import Attempts
from crito.protocols import Metric, Model, ModelReply, ModelRequest
from crito.records import Candidate, candidate_id
from crito.task import Task
from crito.tools.database import Database
from crito.tools.ledger import Ledger, paid
from crito.tools.limiter import Limiter
from crito.tools.limits import output_limit, prompt_tokens
from crito.tools.meter import Meter, Spend
from crito.tools.metrics import resolve_metric
from crito.tools.models import resolve
from crito.tools.prices import price_of
from crito.tools.structured import Speaker
from crito.tools.target import ChatTarget, ProgramTarget, TargetFunction
from crito.tools.telemetry import Tracer

Listener = Callable[[Mapping[str, Any]], None]


_OBJECT = "object:"
"""Marks the name of a metric or program that was given as an object and is not in the database."""
_HOST = "langchain/"
"""Begins the name of a host application's model, which nobody but the host can make."""


def silent(event: Mapping[str, Any]) -> None:
    """The listener that hears nothing."""


@dataclass(frozen=True)
class Parts:
    """Objects that the caller puts in place of what the task names.

    Attributes:
        model: The target's model, in place of ``task.model``.
        agent_model: The agents' model, in place of ``task.agent_model``.
        metric: In place of ``task.metric``.
        target: The user's own program.
    """

    model: Model | None = None
    agent_model: Model | None = None
    metric: Metric | None = None
    target: TargetFunction | None = None

    def named(self, task: Task) -> Task:
        """The task with a note of what was given as an object, so that a resumed run asks for it again.

        Raises:
            BadInput: The task was started with objects that are not here.
        """
        given = {"metric": self.metric, "model": self.target}
        for key, part in given.items():
            noted = getattr(task, key).startswith(_OBJECT)
            if part is None and noted:
                what = "metric" if key == "metric" else "target"
                raise BadInput(
                    f"{what}: {getattr(task, key).removeprefix(_OBJECT)} was given as an object; give it again"
                )
            if part is not None and not noted:
                name = getattr(part, "name", getattr(part, "__qualname__", type(part).__name__))
                task = task.model_copy(update={key: f"{_OBJECT}{name}"})
        return task

    def models(self, task: Task) -> tuple[Model, Model]:
        """The target's model and the agents' model; one object where both are the same.

        Raises:
            BadInput: A name cannot be resolved.
        """
        if self.target is not None:
            agents = self.agent_model or self.model or _model(task, "agent_model")
            return agents, agents
        model = self.model or _model(task, "model")
        if self.agent_model is None and task.agent_model == task.model:
            return model, model
        return model, self.agent_model or _model(task, "agent_model")


def _model(task: Task, key: str) -> Model:
    name = getattr(task, key)
    if name.startswith(_HOST):
        raise BadInput(f"{key}: {name} was given as an object; give it again, from Python")
    return resolve(name, concurrency=task.in_flight)


@asynccontextmanager
async def wired(
    task: Task,
    database: Database,
    run: str,
    *,
    parts: Parts,
    models: tuple[Model, Model],
    preset: Preset,
    listener: Listener,
    verdict: Spend,
) -> AsyncIterator[Deps]:
    """The dependencies of a run; models and tracer are closed at the end.

    Args:
        task: The task, cut to its budget.
        database: The open run database.
        run: Id of the run.
        parts: Objects in place of names.
        models: The target's and the agents' model.
        preset: Settings of the search.
        listener: Takes progress events.
        verdict: What is kept back for the verdict.
    """
    model, agents = models
    meter = Meter(task.budget, spent=paid(database, run), verdict=verdict)
    ledger = Ledger(
        database,
        run=run,
        meter=meter,
        limiter=Limiter(task.in_flight),
        price=lambda name: price_of(name, task.prices),
    )
    tracer = Tracer(database, run)
    archive = Archive(database, run)
    seed = Candidate(id=candidate_id(task.prompts), prompts=task.prompts, operator="seed", author="user")
    await archive.add(seed)

    async def judge(request: ModelRequest) -> ModelReply:
        return (await ledger.call(agents, request, role="judge")).reply

    metric = parts.metric or resolve_metric(task, judge)
    chat = ChatTarget(ledger, model, max_tokens=output_limit(task))
    target = ProgramTarget(ledger, parts.target) if parts.target else chat

    def progress(candidate: str) -> None:
        listener({"event": "outcome", "candidate": candidate, "spent": meter.spent, "left": meter.seconds_left()})

    def speaker(role: str) -> Speaker:
        return Speaker(ledger, agents, role=role)

    try:
        yield Deps(
            task=task,
            preset=preset,
            seed=seed.id,
            test=task.splits.test,
            verdict=verdict,
            planner=Planner(speaker("planner"), task),
            critic=Critic(speaker("critic"), task),
            rewriter=Rewriter(speaker("rewriter"), task),
            synthesizer=Synthesizer(speaker("synthesizer"), task, metric),
            evaluator=Evaluator(target, metric, archive, done=lambda outcome: progress(outcome.candidate)),
            archive=archive,
            attempts=Attempts(database, run),
            ledger=ledger,
            tracer=tracer,
            prompt_tokens=prompt_tokens,
            notify=listener,
        )
    finally:
        tracer.shutdown()
        for opened in {id(m): m for m in models}.values():
            await opened.aclose()
