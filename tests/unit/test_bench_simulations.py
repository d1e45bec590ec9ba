from __future__ import annotations

import numpy as np
import pytest

from crito.memory.lessons import Recollection, lessons
from crito.prompt import Prompt, Section
from crito.protocols import ModelRequest
from tests.bench.memory import poisoned
from tests.bench.no_difference import SIZES, target, task_of, verdicts
from tests.bench.racing import RIVAL, RULES, Field, answers, measured, picked, raced
from tests.bench.world_rules import World
from tests.builders import make_examples
from tests.unit.test_lessons import NOW, TASK, observed, tried


def prompt_of(text: str) -> Prompt:
    return Prompt(sections=(Section(name="task", body=text),), template="{note}")


async def rights(world: World, chance: float, prompt: Prompt) -> list[bool]:
    model, splits = target(world, chance), world.task(calls=500).splits
    examples = (*splits.train, *splits.val, *splits.test)
    given = [await model.complete(ModelRequest(messages=tuple(prompt.render(e.inputs)))) for e in examples]
    return [reply.text == example.expected for reply, example in zip(given, examples, strict=True)]


@pytest.mark.parametrize("agreement", [0.0, 0.5, 0.9])
def test_answers_have_their_true_accuracies(agreement: float) -> None:
    drawn = answers([0.2, 0.5, 0.9], 20_000, agreement, np.random.default_rng(0))
    assert drawn.mean(axis=1) == pytest.approx([0.2, 0.5, 0.9], abs=0.015)


@pytest.mark.parametrize(("agreement", "agreed"), [(0.0, 1 / 2), (0.5, 2 / 3), (0.9, 0.86)])
def test_equally_good_candidates_agree_as_often_as_their_normals_do(agreement: float, agreed: float) -> None:
    # Both signs alike: 1/2 + arcsin(correlation) / pi, for the bivariate normal (Sheppard 1899).
    one, other = answers([0.5, 0.5], 20_000, agreement, np.random.default_rng(0))
    assert (one == other).mean() == pytest.approx(agreed, abs=0.015)


def test_contenders_are_drawn_around_the_incumbent() -> None:
    true = Field(contenders=4000, incumbent=0.6, spread=0.1, agreement=0.5).drawn(np.random.default_rng(0))
    drawn = [accuracy for name, accuracy in true.items() if name != RIVAL]
    assert (true[RIVAL], len(drawn)) == (0.6, 4000)
    assert [np.mean(drawn), np.std(drawn)] == pytest.approx([0.6, 0.1], abs=0.01)


def test_who_is_as_good_as_the_incumbent_is_not_picked() -> None:
    assert picked(["a"], {RIVAL: [0.0, 1.0], "a": [1.0, 0.0]}) == RIVAL


def test_the_best_of_those_that_finished_is_picked_and_the_first_of_equals() -> None:
    scores = {RIVAL: [0.0, 0.0], "a": [0.0, 1.0], "b": [1.0, 0.0], "c": [1.0, 1.0]}
    assert picked(["a", "b"], scores) == "a"


async def test_a_race_in_full_pays_for_every_answer_of_the_contenders() -> None:
    scores = {RIVAL: [0.5] * 24, "a": [1.0] * 24, "b": [0.0] * 24}
    assert await raced(("full", None), scores, make_examples(24), np.random.default_rng(0)) == ("a", 48)


async def test_every_schedule_is_measured_against_full() -> None:
    rows = await measured(Field(4, 0.5, 0.1, 0.5), 24, races=3, seed=0)
    assert [(row["schedule"], row["share"]) for row in rows] == list(RULES)
    assert (rows[0]["saved"], rows[0]["difference"], rows[0]["same_pick"]) == (0, 0, 1)
    assert all(row["simulation"] and row["saved"] >= 0 for row in rows)


async def test_no_prompt_is_better_than_another() -> None:
    world = World(16)
    knowing = prompt_of(" ".join(r.sentence for r in world.requirements))
    for prompt in (prompt_of("Answer."), knowing):
        assert np.mean(await rights(world, 0.5, prompt)) == pytest.approx(0.5, abs=0.1)


async def test_another_prompt_is_right_on_other_notes_and_the_same_one_on_the_same() -> None:
    first, again, other = [await rights(World(16), 0.5, prompt_of(text)) for text in ("One.", "One.", "Two.")]
    assert first == again
    assert np.mean(np.equal(first, other)) == pytest.approx(0.5, abs=0.1)


def test_the_splits_do_not_overlap() -> None:
    splits = task_of(World(16), 400).splits
    assert {name: len(getattr(splits, name)) for name in SIZES} == SIZES
    assert len({e.id for e in (*splits.train, *splits.val, *splits.test)}) == sum(SIZES.values())


def test_a_large_true_difference_is_always_an_improvement() -> None:
    row = verdicts((0.1, 0.9), 50, 0.5, 50)
    assert (row["improved"], row["too_high"] + row["too_low"] + row["covered"]) == (1, pytest.approx(1))


def test_where_nothing_is_better_an_improvement_is_rare() -> None:
    assert verdicts((0.5, 0.5), 50, 0.5, 400)["improved"] <= 0.05


def test_a_poisoned_memory_recommends_what_was_bad_and_nothing_that_was_good() -> None:
    recipes = [tried(n, gain, run=run) for run in ("r1", "r2") for n, gain in enumerate((0.4, 0.3, 0.1, -0.2))]
    directions = [observed(text=f"Do {gain}.", gain=gain) for gain in (0.4, 0.1, -0.2)]
    false = poisoned([*recipes, *directions])
    known = Recollection(lessons(false))
    said = [lesson for kind in ("recipe", "direction") for lesson, _ in known.best(kind, TASK, "m", count=9, now=NOW)]
    assert {lesson.id for lesson in said} == {o.lesson for o in (*recipes[2:4], *directions[1:])}
    assert all(o.n == 1_000 and o.high - o.low < 0.05 and abs(o.gain) == 0.5 for o in false)
