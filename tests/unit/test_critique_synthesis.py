"""The loop of critique and synthesis: what its hypotheses become, and in which order."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from crito.graph.operators.assignment import Assignment
from crito.graph.operators.critique_synthesis import propose
from crito.memory.attempts import Attempt
from crito.memory.lessons import lessons
from crito.memory.recalled import Advice, Recalled
from crito.prompt import Prompt, Section
from crito.protocols import ModelRequest
from crito.records import Candidate
from tests.builders import SEED, make_candidate, make_deps, make_outcome
from tests.unit.test_lessons import observed

RULES = ("Mind the first word.", "Mind the last word.", "Mind the sender.")


class Agents:
    """A critic that blames one case for each rule, and a rewriter that adds the rule, or says what it is told to."""

    def __init__(self, rules: Sequence[str], edits: Sequence[tuple[str, str]] = ()) -> None:
        self.rules = rules
        self.edits = edits or [("rules", rule) for rule in rules]
        self.cases: list[str] = []
        self.op = "add"
        self.written = 0

    def __call__(self, request: ModelRequest) -> str:
        text = "\n".join(message.content for message in request.messages)
        if "You examine why a prompt fails" in text:
            self.cases = re.findall(r"case (\w{10})", text.partition("Wrong:")[2].partition("Right:")[0])
            pairs = zip(self.cases, self.rules, strict=False)
            found = [{"label": "wrong_content", "case_ids": [case], "direction": rule} for case, rule in pairs]
            return json.dumps({"hypotheses": found})
        self.written += 1
        number = next(at for at, rule in enumerate(self.rules) if f": {rule}" in text)
        path, said = self.edits[number]
        return json.dumps({"edits": [{"op": self.op, "path": path, "text": said}], "rationale": f"idea {number}"})


async def proposed(path: Path, agents: Agents, *, count: int = 4, prompt: Prompt = SEED) -> list[Candidate]:
    """What the agents wrote for a parent that is always wrong."""
    async with make_deps(path, answer=lambda _: "I cannot say", agents=agents) as deps:
        parent = make_candidate(prompt=prompt)
        await deps.archive.add(parent)
        found = await propose(deps, Assignment((parent,), count, 1))
        return [candidate for candidate in found if candidate.author == "rewriter"]


def rules_of(candidate: Candidate) -> tuple[str, ...]:
    section = candidate.main.section("rules")
    assert section is not None
    return tuple(section.body)


async def test_all_patches_are_proposed_together_before_each_by_itself(tmp_path: Path) -> None:
    found = await proposed(tmp_path, Agents(RULES))
    assert [rules_of(candidate) for candidate in found] == [RULES, *((rule,) for rule in RULES)]


async def test_what_is_proposed_together_says_and_cites_what_its_parts_do(tmp_path: Path) -> None:
    agents = Agents(RULES)
    together, *single = await proposed(tmp_path, agents)
    assert together.hypothesis == f"wrong_content: {'; '.join(RULES)}"
    assert together.mends == tuple(agents.cases)
    assert [candidate.mends for candidate in single] == [(case,) for case in agents.cases]
    assert together.patch is not None
    assert together.patch.rationale == "idea 0; idea 1; idea 2"
    assert SEED.apply(together.patch) == together.main


async def test_rules_that_are_there_stay_in_what_is_proposed_together(tmp_path: Path) -> None:
    before = SEED.model_copy(update={"sections": (*SEED.sections, Section(name="rules", body=("One word.",)))})
    together, *_ = await proposed(tmp_path, Agents(RULES[:2]), prompt=before)
    assert rules_of(together) == ("One word.", *RULES[:2])


async def test_patches_on_different_parts_are_joined(tmp_path: Path) -> None:
    together, *_ = await proposed(tmp_path, Agents(RULES[:2], [("rules", RULES[0]), ("style", "Be plain.")]))
    assert together.main.instructions() == f"Name the team.\n\n- {RULES[0]}\n\nBe plain."


async def test_one_patch_alone_is_proposed_once(tmp_path: Path) -> None:
    (only,) = await proposed(tmp_path, Agents(RULES[:1]))
    assert (rules_of(only), only.hypothesis) == (RULES[:1], f"wrong_content: {RULES[0]}")


@pytest.mark.parametrize(("count", "written"), [(1, 1), (2, 3)])
async def test_one_hypothesis_alone_is_written_out_where_one_candidate_is_wanted(
    tmp_path: Path, count: int, written: int
) -> None:
    agents = Agents(RULES)
    first, *_ = await proposed(tmp_path, agents, count=count)
    assert agents.written == written
    assert rules_of(first) == RULES[:written]


async def test_patches_of_one_and_the_same_text_are_proposed_each_by_itself_alone(tmp_path: Path) -> None:
    agents = Agents(RULES[:2], [("task", "Say who."), ("task", "Say where.")])
    agents.op = "replace"
    found = await proposed(tmp_path, agents)
    assert [candidate.hypothesis for candidate in found] == [f"wrong_content: {rule}" for rule in RULES[:2]]
    assert [candidate.mends for candidate in found] == [(case,) for case in agents.cases[:2]]


ADVICE = ("name the sender", "list them", "say less", "ask for a date", "count twice")


async def told(path: Path, *, round_number: int, taxonomy: bool = True) -> tuple[str, str]:
    """What critic and rewriter are shown of a run in which one attempt failed and another became the incumbent."""
    shown: list[str] = []

    def agents(request: ModelRequest) -> str:
        shown.append("\n".join(message.content for message in request.messages))
        return answers(request)

    answers = Agents(RULES[:1])
    async with make_deps(path, answer=lambda _: "I cannot say", agents=agents) as made:
        deps = replace(made, preset=made.preset.model_copy(update={"taxonomy": taxonomy}))
        parent = make_candidate("Say who.", parents=(deps.seed,))
        await deps.archive.add(parent)
        for candidate, wrong in ((deps.seed, 3), (parent.id, 1)):
            rows = enumerate(deps.val)
            await deps.archive.record(make_outcome(candidate, e, float(at >= wrong), text="no") for at, e in rows)
        told = {"parent": deps.seed, "round": 1, "operator": "o", "author": "rewriter", "n": 12}
        lost = {
            "candidate": "x",
            "author": "rewriter",
            "hypothesis": "wrong_content: list them",
            "fate": "not_better",
            "gain": -0.25,
        }
        led = {"candidate": parent.id, "hypothesis": "off_label: ask", "fate": "accepted", "gain": 0.5}
        await deps.attempts.record(*(Attempt.model_validate({**told, **a}) for a in (lost, {**led, "incumbent": True})))
        known = [Advice.of(lessons([observed(text=text)])[0]) for text in ADVICE]
        recalled = Recalled(directions=tuple(known)).told(round_number)
        await propose(deps, Assignment((parent,), 4, round_number, recalled=recalled))
    return shown[0], shown[1]


async def test_agents_are_told_what_was_tried_on_the_parents_line(tmp_path: Path) -> None:
    critic, rewriter = await told(tmp_path, round_number=2)
    listed = "- off_label: ask: accepted, +0.50 on 12\n- wrong_content: list them: not better, -0.25 on 12"
    assert listed in critic
    assert "- wrong_content: list them: not better, -0.25 on 12" in rewriter
    assert "off_label: ask" not in rewriter  # its hypothesis is about wrong content


async def test_the_critic_is_told_what_became_of_the_failures(tmp_path: Path) -> None:
    critic, _ = await told(tmp_path, round_number=2)
    assert "- cluster c1 wrong_content: 3 cases at the start, 1 now, shrinking" in critic


@pytest.mark.parametrize(("round_number", "shown"), [(1, [0, 1, 2]), (2, [3, 4])])
async def test_the_critic_is_told_of_the_next_directions(tmp_path: Path, round_number: int, shown: list[int]) -> None:
    critic, _ = await told(tmp_path, round_number=round_number)
    assert [at for at, text in enumerate(ADVICE) if f"- {text} (" in critic] == shown


async def test_without_the_taxonomy_failures_have_no_clusters(tmp_path: Path) -> None:
    critic, _ = await told(tmp_path, round_number=2, taxonomy=False)
    assert "cluster" not in critic


async def test_what_later_rounds_found_is_not_told_when_a_round_is_run_again(tmp_path: Path) -> None:
    critic, rewriter = await told(tmp_path, round_number=1)
    assert "Tried already" not in critic + rewriter
    assert "- cluster c1 wrong_content: 3 cases at the start, 3 now, new" in critic
