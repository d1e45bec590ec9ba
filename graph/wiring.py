"""Put together what the nodes work with: database, ledger, models, memory and agents of one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crito.agents.critic import Critic
from crito.agents.evaluator import Evaluator
from crito.agents.planner import Planner
from crito.agents.rewriter import Rewriter
from crito.agents.student import Student
from crito.agents.synthesizer import Synthesizer
from crito.agents.teacher import Teacher
from crito.errors import BadInput
from crito.graph.deps import Deps
from crito.graph.preset import Preset
from crito.memory.archive import Archive
from crito.memory.attempts import Attempts
from crito.memory.lesson_store import LessonStore, opened
from crito.memory.nearness import Nearness
from crito.place import lessons_of
from crito.protocols import Metric, Model, ModelReply, ModelRequest, Target
from crito.records import Candidate, Outcome, candidate_id
from crito.task import Task
from crito.tools.database import Database
from crito.tools.embedder import Embedder
from crito.tools.ledger import Ledger, paid
from crito.tools.likelihood_target import LikelihoodTarget
from crito.tools.limiter import Limiter
from crito.tools.limits import output_limit, prompt_tokens
from crito.tools.meter import Meter, Spend
from crito.tools.metrics import Ask, resolve_metric
from crito.tools.models import resolve
from crito.tools.prices import price_of
from crito.tools.structured import Speaker
from crito.tools.target import ChatTarget, ProgramTarget, TargetFunction
from crito.tools.telemetry import Tracer

Listener = Callable[[Mapping[str, Any]], None]


_OBJECT = "object:"
"""Marks the name of a metric or program that was given as an object and is not in the database."""
_PATIENCE = 30.0
"""Seconds that a run waits for the vectors of some lessons before it asks again."""
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
        store: Lessons in the host's LangGraph store, in place of ``task.memory``.
    """

    model: Model | None = None
    agent_model: Model | None = None
    metric: Metric | None = None
    target: TargetFunction | None = None
    store: LessonStore | None = None

    def named(self, task: Task) -> Task:
        """The task with a note of what was given as an object, so that a resumed run asks for it again.

        Raises:
            BadInput: The task was started with objects that are not here, or wants no memory of a store.
        """
        if self.store is not None and task.memory == "off":
            raise BadInput("store: memory is off, so nothing would be read or written; leave out one of the two")
        given = {"metric": self.metric, "model": self.target, "memory": self.store}
        for key, part in given.items():
            noted = getattr(task, key).startswith(_OBJECT)
            if part is None and noted:
                what = {"metric": "metric", "model": "target", "memory": "store"}[key]
                raise BadInput(
                    f"{what}: {getattr(task, key).removeprefix(_OBJECT)} was given as an object; give it again"
                )
            if part is None:
                continue
            name = getattr(part, "name", getattr(part, "__qualname__", type(part).__name__))
            if noted and key == "memory" and getattr(task, key) != f"{_OBJECT}{name}":
                began = getattr(task, key).removeprefix(_OBJECT)
                raise BadInput(
                    f"store: the run was begun with {began}, this is {name}; give the same and its namespace"
                )
            if not noted:
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
async def remembered(task: Task, database: Path, store: LessonStore | None) -> AsyncIterator[LessonStore | None]:
    """Where the lessons are that a task wants: in the host's store, in a file, or nowhere.

    Raises:
        BadInput: The file is no memory.
    """
    if store is not None:
        yield store
    elif task.memory == "off":
        yield None
    else:
        async with opened(lessons_of(task.memory, database)) as lessons:
            yield lessons


@asynccontextmanager
async def wired(
    task: Task,
    database: Database,
    run: str,
    *,
    parts: Parts,
    models: tuple[Model, Model],
    preset: Preset,
    lessons: LessonStore | None = None,
    embedder: Embedder | None = None,
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
        lessons: What earlier runs learned; None where memory is off.
        embedder: The embedding model that lessons are looked up with, if any.
        listener: Takes progress events.
        verdict: What is kept back for the verdict.
    """
    ledger = Ledger(
        database,
        run=run,
        meter=Meter(preset.capped(task.budget, verdict.calls), spent=paid(database, run), verdict=verdict),
        limiter=Limiter(task.in_flight),
        price=lambda name: price_of(name, task.prices),
    )
    tracer = Tracer(database, run)
    try:
        yield await _deps(
            task,
            ledger,
            tracer,
            parts=parts,
            models=models,
            preset=preset,
            lessons=lessons,
            nearness=_nearness(task, ledger, embedder, lessons),
            listener=listener,
            verdict=verdict,
        )
    finally:
        tracer.shutdown()
        for opened in {id(m): m for m in models}.values():
            await opened.aclose()


async def _deps(
    task: Task,
    ledger: Ledger,
    tracer: Tracer,
    *,
    parts: Parts,
    models: tuple[Model, Model],
    preset: Preset,
    lessons: LessonStore | None,
    nearness: Nearness | None,
    listener: Listener,
    verdict: Spend,
) -> Deps:
    archive = Archive(ledger.database, ledger.run, task.scoring)
    seed = Candidate(id=candidate_id(task.prompts), prompts=task.prompts, operator="seed", author="user")
    await archive.add(seed)
    model, agents = models
    speaker = partial(Speaker, ledger, agents, temperature=preset.temperature)
    metric = parts.metric or resolve_metric(task, _judge(ledger, agents))
    target = ProgramTarget(ledger, parts.target) if parts.target else _target(task, ledger, model)
    return Deps(
        task=task,
        preset=preset,
        seed=seed.id,
        test=task.splits.test,
        verdict=verdict,
        planner=Planner(speaker(role="planner"), task),
        critic=Critic(speaker(role="critic"), task),
        rewriter=Rewriter(speaker(role="rewriter"), task),
        synthesizer=Synthesizer(speaker(role="synthesizer"), task, metric),
        teacher=Teacher(speaker(role="teacher"), task),
        student=Student(speaker(role="student"), task),
        evaluator=Evaluator(target, metric, archive, done=_progress(ledger.meter, listener)),
        archive=archive,
        attempts=Attempts(ledger.database, ledger.run),
        lessons=lessons,
        nearness=nearness,
        ledger=ledger,
        tracer=tracer,
        prompt_tokens=prompt_tokens,
        notify=listener,
    )


def _target(task: Task, ledger: Ledger, model: Model) -> Target:
    """A model with a prompt, whose answers are written or read off its log-probabilities."""
    if task.scoring == "sampled":
        return ChatTarget(ledger, model, max_tokens=output_limit(task), temperature=task.temperature)
    return LikelihoodTarget(ledger, model, task.labels)


def _nearness(task: Task, ledger: Ledger, embedder: Embedder | None, lessons: LessonStore | None) -> Nearness | None:
    """What looks lessons up by their meaning, on the run's bill; a provider that is down there is down nowhere else."""
    if embedder is None or lessons is None:
        return None
    own = Ledger(
        ledger.database,
        run=ledger.run,
        meter=ledger.meter,
        limiter=Limiter(1),
        price=lambda name: price_of(name, task.prices),
        timeout=_PATIENCE,
    )
    return Nearness(own, embedder, lessons)


def _judge(ledger: Ledger, model: Model) -> Ask:
    """What a judging metric asks."""

    async def judge(request: ModelRequest, sample: int) -> ModelReply:
        return (await ledger.call(model, request, role="judge", sample=sample)).reply

    return judge


def _progress(meter: Meter, listener: Listener) -> Callable[[Outcome], None]:
    """Tells the listener of each finished outcome, with what is spent and left."""

    def progress(outcome: Outcome) -> None:
        candidate = outcome.candidate
        listener({"event": "outcome", "candidate": candidate, "spent": meter.spent, "left": meter.seconds_left()})

    return progress
