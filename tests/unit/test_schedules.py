from collections.abc import Mapping, Sequence

import pytest

from crito.graph.schedules import Schedule, block_sizes, cost, dropouts

RIVAL = "rival"


def names(
    schedule: Schedule, rows: Mapping[str, Sequence[float | None]], *, rival: float = 0.5, **given: int
) -> list[str]:
    """Who drops out, against a rival that has this score everywhere."""
    examples = len(next(iter(rows.values())))
    scores: dict[str, Sequence[float | None]] = {**rows, RIVAL: [rival] * examples}
    return list(dropouts(schedule, scores, RIVAL, alpha=0.2, **given))


@pytest.mark.parametrize(
    ("schedule", "sizes"),
    [
        ("full", [20]),
        ("minibatch", [8, 12]),
        ("blocks", [8, 8, 4]),
        ("halving", [8, 8, 4]),
        ("affordable", [8, 8, 4]),
        ("thompson", [8, 8, 4]),
        ("best_probability", [8, 8, 4]),
    ],
)
def test_every_schedule_covers_all_examples_once(schedule: Schedule, sizes: list[int]) -> None:
    assert block_sizes(schedule, 20, 8) == sizes


def test_a_minibatch_as_large_as_the_data_leaves_no_rest() -> None:
    assert block_sizes("minibatch", 6, 8) == [6]
    assert block_sizes("full", 0, 8) == block_sizes("minibatch", 0, 8) == []


@pytest.mark.parametrize(
    ("schedule", "calls"),
    [
        ("full", 5 * 20),
        ("minibatch", 5 * 8 + 12),
        ("blocks", 5 * 20),
        ("halving", 5 * 8 + 3 * 8 + 2 * 4),
        ("affordable", 5 * 8 + 3 * 8 + 2 * 4),
        ("thompson", 5 * 8 + 12),
        ("best_probability", 5 * 20),
    ],
)
def test_the_cost_is_that_of_a_race_in_which_no_test_drops_anybody(schedule: Schedule, calls: int) -> None:
    assert cost(schedule, 5, 20, 8) == calls
    assert cost(schedule, 0, 20, 8) == 0


def test_in_full_nobody_drops_out() -> None:
    assert names("full", {"a": [0.0] * 8}, rival=1.0) == []


def test_who_is_beaten_by_the_rival_drops_out_of_blocks() -> None:
    assert names("blocks", {"a": [0.0] * 8, "b": [1.0] * 8}, rival=1.0) == ["a"]


def test_the_rival_never_drops_out() -> None:
    for schedule in ("blocks", "halving", "affordable", "best_probability"):
        assert RIVAL not in names(schedule, {"a": [1.0] * 8}, rival=0.0)


def test_halving_drops_the_lower_half_where_no_test_decides() -> None:
    rows: dict[str, Sequence[float | None]] = {
        n: [s, *[0.5] * 7] for n, s in zip("abcd", (0.1, 0.4, 0.3, 0.2), strict=True)
    }
    assert names("halving", rows) == ["d", "a"]


def test_ties_with_the_last_place_stay_up_to_half_as_many_again() -> None:
    rows: dict[str, Sequence[float | None]] = {n: [0.5] * 8 for n in "abcdefgh"}
    assert names("halving", rows) == ["g", "h"]
    assert names("halving", rows, room=5) == ["f", "g", "h"]
    assert names("halving", rows, room=1) == ["e", "f", "g", "h"]


def test_a_tie_below_the_last_place_is_no_reason_to_stay() -> None:
    rows: dict[str, Sequence[float | None]] = {
        "a": [0.7] + [0.5] * 7,
        "b": [0.6] + [0.5] * 7,
        "c": [0.5] * 8,
        "d": [0.5] * 8,
    }
    assert names("halving", rows) == ["c", "d"]


CLOSE: Mapping[str, Sequence[float | None]] = {
    name: [share, *[0.5] * 7] for name, share in zip("abcde", (0.1, 0.4, 0.3, 0.2, 0.35), strict=True)
}
"""Contenders that no test tells apart; ranked they are b, e, c, d, a."""


@pytest.mark.parametrize(
    ("room", "out"),
    [
        (9, []),
        (5, []),
        (4, ["a"]),
        (3, ["d", "a"]),
        (2, ["d", "a"]),
        (0, ["d", "a"]),
    ],
)
def test_who_can_be_afforded_stays_and_the_better_half_in_any_case(room: int, out: list[str]) -> None:
    assert names("affordable", CLOSE, room=room) == out


def test_without_a_limit_everybody_can_be_afforded() -> None:
    assert names("affordable", CLOSE) == []


def test_who_is_beaten_drops_out_however_many_can_be_afforded() -> None:
    assert names("affordable", {"a": [0.0] * 8, "b": [1.0] * 8, "c": [0.9] * 8}, room=9) == ["a", "c"]


def test_who_is_beaten_takes_no_place_of_those_that_can_be_afforded() -> None:
    rows: dict[str, Sequence[float | None]] = {"beaten": [0.0] * 8, **CLOSE}
    assert names("affordable", rows, room=4) == ["beaten", "a"]


def test_a_failed_call_is_no_zero() -> None:
    rows: dict[str, Sequence[float | None]] = {"a": [None, *[0.5] * 7], "b": [0.4, *[0.5] * 7]}
    assert names("halving", rows) == ["b"]


def test_the_first_of_equals_wins_the_minibatch() -> None:
    assert names("minibatch", {"a": [0.0] * 4, "b": [1.0] * 4, "c": [1.0] * 4}) == ["c", "a"]


def test_the_probability_of_being_best_is_not_trusted_before_six_examples() -> None:
    assert names("best_probability", {"a": [1.0] * 5, "b": [0.0] * 5}) == []
    assert names("best_probability", {"a": [1.0] * 6, "b": [0.0] * 6}) == ["b"]


def test_equal_contenders_are_all_as_likely_the_best() -> None:
    assert names("best_probability", {f"c{n}": [1.0, 0.0] * 4 for n in range(40)}) == []


def test_thompson_drops_nobody_by_rule() -> None:
    assert names("thompson", {"a": [0.0] * 8}, rival=1.0) == []


SILENT: Mapping[str, Sequence[float | None]] = {"good": [1.0] * 8, "mute": [None] * 8, "bad": [0.0] * 8}


@pytest.mark.parametrize("schedule", ["blocks", "halving", "affordable", "minibatch", "best_probability"])
def test_who_answered_nothing_drops_out_and_does_not_blind_the_comparison_of_the_others(schedule: Schedule) -> None:
    scores = {**SILENT, RIVAL: [0.5] * 8}
    out = dropouts(schedule, scores, RIVAL, alpha=0.2)
    heard = {name: row for name, row in scores.items() if name != "mute"}
    assert list(out) == ["mute", "bad"]
    assert out == {"mute": "answered none of 8 examples", **dropouts(schedule, heard, RIVAL, alpha=0.2)}


def test_where_nobody_answered_everybody_drops_out() -> None:
    assert names("minibatch", {"a": [None] * 4, "b": [None] * 4}) == ["a", "b"]
