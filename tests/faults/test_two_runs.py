"""Two processes at work on one database at once."""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from crito.graph.run import Run
from crito.result import Result
from tests.faults.toy import answer, essence, toy_task
from tests.stub_provider import StubProvider

ROOT = Path(__file__).parents[2]


async def at_once(database: Path, stub: StubProvider, seeds: tuple[int, int]) -> list[dict[str, Any]]:
    """Make a run of each seed: one in a process of its own, and from its first request on the other one here."""
    first, second = seeds
    begun = asyncio.Event()
    stub._fault = lambda number, body: begun.set()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.worker", str(database), stub.url, "a", str(first)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await begun.wait()
    result = await Run(toy_task(stub.url, seed=second), database).start("b")
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return [json.loads(out.splitlines()[-1]), plain(result)]


def plain(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(essence(result)))
    return found


def keys_of(database: Path) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT run, key, status FROM calls").fetchall()
    finally:
        connection.close()


async def alone(database: Path, url: str, seed: int) -> dict[str, Any]:
    return plain(await Run(toy_task(url, seed=seed), database).start("r"))


async def test_two_runs_of_one_task_share_their_calls_and_both_end(tmp_path: Path) -> None:
    async with StubProvider(reply=answer, latency=0.002) as stub:
        await alone(tmp_path / "alone.db", stub.url, 0)
        needed = stub.requests
        found = await at_once(tmp_path / "crito.db", stub, (0, 0))
        together = stub.requests - needed
    rows = keys_of(tmp_path / "crito.db")
    answers = [key for _, key, status in rows if status == "ok"]
    # What one finds in the other's rows is free, so each may get further than alone; neither may get less.
    assert [run["verdict"]["decision"] for run in found] == ["improved", "improved"]
    assert len(answers) == len(set(answers))
    assert together == len(rows)


async def test_runs_of_different_tasks_end_as_each_alone(tmp_path: Path) -> None:
    async with StubProvider(reply=answer, latency=0.002) as stub:
        expected = [await alone(tmp_path / f"{seed}.db", stub.url, seed) for seed in (0, 1)]
        assert await at_once(tmp_path / "crito.db", stub, (0, 1)) == expected
