import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crito.errors import BudgetExhausted, CallFailed
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.critique_synthesis import Evidence
from crito.graph.operators.socratic import largest, propose
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_example, make_outcome

ROLES = {"You teach by asking": "teacher", "You judge questions": "critic", "You wrote a prompt": "student"}
PARENT = make_candidate(prompt=SEED)
FAILING = ("train 0", "train 1", "train 2", "train 3", "train 4")


class Agents:
    """Teacher, critic and student by script: each takes its next reply, and its last one again and again."""

    def __init__(self, **scripts: Sequence[object]) -> None:
        usual: dict[str, Sequence[object]] = {"critic": [judges("ok")], "student": rules()}
        questions = [asks("What decides?"), asks("Who pays?"), asks("Which word?")]
        self.scripts: dict[str, Sequence[object]] = {"teacher": questions, **usual, **scripts}
        self.said: list[str] = []
        self.seen: list[str] = []

    def __call__(self, request: ModelRequest) -> Any:
        text = "\n\n".join(message.content for message in request.messages)
        role = next(role for mark, role in ROLES.items() if mark in text)
        script = self.scripts[role]
        reply = script[min(self.said.count(role), len(script) - 1)]
        self.said.append(role)
        self.seen.append(text)
        return json.dumps(reply) if isinstance(reply, dict) else reply


def asks(*questions: str) -> dict[str, object]:
    return {"questions": list(questions)}


def judges(*rulings: str) -> dict[str, object]:
    given = [{"socratic": ruling != "tells", "on_point": ruling != "off"} for ruling in rulings]
    return {"questions": given, "suggestion": "ask what decides"}


def rules() -> list[object]:
    """A new rule for each turn."""
    return [
        {"edits": [{"op": "add", "path": "rules", "text": f"Rule {n}."}], "rationale": f"lesson {n}"} for n in range(9)
    ]


def target(request: ModelRequest) -> str:
    """Wrong on five training messages, right on the rest."""
    asked = request.messages[-1].content
    return "delivery" if asked in FAILING else "billing"


async def proposed(
    path: Path,
    agents: Agents,
    *,
    parent: Candidate = PARENT,
    count: int = 9,
    ask: bool = True,
    focus: str = "",
    answer: Any = target,
) -> list[Candidate]:
    async with make_deps(path, answer=answer, agents=agents) as deps:
        return await propose(deps, Assignment((parent,), count, 2, focus=focus, ask=ask))


def bodies(found: Sequence[Candidate]) -> list[str]:
    return [c.main.instructions().removeprefix("Name the team.\n\n").replace("\n", " ") for c in found]


async def test_each_turn_is_a_candidate_and_builds_on_the_turn_before(tmp_path: Path) -> None:
    agents = Agents()
    found = await proposed(tmp_path, agents)
    assert bodies(found) == ["- Rule 0.", "- Rule 0. - Rule 1.", "- Rule 0. - Rule 1. - Rule 2."]
    assert agents.said == ["teacher", "critic", "student"] * 3
    assert "- Rule 0." in agents.seen[3]


async def test_a_candidate_says_where_it_comes_from(tmp_path: Path) -> None:
    found = await proposed(tmp_path, Agents(teacher=[asks("What decides?", "Who pays?")], critic=[judges("ok", "ok")]))
    failing = {make_example(text).id for text in FAILING}
    for candidate in found:
        assert (candidate.operator, candidate.author, candidate.round) == ("socratic", "student", 2)
        assert candidate.parents == (PARENT.id,)
        assert candidate.patch is not None
        assert SEED.apply(candidate.patch) == candidate.main
        assert candidate.hypothesis == "wrong_content: What decides? Who pays?"
        assert set(candidate.mends) < failing
        assert candidate.keeps
        assert not set(candidate.keeps) & failing


async def test_the_parents_own_edits_are_not_made_twice(tmp_path: Path) -> None:
    (parent,) = await proposed(tmp_path, Agents(), count=1)
    (found,) = await proposed(tmp_path, Agents(student=rules()[5:]), parent=parent, count=1)
    assert bodies([found]) == ["- Rule 0. - Rule 5."]


async def test_the_dialogue_stops_at_the_candidates_that_there_is_room_for(tmp_path: Path) -> None:
    agents = Agents()
    assert len(await proposed(tmp_path, agents, count=2)) == 2
    assert agents.said == ["teacher", "critic", "student"] * 2


async def test_later_turns_know_what_was_asked(tmp_path: Path) -> None:
    agents = Agents()
    await proposed(tmp_path, agents, count=2)
    assert "Asked before" not in agents.seen[0]
    assert "- What decides?" in agents.seen[3]
    assert "- Who pays?" in agents.seen[5]


async def test_the_teacher_is_told_the_planners_focus(tmp_path: Path) -> None:
    agents = Agents()
    await proposed(tmp_path, agents, count=1, focus="cards")
    assert "look at: cards" in agents.seen[0]


async def test_refused_questions_are_asked_anew_once_a_turn(tmp_path: Path) -> None:
    agents = Agents(teacher=[asks("Should it say billing?"), asks("What decides?")], critic=[judges("tells")])
    await proposed(tmp_path, agents, count=1)
    assert agents.said == ["teacher", "critic", "teacher", "student"]
    assert "- Should it say billing? (tells the answer)" in agents.seen[2]
    assert "- What decides?" in agents.seen[3]
    assert "Should it say billing?" not in agents.seen[3]


async def test_of_two_questions_only_the_one_that_was_let_through_reaches_the_student(tmp_path: Path) -> None:
    agents = Agents(teacher=[asks("Is it nice?", "What decides?")], critic=[judges("off", "ok")])
    (found,) = await proposed(tmp_path, agents, count=1)
    assert agents.said == ["teacher", "critic", "student"]
    assert "Is it nice?" not in agents.seen[2]
    assert found.hypothesis == "wrong_content: What decides?"


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("teacher", ["teacher", "teacher"]),
        ("critic", ["teacher", "critic", "critic"]),
        ("student", ["teacher", "critic", "student", "student"]),
    ],
)
async def test_an_unusable_reply_ends_the_dialogue_and_keeps_what_was_found(
    tmp_path: Path, role: str, said: list[str]
) -> None:
    good = Agents().scripts[role][0]
    agents = Agents(**{role: [good, "I would rather not."]})
    assert bodies(await proposed(tmp_path, agents)) == ["- Rule 0."]
    assert agents.said == ["teacher", "critic", "student", *said]


async def test_an_unusable_second_attempt_ends_the_dialogue(tmp_path: Path) -> None:
    agents = Agents(teacher=[asks("Should it say billing?"), "no"], critic=[judges("tells")])
    assert await proposed(tmp_path, agents) == []
    assert agents.said == ["teacher", "critic", "teacher", "teacher"]


async def test_a_failed_call_ends_the_dialogue(tmp_path: Path) -> None:
    failure = CallFailed("bad_request", "too long", retryable=False)
    assert len(await proposed(tmp_path, Agents(teacher=[asks("What decides?"), failure]))) == 1


async def test_an_edit_that_changes_nothing_ends_the_dialogue(tmp_path: Path) -> None:
    same = {"edits": [{"op": "replace", "path": "task", "text": "Name the team."}]}
    agents = Agents(student=[rules()[0], same])
    assert bodies(await proposed(tmp_path, agents)) == ["- Rule 0."]
    assert len(agents.said) == 6


async def test_an_empty_budget_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(BudgetExhausted):
        await proposed(tmp_path, Agents(student=[BudgetExhausted("calls")]))


async def test_without_the_agents_model_nothing_is_run(tmp_path: Path) -> None:
    agents = Agents()
    asked: list[ModelRequest] = []
    assert await proposed(tmp_path, agents, ask=False, answer=asked.append) == []
    assert (agents.said, asked) == ([], [])


async def test_where_nothing_fails_nothing_is_asked(tmp_path: Path) -> None:
    agents = Agents()
    assert await proposed(tmp_path, agents, answer=lambda _: "billing") == []
    assert agents.said == []


async def test_the_dialogue_is_about_the_largest_cluster(tmp_path: Path) -> None:
    given = [("a", ""), ("b", "delivery"), ("c", "sales")]
    wrong = [(make_example(text), make_outcome("c", make_example(text), 0.0, text=output)) for text, output in given]
    async with make_deps(tmp_path) as deps:
        cluster = largest(deps, Evidence(tuple(wrong), ()))
    assert cluster.label == "wrong_content"
    assert [e.inputs["input"] for e, _ in cluster.cases] == ["b", "c"]
