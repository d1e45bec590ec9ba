import math
from collections.abc import Mapping

import pytest

from crito.tools.label_tree import START, Beginning, Reading, labels_by_beginning, read

KINDS = ("num_date", "num_count", "object", "objective")


def logs(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {token: math.log(probability) for token, probability in probabilities.items()}


def reading(begun: Beginning, tokens: Mapping[str, float], labels: tuple[str, ...] = KINDS) -> Reading:
    return read(begun, logs(tokens), labels)


def supported(begun: str, token: str, labels: tuple[str, ...] = KINDS) -> list[str]:
    """The labels that a token supports after a begun answer."""
    found = reading(Beginning(begun, 0.5), {token: 0.5, "zz": 0.1}, labels).support
    return [label for label, share in found.items() if share == pytest.approx(0.25)]


def test_every_beginning_names_the_labels_that_have_it() -> None:
    yes, no = ("yes",), ("No",)
    assert labels_by_beginning(["yes", "No"]) == {"y": yes, "ye": yes, "yes": yes, "n": no, "no": no}


def test_a_beginning_of_two_labels_names_both() -> None:
    found = labels_by_beginning(["spam", "sport"])
    assert {text for text, labels in found.items() if len(labels) == 1} == {"spa", "spam", "spo", "spor", "sport"}
    assert found["sp"] == ("spam", "sport")


def test_a_token_that_begins_several_labels_is_undecided_and_keeps_its_spelling() -> None:
    found = reading(START, {" Num": 0.5, "obj": 0.2, "objecti": 0.1, "the": 0.05})
    assert dict(found.undecided) == pytest.approx({" Num": 0.5, "obj": 0.2})
    assert found.support == pytest.approx({"num_date": 0, "num_count": 0, "object": 0, "objective": 0.1})


def test_a_paths_probability_is_the_product_of_its_tokens() -> None:
    found = reading(Beginning("num", 0.5), {"_date": 0.4, "_c": 0.2, "_": 0.1})
    assert found.support == pytest.approx({"num_date": 0.2, "num_count": 0.1, "object": 0, "objective": 0})
    assert dict(found.undecided) == pytest.approx({"num_": 0.05})


@pytest.mark.parametrize("token", ["", " ", "\n", ".", " because", ", as"])
def test_a_label_that_another_goes_on_from_is_supported_by_the_end_of_the_answer(token: str) -> None:
    assert supported(" Object", token) == ["object"]


@pytest.mark.parametrize("token", ["ion", "_type", "7", "IVES"])
def test_another_word_is_no_label(token: str) -> None:
    assert supported("object", token) == []


def test_what_goes_on_to_a_longer_label_is_not_the_end_of_a_shorter_one() -> None:
    assert supported("object", "IVE") == ["objective"]
    assert supported("very", " good", ("very", "very good")) == ["very good"]


@pytest.mark.parametrize("token", ["", " ", "."])
def test_the_end_of_what_is_no_label_supports_none(token: str) -> None:
    assert supported("num", token) == []
    assert supported("", token) == []


def test_the_floor_is_below_every_path_and_what_the_listed_tokens_leave() -> None:
    assert reading(Beginning("num", 0.5), {"_date": 0.6, "_c": 0.3}).floor == pytest.approx(0.5 * 0.1 / 2)
    assert reading(Beginning("num", 0.5), {"_date": 0.6, "_c": 0.04}).floor == pytest.approx(0.5 * 0.04 / 2)
