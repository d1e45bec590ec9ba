import asyncio

import pytest

from crito.errors import BudgetExhausted
from crito.task import Budget
from crito.tools import meter as module
from crito.tools.meter import Meter, Spend


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.mark.parametrize(
    ("budget", "amount", "dimension"),
    [
        (Budget(calls=2), Spend(calls=1), "calls"),
        (Budget(tokens=100), Spend(calls=1, tokens=50), "tokens"),
        (Budget(usd=0.5), Spend(calls=1, usd=0.25), "usd"),
    ],
)
async def test_the_third_of_two_that_fit_is_refused(budget: Budget, amount: Spend, dimension: str) -> None:
    meter = Meter(budget)
    for _ in range(2):
        await meter.reserve(amount)
        meter.settle(amount, amount)
    with pytest.raises(BudgetExhausted) as caught:
        await meter.reserve(amount)
    assert caught.value.dimension == dimension


@pytest.mark.parametrize(("taken", "fits"), [(60, False), (20, True)])
async def test_what_fits_but_for_calls_in_flight_waits_for_what_they_take(taken: int, *, fits: bool) -> None:
    meter = Meter(Budget(tokens=100))
    await meter.reserve(Spend(tokens=60))
    waiting = asyncio.ensure_future(meter.reserve(Spend(tokens=60)))
    await asyncio.sleep(0)
    assert not waiting.done()
    meter.settle(Spend(tokens=60), Spend(tokens=taken))
    if fits:
        await waiting
        assert meter.lacking(Spend(tokens=20)) is None
        assert meter.lacking(Spend(tokens=21)) == "tokens"
    else:
        with pytest.raises(BudgetExhausted):
            await waiting


async def test_what_is_lacking_is_what_lacks_without_the_calls_in_flight(clock: Clock) -> None:
    meter = Meter(Budget(tokens=100, seconds=100))
    await meter.reserve(Spend(tokens=80))
    clock.now = 100.0
    with pytest.raises(BudgetExhausted, match="seconds"):
        await meter.reserve(Spend(tokens=50))


async def test_a_refused_reservation_sets_nothing_aside() -> None:
    meter = Meter(Budget(tokens=100))
    with pytest.raises(BudgetExhausted):
        await meter.reserve(Spend(tokens=101))
    await meter.reserve(Spend(tokens=100))


async def test_settling_frees_what_was_reserved_too_much() -> None:
    meter = Meter(Budget(tokens=100))
    await meter.reserve(Spend(tokens=90))
    meter.settle(Spend(tokens=90), Spend(tokens=20))
    await meter.reserve(Spend(tokens=80))
    assert meter.spent == Spend(tokens=20)


async def test_the_verdicts_share_is_kept_from_the_search() -> None:
    meter = Meter(Budget(calls=10), verdict=Spend(calls=4))
    for _ in range(6):
        await meter.reserve(Spend(calls=1))
        meter.settle(Spend(calls=1), Spend(calls=1))
    with pytest.raises(BudgetExhausted):
        await meter.reserve(Spend(calls=1))


async def test_opening_the_verdict_releases_its_share() -> None:
    meter = Meter(Budget(calls=10), spent=Spend(calls=6), verdict=Spend(calls=4))
    meter.open_verdict()
    for _ in range(4):
        await meter.reserve(Spend(calls=1))
        meter.settle(Spend(calls=1), Spend(calls=1))
    with pytest.raises(BudgetExhausted):
        await meter.reserve(Spend(calls=1))


async def test_a_resumed_run_starts_at_what_it_paid_before() -> None:
    meter = Meter(Budget(calls=10), spent=Spend(calls=10))
    with pytest.raises(BudgetExhausted):
        await meter.reserve(Spend(calls=1))


async def test_calls_that_are_left_are_those_that_nothing_is_set_aside_for() -> None:
    meter = Meter(Budget(calls=10), spent=Spend(calls=3), verdict=Spend(calls=4))
    await meter.reserve(Spend(calls=2))
    assert meter.calls_left() == 1
    meter.keep_for_verdict(Spend(calls=9))
    assert meter.calls_left() == 0
    meter.open_verdict()
    assert meter.calls_left() == 5


def test_calls_without_a_limit_never_run_short() -> None:
    assert Meter(Budget(tokens=1), spent=Spend(tokens=1)).calls_left() > 10**9


async def test_every_limit_holds_beside_the_others() -> None:
    meter = Meter(Budget(calls=100, tokens=10))
    with pytest.raises(BudgetExhausted, match="tokens"):
        await meter.reserve(Spend(calls=1, tokens=11))


async def test_without_a_limit_everything_fits() -> None:
    meter = Meter(Budget())
    await meter.reserve(Spend(10**6, 10**9, 1e6))
    assert meter.seconds_left() == float("inf")


async def test_the_search_stops_with_a_quarter_of_the_time_left(clock: Clock) -> None:
    meter = Meter(Budget(seconds=100))
    clock.now = 74.0
    await meter.reserve(Spend(calls=1))
    clock.now = 75.0
    with pytest.raises(BudgetExhausted, match="seconds"):
        await meter.reserve(Spend(calls=1))


async def test_the_verdict_has_the_rest_of_the_time(clock: Clock) -> None:
    meter = Meter(Budget(seconds=100))
    clock.now = 80.0
    meter.open_verdict()
    assert meter.seconds_left() == pytest.approx(20.0)
    await meter.reserve(Spend(calls=1))
    clock.now = 100.0
    with pytest.raises(BudgetExhausted, match="seconds"):
        await meter.reserve(Spend(calls=1))


def test_spends_add_and_subtract_in_every_dimension() -> None:
    assert Spend(1, 2, 3.0) + Spend(4, 5, 6.0) - Spend(1, 1, 1.0) == Spend(4, 6, 8.0)
