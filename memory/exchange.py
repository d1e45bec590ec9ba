"""Records of a memory as lines of JSON, to be carried from one to another."""

from __future__ import annotations

import json

from pydantic import TypeAdapter, ValidationError

from crito.memory.lessons import Observation
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import ProvenPrompt, Trial
from crito.memory.record import Record

_KINDS: dict[str, type[Record]] = {
    "observation": Observation,
    "operators": OperatorUse,
    "prompt": ProvenPrompt,
    "trial": Trial,
}
_OBJECT = TypeAdapter(dict[str, object])


def line_of(record: Record) -> str:
    """A record on one line, its kind first."""
    kind = next(name for name, made in _KINDS.items() if isinstance(record, made))
    return json.dumps({"record": kind, **record.model_dump(mode="json")}, ensure_ascii=False)


def record_of(line: str) -> Record:
    """The record of a line.

    Raises:
        ValueError: It is none, in words for whoever wrote the line.
    """
    try:
        given = _OBJECT.validate_json(line)
        kind = _KINDS.get(str(given.pop("record", None)))
        if kind is None:
            raise ValueError(f"record: must be one of {', '.join(_KINDS)}")
        return kind.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {said}" if where else said) from None
