import pytest

from crito.config import PromptForm, TaskFile, parse_prompt_form, parse_task_file
from crito.errors import BadInput
from crito.prompt import Demo, Layout, Prompt, Section

LEAST = "description: Find the order.\nmodel: local/smollm2\ndata: orders.jsonl\ninputs: [message]\n"


def parsed(more: str = "", overrides: dict[str, object] | None = None) -> TaskFile:
    return parse_task_file(LEAST + more, "TASK.yaml", overrides)


def problem(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        parse_task_file(text, "TASK.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_data_path_is_the_file_that_all_splits_come_from() -> None:
    assert parsed().data.model_dump() == {"train": "orders.jsonl", "val": None, "test": None}


def test_inputs_in_a_list_are_named_like_their_columns() -> None:
    assert parsed().inputs == {"message": "message"}


def test_inputs_in_a_mapping_rename_columns() -> None:
    text = LEAST.replace("[message]", "{text: Customer message}")
    assert parse_task_file(text, "TASK.yaml").inputs == {"text": "Customer message"}


def test_a_prompt_may_be_a_text_or_structured() -> None:
    assert parsed("prompt: Find it.").prompt == "Find it."
    form = parsed("prompt: {sections: {task: Find it., rules: [One word.]}, layout: {style: xml}}").prompt
    assert isinstance(form, PromptForm)
    assert form.sections == (Section(name="task", body="Find it."), Section(name="rules", body=("One word.",)))
    assert form.layout.style == "xml"


def test_a_prompt_file_reads_what_to_yaml_writes() -> None:
    prompt = Prompt(
        sections=(Section(name="rules", body=("a", "b")),),
        demos=(Demo(inputs={"message": "x"}, output="y"),),
        layout=Layout(demos="inline"),
        template="Q: {message}",
        frozen=("rules[0]",),
        words={"y": "yes"},
        calibration={"y": 0.123456789012345},
    )
    assert Prompt.model_validate(parse_prompt_form(prompt.to_yaml(), "p.yaml").model_dump()) == prompt


def test_number_labels_become_texts() -> None:
    assert parsed("labels: [0, 1.5, x]").labels == ("0", "1.5", "x")


def test_overrides_replace_keys_and_merge_mappings() -> None:
    spec = parsed("budget: {calls: 5, usd: 1}", {"model": "other", "budget": {"calls": 9}, "metric": None})
    assert (spec.model, spec.budget.calls, spec.budget.usd) == ("other", 9, 1)


def test_an_override_of_none_changes_nothing_inside_a_mapping_either() -> None:
    assert parsed("", {"budget": {"calls": 9, "verdict_share": None}}).budget.verdict_share == 0.4


def test_an_override_supplies_a_missing_key() -> None:
    assert parse_task_file(LEAST.replace("model: local/smollm2\n", ""), "T", {"model": "m"}).model == "m"


def test_a_key_without_a_value_counts_as_not_written() -> None:
    assert parsed("budget:\n#  calls: 5\n").budget.calls is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("budget: {calls: -5}", "budget.calls: must be above 0 (got -5)"),
        ("budget: {usd: 0}", "budget.usd: must be above 0.0 (got 0)"),
        ("budget: {usd: .inf}", "budget.usd: must be a finite number (got inf)"),
        ("budget: {seconds: .nan}", "budget.seconds: must be a finite number (got nan)"),
        ("budget: {calls: true}", "budget.calls: must be a number (got True)"),
        ("prompt: {calibration: {a: 0}}", "prompt.calibration.a: must be above 0.0 (got 0)"),
        ("concurrency: true", "concurrency: must be a number (got True)"),
        ("split: {train: .inf, val: 1, test: 1}", "split.train: must be a finite number (got inf)"),
        ("seed: -1", "seed: must be at least 0 (got -1)"),
        ("budget: {cals: 5}", "budget: unknown key 'cals'; did you mean 'calls'?"),
        ("preset: capo", "unknown key 'preset'; a method is chosen with --preset NAME"),
        ("metrc: label", "unknown key 'metrc'; did you mean 'metric'?"),
        ("concurrency: many", "concurrency: must be a whole number (got 'many')"),
        ("reasoning: perhaps", "reasoning: must be true or false (got 'perhaps')"),
        ("constraints: 5", "constraints: must be a mapping of keys (got 5)"),
        ("requirements: short", "requirements: must be a list (got 'short')"),
        ("layout: {style: fancy}", "layout.style: must be 'plain', 'markdown', 'xml' or 'json' (got 'fancy')"),
        ("scoring: guessed", "scoring: must be 'sampled', 'likelihood' or 'calibrated' (got 'guessed')"),
        ("layout: {stlye: xml}", "layout: unknown key 'stlye'; did you mean 'style'?"),
        ("prompt: {layout: {stlye: xml}}", "prompt.layout: unknown key 'stlye'; did you mean 'style'?"),
        ("split: {train: 0.5}", "split: 'val' is missing; add it"),
        ("prices: {m: [1, -2]}", "prices.m[1]: must be at least 0.0 (got -2)"),
        ("prices: {m: [1]}", "prices.m: has 1 of the values it needs; add the next"),
        ("labels: [yes]", "labels[0]: must be a text, in quotes where YAML reads something else (got True)"),
        (
            "prompt: {sections: {task: 5}}",
            "prompt.sections[0].body: must be a text, in quotes where YAML reads something else (got 5)",
        ),
    ],
)
def test_what_cannot_work_is_named_with_its_place(more: str, message: str) -> None:
    assert problem(LEAST + more) == f"TASK.yaml: {message}"


def test_a_missing_description_says_what_to_write() -> None:
    message = problem("model: m\n")
    assert message == "TASK.yaml: 'description' is missing; say in a sentence what the model should do"


def test_a_misspelt_required_key_is_shown_as_misspelt() -> None:
    assert problem(LEAST.replace("description", "descripton")).endswith("did you mean 'description'?")


def test_an_unknown_key_without_a_near_one_lists_them() -> None:
    assert problem(LEAST + "layout: {qqq: 1}").endswith("there are: style, demos, instructions")


def test_a_prompt_text_read_as_a_mapping_is_told_to_be_quoted() -> None:
    assert "in quotes" in problem(LEAST + "prompt: {message}")


def test_an_input_that_cannot_be_a_placeholder_gets_a_name() -> None:
    message = problem(LEAST.replace("[message]", "[Customer message]"))
    assert message.endswith("write inputs: {customer_message: 'Customer message'}")


def test_malformed_yaml_is_named_by_line() -> None:
    assert problem(LEAST + "prompt: Classify: now").startswith("TASK.yaml line 5: not valid YAML")


@pytest.mark.parametrize("text", ["", "- a", "hello"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert "must be a mapping of keys" in problem(text)


@pytest.mark.parametrize("value", ["9" * 5000, "2026-02-31"])
def test_a_value_that_python_cannot_have_is_told_to_be_quoted(value: str) -> None:
    assert "put that value in quotes" in problem(LEAST + f"seed: {value}")
