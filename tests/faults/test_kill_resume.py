"""A run that is killed or drained on its way ends as if nothing had happened, and pays twice for next to nothing."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from crito.api import aresume
from crito.errors import Interrupted
from crito.graph.run import Run
from crito.result import Result
from tests.faults.toy import Body, answer, essence, toy_task
from tests.stub_provider import StubProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[2]
_MOST_LOST = 64
"""Four calls are in flight, and those that were answered within the writer's last few milliseconds."""


class Undisturbed(NamedTuple):
    essence: dict[str, Any]
    requests: int
    calls: int
    database: Path


@dataclass
class Provider:
    """The stub, and something to do at its n-th request from now."""

    stub: StubProvider = field(init=False)
    at: int = -1
    do: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.stub = StubProvider(reply=answer, fault=self._seen, latency=0.002)

    def when(self, requests: int, do: Callable[[], None]) -> None:
        self.at, self.do = self.stub.requests + requests, do

    def _seen(self, number: int, body: Body) -> None:
        if number == self.at:
            self.do()


class Worker:
    """Forks processes that make a toy run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._child: int | None = None
        self._doomed = False

    async def run(self, database: Path, provider: Provider, *, seed: int, kill_at: int) -> int:
        """Start or resume the run, kill it at its n-th request, and give back its exit status."""
        assert self._process.stdin is not None
        self._child, self._doomed = None, False
        provider.when(kill_at, self._kill)
        self._process.stdin.write(f"{database} {provider.stub.url} r {seed}\n".encode())
        self._child = await self._number()
        if self._doomed:
            self._kill()
        return os.waitstatus_to_exitcode(await self._number())

    async def _number(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())

    def _kill(self) -> None:
        self._doomed = True
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    async with made.stub:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    command = (sys.executable, "-m", "tests.faults.worker")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    yield Worker(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> list[Undisturbed]:
    """A run of each seed that nothing happened to."""
    found = []
    for seed in (0, 1):
        before, database = provider.stub.requests, tmp_path_factory.mktemp("undisturbed") / "crito.db"
        result = await Run(toy_task(provider.stub.url, seed=seed), database).start("r")
        found.append(Undisturbed(essence(result), provider.stub.requests - before, result.bill.calls, database))
    return found


def durable(database: Path) -> int:
    """Calls whose rows outlived the process."""
    if not database.exists():
        return 0
    connection = sqlite3.connect(database)
    try:
        (found,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    finally:
        connection.close()
    return int(found)


def status_of(database: Path) -> str:
    connection = sqlite3.connect(database)
    try:
        ((found,),) = connection.execute("SELECT status FROM runs").fetchall()
    finally:
        connection.close()
    return str(found)


def tried(database: Path) -> list[tuple[str, str]]:
    """Every candidate of the run, and every request that was answered for it or for an agent."""
    connection = sqlite3.connect(database)
    try:
        query = (
            "SELECT 'candidate', id FROM candidates UNION SELECT role, key FROM calls WHERE status = 'ok' ORDER BY 2"
        )
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def same(result: Result, database: Path, expected: Undisturbed) -> None:
    assert tried(database) == tried(expected.database)
    found = essence(result)
    for part, value in expected.essence.items():
        assert found[part] == value, part
    assert result.bill.calls == expected.calls


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_run_killed_anywhere_ends_as_an_undisturbed_one(
    tmp_path: Path, provider: Provider, worker: Worker, undisturbed: list[Undisturbed], seed: int
) -> None:
    expected = undisturbed[seed]
    for point in random.Random(seed).sample(range(1, expected.requests), 3):  # noqa: S311 - chooses moments
        database, before = tmp_path / f"{point}.db", provider.stub.requests
        assert await worker.run(database, provider, seed=seed, kill_at=point) == -signal.SIGKILL
        lost = provider.stub.requests - before - durable(database)
        same(await aresume("r", database=database), database, expected)
        assert provider.stub.requests - before == expected.requests + lost  # what is durable is not paid again
        assert lost < _MOST_LOST


async def test_a_run_killed_twice_ends_as_an_undisturbed_one(
    tmp_path: Path, provider: Provider, worker: Worker, undisturbed: list[Undisturbed]
) -> None:
    database = tmp_path / "crito.db"
    for point in (150, 200):
        assert await worker.run(database, provider, seed=0, kill_at=point) == -signal.SIGKILL
    same(await aresume("r", database=database), database, undisturbed[0])


async def test_a_run_killed_before_its_first_answer_can_be_resumed(
    tmp_path: Path, provider: Provider, worker: Worker, undisturbed: list[Undisturbed]
) -> None:
    database = tmp_path / "crito.db"
    assert await worker.run(database, provider, seed=0, kill_at=1) == -signal.SIGKILL
    same(await aresume("r", database=database), database, undisturbed[0])


@pytest.mark.parametrize("share", [0.1, 0.6])
async def test_a_drained_run_stops_and_is_resumed_to_the_same_end(
    tmp_path: Path, provider: Provider, undisturbed: list[Undisturbed], share: float
) -> None:
    database, before = tmp_path / "crito.db", provider.stub.requests
    run = Run(toy_task(provider.stub.url), database)
    provider.when(int(share * undisturbed[0].requests), lambda: run.drain("Ctrl-C"))
    with pytest.raises(Interrupted, match=r"stopped \(Ctrl-C\); go on with: crito resume r"):
        await run.start("r")
    assert provider.stub.requests - before < undisturbed[0].requests
    assert status_of(database) == "paused"
    same(await aresume("r", database=database), database, undisturbed[0])
    assert provider.stub.requests - before == undisturbed[0].requests
    assert status_of(database) == "done"


async def test_a_run_that_is_drained_in_its_verdict_gives_it(
    tmp_path: Path, provider: Provider, undisturbed: list[Undisturbed]
) -> None:
    run = Run(toy_task(provider.stub.url), tmp_path / "crito.db")
    provider.when(undisturbed[0].requests - 5, lambda: run.drain("Ctrl-C"))
    same(await run.start("r"), tmp_path / "crito.db", undisturbed[0])


async def test_resuming_a_finished_run_gives_its_result_without_a_call(
    provider: Provider, undisturbed: list[Undisturbed]
) -> None:
    before = provider.stub.requests
    same(await aresume("r", database=undisturbed[0].database), undisturbed[0].database, undisturbed[0])
    assert provider.stub.requests == before
