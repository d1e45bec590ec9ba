import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from crito.bench_cells import Cell
from crito.bench_progress import BenchProgress
from crito.cli import app
from crito.errors import CallFailed
from crito.protocols import ModelReply, ModelRequest
from crito.tools.scripted_model import ScriptedModel
from tests.toy_bench import data_folder, result
from tests.toy_run import target, toy_model

COMMON = ("--model", "scripted/toy", "--seeds", "0", "--output", "out")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, toy_model())
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel) -> ScriptedModel:
    monkeypatch.setattr("crito.graph.wiring.resolve", lambda name, concurrency: model)
    return model


def crito(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments: str | Path) -> str:
    got = crito("bench", *arguments)
    assert (got.exit_code, got.stdout, got.stderr.count("\n")) == (2, "", 1)
    assert not Path("out").exists()
    return got.stderr


def test_a_bench_prints_its_tables_and_writes_its_files(folder: Path) -> None:
    got = crito("bench", data_folder(folder, "a", "b"), "--calls", "150", "--presets", "default,lean", *COMMON)
    assert got.exit_code == 0, got.stderr
    assert "default minus the others" in got.stdout
    assert {"bench.json", "results.jsonl", "results.json", "runs"} <= {path.name for path in Path("out").iterdir()}
    assert len(list(Path("out/runs").glob("*.db"))) == 4


def test_json_is_one_object_with_all_cells_and_nothing_else_on_stdout(folder: Path) -> None:
    got = crito("bench", data_folder(folder, "a"), "--calls", "150", "--json", "--quiet", *COMMON)
    said = json.loads(got.stdout)
    assert said == json.loads(Path("out/results.json").read_text())
    assert set(said) == {"terms", "by_task", "by_preset", "differences", "cells"}
    assert said["cells"][0]["costs"]["target"]["calls"] > 0
    assert "of 1" not in got.stderr


def test_progress_tells_which_cell_of_how_many_and_how_long_it_takes(folder: Path) -> None:
    got = crito("bench", data_folder(folder, "a", "b"), "--calls", "150", *COMMON)
    lines = got.stderr.splitlines()
    assert lines[0] == "1 of 2 · default a seed 0"
    assert lines[1].startswith("1 of 2 · default a seed 0 · best 1.00 · held out ")
    assert lines[1].endswith("left")
    assert "2 of 2 · default b seed 0 · best" in lines[3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--calls N, --tokens N or --usd X"),
        (("--calls", "9", "--tokens", "0"), "--tokens 0: must be above 0"),
        (("--calls", "0"), "--calls 0: must be above 0"),
        (("--calls", "150", "--presets", "defualt"), "did you mean 'default'?"),
        (("--calls", "150", "--presets", ","), "--presets: names nothing"),
        (("--calls", "150", "--tasks", "aa"), "did you mean 'a'?"),
        (("--calls", "150", "--seeds", "0,-1"), "--seeds 0,-1: -1 is below 0"),
        (("--calls", "150", "--seeds", "0,x"), "--seeds 0,x: must be whole numbers"),
        (("--calls", "3"), "task a: "),
        (("--calls", "150", "--parallel", "0"), "--parallel"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(folder: Path, options: tuple[str, ...], words: str) -> None:
    assert words in refused(data_folder(folder, "a"), *COMMON, *options)


def test_metric_modules_of_one_name_in_two_places_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    data = data_folder(folder, "a", "b")
    for name in ("a", "b"):
        spec = data / name / "task.json"
        spec.write_text(json.dumps({**json.loads(spec.read_text()), "metric": "toy_exactness:score"}))
        (data / name / "toy_exactness.py").write_text("def score(output, example): return 1.0\n")
    said = refused(data, *COMMON, "--calls", "150")
    assert f"{data}/b/task.json: metric toy_exactness:score: {data.resolve()}/a has a module toy_exactness too" in said
    assert "rename one" in said


def test_a_folder_with_another_bench_is_refused(folder: Path) -> None:
    data = data_folder(folder, "a")
    crito("bench", data, "--calls", "150", *COMMON)
    got = crito("bench", data, "--calls", "151", *COMMON)
    assert (got.exit_code, got.stdout) == (2, "")
    assert "out: holds another bench: its budget is 150 calls, not 151 calls" in got.stderr


def test_a_provider_that_refuses_ends_with_exit_code_3_and_the_command_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = ScriptedModel(lambda _: CallFailed("auth", "the key is wrong", retryable=False), name="scripted/toy")
    use(monkeypatch, refusal)
    data = data_folder(folder, "a")
    got = crito("bench", data, "--calls", "150", *COMMON)
    assert got.exit_code == 3
    last = got.stderr.splitlines()[-1]
    command = (
        f"crito bench {data} --presets default --seeds 0 --calls 150 --model scripted/toy --output out --parallel 1"
    )
    assert last.endswith(f"go on with: {command}")
    assert "crito resume" not in last
    use(monkeypatch, toy_model())
    assert crito(*command.split()[1:]).exit_code == 0


def test_an_interrupt_stops_after_the_step_and_the_same_command_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_folder(folder, "a", "b")
    whole = crito("bench", data, "--calls", "150", "--json", *COMMON[:-1], "whole")

    def answer(request: ModelRequest) -> str | ModelReply | Exception:
        if model.calls == 200:
            os.kill(os.getpid(), signal.SIGINT)
        return target(request)

    model = use(monkeypatch, toy_model(answer))
    stopped = crito("bench", data, "--calls", "150", *COMMON)
    assert stopped.exit_code == 130
    assert "go on with: crito bench" in stopped.stderr
    assert len(Path("out/results.jsonl").read_text().splitlines()) == 1
    use(monkeypatch, toy_model())
    again = crito("bench", data, "--calls", "150", "--json", *COMMON)
    assert json.loads(again.stdout)["by_task"] == json.loads(whole.stdout)["by_task"]


def test_presets_are_listed_with_their_settings() -> None:
    shown = crito("presets").stdout
    assert shown.startswith("default: at most 600 target calls")
    assert "Parts: own-outputs, repair," in shown.splitlines()[-1]
    listed = {preset["name"]: preset for preset in json.loads(crito("presets", "--json").stdout)}
    calls = {
        name: (listed[name]["most_calls"], listed[name]["unlimited_calls"]) for name in ("default", "lean", "gepa")
    }
    assert calls == {"default": (600, None), "lean": (290, 290), "gepa": (600, 60 * 50)}
    assert "alpha" in listed["default"]
    assert {name for name, preset in listed.items() if preset["recalls"]} == {"default", "lean"}
    assert shown.count("takes along what earlier runs learned") == 2


def test_a_terminal_gets_a_moving_line_with_cell_best_score_and_time_left() -> None:
    screen = io.StringIO()
    cells = [Cell("default", "a", seed) for seed in range(3)]
    with BenchProgress(cells, console=Console(file=screen, force_terminal=True, width=120)) as progress:
        progress(cells[0], {"event": "known"})
        progress(cells[1], {"event": "start"})
        progress(cells[1], {"event": "finished", "result": result(seed=1)})
        progress(cells[2], {"event": "start"})
        progress(cells[2], {"event": "best", "score": 0.5})
    assert "3 of 3 · default a seed 2 · best 0.50 · 0:00:00 left" in screen.getvalue()
