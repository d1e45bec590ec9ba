import asyncio
import json
import math
import re
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from crito.bench import Bench, BenchRun
from crito.bench_cells import Cell, CellResult
from crito.bench_folder import BenchFolder
from crito.bench_tasks import tasks
from crito.errors import BadInput, CallFailed, Interrupted, ProviderFailure
from crito.graph.checks import checked
from crito.graph.presets import DEFAULT, preset
from crito.graph.wiring import Parts
from crito.protocols import ModelReply, ModelRequest
from crito.tools.limits import fit
from crito.tools.scripted_model import ScriptedModel
from tests.toy_bench import data_folder, result
from tests.toy_run import agents, target, toy_model

OTHER = DEFAULT.model_copy(update={"name": "other", "alpha": 0.1})
Answer = Callable[[ModelRequest], str | ModelReply | Exception]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedModel]:
    """Every model that was asked for; each run has one of its own."""
    return use(monkeypatch, target)


def use(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[ScriptedModel]:
    made: list[ScriptedModel] = []

    def resolve(name: str, concurrency: int) -> ScriptedModel:
        made.append(toy_model(answer))
        return made[-1]

    monkeypatch.setattr("crito.graph.wiring.resolve", resolve)
    return made


def paid(models: list[ScriptedModel]) -> int:
    return sum(model.calls for model in models)


def bench(folder: Path, *names: str, **fields: Any) -> Bench:
    given = {"presets": {"default": DEFAULT}, "seeds": (0,), "limits": {"calls": 150}}
    loaded = tasks([data_folder(folder, *names)], model="scripted/toy")
    return Bench(**{**given, "tasks": loaded, **fields})


def start(
    wanted: Bench, path: Path, *, parallel: int = 1, listener: Any = lambda cell, event: None
) -> list[CellResult]:
    return asyncio.run(BenchRun(wanted, BenchFolder(path), parallel=parallel, listener=listener).start())


@pytest.mark.parametrize(("unit", "limit"), [("calls", 150), ("calls", 151.0), ("tokens", 9_999), ("usd", 0.0321)])
def test_the_verdict_on_the_whole_test_split_comes_on_top(
    tmp_path: Path, models: list[ScriptedModel], unit: str, limit: float
) -> None:
    wanted = bench(tmp_path, "a", limits={unit: limit})
    priced = {name: t.model_copy(update={"prices": {"scripted/toy": (1.0, 1.0)}}) for name, t in wanted.tasks.items()}
    task = wanted.model_copy(update={"tasks": priced}).task("a", 3, "default")
    found = checked(task, Parts())
    cut, verdict = fit(found.task, *found.prices)
    assert len(cut.splits.test) == 13
    assert getattr(task.budget, unit) == pytest.approx(limit + getattr(verdict, unit))
    assert task.seed == 3


@pytest.mark.parametrize(
    ("unit", "limit", "words"),
    [("calls", 5, "too few.*the verdict's 26 calls, which come on top"), ("usd", 1.0, "no known price")],
)
def test_a_budget_that_cannot_work_is_refused_with_the_task(
    tmp_path: Path, models: list[ScriptedModel], unit: str, limit: float, words: str
) -> None:
    with pytest.raises(BadInput, match=f"task a: .*{words}"):
        bench(tmp_path, "a", limits={unit: limit}).check()
    assert paid(models) == 0


def test_every_cell_has_its_search_held_out_scores_and_spend(tmp_path: Path, models: list[ScriptedModel]) -> None:
    found = start(bench(tmp_path, "a", "b", seeds=(0, 1)), tmp_path / "out")
    assert [cell.cell for cell in found] == [("default", t, s) for s in (0, 1) for t in ("a", "b")]
    for cell in found:
        assert cell.test_score == pytest.approx(sum(cell.scores.values()) / len(cell.scores))
        assert cell.test_score > cell.seed_score
        assert 0 < cell.costs["target"].calls < sum(cost.calls for cost in cell.costs.values()) <= 150
        assert cell.prompt_tokens > 0


def test_the_spend_of_a_cell_is_that_of_its_search_without_the_verdict(
    tmp_path: Path, models: list[ScriptedModel]
) -> None:
    (found,) = start(bench(tmp_path, "a"), tmp_path / "out")
    database = BenchFolder(tmp_path / "out").database(found.cell)
    (rows,) = sqlite3.connect(database).execute("select count(*) from calls").fetchone()
    assert sum(cost.calls for cost in found.costs.values()) == rows - 2 * 13
    assert {"target", "planner", "critic", "rewriter"} <= set(found.costs)


def test_runs_do_not_share_their_cache(tmp_path: Path, models: list[ScriptedModel]) -> None:
    first, second = start(bench(tmp_path, "a", presets={"default": DEFAULT, "again": DEFAULT}), tmp_path / "out")
    assert first.costs["target"].calls == second.costs["target"].calls > 0


def test_finished_cells_are_read_and_nothing_is_paid_again(tmp_path: Path, models: list[ScriptedModel]) -> None:
    wanted = bench(tmp_path, "a", seeds=(0, 1))
    first = start(wanted, tmp_path / "out")
    before, heard = paid(models), []
    assert start(wanted, tmp_path / "out", listener=lambda cell, event: heard.append(event["event"])) == first
    assert paid(models) == before
    assert heard == ["known", "known"]


def test_seeds_and_presets_may_be_added(tmp_path: Path, models: list[ScriptedModel]) -> None:
    wanted = bench(tmp_path, "a")
    first = start(wanted, tmp_path / "out")
    more = wanted.model_copy(update={"seeds": (1, 0), "presets": {"other": OTHER, "default": DEFAULT}})
    assert start(more, tmp_path / "out")[3] == first[0]
    assert start(wanted, tmp_path / "out") == first
    assert len(BenchFolder(tmp_path / "out").read()) == 4


def test_no_two_cells_share_a_database(tmp_path: Path) -> None:
    folder = BenchFolder(tmp_path)
    assert folder.database(Cell("a.b", "c", 0)) != folder.database(Cell("a", "b.c", 0))


def test_a_run_that_finished_unnoticed_is_read_from_its_database(tmp_path: Path, models: list[ScriptedModel]) -> None:
    wanted = bench(tmp_path, "a")
    first = start(wanted, tmp_path / "out")
    BenchFolder(tmp_path / "out").results.unlink()
    before = paid(models)
    assert start(wanted, tmp_path / "out") == first
    assert paid(models) == before


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_drained_bench_goes_on_to_the_same_results(
    tmp_path: Path, models: list[ScriptedModel], parallel: int
) -> None:
    wanted = bench(tmp_path, "a", "b")
    whole = start(wanted, tmp_path / "whole")
    cost = paid(models)
    run: BenchRun

    def stop(cell: Cell, event: Mapping[str, Any]) -> None:
        if cell.task == "b" and event["event"] == "best":
            run.drain("interrupted")

    run = BenchRun(wanted, BenchFolder(tmp_path / "out"), parallel=parallel, listener=stop)
    with pytest.raises(Interrupted, match="interrupted"):
        asyncio.run(run.start())
    again = start(wanted, tmp_path / "out", parallel=parallel)
    volatile = {"run", "seconds", "costs"}
    assert [c.model_dump(exclude=volatile) for c in again] == [c.model_dump(exclude=volatile) for c in whole]
    assert [c.costs["target"].calls for c in again] == [c.costs["target"].calls for c in whole]
    assert paid(models) == 2 * cost


def test_a_provider_that_fails_ends_the_bench_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = bench(tmp_path, "a", "b")
    use(monkeypatch, lambda request: CallFailed("auth", "the key is wrong", retryable=False))
    with pytest.raises(ProviderFailure, match="the key is wrong"):
        start(wanted, tmp_path / "out", parallel=2)
    assert not BenchFolder(tmp_path / "out").results.exists()
    use(monkeypatch, target)
    assert len(start(wanted, tmp_path / "out")) == 2


def test_runs_in_parallel_give_what_runs_in_turn_give(tmp_path: Path, models: list[ScriptedModel]) -> None:
    wanted = bench(tmp_path, "a", "b")
    one, four = start(wanted, tmp_path / "one"), start(wanted, tmp_path / "four", parallel=4)
    assert [(c.cell, c.scores) for c in one] == [(c.cell, c.scores) for c in four]


def test_parallel_runs_share_the_limit_on_calls_in_flight(tmp_path: Path, models: list[ScriptedModel]) -> None:
    limits: list[int] = []

    def heard(cell: Cell, event: Mapping[str, Any]) -> None:
        if event["event"] == "start":
            limits.append(event["task"].in_flight)

    start(bench(tmp_path, "a", seeds=(0, 1)), tmp_path / "out", parallel=2, listener=heard)
    assert limits == [4, 4]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limits": {"calls": 151}}, "its budget is 150 calls, not 151 calls"),
        ({"limits": {"tokens": 150}}, "its budget is 150 calls, not 150 tokens"),
        ({"limits": {"tokens": 1_234_567}}, "its budget is 150 calls, not 1234567 tokens"),
        ({"limits": {"usd": 0.25}}, "its budget is 150 calls, not 0.25 usd"),
        ({"presets": {"default": OTHER}}, "preset default has changed since"),
        ({"tasks": {}}, "its tasks are a, not "),
    ],
)
def test_a_folder_that_holds_another_bench_is_refused(
    tmp_path: Path, models: list[ScriptedModel], change: dict[str, Any], words: str
) -> None:
    wanted, folder = bench(tmp_path, "a"), BenchFolder(tmp_path)
    folder.begin(wanted.terms)
    with pytest.raises(BadInput, match=f"holds another bench: {words}.*--output"):
        folder.check(wanted.model_copy(update=change).terms)


def test_another_model_or_other_data_are_another_bench(tmp_path: Path, models: list[ScriptedModel]) -> None:
    wanted, folder = bench(tmp_path, "a"), BenchFolder(tmp_path)
    folder.begin(wanted.terms)
    for change, words in (({"model": "x/y"}, "its models for a are"), ({"description": "?"}, "task a has changed")):
        task = wanted.tasks["a"].model_copy(update=change)
        with pytest.raises(BadInput, match=words):
            folder.check(wanted.model_copy(update={"tasks": {"a": task}}).terms)


def test_a_folder_that_is_none_or_cannot_be_read_is_refused(tmp_path: Path, models: list[ScriptedModel]) -> None:
    terms = bench(tmp_path, "a").terms
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is not a folder"):
        BenchFolder(tmp_path / "file").check(terms)
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(BadInput, match="cannot be read as a bench"):
        BenchFolder(tmp_path).check(terms)


def test_a_second_process_on_one_folder_is_refused_and_writes_nothing(
    tmp_path: Path, models: list[ScriptedModel]
) -> None:
    folder = BenchFolder(tmp_path / "out")
    with folder.held(), pytest.raises(BadInput, match="another process"):
        start(bench(tmp_path, "a"), folder.path)
    assert paid(models) == 0
    assert list(folder.path.iterdir()) == []


def test_runs_of_an_unknown_bench_are_refused(tmp_path: Path, models: list[ScriptedModel]) -> None:
    (tmp_path / "out" / "runs").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"has runs and no bench\.json.*--output"):
        start(bench(tmp_path, "a"), tmp_path / "out")


@pytest.mark.parametrize("content", [b"{}\n", b"{\n", b"\xff\xfe"])
def test_results_that_cannot_be_read_are_refused_and_may_be_removed(tmp_path: Path, content: bytes) -> None:
    folder = BenchFolder(tmp_path)
    folder.results.write_bytes(content)
    with pytest.raises(BadInput, match=r"results.jsonl: cannot be read as results; remove it"):
        folder.read()
    folder.results.unlink()
    assert folder.read() == {}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot be written \(.+\).*--output"), BenchFolder(tmp_path / "file/x").held():
        pass
    with pytest.raises(BadInput, match=r"cannot be written \(.+\).*--output"):
        BenchFolder(tmp_path / "gone").write({})


@pytest.mark.parametrize(("scoring", "same"), [("likelihood", False), ("sampled", True)])
def test_a_preset_without_likelihood_gets_the_budget_of_sampled_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scoring: str, *, same: bool
) -> None:
    def resolve(name: str, concurrency: int) -> ScriptedModel:
        return ScriptedModel(target, name="scripted/toy", supports_logprobs=True)

    monkeypatch.setattr("crito.graph.wiring.resolve", resolve)
    wanted = bench(tmp_path, "a", presets={n: preset(n) for n in ("default", "default-likelihood")})
    wanted = wanted.model_copy(update={"limits": {"tokens": 50_000}})
    tasks = {"a": wanted.tasks["a"].model_copy(update={"scoring": scoring, "max_output_tokens": 50})}
    wanted = wanted.model_copy(update={"tasks": tasks})
    graded, sampled = (wanted.task("a", 0, name) for name in wanted.presets)
    assert (sampled.scoring, graded.scoring) == ("sampled", scoring)
    assert (sampled.budget == graded.budget) is same


def test_a_preset_without_likelihood_is_refused_on_a_task_that_is_sampled_anyway(
    tmp_path: Path, models: list[ScriptedModel]
) -> None:
    wanted = bench(tmp_path, "a", presets={"default-likelihood": preset("default-likelihood")})
    with pytest.raises(BadInput, match="preset default-likelihood: task a is scored by sampled answers anyway"):
        wanted.check()


def test_scores_are_those_of_the_verdict_calibrated_on_validation_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaning(request: ModelRequest) -> str | ModelReply | Exception:
        """Says billing, and is less sure of it where shipping is right."""
        if not request.top_logprobs:
            return agents(request)
        (*_, thing) = re.findall(r"My (\w+)", request.messages[-1].content)
        sure = 0.6 if thing == "parcel" else 0.9
        return ModelReply(text="b", first_token={"b": math.log(sure), "s": math.log(1 - sure)})

    def resolve(name: str, concurrency: int) -> ScriptedModel:
        return ScriptedModel(leaning, name="scripted/toy", supports_logprobs=True)

    monkeypatch.setattr("crito.graph.wiring.resolve", resolve)
    wanted = bench(tmp_path, "a")
    tasks = {"a": wanted.tasks["a"].model_copy(update={"scoring": "calibrated"})}
    (found,) = start(wanted.model_copy(update={"tasks": tasks}), tmp_path / "out")
    assert set(found.scores.values()) == {1.0}


def test_scores_are_means_over_the_repeats_of_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    def wavering(request: ModelRequest) -> str | ModelReply | Exception:
        """Right when it is asked for the first time."""
        known = request.model_dump_json() in asked
        asked.add(request.model_dump_json())
        (*_, thing) = re.findall(r"My (\w+)", request.messages[-1].content)
        return "no idea" if known else "shipping" if thing == "parcel" else "billing"

    use(monkeypatch, wavering)
    wanted = bench(tmp_path, "a")
    tasks = {"a": wanted.tasks["a"].model_copy(update={"temperature": 0.7, "repeats": 2})}
    (found,) = start(wanted.model_copy(update={"tasks": tasks}), tmp_path / "out")
    assert set(found.scores.values()) == {0.5}


def test_results_are_one_line_a_cell_and_read_back(tmp_path: Path) -> None:
    folder, kept = BenchFolder(tmp_path), [result(seed=0), result(seed=1)]
    folder.write({cell.cell: cell for cell in kept})
    assert [json.loads(line)["seed"] for line in folder.results.read_text().splitlines()] == [0, 1]
    assert list(folder.read().values()) == kept
