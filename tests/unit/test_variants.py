import re
from typing import get_args

import pytest

from crito.prompt import Demo, Layout, Prompt, Section
from crito.tools.variants import VariantKind, variants

LABELS = ("billing", "shipping")
DEMOS = tuple(Demo(inputs={"input": f"message {number}"}, output="billing.") for number in range(3))
PROMPT = Prompt(
    sections=(
        Section(name="task", body="Name the team that should answer. Choose between billing and shipping."),
        Section(name="rules", body=("Answer briefly.", "Parcels belong to shipping", "Invoices belong to billing")),
    ),
    demos=DEMOS,
    template="Message: {input}\n\nTeam:",
)
PLAIN = Prompt.from_text("Name the team.")


def made(prompt: Prompt = PROMPT, count: int = 99, seed: int = 0) -> dict[VariantKind, list[Prompt]]:
    found: dict[VariantKind, list[Prompt]] = {}
    for variant in variants(prompt, labels=LABELS, seed=seed, count=count):
        found.setdefault(variant.kind, []).append(variant.prompt)
    return found


def words_of(prompt: Prompt) -> str:
    return prompt.instructions() + prompt.template


def test_there_is_a_variant_of_every_kind() -> None:
    assert set(made()) == set(get_args(VariantKind))


def test_the_first_ones_are_all_of_different_kinds() -> None:
    assert len(made(count=9)) == 9


def test_no_two_show_the_same_messages_and_none_is_the_prompt_itself() -> None:
    prompts = [PROMPT, *(v.prompt for v in variants(PROMPT, labels=LABELS, seed=0, count=99))]
    assert len({p.fingerprint for p in prompts}) == len(prompts)
    assert all(p.to_messages() not in [o.to_messages() for o in prompts[:i]] for i, p in enumerate(prompts))


def test_the_same_seed_gives_the_same_variants_and_another_one_others() -> None:
    assert variants(PROMPT, labels=LABELS, seed=1, count=20) == variants(PROMPT, labels=LABELS, seed=1, count=20)
    assert made(seed=1)["typos"] != made(seed=2)["typos"]


def test_sections_that_differ_in_case_alone_are_not_made_one() -> None:
    sections = (Section(name="Rules", body="Say the one word."), Section(name="RULES", body="Say no more than it."))
    found = made(PROMPT.model_copy(update={"sections": sections}))
    assert all(len({s.name for s in p.sections}) == 2 for prompts in found.values() for p in prompts)


def test_placeholders_labels_and_demonstrations_stay_as_they_are() -> None:
    for kind, prompts in made().items():
        for prompt in prompts:
            assert re.findall(r"\{\w+\}", prompt.template) == ["{input}"], kind
            assert len(re.findall("billing", words_of(prompt))) == 2, kind
            assert len(re.findall("shipping", words_of(prompt))) == 2, kind
            assert sorted(prompt.demos, key=repr) == sorted(DEMOS, key=repr), kind


def test_the_words_for_labels_stay_as_they_are() -> None:
    worded = Prompt.from_text("Money or other? Answer Money.").model_copy(update={"words": {"billing": "money"}})
    for prompts in made(worded).values():
        assert all(words_of(prompt).count("Money") == 2 for prompt in prompts)


def test_instructions_that_stand_in_the_template_are_varied_there() -> None:
    found = made(Prompt.from_text("Name the team that should answer: {input}"))
    assert {"typos", "case", "cue", "punctuation"} <= set(found)
    assert all(prompt.fields == ("input",) for prompts in found.values() for prompt in prompts)


@pytest.mark.parametrize(("frozen", "kept"), [("task", PROMPT.sections[0].text), ("rules[1]", "Parcels belong to")])
def test_what_is_frozen_by_its_path_is_not_touched_while_the_rest_is(frozen: str, kept: str) -> None:
    found = made(PROMPT.model_copy(update={"frozen": (frozen,)}))
    assert {"typos", "punctuation", "white_space", "case"} <= set(found)
    for kind, prompts in found.items():
        bodies = [text for p in prompts for s in p.sections for text in ([s.body] if s.name == "task" else s.body)]
        assert sum(kept in body for body in bodies) == len(prompts), kind


@pytest.mark.parametrize(
    "verbatim",
    ['"Answer. Nothing else:"', "`return. Nothing: else`", '{"team": {"name": Words. More: words}}', "“Sorry. Never:”"],
)
def test_what_stands_in_quotes_backticks_or_braces_is_not_touched(verbatim: str) -> None:
    found = made(Prompt.from_text(f"Choose carefully. Write this: {verbatim} when nothing else fits."))
    assert {"typos", "white_space", "punctuation"} <= set(found)
    assert all(verbatim in prompt.sections[0].body for prompts in found.values() for prompt in prompts)


def test_a_frozen_text_is_not_touched() -> None:
    found = made(PROMPT.model_copy(update={"frozen": ("should answer. Choose",)}))
    assert "typos" in found
    assert all("should answer. Choose" in words_of(prompt) for prompts in found.values() for prompt in prompts)


def test_a_frozen_template_gets_no_other_cue() -> None:
    assert "cue" not in made(PROMPT.model_copy(update={"frozen": ("template",)}))


def test_a_prompt_that_is_frozen_throughout_has_other_layouts_at_most() -> None:
    found = made(PROMPT.model_copy(update={"frozen": ("task", "rules", "template"), "demos": ()}))
    assert set(found) <= {"layout", "place"}


def test_every_other_layout_and_place_is_there() -> None:
    found = made()
    assert {p.layout.style for p in found["layout"]} == {"markdown", "xml", "json"}
    assert {p.layout.instructions for p in found["place"]} == {"user", "each"}


def test_rules_change_their_order_and_steps_do_not() -> None:
    (rules, *_) = made()["rules_order"]
    section = rules.section("rules")
    assert section is not None
    assert sorted(section.body) == sorted(PROMPT.sections[1].body)
    stepwise = PROMPT.model_copy(update={"sections": (Section(name="steps", body=("Read.", "Think.", "Answer.")),)})
    assert "rules_order" not in made(stepwise)


def test_a_typo_swaps_two_neighbouring_letters_inside_of_a_word() -> None:
    for prompt in made(PLAIN)["typos"]:
        (was, now) = PLAIN.instructions(), prompt.instructions()
        changed = [at for at in range(len(was)) if was[at] != now[at]]
        assert sorted(was) == sorted(now)
        assert changed[1] - changed[0] == 1
        assert was[changed[0] - 1].isalpha()
        assert was[changed[1] + 1].isalpha()


def test_a_typo_comes_to_one_word_in_twelve() -> None:
    long = Prompt.from_text(" ".join(f"{'abcdefgh'[n % 8]}orange" for n in range(36)))
    (prompt, *_) = made(long)["typos"]
    pairs = zip(long.instructions().split(), prompt.instructions().split(), strict=True)
    assert sum(was != now for was, now in pairs) == 3


def test_the_cue_is_replaced_and_not_repeated() -> None:
    assert {p.template for p in made()["cue"]} == {
        "Message: {input}",
        "Message: {input}\n\nAnswer:",
        "Message: {input}\nOutput:",
        "Message: {input}\n\nResponse:",
    }


def test_a_cue_that_names_a_label_stays() -> None:
    assert "cue" not in made(PROMPT.model_copy(update={"template": "{input}\n\nBilling or:"}))


def test_the_final_stop_is_dropped_or_added() -> None:
    assert made(PLAIN)["punctuation"][0].instructions() == "Name the team"
    assert made(Prompt.from_text("Name the team"))["punctuation"][0].instructions() == "Name the team."


def test_headings_change_their_case_where_they_are_shown() -> None:
    marked = PROMPT.model_copy(update={"layout": Layout(style="markdown")})
    assert [s.name for s in made(marked)["case"][1].sections] == ["TASK", "RULES"]
    assert all(p.section("TASK") is None for p in made()["case"])
