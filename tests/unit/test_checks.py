from typing import Any

import pytest

from crito.errors import BadInput
from crito.graph.checks import checked
from crito.graph.wiring import Parts
from crito.task import Scoring
from crito.tools.scripted_model import ScriptedModel
from tests.builders import SEED, make_example, make_task

LIKELY: dict[str, Any] = {"metric": "label", "labels": ("billing", "shipping"), "scoring": "likelihood"}
MODEL = ScriptedModel([], supports_logprobs=True)
GOES_ON = ScriptedModel([], supports_logprobs=True, supports_prefill=True)


def refusal(parts: Parts, **fields: Any) -> str:
    with pytest.raises(BadInput) as caught:
        checked(make_task(**{**LIKELY, **fields}), parts)
    said = str(caught.value)
    assert "\n" not in said
    assert "scoring: sampled" in said, "the alternative is named"
    return said


@pytest.mark.parametrize("scoring", ["likelihood", "calibrated"])
def test_labels_that_first_tokens_tell_apart_can_be_scored_by_likelihood(scoring: Scoring) -> None:
    task = make_task(**{**LIKELY, "scoring": scoring})
    assert checked(task, Parts(model=MODEL, agent_model=MODEL)).task.scoring == scoring


@pytest.mark.parametrize("scoring", ["likelihood", "calibrated"])
@pytest.mark.parametrize("fields", [{"metric": "exact_match"}, {"labels": ()}])
def test_likelihood_without_labels_is_refused(scoring: str, fields: dict[str, Any]) -> None:
    said = refusal(Parts(model=MODEL), scoring=scoring, **fields)
    assert said.startswith(f"scoring: {scoring} compares labels")


def test_likelihood_with_a_metric_of_ones_own_is_refused() -> None:
    assert "metric: label" in refusal(Parts(model=MODEL, metric=lambda output, example: 1.0))  # type: ignore[arg-type]


def test_likelihood_of_a_model_without_logprobs_is_refused() -> None:
    said = refusal(Parts(model=ScriptedModel([], name="scripted/plain")))
    assert "which scripted/plain does not give" in said


def test_likelihood_of_labels_that_begin_alike_is_refused() -> None:
    examples = (make_example("x", "num_date"), make_example("y", "num_count"))
    said = refusal(Parts(model=MODEL), labels=("num_date", "num_count"), train=examples)
    assert "the labels 'num_date' and 'num_count' apart" in said


def test_a_refusal_of_labels_that_begin_alike_names_all_cures() -> None:
    examples = (make_example("x", "num_date"), make_example("y", "num_count"))
    said = refusal(Parts(model=MODEL), labels=("num_date", "num_count"), train=examples)
    assert all(cure in said for cure in ("rename them", "scoring: sampled", "local/<path to .gguf>"))


@pytest.mark.parametrize("scoring", ["likelihood", "calibrated"])
def test_labels_that_begin_alike_can_be_scored_by_a_model_that_goes_on_from_an_answer(scoring: Scoring) -> None:
    task = make_task(**{**LIKELY, "scoring": scoring, "labels": ("num_date", "num_count")})
    assert checked(task, Parts(model=GOES_ON, agent_model=GOES_ON)).task.scoring == scoring


def test_labels_that_are_the_same_are_refused_for_such_a_model_too() -> None:
    said = refusal(Parts(model=GOES_ON), labels=("No", "no"))
    assert "no answer tells the labels 'No' and 'no' apart; rename them, or use" in said
    assert "local/" not in said


def test_words_that_begin_alike_are_refused_too() -> None:
    worded = SEED.model_copy(update={"words": {"billing": "shipping fee"}})
    assert "'shipping fee' and 'shipping' apart" in refusal(Parts(model=MODEL), prompts={"main": worded})


def test_likelihood_of_a_users_program_is_refused() -> None:
    async def program(prompts: Any, inputs: Any) -> str:
        return "billing"

    assert "a program of yours" in refusal(Parts(model=MODEL, target=program))


def test_likelihood_after_reasoning_is_refused() -> None:
    assert "reasoning: true" in refusal(Parts(model=MODEL), reasoning=True)


def test_sampling_asks_for_none_of_it() -> None:
    task = make_task(metric="label", labels=("10", "12"), reasoning=True)
    assert checked(task, Parts(model=ScriptedModel([]))).task.scoring == "sampled"


def waver(output: Any, example: Any) -> float:
    return 1.0


async def program(prompts: Any, inputs: Any) -> str:
    return "billing"


def test_repeats_that_would_all_be_alike_are_refused() -> None:
    with pytest.raises(BadInput, match="repeats: 3 answers at temperature 0 are alike; set a temperature above it"):
        checked(make_task(repeats=3), Parts(model=ScriptedModel([])))


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"temperature": 0.7}, {}),
        ({"metric": "judge:Is it polite?"}, {}),
        ({}, {"metric": waver}),
        ({}, {"target": program}),
    ],
)
def test_repeats_of_what_may_waver_pass(fields: dict[str, Any], parts: dict[str, Any]) -> None:
    task = make_task(repeats=3, **fields)
    assert checked(task, Parts(model=ScriptedModel([]), **parts)).task.repeats == 3


@pytest.mark.parametrize("fields", [{"temperature": 0.7}, {"repeats": 2}])
def test_probabilities_neither_waver_nor_warm_up(fields: dict[str, Any]) -> None:
    assert "which temperature and repeats do not change" in refusal(Parts(model=MODEL), **fields)


def test_a_programs_temperature_is_its_own() -> None:
    with pytest.raises(BadInput, match="temperature: a program of yours answers at its own"):
        checked(make_task(temperature=0.7), Parts(model=ScriptedModel([]), target=program))
