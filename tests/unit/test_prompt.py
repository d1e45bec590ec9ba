import json
from typing import Literal

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crito.errors import BadInput, PatchRejected
from crito.patch import Edit, Patch
from crito.prompt import Demo, Layout, Message, Prompt, Section, Style

WORDS = st.text(alphabet=st.sampled_from("ab {}\n-#<>/:'\"\\é"), min_size=1, max_size=24)
NAMES = st.from_regex(r"[a-z]{3,8}", fullmatch=True).filter(lambda n: n not in ("demos", "layout", "template"))
ATOMS = st.lists(st.text(alphabet="ab {}", min_size=1, max_size=12), min_size=1, max_size=3).map(tuple)
SECTIONS = st.lists(
    st.builds(Section, name=NAMES, body=WORDS | ATOMS), max_size=3, unique_by=lambda section: section.name
).map(tuple)
DEMOS = st.lists(st.builds(Demo, inputs=st.fixed_dictionaries({"input": WORDS}), output=WORDS), max_size=2).map(tuple)
LAYOUTS = st.builds(Layout)
TEMPLATES = st.sampled_from(
    ["{input}", "Q: {input}\nA:", "{{input}} is {input}", '{"a": {input}}', "{{x}} {input} {{input}}}", "{ {input}"]
)
SAID = st.sampled_from([{}, {"a": "good", "b": "bad"}])
PROMPTS = st.builds(Prompt, sections=SECTIONS, demos=DEMOS, layout=LAYOUTS, template=TEMPLATES, words=SAID)

TASK = Section(name="task", body="Name the team.")
RULES = Section(name="rules", body=("One word.", "Lower case."))
DEMO = Demo(inputs={"input": "my card"}, output="billing")


def shown(prompt: Prompt, text: str = "hello") -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in prompt.render({"input": text})]


@example(before="\n\n", after="")
@given(before=st.text(max_size=40), after=st.text(max_size=20))
def test_a_text_with_a_placeholder_comes_back_byte_for_byte(before: str, after: str) -> None:
    text = f"{before}{{input}}{after}"
    assert Prompt.from_text(text).to_text() == text


@pytest.mark.parametrize("place", ["system", "user"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_transcript_of_chat_turns_is_no_prompt(place: Literal["system", "user"], newline: str) -> None:
    turns = Prompt(sections=(TASK,), demos=(DEMO,), layout=Layout(instructions=place))
    with pytest.raises(BadInput, match=r"transcript of chat turns, .* crito show RUN --output prompt\.yaml"):
        Prompt.from_text(turns.to_text().replace("\n", newline))


@pytest.mark.parametrize("text", ["[system]\nSort it.\n\n[user]\n{input}", "Play on:\n[user]\n{input}\n[assistant]\n"])
def test_a_text_with_marks_of_roles_is_a_prompt(text: str) -> None:
    assert Prompt.from_text(text).to_text() == text


@given(
    parts=st.lists(st.sampled_from(["\n", "\n\n", "{input}", "{{x}}", "## a", "<a>", "</a>", "- b", "c"]), max_size=12)
)
def test_a_text_of_markup_comes_back_byte_for_byte(parts: list[str]) -> None:
    text = "".join([*parts, "{input}"])
    assert Prompt.from_text(text).to_text() == text


@given(text=st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_text_without_a_placeholder_is_followed_by_the_inputs(text: str) -> None:
    prompt = Prompt.from_text(text, inputs=("question", "context"))
    assert prompt.to_text() == text + "\n\nquestion: {question}\ncontext: {context}"


def test_a_markdown_text_is_read_into_sections() -> None:
    text = "## role\n\nYou sort mail.\n\nCarefully.\n\n## rules\n\n- One word.\n- Lower case.\n\n{input}"
    prompt = Prompt.from_text(text)
    assert [(s.name, s.body) for s in prompt.sections] == [
        ("role", "You sort mail.\n\nCarefully."),
        ("rules", ("One word.", "Lower case.")),
    ]
    assert (prompt.layout.style, prompt.template, prompt.to_text()) == ("markdown", "{input}", text)


def test_an_xml_text_is_read_into_sections() -> None:
    text = "<role>\nYou sort mail.\n</role>\n\n<rules>\n- One word.\n- Lower case.\n</rules>\n\nMail: {input}"
    prompt = Prompt.from_text(text)
    assert [(s.name, s.body) for s in prompt.sections] == [("role", "You sort mail."), ("rules", RULES.body)]
    assert (prompt.layout.style, prompt.template, prompt.to_text()) == ("xml", "Mail: {input}", text)


@pytest.mark.parametrize("body", ["intro\n\n## a\n\nx\n\n## b\n\ny", "<a>\nx\n</a>\ntail\n\n<b>\ny\n</b>", "## a\n\nx"])
def test_half_marked_text_stays_one_section(body: str) -> None:
    prompt = Prompt.from_text(body + "\n\n{input}")
    assert prompt.sections == (Section(name="task", body=body),)
    assert prompt.layout.style == "plain"


@pytest.mark.parametrize("names", [("a", "a"), ("a", "demos"), ("layout", "a"), ("a", "b[0]")])
def test_sections_that_no_edit_could_name_stay_one_text(names: tuple[str, str]) -> None:
    text = "\n\n".join(f"## {name}\n\nx" for name in names) + "\n\n{input}"
    assert [s.name for s in Prompt.from_text(text).sections] == ["task"]
    assert Prompt.from_text(text).to_text() == text


def test_the_template_starts_at_the_paragraph_of_the_first_placeholder() -> None:
    prompt = Prompt.from_text("Sort it.\n\nMail: {input}\n\nTeam:")
    assert prompt.sections == (Section(name="task", body="Sort it."),)
    assert prompt.template == "Mail: {input}\n\nTeam:"


def test_a_text_that_is_all_template_has_no_sections() -> None:
    assert Prompt.from_text("Sort: {input}").sections == ()


def test_frozen_marks_are_taken_along() -> None:
    for text in ("Sort.\n\n{input}", "## a\n\nx\n\n## b\n\ny\n\n{input}"):
        assert Prompt.from_text(text, frozen=("template",)).frozen == ("template",)


@given(prompt=PROMPTS, frozen=st.sampled_from([(), ("task", "a text")]))
def test_yaml_gives_the_same_prompt_back(prompt: Prompt, frozen: tuple[str, ...]) -> None:
    marked = prompt.model_copy(update={"frozen": frozen})
    assert Prompt.from_yaml(marked.to_yaml()) == marked


@example(text="caf\x85")  # PyYAML reads this one as a line break unless it is escaped
@given(text=st.text(min_size=1, max_size=20))
def test_yaml_keeps_any_character(text: str) -> None:
    prompt = Prompt(sections=(Section(name="task", body=text),), demos=(Demo(inputs={"input": text}, output=text),))
    assert Prompt.from_yaml(prompt.to_yaml()) == prompt


@given(prompt=PROMPTS)
def test_json_gives_the_same_prompt_back(prompt: Prompt) -> None:
    assert Prompt.model_validate_json(prompt.model_dump_json()) == prompt


@settings(deadline=None)  # the first example imports LangChain
@given(prompt=PROMPTS, text=st.text(max_size=20) | WORDS)
def test_langchain_formats_what_render_gives(prompt: Prompt, text: str) -> None:
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    formatted = prompt.to_langchain().format_messages(input=text)
    assert [(roles[m.type], m.content) for m in formatted] == shown(prompt, text)


@settings(deadline=None)
@example(text="\0")
@given(text=st.text(min_size=1, max_size=20))
def test_langchain_takes_any_instructions(text: str) -> None:
    layout = Layout(instructions="user", demos="inline")
    prompt = Prompt(sections=(Section(name="task", body=text),), demos=(DEMO,), layout=layout)
    (message,) = prompt.to_langchain().format_messages(input="hello")
    assert [("user", message.content)] == shown(prompt)


def test_langchain_takes_several_fields_by_name() -> None:
    prompt = Prompt(template="{question}\n{context}")
    (message,) = prompt.to_langchain().format_messages(question="why", context="{because}")
    assert message.content == "why\n{because}"


@given(text=WORDS)
def test_data_with_braces_is_never_formatted(text: str) -> None:
    held = f"{text}{{input}}{{{{input}}}}"
    demo = Demo(inputs={"input": held}, output=held)
    prompt = Prompt(sections=(Section(name="task", body=held),), demos=(demo,))
    assert [content for _, content in shown(prompt, held)] == [held] * 4


def test_double_braces_in_the_template_are_literal() -> None:
    assert Prompt(template='{"answer": {{input}}} for {input}').fill({"input": "x"}) == '{"answer": {input}} for x'


def test_fields_are_named_once_in_order() -> None:
    assert Prompt(template="{b} {a} {{c}} {b} {1} {}").fields == ("b", "a")


def test_a_missing_input_is_named_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"placeholder \{question\} has no input; there are: input, other"):
        Prompt(template="{question}").fill({"input": "x", "other": "y"})


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("system", [("system", "Name the team."), ("user", "my card"), ("assistant", "billing"), ("user", "hello")]),
        ("user", [("user", "Name the team.\n\nmy card"), ("assistant", "billing"), ("user", "hello")]),
        (
            "each",
            [("user", "Name the team.\n\nmy card"), ("assistant", "billing"), ("user", "Name the team.\n\nhello")],
        ),
    ],
)
def test_instructions_stand_where_the_layout_says(place: str, expected: list[tuple[str, str]]) -> None:
    layout = Layout.model_validate({"instructions": place})
    assert shown(Prompt(sections=(TASK,), demos=(DEMO,), layout=layout)) == expected


def test_inline_demonstrations_stand_before_the_input() -> None:
    prompt = Prompt(sections=(TASK,), demos=(DEMO,), layout=Layout(demos="inline"), template="Mail: {input}\nTeam:")
    assert shown(prompt) == [
        ("system", "Name the team."),
        ("user", "Mail: my card\nTeam:\nbilling\n\nMail: hello\nTeam:"),
    ]


def test_without_instructions_there_is_no_system_message() -> None:
    for place in ("system", "user", "each"):
        assert shown(Prompt(layout=Layout.model_validate({"instructions": place}))) == [("user", "hello")]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("plain", "Name the team.\n\n- One word.\n- Lower case."),
        ("markdown", "## task\n\nName the team.\n\n## rules\n\n- One word.\n- Lower case."),
        ("xml", "<task>\nName the team.\n</task>\n\n<rules>\n- One word.\n- Lower case.\n</rules>"),
    ],
)
def test_sections_are_marked_in_the_layouts_style(style: str, expected: str) -> None:
    prompt = Prompt(sections=(TASK, RULES), layout=Layout.model_validate({"style": style}))
    assert prompt.instructions() == expected


def test_json_style_is_json() -> None:
    prompt = Prompt(sections=(TASK, RULES), layout=Layout(style="json"))
    assert json.loads(prompt.instructions()) == {"task": TASK.body, "rules": list(RULES.body)}


def test_messages_for_export_leave_the_input_open() -> None:
    messages = Prompt(sections=(TASK,), demos=(DEMO,), template="Mail: {input}").to_messages()
    assert [m["content"] for m in messages] == ["Name the team.", "Mail: my card", "billing", "Mail: {input}"]


def test_chat_turns_are_shown_as_a_transcript() -> None:
    text = Prompt(sections=(TASK,), demos=(DEMO,)).to_text()
    assert text == "[system]\nName the team.\n\n[user]\nmy card\n\n[assistant]\nbilling\n\n[user]\n{input}"


def test_the_fingerprint_is_stable() -> None:
    assert Prompt(sections=(TASK, RULES), demos=(DEMO,)).fingerprint == "1a6d8ebf88bf"


@given(one=PROMPTS, other=PROMPTS)
def test_fingerprints_are_equal_where_prompts_are(one: Prompt, other: Prompt) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)


def test_what_the_model_does_not_see_is_not_in_the_fingerprint() -> None:
    plain = Prompt(sections=(TASK,), demos=(DEMO,))
    named = DEMO.model_copy(update={"example_id": "e1"})
    assert plain.model_copy(update={"frozen": ("task",), "demos": (named,)}).fingerprint == plain.fingerprint


def test_a_template_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        Prompt(template="")


def test_yaml_is_readable() -> None:
    loaded = yaml.safe_load(Prompt(sections=(RULES,), demos=(DEMO,)).to_yaml())
    assert loaded["sections"] == [{"name": "rules", "body": ["One word.", "Lower case."]}]
    assert Message(role="user", content="x").model_dump() == {"role": "user", "content": "x"}


WORDED = Prompt(demos=(DEMO,), words={"billing": "A", "order status": "the shop", "none": "shop"})


def test_demonstrations_show_the_word_for_their_label_and_other_outputs_as_they_are() -> None:
    free = Demo(inputs={"input": "hi"}, output="billing it is")
    prompt = WORDED.model_copy(update={"demos": (DEMO, free)})
    assert [content for role, content in shown(prompt) if role == "assistant"] == ["A", "billing it is"]
    assert [m["content"] for m in prompt.to_messages()][1] == "A"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("A", "billing"),
        ("a.", "billing"),
        ("The Shop, not A", "order status"),
        ("shop", "none"),
        ("workshop", "workshop"),
        ("billing", "billing"),
        ("", ""),
    ],
)
def test_an_answer_is_read_as_the_label_of_its_first_whole_word(answer: str, label: str) -> None:
    assert WORDED.read(answer) == label


def test_without_words_an_answer_is_read_as_it_stands() -> None:
    assert Prompt().read("A") == "A"


CALIBRATED = Prompt(sections=(TASK,), calibration={"billing": 0.75, "shipping": 0.25})


def test_calibration_is_seen_neither_by_the_model_nor_by_the_fingerprint() -> None:
    plain = Prompt(sections=(TASK,))
    assert CALIBRATED.to_messages() == plain.to_messages()
    assert CALIBRATED.fingerprint == plain.fingerprint


def test_yaml_and_json_keep_calibration_and_say_nothing_where_there_is_none() -> None:
    assert Prompt.from_yaml(CALIBRATED.to_yaml()) == CALIBRATED
    assert Prompt.model_validate_json(CALIBRATED.model_dump_json()) == CALIBRATED
    assert "calibration" not in Prompt().to_yaml() + Prompt().model_dump_json()


@pytest.mark.parametrize("divisor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_divisor_is_a_positive_number(divisor: float) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Prompt(calibration={"billing": divisor})


def test_the_label_that_is_picked_is_the_likeliest_after_calibration() -> None:
    shares = {"billing": 0.6, "shipping": 0.4}
    assert Prompt().pick(shares) == "billing"
    assert CALIBRATED.pick(shares) == "shipping"
    assert CALIBRATED.pick({"billing": 0.75, "shipping": 0.25}) == "billing"  # of equals the first


def test_a_label_without_a_divisor_is_not_picked_by_guess() -> None:
    with pytest.raises(BadInput, match="label 'account' has no divisor; there are: billing, shipping"):
        CALIBRATED.pick({"billing": 0.6, "account": 0.4})


@pytest.mark.parametrize(
    ("text", "said", "gap", "template"),
    [
        (
            "You sort mail. Classify the message: {x}\nAnswer:",
            "You sort mail. Classify the message:",
            " ",
            "{x}\nAnswer:",
        ),
        ("Answer with yes or no. Question: {x}", "Answer with yes or no.", " ", "Question: {x}"),
        ("Translate it to German.\nEnglish: {x}\nGerman:", "Translate it to German.", "\n", "English: {x}\nGerman:"),
        ("  Name the one team.   \n  {x}", "  Name the one team.", "   \n  ", "{x}"),
        ("Sort by date and name\n{x} and {y}", "Sort by date and name", "\n", "{x} and {y}"),
    ],
)
def test_the_sentences_before_the_input_are_instructions_in_the_same_message(
    text: str, said: str, gap: str, template: str
) -> None:
    prompt = Prompt.from_text(text, inputs=("x",))
    assert ([section.body for section in prompt.sections], prompt.gap, prompt.template) == ([said], gap, template)
    assert prompt.to_text() == text
    assert [m["role"] for m in prompt.to_messages()] == ["user"]
    assert Prompt.from_yaml(prompt.to_yaml()) == prompt


@pytest.mark.parametrize(
    "text",
    [
        "Review: {x}\nGood or bad?",
        'Say if "{x}" is good',
        "Write {{y}} for it: {x}",
        "Name the team, e.g. billing, of {x}",
        "Say who wins, i.e. Ana vs. Ben, in {x}",
        "{x}",
    ],
)
def test_what_is_no_sentence_before_the_input_stays_with_it(text: str) -> None:
    prompt = Prompt.from_text(text, inputs=("x",))
    assert (prompt.sections, prompt.template, prompt.to_text()) == ((), text, text)


def test_more_than_one_section_or_demonstrations_in_the_message_stand_apart_from_the_input() -> None:
    prompt = Prompt.from_text("Name the one team: {x}", inputs=("x",))
    rule = Section(name="rules", body=("One word.",))
    more = prompt.model_copy(update={"sections": (*prompt.sections, rule)})
    assert more.to_text() == "Name the one team:\n\n- One word.\n\n{x}"
    shown = prompt.model_copy(
        update={"demos": (Demo(inputs={"x": "a"}, output="b"),), "layout": Layout(demos="inline", instructions="user")}
    )
    assert shown.to_text() == "Name the one team:\n\na\nb\n\n{x}"


def test_the_gap_is_part_of_a_difference_and_of_the_name_only_where_it_is_seen() -> None:
    one, other = (Prompt.from_text(f"Name the one team:{gap}{{x}}", inputs=("x",)) for gap in (" ", "\n"))
    assert one.apply(one.diff(other)) == other
    assert one.fingerprint != other.fingerprint
    apart = {"layout": Layout(instructions="system")}
    assert one.model_copy(update=apart).fingerprint == other.model_copy(update=apart).fingerprint


@pytest.mark.parametrize("style", ["markdown", "xml", "json"])
def test_instructions_that_are_no_plain_text_stand_apart_from_the_input(style: Style) -> None:
    prompt = Prompt.from_text("Name the one team: {x}", inputs=("x",))
    marked = prompt.model_copy(update={"layout": prompt.layout.model_copy(update={"style": style})})
    listed = prompt.model_copy(update={"sections": (Section(name="rules", body=("One word.",)),)})
    assert marked.to_text().endswith("\n\n{x}")
    assert listed.to_text() == "- One word.\n\n{x}"


def test_a_frozen_text_may_reach_from_the_instructions_into_the_template() -> None:
    frozen = "into French. Text: {x}"
    prompt = Prompt.from_text("Put the words into French. Text: {x}", inputs=("x",), frozen=(frozen,))
    with pytest.raises(PatchRejected, match="frozen text"):
        prompt.apply(Patch(edits=(Edit(op="replace", path="task", value="Translate."),)))
    kept = prompt.apply(Patch(edits=(Edit(op="replace", path="task", value="Turn the text into French."),)))
    assert kept.frozen == (frozen,)
