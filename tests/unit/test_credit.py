from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from crito.memory.archive import Archive
from crito.memory.credit import Credit, changes, credited
from crito.prompt import Demo, Layout, Prompt, Section
from crito.records import Candidate
from crito.tools.database import Database
from crito.tools.stats import bootstrap_interval
from tests.builders import make_candidate, make_examples, make_outcome

EXAMPLES = make_examples(6)
SEED = Prompt(sections=(Section(name="task", body="Name the team."),))


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    opened = Database(tmp_path / "crito.db")
    yield Archive(opened, "r")
    await opened.close()


def ruled(*rules: str, task: str = "Name the team.", **fields: object) -> Prompt:
    sections = (Section(name="task", body=task), *([Section(name="rules", body=rules)] if rules else []))
    return Prompt.model_validate({"sections": sections, **fields})


async def add(
    archive: Archive, name: str, prompt: Prompt, scores: Sequence[float | None], *parents: str, **fields: object
) -> None:
    """A candidate of that id with these scores on the first examples."""
    made = make_candidate(prompt=prompt).model_copy(update={"id": name, "parents": parents, **fields})
    await archive.add(Candidate.model_validate(made.model_dump()))
    answered = zip(EXAMPLES[: len(scores)], scores, strict=True)
    await archive.record(make_outcome(name, example, score) for example, score in answered)


def of(archive: Archive, candidate: str) -> list[Credit]:
    return list(credited(candidate, "s", archive, EXAMPLES))


async def test_a_rule_is_followed_back_to_the_candidate_that_brought_it(archive: Archive) -> None:
    told = {"round": 3, "operator": "critique_synthesis", "author": "rewriter", "hypothesis": "off_label: name them"}
    await add(archive, "s", SEED, [0, 0, 0, 1])
    await add(archive, "a", ruled("One word."), [1, 0, 0, 1], "s", **told)
    await add(archive, "b", ruled("One word.", "No dot."), [1, 1, 0, 1], "a", round=4)
    first, second = of(archive, "b")
    assert (first.place, first.text, first.removed, first.candidate) == ("rules", ("One word.",), (), "a")
    assert first.model_dump(include=set(told)) == told
    assert (second.text, second.candidate, second.round) == (("No dot.",), "b", 4)


async def test_worth_is_the_paired_effect_where_the_edit_was_made(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0, 1, None, 1])
    await add(archive, "a", ruled("One word."), [1, 1, 0, 1, None], "s")
    (credit,) = of(archive, "a")
    assert credit.gain == pytest.approx(1 / 3)  # the failed calls are on neither side
    assert credit.interval == bootstrap_interval([1.0, 1.0, -1.0])
    assert (credit.n, credit.others, credit.undone) == (3, 0, ())


async def test_taking_a_rule_back_measures_it_with_its_sign_turned(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word."), [1, 0], "s")
    await add(archive, "b", ruled("One word.", "No dot."), [1, 1, 1], "a")
    await add(archive, "c", ruled("No dot."), [1, 0, 1], "b", operator="ablate")
    credit = of(archive, "b")[0]
    assert credit.undone == ("c",)
    # per example: made +1, 0; taken back 0, +1, 0 -> means .5, .5, 0
    assert credit.gain == pytest.approx(1 / 3)
    assert credit.n == 3


async def test_an_effect_that_several_edits_share_is_not_divided(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word.", "No dot.", template="{input}\nTeam:"), [1, 1], "s")
    found = of(archive, "a")
    assert [(c.place, c.gain, c.others) for c in found] == [
        ("rules", 1.0, 2),
        ("rules", 1.0, 2),
        ("template", 1.0, 2),
    ]
    assert found[2].removed == ("{input}",)


async def test_a_step_of_one_edit_says_more_than_one_of_several(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word.", "No dot."), [1, 1], "s")
    await add(archive, "b", ruled("One word."), [1, 1], "a", operator="compress")
    one, two = of(archive, "a")
    assert (one.text, one.gain, one.others) == (("One word.",), 1.0, 1)
    assert (two.text, two.gain, two.others, two.undone) == (("No dot.",), 0.0, 0, ("b",))


async def test_a_step_that_changes_more_takes_nothing_back(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word."), [1, 1], "s")
    await add(archive, "b", ruled(task="Sort."), [0, 0], "a")
    await add(archive, "c", SEED.model_copy(update={"layout": Layout(style="xml")}), [0, 0], "a")
    assert of(archive, "a")[0].undone == ()


async def test_who_took_it_back_unmeasured_is_not_named(archive: Archive) -> None:
    await add(archive, "s", ruled("Old."), [0, 0])
    await add(archive, "a", ruled("Old.", "One word."), [1, 1], "s")
    await add(archive, "b", ruled("One word."), [1, 1], "a")
    await add(archive, "c", ruled(), [], "b")
    (brought, _) = of(archive, "b")
    assert (brought.text, brought.undone) == (("One word.",), ())


async def test_a_merge_gives_each_parent_what_it_brought(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word."), [1, 0], "s")
    await add(archive, "b", ruled("No dot."), [0, 1], "s")
    await add(archive, "m", ruled("One word.", "No dot."), [1, 1], "a", "b", operator="merge")
    assert [(c.text, c.candidate, c.gain) for c in of(archive, "m")] == [
        (("One word.",), "a", 0.5),
        (("No dot.",), "b", 0.5),
    ]


async def test_what_was_only_left_out_is_a_change_too(archive: Archive) -> None:
    await add(archive, "s", ruled("One word.", "Be nice."), [0, 0])
    await add(archive, "a", ruled("One word."), [1, 0], "s", operator="ablate")
    await add(archive, "b", ruled("One word.", task="Sort."), [1, 1], "a")
    rewritten, dropped = of(archive, "b")
    assert (rewritten.text, rewritten.removed, rewritten.candidate) == (("Sort.",), ("Name the team.",), "b")
    assert (dropped.text, dropped.removed, dropped.candidate, dropped.gain) == ((), ("Be nice.",), "a", 0.5)


async def test_sentences_of_a_text_have_origins_of_their_own(archive: Archive) -> None:
    await add(archive, "s", SEED, [0])
    await add(archive, "a", ruled(task="Name the team. One word."), [1], "s")
    await add(archive, "b", ruled(task="Name the team. One word. No dot!"), [1], "a")
    assert [(c.text, c.candidate) for c in of(archive, "b")] == [(("One word.",), "a"), (("No dot!",), "b")]


async def test_what_a_later_step_overwrote_is_not_carried(archive: Archive) -> None:
    await add(archive, "s", SEED, [0])
    await add(archive, "a", ruled(template="Text: {input}"), [1], "s")
    await add(archive, "b", ruled(template="{input}\nTeam:"), [1], "a")
    (credit,) = of(archive, "b")
    assert (credit.candidate, credit.text, credit.removed) == ("b", ("{input}\nTeam:",), ("Text: {input}",))


async def test_examples_that_the_child_was_made_to_mend_or_keep_are_left_out(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 1, 0, 0])
    picked = {"mends": (EXAMPLES[0].id,), "keeps": (EXAMPLES[1].id,)}
    await add(archive, "a", ruled("One word."), [1, 1, 0, 0], "s", **picked)
    (credit,) = of(archive, "a")
    assert (credit.gain, credit.n) == (0.0, 2)


async def test_without_a_measurement_the_worth_is_unknown(archive: Archive) -> None:
    await add(archive, "s", SEED, [0])
    await add(archive, "a", ruled("One word."), [], "s")
    (credit,) = of(archive, "a")
    assert (credit.gain, credit.interval, credit.n) == (None, None, 0)


async def test_a_candidate_without_known_parents_is_measured_against_the_seed(archive: Archive) -> None:
    await add(archive, "s", SEED, [0, 0])
    await add(archive, "a", ruled("One word."), [1, 1], "gone")
    (credit,) = of(archive, "a")
    assert (credit.candidate, credit.gain) == ("a", 1.0)


async def test_the_seed_carries_no_change(archive: Archive) -> None:
    await add(archive, "s", SEED, [0])
    assert of(archive, "s") == []


async def test_credits_are_the_same_in_whatever_order_candidates_came(archive: Archive, tmp_path: Path) -> None:
    rows = [
        ("s", SEED, [0, 0], ()),
        ("a", ruled("One word."), [1, 0], ("s",)),
        ("b", ruled("One word.", "No dot."), [1, 1], ("a",)),
    ]
    for name, prompt, scores, parents in rows:
        await add(archive, name, prompt, scores, *parents)
    database = Database(tmp_path / "other.db")
    other = Archive(database, "r")
    for name, prompt, scores, parents in rows[::-1]:
        await add(other, name, prompt, scores, *parents)
    assert of(other, "b") == of(archive, "b")
    await database.close()


def demo(text: str) -> Demo:
    return Demo(inputs={"input": text}, output="billing", example_id=text)


@pytest.mark.parametrize(
    ("before", "after", "places"),
    [
        (ruled("A.", "B."), ruled("B.", "A."), []),  # the order of rules is no change
        (ruled("A.", "B."), ruled("C.", "B."), ["rules"]),  # one for the other is one edit
        (ruled("A."), ruled("B.", "C."), ["rules", "rules"]),
        (ruled(task="A. B."), ruled(task="C. D. E."), ["task"]),  # a text is one place
        (SEED, ruled(demos=(demo("x"), demo("y"))), ["demos"]),
        (SEED, ruled(layout=Layout(style="xml", demos="inline")), ["layout.style", "layout.demos"]),
        (SEED, ruled(words={"billing": "bill"}), ["words"]),
    ],
)
def test_edits_are_counted_by_place(before: Prompt, after: Prompt, places: list[str]) -> None:
    assert [change.place for change in changes(before, after)] == places
