import asyncio
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from crito import optimize
from crito.api import aevaluate, aoptimize, aresume
from crito.errors import BadInput, Interrupted
from crito.graph.preset import Preset, Stage
from crito.graph.run import Run
from crito.prompt import Message, Prompt
from crito.protocols import ModelRequest, Output
from crito.result import Result
from crito.task import Budget, Example
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
    given = {"model": model(), "budget": BUDGET, "metric": "exact_match", "database": str(path / "crito.db")}
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
    again = await aresume(result.run, database=str(tmp_path / "crito.db"), model=silent, agent_model=silent)
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
    resumed = await aresume(run, database=tmp_path / "two" / "crito.db", model=model(), agent_model=model())
    left_out: Any = {"run": True, "bill": {"seconds"}}
    assert resumed.model_dump(exclude=left_out) == undisturbed.model_dump(exclude=left_out)


async def test_a_second_run_in_one_database_pays_for_nothing_twice(tmp_path: Path) -> None:
    known = model()
    known.identity = "toy"  # type: ignore[attr-defined]  # replies of a nameless object are its run's alone
    first, second = [await optimized(tmp_path, model=known) for _ in range(2)]
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
    asked = ScriptedModel(lambda r: "billing" if "7" not in r.messages[-1].content else "no idea")
    evaluation = await aevaluate(task, split="test", model=asked, database=str(tmp_path / "crito.db"))
    assert (evaluation.score, evaluation.n, evaluation.failed) == (0.9, 10, 0)
    assert evaluation.interval[0] < 0.9 < evaluation.interval[1]
    assert evaluation.failures == {"wrong_content": 1}
    assert evaluation.bill.calls == 10


@pytest.mark.parametrize(("split", "n"), [("all", 36), ("train", 12), ("val", 12)])
async def test_evaluating_takes_the_split_it_is_told(tmp_path: Path, split: Any, n: int) -> None:
    asked = ScriptedModel(lambda _: "billing")
    assert (await aevaluate(make_task(), split=split, model=asked, database=tmp_path / "crito.db")).n == n


@pytest.mark.parametrize("prompt", ["Say it.\n\n{input}", Prompt.from_text("Say it.\n\n{input}")])
async def test_evaluating_takes_another_prompt(tmp_path: Path, prompt: Any) -> None:
    asked = ScriptedModel(lambda _: "billing")
    await aevaluate(make_task(), prompt=prompt, split="test", model=asked, database=tmp_path / "crito.db")
    assert {r.messages[0].content for r in asked.requests} == {"Say it."}


async def test_an_empty_split_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no test examples"):
        await aevaluate(make_task(test=()), split="test", model=model(), database=tmp_path / "crito.db")


class HostModel(BaseChatModel):
    """A host application's model, which LangChain calls ``model_name``."""

    model_name: str = "host-1"

    @property
    def _llm_type(self) -> str:
        return "host"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        roles: Any = {"human": "user", "ai": "assistant"}
        shown = tuple(Message(role=roles.get(m.type, "system"), content=str(m.content)) for m in messages)
        said = AIMessage(even(ModelRequest(messages=shown)))
        return ChatResult(generations=[ChatGeneration(message=said)])


def test_a_langchain_model_can_be_optimized_for(tmp_path: Path) -> None:
    path = tmp_path / "crito.db"
    result = optimize("Is it odd?", PAIRS, model=HostModel(), budget=BUDGET, metric="exact_match", database=path)
    assert (result.model, result.verdict.decision) == ("langchain/host-1", "improved")


async def test_a_langchain_models_run_is_resumed_with_the_model_alone(tmp_path: Path) -> None:
    run = await paused(tmp_path, model=HostModel())
    with pytest.raises(BadInput, match="model: langchain/host-1 was given as an object; give it again"):
        await aresume(run, database=tmp_path / "crito.db")
    result = await aresume(run, model=HostModel(), database=tmp_path / "crito.db")
    assert result.verdict.decision == "improved"


async def test_a_judge_can_be_optimized_for(tmp_path: Path) -> None:
    def reply(request: ModelRequest) -> str:
        if "You check one answer" not in request.messages[0].content:
            return even(request)
        passed = "<output>\nI would say" not in request.messages[-1].content
        return json.dumps({"rulings": [{"requirement": 1, "reason": "one word or not", "passed": passed}]})

    result = await optimized(
        tmp_path, model=ScriptedModel(reply), metric="judge:It is one word.", budget=Budget(calls=400)
    )
    assert (result.verdict.decision, result.verdict.best_score) == ("improved", 1.0)
    assert result.verdict.n == 12  # enough was kept back for the rulings too
    assert result.bill.calls <= 400


async def paused(path: Path, **options: Any) -> str:
    """The id of a run that was drained after its first round."""
    runs: list[Run] = []

    def drain(event: Any) -> None:
        if event["event"] == "round":
            runs[0].drain("enough")

    with pytest.raises(Interrupted) as stopped:
        await optimized(path, listener=drain, started=runs.append, **options)
    (run,) = re.findall(r"resume (\w{8})", str(stopped.value))
    return str(run)


def row(path: Path, column: str) -> Any:
    with sqlite3.connect(path / "crito.db") as connection:
        return connection.execute(f"SELECT {column} FROM runs").fetchone()[0]  # noqa: S608 - our own words


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path / "crito.db") as connection:
        connection.execute(statement)


async def test_a_resumed_run_goes_on_with_its_preset(tmp_path: Path) -> None:
    run = await paused(
        tmp_path,
        preset=Preset(name="hasty", about="One round.", stages=(Stage(name="opening", operators=("opening",)),)),
    )
    rounds: list[Any] = []
    await aresume(
        run,
        model=model(),
        database=tmp_path / "crito.db",
        listener=lambda event: rounds.append(event["round"]) if event["event"] == "round" else None,
    )
    assert max(rounds, default=0) <= 1
    assert json.loads(row(tmp_path, "preset"))["name"] == "hasty"


async def test_a_budget_that_ended_before_the_search_can_be_raised(tmp_path: Path) -> None:
    chatty = ScriptedModel(lambda request: even(request) + " please" * 500)
    with pytest.raises(Interrupted, match="the budget of tokens is used up; raise it: crito resume") as stopped:
        await optimized(tmp_path, model=chatty, budget=Budget(tokens=7000))
    (run,) = re.findall(r"resume (\w{8}) --db \S+ --budget-tokens N$", str(stopped.value))
    with pytest.raises(Interrupted):
        await aresume(run, model=chatty, database=tmp_path / "crito.db")
    result = await aresume(run, model=model(), budget=Budget(tokens=60_000), database=tmp_path / "crito.db")
    assert result.verdict.n > 0
    assert json.loads(row(tmp_path, "task"))["budget"]["tokens"] == 60_000


async def test_the_time_between_two_starts_is_not_on_the_bill(tmp_path: Path) -> None:
    run = await paused(tmp_path)
    change(tmp_path, "UPDATE runs SET created = created - 1000")
    change(tmp_path, "UPDATE spans SET ended = started + 50 WHERE name LIKE 'invoke_workflow %'")
    result = await aresume(run, model=model(), database=tmp_path / "crito.db")
    assert 50 < result.bill.seconds < 100


async def test_a_run_that_is_under_way_is_not_started_again(tmp_path: Path) -> None:
    refused: list[str] = []
    runs: list[Run] = []

    async def twice() -> None:
        try:
            await Run(runs[0]._task, tmp_path / "crito.db", parts=runs[0]._parts).start(begun[0])
        except BadInput as error:
            refused.append(str(error))
        runs[0].drain("enough")

    begun: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def listen(event: Any) -> None:
        if event["event"] == "start":
            begun.append(event["run"])
            tasks.append(asyncio.get_running_loop().create_task(twice()))

    with pytest.raises(Interrupted):
        await optimized(tmp_path, listener=listen, started=runs.append)
    assert refused == [f"run {begun[0]} is running in another process; wait for it to end, or stop it first"]
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".lock")]  # noqa: PTH208


@pytest.mark.parametrize(("number", "warned"), [(17, True), (40, False)])
async def test_too_few_test_examples_for_evidence_are_warned_of(tmp_path: Path, number: int, warned: bool) -> None:
    heard: list[Any] = []
    await aoptimize(
        *("Is it odd?", PAIRS[:number]),
        model=model(),
        metric="exact_match",
        budget=BUDGET,
        database=tmp_path / "crito.db",
        listener=heard.append,
    )
    texts = [event["text"] for event in heard if event["event"] == "warning"]
    assert [text.partition(" no gain")[0] for text in texts] == ["with 5 test examples"] * warned


async def test_a_time_in_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"budget.seconds: 0.5 s is too short"):
        await optimized(tmp_path, budget=Budget(seconds=0.5))


async def test_evaluating_takes_a_sentence_and_pairs(tmp_path: Path) -> None:
    found = await aevaluate(
        *("Is it odd?", PAIRS[:4]), model=model(), metric="exact_match", database=tmp_path / "crito.db"
    )
    assert (found.n, found.score) == (4, 0.0)


async def test_evaluating_takes_a_metric_and_a_program(tmp_path: Path) -> None:
    async def program(prompts: Any, inputs: Any) -> str:
        return "Billing"

    def alike(output: Output, example: Example) -> bool:
        return output.text.lower() == example.expected

    found = await aevaluate(
        make_task(), model=model(), target=program, metric=alike, database=tmp_path / "crito.db", split="test"
    )
    assert (found.n, found.score) == (12, 1.0)


def raises(output: Output, example: Example) -> float:
    raise KeyError(output.text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "Say {mesage}."}, "placeholder {mesage} is not among the inputs: input; correct one of them"),
        ({"prompt": Prompt(template="Say it.")}, "input 'input' has no placeholder; add {input}"),
        ({"metric": raises}, "metric raises raised KeyError on example"),
        ({"task": {"metric": "lable"}}, "metric 'lable' is unknown"),
        ({"task": {"budget": Budget(calls=20)}}, "20 calls reaches for about 20 of 36 examples, which need 36 calls"),
        ({"task": {"budget": Budget(tokens=200)}}, "200 tokens reaches for about "),
        ({"task": {"budget": Budget(usd=1)}, "model": ScriptedModel([], "x/y")}, "the price of x/y is not known"),
    ],
)
async def test_what_cannot_be_evaluated_is_refused(tmp_path: Path, options: Any, message: str) -> None:
    task = make_task(**options.get("task", {}))
    given = {"model": model(), **{key: value for key, value in options.items() if key != "task"}}
    with pytest.raises(BadInput, match=re.escape(message)):
        await aevaluate(task, **given, database=tmp_path / "crito.db")
    assert not (tmp_path / "crito.db").exists()


async def test_a_budget_that_ends_within_an_evaluation_is_the_users_to_raise(tmp_path: Path) -> None:
    chatty = ScriptedModel(lambda _: "word " * 200)
    with pytest.raises(BadInput, match="the budget of tokens is used up before all 36 examples were answered"):
        await aevaluate(make_task(budget=Budget(tokens=3000)), model=chatty, database=tmp_path / "crito.db")


async def test_an_evaluation_averages_repeated_answers_and_tells_their_noise(tmp_path: Path) -> None:
    said: list[str] = []

    def wavers(request: ModelRequest) -> str:
        said.append("billing" if len(said) % 36 < 18 or len(said) < 36 else "shipping")
        return said[-1]

    task = make_task(repeats=2, temperature=1.0)
    found = await aevaluate(task, model=ScriptedModel(wavers), database=tmp_path / "crito.db")
    assert (found.n, found.failed, found.score, found.noise) == (36, 0, 0.75, 0.25)
    assert found.bill.calls == 72
    assert "repeated answers to one example vary by 0.500" in str(found)


async def test_answers_that_were_given_once_tell_no_noise(tmp_path: Path) -> None:
    found = await aevaluate(make_task(), model=ScriptedModel(lambda _: "x"), database=tmp_path / "crito.db")
    assert found.noise is None
    assert "vary" not in str(found)
