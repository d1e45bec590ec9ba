import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from crito.api import aevaluate, aoptimize, aresume
from crito.errors import BadInput, Interrupted
from crito.graph.run import Run
from crito.graph.wiring import Parts
from crito.prompt import Prompt
from crito.protocols import ModelRequest
from crito.result import Result
from crito.task import Budget
from crito.tools.scripted_model import ScriptedModel
from tests.builders import make_examples, make_task

PAIRS = [(f"message {number:02}", "yes" if number % 2 else "no") for number in range(40)]
BUDGET = Budget(calls=200)


def even(request: ModelRequest) -> str:
    """Says yes or no as asked, but in a sentence unless it was shown how."""
    numbers = re.findall(r"message (\d\d)", request.messages[-1].content)
    if not numbers:
        return "no idea"  # it speaks for the agents too
    word = "yes" if int(numbers[-1]) % 2 else "no"
    return word if any(m.role == "assistant" for m in request.messages) else f"I would say {word}ish"


def model() -> ScriptedModel:
    return ScriptedModel(even)


async def optimized(path: Path, **options: Any) -> Result:
    given = {"model": model(), "budget": BUDGET, "metric": "exact_match", "database": path / "crito.db"}
    return await aoptimize("Is it odd?", PAIRS, **{**given, **options})


async def test_a_result_can_be_printed_and_read_by_programs(tmp_path: Path) -> None:
    result = await optimized(tmp_path)
    assert str(result).startswith("task: improved: 0.00 -> 1.00 on 12 held-out examples")
    assert str(result).endswith(result.prompt.to_text())
    assert "<pre>task: improved: 0.00 -&gt; 1.00" in result._repr_html_()
    shown = json.loads(json.dumps(result.as_json()))
    wanted = "run verdict seed_score best_score difference interval p_value n_test calls calls_target calls_agents"
    assert set(f"{wanted} tokens_in tokens_out usd seconds prompt chain".split()) <= set(shown)
    assert shown["prompt"]["messages"] == result.prompt.to_messages()
    assert shown["calls"] == shown["calls_target"] + shown["calls_agents"]


async def test_a_finished_run_gives_its_result_again_without_a_call(tmp_path: Path) -> None:
    result = await optimized(tmp_path)
    silent = ScriptedModel([])
    again = await aresume(result.run, database=tmp_path / "crito.db", parts=Parts(model=silent, agent_model=silent))
    assert again.model_dump(exclude={"bill"}) == result.model_dump(exclude={"bill"})
    assert silent.calls == 0


async def test_a_drained_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    undisturbed = await optimized(tmp_path / "one")
    runs: list[Run] = []

    def drain(event: Any) -> None:
        if event["event"] == "round" and event["round"] == 1:
            runs[0].drain("enough")

    with pytest.raises(Interrupted, match=r"stopped \(enough\); go on with: crito resume (\w{8})") as stopped:
        await optimized(tmp_path / "two", listener=drain, started=runs.append)
    (run,) = re.findall(r"resume (\w{8})", str(stopped.value))
    resumed = await aresume(
        run, database=tmp_path / "two" / "crito.db", parts=Parts(model=model(), agent_model=model())
    )
    left_out: Any = {"run": True, "bill": {"seconds"}}
    assert resumed.model_dump(exclude=left_out) == undisturbed.model_dump(exclude=left_out)


async def test_a_second_run_in_one_database_pays_for_nothing_twice(tmp_path: Path) -> None:
    first, second = [await optimized(tmp_path) for _ in range(2)]
    with sqlite3.connect(tmp_path / "crito.db") as connection:
        paid, different = connection.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
    assert paid == different == first.bill.calls + second.bill.calls
    assert second.bill.calls < first.bill.calls / 2


async def test_a_metric_may_give_a_plain_truth_value(tmp_path: Path) -> None:
    result = await optimized(tmp_path, metric=lambda output, example: output.text == example.expected)
    assert result.verdict.decision == "improved"


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("Is it odd?", {}, "give examples with a description, or the path of a TASK.yaml"),
        ("Is it odd?", {"examples": PAIRS}, "'model' is missing; name one"),
        ("Is it odd?", {"examples": PAIRS[:5], "model": "scripted"}, "only 5 examples"),
        (7, {"examples": PAIRS}, "give examples with a description, or the path of a TASK.yaml alone"),
    ],
)
async def test_what_cannot_work_is_refused(tmp_path: Path, task: Any, options: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        await aoptimize(task, **options, database=tmp_path / "crito.db")
    assert not (tmp_path / "crito.db").exists()


async def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no run database here"):
        await aresume("12345678", database=tmp_path / "crito.db")
    await optimized(tmp_path)
    with pytest.raises(BadInput, match="there is no run '12345678'"):
        await aresume("12345678", database=tmp_path / "crito.db")


async def test_evaluating_scores_one_prompt(tmp_path: Path) -> None:
    task = make_task(metric="contains", test=make_examples(10, "refund"))
    parts = Parts(model=ScriptedModel(lambda r: "billing" if "7" not in r.messages[-1].content else "no idea"))
    evaluation = await aevaluate(task, split="test", parts=parts, database=tmp_path / "crito.db")
    assert (evaluation.score, evaluation.n, evaluation.failed) == (0.9, 10, 0)
    assert evaluation.interval[0] < 0.9 < evaluation.interval[1]
    assert evaluation.failures == {"wrong_content": 1}
    assert evaluation.bill.calls == 10


@pytest.mark.parametrize(("split", "n"), [("all", 36), ("train", 12), ("val", 12)])
async def test_evaluating_takes_the_split_it_is_told(tmp_path: Path, split: Any, n: int) -> None:
    parts = Parts(model=ScriptedModel(lambda _: "billing"))
    assert (await aevaluate(make_task(), split=split, parts=parts, database=tmp_path / "crito.db")).n == n


@pytest.mark.parametrize("prompt", ["Say it.\n\n{input}", Prompt.from_text("Say it.\n\n{input}")])
async def test_evaluating_takes_another_prompt(tmp_path: Path, prompt: Any) -> None:
    asked = ScriptedModel(lambda _: "billing")
    await aevaluate(make_task(), prompt, split="test", parts=Parts(model=asked), database=tmp_path / "crito.db")
    assert {r.messages[0].content for r in asked.requests} == {"Say it."}


async def test_an_empty_split_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no test examples"):
        await aevaluate(make_task(test=()), split="test", parts=Parts(model=model()), database=tmp_path / "crito.db")
