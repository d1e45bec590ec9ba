import pytest

from crito.prompt import Prompt
from crito.records import Outcome
from crito.task import Example, Score, Splits, Task
from crito.tools.diagnostics import NO_ANSWER, clusters, confusions, diagnose, flips

REVIEW = Example(id="r", inputs={"input": "x"}, expected="negative")
CITY = Example(id="c", inputs={"input": "x"}, expected="San Francisco")
LABELS = ("positive", "negative")


def make_task(metric: str = "exact_match", *, reasoning: bool = False) -> Task:
    return Task(
        name="t",
        description="d",
        inputs=("input",),
        output="answer",
        metric=metric,
        labels=LABELS if metric == "label" else (),
        splits=Splits(train=(REVIEW,), val=(CITY,), test=()),
        prompts={"main": Prompt()},
        model="m",
        agent_model="m",
        reasoning=reasoning,
    )


def wrong(output: str, example: str = "c", *, truncated: bool = False) -> Outcome:
    return Outcome(candidate="k", example=example, output=output, truncated=truncated, score=Score(value=0.0))


def right(example: str) -> Outcome:
    return Outcome(candidate="k", example=example, output="o", score=Score(value=1.0))


def failed(example: str) -> Outcome:
    return Outcome(candidate="k", example=example, error="timeout")


def test_a_right_answer_has_no_label() -> None:
    assert diagnose(right("c"), CITY, make_task()) is None


def test_an_error_is_a_failed_call() -> None:
    assert diagnose(failed("c"), CITY, make_task()) == "call_failed"


def test_white_space_is_an_empty_answer() -> None:
    assert diagnose(wrong(" \n", truncated=True), CITY, make_task()) == "empty"


def test_an_answer_cut_off_is_truncated() -> None:
    assert diagnose(wrong("I cannot San Francisco", truncated=True), CITY, make_task()) == "truncated"


@pytest.mark.parametrize(
    "text", ["I'm sorry, but no.", "I cannot help with that.", "As an AI, I have no opinion.", "Sorry, I can't."]
)
def test_a_refusal_is_told_by_its_opening(text: str) -> None:
    assert diagnose(wrong(text), CITY, make_task()) == "refusal"


def test_a_city_that_starts_like_a_refusal_is_none() -> None:
    assert diagnose(wrong("I candidly say Rome"), CITY, make_task()) == "wrong_content"


def test_an_answer_without_any_label_is_off_label() -> None:
    assert diagnose(wrong("meh", "r"), REVIEW, make_task("label")) == "off_label"
    assert diagnose(wrong("positive", "r"), REVIEW, make_task("label")) == "wrong_content"


def test_the_expected_text_among_others_is_a_wrong_format() -> None:
    assert diagnose(wrong("It is san francisco!"), CITY, make_task()) == "wrong_format"
    assert diagnose(wrong("positive, not negative", "r"), REVIEW, make_task("label")) == "wrong_format"


def test_the_expected_text_inside_a_longer_word_is_no_wrong_format() -> None:
    assert diagnose(wrong("a negatively charged one", "r"), REVIEW, make_task()) == "wrong_content"


def test_an_answer_far_longer_than_any_expected_one_is_verbose() -> None:
    # the longest expected answer has 13 characters, so the limit is 4 * 13 + 40 = 92
    assert diagnose(wrong("a" * 93), CITY, make_task()) == "verbose"
    assert diagnose(wrong("a" * 92), CITY, make_task()) == "wrong_content"


def test_a_reasoning_answer_may_be_long() -> None:
    assert diagnose(wrong("a" * 200), CITY, make_task(reasoning=True)) == "wrong_content"


def test_an_answer_spelt_almost_right_is_a_near_miss() -> None:
    assert diagnose(wrong("San Fransisco"), CITY, make_task()) == "near_miss"
    assert diagnose(wrong("San Diego"), CITY, make_task()) == "wrong_content"


def test_a_number_spelt_almost_right_is_wrong() -> None:
    example = Example(id="n", inputs={}, expected="123456")
    assert diagnose(wrong("123457", "n"), example, make_task("numeric")) == "wrong_content"


def test_an_example_without_an_expected_answer_can_only_be_wrong_in_content() -> None:
    example = Example(id="n", inputs={})
    assert diagnose(wrong("anything", "n"), example, make_task("judge")) == "wrong_content"


def test_confusions_count_expected_against_got() -> None:
    outcomes = [wrong("Positive!", "r"), wrong("positive", "r"), wrong("meh", "r"), right("r"), failed("r")]
    found = confusions(outcomes, {"r": REVIEW}, make_task("label"))
    assert found == {("negative", "positive"): 2, ("negative", NO_ANSWER): 1}


def test_flips_tell_what_was_fixed_and_what_was_broken() -> None:
    parent = {"a": wrong("x", "a"), "b": right("b"), "c": right("c"), "d": wrong("x", "d")}
    child = {"a": right("a"), "b": wrong("x", "b"), "c": right("c"), "d": wrong("y", "d")}
    assert flips(parent, child).fixed == ("a",)
    assert flips(parent, child).broken == ("b",)


def test_a_failed_call_is_neither_a_fix_nor_a_break() -> None:
    found = flips({"a": right("a"), "b": failed("b"), "c": right("c")}, {"a": failed("a"), "b": right("b")})
    assert found.fixed == found.broken == ()


def test_clusters_come_largest_first() -> None:
    outcomes = [wrong("", "r"), wrong("Rome", "c"), wrong("Oslo", "r"), right("c")]
    found = clusters(outcomes, {"r": REVIEW, "c": CITY}, make_task())
    assert list(found.items()) == [("wrong_content", ("c", "r")), ("empty", ("r",))]
