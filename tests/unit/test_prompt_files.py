import json
from pathlib import Path

import pytest

from crito.prompt import Demo, Prompt, Section
from crito.prompt_files import export
from tests.builders import refused
from tests.toy_run import task_folder

PLAIN = Prompt(sections=(Section(name="task", body="Name the team."),))
CALIBRATED = PLAIN.model_copy(update={"calibration": {"billing": 0.75, "shipping": 0.25}})


def test_a_yaml_export_holds_the_divisors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(CALIBRATED, tmp_path / "p.yaml")
    assert Prompt.from_yaml((tmp_path / "p.yaml").read_text()) == CALIBRATED
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("ending", [".txt", ".json"])
def test_other_exports_say_on_stderr_that_they_leave_them_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    path = tmp_path / f"p{ending}"
    export(CALIBRATED, path)
    assert path.read_text() == (PLAIN.to_text() if ending == ".txt" else json.dumps(PLAIN.to_messages(), indent=2))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"crito: {path} has no room for the divisors of the label probabilities; they are in")
    export(PLAIN, path)
    assert capsys.readouterr() == ("", "")


def test_a_text_export_with_chat_turns_is_refused_as_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    demo = Demo(inputs={"message": "my card"}, output="billing")
    export(PLAIN.model_copy(update={"demos": (demo,), "template": "{message}"}), tmp_path / "p.txt")
    assert "prompt: is a transcript of chat turns" in refused("evaluate", task_folder(tmp_path), "p.txt")
    assert "prompt: is a transcript of chat turns" in refused("optimize", task_folder(tmp_path, "prompt: p.txt\n"))
