"""JSON as models write it: repaired where that is possible."""

from __future__ import annotations

from typing import Any

import json_repair


def loose_json(text: str) -> Any:
    """The value that a text holds, with what is commonly wrong in it mended.

    Raises:
        ValueError: It is nested deeper than can be read.
    """
    try:
        return json_repair.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
