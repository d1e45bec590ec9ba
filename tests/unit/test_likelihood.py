import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crito.tools.likelihood import (
    ambiguous,
    calibrated,
    calibration,
    decided,
    label_probabilities,
    label_tokens,
)

LABELS = ("billing", "shipping", "account")
WEIGHTS = st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3)


def logs(**probabilities: float) -> dict[str, float]:
    return {token: math.log(probability) for token, probability in probabilities.items()}


def shares(weights: list[float]) -> dict[str, float]:
    return {label: weight / sum(weights) for label, weight in zip(LABELS, weights, strict=True)}


# --- tokens that tell labels apart -------------------------------------------------------------------------------


def test_every_beginning_of_its_own_stands_for_a_label() -> None:
    assert label_tokens(["yes", "No"]) == {"y": "yes", "ye": "yes", "yes": "yes", "n": "No", "no": "No"}


def test_a_beginning_of_two_labels_stands_for_neither() -> None:
    assert label_tokens(["spam", "sport"]).keys() == {"spa", "spam", "spo", "spor", "sport"}


@pytest.mark.parametrize("token", ["billing", " billing", "Bill", " BILL", "b", "bill\n"])
def test_a_token_supports_the_label_that_begins_with_it(token: str) -> None:
    assert decided(label_probabilities({"the": -0.1, token: -3.0, "x": -9.0}, LABELS)) == "billing"


@pytest.mark.parametrize("token", ["", " ", "billings", "ill", "team", '"billing'])
def test_any_other_token_supports_no_label(token: str) -> None:
    assert set(label_probabilities({token: -0.1, "x": -9.0}, LABELS).values()) == {1 / 3}


def test_a_token_that_begins_two_labels_supports_neither() -> None:
    found = label_probabilities(logs(s=0.6, sp=0.2, spa=0.1, spo=0.05), ["spam", "sport"])
    assert found == pytest.approx({"spam": 2 / 3, "sport": 1 / 3})


# --- probabilities -----------------------------------------------------------------------------------------------


def test_the_tokens_of_a_label_add_up() -> None:
    first = {" billing": math.log(0.3), "Bill": math.log(0.1), "ship": math.log(0.2), "acc": math.log(0.2)}
    assert label_probabilities(first, LABELS) == pytest.approx({"billing": 0.5, "shipping": 0.25, "account": 0.25})


@pytest.mark.parametrize(("other", "floor"), [(0.2, 0.05), (0.25, 0.025)])
def test_a_label_that_was_not_seen_gets_half_of_the_least_that_was_or_of_what_is_left(
    other: float, floor: float
) -> None:
    found = label_probabilities(logs(bill=0.6, ship=other, the=0.1), LABELS)
    assert found["account"] / found["billing"] == pytest.approx(floor / 0.6)


def test_a_label_seen_as_the_rarest_token_is_likelier_than_one_that_was_not_seen() -> None:
    found = label_probabilities(logs(the=0.6, bill=0.01), LABELS)
    assert found["billing"] > found["shipping"] == found["account"]


def test_labels_are_equally_likely_where_nothing_was_seen() -> None:
    assert label_probabilities({}, LABELS) == pytest.approx(dict.fromkeys(LABELS, 1 / 3))


def test_no_label_is_impossible() -> None:
    found = label_probabilities({"bill": -0.1, "ship": -9999.0}, LABELS)
    assert 0 < found["account"] < found["shipping"] < 1e-8


@given(st.dictionaries(st.sampled_from([" bill", "Ship", "acc", "s", "the", "", "\x00"]), st.floats(-1e4, 0.0)))
def test_probabilities_are_positive_and_add_up_to_one(first: dict[str, float]) -> None:
    found = label_probabilities(first, LABELS)
    assert tuple(found) == LABELS
    assert min(found.values()) > 0
    assert sum(found.values()) == pytest.approx(1.0)


# --- labels that begin alike -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (("ok", "num_date", "num_count"), ("num_date", "num_count")),
        (("objective", "object", "fact"), ("objective", "object")),
        (("very good", "very bad"), ("very good", "very bad")),
        (("1", "2", "10"), ("1", "10")),
        (("12", "10"), ("12", "10")),
        (("-1", "-2", "0"), ("-1", "-2")),
        (("No", "no"), ("No", "no")),
        (("yes", "yes"), ("yes", "yes")),
    ],
)
def test_labels_that_begin_alike_are_named(labels: tuple[str, ...], alike: tuple[str, ...]) -> None:
    assert ambiguous(labels) == alike


@pytest.mark.parametrize(
    "labels",
    [LABELS, ("subjective", "sport"), ("unfair", "unkind"), ("0", "1", "-1"), ("1 star", "2 stars"), ("+", "-")],
)
def test_labels_that_some_first_token_tells_apart_are_fine(labels: tuple[str, ...]) -> None:
    assert ambiguous(labels) is None


@given(st.lists(st.text("ab1_ ", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=5))
def test_labels_that_are_fine_have_tokens_of_their_own(labels: list[str]) -> None:
    if ambiguous(labels) is None:
        assert set(label_tokens(labels).values()) == set(labels)


# --- calibration -------------------------------------------------------------------------------------------------


def test_calibration_is_the_mean_over_inputs() -> None:
    assert calibration([{"a": 0.9, "b": 0.1}, {"a": 0.6, "b": 0.4}]) == pytest.approx({"a": 0.75, "b": 0.25})


def test_a_calibrated_label_is_divided_by_what_the_model_is_prone_to_say() -> None:
    # .6/.75 = .8 and .4/.25 = 1.6
    found = calibrated({"a": 0.6, "b": 0.4}, {"a": 0.75, "b": 0.25})
    assert found == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert decided(found) == "b"


@given(WEIGHTS)
def test_an_even_marginal_changes_nothing(weights: list[float]) -> None:
    even = dict.fromkeys(LABELS, 1 / 3)
    assert calibrated(shares(weights), even) == pytest.approx(shares(weights))


@given(WEIGHTS)
def test_an_input_like_all_others_is_told_nothing_of(weights: list[float]) -> None:
    same = shares(weights)
    assert calibrated(same, calibration([same, same])) == pytest.approx(dict.fromkeys(LABELS, 1 / 3))


def test_of_equally_likely_labels_the_first_is_decided() -> None:
    assert decided({"a": 0.2, "b": 0.4, "c": 0.4}) == "b"
