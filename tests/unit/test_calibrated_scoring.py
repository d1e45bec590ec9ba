"""Scoring by likelihood through a whole run: races, verdict, result and evaluation."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import crito
from crito.errors import BadInput
from crito.memory.archive import Archive
from crito.prompt import Prompt
from crito.protocols import ModelReply, ModelRequest
from crito.runs import opened
from crito.task import Budget, Splits
from crito.tools.database import Database
from crito.tools.scripted_model import ScriptedModel
from crito.tools.task_file import build_task
from crito.trace import read_trace
from tests.builders import make_candidate, make_example, make_outcome

PAIRS = [(f"note {number} about {topic}", topic) for number in range(30) for topic in ("sport", "trade")]
PRONE = 0.3
"""How much likelier the model finds 'sport' whatever it reads."""


def answer(request: ModelRequest) -> ModelReply:
    """Leans to 'sport' so far that it is said to every note, though a little less to those about trade."""
    sport = 0.6 + (PRONE if "about sport" in request.messages[-1].content else 0.0)
    return ModelReply(text="sport", first_token={" sport": math.log(sport), "trade": math.log(1 - sport)})


def leaning() -> ScriptedModel:
    return ScriptedModel(answer, supports_logprobs=True)


async def filled(path: Path, scoring: Any, shares: list[tuple[str, float]]) -> tuple[Archive, list[Any], Database]:
    """An archive of one candidate with (right label, probability of 'a') per example."""
    database = Database(path / "crito.db")
    archive = Archive(database, "r", scoring)
    examples = [make_example(f"x{number}", right) for number, (right, _) in enumerate(shares)]
    for example, (right, share) in zip(examples, shares, strict=True):
        said = "a" if share > 0.5 else "b"
        outcome = make_outcome("c", example, float(said == right), text=said)
        await archive.record([outcome.model_copy(update={"probabilities": {"a": share, "b": 1 - share}})])
    await archive.add(make_candidate(id="c"))
    return archive, examples, database


SHARES = [("a", 0.9), ("b", 0.6), ("a", 0.9), ("b", 0.6)]


async def test_likelihood_compares_by_the_score_and_the_right_labels_probability(tmp_path: Path) -> None:
    archive, examples, database = await filled(tmp_path, "likelihood", SHARES)
    assert archive.values("c", examples) == [1.0, 0.0, 1.0, 0.0]
    assert archive.scores("c", examples) == pytest.approx([0.95, 0.2, 0.95, 0.2])
    assert archive.mean("c", examples) == 0.5
    await database.close()


async def test_calibration_divides_by_the_mean_over_the_compared_examples(tmp_path: Path) -> None:
    archive, examples, database = await filled(tmp_path, "calibrated", SHARES)
    assert archive.marginal("c", examples) == pytest.approx({"a": 0.75, "b": 0.25})
    assert archive.values("c", examples) == [1.0, 1.0, 1.0, 1.0]
    assert archive.scores("c", examples)[1] == pytest.approx((1 + 1.6 / (0.8 + 1.6)) / 2)
    await database.close()


async def test_calibration_can_come_from_other_inputs_than_those_compared(tmp_path: Path) -> None:
    archive, examples, database = await filled(tmp_path, "calibrated", SHARES)
    assert archive.values("c", examples[1:2]) == [0.0]  # .6 of .6: nothing tells a from b
    assert archive.values("c", examples[1:2], divisors=archive.marginal("c", examples)) == [1.0]
    await database.close()


def test_a_calibrated_run_says_what_the_prompt_is_worth_with_and_without_it(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    assert (result.verdict.seed_score, result.verdict.uncalibrated) == (1.0, (0.5, 0.5))
    assert result.calibration == pytest.approx({"sport": 0.75, "trade": 0.25}, abs=0.03)
    assert result.as_json()["calibration"] == result.calibration
    assert "label probabilities are divided by sport 0.7" in str(result)


@pytest.mark.parametrize(("scoring", "score"), [("calibrated", 1.0), ("likelihood", 0.5)])
def test_the_trace_has_the_validation_scores_of_the_result(tmp_path: Path, scoring: Any, score: float) -> None:
    result = optimized(tmp_path, scored(scoring))
    with opened(tmp_path / "search.db") as database:
        trace = read_trace(database, result.run)
    assert trace.seed.val_score == result.chain[0].val_score == score


def test_the_prompts_of_a_calibrated_run_carry_their_divisors(tmp_path: Path) -> None:
    result = optimized(tmp_path)
    assert result.prompt.calibration == result.calibration
    assert result.best_prompts["main"].calibration
    said = answer(ModelRequest(messages=tuple(result.prompt.render({"input": "note 1 about trade"}))))
    shares = {label.strip(): math.exp(value) for label, value in (said.first_token or {}).items()}
    assert result.prompt.pick(shares) == "trade"


def test_an_exported_prompt_is_evaluated_with_its_own_divisors(tmp_path: Path) -> None:
    prompt = Prompt.from_yaml(optimized(tmp_path).prompt.to_yaml())
    found = evaluated(tmp_path, prompt, split="all")
    assert (found.score, found.n, found.uncalibrated) == (1.0, 60, 0.5)
    assert (found.calibration, found.calibrated_on) == (prompt.calibration, None)
    assert "(the prompt's own)" in str(found)


def test_divisors_that_lack_a_label_are_refused_before_anything_is_paid(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"prompt\.calibration: label 'trade' has no divisor"):
        evaluated(tmp_path, prompt_with(sport=0.5))
    assert not (tmp_path / "c.db").exists()


def test_scoring_that_leaves_the_prompts_divisors_out_says_so(tmp_path: Path) -> None:
    heard: list[str] = []
    prompt = prompt_with(sport=0.75, trade=0.25)
    found = evaluated(tmp_path, prompt, task=scored("likelihood"), listener=listening(heard))
    assert heard == ["prompt.calibration is not used: scoring: likelihood divides nothing; set scoring: calibrated"]
    assert (found.score, found.calibration, found.uncalibrated) == (0.5, None, None)


def test_a_search_estimates_the_divisors_of_its_prompt_anew_and_says_so(tmp_path: Path) -> None:
    heard: list[str] = []
    task = scored("calibrated").model_copy(update={"prompts": {"main": prompt_with(sport=0.1, trade=0.9)}})
    result = optimized(tmp_path, task, listener=listening(heard))
    assert any("a search estimates the divisors of every prompt" in text for text in heard)
    assert (result.verdict.seed_score, result.verdict.decision) == (1.0, "kept")
    assert result.calibration == pytest.approx({"sport": 0.75, "trade": 0.25}, abs=0.03)


def test_without_calibrated_scoring_a_kept_prompt_keeps_its_divisors_and_a_new_one_has_none(tmp_path: Path) -> None:
    prompt = prompt_with(sport=0.75, trade=0.25)
    task = scored("sampled").model_copy(update={"prompts": {"main": prompt}})
    kept = optimized(tmp_path, task, model=ScriptedModel(lambda _: "sport"), database=tmp_path / "kept.db")
    assert kept.prompt == prompt

    def shown(request: ModelRequest) -> str:
        asked = request.messages[-1].content
        return next((t for t in ("sport", "trade") if len(request.messages) > 2 and t in asked), "that depends")

    better = optimized(tmp_path, task, model=ScriptedModel(shown), database=tmp_path / "better.db")
    assert (better.verdict.decision, better.calibration) == ("improved", None)


def test_an_evaluation_tells_failures_after_calibration(tmp_path: Path) -> None:
    found = evaluated(tmp_path)
    assert (found.score, found.uncalibrated, found.failures, found.confusions) == (1.0, 0.5, {}, ())
    assert found.calibrated_on == len(scored("calibrated").splits.val)
    assert f"(estimated on {found.calibrated_on} inputs)" in str(found)


def test_a_task_with_too_few_examples_to_calibrate_on_is_told_to_get_more(tmp_path: Path) -> None:
    whole = scored("calibrated")
    few = whole.model_copy(update={"splits": Splits(train=(), val=(), test=whole.splits.test[:6])})
    with pytest.raises(BadInput, match="none are left; give at least 10 examples"):
        evaluated(tmp_path, task=few)


def test_evaluation_is_calibrated_on_inputs_that_are_not_scored(tmp_path: Path) -> None:
    assert evaluated(tmp_path).score == 1.0
    with pytest.raises(BadInput, match="use --split test"):
        evaluated(tmp_path / "other", split="all")
    assert not (tmp_path / "other").exists()


def test_evaluation_takes_validation_inputs_to_calibrate_on_and_training_inputs_for_validation_itself(
    tmp_path: Path,
) -> None:
    splits = scored("calibrated").splits
    train, val, test = (len(split) for split in (splits.train, splits.val, splits.test))
    on_test = evaluated(tmp_path)
    on_val = evaluated(tmp_path, split="val", database=tmp_path / "val.db")
    assert (on_test.score, on_test.bill.calls_target) == (1.0, test + val)
    assert (on_val.score, on_val.bill.calls_target) == (1.0, val + train)


def scored(scoring: Any) -> crito.Task:
    return build_task(
        name="notes",
        description="What is the note about?",
        examples=PAIRS,
        model="scripted",
        labels=["sport", "trade"],
        metric="label",
        scoring=scoring,
        budget=Budget(calls=300),
    )


def optimized(path: Path, task: crito.Task | None = None, **options: Any) -> crito.Result:
    return crito.optimize(
        task or scored("calibrated"), **{"model": leaning(), "database": path / "search.db", **options}
    )


def evaluated(
    path: Path, prompt: Prompt | None = None, *, task: crito.Task | None = None, split: str = "test", **options: Any
) -> crito.Evaluation:
    given = {"model": leaning(), "database": path / "c.db", "prompt": prompt, "split": split, **options}
    return crito.evaluate(task or scored("calibrated"), **given)


def prompt_with(**divisors: float) -> Prompt:
    return Prompt.from_text("What is the note about?").model_copy(update={"calibration": divisors})


def listening(heard: list[str]) -> Callable[[Mapping[str, Any]], None]:
    """A listener that keeps the texts of warnings."""
    return lambda event: heard.append(event["text"]) if event["event"] == "warning" else None
