"""Structured logs that go through the standard library, so that the host program decides what is shown and where."""

from __future__ import annotations

import logging
from typing import Any

import structlog


def logger(name: str, **bound: str) -> Any:
    """A structlog logger on top of ``logging.getLogger(name)``, with values bound to every line (run, agent)."""
    return structlog.wrap_logger(  # nothing is configured globally: that is the host's to do
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    ).bind(**bound)
