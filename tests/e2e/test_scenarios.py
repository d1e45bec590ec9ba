"""The scenario scripts, run as a user runs them, on the embedded model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.e2e


def scenario(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scenarios" / name), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


def test_order_extraction_improves_on_held_out_messages(tmp_path: Path) -> None:
    done = scenario("order_extraction.py", tmp_path, "--budget-calls", "200", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["verdict"] == "improved"
    assert result["seed_score"] <= 0.2
    assert result["best_score"] >= 0.8
    assert result["p_value"] < 0.01
    assert result["calls"] <= 200
    assert "{message}" in result["prompt"]["text"]


def test_a_second_run_on_the_same_database_pays_for_nothing(tmp_path: Path) -> None:
    first = json.loads(scenario("order_extraction.py", tmp_path, "--budget-calls", "100", "--json").stdout)
    second = json.loads(scenario("order_extraction.py", tmp_path, "--budget-calls", "100", "--json").stdout)
    assert first["calls"] > 50
    assert second["calls"] < first["calls"] / 2


@pytest.mark.parametrize("name", ["order_extraction.py", "ticket_triage.py"])
def test_every_scenario_explains_its_options(name: str, tmp_path: Path) -> None:
    shown = scenario(name, tmp_path, "--help").stdout
    assert all(option in shown for option in ("--model", "--budget-calls", "--seed", "--json"))


@pytest.mark.parametrize("name", ["order_extraction", "ticket_triage"])
def test_the_messages_of_a_scenario_differ(name: str) -> None:
    rows = [json.loads(line) for line in (ROOT / "scenarios" / "data" / f"{name}.jsonl").read_text().splitlines()]
    runs = [set(zip(*(words[i:] for i in range(6)), strict=False)) for words in (r["message"].split() for r in rows)]
    shared = [(a, b) for a in range(len(rows)) for b in range(a) if runs[a] & runs[b]]
    assert len(rows) >= 150
    assert not shared


def test_the_readme_names_the_two_commands_that_do_everything() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"^pip install uv && uv run scenarios/order_extraction\.py$", readme, re.MULTILINE)
    assert re.search(r"^uv run pytest$", readme, re.MULTILINE)
