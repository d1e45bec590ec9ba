"""What a run paid for: its calls, read from its database, each with the span that it was made in."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from crito.records import Outcome
from crito.tools.database import Database, calls, outcomes, spans


class Call(BaseModel):
    """One paid model call.

    Attributes:
        status: ``ok``, ``failed``, or ``double`` when another run paid for the same reply at the same moment.
        span: Id of the span that it was made in; ``operation`` is that span's name, empty where it never ended.
        round: The round it belongs to; None for the verdict and for spans that never ended.
        candidate: Id of the candidate that it answered for.
        request: What was sent, defaults left out.
        cached: Input tokens that the provider read from its cache.
        usd: US dollars, or None where the price is not known.
        started: Seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)
    id: int
    role: str
    model: str
    status: str
    span: str | None
    operation: str
    round: int | None
    candidate: str | None
    request: dict[str, Any]
    reply: str | None
    error: str | None
    tokens_in: int
    tokens_out: int
    cached: int
    usd: float | None
    started: float
    seconds: float
    attempts: int

    @property
    def failed(self) -> bool:
        """Whether it ended without a reply."""
        return self.status == "failed"


class Cost(BaseModel):
    """What some calls took together; ``seconds`` adds up calls that may have run side by side."""

    model_config = ConfigDict(frozen=True)
    calls: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0


class Span(NamedTuple):
    """One ended span of a run."""

    id: str
    parent: str | None
    name: str
    attributes: dict[str, Any]


def read_calls(database: Database, run: str) -> tuple[Call, ...]:
    """Every paid call of a run, in the order they began."""
    known = {span.id: span for span in read_spans(database, run)}
    owners = {key: outcome.candidate for outcome in read_outcomes(database, run) for key in outcome.call_keys}
    rows = database.read(sa.select(calls).where(calls.c.run == run).order_by(calls.c.started, calls.c.id))
    return tuple(
        Call(
            **{name: getattr(row, name) for name in Call.model_fields if name in calls.c and name != "request"},
            request=json.loads(row.request),
            operation=known[row.span].name if row.span in known else "",
            round=_round_of(row.span, known),
            candidate=owners.get(row.key),
        )
        for row in rows
    )


def by_role(paid: Iterable[Call]) -> dict[str, Cost]:
    """What calls cost, by role; the target first, then the agents by name."""
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in paid:
        groups[call.role].append(call)
    return {role: cost_of(groups[role]) for role in sorted(groups, key=lambda role: (role != "target", role))}


def cost_of(paid: Sequence[Call]) -> Cost:
    """What calls cost together."""
    known = [call.usd for call in paid if call.usd is not None]
    return Cost(
        calls=len(paid),
        failed=sum(call.failed for call in paid),
        tokens_in=sum(call.tokens_in for call in paid),
        tokens_out=sum(call.tokens_out for call in paid),
        cached=sum(call.cached for call in paid),
        usd=sum(known) if len(known) == len(paid) else None,
        seconds=sum(call.seconds for call in paid),
    )


def read_spans(database: Database, run: str) -> list[Span]:
    """The spans of a run that ended, in the order they began."""
    query = sa.select(spans.c.id, spans.c.parent, spans.c.name, spans.c.attributes)
    rows = database.read(query.where(spans.c.run == run).order_by(spans.c.started))
    return [Span(row.id, row.parent, row.name, row.attributes) for row in rows]


def read_outcomes(database: Database, run: str) -> list[Outcome]:
    """What came of every candidate of a run on every example that it tried."""
    rows = database.read(sa.select(outcomes.c.body).where(outcomes.c.run == run))
    return [Outcome.model_validate_json(row.body) for row in rows]


def _round_of(span: str | None, known: Mapping[str, Span]) -> int | None:
    """The round that the nearest enclosing span names."""
    while span is not None and span in known:
        number = known[span].attributes.get("crito.round")
        if number is not None:
            return int(number)
        span = known[span].parent
    return None
