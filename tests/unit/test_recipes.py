"""Recipes read off prompts, and followed on other seeds; and proven prompts that fit a task."""

from typing import Any

import pytest

from crito.agents.edits import answer_only, cues
from crito.agents.recipes import followed, recipe_of
from crito.memory.proven import ProvenPrompt, Trial, fitting, proven
from crito.memory.recipe import LayoutChange, Recipe
from crito.prompt import Demo, Layout, Prompt, Section
from tests.builders import SEED, make_task
from tests.unit.test_lessons import OTHER, TASK

DEMOS = tuple(Demo(inputs={"input": f"message {n}"}, output="billing") for n in range(4))
TOY = make_task(prompts={"main": Prompt(sections=SEED.sections, template="{input}")})
START = TOY.prompts["main"]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(instructions="kept", demos=2),
        Recipe(instructions="answer_rule", cue=0),
        Recipe(instructions="answer_rule", cue=2, demos=4, layout_change=LayoutChange(instructions="user")),
        Recipe(instructions="none", demos=3, layout_change=LayoutChange(demos="inline")),
        Recipe(instructions="kept", layout_change=LayoutChange(style="xml", instructions="each")),
    ],
)
def test_a_recipe_that_was_followed_is_read_back(recipe: Recipe) -> None:
    made = START.apply(followed(recipe, START, TOY, DEMOS))
    assert recipe_of(made, START, TOY) == recipe


def test_a_recipe_changes_of_another_seeds_layout_what_it_changed_of_its_own() -> None:
    plain = START.model_copy(update={"layout": Layout(instructions="user")})
    marked = START.model_copy(update={"layout": Layout(style="markdown", demos="inline")})
    recipe = recipe_of(plain.model_copy(update={"layout": Layout(instructions="each")}), plain, TOY)
    assert recipe == Recipe(instructions="kept", layout_change=LayoutChange(instructions="each"))
    made = marked.apply(followed(recipe, marked, TOY, ()))
    assert made.layout == Layout(style="markdown", demos="inline", instructions="each")
    unmarked = recipe_of(marked.model_copy(update={"layout": Layout()}), marked, TOY)
    assert unmarked is not None
    assert unmarked.text == "your instructions, as plain"
    assert START.apply(followed(unmarked, START, TOY, ())) == START


def test_a_recipe_holds_nothing_of_what_the_prompt_says() -> None:
    made = START.apply(followed(Recipe(instructions="answer_rule", cue=0, demos=4), START, TOY, DEMOS))
    recipe = recipe_of(made, START, TOY)
    assert recipe is not None
    assert recipe.text == "your instructions with an answer rule, an answer cue, 4 examples"
    assert not {"team", "message", "billing"} & set(recipe.model_dump_json().replace('"', " ").split())


@pytest.mark.parametrize(
    "said",
    [
        {"sections": (Section(name="task", body="Something else."),)},
        {"template": "{input} Go on:"},
        {"words": {"billing": "money"}},
    ],
)
def test_a_prompt_with_words_of_its_own_is_no_recipe(said: dict[str, Any]) -> None:
    assert recipe_of(START.model_copy(update=said), START, TOY) is None


def test_what_a_seed_does_not_allow_is_left_out() -> None:
    fixed = make_task(prompts={"main": Prompt(sections=SEED.sections, template="Read this: {input}")})
    seed = fixed.prompts["main"]
    assert cues(seed, fixed) == []
    assert answer_only(seed, fixed) is not None
    made = seed.apply(followed(Recipe(instructions="answer_rule", cue=1), seed, fixed, ()))
    assert made.template == "Read this: {input}"
    assert made.sections != seed.sections


def test_where_nothing_is_said_its_place_and_style_make_no_other_recipe() -> None:
    led = START.model_copy(update={"layout": Layout(instructions="user", style="xml")})
    bare = led.model_copy(update={"sections": (), "layout": Layout()})
    assert recipe_of(bare, led, TOY) == Recipe(instructions="none")


def test_without_examples_the_instructions_are_not_taken_away() -> None:
    assert followed(Recipe(instructions="none", demos=4), START, TOY, ()).edits == ()


def winner(run: str, **fields: Any) -> ProvenPrompt:
    given = {"run": run, "signature": TASK, "model": "m", "inputs": ("input",), "labels": (), "prompt": START}
    return ProvenPrompt.model_validate({**given, "n": 40, "gain": 0.3, "seen": 1.0, **fields})


def test_only_prompts_of_near_tasks_with_the_same_fields_are_offered() -> None:
    known = [
        winner("a"),
        winner("better", gain=0.5),
        winner("far", signature=OTHER),
        winner("fields", inputs=("text",)),
        winner("labels", labels=("x", "y")),
    ]
    found = fitting(proven(known, ()), TOY, TASK, count=5, now=1.0)
    assert [p.id for p in found] == ["better", "a"]
    assert [p.id for p in fitting(proven(known, ()), TOY, TASK, count=1, now=1.0)] == ["better"]


LATER = {"run": "later", "signature": TASK, "model": "m", "n": 40, "seen": 1.0}


def trial(gain: float, origin: str = "a", **fields: Any) -> Trial:
    return Trial.model_validate({**LATER, "origin": origin, "gain": gain, **fields})


def promised(*trials: Trial, now: float = 1.0) -> float:
    """What prompt a of gain .3 on 40 examples promises after these trials."""
    (found,) = proven([winner("a")], trials)
    assert [p.id for p in fitting([found], TOY.model_copy(update={"model": "m"}), TASK, count=1, now=now)] == ["a"] * (
        found.promise(now) > 0
    )
    return found.promise(now)


def test_a_proven_prompt_promises_what_all_runs_measured_of_it() -> None:
    assert promised() == pytest.approx(0.3 * 40 / (40 + 16))
    assert promised(trial(0.1)) == pytest.approx((0.3 * 40 + 0.1 * 40) / (80 + 16))
    assert promised(trial(0.9, origin="another")) == promised()


def test_a_proven_prompt_that_lost_more_often_than_it_won_promises_nothing() -> None:
    assert promised(trial(-0.1)) > 0
    assert promised(trial(0.0), trial(-0.1, run="r")) == 0
    assert promised(trial(-0.9)) < 0


def test_runs_of_other_models_and_less_like_tasks_count_less() -> None:
    assert promised(trial(-0.3)) == pytest.approx(0.0)
    assert promised(trial(-0.3, model="other")) == pytest.approx((0.3 * 40 - 0.3 * 20) / (60 + 16))
    assert promised(trial(-0.3, signature=OTHER)) > promised(trial(-0.3, model="other"))


def test_a_proven_prompt_promises_less_the_older_it_is() -> None:
    assert promised(now=90 * 86_400.0 + 1.0) == pytest.approx(0.3 * 20 / (20 + 16))
