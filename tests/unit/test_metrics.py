import asyncio
import re
import sys
import threading
import types

import pytest

from crito.errors import BadInput, CallFailed
from crito.labels import find_label
from crito.prompt import Prompt
from crito.protocols import ModelReply, ModelRequest, Output
from crito.task import Example, Score, Splits, Task
from crito.tools.judge import Judge
from crito.tools.metrics import parse, resolve_metric, score, try_metric
from crito.tools.text_metrics import find_number

LABELS = ("sports", "world", "world news")


def make_task(metric: str, labels: tuple[str, ...] = ()) -> Task:
    return Task(
        name="t",
        description="Sort texts.",
        inputs=("input",),
        output="answer",
        metric=metric,
        labels=labels,
        splits=Splits(train=(), val=(), test=()),
        prompts={"main": Prompt()},
        model="m",
        agent_model="m",
    )


def make_score(metric: str, text: str, expected: str | None, labels: tuple[str, ...] = ()) -> Score:
    example = Example(id="ab12", inputs={"input": "x"}, expected=expected)
    return asyncio.run(score(resolve_metric(make_task(metric, labels)), Output(text=text), example))


@pytest.fixture
def user_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("own_metrics")
    monkeypatch.setitem(sys.modules, "own_metrics", module)
    return module


def test_label_takes_the_first_label_mentioned() -> None:
    assert make_score("label", "It is Sports, not world.", "sports", LABELS).value == 1
    assert make_score("label", "World, not sports.", "sports", LABELS).value == 0


def test_label_takes_the_longest_of_labels_at_the_same_place() -> None:
    assert find_label("WORLD NEWS today", LABELS) == "world news"


def test_label_is_a_word_of_its_own() -> None:
    assert find_label("worldly sportsmanship", LABELS) is None
    assert find_label("c++, I think", ("c", "C++")) == "C++"


def test_label_says_what_was_expected_and_what_came() -> None:
    assert make_score("label", "world", "sports", LABELS).feedback == "expected 'sports', got 'world'"
    assert "none of the labels is mentioned: 'dunno'" in make_score("label", "dunno", "sports", LABELS).feedback


def test_label_without_labels_is_refused() -> None:
    with pytest.raises(BadInput, match="under 'labels'"):
        resolve_metric(make_task("label"))


def test_exact_match_ignores_case_and_outer_space_only() -> None:
    assert make_score("exact_match", " Cats\n", "cats").value == 1
    assert make_score("exact_match", "cats.", "cats").value == 0


def test_feedback_quotes_long_answers_shortened() -> None:
    feedback = make_score("exact_match", "word " * 100, "cats").feedback
    assert feedback.startswith("expected 'cats', got 'word word")
    assert len(feedback) < 130


def test_contains_finds_the_expected_text_anywhere() -> None:
    assert make_score("contains", "Order A-12 is late", "a-12").value == 1
    assert make_score("contains", "Order A-13 is late", "a-12").value == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 and 12,000.", "12,000"),
        ("-5", "-5"),
        ("3-5", "5"),
        ("$3.50", "3.50"),
        ("1,2", "2"),
        ("1e3", "1e3"),
        ("a1 v1.2.3", None),
    ],
)
def test_the_last_number_of_a_text_is_found(text: str, number: str | None) -> None:
    assert find_number(text) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 9 = 12", "12"),
        ("It is 12,000.", "12000"),
        ("0.30000001", "0.3"),
        ("about 1/2", "0.5"),
        (r"\boxed{5}", "5"),
        (r"$\sqrt{2}$", r"\sqrt{2}"),
        ("7 %", "$7"),
    ],
)
def test_numeric_accepts_other_ways_to_write_a_number(text: str, expected: str) -> None:
    assert make_score("numeric", text, expected).value == 1


@pytest.mark.parametrize(("text", "expected"), [("12 or 13", "12"), ("1/2", "2"), ("0.31", "0.3"), ("none", "3")])
def test_numeric_refuses_other_numbers(text: str, expected: str) -> None:
    wrong = make_score("numeric", text, expected)
    assert wrong.value == 0
    assert f"expected {expected!r}" in wrong.feedback


def test_numeric_works_outside_of_the_main_thread() -> None:
    values: list[float] = []
    thread = threading.Thread(target=lambda: values.append(make_score("numeric", "1/2", "0.5").value))
    thread.start()
    thread.join()
    assert values == [1.0]


def test_regex_takes_its_pattern_from_the_name_or_from_the_example() -> None:
    assert make_score(r"regex:^\d{4}$", "2024", None).value == 1
    assert make_score(r"regex:^\d{4}$", "24", None).value == 0
    assert make_score("regex", "abc", "b+").value == 1


def test_a_broken_pattern_is_refused_before_any_work() -> None:
    with pytest.raises(BadInput, match="not a regular expression"):
        resolve_metric(make_task("regex:("))


def test_json_fields_scores_each_field() -> None:
    expected = '{"name": "Ann", "age": 30, "city": "Bonn"}'
    assert make_score("json_fields", 'Here: {"age": "30", "name": "ANN", "city": "Bonn"} done', expected).value == 1
    partial = make_score("json_fields", '{"name": "Ann", "age": 31, "job": "x"}', expected)
    assert partial.value == pytest.approx(2 * 1 / 6)
    assert partial.feedback == "missing: city; wrong: age (expected '30.0', got '31.0'); not asked for: job"


@pytest.mark.parametrize("depth", [450, 3000])
def test_json_that_is_nested_too_deeply_is_a_wrong_answer(depth: int) -> None:
    assert make_score("json_fields", "[" * depth + '{"a": 1}', '{"a": 1}').value == 0.0


def test_json_fields_counts_nested_objects_by_their_leaves() -> None:
    assert make_score("json_fields", '{"a": {"b": 1, "c": 3}}', '{"a": {"b": 1, "c": 2}}').value == 0.5


def test_json_fields_tells_codes_from_numbers() -> None:
    assert make_score("json_fields", '{"code": "12"}', '{"code": "0012"}').value == 0


def test_json_fields_gives_nothing_for_an_answer_without_an_object() -> None:
    assert make_score("json_fields", "I do not know", '{"a": 1}').value == 0


@pytest.mark.parametrize("expected", ["Ann", "[1]"])
def test_json_fields_needs_an_object_as_expected_answer(expected: str) -> None:
    with pytest.raises(BadInput, match=re.escape(expected)):
        make_score("json_fields", "{}", expected)


@pytest.mark.parametrize("metric", ["rouge", "chrf"])
def test_overlap_metrics_run_from_zero_to_one(metric: str) -> None:
    assert make_score(metric, "the cat sat", "the cat sat").value == pytest.approx(1)
    assert 0 < make_score(metric, "a cat sat", "the cat sat").value < 1
    assert make_score(metric, "zzz", "the cat sat").value == 0


@pytest.mark.parametrize(("metric", "module"), [("rouge", "rouge_score.rouge_scorer"), ("chrf", "sacrebleu")])
def test_a_missing_extra_is_named(metric: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=r'pip install "crito\[text\]"'):
        make_score(metric, "a", "b")


def test_an_unknown_metric_is_refused_with_the_near_name() -> None:
    with pytest.raises(BadInput, match="did you mean 'exact_match'"):
        resolve_metric(make_task("exactmatch"))


def test_an_example_without_an_answer_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="example ab12 has no expected answer"):
        make_score("exact_match", "x", None)


def test_a_users_function_may_give_any_kind_of_score(user_module: types.ModuleType) -> None:
    for result, value in ((0.5, 0.5), (True, 1.0), (Score(value=0.2), 0.2), ((0.3, "why"), 0.3)):
        user_module.judge = lambda output, example, result=result: result  # type: ignore[attr-defined]
        assert make_score("own_metrics:judge", "x", None).value == value
    assert make_score("own_metrics:judge", "x", None).feedback == "why"


def test_a_users_function_may_be_async(user_module: types.ModuleType) -> None:
    async def judge(output: Output, example: Example) -> float:
        await asyncio.sleep(0)
        return float(output.text == example.inputs["input"])

    user_module.judge = judge  # type: ignore[attr-defined]
    assert make_score("own_metrics:judge", "x", None).value == 1


def test_a_users_metric_that_raises_is_named_with_its_example(user_module: types.ModuleType) -> None:
    def judge(output: Output, example: Example) -> float:
        raise ValueError("no\ncolumn")

    user_module.judge = judge  # type: ignore[attr-defined]
    message = "metric own_metrics:judge raised ValueError on example ab12: no column"
    with pytest.raises(BadInput, match=message):
        make_score("own_metrics:judge", "x", None)


@pytest.mark.parametrize("result", [1.5, float("nan"), None, "good"])
def test_a_users_value_that_is_no_score_is_refused(user_module: types.ModuleType, result: object) -> None:
    user_module.judge = lambda output, example: result  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=r"gave .* on example ab12; return a number from 0 to 1"):
        make_score("own_metrics:judge", "x", None)


def test_a_users_module_or_function_that_is_missing_is_named(user_module: types.ModuleType) -> None:
    with pytest.raises(BadInput, match="no module 'not_there'"):
        resolve_metric(make_task("not_there:judge"))
    with pytest.raises(BadInput, match="has no function 'judge'"):
        resolve_metric(make_task("own_metrics:judge"))


def test_a_failed_call_stays_a_failed_call() -> None:
    def metric(output: Output, example: Example) -> Score:
        raise CallFailed("timeout", "too slow", retryable=True)

    with pytest.raises(CallFailed):
        asyncio.run(score(metric, Output(text=""), Example(id="a", inputs={})))


def test_judge_takes_its_rubric_from_the_name() -> None:
    async def ask(request: ModelRequest, sample: int) -> ModelReply:
        raise AssertionError

    metric = resolve_metric(make_task("judge:It is short: one line."), ask)
    assert isinstance(metric, Judge)
    assert metric.requirements == ("It is short: one line.",)


def test_parse_gives_what_the_metric_sees() -> None:
    assert parse(make_task("label", LABELS), "I say Sports!") == "sports"
    assert parse(make_task("label", LABELS), "dunno") is None
    assert parse(make_task("numeric"), "is 4 or 5") == "5"
    assert parse(make_task("exact_match"), " a b \n") == "a b"
    assert parse(make_task("exact_match"), " ") is None


def tried(metric: str, expected: list[str | None]) -> None:
    examples = tuple(Example(id=f"e{i}", inputs={"input": "x"}, expected=e) for i, e in enumerate(expected))
    task = make_task(metric).model_copy(
        update={"splits": Splits(train=examples[:1], val=examples[1:2], test=examples[2:])}
    )
    asyncio.run(try_metric(resolve_metric(task), task))


def test_a_metric_that_works_on_every_answer_passes() -> None:
    tried("json_fields", ['{"a": 1}'] * 3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_that_the_metric_cannot_use_is_named_before_any_work(place: int) -> None:
    expected: list[str | None] = ['{"a": 1}'] * 3
    expected[place] = "Ann"
    with pytest.raises(BadInput, match=f"example e{place}: metric json_fields: the expected answer 'Ann' is not JSON"):
        tried("json_fields", expected)


def test_a_users_metric_is_tried_on_answers_that_there_are(user_module: types.ModuleType) -> None:
    user_module.judge = lambda output, example: float(output.text)  # type: ignore[attr-defined]
    tried("own_metrics:judge", ["1", None, "0"])
    with pytest.raises(BadInput, match="raised ValueError on example e2"):
        tried("own_metrics:judge", ["1", None, "good"])


def test_a_judge_is_not_tried() -> None:
    async def ask(request: ModelRequest, sample: int) -> ModelReply:
        raise AssertionError

    task = make_task("judge:It is short.")
    one = (Example(id="a", inputs={}, expected="x"),)
    asyncio.run(
        try_metric(resolve_metric(task, ask), task.model_copy(update={"splits": Splits(train=one, val=(), test=())}))
    )


@pytest.mark.parametrize(("metric", "module"), [("rouge", "rouge_score.rouge_scorer"), ("chrf", "sacrebleu")])
def test_a_missing_extra_shows_before_any_work(metric: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match="needs the package"):
        resolve_metric(make_task(metric))


def test_a_key_in_a_users_error_is_not_shown(user_module: types.ModuleType) -> None:
    def judge(output: Output, example: Example) -> float:
        raise ValueError("bad key sk-proj-Ab1")

    user_module.judge = judge  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match=r"bad key \*\*\*"):
        make_score("own_metrics:judge", "x", None)
