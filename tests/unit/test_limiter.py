import asyncio

import pytest

from crito.tools import limiter as module
from crito.tools.limiter import Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


async def peak_of(limiter: Limiter, calls: int) -> int:
    active = peak = 0

    async def one() -> None:
        nonlocal active, peak
        async with limiter:
            active += 1
            peak = max(peak, active)
            await asyncio.sleep(0.001)
            active -= 1

    await asyncio.gather(*(one() for _ in range(calls)))
    return peak


async def test_no_more_than_the_limit_are_in_flight() -> None:
    assert await peak_of(Limiter(3), 20) == 3


async def test_push_back_halves_the_limit(clock: Clock) -> None:
    limiter = Limiter(8)
    limiter.pushed_back()
    assert await peak_of(limiter, 20) == 4


async def test_a_burst_of_push_backs_counts_once(clock: Clock) -> None:
    limiter = Limiter(8)
    for _ in range(8):
        limiter.pushed_back()
    assert limiter.limit == 4


async def test_a_second_push_back_a_second_later_halves_again(clock: Clock) -> None:
    limiter = Limiter(8)
    limiter.pushed_back()
    clock.now += 1.0
    limiter.pushed_back()
    assert limiter.limit == 2


async def test_the_limit_never_falls_below_one(clock: Clock) -> None:
    limiter = Limiter(2)
    for _ in range(5):
        limiter.pushed_back()
        clock.now += 2.0
    assert limiter.limit == 1


async def test_ten_successes_in_a_row_give_one_place_back(clock: Clock) -> None:
    limiter = Limiter(8)
    limiter.pushed_back()
    for _ in range(9):
        limiter.succeeded()
    assert limiter.limit == 4
    limiter.succeeded()
    assert limiter.limit == 5


async def test_push_back_starts_the_row_of_successes_anew(clock: Clock) -> None:
    limiter = Limiter(8)
    limiter.pushed_back()
    for _ in range(9):
        limiter.succeeded()
    limiter.pushed_back()
    limiter.succeeded()
    assert limiter.limit == 4


async def test_the_limit_recovers_to_what_the_user_set_and_not_above(clock: Clock) -> None:
    limiter = Limiter(4)
    limiter.pushed_back()
    for _ in range(200):
        limiter.succeeded()
    assert limiter.limit == 4


async def test_recovery_lets_a_waiting_call_go(clock: Clock) -> None:
    limiter = Limiter(2)
    limiter.pushed_back()
    entered = asyncio.Event()

    async def waits() -> None:
        async with limiter:
            entered.set()

    async with limiter:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        assert not entered.is_set()
        for _ in range(10):
            limiter.succeeded()
        await asyncio.wait_for(entered.wait(), 1)
    await task


async def test_a_cancelled_waiter_takes_no_place() -> None:
    limiter = Limiter(1)

    async def waits() -> None:
        async with limiter:
            pass

    async with limiter:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.wait_for(peak_of(limiter, 3), 1) == 1


async def test_a_waiter_cancelled_with_its_turn_in_hand_passes_it_on() -> None:
    limiter = Limiter(1)

    async def waits() -> None:
        async with limiter:
            pass

    async with limiter:
        first, second = asyncio.create_task(waits()), asyncio.create_task(waits())
        await asyncio.sleep(0)
    first.cancel()  # its turn was given when the block above ended, and it has not run since
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.wait_for(second, 1)
