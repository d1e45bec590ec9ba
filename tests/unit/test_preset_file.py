import json
from pathlib import Path

import pytest

from crito.graph.preset_file import as_yaml, read_preset
from crito.graph.presets import PRESETS, preset
from tests.builders import crito, refused
from tests.toy_run import task_folder

OWN = """
about: Examples alone.
stages: [{name: sets, operators: [demonstrations], count: 4, rounds: 2}]
parents: beam
schedule: thompson
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_written_and_read(name: str) -> None:
    Path("mine.yaml").write_text(as_yaml(PRESETS[name]))
    assert preset("mine.yaml") == PRESETS[name].model_copy(update={"name": "mine"})


def test_a_preset_without_a_name_has_that_of_its_file() -> None:
    Path("sets-only.yaml").write_text(OWN)
    found = read_preset(Path("sets-only.yaml"))
    assert (found.name, found.parents, found.schedule, found.operators) == (
        *("sets-only", "beam", "thompson"),
        ("demonstrations",),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: [", "mine.yaml line 1: not valid YAML"),
        ("- a", "mine.yaml: must be a mapping of keys, crito presets default shows one"),
        ("about: x", "mine.yaml: stages: Field required; crito presets default shows one to begin with"),
        (OWN + "schedul: full", "mine.yaml: unknown key 'schedul'; did you mean 'schedule'?"),
        (OWN.replace("count", "cout"), "mine.yaml: stages: unknown key 'cout'; did you mean 'count'?"),
        (OWN.replace("beam", "bean"), "mine.yaml: parents: Input should be 'incumbent'"),
        (OWN.replace("count: 4", "count: 0"), "mine.yaml: stages.0.count: Input should be greater than 0"),
        (OWN + "margin: .inf", "mine.yaml: margin: Input should be a finite number"),
        (OWN + "name: a/b", "mine.yaml: name: 'a/b' is to be letters"),
        (OWN.replace("demonstrations", "demonstration"), "there is no operator 'demonstration'; did you mean"),
        (OWN + "length_price: 1\nlength_decay: 1", "both price length"),
    ],
)
def test_what_is_no_preset_is_refused_in_a_line(text: str, said: str) -> None:
    Path("mine.yaml").write_text(text)
    assert said in refused("optimize", task_folder(Path()), "--model", "local/smollm2", "--preset", "mine.yaml")


def test_a_file_that_is_not_there_is_refused() -> None:
    said = refused("optimize", task_folder(Path()), "--model", "local/smollm2", "--preset", "gone.yaml")
    assert "gone.yaml" in said


def test_a_preset_is_printed_to_start_from() -> None:
    Path("mine.yaml").write_text(crito("presets", "capo").stdout)
    assert read_preset(Path("mine.yaml")) == PRESETS["capo"].model_copy(update={"name": "mine"})
    assert json.loads(crito("presets", "capo", "--json").stdout) == PRESETS["capo"].model_dump(mode="json")
    assert "did you mean 'capo'?" in refused("presets", "cappo")
