import pytest

from crito.agents.edits import add_rule, answer_only, cues, structural, swap_rule
from crito.patch import Patch
from crito.prompt import Prompt, Section
from crito.records import FailureLabel, Hypothesis
from tests.builders import make_task

RULE = "Answer in lower case."
TASK = Section(name="task", body="Name the team.")
ROLE = Section(name="role", body="You sort mail.")


def prompt(*sections: Section, template: str = "{input}", frozen: tuple[str, ...] = ()) -> Prompt:
    return Prompt(sections=sections, template=template, frozen=frozen)


def applied(before: Prompt, patch: Patch | None) -> Prompt:
    assert patch is not None
    return before.apply(patch)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (prompt(), "- Answer in lower case."),
        (prompt(TASK), "Name the team. Answer in lower case."),
        (prompt(ROLE, TASK), "You sort mail.\n\nName the team.\n\n- Answer in lower case."),
        (
            prompt(TASK, Section(name="rules", body=("One word.",))),
            "Name the team.\n\n- One word.\n- Answer in lower case.",
        ),
        (prompt(TASK, Section(name="rules", body="One word.")), "Name the team.\n\nOne word.\nAnswer in lower case."),
        (prompt(Section(name="rules", body="One word.")), "One word.\nAnswer in lower case."),
        (prompt(Section(name="steps", body=("Read.",))), "- Read.\n\n- Answer in lower case."),
        (prompt(TASK, frozen=("task",)), "Name the team.\n\n- Answer in lower case."),
        (prompt(TASK, frozen=("the team",)), "Name the team. Answer in lower case."),
    ],
)
def test_a_rule_is_added_where_it_belongs(before: Prompt, after: str) -> None:
    assert applied(before, add_rule(before, RULE)).instructions() == after


def test_a_rule_that_stands_there_is_not_added_again() -> None:
    before = prompt(Section(name="task", body=f"Name the team. {RULE}"))
    assert add_rule(before, RULE) is None


def test_frozen_rules_refuse_another_rule() -> None:
    before = prompt(TASK, Section(name="rules", body=("One word.",)), frozen=("rules",))
    assert add_rule(before, RULE) is None


def test_the_labels_are_listed_where_there_are_some() -> None:
    before = prompt(TASK)
    task = make_task(labels=("billing", "delivery", "other"))
    assert applied(before, answer_only(before, task)).instructions().endswith("billing, delivery or other.")


def test_else_the_answer_alone_is_asked_for_by_its_name() -> None:
    before = prompt(TASK)
    text = applied(before, answer_only(before, make_task(output="order_number"))).instructions()
    assert text == "Name the team. Answer with the order number only and nothing else."


def test_a_cue_ends_a_bare_input() -> None:
    before = prompt(TASK)
    templates = [before.apply(patch).template for patch in cues(before, make_task(output="team_name"))]
    assert templates == ["{input}\n\nTeam name:", '"{input}"\nTeam name:', "Input: {input}\nTeam name:"]


@pytest.mark.parametrize(
    "before",
    [prompt(TASK, template="Mail: {input}"), prompt(template="{a}\n{b}"), prompt(TASK, frozen=("template",))],
)
def test_a_template_of_the_users_own_gets_no_cue(before: Prompt) -> None:
    assert cues(before, make_task()) == []


@pytest.mark.parametrize(
    ("label", "count"),
    [
        *(("wrong_format", 4), ("verbose", 4), ("off_label", 4), ("refusal", 4), ("truncated", 4), ("empty", 4)),
        *(("wrong_content", 0), ("near_miss", 0)),
    ],
)
def test_structural_failures_get_edits_and_others_none(label: FailureLabel, count: int) -> None:
    cause = Hypothesis(label=label, examples=("e",), direction="x")
    found = structural(prompt(TASK), make_task(), [cause])
    assert len(found) == count
    assert all(hypothesis == cause for hypothesis, _ in found)


def test_the_answer_rule_names_the_words_of_the_prompt() -> None:
    before = prompt(TASK).model_copy(update={"words": {"pos": "good", "neg": "Neg"}})
    task = make_task(labels=("pos", "neg"))
    assert (
        applied(before, answer_only(before, task)).instructions().endswith("Answer with one word: good for pos or Neg.")
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (prompt(Section(name="task", body="Sort. Be brief. Now.")), "Sort. Be loud. Now."),
        (prompt(TASK, Section(name="rules", body=("Be brief.", "No."))), "Name the team.\n\n- Be loud.\n- No."),
        (prompt(TASK), "Name the team. Be loud."),
    ],
)
def test_a_rule_takes_the_place_of_another(before: Prompt, after: str) -> None:
    assert applied(before, swap_rule(before, "Be brief.", "Be loud.")).instructions() == after


def test_a_frozen_rule_is_not_exchanged() -> None:
    before = prompt(TASK, Section(name="rules", body=("Be brief.",)), frozen=("rules[0]",))
    assert swap_rule(before, "Be brief.", "Be loud.") is None


def test_a_rule_comes_between_a_lead_in_and_its_input() -> None:
    patch = add_rule(Prompt.from_text("Name the right team: {input}"), "One word.")
    assert patch is not None
    assert Prompt.from_text("Name the right team: {input}").apply(patch).to_text() == (
        "Name the right team. One word. {input}"
    )
