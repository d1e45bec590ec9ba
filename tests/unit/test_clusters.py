import pytest

from crito.memory.clusters import Cluster, Moment, followed
from crito.records import Outcome
from crito.task import Score, Task
from tests.builders import make_example, make_task

VAL = tuple(make_example(f"case {number}", "billing") for number in range(8))
TASK = make_task(val=VAL, metric="label", labels=("billing", "shipping"))
SAID = {"f": "billing or shipping? It is billing.", "w": "shipping", "o": "who knows", ".": "billing"}
"""What answers look like: a label too many, a wrong one, none, the right one."""


def moment(number: int | None, answers: str) -> Moment:
    """The outcomes of an incumbent, one letter an example: f, w and o fail, ``.`` is right, ``!`` is a failed call."""
    found = []
    for example, letter in zip(VAL, answers, strict=True):
        if letter == "!":
            found.append(Outcome(candidate="c", example=example.id, error="server: down"))
        else:
            score = Score(value=float(letter == "."))
            found.append(Outcome(candidate="c", example=example.id, output=SAID[letter], score=score))
    return Moment(number, found)


def over(*answers: str, task: Task = TASK) -> list[tuple[Cluster, ...]]:
    """The clusters under the seed and under an incumbent from each round that follows."""
    return followed([moment(at or None, row) for at, row in enumerate(answers)], task)


def told(found: tuple[Cluster, ...]) -> list[tuple[str, str, int, str]]:
    return [(cluster.id, cluster.label, len(cluster.cases), cluster.state) for cluster in found]


def test_the_seeds_failures_are_new_clusters_the_largest_first() -> None:
    ((one, two),) = over("wffff...")
    assert told((one, two)) == [("c1", "wrong_format", 4, "new"), ("c2", "wrong_content", 1, "new")]
    assert one.cases == one.ever == tuple(e.id for e in VAL[1:5])
    assert (one.since, one.first) == (None, 4)


@pytest.mark.parametrize(
    ("rows", "state", "again"),
    [
        (("ffff....", "ff......"), "shrinking", 0),
        (("ffff....", "........"), "fixed", 0),
        (("ffff....", "ffff...."), "unchanged", 0),
        (("ffff....", "fff.f..."), "regressed", 1),  # as many, but one of them was right
        (("ffff....", "ffffff.."), "regressed", 2),
        (("ffff....", "........", "f......."), "regressed", 1),  # it was fixed
        (("ffffff..", "f.......", "ff......"), "regressed", 1),
        (("ffffff..", "fff...f."), "shrinking", 1),  # fewer in all
        (("ffff!...", "fffff..."), "growing", 0),  # nobody has had the fifth right
        (("ffff....", "........", "........"), "fixed", 0),
    ],
)
def test_the_state_says_what_the_latest_incumbent_made_of_it(rows: tuple[str, ...], state: str, again: int) -> None:
    (cluster,) = over(*rows)[-1]
    assert (cluster.id, cluster.state, cluster.again) == ("c1", state, again)


def test_a_cluster_remembers_every_example_that_it_had() -> None:
    (cluster,) = over("fff.....", "......f.", "ff......")[-1][:1]
    assert cluster.ever == tuple(e.id for e in VAL[:3])
    assert cluster.cases == tuple(e.id for e in VAL[:2])


def test_the_same_examples_are_the_same_cluster_under_another_label() -> None:
    (cluster,) = over("oooo....", "www.....")[-1]
    assert (cluster.id, cluster.label, cluster.state) == ("c1", "wrong_content", "shrinking")


def test_one_label_on_other_examples_is_another_cluster() -> None:
    found = over("ff......", "....ff..")[-1]
    assert told(found) == [("c1", "wrong_format", 0, "fixed"), ("c2", "wrong_format", 2, "new")]
    assert found[1].since == 1
    assert found[1].again == 2


def test_a_little_overlap_is_enough_under_the_same_label_alone() -> None:
    assert told(over("fffffff.", "f.......")[-1]) == [("c1", "wrong_format", 1, "shrinking")]
    assert told(over("fffffff.", "w.......")[-1]) == [
        ("c1", "wrong_format", 0, "fixed"),
        ("c2", "wrong_content", 1, "new"),
    ]


def test_the_most_similar_cluster_goes_on_and_takes_one_group_alone() -> None:
    found = over("fffffoo.", "ooooooo.")[-1]  # five of c1 and two of c2 now fail alike
    assert told(found) == [("c1", "off_label", 7, "growing"), ("c2", "off_label", 0, "fixed")]


def test_failed_calls_are_no_failures_of_the_prompt() -> None:
    assert over("!!......") == [()]


def test_examples_of_other_splits_do_not_count() -> None:
    train = Outcome(candidate="c", example=TASK.splits.train[0].id, output="", score=Score(value=0.0))
    assert followed([Moment(None, [train])], TASK) == [()]


def test_calibrated_answers_count_as_they_are_scored() -> None:
    """The likelier label is wrong everywhere; divided by its mean probability it is right where it is least likely."""
    task = make_task(val=VAL[:2], metric="label", labels=("billing", "shipping"), scoring="calibrated")
    found = [
        Outcome(candidate="c", example=e.id, output="shipping", score=Score(value=0.0), probabilities=shares)
        for e, shares in zip(VAL, ({"billing": 0.4, "shipping": 0.6}, {"billing": 0.1, "shipping": 0.9}), strict=False)
    ]
    ((cluster,),) = followed([Moment(None, found)], task)
    assert cluster.cases == (VAL[1].id,)


def test_a_cluster_is_told_in_one_line() -> None:
    first, last = over("fffffff.", "ff......")
    assert first[0].told == "c1 wrong_format: 7 cases at the start, 7 now, new"
    assert last[0].told == "c1 wrong_format: 7 cases at the start, 2 now, shrinking"
    (_, again) = over("........", "ff......", "......ff")[-1]
    assert again.told == "c2 wrong_format: 2 cases in round 2, 2 now, 2 of them right before, new"
