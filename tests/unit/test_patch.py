import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crito.errors import PatchRejected
from crito.patch import Edit, Patch
from crito.prompt import Demo, Layout, Prompt, Section

TEXTS = st.text(alphabet="ab {}\n", min_size=1, max_size=12)
NAMES = st.sampled_from(["task", "rules", "steps", "1. Role", "Output (v1.2)"])
ATOMS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
SECTIONS = st.lists(st.builds(Section, name=NAMES, body=TEXTS | ATOMS), max_size=4, unique_by=lambda s: s.name).map(
    tuple
)
DEMOS = st.lists(st.builds(Demo, inputs=st.fixed_dictionaries({"input": TEXTS}), output=TEXTS), max_size=3).map(tuple)
TEMPLATES = st.sampled_from(["{input}", "Q: {input}", "{{input}} {input}"])
SAID = st.sampled_from([{}, {"a": "good", "b": "bad"}])
PROMPTS = st.builds(Prompt, sections=SECTIONS, demos=DEMOS, layout=st.builds(Layout), template=TEMPLATES, words=SAID)
PATHS = st.sampled_from(
    ["task", "rules", "rules[0]", "rules[1]", "steps[0]", "demos", "demos[0]", "layout.style", "template", "new"]
)
EDITS = st.builds(
    Edit,
    op=st.sampled_from(["add", "replace", "delete", "move"]),
    path=PATHS,
    value=st.none() | TEXTS | ATOMS | DEMOS | st.builds(Demo, inputs=st.just({"input": "x"}), output=TEXTS),
    to=st.none() | st.integers(0, 3),
)

ONE, TWO, THREE = (Demo(inputs={"input": name}, output=name) for name in ("one", "two", "three"))
BASE = Prompt(
    sections=(
        Section(name="role", body="You sort mail."),
        Section(name="task", body="Name the team."),
        Section(name="rules", body=("One word.", "Lower case.")),
    ),
    demos=(ONE, TWO),
    template="Mail: {input}",
)


def edited(prompt: Prompt, op: str, path: str, value: object = None, to: int | None = None) -> Prompt:
    edit = Edit.model_validate({"op": op, "path": path, "value": value, "to": to})
    return prompt.apply(Patch(edits=(edit,)))


def body(prompt: Prompt, name: str) -> object:
    section = prompt.section(name)
    return section.body if section else None


def freeze(*marks: str) -> Prompt:
    return BASE.model_copy(update={"frozen": marks})


@given(old=PROMPTS, new=PROMPTS)
def test_a_diff_leads_from_one_prompt_to_the_other(old: Prompt, new: Prompt) -> None:
    assert old.apply(old.diff(new)) == new


@given(prompt=PROMPTS)
def test_equal_prompts_differ_by_nothing(prompt: Prompt) -> None:
    assert prompt.diff(prompt).edits == ()


@given(old=PROMPTS, new=PROMPTS)
def test_a_patch_comes_back_from_json(old: Prompt, new: Prompt) -> None:
    patch = old.diff(new)
    assert Patch.model_validate_json(patch.model_dump_json()) == patch


@given(old=PROMPTS, new=PROMPTS, mark=st.sampled_from(["task", "rules", "rules[0]", "rules[1]", "template", "1. Role"]))
def test_what_is_frozen_survives_or_the_patch_is_refused(old: Prompt, new: Prompt, mark: str) -> None:
    held = protected(old, mark)
    try:
        result = old.model_copy(update={"frozen": (mark,)}).apply(old.diff(new))
    except PatchRejected:
        return
    (kept,) = result.frozen
    assert held is None or protected(result, kept) == held


@given(prompt=PROMPTS, edits=st.lists(EDITS, min_size=1, max_size=4).map(tuple), start=st.integers(0, 20))
@example(
    prompt=Prompt(sections=(Section(name="rules", body="a"), Section(name="task", body="{"))),
    edits=(Edit(op="delete", path="task"),),
    start=0,
)
def test_a_frozen_text_survives_any_patch_or_it_is_refused(prompt: Prompt, edits: tuple[Edit, ...], start: int) -> None:
    mark = prompt.instructions()[start : start + 6] or prompt.template
    try:
        result = prompt.model_copy(update={"frozen": (mark, "template")}).apply(Patch(edits=edits))
    except PatchRejected:
        return
    assert mark in result.instructions() + result.template
    assert result.template == prompt.template


@given(prompt=PROMPTS, edits=st.lists(EDITS, min_size=1, max_size=3).map(tuple))
def test_any_edit_gives_a_usable_prompt_or_is_refused(prompt: Prompt, edits: tuple[Edit, ...]) -> None:
    try:
        result = prompt.apply(Patch(edits=edits))
    except PatchRejected:
        return
    assert Prompt.model_validate_json(result.model_dump_json()) == result
    assert result.fields == ("input",)
    assert result.render({"input": "x"})[-1].role == "user"


def protected(prompt: Prompt, mark: str) -> object:
    """What stands at a frozen path; the template where the path means nothing in this prompt."""
    name, _, index = mark.partition("[")
    found = prompt.section(name)
    if found is None:
        return prompt.template if mark == "template" else None
    if not index:
        return found.body
    at = int(index[:-1])
    return found.body[at] if isinstance(found.body, tuple) and at < len(found.body) else None


def test_a_section_is_added_last_or_at_its_place() -> None:
    names = [s.name for s in edited(BASE, "add", "steps", "Read. Decide.").sections]
    assert names == ["role", "task", "rules", "steps"]
    assert next(s.name for s in edited(BASE, "add", "steps", ["Read."], to=0).sections) == "steps"


def test_a_rule_is_added_to_a_list_of_rules() -> None:
    assert body(edited(BASE, "add", "rules", "No dot."), "rules") == ("One word.", "Lower case.", "No dot.")
    assert body(edited(BASE, "add", "rules[0]", "No dot."), "rules") == ("No dot.", "One word.", "Lower case.")


def test_a_rule_is_replaced_deleted_and_moved() -> None:
    assert body(edited(BASE, "replace", "rules[1]", "Upper case."), "rules") == ("One word.", "Upper case.")
    assert body(edited(BASE, "delete", "rules[0]"), "rules") == ("Lower case.",)
    assert body(edited(BASE, "move", "rules[0]", to=1), "rules") == ("Lower case.", "One word.")


def test_a_list_without_rules_goes_away() -> None:
    once = edited(BASE, "delete", "rules[0]")
    assert edited(once, "delete", "rules[0]").section("rules") is None


def test_a_section_is_replaced_deleted_and_moved() -> None:
    assert body(edited(BASE, "replace", "task", ["Name it."]), "task") == ("Name it.",)
    assert [s.name for s in edited(BASE, "delete", "role").sections] == ["task", "rules"]
    assert [s.name for s in edited(BASE, "move", "rules", to=0).sections] == ["rules", "role", "task"]


def test_demonstrations_are_edited_as_a_set_and_one_by_one() -> None:
    assert edited(BASE, "replace", "demos", [THREE.model_dump()]).demos == (THREE,)
    assert edited(BASE, "add", "demos", THREE).demos == (ONE, TWO, THREE)
    assert edited(BASE, "add", "demos[0]", THREE).demos == (THREE, ONE, TWO)
    assert edited(BASE, "move", "demos[1]", to=0).demos == (TWO, ONE)
    assert edited(BASE, "delete", "demos[0]").demos == (TWO,)
    assert edited(BASE, "delete", "demos").demos == ()


def test_the_layout_is_edited_by_key() -> None:
    assert edited(BASE, "replace", "layout.style", "xml").layout == Layout(style="xml")


def test_edits_are_made_in_order() -> None:
    edits = (Edit(op="delete", path="rules[0]"), Edit(op="replace", path="rules[0]", value="Small letters."))
    assert body(BASE.apply(Patch(edits=edits)), "rules") == ("Small letters.",)


def test_the_prompt_itself_stays_as_it_was() -> None:
    edited(BASE, "delete", "task")
    assert body(BASE, "task") == "Name the team."


@pytest.mark.parametrize(
    ("op", "path", "value", "message"),
    [
        ("replace", "", "x", "'' is not a path"),
        ("replace", "rules[-1]", "x", "is not a path"),
        ("replace", "steps", "x", "there is no section 'steps'; there are: role, task, rules"),
        ("add", "task", "x", "section 'task' is there already; use 'replace'"),
        ("replace", "task", None, "task takes a text or a list of texts"),
        ("replace", "task", "", "task takes a text or a list of texts"),
        ("replace", "task", [ONE], "task takes a text or a list of texts"),
        ("replace", "task[0]", "x", "'task' is not a list of atoms, so 'task.0.' does not exist"),
        ("replace", "rules[2]", "x", r"rules\[2\] does not exist; there are 2"),
        ("add", "rules[3]", "x", r"rules\[3\] does not exist; there are 2"),
        ("add", "rules", ONE, "section 'rules' is there already; use 'replace'"),
        ("move", "rules[0]", None, "wants 'to' between 0 and 1"),
        ("move", "task", None, "wants 'to' between 0 and 2"),
        ("replace", "demos", "x", "demos takes a list of Demo"),
        ("add", "demos", "x", "demos takes a Demo"),
        ("delete", "demos[2]", None, r"demos\[2\] does not exist; there are 2"),
        ("replace", "layout", "xml", "layout takes 'replace' on one of: layout.style, layout.demos"),
        ("replace", "layout.font", "x", "layout takes 'replace' on one of"),
        ("delete", "layout.style", None, "layout takes 'replace' on one of"),
        ("replace", "layout.style", "html", "layout.style: Input should be 'plain'"),
        ("delete", "template", None, "template takes 'replace' with a text"),
        ("replace", "template", "", "template takes 'replace' with a text"),
        ("replace", "template", "Mail: {mail}", "template must keep its placeholders: input"),
        ("replace", "template", "Mail: {{input}}", "template must keep its placeholders: input"),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(op: str, path: str, value: object, message: str) -> None:
    with pytest.raises(PatchRejected, match=message):
        edited(BASE, op, path, value)


@pytest.mark.parametrize(
    ("mark", "op", "path", "value"),
    [
        ("task", "replace", "task", "Something else."),
        ("task", "delete", "task", None),
        ("rules", "add", "rules", "No dot."),
        ("rules[1]", "replace", "rules[1]", "Upper case."),
        ("rules[1]", "delete", "rules", None),
        ("rules[0]", "replace", "rules", "One word. Or two."),
        ("the team", "replace", "task", "Name it."),
        ("Mail:", "replace", "template", "{input}"),
        ("template", "replace", "template", "{input}"),
    ],
)
def test_a_frozen_part_cannot_be_changed(mark: str, op: str, path: str, value: object) -> None:
    with pytest.raises(PatchRejected, match="frozen"):
        edited(freeze(mark), op, path, value)


def test_a_frozen_rule_may_move_and_stays_frozen() -> None:
    moved = edited(freeze("rules[1]"), "add", "rules[0]", "No dot.")
    assert moved.frozen == ("rules[2]",)
    with pytest.raises(PatchRejected, match="frozen"):
        edited(moved, "delete", "rules[2]")


def test_what_is_not_frozen_may_change() -> None:
    assert body(edited(freeze("task", "template"), "replace", "role", "You route mail."), "role") == "You route mail."


def test_freezing_the_template_freezes_no_word_of_the_instructions() -> None:
    prompt = Prompt(sections=(Section(name="task", body="Fill the template."),), frozen=("template",))
    assert body(edited(prompt, "replace", "task", "Fill the form."), "task") == "Fill the form."


def test_words_are_replaced_as_a_whole() -> None:
    worded = edited(BASE, "replace", "words", {"one": "A", "two": "B"})
    assert worded.words == {"one": "A", "two": "B"}
    assert edited(worded, "replace", "words", {}) == BASE


@pytest.mark.parametrize(
    ("op", "value"),
    [("replace", {"one": "A", "two": "a"}), ("replace", {"one": ""}), ("replace", "A"), ("delete", None)],
)
def test_words_that_cannot_be_told_apart_are_rejected(op: str, value: object) -> None:
    with pytest.raises(PatchRejected, match="words takes 'replace'"):
        edited(BASE, op, "words", value)


def test_an_edit_of_words_comes_back_from_json() -> None:
    edit = Edit(op="replace", path="words", value={"inputs": "A", "output": "B"})
    assert Edit.model_validate_json(edit.model_dump_json()) == edit


def test_an_edit_leaves_out_the_calibration_of_the_prompt_before_it() -> None:
    prompt = BASE.model_copy(update={"calibration": {"a": 0.5}})
    assert edited(prompt, "replace", "task", "Say the team.").calibration == {}
    assert edited(prompt, "replace", "task", "Name the team.").calibration == {"a": 0.5}
