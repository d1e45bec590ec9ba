import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from crito.prompt import Prompt
from crito.result import Result
from crito.tools.database import Database
from crito.tools.run_lock import run_lock
from tests.builders import crito, refused
from tests.toy_run import task_folder, toy_model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_output_writes_the_prompt_in_the_form_that_its_name_asks_for(done: tuple[Path, Result]) -> None:
    database, result = done
    for name in ("p.yaml", "p.txt", "p.json"):
        assert crito("show", "latest", "--db", database, "--output", name).exit_code == 0
    assert Prompt.from_yaml(Path("p.yaml").read_text()) == result.prompt
    assert Path("p.txt").read_bytes() == result.prompt.to_text().encode()
    assert json.loads(Path("p.json").read_text()) == result.prompt.to_messages()


@pytest.mark.parametrize("command", [("runs",), ("show", "latest"), ("trace", "latest"), ("resume", "latest")])
def test_without_a_database_nothing_is_made(command: tuple[str, ...]) -> None:
    assert "there is no run database here" in refused(*command)


def test_an_unknown_run_is_refused(done: tuple[Path, Result]) -> None:
    for command in ("show", "trace", "resume"):
        advice = f"there is no run 'zz'; see: crito runs --db {done[0]}\n"
        assert refused(command, "zz", "--db", done[0]).endswith(advice)


def test_a_prefix_names_a_run_unless_two_begin_with_it(done: tuple[Path, Result]) -> None:
    assert crito("show", done[1].run[:5], "--db", done[0]).exit_code == 0
    two = Database(Path("two.db"))
    for run in ("ab12", "ab34"):
        two.add_run(run, name="n", preset="p", task='{"model": "m", "metric": "label"}')
    asyncio.run(two.close())
    assert "run 'ab' may mean" in refused("show", "ab", "--db", "two.db")
    assert json.loads(crito("show", "ab1", "--db", "two.db", "--json").stdout)["run"] == "ab12"
    assert json.loads(crito("show", "latest", "--db", "two.db", "--json").stdout)["run"] == "ab34"


def test_show_tells_verdict_bill_chain_prompt_and_export(done: tuple[Path, Result]) -> None:
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


def test_show_as_json_is_what_optimize_printed(done: tuple[Path, Result]) -> None:
    database, result = done
    assert json.loads(crito("show", "latest", "--db", database, "--json").stdout) == result.as_json()


def test_show_prompt_prints_its_text_and_one_newline(done: tuple[Path, Result]) -> None:
    database, result = done
    assert crito("show", "latest", "--db", database, "--prompt").stdout == result.prompt.to_text() + "\n"


def test_show_messages_prints_chat_messages(done: tuple[Path, Result]) -> None:
    database, result = done
    got = crito("show", "latest", "--db", database, "--messages")
    assert json.loads(got.stdout) == result.prompt.to_messages()


def test_runs_lists_verdict_and_spend(done: tuple[Path, Result]) -> None:
    database, result = done
    (entry,) = json.loads(crito("runs", "--db", database, "--json").stdout)
    assert (entry["run"], entry["status"], entry["verdict"]) == (result.run, "done", "improved")
    assert (entry["calls"], entry["usd"]) == (result.bill.calls, pytest.approx(result.bill.usd))
    shown = crito("runs", "--db", database).stdout.splitlines()
    assert shown[1].split()[0] == result.run
    assert "improved 0.00 -> 1.00" in shown[1]


def test_trace_shows_who_proposed_what_and_why_it_fell(done: tuple[Path, Result]) -> None:
    database, result = done
    said = crito("trace", "latest", "--db", database).stdout
    assert "critic: wrong_content: say where refunds go" in said
    assert "critique_synthesis by rewriter" in said
    assert "eliminated: in the lower half after 8 examples" in said
    assert "rewriter asked scripted/toy:" in said
    assert f"verdict: improved (0.000 -> 1.000 on {result.verdict.n} examples)" in said
    assert "bad_request: the message was refused" in said


def test_trace_lists_calls_or_failures_alone(done: tuple[Path, Result]) -> None:
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


def test_evaluate_reads_back_what_show_exported(
    folder: Path, done: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crito.graph.wiring.resolve", lambda name, concurrency: toy_model())
    crito("show", "latest", "--db", done[0], "--output", "p.yaml")
    path = task_folder(folder, "inputs: {input: message}\n")
    got = crito("evaluate", path, "p.yaml", "--split", "test", "--json")
    assert json.loads(got.stdout)["score"] == 1.0


def test_a_calibrated_prompt_shown_as_text_says_where_its_divisors_are(done: tuple[Path, Result]) -> None:
    calibrated = done[1].prompt.model_copy(update={"calibration": {"billing": 0.75, "shipping": 0.25}})
    database = Database(Path("c.db"))
    database.add_run("ab12", name="n", preset="p", task='{"model": "m", "metric": "label"}')
    verdict = done[1].verdict.model_copy(update={"uncalibrated": (0.5, 0.5)})
    result = done[1].model_copy(update={"prompts": {"main": calibrated}, "verdict": verdict})
    database.update_run("ab12", result=result.model_dump_json())
    asyncio.run(database.close())
    text = crito("show", "latest", "--db", "c.db", "--prompt")
    assert text.stdout == done[1].prompt.to_text() + "\n"
    assert text.stderr.startswith("crito: --prompt has no room for the divisors")
    assert "crito: --messages has no room" in crito("show", "latest", "--db", "c.db", "--messages").stderr
    shown = crito("show", "latest", "--db", "c.db")
    assert (shown.stderr, "  billing  0.7500\n" in shown.stdout) == ("", True)


def test_reading_commands_need_no_workflow(done: tuple[Path, Result]) -> None:
    code = (
        "import sys; from crito.cli import app\n"
        f"for c in (['runs'], ['show', 'latest'], ['trace', 'latest']): app([*c, '--db', {str(done[0])!r}], "
        "standalone_mode=False)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'langgraph', 'litellm', 'numpy', 'scipy'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
