import json
from pathlib import Path

import pytest

from crito.result import Result
from tests.builders import crito, refused
from tests.toy_run import finished, task_folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A project with one run that left lessons."""
    database = tmp_path_factory.mktemp("project") / "crito.db"
    return database, finished(database, memory="project")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def listed(database: Path) -> list[dict[str, object]]:
    """The lessons as ``crito lessons list --json`` prints them."""
    found: list[dict[str, object]] = json.loads(crito("lessons", "list", "--db", database, "--json").stdout)
    return found


def test_lessons_are_listed_with_their_effects(done: tuple[Path, Result]) -> None:
    found = listed(done[0])
    assert {lesson["kind"] for lesson in found} == {"recipe", "direction"}
    assert all(lesson["runs"] == [done[1].run] for lesson in found)
    text = crito("lessons", "list", "--db", done[0]).stdout
    assert text.count("\n") == 1 + len(found)
    assert all(str(lesson["id"]) in text for lesson in found)


def test_a_lesson_is_shown_with_each_observation(done: tuple[Path, Result]) -> None:
    lesson = listed(done[0])[0]
    shown = crito("lessons", "show", str(lesson["id"]), "--db", done[0])
    assert str(lesson["text"]) in shown.stdout
    assert done[1].run in shown.stdout
    whole = json.loads(crito("lessons", "show", str(lesson["id"])[:8], "--db", done[0], "--json").stdout)
    assert whole["observations"][0]["run"] == done[1].run


def test_what_is_exported_can_be_imported_elsewhere(done: tuple[Path, Result]) -> None:
    assert crito("lessons", "export", "--db", done[0], "--output", "lessons.jsonl").exit_code == 0
    assert Path("lessons.jsonl").read_text() == crito("lessons", "export", "--db", done[0]).stdout
    assert "observations were added" in crito("lessons", "import", "lessons.jsonl", "--db", "new/crito.db").stdout
    assert listed(Path("new/crito.db")) == listed(done[0])
    assert crito("lessons", "import", "lessons.jsonl", "--memory", "user").exit_code == 0
    assert Path("home/.crito/lessons.db").exists()


def test_malformed_lines_are_named_one_by_one_and_nothing_is_added(done: tuple[Path, Result]) -> None:
    good = crito("lessons", "export", "--db", done[0]).stdout.splitlines()
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
    assert "records were removed" in crito("lessons", "forget", result.run, "--db", database).stdout
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
    assert "the memory holds nothing of 'zz'" in refused("lessons", "forget", "zz", "--db", done[0])


def test_a_bare_off_in_the_task_file_is_understood() -> None:
    task = task_folder(Path(), "memory: off\n")
    assert "memory" not in crito("optimize", task, "--model", "nowhere/x").stderr
    wrong = refused("optimize", task_folder(Path(), "memory: mine\n"))
    assert "memory" in wrong
