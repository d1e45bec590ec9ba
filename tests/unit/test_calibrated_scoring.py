"""Scoring by likelihood through a whole run: races, verdict, result and evaluation."""

import math
from pathlib import Path
from typing import Any

import pytest

import crito
from crito.errors import BadInput
from crito.memory.archive import Archive
from crito.protocols import ModelReply, ModelRequest
from crito.task import Budget
from crito.tools.database import Database
from crito.tools.likelihood import calibrated, decided
from crito.tools.scripted_model import ScriptedModel
from crito.tools.task_file import build_task
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
    assert archive.values("c", examples[1:2], inputs=examples[1:2]) == [0.0]  # .6 of .6: nothing tells a from b
    assert archive.values("c", examples[1:2], inputs=examples) == [1.0]
    await database.close()


def test_a_calibrated_run_says_what_the_prompt_is_worth_with_and_without_it(tmp_path: Path) -> None:
    task = calibrated_task().model_copy(update={"budget": Budget(calls=300)})
    result = crito.optimize(task, model=leaning(), database=tmp_path / "c.db")
    assert (result.verdict.seed_score, result.verdict.uncalibrated) == (1.0, (0.5, 0.5))
    assert result.calibration == pytest.approx({"sport": 0.75, "trade": 0.25}, abs=0.03)
    said = answer(ModelRequest(messages=tuple(result.prompt.render({"input": "note 1 about trade"}))))
    shares = {label.strip(): math.exp(value) for label, value in (said.first_token or {}).items()}
    assert decided(calibrated(shares, result.calibration or {})) == "trade"
    assert result.as_json()["calibration"] == result.calibration


def test_evaluation_is_calibrated_on_inputs_that_are_not_scored(tmp_path: Path) -> None:
    task = calibrated_task()
    found = crito.evaluate(task, model=leaning(), split="test", database=tmp_path / "c.db")
    assert found.score == 1.0
    with pytest.raises(BadInput, match="use --split test"):
        crito.evaluate(task, model=leaning(), database=tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()


def test_evaluation_takes_validation_inputs_to_calibrate_on_and_training_inputs_for_validation_itself(
    tmp_path: Path,
) -> None:
    task = calibrated_task()
    train, val, test = (len(split) for split in (task.splits.train, task.splits.val, task.splits.test))
    on_test = crito.evaluate(task, model=leaning(), split="test", database=tmp_path / "test.db")
    on_val = crito.evaluate(task, model=leaning(), split="val", database=tmp_path / "val.db")
    assert (on_test.score, on_test.bill.calls_target) == (1.0, test + val)
    assert (on_val.score, on_val.bill.calls_target) == (1.0, val + train)


def calibrated_task() -> crito.Task:
    return build_task(
        name="notes",
        description="What is the note about?",
        examples=PAIRS,
        model="scripted",
        labels=["sport", "trade"],
        metric="label",
        scoring="calibrated",
    )
