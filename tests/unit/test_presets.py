"""The presets: what a run of each does on a scripted model, held against its published numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crito.api import optimize
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.preset import Preset
from crito.graph.presets import DEFAULT, LEAN, PRESETS, preset
from crito.memory.attempts import Attempt
from crito.prompt import Prompt, Section
from crito.protocols import ModelRequest
from crito.records import Candidate, Outcome
from crito.result import Result
from crito.task import Budget, Task
from crito.tools.database import Database, attempts, calls, candidates, outcomes, spans
from crito.tools.scripted_model import ScriptedModel
from tests.bench.world_agents import reply
from tests.bench.world_rules import World

WORLD = World(6, seed=0, noise=0.0)
VAL, TEST = 10, 10
CALLS = 1500
"""Of the search."""
BLOCK = 8
SEED = Prompt(
    sections=(
        Section(name="task", body="Answer the note with its code."),
        Section(name="rules", body=("Mind the note.", "Be quick about it.", "Four digits are enough.")),
    ),
    template="{note}",
)


def task_of(*, val: int = VAL, budget: int = CALLS) -> Task:
    """The scripted world's notes, with so many calls for the search and the verdict's on top."""
    task = WORLD.task(calls=budget)
    splits = task.splits.model_copy(update={"val": task.splits.val[:val], "test": task.splits.test[:TEST]})
    share = 2 * TEST / (budget + 2 * TEST) + 1e-6
    limits = Budget(calls=budget + 2 * TEST, verdict_share=share)
    return task.model_copy(update={"splits": splits, "prompts": {"main": SEED}, "budget": limits})


def deaf(request: ModelRequest) -> str:
    """A target that is right on half of the notes, whatever the prompt says, so that no round finds anything."""
    note = re.findall(r"Note \d+: [^.]*\.", request.messages[-1].content)[-1]
    return WORLD.answer(note) if hashlib.sha256(note.encode()).digest()[0] % 2 else "no idea"


def agents(request: ModelRequest) -> str:
    """The scripted world's agents, who agree with the data on what the task is and never write one text twice."""
    given = json.loads(reply(WORLD, request))
    asked = request.model_dump_json()
    if "kind" in given:
        given["kind"] = "rewriting"
    if "variants" in given:
        numbers = re.findall(r"^(\d+)\. ", request.messages[-1].content, re.MULTILINE)
        given["variants"] = [{"style": int(n), "text": "In another style:"} for n in numbers]
    return json.dumps(marked(given, asked))


def marked(value: Any, *of: object) -> Any:
    """A reply whose texts end in words that no other reply has."""
    if isinstance(value, list):
        return [marked(item, *of, at) for at, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: marked(item, *of, key) for key, item in value.items()}
    if isinstance(value, str) and of[-1] in ("text", "instruction", "task"):
        digest = hashlib.sha256(repr(of).encode()).hexdigest()
        return f"{value} {' '.join(digest[at : at + 7] for at in range(0, 42, 7))}."
    return value


@dataclass(frozen=True)
class Seen:
    """What a run did, read from its database.

    Attributes:
        stages: Each planned round's stage, in order.
        proposals: Candidates of each round that had any, by round.
        attempts: What became of every candidate.
        roles: Calls by role.
        answered: Outcomes on validation examples.
        searched: Calls that the search paid for: all but the verdict's.
    """

    result: Result
    stages: list[str]
    proposals: Counter[int]
    attempts: list[Attempt]
    roles: Counter[str]
    answered: int
    searched: int

    @property
    def operators(self) -> set[str]:
        return {attempt.operator for attempt in self.attempts}

    @property
    def raced(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.fate not in ("screened", "no_repair")]


def run(path: Path, settings: Preset, task: Task, *, able: bool = False) -> Seen:
    """A whole run on scripted models, with the deaf target or with the scripted world's, which obeys its prompt."""
    target = WORLD.target() if able else ScriptedModel(deaf, name="scripted/deaf")
    speaker = ScriptedModel(agents, name="scripted/agents")
    result = optimize(task, model=target, agent_model=speaker, preset=settings, database=path / "crito.db")
    database = Database(path / "crito.db")
    plans = database.read(sa.select(spans.c.attributes).where(spans.c.name.startswith("plan")))
    tried = [Attempt.model_validate_json(row.body) for row in database.read(sa.select(attempts.c.body))]
    paid = database.read(sa.select(calls.c.key, calls.c.role))
    found = [Outcome.model_validate_json(row.body) for row in database.read(sa.select(outcomes.c.body))]
    database.dispose()
    val, test = ({example.id for example in split} for split in (task.splits.val, task.splits.test))
    judged = {key for outcome in found if outcome.example in test for key in outcome.call_keys}
    by_round = sorted((row.attributes["crito.round"], row.attributes["crito.stage"]) for row in plans)
    return Seen(
        result=result,
        stages=[stage for _, stage in by_round],
        proposals=Counter(attempt.round for attempt in tried),
        attempts=tried,
        roles=Counter(row.role for row in paid),
        answered=sum(outcome.example in val for outcome in found),
        searched=sum(row.key not in judged for row in paid),
    )


@dataclass(frozen=True)
class Spec:
    """A published method in numbers.

    Attributes:
        operators: What its candidates are made by.
        stages: (name, rounds, candidates of a round at most, agents' calls of a round at most).
        schedule: How its candidates are scored.
        asks: Roles that it speaks to, beside the planner, which reads the task once.
        first: Candidates of the first round exactly, where that is certain.
    """

    operators: set[str]
    stages: tuple[tuple[str, int, int, int], ...]
    schedule: str
    asks: set[str]
    first: int | None


CRITIQUE = 4
"""Calls of one critique at most: the critic's, and an edit for each of its three hypotheses."""
TURN = 4
"""Calls of one Socratic turn at most: questions, their examination, a second attempt, the answer."""
WRITER, CRITICS = {"rewriter"}, {"critic", "rewriter"}
EDITS = {"critique_synthesis"}
SPECS = {
    # 3 x (4 calls of 5 styles, the best of them criticized and refined), then 3 times instruction or examples
    "promptwizard": Spec(
        operators={*EDITS, "restyle", "demonstrations"},
        stages=(*(("mutate", 1, 20, 4), ("critique", 1, 1, CRITIQUE)) * 3, ("refine", 3, 1, CRITIQUE)),
        schedule="minibatch",
        asks=CRITICS,
        first=20,
    ),
    # 10 iterations, each candidate on all examples
    "mars": Spec({"socratic"}, (("dialogue", 10, 3, 3 * TURN),), "full", {"teacher", "critic", "student"}, 3),
    # 5 subsamples x 50 draws in code, but it saturates near 64: ours are 12 x 4; filtered on growing subsets, once
    "ape": Spec({"induce"}, (("induce", 1, 48, 48),), "halving", WRITER, 48),
    # 6 rounds, a beam of 4, at most 8 successors of each
    "protegi": Spec({*EDITS, "restyle"}, (("search", 6, 32, 4 * CRITIQUE),), "halving", CRITICS, None),
    # a population of 10 with the seed, 10 steps of as many children, no gate, full evaluations
    "evoprompt-ga": Spec(
        {"restyle", "recombine"}, (("population", 1, 9, 3), ("evolve", 10, 10, 10)), "full", WRITER, 9
    ),
    "evoprompt-de": Spec(
        {"restyle", "differential"}, (("population", 1, 9, 3), ("evolve", 10, 10, 10)), "full", WRITER, 9
    ),
    # 4 children a step, raced in blocks
    "capo": Spec(
        {"restyle", "recombine", "demonstrations"}, (("population", 1, 9, 3), ("evolve", 20, 4, 4)), "blocks", WRITER, 9
    ),
    # one candidate for each critique of 3 + 3 cases; compression after 5 rejections in a row; 80 updates at most
    "grace": Spec({*EDITS, "compress"}, (("update", 5, 1, CRITIQUE), ("compress", 1, 1, 1)) * 4, "full", CRITICS, 1),
    # sets of examples and instructions, then trials on minibatches, the best of 8 in full
    "miprov2": Spec(
        {"demonstrations", "induce", "sweep"}, (("pool", 1, 12, 6), ("trials", 6, 8, 0)), "minibatch", WRITER, 10
    ),
}
"""Methods whose rounds follow from their numbers alone where nothing is ever found to be better."""


@pytest.mark.parametrize("name", SPECS)
def test_a_preset_does_what_its_method_does(tmp_path: Path, name: str) -> None:
    spec, settings = SPECS[name], PRESETS[name]
    seen = run(tmp_path, settings, task_of())
    assert seen.result.stopped == "no further gain was found"
    assert seen.operators == spec.operators
    assert [(stage, len(list(rounds))) for stage, rounds in groupby(seen.stages)] == [s[:2] for s in spec.stages]
    most = [number for _, rounds, number, _ in spec.stages for _ in range(rounds)]
    assert all(seen.proposals[at] <= number for at, number in enumerate(most))
    assert spec.first is None or seen.proposals[0] == spec.first
    spoken = {role: number for role, number in seen.roles.items() if role not in ("target", "planner")}
    assert set(spoken) == spec.asks
    assert sum(spoken.values()) <= sum(rounds * number for _, rounds, _, number in spec.stages)
    assert seen.roles["planner"] == 1
    assert_scored(seen, spec.schedule)


def assert_scored(seen: Seen, schedule: str) -> None:
    """Every candidate that raced was scored as the schedule says, and the seed in full."""
    raced, finished = len(seen.raced), sum(attempt.n == VAL for attempt in seen.raced)
    stopped = raced - finished
    assert all(attempt.n in (BLOCK, VAL) for attempt in seen.raced)
    assert seen.answered == VAL * (1 + finished) + BLOCK * stopped
    rounds = len({attempt.round for attempt in seen.raced})
    match schedule:
        case "full":
            assert stopped == 0
        case "minibatch":
            assert finished == rounds
        case _:
            assert 0 < finished <= raced


def test_opro_goes_on_from_its_trajectory_eight_at_a_time(tmp_path: Path) -> None:
    seen = run(tmp_path, PRESETS["opro"], task_of(budget=600))
    assert seen.result.stopped == "the budget of the search is used up"
    assert set(seen.stages) == {"search"}
    assert PRESETS["opro"].stages[0].rounds == 200
    assert seen.operators == {"history"}
    assert seen.proposals[0] == 8
    assert max(seen.proposals.values()) == 8
    whole = len(seen.stages) - 1  # rounds that the budget reaches for; the last asks for as many as could still race
    assert 8 * whole < seen.roles["rewriter"] <= 8 * (whole + 1)
    scored = [attempt.n for attempt in seen.raced if attempt.round < len(seen.stages) - 1]
    assert set(scored) == {VAL}  # the budget ends the last round


def test_agents_answer_at_the_presets_temperature_and_the_target_at_the_tasks(tmp_path: Path) -> None:
    run(tmp_path, PRESETS["opro"], task_of(budget=100))
    database = Database(tmp_path / "crito.db")
    rows = database.read(sa.select(calls.c.role, calls.c.request))
    database.dispose()
    asked = {(row.role, ModelRequest.model_validate_json(row.request).temperature) for row in rows}
    assert asked == {("target", 0.0), ("planner", 1.0), ("rewriter", 1.0)}


@pytest.mark.parametrize("settings", [DEFAULT, LEAN], ids=["default", "lean"])
def test_our_own_agents_answer_at_temperature_0(settings: Preset) -> None:
    assert settings.temperature == 0.0


def test_gepa_reflects_on_one_parent_a_round_and_scores_in_full_what_passes_the_gate(tmp_path: Path) -> None:
    seen = run(tmp_path, PRESETS["gepa"], task_of(val=20), able=True)
    assert set(seen.stages) == {"search"}
    assert len(seen.stages) <= 60
    assert seen.operators <= {"critique_synthesis", "merge"}
    assert set(seen.proposals.values()) == {1}
    assert {"no_repair", "accepted"} <= {attempt.fate for attempt in seen.attempts}
    assert all(attempt.n == 0 for attempt in seen.attempts if attempt.fate == "no_repair")
    assert seen.answered == 20 * (1 + len(seen.raced))
    assert set(seen.roles) == {"target", "planner", "critic", "rewriter"}
    assert seen.roles["critic"] + seen.roles["rewriter"] <= CRITIQUE * len(seen.stages)


def test_random_words_get_the_whole_budget_in_one_race(tmp_path: Path) -> None:
    seen = run(tmp_path, PRESETS["random"], task_of(budget=400))
    assert (seen.stages, seen.operators) == (["search"], {"babble"})
    assert set(seen.roles) == {"target", "planner"}
    assert 0.9 * 400 < seen.searched <= 400
    assert_scored(seen, "halving")


@pytest.mark.parametrize("val", [10, 24, 48, 96])
@pytest.mark.parametrize("able", [False, True])
def test_lean_takes_three_hundred_calls_at_most(tmp_path: Path, val: int, able: bool) -> None:
    seen = run(tmp_path, LEAN, task_of(val=val), able=able)
    assert [stage for stage, _ in groupby(seen.stages)] == ["opening", "search", "compress"][: len(set(seen.stages))]
    assert all(number == 1 for number in Counter(seen.stages).values())
    assert seen.operators <= {"null", "spread", "demonstrations", "critique_synthesis", "compress"}
    assert seen.searched <= 300


def test_the_default_goes_through_its_stages_within_its_shares(tmp_path: Path) -> None:
    seen = run(tmp_path, DEFAULT, task_of())
    stages = [stage for stage, _ in groupby(seen.stages)]
    assert stages == ["opening", "search", "compress"]
    rounds = Counter(seen.stages)
    assert rounds["opening"] == 1
    assert rounds["search"] >= 3
    assert 1 <= rounds["compress"] <= 4
    assert seen.operators <= {"null", *DEFAULT.operators}
    assert {"null", "demonstrations", "compress"} <= seen.operators
    assert seen.searched <= CALLS


def test_the_default_without_demonstrations_shows_none_in_any_candidate(tmp_path: Path) -> None:
    seen = run(tmp_path, preset("default-demos"), task_of(budget=600))
    database = Database(tmp_path / "crito.db")
    made = [Candidate.model_validate_json(row.body) for row in database.read(sa.select(candidates.c.body))]
    database.dispose()
    assert {"opening", "search"} <= set(seen.stages)
    assert "critique_synthesis" in seen.operators  # which shows failures as demonstrations where it may
    assert [candidate.id for candidate in made if candidate.main.demos] == []


@pytest.mark.parametrize("name", PRESETS)
def test_every_operator_of_a_preset_exists(name: str) -> None:
    assert set(PRESETS[name].operators) <= set(OPERATORS)
    assert PRESETS[name].name == name


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"default", "lean"}))
def test_a_published_method_names_its_source(name: str) -> None:
    assert re.fullmatch(r"\w.* \(20\d\d\)", PRESETS[name].source)
