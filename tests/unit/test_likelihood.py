import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crito.tools import likelihood
from crito.tools.label_tree import START, Beginning, Reading, labels_by_beginning, read
from crito.tools.likelihood import (
    ambiguous,
    answer_calls,
    calibrated,
    calibration,
    decided,
    inseparable,
    worth_asking,
)

LABELS = ("billing", "shipping", "account")
WEIGHTS = st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3)


def logs(**probabilities: float) -> dict[str, float]:
    return {token: math.log(probability) for token, probability in probabilities.items()}


def shares(weights: list[float]) -> dict[str, float]:
    return {label: weight / sum(weights) for label, weight in zip(LABELS, weights, strict=True)}


def label_probabilities(first_token: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """What the first token alone says of the labels."""
    return likelihood.label_probabilities([read(START, first_token, labels)], labels)


# --- tokens that tell labels apart -------------------------------------------------------------------------------


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
        assert {(label,) for label in labels} <= set(labels_by_beginning(labels).values())


@pytest.mark.parametrize(
    ("labels", "calls"),
    [
        (LABELS, 1),
        (("object", "objective"), 2),
        (("10", "12", "3"), 2),
        (("num_date", "num_count", "fact"), 3),
        (("very good", "very bad"), 2),
        ((), 1),
    ],
)
def test_an_answer_takes_a_call_more_for_each_piece_that_labels_share(labels: tuple[str, ...], calls: int) -> None:
    assert answer_calls(labels) == calls


@given(st.lists(st.text("ab1_ ", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=5))
def test_an_answer_takes_one_call_where_no_labels_begin_alike(labels: list[str]) -> None:
    assert (answer_calls(labels) == 1) == (ambiguous(labels) is None)


def test_a_model_that_goes_on_from_a_begun_answer_tells_all_but_equal_labels_apart() -> None:
    assert inseparable(("object", "objective"), prefill=False) == ("object", "objective")
    assert inseparable(("object", "objective"), prefill=True) is None
    assert inseparable(("object", "No", "no "), prefill=True) == ("No", "no ")


# --- the whole answer --------------------------------------------------------------------------------------------


def reading(support: Mapping[str, float], *undecided: Beginning, floor: float = 1e-6) -> Reading:
    return Reading({**dict.fromkeys(LABELS, 0.0), **support}, undecided, floor)


def test_the_paths_of_all_readings_add_up() -> None:
    found = likelihood.label_probabilities(
        [reading({"billing": 0.2}), reading({"billing": 0.1, "account": 0.1})], LABELS
    )
    assert found == pytest.approx({"billing": 0.75, "account": 0.25, "shipping": 2.5e-6}, rel=1e-4)


def test_a_label_without_a_path_gets_the_least_floor() -> None:
    readings = [reading({"billing": 0.2}, floor=0.1), reading({"account": 0.01}, floor=0.005)]
    found = likelihood.label_probabilities(readings, LABELS)
    assert found["shipping"] / found["account"] == pytest.approx(0.5)


def test_a_beginning_is_worth_asking_for_above_five_percent_of_what_may_support_a_label() -> None:
    likely, rare, rest = Beginning("s", 0.0401), Beginning("b", 0.0399), Beginning("a", 0.5)
    first = reading({"billing": 0.22}, likely, rare, rest)  # 5 % of .8
    assert worth_asking([], [first]) == [likely, rest]


def test_what_came_to_nothing_counts_no_more() -> None:
    lost, found = Beginning("s", 0.9), Beginning("sh", 0.001)
    assert worth_asking([reading({}, lost)], [reading({}, found)]) == [found]
    assert worth_asking([reading({"billing": 0.2}, lost)], [reading({}, found)]) == []


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
