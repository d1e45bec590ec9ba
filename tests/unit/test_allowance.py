import pytest

from crito.graph.allowance import answers_left, as_state, verdict_reserve
from crito.task import Budget
from crito.tools.meter import Spend

SPENT = {"calls": 10.0, "tokens": 1000.0, "usd": 0.5}


@pytest.mark.parametrize(
    ("budget", "verdict", "left"),
    [
        (Budget(calls=100), Spend(), 90),
        (Budget(calls=100), Spend(calls=24), 66),
        (Budget(calls=20), Spend(calls=24), 0),
        (Budget(tokens=5000), Spend(calls=10, tokens=1000), 30),  # 100 tokens a call
        (Budget(tokens=5000), Spend(calls=5, tokens=1000), 15),  # the verdict reckons with 200
        (Budget(usd=2.0), Spend(calls=10, usd=0.5), 20),  # 5 cents a call
        (Budget(calls=100, tokens=2000), Spend(), 10),  # the tightest counts
    ],
)
def test_calls_left_after_the_verdicts_part(budget: Budget, verdict: Spend, left: int) -> None:
    assert answers_left(budget, SPENT, verdict) == left


def test_free_calls_are_limited_by_nothing_but_their_number() -> None:
    assert answers_left(Budget(calls=50, usd=1.0), {"calls": 10.0, "tokens": 0.0, "usd": 0.0}, Spend()) == 40


def test_a_run_that_has_paid_nothing_can_still_be_told() -> None:
    assert answers_left(Budget(calls=50), as_state(Spend()), Spend()) == 50


def test_the_verdict_keeps_what_its_answers_were_measured_to_take() -> None:
    planned = Spend(40, 1000, 2.0)
    assert verdict_reserve(planned, 20, 10.0) == planned
    assert verdict_reserve(planned, 40, 50.0) == Spend(40, 2300, 4.6)
