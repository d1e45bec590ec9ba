import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from crito.cli import app
from crito.errors import CallFailed
from crito.progress import Progress
from crito.prompt import Prompt
from crito.protocols import ModelReply, ModelRequest
from crito.result import Result as RunResult
from crito.tools.database import Database
from crito.tools.meter import Spend
from crito.tools.run_lock import run_lock
from crito.tools.scripted_model import ScriptedModel
from tests.toy_run import LABELS, RULE, finished, target, task_folder, toy_model

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


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    database = tmp_path_factory.mktemp("done") / "crito.db"
    return database, finished(database)


def crito(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def refused(*arguments: str | Path, code: int = 2) -> str:
    got = crito(*arguments)
    assert (got.exit_code, got.stdout) == (code, "")
    assert got.stderr.startswith("crito: ")
    assert got.stderr.count("\n") == 1
    assert not Path(".crito").exists()
    return got.stderr


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
    assert shown[0].count(b"\n") == 1


def test_progress_is_one_plain_line_a_round_when_stderr_is_no_terminal(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder))
    lines = got.stderr.splitlines()
    assert lines[1].startswith("best 0.00 · ")
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


def test_output_writes_the_prompt_in_the_form_that_its_name_asks_for(done: tuple[Path, RunResult]) -> None:
    database, result = done
    for name in ("p.yaml", "p.txt", "p.json"):
        assert crito("show", "latest", "--db", database, "--output", name).exit_code == 0
    assert Prompt.from_yaml(Path("p.yaml").read_text()) == result.prompt
    assert Path("p.txt").read_bytes() == result.prompt.to_text().encode()
    assert json.loads(Path("p.json").read_text()) == result.prompt.to_messages()


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


@pytest.mark.parametrize("command", [("runs",), ("show", "latest"), ("trace", "latest"), ("resume", "latest")])
def test_without_a_database_nothing_is_made(command: tuple[str, ...]) -> None:
    assert "there is no run database here" in refused(*command)


def test_an_unknown_run_is_refused(done: tuple[Path, RunResult]) -> None:
    for command in ("show", "trace", "resume"):
        assert "there is no run 'zz'" in refused(command, "zz", "--db", done[0])


def test_a_prefix_names_a_run_unless_two_begin_with_it(done: tuple[Path, RunResult]) -> None:
    assert crito("show", done[1].run[:5], "--db", done[0]).exit_code == 0
    two = Database(Path("two.db"))
    for run in ("ab12", "ab34"):
        two.add_run(run, name="n", preset="p", task='{"model": "m", "metric": "label"}')
    asyncio.run(two.close())
    assert "run 'ab' may mean" in refused("show", "ab", "--db", "two.db")
    assert json.loads(crito("show", "ab1", "--db", "two.db", "--json").stdout)["run"] == "ab12"
    assert json.loads(crito("show", "latest", "--db", "two.db", "--json").stdout)["run"] == "ab34"


def test_show_tells_verdict_bill_chain_prompt_and_export(done: tuple[Path, RunResult]) -> None:
    database, result = done
    got = crito("show", "latest", "--db", database)
    assert got.stdout.startswith("task on scripted/toy: improved\n")
    assert f"p = {result.verdict.p_value:.2g}" in got.stdout
    assert [line.split()[0] for line in got.stdout.splitlines() if " by " in line] == [
        c.candidate for c in result.chain
    ]
    assert "critic" in got.stdout
    assert result.prompt.to_text() in got.stdout
    assert f"crito show {result.run} --db {database} --prompt" in got.stdout


def test_show_as_json_is_what_optimize_printed(done: tuple[Path, RunResult]) -> None:
    database, result = done
    assert json.loads(crito("show", "latest", "--db", database, "--json").stdout) == result.as_json()


def test_show_prompt_prints_its_text_and_one_newline(done: tuple[Path, RunResult]) -> None:
    database, result = done
    assert crito("show", "latest", "--db", database, "--prompt").stdout == result.prompt.to_text() + "\n"


def test_show_messages_prints_chat_messages(done: tuple[Path, RunResult]) -> None:
    database, result = done
    got = crito("show", "latest", "--db", database, "--messages")
    assert json.loads(got.stdout) == result.prompt.to_messages()


def test_runs_lists_verdict_and_spend(done: tuple[Path, RunResult]) -> None:
    database, result = done
    (entry,) = json.loads(crito("runs", "--db", database, "--json").stdout)
    assert (entry["run"], entry["status"], entry["verdict"]) == (result.run, "done", "improved")
    assert (entry["calls"], entry["usd"]) == (result.bill.calls, pytest.approx(result.bill.usd))
    shown = crito("runs", "--db", database).stdout.splitlines()
    assert shown[1].split()[0] == result.run
    assert "improved 0.00 -> 1.00" in shown[1]


def test_trace_shows_who_proposed_what_and_why_it_fell(done: tuple[Path, RunResult]) -> None:
    database, result = done
    said = crito("trace", "latest", "--db", database).stdout
    assert "critic: wrong_content: say where refunds go" in said
    assert "critique_synthesis by rewriter" in said
    assert "eliminated: in the lower half after 8 examples" in said
    assert "rewriter asked scripted/toy:" in said
    assert f"verdict: improved (0.000 -> 1.000 on {result.verdict.n} examples)" in said
    assert "bad_request: the message was refused" in said


def test_trace_lists_calls_or_failures_alone(done: tuple[Path, RunResult]) -> None:
    database, result = done
    assert len(crito("trace", "latest", "--db", database, "--calls").stdout.splitlines()) == result.bill.calls + 1
    failed = json.loads(crito("trace", "latest", "--db", database, "--failed", "--json").stdout)
    assert len(failed) == result.bill.failed > 0
    assert {call["status"] for call in failed} == {"failed"}


def test_texts_from_outside_cannot_steer_the_terminal() -> None:
    database = Database(Path("odd.db"))
    database.add_run("ab12", name="a\x1b[2Jb", preset="p", task='{"model": "m", "metric": "label"}')
    asyncio.run(database.close())
    assert "\x1b" not in crito("runs", "--db", "odd.db").stdout


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


def test_a_killed_run_is_shown_as_stopped_and_a_live_one_as_running(folder: Path) -> None:
    database = Database(folder / "two.db")
    for run in ("dead", "live"):
        database.add_run(run, name="n", preset="p", task='{"model": "m", "metric": "label", "digest": "d"}')
    asyncio.run(database.close())
    (folder / "two.db.dead.lock").touch()  # what a killed process leaves
    with run_lock(folder / "two.db", "live"):
        found = json.loads(crito("runs", "--db", "two.db", "--json").stdout)
        assert ": running" in crito("show", "live", "--db", "two.db").stdout
    assert {entry["run"]: entry["status"] for entry in found} == {"dead": "stopped", "live": "running"}
    assert {entry["splits"] for entry in found} == {"d"}


def test_resume_takes_a_larger_budget(folder: Path, use: Use) -> None:
    use(interrupting(30))
    crito("optimize", task_folder(folder))
    assert "--budget-calls 0: must be above 0" in crito("resume", "latest", "--budget-calls", "0").stderr
    use(toy_model())
    assert crito("resume", "latest", "--budget-calls", "260", "--quiet").exit_code == 0
    rows = sqlite3.connect(".crito/crito.db").execute("select task from runs").fetchall()
    assert json.loads(rows[0][0])["budget"]["calls"] == 260


def test_too_few_test_examples_are_warned_of(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("optimize", task_folder(folder, number=12))
    assert "warning: with 4 test examples no gain can be told from luck" in got.stderr


def test_the_second_interrupt_quits_at_once(folder: Path, use: Use) -> None:
    model = use(interrupting(3, 6))
    stopped = crito("optimize", task_folder(folder, "concurrency: 1\n"))
    assert stopped.exit_code == 130
    assert "crito: quit at once; go on with: crito resume " in stopped.stderr
    assert model.calls < 12
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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


def test_evaluate_reads_back_what_show_exported(folder: Path, use: Use, done: tuple[Path, RunResult]) -> None:
    use(toy_model())
    crito("show", "latest", "--db", done[0], "--output", "p.yaml")
    path = task_folder(folder, "inputs: {input: message}\n")
    got = crito("evaluate", path, "p.yaml", "--split", "test", "--json")
    assert json.loads(got.stdout)["score"] == 1.0


def test_evaluate_tells_failures_in_words(folder: Path, use: Use) -> None:
    use(toy_model())
    got = crito("evaluate", task_folder(folder), "--split", "val")
    assert got.stdout.startswith("routing: 0.000 [")
    assert " calls, " in got.stdout.splitlines()[-1]


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


def test_without_anything_the_help_is_shown() -> None:
    got = crito()
    assert "optimize" in got.output
    assert "crito: " not in got.output


def test_reading_commands_need_no_workflow(done: tuple[Path, RunResult]) -> None:
    code = (
        "import sys; from crito.cli import app\n"
        f"for c in (['runs'], ['show', 'latest'], ['trace', 'latest']): app([*c, '--db', {str(done[0])!r}], "
        "standalone_mode=False)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'langgraph', 'litellm', 'numpy', 'scipy'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_a_terminal_gets_a_moving_line_with_round_score_and_spend() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with Progress(console=console) as progress:
        progress({"event": "round", "round": 2, "stage": "search", "calls": 30})
        progress({"event": "best", "candidate": "c", "score": 0.5})
        progress({"event": "outcome", "candidate": "c", "spent": Spend(calls=9, tokens=1200), "left": 65.9})
    assert "1:05 left · round 2 search · best 0.50 · 9 calls · 1,200 tokens" in screen.getvalue()
