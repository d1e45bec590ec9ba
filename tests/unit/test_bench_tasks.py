import json
from pathlib import Path

import pytest

from crito.bench_tasks import tasks
from crito.errors import BadInput
from tests.toy_bench import data_folder
from tests.toy_run import task_folder


def refused(*sources: Path, names: tuple[str, ...] = ()) -> str:
    with pytest.raises(BadInput) as caught:
        tasks(sources, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_folders_gives_its_tasks_by_name(tmp_path: Path) -> None:
    found = tasks([data_folder(tmp_path, "b", "a")])
    assert list(found) == ["a", "b"]
    assert [len(part) for part in (found["a"].splits.train, found["a"].splits.val, found["a"].splits.test)] == [
        *(14, 13, 13)
    ]
    assert (found["a"].metric, found["a"].labels) == ("label", ("billing", "shipping"))


def test_a_folder_may_say_how_answers_are_scored_and_whether_they_reason(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, "a")
    file = folder / "a" / "task.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "scoring": "calibrated", "reasoning": True}))
    task = tasks([folder])["a"]
    assert (task.scoring, task.reasoning) == ("calibrated", True)


def test_names_choose_tasks_in_their_order(tmp_path: Path) -> None:
    assert list(tasks([data_folder(tmp_path, "a", "b", "c")], ["c", "a", "c"])) == ["c", "a"]


def test_rows_keep_the_order_of_their_file(tmp_path: Path) -> None:
    found = tasks([data_folder(tmp_path, "a")])["a"]
    assert found.splits.test[0].inputs == {"input": "My parcel 27 is late"}


def test_a_model_speaks_for_the_agents_too_unless_they_have_one(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, "a")
    assert tasks([folder])["a"].model == "local/smollm2"
    assert tasks([folder], model="x/y")["a"].agent_model == "x/y"
    named = tasks([folder], model="x/y", agent_model="x/z")["a"]
    assert (named.model, named.agent_model) == ("x/y", "x/z")


def test_a_task_yaml_keeps_its_own_model_and_splits(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = task_folder(tmp_path / "mine")
    found = tasks([tmp_path])
    assert (list(found), found["mine"].model, found["mine"].name) == (["mine"], "scripted/toy", "mine")
    assert tasks([path], model="x/y")["mine"].model == "x/y"
    other = path.rename(path.with_name("orders.yaml"))
    assert list(tasks([other])) == ["orders"]


def test_an_unknown_task_is_refused_with_a_near_one(tmp_path: Path) -> None:
    assert "'rout'" in refused(data_folder(tmp_path, "route"), names=("rout",))
    assert "did you mean 'route'?" in refused(tmp_path / "data", names=("rout",))


def test_a_task_folder_without_the_files_is_refused_by_name(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, "a")
    (folder / "empty").mkdir()
    assert "empty lacks task.json" in refused(folder, names=("empty",))
    (folder / "a" / "val.jsonl").unlink()
    assert "val.jsonl" in refused(folder)


@pytest.mark.parametrize(("make", "words"), [(False, "no such folder"), (True, "holds no task")])
def test_a_source_without_tasks_is_refused(tmp_path: Path, *, make: bool, words: str) -> None:
    if make:
        (tmp_path / "x").mkdir()
    assert words in refused(tmp_path / "x")


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    sources = [data_folder(tmp_path / "one", "a"), data_folder(tmp_path / "two", "a")]
    assert "rename one" in refused(*sources)
    assert list(tasks([sources[0], sources[0] / "a"])) == ["a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"labels": []}', "description"),
        ("{", "task.json"),
        ("[]", "task.json"),
        ('{"description": "x", "lables": []}', "lables"),
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, text: str, words: str) -> None:
    folder = data_folder(tmp_path, "a")
    (folder / "a" / "task.json").write_text(text)
    assert words in refused(folder)


def test_an_answer_that_is_no_label_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, "a")
    with (folder / "a" / "val.jsonl").open("a") as file:
        file.write(f"\n{json.dumps({'input': 'Hello', 'expected': 'biling'})}")
    said = refused(folder)
    assert "val.jsonl line 14: 'biling' is not among the labels" in said
    assert "did you mean 'billing'?" in said


def test_a_row_in_two_splits_is_refused(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, "a")
    leaked = json.dumps({"input": "My invoice 0 is late", "expected": "billing"})
    with (folder / "a" / "test.jsonl").open("a") as file:
        file.write(f"\n{leaked}")
    said = refused(folder)
    assert "test.jsonl line 14" in said
    assert "train.jsonl too" in said
