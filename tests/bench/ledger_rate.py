"""Calls per second through the ledger against a stub provider that answers after 50 ms.

Run it with `python tests/bench/ledger_rate.py`.

The stub runs in a process of its own. Each client makes --calls calls, --in-flight at a time; bare clients and the
ledger take turns, so that the ratio holds on a noisy machine. Prints medians and one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from crito.prompt import Message
from crito.protocols import Model, ModelRequest
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.ledger import Ledger
from crito.tools.limiter import Limiter
from crito.tools.meter import Meter
from crito.tools.models import resolve
from crito.tools.prices import Price

STUB = """
import asyncio, sys
from tests.stub_provider import StubProvider
async def main():
    async with StubProvider(latency=0.05) as stub:
        print(stub.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def rate(call: Callable[[int], Awaitable[object]], calls: int, in_flight: int) -> float:
    """Calls per second with a fixed number in flight."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return calls / (time.perf_counter() - began)


def request(number: int) -> ModelRequest:
    """A request that no other one equals."""
    text = f"Message {number}: where is my order KB-{10000 + number}?"
    return ModelRequest(messages=(Message(role="user", content=text),), max_tokens=16)


async def through_ledger(model: Model, calls: int, in_flight: int) -> float:
    """Rate of the whole path: key, cache look-up, budget, limiter, adapter, durable row."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "crito.db")
        meter = Meter(Budget(calls=calls))
        price = Price(0.0, 0.0, 0.0)
        ledger = Ledger(database, run="bench", meter=meter, limiter=Limiter(in_flight), price=lambda _: price)
        # All asked for at once, as the evaluator does: it is the limiter that keeps so many in flight.
        found = await rate(lambda n: ledger.call(model, request(n), role="target"), calls, calls)
        await database.close()
        return found


async def bare_aiohttp(url: str, calls: int, in_flight: int) -> float:
    """Rate of aiohttp alone."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> None:
            payload = {"model": "stub", "messages": [m.model_dump() for m in request(number).messages]}
            async with session.post(f"{url}/v1/chat/completions", json=payload) as answer:
                await answer.json()

        return await rate(call, calls, in_flight)


async def bare_litellm(calls: int, in_flight: int) -> float:
    """Rate of litellm.acompletion alone."""
    import litellm

    async def call(number: int) -> None:
        messages = [m.model_dump() for m in request(number).messages]
        await litellm.acompletion(model="openai/stub", messages=messages, max_tokens=16, num_retries=0, max_retries=0)

    return await rate(call, calls, in_flight)


async def measure(url: str, options: argparse.Namespace) -> dict[str, float]:
    """Medians over the rounds, all clients in turn."""
    os.environ.update(OPENAI_API_BASE=f"{url}/v1", OPENAI_API_KEY="stub", LITELLM_LOCAL_MODEL_COST_MAP="True")
    endpoint, hosted = resolve(f"endpoint/{url}#stub"), resolve("openai/stub")
    found: dict[str, list[float]] = {"aiohttp": [], "endpoint": [], "litellm": [], "ledger_litellm": []}
    await bare_litellm(20, 4)  # imports
    await through_ledger(endpoint, 100, 8)
    few = max(options.calls // 3, options.in_flight)
    for _ in range(options.rounds):
        found["aiohttp"].append(await bare_aiohttp(url, options.calls, options.in_flight))
        found["endpoint"].append(await through_ledger(endpoint, options.calls, options.in_flight))
        found["litellm"].append(await bare_litellm(few, options.in_flight))
        found["ledger_litellm"].append(await through_ledger(hosted, few, options.in_flight))
    await endpoint.aclose()
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = [ours / theirs for ours, theirs in zip(found["ledger_litellm"], found["litellm"], strict=True)]
    return {**medians, "litellm_ratio": statistics.median(ratios)}


def main() -> None:
    """Start the stub, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = Path(__file__).parents[2]
    stub = subprocess.Popen([sys.executable, "-c", STUB], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        url = (stub.stdout.readline() if stub.stdout else "").strip()
        print(json.dumps(asyncio.run(measure(url, options))))
    finally:
        stub.kill()


if __name__ == "__main__":
    main()
