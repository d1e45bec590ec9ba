import pytest
from pydantic import ValidationError

from crito.memory.operator_use import OperatorUse, added, priors
from tests.unit.test_lessons import OTHER, TASK


def use(run: str, won: float, lost: float, **fields: object) -> OperatorUse:
    given = {"run": run, "signature": TASK, "model": "m", "arms": {"restyle": (won, lost)}, "seen": 1.0}
    return OperatorUse.model_validate({**given, **fields})


def test_steps_of_like_runs_add_up() -> None:
    assert priors([use("a", 1.0, 0.5), use("b", 0.5, 1.0)], TASK, "m", now=1.0)["restyle"] == pytest.approx((1.5, 1.5))


def test_they_never_weigh_more_than_six_steps() -> None:
    won, lost = priors([use(str(n), 3.0, 1.0) for n in range(20)], TASK, "m", now=1.0)["restyle"]
    assert (won, lost) == pytest.approx((4.5, 1.5))


def test_other_models_and_other_tasks_weigh_less() -> None:
    assert priors([use("a", 2.0, 2.0)], TASK, "other", now=1.0)["restyle"] == pytest.approx((1.0, 1.0))
    assert sum(priors([use("a", 2.0, 2.0, signature=OTHER)], TASK, "m", now=1.0)["restyle"]) < 0.3


def test_a_model_is_known_whatever_key_its_address_holds() -> None:
    seen = use("a", 1.0, 0.5, model="endpoint/http://me:old@host/v1#m")
    assert priors([seen], TASK, "endpoint/http://me:new@host/v1#m", now=1.0) == priors(
        [use("a", 1.0, 0.5)], TASK, "m", now=1.0
    )


def test_nothing_is_known_without_earlier_runs() -> None:
    assert priors([], TASK, "m", now=1.0) == {}


def test_what_they_know_is_added_to_the_priors_of_operators_that_there_are() -> None:
    assert added({"restyle": (2.0, 8.0), "merge": (1.0, 9.0)}, {"restyle": (0.25, 1.0), "gone": (9.0, 0.0)}) == {
        "restyle": [2.25, 9.0]
    }


@pytest.mark.parametrize("arm", [(-50.0, 1.0), (1.0, -0.5), (1e308, 1.0)])
def test_what_cannot_have_been_earned_is_refused(arm: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="arms"):
        use("a", *arm)


def test_what_they_know_fades() -> None:
    old = priors([use("a", 2.0, 2.0)], TASK, "m", now=1.0 + 90 * 86_400)
    assert old["restyle"] == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("prior", "earned", "held"),
    [
        ((1.0, 9.0), (6.0, 0.0), (1.25, 9.0)),
        ((6.0, 6.0), (0.0, 6.0), (6.0, 7.5)),
        ((6.0, 6.0), (0.0, 0.9), (6.0, 6.9)),
        ((2.0, 8.0), (1.0, 4.5), (3.0, 12.5)),
        ((6.0, 6.0), (3.0, 3.0), (9.0, 9.0)),
        ((1.0, 9.0), (0.0, 0.0), (1.0, 9.0)),
    ],
)
def test_earlier_runs_move_an_operators_odds_by_a_quarter_at_most(
    prior: tuple[float, float], earned: tuple[float, float], held: tuple[float, float]
) -> None:
    assert added({"x": prior}, {"x": earned})["x"] == pytest.approx(held)
