import asyncio
import json
from pathlib import Path

import networkx as nx
import pytest

from crito.memory.archive import Archive
from crito.memory.attempts import Attempt, Attempts
from crito.result import Result
from crito.tools.database import Database
from tests.builders import SEED, crito, make_candidate, make_outcome, make_task, refused
from tests.toy_run import RULE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begun(path: Path, *, candidates: bool = True) -> None:
    """A run that has not ended: a rule that became the incumbent in round 1, and one that was beaten."""

    async def write() -> None:
        database = Database(path)
        task = make_task()
        database.add_run("ab12", name="toy\x1b[2J", preset="{}", task=task.model_dump_json())
        if candidates:
            archive, attempts = Archive(database, "ab12"), Attempts(database, "ab12")
            seed = make_candidate(prompt=SEED, operator="seed", author="user")
            first, second = (
                make_candidate(f"Name the team. {said}", parents=(seed.id,), round=1, hypothesis=f"off_label: {said}")
                for said in ('Say "one" word.', "Be nice.")
            )
            await archive.add(seed, first, second)
            for candidate, right in ((seed, 4), (first, 9), (second, 6)):
                rows = enumerate(task.splits.val)
                await archive.record(make_outcome(candidate.id, e, float(at < right)) for at, e in rows)
            about = {"parent": seed.id, "round": 1, "operator": "test", "author": "code", "fate": "accepted"}
            for made, led in ((first, True), (second, False)):
                found = {**about, "candidate": made.id, "hypothesis": made.hypothesis, "incumbent": led}
                await attempts.record(Attempt.model_validate(found))
        await database.close()

    asyncio.run(write())


def test_each_part_of_the_best_prompt_has_its_origin_and_its_worth(done: tuple[Path, Result]) -> None:
    database, result = done
    said = crito("lineage", "latest", "--db", database).stdout.splitlines()
    assert said[0] == f"run {result.run}: task on scripted/toy, done"
    assert said[1].startswith(f"  best prompt {result.verdict.best}: val 1.00 of 12")
    at = said.index(f"rules: {RULE}")
    assert said[at + 1].endswith(", round 1, critique_synthesis by rewriter: wrong_content: say where refunds go")
    assert said[at + 2].startswith("  worth +0.25 [")
    assert said[at + 2].endswith(" on 12 examples")


def test_json_holds_parts_candidates_and_edges(done: tuple[Path, Result]) -> None:
    database, result = done
    found = json.loads(crito("lineage", "latest", "--db", database, "--json").stdout)
    assert (found["run"], found["status"], found["best"]) == (result.run, "done", result.verdict.best)
    assert [(c["place"], c["round"]) for c in found["credits"]] == [("task", 0), ("rules", 1)]
    fates = {candidate["id"]: candidate["fate"] for candidate in found["candidates"]}
    assert fates[found["seed"]] == "seed"
    assert fates[found["best"]] == "accepted"
    assert {parent for parent, _ in found["edges"]} <= set(fates)


def test_the_graph_is_written_for_other_programs(done: tuple[Path, Result]) -> None:
    database, result = done
    assert crito("lineage", "latest", "--db", database, "--format", "graphml", "--output", "g.graphml").stdout == ""
    graph = nx.read_graphml("g.graphml")
    best = graph.nodes[result.verdict.best]
    assert (best["operator"], best["author"], best["round"]) == ("critique_synthesis", "rewriter", 1)
    assert (best["fate"], best["val"], best["n"]) == ("accepted", 1.0, 12)
    shown = crito("lineage", "latest", "--db", database, "--format", "mermaid").stdout
    assert shown.startswith("flowchart TD\n    c")
    assert shown.count(" --> ") == graph.number_of_edges()


def test_output_gets_what_would_be_printed(done: tuple[Path, Result]) -> None:
    for options in ((), ("--json",), ("--format", "mermaid")):
        command = ("lineage", "latest", "--db", done[0], *options)
        assert crito(*command, "--output", "out").stdout == ""
        assert Path("out").read_text() == crito(*command).stdout


def test_a_run_that_has_not_ended_shows_its_incumbent(folder: Path) -> None:
    begun(folder / "b.db")
    got = crito("lineage", "ab12", "--db", "b.db")
    assert "\x1b" not in got.stdout
    assert "val 0.75 of 12" in got.stdout
    assert 'task: Say "one" word.\n' in got.stdout
    assert "worth +0.42 [" in got.stdout
    assert "Be nice" not in got.stdout


@pytest.mark.parametrize("form", ["text", "mermaid", "graphml"])
def test_a_run_without_candidates_is_shown_too(folder: Path, form: str) -> None:
    begun(folder / "e.db", candidates=False)
    got = crito("lineage", "ab12", "--db", "e.db", "--format", form)
    assert got.exit_code == 0
    if form == "text":
        assert got.stdout.endswith("the best prompt is your own: not measured\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--format", "dot"), "'dot' is not one of"),
        (("--json", "--format", "mermaid"), "give it without --format mermaid"),
        (("--output", "none/g.txt"), "there is no folder none"),
        (("--output", "."), "is a folder"),
    ],
)
def test_options_that_cannot_work_are_refused(done: tuple[Path, Result], options: tuple[str, ...], reason: str) -> None:
    assert reason in refused("lineage", "latest", "--db", done[0], *options)
    assert list(Path().iterdir()) == []


def test_an_unknown_run_and_a_missing_database_are_refused(done: tuple[Path, Result]) -> None:
    assert "there is no run 'zz'" in refused("lineage", "zz", "--db", done[0], "--output", "g.txt")
    assert "there is no run database here" in refused("lineage", "latest", "--db", "gone.db")
    assert list(Path().iterdir()) == []


def test_show_ends_with_how_to_see_the_descent(done: tuple[Path, Result]) -> None:
    last = crito("show", "latest", "--db", done[0]).stdout.splitlines()[-1]
    assert last.startswith(f"  crito lineage {done[1].run} --db {done[0]} ")
