import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.sqlite import SqliteStore

from crito.result import Result
from tests.builders import crito, refused
from tests.toy_run import finished, task_folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A project with one run that left lessons."""
    database = tmp_path_factory.mktemp("project") / "crito.db"
    return database, finished(database, memory="project")


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A project with one run whose best prompt was kept."""
    database = tmp_path_factory.mktemp("project") / "crito.db"
    return database, finished(database, memory="project", remember_prompts=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def without_promise(known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lessons without what changes with the clock."""
    return [{key: value for key, value in lesson.items() if key != "promise"} for lesson in known]


def listed(database: Path) -> list[dict[str, Any]]:
    """The lessons as ``crito lessons list --json`` prints them."""
    found: list[dict[str, Any]] = json.loads(crito("lessons", "list", "--db", database, "--json").stdout)
    return found


def test_lessons_are_listed_with_their_effects(done: tuple[Path, Result]) -> None:
    found = listed(done[0])
    assert {lesson["kind"] for lesson in found} == {"recipe", "direction"}
    assert all(lesson["runs"] == [done[1].run] for lesson in found)
    text = crito("lessons", "list", "--db", done[0]).stdout
    assert text.count("\n") == 1 + len(found)
    assert {"confirmed", "refuted", "promises"} <= set(text.splitlines()[0].split())
    assert all(str(lesson["id"]) in text for lesson in found)


def test_a_lesson_is_shown_with_each_observation(done: tuple[Path, Result]) -> None:
    lesson = listed(done[0])[0]
    shown = crito("lessons", "show", str(lesson["id"]), "--db", done[0])
    assert str(lesson["text"]) in shown.stdout
    assert done[1].run in shown.stdout
    assert "last seen" in shown.stdout
    whole = json.loads(crito("lessons", "show", str(lesson["id"])[:8], "--db", done[0], "--json").stdout)
    assert whole["observations"][0]["run"] == done[1].run


def test_a_proven_prompt_is_listed_and_shown_by_its_run(proven: tuple[Path, Result]) -> None:
    database, result = proven
    (prompt,) = [known for known in listed(database) if known["kind"] == "prompt"]
    assert (prompt["id"], prompt["runs"], prompt["refuted"]) == (result.run, [result.run], 0)
    assert f"the best prompt of run {result.run}" in crito("lessons", "list", "--db", database).stdout
    assert result.prompt.to_text() in crito("lessons", "show", result.run, "--db", database).stdout
    whole = json.loads(crito("lessons", "show", result.run, "--db", database, "--json").stdout)
    assert (whole["prompt"], whole["trials"]) == (result.prompt.to_text(), [])


def test_what_operators_earned_is_shown(done: tuple[Path, Result]) -> None:
    (use,) = json.loads(crito("lessons", "operators", "--db", done[0], "--json").stdout)
    assert (use["run"], "opening" in use["arms"]) == (done[1].run, True)
    text = crito("lessons", "operators", "--db", done[0]).stdout.splitlines()
    assert text[0].split() == ["operator", "runs", "steps", "earned", "a", "step"]
    assert {line.split()[0] for line in text[1:]} == set(use["arms"])


def test_what_is_exported_can_be_imported_elsewhere(done: tuple[Path, Result]) -> None:
    assert crito("lessons", "export", "--db", done[0], "--output", "lessons.jsonl").exit_code == 0
    assert Path("lessons.jsonl").read_text() == crito("lessons", "export", "--db", done[0]).stdout
    kinds = {json.loads(line)["record"] for line in Path("lessons.jsonl").read_text().splitlines()}
    assert kinds == {"observation", "operators"}
    assert "records were added, 0 were here" in crito("lessons", "import", "lessons.jsonl", "--db", "new/c.db").stdout
    assert without_promise(listed(Path("new/c.db"))) == without_promise(listed(done[0]))
    assert crito("lessons", "import", "lessons.jsonl", "--memory", "user").exit_code == 0
    assert Path("home/.crito/lessons.db").exists()


def test_proven_prompts_are_exported_on_request(proven: tuple[Path, Result]) -> None:
    database, result = proven
    assert '"record": "prompt"' not in crito("lessons", "export", "--db", database).stdout
    crito("lessons", "export", "--prompts", "--db", database, "--output", "all.jsonl")
    assert crito("lessons", "import", "all.jsonl", "--db", "new/c.db").exit_code == 0
    assert result.prompt.to_text() in crito("lessons", "show", result.run, "--db", "new/c.db").stdout


def test_an_import_changes_nothing_that_is_here(done: tuple[Path, Result]) -> None:
    crito("lessons", "export", "--db", done[0], "--output", "lessons.jsonl")
    first, *others = Path("lessons.jsonl").read_text().splitlines()
    crito("lessons", "import", "lessons.jsonl", "--db", "new/c.db")
    told = json.loads(first) | {"seen": 1.0}
    Path("other.jsonl").write_text("\n".join([json.dumps(told), *others]))
    said = crito("lessons", "import", "other.jsonl", "--db", "new/c.db", "--json")
    assert json.loads(said.stdout) == {"new": 0, "known": len(others), "differing": 1}
    assert "1 left out" in crito("lessons", "import", "other.jsonl", "--db", "new/c.db").stdout
    assert without_promise(listed(Path("new/c.db"))) == without_promise(listed(done[0]))


def test_nothing_is_imported_into_a_memory_of_another_version(done: tuple[Path, Result], folder: Path) -> None:
    crito("lessons", "export", "--db", done[0], "--output", "lessons.jsonl")
    store = SqliteStore(conn := sqlite3.connect(folder / "lessons.db", isolation_level=None))
    store.setup()
    store.put(("crito", "observations"), "k", {"version": 1}, index=False)
    conn.close()
    assert "is of version 1" in refused("lessons", "import", "lessons.jsonl", "--db", folder / "crito.db")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 8.5}, "n: Input should be a valid integer"),
        ({"n": "8"}, "n: Input should be a valid integer"),
        ({"gain": "0.1"}, "gain: Input should be a valid number"),
        ({"low": 0.5, "gain": 0.25}, "low, gain and high must be in this order"),
        ({"record": "lesson"}, "record: must be one of observation, operators, prompt, trial"),
        ({"run": ""}, "run: "),
        ({"run": "\x1b[31m"}, "run: must be printable"),
        ({"seen": 1e300}, "seen: Input should be less than or equal to"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(
    done: tuple[Path, Result], fields: dict[str, Any], said: str
) -> None:
    exported = crito("lessons", "export", "--db", done[0]).stdout.splitlines()
    line = next(line for line in exported if '"record": "observation"' in line)
    Path("bad.jsonl").write_text(json.dumps(json.loads(line) | fields))
    assert f"nothing was added; line 1: {said}" in refused("lessons", "import", "bad.jsonl", "--db", "new/c.db")


def test_malformed_lines_are_named_one_by_one_and_nothing_is_added(done: tuple[Path, Result]) -> None:
    exported = crito("lessons", "export", "--db", done[0]).stdout.splitlines()
    good = [line for line in exported if '"record": "observation"' in line]
    Path("bad.jsonl").write_text("\n".join([good[0], "{not json", good[1].replace('"n":', '"m":'), ""]))
    said = refused("lessons", "import", "bad.jsonl", "--db", "new/crito.db")
    assert "bad.jsonl: nothing was added; line 2: " in said
    assert "line 3: n: Field required" in said
    assert "line 1: " not in said
    assert not Path("new").exists()


def test_a_malformed_line_cannot_steer_the_terminal() -> None:
    Path("bad.jsonl").write_text('{"\\u001b[31mred": 1}')
    assert "\x1b" not in refused("lessons", "import", "bad.jsonl")


def test_a_run_is_forgotten(tmp_path: Path) -> None:
    database = tmp_path / "crito.db"
    result = finished(database, memory="project")
    assert "records were removed" in crito("lessons", "forget", result.run[:6], "--db", database).stdout
    assert listed(database) == []
    assert not any(result.run.encode() in file.read_bytes() for file in tmp_path.glob("lessons.db*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list",), "there are no lessons here yet"),
        (("show", "abc"), "there are no lessons here yet"),
        (("forget", "abc"), "there are no lessons here yet"),
        (("import", "gone.jsonl"), "gone.jsonl: cannot be read"),
    ],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("lessons", *arguments)


def test_unknown_lessons_and_runs_are_refused(done: tuple[Path, Result]) -> None:
    assert "is not the beginning of any lesson" in refused("lessons", "show", "zz", "--db", done[0])
    assert "'zz' left nothing in this memory" in refused("lessons", "forget", "zz", "--db", done[0])
    assert "'' left nothing in this memory" in refused("lessons", "forget", "", "--db", done[0])


def test_the_latest_run_is_forgotten_and_no_other(tmp_path: Path) -> None:
    first, second = (finished(tmp_path / "crito.db", memory="project", seed=seed) for seed in (0, 1))
    assert "records were removed" in crito("lessons", "forget", "latest", "--db", tmp_path / "crito.db").stdout
    left = {run for known in listed(tmp_path / "crito.db") for run in known["runs"]}
    assert left == {first.run}
    assert second.run not in crito("lessons", "operators", "--db", tmp_path / "crito.db", "--json").stdout


def test_a_bare_off_in_the_task_file_is_understood() -> None:
    task = task_folder(Path(), "memory: off\n")
    assert "memory" not in crito("optimize", task, "--model", "nowhere/x").stderr
    wrong = refused("optimize", task_folder(Path(), "memory: mine\n"))
    assert "memory" in wrong
