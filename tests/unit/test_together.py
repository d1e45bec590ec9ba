from __future__ import annotations

import asyncio

import pytest

from crito.tools.together import together


async def after(turns: int, done: list[int], error: Exception | None = None) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    done.append(turns)
    if error is not None:
        raise error
    return turns


async def test_values_come_in_the_order_of_the_work() -> None:
    assert await together(after(n, []) for n in (3, 1, 2)) == [3, 1, 2]


async def test_an_error_is_raised_only_when_nothing_runs_any_more() -> None:
    done: list[int] = []
    with pytest.raises(KeyError, match="first"):
        await together([after(1, done, KeyError("first")), after(5, done), after(3, done, ValueError("later"))])
    assert sorted(done) == [1, 3, 5]
