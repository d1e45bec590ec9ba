"""The presets by name, with a part switched off, and checked against a task."""

import pytest
from pydantic import ValidationError

from crito.errors import BadInput
from crito.graph.ablation import without
from crito.graph.preset import Preset, Stage
from crito.graph.presets import DEFAULT, LEAN, PRESETS, check_preset, preset
from tests.builders import make_example, make_task


@pytest.mark.parametrize(
    ("wrong", "meant"), [("defalt", "default"), ("gpea", "gepa"), ("evoprompt-gaa", "evoprompt-ga")]
)
def test_a_misspelt_preset_is_refused_with_the_one_that_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(BadInput, match=f"there is no '{wrong}'.*{meant}"):
        preset(wrong)


def test_a_part_can_be_switched_off_by_name() -> None:
    assert preset("default") is DEFAULT
    assert preset("default-demos") == without(DEFAULT, "demos")
    assert preset("default-demos").name == "default-demos"


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("own-outputs", {"own_outputs": False}),
        ("pareto", {"parents": "top_k"}),
        ("taxonomy", {"taxonomy": False}),
        ("planner", {"planner": "bandit"}),
        ("bandit", {"planner": "random"}),
        ("likelihood", {"likelihood": False}),
        ("confirmation", {"finalists": 0}),
    ],
)
def test_a_setting_can_be_switched_off(part: str, changed: dict[str, object]) -> None:
    assert without(DEFAULT, part) == DEFAULT.model_copy(update={"name": f"default-{part}", **changed})
    assert without(DEFAULT, part) != DEFAULT.model_copy(update={"name": f"default-{part}"})


def test_the_gate_can_be_taken_from_a_preset_that_has_one() -> None:
    gepa = PRESETS["gepa"]
    assert without(gepa, "repair") == gepa.model_copy(update={"name": "gepa-repair", "gate": False})
    with pytest.raises(BadInput, match="preset default: has no part 'repair'"):
        without(DEFAULT, "repair")


def test_without_racing_every_stage_is_measured_in_full() -> None:
    bare = without(DEFAULT, "racing")
    assert {bare.schedule_of(stage) for stage in bare.stages} == {"full"}
    raced = [stage.model_copy(update={"schedule": None}) for stage in DEFAULT.stages]
    changed = {"name": "default-racing", "schedule": "full", "stages": tuple(raced)}
    assert bare == DEFAULT.model_copy(update=changed)


def test_a_stage_races_as_it_says_and_else_as_the_preset_does() -> None:
    own, other = Stage(name="a", operators=("babble",), schedule="blocks"), Stage(name="b", operators=("babble",))
    settings = Preset(name="one", about="-", stages=(own, other), schedule="full")
    assert [settings.schedule_of(stage) for stage in settings.stages] == ["blocks", "full"]


def test_the_most_calls_are_reckoned_as_each_stage_races() -> None:
    stage = {"name": "a", "operators": ("babble",), "count": 4, "share": 1.0}
    full, halved = (Stage.model_validate({**stage, "schedule": s}) for s in ("full", "halving"))
    settings = [Preset(name="one", about="-", stages=stages) for stages in ((full,), (halved,), (full, halved))]
    assert [preset.most_calls(16, 1000) for preset in settings] == [4 * 16, 4 * 8 + 2 * 8, 4 * 16 + 4 * 8 + 2 * 8]


@pytest.mark.parametrize(
    ("operators", "steps", "contenders"),
    [(("merge", "format"), 3, 7), (("merge", "format"), 1, 3), (("format",), 3, 6)],
)
def test_a_round_that_may_merge_the_last_ones_winners_has_one_contender_more(
    operators: tuple[str, ...], steps: int, contenders: int
) -> None:
    stage = Stage(name="a", operators=operators, steps=steps, count=2, share=1.0)
    assert stage.contenders == contenders
    assert Preset(name="one", about="-", stages=(stage,), schedule="full").most_calls(16, 1000) == contenders * 16


def test_where_one_candidate_races_there_are_no_two_winners_to_merge() -> None:
    assert Stage(name="a", operators=("merge",), count=1).contenders == 1
    assert Stage(name="a", operators=("merge",)).contenders is None


def test_length_has_one_price_at_most() -> None:
    with pytest.raises(ValidationError, match="length_price and length_decay both price length"):
        Preset(name="one", about="-", stages=LEAN.stages, length_price=0.05, length_decay=0.005)


@pytest.mark.parametrize(
    ("part", "gone", "stages"),
    [
        ("demos", {"demonstrations", "spread"}, ["opening", "search", "compress"]),
        ("socratic", {"socratic"}, ["opening", "search", "compress"]),
        ("compression", {"compress"}, ["opening", "search"]),
        ("sweep", {"sweep"}, ["opening", "search", "compress"]),
    ],
)
def test_an_operator_can_be_left_out(part: str, gone: set[str], stages: list[str]) -> None:
    left = without(DEFAULT, part)
    assert set(left.operators) == set(DEFAULT.operators) - gone
    assert [stage.name for stage in left.stages] == stages


def test_without_demonstrations_no_other_operator_shows_any_either() -> None:
    assert DEFAULT.demos
    assert not without(DEFAULT, "demos").demos


def test_the_default_races_while_it_is_affordable() -> None:
    assert {DEFAULT.schedule_of(stage) for stage in DEFAULT.stages} == {"affordable"}
    assert {stage.name: stage.count for stage in DEFAULT.stages if stage.count} == {
        "opening": 20,
        "search": 2,
    }


def test_the_default_searches_three_steps_a_round_until_rounds_and_budget_went_by_in_vain() -> None:
    (search,) = (stage for stage in DEFAULT.stages if stage.name == "search")
    assert (search.steps, search.patience, search.persistence, search.reserve) == (3, 3, 0.3, 0.1)


@pytest.mark.parametrize("settings", [DEFAULT, LEAN], ids=["default", "lean"])
def test_our_presets_draw_their_parents_from_the_elite_and_the_front(settings: Preset) -> None:
    assert settings.parents == "elite_pareto"


def test_the_default_is_advised_and_takes_a_last_look_at_three_finalists() -> None:
    assert (DEFAULT.planner, DEFAULT.finalists) == ("advised", 3)


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"default"}))
def test_no_other_preset_takes_a_last_look(name: str) -> None:
    assert PRESETS[name].finalists == 0


def test_a_part_that_does_not_exist_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(BadInput, match=r"preset default: there is no part 'socratc'.*socratic"):
        preset("default-socratc")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mars", "repair"),
        ("mars", "sweep"),
        ("lean", "confirmation"),
        ("evoprompt-ga", "racing"),
        ("random", "demos"),
        ("random", "taxonomy"),
        ("random", "planner"),
        ("mars", "bandit"),
        ("evoprompt-ga", "own-outputs"),
        ("evoprompt-ga", "pareto"),
        ("capo", "planner"),
    ],
)
def test_a_part_that_a_preset_does_not_have_is_refused(name: str, part: str) -> None:
    with pytest.raises(BadInput, match=f"preset {name}: has no part '{part}' to switch off"):
        preset(f"{name}-{part}")


def test_presets_and_parts_may_have_names_of_several_words() -> None:
    assert not preset("default-own-outputs").own_outputs
    assert not preset("evoprompt-ga-likelihood").likelihood


def test_a_preset_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="preset mars: nothing is left of it without socratic"):
        without(PRESETS["mars"], "socratic")


def test_unknown_operators_are_refused_before_anything_is_paid_for() -> None:
    stage = LEAN.stages[1].model_copy(update={"operators": ("socratc",)})
    with pytest.raises(BadInput, match=r"preset lean: there is no operator 'socratc'.*socratic"):
        check_preset(LEAN.model_copy(update={"stages": (stage,)}), make_task())


def test_a_preset_that_needs_answers_is_refused_without_them() -> None:
    unlabelled = make_task(train=(make_example("parcel", None),))
    with pytest.raises(BadInput, match="preset ape: induce works from right answers, and no training example has one"):
        check_preset(PRESETS["ape"], unlabelled)
    check_preset(PRESETS["ape"], make_task())
    check_preset(DEFAULT, unlabelled)


def test_a_published_method_half_of_which_needs_answers_is_refused_without_them() -> None:
    unlabelled = make_task(train=(make_example("parcel", None),))
    with pytest.raises(BadInput, match="preset miprov2: induce works from right answers"):
        check_preset(PRESETS["miprov2"], unlabelled)


def test_own_outputs_that_are_never_shown_cannot_be_switched_off() -> None:
    bare = preset("default-own-outputs")
    with pytest.raises(BadInput, match="preset default-own-outputs: only tasks with reasoning: true"):
        check_preset(bare, make_task())
    check_preset(bare, make_task(reasoning=True))
