from typing import Any

import pytest

from crito.memory.signature import Signature, Signatures, kind_of, signature_of
from tests.builders import make_example, make_task

BASE: dict[str, Any] = {
    "kind": "classification",
    "metric": "label",
    "labels": 4,
    "input_words": 9.0,
    "language": "en",
}


def likeness(**changed: Any) -> float:
    return float(Signatures([Signature(**BASE)]).likeness(Signature(**{**BASE, **changed}))[0])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 1.0),
        ({"kind": "rewriting"}, 0.6),
        ({"metric": "exact_match"}, 0.85),
        ({"language": "de"}, 0.9),
        ({"labels": 9}, 0.9),  # 5 to 10, one added to each
        ({"input_words": 4.0}, 0.925),
        ({"kind": "rewriting", "metric": "exact_match", "language": "de", "labels": 0}, 0.15 + 0.2 / 5),
    ],
)
def test_likeness_weighs_what_tasks_have_in_common(changed: dict[str, Any], expected: float) -> None:
    assert likeness(**changed) == pytest.approx(expected)


def test_a_signature_is_read_off_the_task_and_holds_no_text_of_it() -> None:
    texts = ("Meine Rechnung ist falsch, bitte um Korrektur.", "Das Paket ist noch nicht angekommen.")
    train = tuple(make_example(text, "billing") for text in texts)
    signature = signature_of(make_task(train=train, labels=("billing", "shipping"), metric="label"))
    assert signature == Signature(kind="classification", metric="label", labels=2, input_words=6.5, language="de")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"labels": ("a", "b"), "metric": "label"}, "classification"),
        ({"reasoning": True}, "reasoning"),
        ({"train": (make_example("order 7 of two lamps", "two lamps"),)}, "extraction"),
        ({"train": (make_example("cat", "cats are"),)}, "rewriting"),
        ({"train": (make_example("cat", "x " * 60),)}, "generation"),
    ],
)
def test_the_kind_follows_from_the_examples(fields: dict[str, Any], kind: str) -> None:
    assert kind_of(make_task(**fields)) == kind


def test_what_a_metric_is_given_is_no_part_of_the_signature() -> None:
    assert signature_of(make_task(metric="judge:polite, and never names our customer")).metric == "judge"
