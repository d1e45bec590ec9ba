"""One run from its task to its result: check, run the graph, resume it after a stop."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from crito.errors import BadInput, BudgetExhausted, Interrupted, ProviderFailure
from crito.graph.allowance import verdict_reserve
from crito.graph.baselines import baselines
from crito.graph.calibration import unused_divisors
from crito.graph.checks import checked, checked_embedder
from crito.graph.choice import chosen
from crito.graph.decisions import tokens_per_use
from crito.graph.deps import Deps
from crito.graph.learn import learn
from crito.graph.preset import Preset
from crito.graph.presets import check_preset
from crito.graph.recall import uses
from crito.graph.wiring import Listener, Parts, remembered, silent, wired
from crito.graph.workflow import build
from crito.memory.lesson_store import LessonStore
from crito.memory.lineage import chain, lineage
from crito.memory.recalled import Recalled
from crito.place import resume_command
from crito.prompt import Prompt
from crito.records import Verdict, main_module
from crito.result import Bill, Link, Result
from crito.task import Task
from crito.tools.database import Database, calls, runs, spans
from crito.tools.limits import caution, complete, estimate, fit, wavering
from crito.tools.metrics import try_metric
from crito.tools.run_lock import run_lock

_STEPS_PER_ROUND = 8
_ROOT = "invoke_workflow"


class Run:
    """A run with its task, checked and ready; nothing is written before :meth:`start`.

    Args:
        task: What to do.
        database: Path of the run database.
        parts: Objects in place of names.
        preset: Settings of the search; None lets the task decide.
        listener: Takes progress events.

    Raises:
        BadInput: The task cannot work: unknown model, missing key or price, budget too small, prompt too long.
    """

    def __init__(
        self,
        task: Task,
        database: Path,
        *,
        parts: Parts | None = None,
        preset: Preset | None = None,
        listener: Listener = silent,
    ) -> None:
        self._parts = parts or Parts()
        for split in ("train", "val", "test"):
            if not getattr(task.splits, split):
                raise BadInput(f"data: there are no {split} examples; a search needs all three splits")
        if preset is not None and not preset.likelihood:
            task = task.model_copy(update={"scoring": "sampled"})
        self._checked = checked(task, self._parts)
        self._embedder = checked_embedder(self._checked.task)
        task, prices = self._checked.task, self._checked.prices
        task = task.model_copy(update={"budget": complete(task.budget, *prices)})
        self._task, self._verdict = fit(task, *prices)
        self._estimate = estimate(self._task, *prices)
        self._preset, self._why = (preset, "") if preset is not None else chosen(self._task, self._estimate.calls)
        check_preset(self._preset, self._task)
        self._path = database
        self._listener = listener
        self._control = RunControl()

    def drain(self, reason: str) -> None:
        """Stop after the current step; the run can be resumed."""
        self._control.request_drain(reason)

    async def start(self, run: str) -> Result:
        """Run from the beginning under this id, or go on where a run of this id stopped.

        Raises:
            Interrupted: Drained on request or at the deadline; resumable.
            ProviderFailure: Nothing more can be done with this provider now; resumable.
            BadInput: The database or the memory cannot be used.
        """
        began = time.monotonic()
        await try_metric(self._checked.metric, self._task)
        async with remembered(self._task, self._path, self._parts.store) as lessons:
            if lessons is not None and not _begun(self._path, run):  # a run that is resumed has its advice
                await lessons.check()
            return await self._started(run, lessons, began)

    async def _started(self, run: str, lessons: LessonStore | None, began: float) -> Result:
        database = Database(self._path)
        try:
            with run_lock(self._path, run):
                before = _elapsed(database, run)
                self._begin(database, run)
                status = "paused"
                try:
                    async with wired(
                        self._task,
                        database,
                        run,
                        parts=self._parts,
                        models=self._checked.models,
                        preset=self._preset,
                        lessons=lessons,
                        embedder=self._embedder,
                        listener=self._listener,
                        verdict=self._verdict,
                    ) as deps:
                        final = await self._invoke(deps, run)
                        await learn(deps, final)
                        result = _result(deps, run, final, before + time.monotonic() - began)
                    database.update_run(run, result=result.model_dump_json())
                    status = "done"
                finally:
                    database.update_run(run, status=status)
        finally:
            await database.close()
        return result

    def _begin(self, database: Database, run: str) -> None:
        """Write down what a later start needs, and tell the listener."""
        task = json.dumps({**self._task.model_dump(mode="json"), "digest": self._task.splits.digest})
        if _known(database, run):
            database.update_run(run, status="running", task=task)  # its budget may have been raised
        else:
            database.add_run(run, name=self._task.name, preset=self._preset.model_dump_json(), task=task)
        about = {"task": self._task, "estimate": self._estimate, "preset": self._preset.name, "why": self._why}
        self._listener({"event": "start", "run": run, **about})
        for warning in filter(
            None, (caution(self._task), wavering(self._task), unused_divisors(self._task, search=True))
        ):
            self._listener({"event": "warning", "text": warning})

    async def _invoke(self, deps: Deps, run: str) -> dict[str, Any]:
        limit = (self._preset.rounds + 3) * _STEPS_PER_ROUND
        config: Any = {"configurable": {"thread_id": run}, "recursion_limit": limit}
        resume = resume_command(run, self._path)
        async with _checkpoints(self._path) as saver:
            graph = build(saver)
            begun = await saver.aget_tuple(config)
            if begun is not None:
                _keep_for_verdict(deps, begun.checkpoint["channel_values"])
            with deps.tracer.span(_ROOT, self._task.name, run=run):
                try:
                    return await graph.ainvoke(
                        {} if begun is None else None, config, context=deps, control=self._control, durability="sync"
                    )
                except GraphDrained as drained:
                    raise Interrupted(f"stopped ({drained.reason}); go on with: {resume}") from None
                except BudgetExhausted as error:
                    timed = error.dimension == "seconds"  # every start has them anew
                    cure = f"go on with: {resume}" if timed else f"raise it: {resume} --budget-{error.dimension} N"
                    raise Interrupted(f"{error}; {cure}") from error
                except ProviderFailure as error:
                    raise ProviderFailure(f"{error}; go on with: {resume}") from error


@asynccontextmanager
async def _checkpoints(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """Where checkpoints go, closed between two writes.

    LangGraph cancels the workers beside one that fails and does not wait until it has noted that. Closed within such a
    write, the file would stay locked, and the run could not be marked as paused.
    """
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.conn.execute("PRAGMA synchronous=NORMAL")  # as for all other rows of this file
        try:
            yield saver
        finally:
            async with saver.lock:
                await saver.conn.close()


class Stored(NamedTuple):
    """A run as the database has it; ``result`` is None until it has ended."""

    task: Task
    preset: Preset
    result: Result | None


def stored(database: Database, run: str) -> Stored:
    """What a run was started with and, once it has ended, its result, from the database alone.

    Raises:
        BadInput: There is no run of that id.
    """
    rows = database.read(sa.select(runs.c.task, runs.c.preset, runs.c.result).where(runs.c.id == run))
    if not rows:
        raise BadInput(f"there is no run {run!r}; see: crito runs")
    row = rows[0]
    task = Task.model_validate_json(row.task)
    result = Result.model_validate_json(row.result) if row.result else None
    return Stored(task, Preset.model_validate_json(row.preset), result)


def bill(database: Database, run: str, seconds: float) -> Bill:
    """What a run has paid, from its ledger rows."""
    columns = (calls.c.role, calls.c.status, calls.c.tokens_in, calls.c.tokens_out, calls.c.cached, calls.c.usd)
    rows = database.read(sa.select(*columns).where(calls.c.run == run))
    return Bill(
        calls=len(rows),
        calls_target=sum(row.role == "target" for row in rows),
        calls_agents=sum(row.role != "target" for row in rows),
        failed=sum(row.status == "failed" for row in rows),
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
        tokens_cached=sum(row.cached for row in rows),
        usd=None if any(row.usd is None for row in rows) else sum(row.usd for row in rows),
        seconds=seconds,
    )


def _begun(path: Path, run: str) -> bool:
    """Whether a database has a run already; one that is not there is not made."""
    if not path.exists():
        return False
    database = Database(path)
    try:
        return _known(database, run)
    finally:
        database.dispose()


def _known(database: Database, run: str) -> bool:
    return bool(database.read(sa.select(runs.c.id).where(runs.c.id == run)))


def _elapsed(database: Database, run: str) -> float:
    """Seconds that earlier starts of a run took, the pauses between them left out."""
    seconds = sa.func.sum(spans.c.ended - spans.c.started).label("seconds")
    rows = database.read(sa.select(seconds).where(spans.c.run == run, spans.c.name.startswith(f"{_ROOT} ")))
    return rows[0].seconds or 0.0


def _keep_for_verdict(deps: Deps, state: Mapping[str, Any]) -> None:
    """Keep back for the verdict what the last finished round found that it needs."""
    if state.get("round", 0) > 0:
        used = tokens_per_use(deps, deps.seed) + tokens_per_use(deps, state["incumbent"])
        answers = len(deps.test) * deps.task.repeats
        deps.ledger.meter.keep_for_verdict(verdict_reserve(deps.verdict, answers, used))


def _result(deps: Deps, run: str, state: Mapping[str, Any], seconds: float) -> Result:
    verdict = Verdict.model_validate(state["verdict"])
    best = deps.archive.candidate(verdict.best)
    kept = verdict.decision == "kept"
    line = chain(lineage(deps.archive.candidates()), verdict.best)
    links = [
        Link(
            candidate=candidate.id,
            operator=candidate.operator,
            author=candidate.author,
            hypothesis=candidate.hypothesis,
            val_score=deps.archive.mean(candidate.id, deps.val),
        )
        for candidate in (deps.archive.candidate(c) for c in line)
    ]
    return Result(
        run=run,
        name=deps.task.name,
        model=deps.task.model,
        verdict=verdict,
        bill=bill(deps.ledger.database, run, seconds),
        prompts=_calibrated(deps, deps.seed if kept else best.id),
        best_prompts=_calibrated(deps, best.id),
        chain=tuple(links),
        baselines=baselines(deps),
        lessons=uses(deps, Recalled.model_validate(state["recalled"])),
        stopped=state.get("stopped", ""),
        splits=deps.task.splits.digest,
    )


def _calibrated(deps: Deps, candidate: str) -> dict[str, Prompt]:
    """A candidate's prompts; with calibrated scoring the one that was scored has the divisors of the verdict."""
    prompts = deps.archive.candidate(candidate).prompts
    if deps.task.scoring != "calibrated":
        return prompts
    module = main_module(prompts)
    divisors = deps.archive.marginal(candidate, deps.val)
    return {**prompts, module: prompts[module].model_copy(update={"calibration": divisors})}
