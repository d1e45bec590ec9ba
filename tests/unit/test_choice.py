import pytest

from crito.graph.choice import chosen
from tests.builders import make_examples, make_task


@pytest.mark.parametrize(
    ("calls", "train", "name", "reason"),
    [
        (399, 10, "lean", "about 399 calls are too few"),
        (400, 9, "lean", "9 training examples are too few"),
        (400, 10, "default", "about 400 calls and 10 training examples reach for all its stages"),
    ],
)
def test_calls_and_examples_choose_the_preset_which_is_said_in_a_line(
    calls: int, train: int, name: str, reason: str
) -> None:
    settings, why = chosen(make_task(train=make_examples(train, "train"), metric="exact_match"), calls)
    assert settings.name == name
    assert why.startswith(f"preset {name}: ")
    assert f"; {reason}" in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("answered", "labels", "kind"),
    [
        (True, ("billing", "support"), "2 labels;"),
        (True, (), "free-text answers;"),
        (False, (), "no right answers, so only the model's own with full marks can be shown;"),
        (False, ("billing", "support"), "no right answers"),
    ],
)
@pytest.mark.parametrize(("calls", "train"), [(100, 12), (900, 3), (900, 12)])
def test_the_line_says_what_kind_of_labels_there_are(
    answered: bool, labels: tuple[str, ...], kind: str, calls: int, train: int
) -> None:
    examples = make_examples(train, "train")
    shown = examples if answered else tuple(e.model_copy(update={"expected": None}) for e in examples)
    settings, why = chosen(make_task(train=shown, labels=labels), calls)
    assert why.startswith(f"preset {settings.name}: {kind}")


@pytest.mark.parametrize("metric", ["judge", "judge:Is polite."])
def test_a_judge_takes_half_of_the_calls(metric: str) -> None:
    task = make_task(train=make_examples(12, "train"), metric=metric)
    few, enough = chosen(task, 799), chosen(task, 800)
    assert (few[0].name, enough[0].name) == ("lean", "default")
    assert "about 799 calls, half of them to judge, are too few" in few[1]
