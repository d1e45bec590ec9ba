import io
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from crito.errors import CallFailed
from crito.progress import Progress
from crito.protocols import ModelReply, ModelRequest
from crito.tools.meter import Spend
from crito.tools.scripted_model import ScriptedModel
from tests.builders import crito, refused
from tests.toy_run import LABELS, RULE, target, task_folder, toy_model

Use = Callable[[ScriptedModel], ScriptedModel]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return tmp_path


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    def put(model: ScriptedModel) -> ScriptedModel:
        monkeypatch.setattr("crito.graph.wiring.resolve", lambda name, concurrency: model)
        return model

    return put


def interrupting(*at: int) -> ScriptedModel:
    def answer(request: ModelRequest) -> str | ModelReply | Exception:
        if model.calls in at:
            os.kill(os.getpid(), signal.SIGINT)
        return target(request)

    model = toy_model(answer)
    return model


def test_optimize_prints_one_object_and_nothing_else_on_stdout(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder), "--json")
    said = json.loads(got.stdout)
    assert got.exit_code == 0
    keys = "run verdict seed_score best_score difference interval p_value n_test calls calls_target calls_agents"
    assert set(f"{keys} tokens_in tokens_out usd seconds prompt chain".split()) <= set(said)
    assert said["verdict"] == "improved"
    assert set(said["prompt"]) == {"text", "messages"}


def test_optimize_tells_the_estimate_before_the_first_call(folder: Path, use: Use) -> None:
    shown: list[bytes] = []

    def answer(request: ModelRequest) -> str | ModelReply | Exception:
        shown.append(sys.stderr.buffer.getvalue())  # type: ignore[union-attr]  # the runner's own buffer
        return target(request)

    use(toy_model(answer))
    crito("optimize", task_folder(folder), "--budget-calls", "150")
    assert b": routing on scripted/toy: at most 150 calls, about" in shown[0]
    assert shown[0].count(b"\n") == 2
    assert b"preset lean: 2 labels; about 150 calls are too few" in shown[0]


def test_progress_is_one_plain_line_a_round_when_stderr_is_no_terminal(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder))
    lines = got.stderr.splitlines()
    assert lines[2].startswith("best 0.00 · ")
    assert sum("round 0 opening · best" in line for line in lines) == 1
    assert lines[-1].startswith("verdict on ")
    assert "/200 calls" in lines[2]
    assert "\x1b" not in got.stderr


def test_quiet_says_nothing_on_stderr(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder), "--quiet")
    assert (got.exit_code, got.stderr) == (0, "")


def test_options_replace_the_keys_of_the_task_file(folder: Path, use: Use) -> None:
    use(toy_model())
    path = task_folder(folder)
    crito("optimize", path, "--seed", "7", "--budget-calls", "160", "--budget-seconds", "99", "--agent-model", "x/y")
    rows = sqlite3.connect(".crito/crito.db").execute("select task from runs").fetchall()
    task = json.loads(rows[0][0])
    assert (task["seed"], task["agent_model"]) == (7, "x/y")
    assert (task["budget"]["calls"], task["budget"]["seconds"]) == (160, 99)


def test_an_output_that_cannot_be_written_is_refused_before_any_call(folder: Path, use: Use) -> None:
    model = use(toy_model())
    path = task_folder(folder)
    assert "must end in .yaml" in refused("optimize", path, "--output", "p.doc")
    assert "no folder none" in refused("optimize", path, "--output", "none/p.yaml")
    assert model.calls == 0


def test_a_metric_beside_the_task_file_is_found(folder: Path, use: Use) -> None:
    use(toy_model())
    place = folder / "elsewhere"
    place.mkdir()
    (place / "toy_metric_beside.py").write_text(
        "def same(output, example):\n    return output.text == example.expected\n"
    )
    got = crito("evaluate", task_folder(place, "metric: toy_metric_beside:same\n"), "--json")
    assert got.exit_code == 0
    assert json.loads(got.stdout)["score"] == 0.0


@pytest.mark.parametrize(
    ("more", "arguments", "words"),
    [
        ("metrik: label\n", (), "did you mean 'metric'?"),
        ("", ("--budget-calls", "0"), "budget.calls: must be above 0"),
        ("", ("--budget-calls", "20"), "the least that works"),
        ("", ("--model", "gpt"), "names no provider"),
        ("metric: no_such_module:score\n", (), "no_such_module"),
    ],
)
def test_a_task_that_cannot_work_is_refused_in_one_line(
    folder: Path, more: str, arguments: tuple[str, ...], words: str
) -> None:
    path = task_folder(folder, more)
    if "--model" not in arguments:
        arguments = (*arguments, "--model", "endpoint/http://127.0.0.1:9/v1#m")
    assert words in refused("optimize", path, *arguments)


def test_a_missing_task_file_is_refused() -> None:
    assert "nowhere.yaml" in refused("optimize", "nowhere.yaml")


def test_a_foreign_database_is_refused_and_left_alone(folder: Path, use: Use) -> None:
    use(toy_model())
    (folder / "other.db").write_text("my notes, thirty bytes at least")
    assert "not a Crito database" in refused("runs", "--db", "other.db")
    assert "not a Crito database" in refused("optimize", task_folder(folder), "--quiet", "--db", "other.db")
    assert (folder / "other.db").read_text() == "my notes, thirty bytes at least"


def test_the_first_interrupt_drains_and_resume_goes_on(folder: Path, use: Use) -> None:
    use(interrupting(30))
    stopped = crito("optimize", task_folder(folder))
    assert stopped.exit_code == 130
    assert "stopping after the current step, Ctrl-C again to quit at once" in stopped.stderr
    *_, last = stopped.stderr.splitlines()
    (entry,) = json.loads(crito("runs", "--json").stdout)
    assert last.startswith("crito: ")
    assert last.endswith(f"crito resume {entry['run']}")
    assert entry["status"] == "paused"
    assert f"crito resume {entry['run']}" in crito("show", "latest").stdout
    assert "has no prompt yet" in crito("show", "latest", "--prompt").stderr
    use(toy_model())
    resumed = crito("resume", "latest", "--json", "--quiet")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout)["run"] == entry["run"]


def test_what_resumes_a_run_names_its_database(folder: Path, use: Use) -> None:
    use(interrupting(3, 6))
    stopped = crito("optimize", task_folder(folder, "concurrency: 1\n"), "--db", "my runs.db")
    (entry,) = json.loads(crito("runs", "--db", "my runs.db", "--json").stdout)
    command = f"crito resume {entry['run']} --db 'my runs.db'"
    assert stopped.stderr.splitlines()[-1].endswith(command)
    assert command in crito("show", "latest", "--db", "my runs.db").stdout
    assert command in crito("show", "latest", "--db", "my runs.db", "--prompt").stderr


def test_resume_takes_a_larger_budget(folder: Path, use: Use) -> None:
    use(interrupting(30))
    crito("optimize", task_folder(folder))
    assert "--budget-calls 0: must be above 0" in crito("resume", "latest", "--budget-calls", "0").stderr
    assert "--budget-usd inf: must be above 0, and finite" in crito("resume", "latest", "--budget-usd", "inf").stderr
    use(toy_model())
    assert crito("resume", "latest", "--budget-calls", "260", "--quiet").exit_code == 0
    assert "has ended" in crito("resume", "latest", "--budget-calls", "300").stderr
    rows = sqlite3.connect(".crito/crito.db").execute("select task from runs").fetchall()
    assert json.loads(rows[0][0])["budget"]["calls"] == 260


def test_too_few_test_examples_are_warned_of(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder, number=12))
    assert "warning: with 4 test examples no gain can be told from luck" in got.stderr


def test_the_second_interrupt_quits_at_once(folder: Path, use: Use) -> None:
    before = signal.getsignal(signal.SIGINT)  # a job in the background ignores it
    model = use(interrupting(3, 6))
    stopped = crito("optimize", task_folder(folder, "concurrency: 1\n"))
    assert stopped.exit_code == 130
    assert "crito: quit at once; go on with: crito resume " in stopped.stderr
    assert model.calls < 20  # of about 200
    assert signal.getsignal(signal.SIGINT) is before


def test_a_provider_that_refuses_ends_with_exit_code_3_and_a_run_to_resume(folder: Path, use: Use) -> None:
    use(ScriptedModel(lambda _: CallFailed("auth", "the key is wrong", retryable=False), name="scripted/toy"))
    got = crito("optimize", task_folder(folder), "--json", "--quiet")
    assert (got.exit_code, got.stdout) == (3, "")
    assert "the key is wrong" in got.stderr
    assert "crito resume" in got.stderr


def test_evaluate_scores_a_file_or_stdin_or_the_tasks_own_prompt(folder: Path, use: Use) -> None:
    use(toy_model())
    path = task_folder(folder)
    better = f"Answer with one of {', '.join(LABELS)}. {RULE}\n\n{{message}}"
    Path("better.txt").write_text(better)
    own = json.loads(crito("evaluate", path, "--json").stdout)
    file = json.loads(crito("evaluate", path, "better.txt", "--json").stdout)
    piped = json.loads(crito("evaluate", path, "-", "--json", stdin=better).stdout)
    assert (own["score"], file["score"], piped["score"]) == (0.0, 1.0, 1.0)
    assert (own["n"], own["failed"]) == (39, 1)


def test_evaluate_tells_failures_in_words(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("evaluate", task_folder(folder), "--split", "val")
    assert got.stdout.startswith("routing: 0.000 [")
    assert " calls, " in got.stdout.splitlines()[-1]


def test_evaluate_tells_the_scores_of_other_ways_to_write_the_prompt(folder: Path, use: Use) -> None:
    use(toy_model())
    path = task_folder(folder)
    found = json.loads(crito("evaluate", path, "--split", "test", "--robustness", "3", "--json").stdout)
    assert found["robustness"]["by_variant"][0][0] == "as written"
    assert len(found["robustness"]["by_variant"]) == 4
    got = crito("evaluate", path, "--split", "test", "--robustness", "3")
    assert "  written in 4 ways, " in got.stdout
    assert "two of them answer differently in " in got.stdout


@pytest.mark.parametrize(
    ("text", "words"), [(b"", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"Route {mesage}.", "{mesage}")]
)
def test_a_piped_prompt_that_cannot_work_is_refused(folder: Path, text: bytes, words: str) -> None:
    got = crito("evaluate", task_folder(folder), "-", stdin=text)
    assert (got.exit_code, got.stdout) == (2, "")
    assert words in got.stderr
    assert not Path(".crito").exists()


def test_a_prompt_of_unknown_form_is_refused(folder: Path) -> None:
    assert "must be a .txt, .md or .yaml file" in refused("evaluate", task_folder(folder), "prompt.doc")


def test_init_writes_a_task_that_loads_and_never_overwrites_unasked(folder: Path, use: Use) -> None:
    use(toy_model())
    task_folder(folder)
    assert "is there already" in refused("init", "data.jsonl")
    assert (folder / "TASK.yaml").read_text().startswith("name: routing")
    assert crito("init", "data.jsonl", "--force", "--model", "scripted/toy").exit_code == 0
    assert crito("evaluate", "TASK.yaml", "--json").exit_code == 0


def test_init_for_another_folder_names_the_data_so_that_it_is_found(folder: Path, use: Use) -> None:
    use(toy_model())
    task_folder(folder)
    (folder / "sub").mkdir()
    got = crito("init", "data.jsonl", "--output", "sub/T.yaml", "--json")
    assert json.loads(got.stdout) == {"task": "sub/T.yaml"}
    assert crito("evaluate", "sub/T.yaml", "--json").exit_code == 0


def test_init_without_data_is_refused() -> None:
    assert "none.csv" in refused("init", "none.csv")
    assert not Path("TASK.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("optimize", "TASK.yaml", "--bugdet", "3"), "--bugdet"),
        (("optimize", "TASK.yaml", "--budget-calls", "many"), "--budget-calls"),
        (("optimize",), "TASK.yaml"),
        (("optimise", "TASK.yaml"), "optimise"),
        (("--colour",), "--colour"),
    ],
)
def test_a_usage_error_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


@pytest.mark.parametrize("other", [("--memory", "user"), ("--remember-prompts",), ("--embed", "local/smollm2")])
def test_no_memory_and_what_needs_one_are_refused_together(folder: Path, other: tuple[str, ...]) -> None:
    assert "--no-memory: does not go with" in refused("optimize", str(task_folder(folder)), "--no-memory", *other)
    assert not (folder / ".crito").exists()


def test_without_anything_the_help_is_shown() -> None:
    got = crito()
    assert "optimize" in got.output
    assert "crito: " not in got.output


def test_a_terminal_gets_a_moving_line_with_round_score_and_spend() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with Progress(console=console) as progress:
        progress({"event": "round", "round": 2, "stage": "search", "calls": 30})
        progress({"event": "best", "candidate": "c", "score": 0.5})
        progress({"event": "outcome", "candidate": "c", "spent": Spend(calls=9, tokens=1200), "left": 65.9})
    assert "1:05 left · round 2 search · best 0.50 · 9 calls · 1,200 tokens" in screen.getvalue()
