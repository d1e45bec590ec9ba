import math
from pathlib import Path

import pytest

from crito.api import aevaluate
from crito.errors import BadInput
from crito.graph.robustness import posix, probe, sensitivity, summary
from crito.prompt import Prompt
from crito.protocols import ModelReply, ModelRequest
from crito.records import Outcome
from crito.result import Evaluation
from crito.task import Budget, Task
from crito.tools.scripted_model import ScriptedModel
from tests.builders import SEED, make_example, make_examples, make_outcome, make_task

EXAMPLES = make_examples(4)
LABELS = ("billing", "shipping")


def row(name: str, *values: float | None, text: str = "x") -> list[Outcome]:
    return [make_outcome(name, example, value, text=text) for example, value in zip(EXAMPLES, values, strict=True)]


def touchy(request: ModelRequest) -> str:
    """Right, unless the prompt carries headings."""
    return "other" if any("task" in message.content for message in request.messages) else "billing"


async def evaluated(path: Path, robustness: int = 10, **fields: object) -> Evaluation:
    task = make_task(budget=Budget(calls=1000), **fields)
    return await aevaluate(task, model=ScriptedModel(touchy), robustness=robustness, database=path / "crito.db")


def test_scores_are_summed_up_over_the_prompt_and_its_variants() -> None:
    found = summary(make_task(), ["as written", "case"], [row("a", 1, 1, 1, 1), row("b", 1, 0, 1, 0)])
    assert (found.mean, found.worst, found.best, found.spread) == (0.75, 0.5, 1.0, 0.25)
    assert found.by_variant == (("as written", 1.0), ("case", 0.5))
    assert (found.n, found.failed) == (4, 0)


def test_a_failed_call_is_counted_and_no_zero() -> None:
    found = summary(make_task(), ["as written", "case"], [row("a", 1, 1, 1, 1), row("b", 1, None, None, None)])
    assert (found.worst, found.failed) == (1.0, 3)


def test_a_variant_without_any_answer_has_no_score() -> None:
    found = summary(make_task(), ["as written", "case"], [row("a", 1, 1, 1, 1), row("b", None, None, None, None)])
    assert found.by_variant == (("as written", 1.0),)


def test_sensitivity_is_how_often_two_variants_answer_differently() -> None:
    assert sensitivity([["a", "b"], ["a", "b"], ["a", "c"]]) == pytest.approx(1 / 3)
    assert sensitivity([["a", "b"], ["a", "b"]]) == 0.0


def test_failed_calls_are_in_no_pair() -> None:
    assert sensitivity([["a", "b"], ["a", None]]) == 0.0
    assert sensitivity([[None], [None]]) == 0.0


def test_answers_are_compared_as_the_metric_reads_them() -> None:
    task = make_task(metric="label", labels=("billing", "shipping"))
    said = [row("a", 1, 1, 1, 1, text="Billing."), row("b", 1, 1, 1, 1, text="It is billing")]
    assert summary(task, ["as written", "case"], said).sensitivity == 0.0
    assert summary(make_task(), ["as written", "case"], said).sensitivity == 1.0


def test_posix_is_the_mean_change_of_an_answers_log_probability() -> None:
    sure, torn = {"yes": 0.8, "no": 0.2}, {"yes": 0.4, "no": 0.6}
    expected = (abs(math.log(0.8 / 0.4)) + abs(math.log(0.6 / 0.2))) / 2
    assert posix([[sure], [torn]]) == pytest.approx(expected)
    assert posix([[sure, sure], [torn, sure]]) == pytest.approx(expected / 2)
    assert posix([[sure], [sure]]) == 0.0


def test_posix_needs_probabilities_of_two_variants() -> None:
    assert posix([[None], [{"yes": 1.0}]]) is None


def test_a_probe_takes_thirty_examples_at_most() -> None:
    task = make_task()
    assert probe(task, make_examples(50), 3).answers == 3 * 30
    assert probe(task, make_examples(5), 3).answers == 3 * 5


async def test_an_evaluation_tells_what_other_ways_to_write_the_prompt_are_worth(tmp_path: Path) -> None:
    found = (await evaluated(tmp_path)).robustness
    assert found is not None
    assert (found.best, found.worst, found.n) == (1.0, 0.0, 30)
    assert found.by_variant[0] == ("as written", 1.0)
    assert {kind for kind, score in found.by_variant if score == 0.0} == {"layout"}
    assert found.sensitivity > 0
    assert found.posix is None


async def test_the_prompt_as_it_is_written_is_paid_once(tmp_path: Path) -> None:
    assert (await evaluated(tmp_path, robustness=2)).bill.calls == 36 + 2 * 30


async def test_without_being_asked_for_nothing_is_varied(tmp_path: Path) -> None:
    found = await evaluated(tmp_path, robustness=0)
    assert (found.robustness, found.bill.calls) == (None, 36)


async def test_robustness_is_printed_in_a_few_lines(tmp_path: Path) -> None:
    text = str(await evaluated(tmp_path, robustness=3))
    assert "written in 4 ways, 30 examples each, 0 calls failed: mean 0." in text
    assert "as written 1.00, layout 0.00" in text


async def test_likelihood_gives_posix_too(tmp_path: Path) -> None:
    def likely(request: ModelRequest) -> ModelReply:
        share = 0.6 + 0.01 * (len(request.messages[0].content) % 7)
        return ModelReply(text="b", first_token={"b": math.log(share), "s": math.log(1 - share)})

    task = make_task(metric="label", labels=("billing", "shipping"), scoring="likelihood", budget=Budget(calls=1000))
    model = ScriptedModel(likely, supports_logprobs=True)
    found = (await aevaluate(task, model=model, robustness=5, database=tmp_path / "crito.db")).robustness
    assert found is not None
    assert found.posix is not None
    assert found.posix > 0


def leaning(request: ModelRequest) -> ModelReply:
    """Is prone to billing, and below headings to shipping, though less so where that is wrong."""
    prone, other = ("shipping", "billing") if "task" in request.messages[0].content else ("billing", "shipping")
    share = 0.6 if other in request.messages[-1].content else 0.9
    return ModelReply(text=prone, first_token={prone: math.log(share), other: math.log(1 - share)})


def calibrated(**fields: object) -> Task:
    splits = {
        name: [make_example(f"{name} {number} {label}", label) for number in range(4) for label in LABELS]
        for name in ("train", "val", "test")
    }
    return make_task(**{**splits, "metric": "label", "labels": LABELS, "scoring": "calibrated", **fields})


async def probed(path: Path, task: Task, robustness: int) -> Evaluation:
    model = ScriptedModel(leaning, supports_logprobs=True)
    return await aevaluate(task, split="test", model=model, robustness=robustness, database=path / "crito.db")


async def test_each_variant_is_calibrated_by_its_own_answers_to_inputs_that_are_not_scored(tmp_path: Path) -> None:
    found = await probed(tmp_path, calibrated(), 3)
    assert (found.uncalibrated, found.robustness and found.robustness.worst) == (0.5, 1.0)
    assert found.robustness is not None
    assert {kind for kind, _ in found.robustness.by_variant} >= {"as written", "layout"}
    assert found.bill.calls == 4 * (8 + 8)  # four ways to write it, 8 validation inputs and 8 test examples


async def test_sensitivity_and_posix_are_those_of_calibrated_answers(tmp_path: Path) -> None:
    robust = (await probed(tmp_path, calibrated(), 1)).robustness
    assert robust is not None
    assert robust.sensitivity == 0.0
    # One variant is prone to the right label (.9, .1), the other is not (.4, .6); their means are .75 and .25.
    one, other = (0.4 / 0.25) / (0.6 / 0.75 + 0.4 / 0.25), (0.9 / 0.75) / (0.9 / 0.75 + 0.1 / 0.25)
    assert robust.posix == pytest.approx(abs(math.log(one / other)))


async def test_what_calibrating_the_variants_takes_is_counted_before_anything_is_paid(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="reaches for about 63 of 64 answers"):
        await probed(tmp_path, calibrated(budget=Budget(calls=63)), 3)
    assert not (tmp_path / "crito.db").exists()


async def test_a_prompt_with_divisors_keeps_them_and_its_variants_get_theirs(tmp_path: Path) -> None:
    prompt = SEED.model_copy(update={"calibration": {"billing": 0.5, "shipping": 0.5}})
    found = await probed(tmp_path, calibrated(prompts={"main": prompt}), 3)
    assert found.robustness is not None
    assert (found.score, found.robustness.by_variant[0], found.robustness.best) == (0.5, ("as written", 0.5), 1.0)
    assert found.bill.calls == 8 + 3 * (8 + 8)


@pytest.mark.parametrize(
    ("robustness", "prompt", "calls", "words"),
    [
        (10, SEED, 100, "reaches for about 100 of 336 answers, which need 336 calls"),
        (-1, SEED, 1000, "-1 variants cannot be scored"),
        (5, Prompt(frozen=("template",)), 1000, "nothing of the prompt may be written in another way"),
    ],
)
async def test_what_cannot_be_probed_is_refused_before_anything_is_paid(
    tmp_path: Path, robustness: int, prompt: Prompt, calls: int, words: str
) -> None:
    task = make_task(budget=Budget(calls=calls), prompts={"main": prompt})
    model = ScriptedModel(touchy)
    with pytest.raises(BadInput, match=words):
        await aevaluate(task, model=model, robustness=robustness, database=tmp_path / "crito.db")
    assert model.calls == 0
    assert not (tmp_path / "crito.db").exists()
