"""One run from its task to its result: check, run the graph, resume it after a stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from crito.errors import BadInput, BudgetExhausted, Interrupted, ProviderFailure
from crito.graph.deps import Deps
from crito.graph.presets import DEFAULT, Preset
from crito.graph.wiring import Listener, Parts, silent, wired
from crito.graph.workflow import build
from crito.memory.lineage import chain, lineage
from crito.protocols import Output
from crito.records import Verdict
from crito.result import Bill, Link, Result
from crito.task import Task
from crito.tools.database import Database, calls, runs
from crito.tools.limits import check_context, complete, estimate, fit
from crito.tools.metrics import resolve_metric, score
from crito.tools.prices import context_of, price_of

DATABASE = Path(".crito/crito.db")
"""Where runs are kept unless the caller says otherwise."""
_STEPS_PER_ROUND = 8


class Run:
    """A run with its task, checked and ready; nothing is written before :meth:`start`.

    Args:
        task: What to do.
        database: Path of the run database.
        parts: Objects in place of names.
        preset: Settings of the search.
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
        preset: Preset = DEFAULT,
        listener: Listener = silent,
    ) -> None:
        self._parts = parts or Parts()
        task = self._parts.named(task.model_copy(update={"budget": complete(task.budget)}))
        self._models = self._parts.models(task)
        model = self._models[0]
        for split in ("train", "val", "test"):
            if not getattr(task.splits, split):
                raise BadInput(f"data: there are no {split} examples; a search needs all three splits")
        if task.budget.usd is not None:
            for name in sorted({m.name for m in self._models}):
                if price_of(name, task.prices) is None:
                    raise BadInput(
                        f"budget.usd: the price of {name} is not known; give it under 'prices', or use calls"
                    )
        check_context(task, getattr(model, "context", None) or context_of(model.name))
        price = price_of(model.name, task.prices)
        self._task, self._verdict = fit(task, price)
        if self._parts.metric is None:
            resolve_metric(self._task)
        self._estimate = estimate(self._task, price)
        self._path = database
        self._preset = preset
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
            BadInput: The database cannot be used.
        """
        began = time.monotonic()
        await self._try_metric()
        database = Database(self._path)
        try:
            before = _elapsed(database, run)
            if not database.read(sa.select(runs.c.id).where(runs.c.id == run)):
                stored = self._task.model_dump_json()
                database.add_run(run, name=self._task.name, preset=self._preset.name, task=stored)
            database.update_run(run, status="running")
            self._listener({"event": "start", "run": run, "task": self._task, "estimate": self._estimate})
            status = "paused"
            try:
                async with wired(
                    self._task,
                    database,
                    run,
                    parts=self._parts,
                    models=self._models,
                    preset=self._preset,
                    listener=self._listener,
                    verdict=self._verdict,
                ) as deps:
                    final = await self._invoke(deps, run)
                    result = _result(deps, run, final, before + time.monotonic() - began)
                database.update_run(run, result=result.model_dump_json())
                status = "done"
            finally:
                database.update_run(run, status=status)
        finally:
            await database.close()
        return result

    async def _try_metric(self) -> None:
        """Score a right answer with the user's own metric: one that raises is known before anything is written."""
        metric = self._parts.metric or (resolve_metric(self._task) if ":" in self._task.metric else None)
        if metric is not None and not self._task.metric.startswith(("judge", "regex")):
            example = self._task.splits.train[0]
            await score(metric, Output(text=example.expected or ""), example)

    async def _invoke(self, deps: Deps, run: str) -> dict[str, Any]:
        limit = (self._preset.rounds + 3) * _STEPS_PER_ROUND
        config: Any = {"configurable": {"thread_id": run}, "recursion_limit": limit}
        elsewhere = "" if self._path == DATABASE else f" --db {self._path}"
        resume = f"go on with: crito resume {run}{elsewhere}"
        async with AsyncSqliteSaver.from_conn_string(str(self._path)) as saver:
            graph = build(saver)
            begun = await saver.aget_tuple(config) is not None
            with deps.tracer.span("invoke_workflow", self._task.name, run=run):
                try:
                    return await graph.ainvoke(
                        None if begun else {}, config, context=deps, control=self._control, durability="sync"
                    )
                except GraphDrained as drained:
                    raise Interrupted(f"stopped ({drained.reason}); {resume}") from None
                except BudgetExhausted as error:
                    raise Interrupted(f"{error}; {resume}") from error
                except ProviderFailure as error:
                    raise ProviderFailure(f"{error}; {resume}") from error


def stored(database: Database, run: str) -> tuple[Task, Result | None]:
    """The task of a run and, once it has ended, its result, from the database alone.

    Raises:
        BadInput: There is no run of that id.
    """
    rows = database.read(sa.select(runs.c.task, runs.c.result).where(runs.c.id == run))
    if not rows:
        raise BadInput(f"there is no run {run!r}; see: crito runs")
    result = rows[0].result
    return Task.model_validate_json(rows[0].task), Result.model_validate_json(result) if result else None


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


def _elapsed(database: Database, run: str) -> float:
    """Seconds that earlier starts of a run took, up to their last call."""
    query = sa.select(runs.c.created, sa.func.max(calls.c.started + calls.c.seconds).label("last"))
    rows = database.read(query.join(calls, calls.c.run == runs.c.id).where(runs.c.id == run).group_by(runs.c.id))
    return max(0.0, rows[0].last - rows[0].created) if rows else 0.0


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
        prompts=deps.task.prompts if kept else best.prompts,
        best_prompts=best.prompts,
        chain=tuple(links),
        stopped=state.get("stopped", ""),
    )
