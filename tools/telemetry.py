"""OpenTelemetry spans for run, round and agent, kept in the run database and exported over OTLP if asked.

Names follow OpenTelemetry's GenAI conventions (``gen_ai.operation.name`` and friends). The call level is the ledger's:
a row per call, which carries the id of the span it was made in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from crito.errors import BadInput
from crito.tools.database import Database, spans

_NANO = 1e9


class DatabaseExporter(SpanExporter):
    """Writes finished spans as rows of one run."""

    def __init__(self, database: Database, run: str) -> None:
        self._database = database
        self._run = run

    def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        """Queue the spans for the database's next batch."""
        for span in batch:
            self._database.write_soon(spans, self._row(span))
        return SpanExportResult.SUCCESS

    def _row(self, span: ReadableSpan) -> dict[str, Any]:
        return {
            "id": _hex(span.context.span_id) if span.context else "",
            "run": self._run,
            "parent": _hex(span.parent.span_id) if span.parent else None,
            "name": span.name,
            "started": (span.start_time or 0) / _NANO,
            "ended": (span.end_time or 0) / _NANO,
            "attributes": dict(span.attributes or {}),
        }


class Tracer:
    """Opens spans for one run.

    With ``OTEL_EXPORTER_OTLP_ENDPOINT`` set, the same spans go there too (extra ``otlp``).

    Raises:
        BadInput: The endpoint is set, but the exporter is not installed.
    """

    def __init__(self, database: Database, run: str) -> None:
        self._provider = TracerProvider(resource=Resource({"service.name": "crito", "crito.run": run}))
        self._provider.add_span_processor(SimpleSpanProcessor(DatabaseExporter(database, run)))
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            self._provider.add_span_processor(_otlp())
        self._tracer = self._provider.get_tracer("crito")

    @contextmanager
    def span(self, operation: str, name: str, **attributes: str | int | float | bool) -> Iterator[trace.Span]:
        """A span named ``{operation} {name}``; nested spans become its children.

        Args:
            operation: GenAI operation: ``invoke_workflow``, ``invoke_agent``, ``plan``, ``execute_tool``.
            name: What is being run.
            attributes: Attributes, prefixed with ``crito.`` when stored.
        """
        values = {"gen_ai.operation.name": operation, **{f"crito.{k}": v for k, v in attributes.items()}}
        with self._tracer.start_as_current_span(f"{operation} {name}", attributes=values) as span:
            yield span

    def shutdown(self) -> None:
        """Flush exporters."""
        self._provider.shutdown()


def current_span() -> str | None:
    """Id of the span that the caller runs in, or None."""
    context = trace.get_current_span().get_span_context()
    return _hex(context.span_id) if context.is_valid else None


def _hex(span_id: int) -> str:
    return f"{span_id:016x}"


def _otlp() -> SimpleSpanProcessor:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise BadInput(
            'OTEL_EXPORTER_OTLP_ENDPOINT is set: install the exporter with pip install "crito[otlp]"'
        ) from error
    return SimpleSpanProcessor(OTLPSpanExporter())
