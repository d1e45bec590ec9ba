from collections import Counter
from collections.abc import Sequence

import pytest

from crito.errors import BadInput
from crito.task import Example, Splits, example_id
from crito.tools.splits import join


def rows(number: int, *, labels: Sequence[str] = ("a",), prefix: str = "row") -> list[Example]:
    inputs = [{"text": f"{prefix} {i}"} for i in range(number)]
    return [Example(id=example_id(x), inputs=x, expected=labels[i % len(labels)]) for i, x in enumerate(inputs)]


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.val), len(splits.test)


def test_the_default_is_forty_thirty_thirty() -> None:
    assert sizes(join(rows(100))) == (40, 30, 30)


def test_every_example_is_in_exactly_one_split() -> None:
    splits = join(rows(37, labels="abc"))
    assert sorted(e.id for e in (*splits.train, *splits.val, *splits.test)) == sorted(e.id for e in rows(37))


@pytest.mark.parametrize("number", range(10, 14))
def test_ten_examples_are_enough_for_three_splits(number: int) -> None:
    assert min(sizes(join(rows(number)))) >= 3


def test_the_order_of_the_rows_does_not_matter() -> None:
    examples = rows(50, labels="abc")
    assert join(examples) == join(examples[::-1])


def test_the_seed_decides_the_splits() -> None:
    examples = rows(50)
    assert join(examples, seed=1) == join(examples, seed=1) != join(examples, seed=2)


def test_every_label_is_spread_evenly() -> None:
    splits = join(rows(200, labels="aaab"), seed=3)
    for part, size in zip((splits.train, splits.val, splits.test), (80, 60, 60), strict=True):
        assert abs(Counter(e.expected for e in part)["b"] - size / 4) <= 1


def test_a_label_of_three_rows_is_in_every_split() -> None:
    examples = [*rows(57), *(e.model_copy(update={"expected": "rare"}) for e in rows(3, prefix="rare"))]
    splits = join(examples)
    assert all("rare" in {e.expected for e in part} for part in (splits.train, splits.val, splits.test))


def test_the_first_examples_of_a_split_are_balanced_too() -> None:
    first = join(rows(120, labels="abcd")).val[:8]
    assert set(Counter(e.expected for e in first).values()) == {2}


def test_many_different_answers_are_no_strata() -> None:
    splits = join(rows(210, labels=[str(i) for i in range(21)]))
    assert len({e.expected for e in splits.train[:21]}) < 21


def test_shares_may_be_numbers_of_examples() -> None:
    assert sizes(join(rows(100), shares={"train": 20, "val": 30, "test": 10})) == (20, 30, 10)


def test_a_tiny_share_still_gets_one_example() -> None:
    assert sizes(join(rows(20), shares={"train": 0.98, "val": 0.01, "test": 0.01})) == (18, 1, 1)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.5, "val": 0.3, "test": 0.3}, "the shares add up to 1.1; they must add up to 1"),
        ({"train": 60, "val": 30, "test": 20}, "asks for 110 examples (train 60, val 30, test 20), there are 100"),
        ({"train": 0.5, "val": 30, "test": 20}, "mixes shares and numbers of examples"),
        ({"train": 0.001, "val": 0.5, "test": 0.499}, "leaves nothing for train out of 100 examples"),
    ],
)
def test_shares_that_cannot_be_met_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        join(rows(100), shares=shares)
    assert message in str(caught.value)


def test_fewer_than_ten_examples_are_told_what_works() -> None:
    with pytest.raises(BadInput, match=r"only 7 examples: Crito needs at least 10 .*`crito evaluate`"):
        join(rows(7))


def test_given_splits_keep_their_members_whatever_the_shares() -> None:
    train, val, test = rows(5), rows(4, prefix="val"), rows(3, prefix="test")
    splits = join(train, val, test, shares={"train": 2, "val": 2, "test": 2})
    for kept, given in ((splits.train, train), (splits.val, val), (splits.test, test)):
        assert sorted(e.id for e in kept) == sorted(e.id for e in given)


def test_a_given_split_sorted_by_label_is_mixed() -> None:
    by_label = sorted(rows(40, labels="ab", prefix="val"), key=lambda e: e.expected or "")
    splits = join(rows(10), by_label, rows(10, prefix="test"))
    assert Counter(e.expected for e in splits.val[:10]) == {"a": 5, "b": 5}


def test_a_missing_val_is_carved_out_of_train_in_its_share() -> None:
    splits = join(rows(70, labels="ab"), test=rows(30, prefix="test"))
    assert sizes(splits) == (40, 30, 30)
    assert Counter(e.expected for e in splits.val) == {"a": 15, "b": 15}


def test_a_missing_test_is_carved_out_of_train() -> None:
    assert sizes(join(rows(70), rows(20, prefix="val"))) == (40, 20, 30)


def test_a_row_in_two_splits_is_refused_and_shown() -> None:
    with pytest.raises(BadInput, match=r"in train and in test \(text: 'row 0'\)"):
        join(rows(10), rows(5, prefix="val"), rows(1))
