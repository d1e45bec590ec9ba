import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crito.errors import BadInput
from crito.prompt import Message
from crito.protocols import ModelRequest
from crito.task import Budget
from crito.tools.database import Database, calls, spans
from crito.tools.ledger import Ledger
from crito.tools.limiter import Limiter
from crito.tools.meter import Meter
from crito.tools.scripted_model import ScriptedModel
from crito.tools.telemetry import Tracer, current_span


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "crito.db")
    yield opened
    await opened.close()


async def spans_of(database: Database) -> dict[str, Any]:
    """Rows by span name, once they are written."""
    if database._writer is not None:
        await database._writer
    return {row.name: row for row in database.read(sa.select(spans))}


async def test_a_span_is_named_by_its_operation_and_what_is_run(database: Database) -> None:
    with Tracer(database, "r").span("invoke_agent", "critic", round=2, candidate="abc"):
        pass
    row = (await spans_of(database))["invoke_agent critic"]
    assert row.run == "r"
    assert row.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "crito.round": 2,
        "crito.candidate": "abc",
    }
    assert row.started <= row.ended


async def test_nested_spans_are_children(database: Database) -> None:
    tracer = Tracer(database, "r")
    with tracer.span("invoke_workflow", "toy"), tracer.span("plan", "planner"), tracer.span("invoke_agent", "critic"):
        pass
    found = await spans_of(database)
    assert found["invoke_workflow toy"].parent is None
    assert found["plan planner"].parent == found["invoke_workflow toy"].id
    assert found["invoke_agent critic"].parent == found["plan planner"].id


async def test_spans_of_parallel_tasks_keep_their_own_parents(database: Database) -> None:
    tracer = Tracer(database, "r")

    async def work(name: str) -> None:
        with tracer.span("invoke_agent", name):
            await asyncio.sleep(0)
            with tracer.span("execute_tool", name):
                await asyncio.sleep(0)

    with tracer.span("invoke_workflow", "toy"):
        await asyncio.gather(work("a"), work("b"))
    found = await spans_of(database)
    for name in ("a", "b"):
        assert found[f"invoke_agent {name}"].parent == found["invoke_workflow toy"].id
        assert found[f"execute_tool {name}"].parent == found[f"invoke_agent {name}"].id


async def test_attributes_set_on_the_way_are_stored(database: Database) -> None:
    with Tracer(database, "r").span("execute_tool", "race") as span:
        span.set_attribute("crito.finished", ["a", "b"])
    assert (await spans_of(database))["execute_tool race"].attributes["crito.finished"] == ["a", "b"]


async def test_a_span_ends_where_an_error_leaves_it(database: Database) -> None:
    def fail() -> None:
        with Tracer(database, "r").span("execute_tool", "race"):
            raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        fail()
    assert "execute_tool race" in await spans_of(database)


async def test_a_call_carries_the_id_of_its_span(database: Database) -> None:
    ledger = Ledger(database, run="r", meter=Meter(Budget()), limiter=Limiter(4), price=lambda name: None)
    request = ModelRequest(messages=(Message(role="user", content="hi"),))
    with Tracer(database, "r").span("invoke_agent", "critic"):
        await ledger.call(ScriptedModel(["yes"]), request, role="critic")
    found = await spans_of(database)
    assert database.read(sa.select(calls.c.span)) == [(found["invoke_agent critic"].id,)]


async def test_outside_of_spans_there_is_none() -> None:
    assert current_span() is None


async def test_an_endpoint_without_its_exporter_is_bad_input(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(BadInput, match=r'pip install "crito\[otlp\]"'):
        Tracer(database, "r")
