import pytest
from pydantic import ValidationError

from crito.errors import PatchRejected
from crito.patch import Edit, Patch
from crito.prompt import Prompt
from crito.records import Critique, Hypothesis, Outcome, candidate_id, child
from crito.task import Budget, Score, Splits, Task, example_id
from tests.builders import make_candidate, make_example, make_examples, make_task

RULE = Patch(edits=(Edit(op="add", path="rules", value=("One word.",)),), rationale="shorter answers")


def test_a_row_is_named_by_its_inputs_whatever_their_order() -> None:
    assert example_id({"a": "1", "b": "2"}) == example_id({"b": "2", "a": "1"})
    assert example_id({"a": "1"}) != example_id({"a": "2"})


def test_the_digest_tells_splits_apart() -> None:
    one, two = make_examples(2)
    same = Splits(train=(one,), val=(two,), test=())
    assert same.digest == Splits(train=(one,), val=(two,), test=()).digest
    assert same.digest != Splits(train=(two,), val=(one,), test=()).digest
    assert same.digest != Splits(train=(one, two), val=(), test=()).digest


@pytest.mark.parametrize("limits", [{"calls": 0}, {"usd": -1.0}, {"tokens": 0}, {"seconds": 0.0}, {"cals": 5}])
def test_a_budget_is_above_zero_and_spelt_right(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(limits)


def test_a_local_model_is_asked_one_call_at_a_time_unless_told_otherwise() -> None:
    assert make_task(model="openai/gpt-5-mini").in_flight == 8
    assert make_task(model="local/smollm2").in_flight == 1
    assert make_task(model="local/smollm2", concurrency=3).in_flight == 3


def test_a_task_comes_back_from_the_database_as_it_was() -> None:
    task = make_task(labels=("a", "b"), prices={"m": (1.0, 2.0)})
    assert Task.model_validate_json(task.model_dump_json()) == task


def test_a_candidate_of_one_prompt_has_its_fingerprint_as_id() -> None:
    prompt = Prompt(template="Mail: {input}")
    assert candidate_id({"main": prompt}) == prompt.fingerprint


def test_a_candidate_of_several_prompts_is_named_by_all_of_them() -> None:
    one, two = Prompt(template="1 {input}"), Prompt(template="2 {input}")
    ids = {
        candidate_id({"a": one, "b": two}),
        candidate_id({"a": two, "b": one}),
        candidate_id({"a": one, "b": one}),
        candidate_id({"a": one}),
    }
    assert len(ids) == 4
    assert candidate_id({"a": one, "b": two}) == candidate_id({"b": two, "a": one})


def test_a_child_tells_where_it_comes_from() -> None:
    parent = make_candidate()
    made = child(parent, RULE, operator="critique_synthesis", round_number=2, author="rewriter", mends=("e1",))
    assert (made.parents, made.patch, made.round, made.author) == ((parent.id,), RULE, 2, "rewriter")
    assert (made.operator, made.hypothesis, made.mends) == ("critique_synthesis", "shorter answers", ("e1",))
    assert made.id == candidate_id(made.prompts) != parent.id


def test_a_patch_changes_the_main_prompt_alone() -> None:
    other = Prompt(template="o {input}")
    parent = make_candidate(prompts={"other": other, "main": Prompt()})
    made = child(parent, RULE, operator="x", round_number=1)
    assert made.prompts["other"] == other
    assert made.main.section("rules") is not None


def test_a_patch_that_does_not_apply_makes_no_child() -> None:
    with pytest.raises(PatchRejected):
        child(make_candidate(), Patch(edits=(Edit(op="delete", path="rules"),)), operator="x", round_number=1)


@pytest.mark.parametrize(("value", "right"), [(1.0, True), (0.99, False)])
def test_right_means_full_marks(value: float, right: bool) -> None:
    example = make_example("x")
    assert Outcome(candidate="c", example=example.id, score=Score(value=value)).right is right
    assert not Outcome(candidate="c", example=example.id, error="server: down").right


def test_a_critique_has_three_hypotheses_at_most() -> None:
    cause = Hypothesis(label="verbose", examples=("e",), direction="be brief")
    with pytest.raises(ValidationError):
        Critique(candidate="c", hypotheses=(cause,) * 4)
