"""Running coroutines side by side without leaving any behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_Value = TypeVar("_Value")


async def together(work: Iterable[Coroutine[Any, Any, _Value]]) -> list[_Value]:
    """Run all to their end and give their values in order; then raise the first error, if there was one.

    ``asyncio.gather`` alone raises at the first error while the others run on, and go on paying for calls.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
