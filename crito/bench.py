"""A bench: any presets on any tasks with any seeds, each search with the same budget."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.api import aoptimize, aresume
from crito.bench_cells import Cell, CellResult, measured
from crito.bench_folder import BenchFolder, Terms
from crito.errors import BadInput, Interrupted
from crito.graph.checks import checked
from crito.graph.preset import Preset
from crito.graph.run import Run
from crito.graph.wiring import Parts
from crito.task import Budget, Task
from crito.tools.database import Database, runs
from crito.tools.limits import fit
from crito.tools.meter import Spend
from crito.tools.prices import Price

Listener = Callable[[Cell, Mapping[str, Any]], None]
_PLENTY = 10**9
"""Calls that any verdict fits into."""


def exact(limit: float) -> str:
    """A limit as it can be given again, with every digit."""
    return str(int(limit)) if float(limit).is_integer() else repr(limit)


class Bench(BaseModel):
    """What is to be compared.

    Attributes:
        presets: By the names that the bench gives them.
        tasks: By name; their own budgets and seeds play no part.
        seeds: Seeds of everything random; the splits stay as they are.
        limits: What each search may take at most, by unit (``calls``, ``tokens``, ``usd``); at least one.
    """

    model_config = ConfigDict(frozen=True)
    presets: dict[str, Preset]
    tasks: dict[str, Task]
    seeds: tuple[int, ...]
    limits: dict[str, float]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every run, in an order in which the presets can be compared before all of it is done."""
        order = itertools.product(self.seeds, self.tasks, self.presets)
        return tuple(Cell(preset, task, seed) for seed, task, preset in order)

    @property
    def terms(self) -> Terms:
        """What makes it this bench."""
        own = {"budget", "seed", "concurrency", "model", "agent_model"}
        return Terms(
            budget=" and ".join(f"{exact(limit)} {unit}" for unit, limit in self.limits.items()),
            models={name: (task.model, task.agent_model) for name, task in self.tasks.items()},
            data={
                name: hashlib.sha256(task.model_dump_json(exclude=own).encode()).hexdigest()[:16]
                for name, task in self.tasks.items()
            },
            presets={name: preset.model_dump(mode="json") for name, preset in self.presets.items()},
        )

    def task(self, name: str, seed: int, preset: str) -> Task:
        """A task as a preset gets it, with a budget in which the verdict on the whole test split comes on top.

        In tokens and dollars the verdict's part is an estimate, for prompts with three demonstrations; a method that
        ends with longer ones pays the rest from its search.

        Raises:
            BadInput: The task cannot work, costs nothing in the budget's unit, or the budget is too small.
        """
        alone = {"seed": seed, "budget": Budget(calls=_PLENTY), "memory": "off"}  # no cell learns from another
        task = self.tasks[name].model_copy(update=alone)
        if not self.presets[preset].likelihood:  # now, as it decides what an answer takes
            task = task.model_copy(update={"scoring": "sampled"})
        try:
            found = checked(task, Parts())
            verdict = fit(found.task, *found.prices)[1]
            if not all(getattr(verdict, unit) for unit in self.limits):
                raise BadInput(f"a call of {task.model} has no known price above 0; limit calls or tokens instead")
            budget = self._budget(verdict, len(task.splits.test))
            self._fit(found.task.model_copy(update={"budget": budget}), found.prices, verdict)
        except BadInput as error:
            raise BadInput(f"task {name}: {error}") from error
        return task.model_copy(update={"budget": budget})

    def check(self) -> None:
        """Refuse what cannot work; nothing is written or paid for.

        Raises:
            BadInput: A preset and a task do not go together, or :meth:`task` refuses one.
        """
        for name, preset in itertools.product(self.tasks, self.presets):
            settings = self.presets[preset]
            if not settings.likelihood and self.tasks[name].scoring == "sampled":
                cure = "leave the preset out, or set scoring: likelihood in the task"
                raise BadInput(f"preset {preset}: task {name} is scored by sampled answers anyway; {cure}")
            Run(self.task(name, self.seeds[0], preset), Path(), preset=settings)

    def _fit(self, task: Task, prices: tuple[Price | None, Price | None], verdict: Spend) -> None:
        try:
            fit(task, *prices)
        except BadInput as error:
            parts = " and ".join(f"{getattr(verdict, unit):.6g} {unit}" for unit in self.limits)
            raise BadInput(f"{error}; all of these hold the verdict's {parts}, which come on top of a limit") from error

    def _budget(self, verdict: Spend, tests: int) -> Budget:
        parts = {unit: getattr(verdict, unit) for unit in self.limits}
        totals = {unit: limit + parts[unit] for unit, limit in self.limits.items()}
        # Limits are turned into whole uses of a prompt, rounded down: one use more, so that no test example is lost.
        share = max(part / max(totals[unit] - part / (2 * tests), part) for unit, part in parts.items())
        return Budget(**totals, verdict_share=min(share + 1e-6, 1 - 1e-6))


class BenchRun:
    """Runs what a folder does not have yet.

    Args:
        bench: What to run.
        folder: Where to; what it has is not run again, and runs that stopped go on.
        parallel: Runs at the same time; they share the task's limit on calls in flight.
        listener: Takes each run's events, ``finished`` with the cell's result once it has one, and ``known`` for a cell
            that the folder has already.
    """

    def __init__(self, bench: Bench, folder: BenchFolder, *, parallel: int, listener: Listener) -> None:
        self._bench = bench
        self._folder = folder
        self._parallel = min(parallel, *(task.in_flight for task in bench.tasks.values()))
        self._listener = listener
        self._found: dict[Cell, CellResult] = {}
        self._active: dict[Cell, Run] = {}
        self._stop: str | None = None
        self._cause: Exception | None = None

    def drain(self, reason: str) -> None:
        """Stop every run after its current step and begin no other."""
        self._stop = self._stop or reason
        for run in self._active.values():
            run.drain(reason)

    async def start(self) -> list[CellResult]:
        """Run to the end, or go on; results in the order of the bench's cells.

        Raises:
            BadInput: The folder holds another bench, or another process is at work on it.
            Interrupted: Drained; to be started again.
            ProviderFailure: The provider is down; to be started again.
        """
        self._folder.check(self._bench.terms)
        with self._folder.held():
            self._folder.begin(self._folder.check(self._bench.terms))
            self._found = self._folder.read()
            left = [cell for cell in self._bench.cells if cell not in self._found]
            for cell in set(self._bench.cells) - set(left):
                self._listener(cell, {"event": "known"})
            slots = asyncio.Semaphore(self._parallel)
            await asyncio.gather(*(self._turn(cell, slots) for cell in left), return_exceptions=True)
        if self._cause is not None:  # the first error: it drained all other runs
            raise self._cause
        if any(cell not in self._found for cell in left):
            raise Interrupted(f"stopped ({self._stop})")
        return [self._found[cell] for cell in self._bench.cells]

    async def _turn(self, cell: Cell, slots: asyncio.Semaphore) -> None:
        async with slots:
            if self._stop is not None:
                return
            try:
                self._found[cell] = found = await self._run(cell)
                self._folder.write(self._found)
                self._listener(cell, {"event": "finished", "result": found})
            except Exception as error:
                self._cause = self._cause or error
                self.drain("another run failed")
                raise
            finally:
                self._active.pop(cell, None)

    async def _run(self, cell: Cell) -> CellResult:
        path = self._folder.database(cell)
        options: Any = {
            "database": path,
            "listener": partial(self._listener, cell),
            "started": partial(self._begun, cell),
        }
        known = _run_in(path)
        if known is not None:
            return measured(cell, await aresume(known, **options), path)
        task = self._bench.task(cell.task, cell.seed, cell.preset)
        each = task.model_copy(update={"concurrency": max(1, task.in_flight // self._parallel)})
        return measured(cell, await aoptimize(each, preset=self._bench.presets[cell.preset], **options), path)

    def _begun(self, cell: Cell, run: Run) -> None:
        self._active[cell] = run
        if self._stop is not None:
            run.drain(self._stop)


def _run_in(path: Path) -> str | None:
    """Id of the run that a cell's database holds; None before it was written down."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    database = Database(path)
    try:
        found = database.read(sa.select(runs.c.id))
    finally:
        database.dispose()
    return str(found[0].id) if found else None
