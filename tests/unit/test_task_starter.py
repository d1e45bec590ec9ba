import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from crito.errors import BadInput
from crito.task import Task
from crito.tools.task_file import load_task
from crito.tools.task_starter import starter

MAILS = [{"message": f"mail number {i}", "team": ("billing", "account")[i % 2], "seen": i > 3} for i in range(12)]


def data(tmp_path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loaded(tmp_path: Path, text: str) -> Task:
    path = tmp_path / "TASK.yaml"
    path.write_text(text)
    return load_task(path)


def test_the_text_loads_unchanged_with_its_guesses(tmp_path: Path) -> None:
    task = loaded(tmp_path, starter(data(tmp_path, MAILS), model="local/smollm2"))
    assert (task.inputs, task.output, task.metric, task.model) == (("message",), "team", "label", "local/smollm2")
    assert task.labels == ("account", "billing")


def test_every_optional_key_loads_when_it_is_uncommented(tmp_path: Path) -> None:
    text = starter(data(tmp_path, MAILS), model="m")
    optional = text.split("# split:")[1]
    lines = [line.removeprefix("# ") for line in f"# split:{optional}".splitlines() if not line.startswith("# Hard")]
    lines = [line.replace("a text of the prompt that must stay", "task") for line in lines]
    task = loaded(tmp_path, text.split("# split:")[0] + "\n".join(lines))
    assert (task.budget.calls, task.max_prompt_tokens, task.name) == (600, 800, "my-task")


def test_every_key_is_explained() -> None:
    from crito.config import TaskFile
    from crito.tools import task_starter

    assert all(f"{key}:" in task_starter._TEXT or f"{{{key}}}" in task_starter._TEXT for key in TaskFile.model_fields)


def test_a_csv_file_with_odd_column_names_gets_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["Customer: message", "Order #"], *([f"a mail, {i}", f"o{i}"] for i in range(12))])
    task = loaded(tmp_path, starter(path, model="m"))
    assert (task.inputs, task.output, task.metric) == (("customer_message",), "Order #", "exact_match")


def test_unused_columns_are_named(tmp_path: Path) -> None:
    assert '# Further columns in it, not used: "seen"\n' in starter(data(tmp_path, MAILS), model="m")


def test_ids_and_flags_are_no_inputs(tmp_path: Path) -> None:
    rows = [{"id": i, "flag": True, "word": f"w{i}", "plural": f"w{i}s"} for i in range(12)]
    assert yaml.safe_load(starter(data(tmp_path, rows), model="m"))["inputs"] == ["word"]


def test_values_that_yaml_could_misread_survive(tmp_path: Path) -> None:
    labels = ("yes", "5", "a: b\n# c", "{x}", "😀\u2028")
    rows = [{"text": f"some text {i}", "label": labels[i % 5]} for i in range(20)]
    assert set(loaded(tmp_path, starter(data(tmp_path, rows), model="m")).labels) == set(labels)


def test_one_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has one column"):
        starter(data(tmp_path, [{"text": "a"}]), model="m")
