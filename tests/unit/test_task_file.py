import json
from pathlib import Path
from types import MappingProxyType

import pytest

from crito.errors import BadInput
from crito.prompt import Demo, Prompt, Section
from crito.task import Budget, Task
from crito.tools.limits import prompt_tokens
from crito.tools.task_file import build_task, load_task

LEAST = "description: Route it.\nmodel: local/smollm2\ndata: d.jsonl\ninputs: [message]\noutput: team\n"
TEAMS = ("account", "billing", "shipping")


def folder(tmp_path: Path, more: str = "", *, rows: int = 30, teams: tuple[str, ...] = TEAMS) -> Path:
    lines = (json.dumps({"message": f"mail {i}", "team": teams[i % len(teams)]}) for i in range(rows))
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    path = tmp_path / "TASK.yaml"
    path.write_text(LEAST + more)
    return path


def problem(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load_task(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


def pairs(number: int = 12) -> list[tuple[object, object]]:
    return [(f"word{i}", f"word{i}s") for i in range(number)]


def built(**more: object) -> Task:
    defaults = {"name": "plural", "description": "Give the plural.", "examples": pairs(), "model": "m"}
    return build_task(**{**defaults, **more})  # type: ignore[arg-type]


def test_the_least_task_file_gives_a_whole_task(tmp_path: Path) -> None:
    task = load_task(folder(tmp_path))
    assert (task.name, task.model, task.agent_model) == (tmp_path.name, "local/smollm2", "local/smollm2")
    assert (task.metric, task.labels, task.inputs, task.output) == ("label", TEAMS, ("message",), "team")
    assert (len(task.splits.train), len(task.splits.val), len(task.splits.test)) == (12, 9, 9)
    assert task.max_output_tokens is None


def test_without_a_prompt_the_description_is_its_one_section(tmp_path: Path) -> None:
    prompt = load_task(folder(tmp_path)).prompts["main"]
    assert prompt == Prompt(sections=(Section(name="task", body="Route it."),), template="{message}")


def test_braces_in_a_description_are_no_placeholders() -> None:
    assert built(description="Fill {slot}.").prompts["main"].sections[0].body == "Fill {slot}."


def test_every_key_reaches_the_task(tmp_path: Path) -> None:
    more = (
        "name: triage\nrequirements: [one word]\nagent_model: big\nbudget: {calls: 7}\nseed: 3\nreasoning: true\n"
        "constraints: {max_prompt_tokens: 99}\nconcurrency: 2\nmax_output_tokens: 5\nprices: {big: [1, 2]}\n"
    )
    task = load_task(folder(tmp_path, more))
    assert (task.name, task.requirements, task.agent_model, task.budget) == (
        *("triage", ("one word",), "big"),
        Budget(calls=7),
    )
    assert (task.seed, task.reasoning, task.max_prompt_tokens, task.concurrency) == (3, True, 99, 2)
    assert (task.max_output_tokens, task.prices) == (5, {"big": (1.0, 2.0)})


def test_overrides_come_before_the_checks(tmp_path: Path) -> None:
    assert load_task(folder(tmp_path, "metric: regex"), overrides={"metric": "contains"}).metric == "contains"


def test_a_prompt_text_is_kept_byte_for_byte(tmp_path: Path) -> None:
    text = "Route  this.\r\n\r\nYou know.\n\nMail: {message}\n\nTeam:\n"
    folder(tmp_path)
    (tmp_path / "seed.txt").write_bytes(text.encode())
    task = load_task(folder(tmp_path, "prompt: seed.txt"))
    assert task.prompts["main"].to_text() == text


def test_a_prompt_file_in_yaml_is_the_structured_form(tmp_path: Path) -> None:
    prompt = Prompt(
        sections=(Section(name="rules", body=("a", "b")),),
        demos=(Demo(inputs={"message": "x"}, output="billing"),),
        template="M: {message}",
    )
    (tmp_path / "seed.yaml").write_text(prompt.to_yaml())
    assert load_task(folder(tmp_path, "prompt: seed.yaml")).prompts["main"] == prompt


def test_the_layout_keys_change_only_what_they_name(tmp_path: Path) -> None:
    more = "prompt: {sections: {task: Route.}, layout: {style: xml}}\nlayout: {instructions: user}\n"
    layout = load_task(folder(tmp_path, more)).prompts["main"].layout
    assert (layout.style, layout.instructions) == ("xml", "user")


@pytest.mark.parametrize("mark", ["task", "template", "Route", "team: {message}"])
def test_frozen_takes_paths_and_texts_of_the_prompt(tmp_path: Path, mark: str) -> None:
    more = f'prompt: "Route it.\\n\\nteam: {{message}}"\nconstraints: {{frozen: ["{mark}"]}}\n'
    assert load_task(folder(tmp_path, more)).prompts["main"].frozen == (mark,)


def test_frozen_takes_one_rule_that_exists(tmp_path: Path) -> None:
    more = "prompt: {sections: {rules: [a, b]}}\nconstraints: {frozen: ['rules[%d]']}\n"
    assert load_task(folder(tmp_path, more % 1)).prompts["main"].frozen == ("rules[1]",)
    assert "'rules[2]' is neither a text nor a path in the prompt" in problem(folder(tmp_path, more % 2))


def test_a_mark_that_is_not_in_the_prompt_is_refused_with_the_sections_there_are(tmp_path: Path) -> None:
    more = "prompt: {sections: {role: You sort., task: Route.}}\nconstraints: {frozen: [output_format]}\n"
    assert "'output_format' is neither a text nor a path in the prompt" in problem(folder(tmp_path, more))
    assert problem(folder(tmp_path, more)).endswith("name one of: role, task, template")


def test_the_task_file_of_the_readme_loads(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    text = readme.split("## TASK.yaml\n\n```yaml\n")[1].split("```")[0]
    teams = ("billing", "shipping", "technical", "account")
    (tmp_path / "prompt.txt").write_text("Route the message. Answer with the team alone.\n\n{message}")
    folder(tmp_path, teams=teams)
    (tmp_path / "d.jsonl").rename(tmp_path / "tickets.jsonl")
    (tmp_path / "TASK.yaml").write_text(text)
    task = load_task(tmp_path / "TASK.yaml")
    assert (task.labels, task.max_prompt_tokens) == (teams, 800)
    assert task.prompts["main"].frozen == ("Answer with the team alone.",)


@pytest.mark.parametrize(
    ("data", "key", "reason"),
    [
        ("dd.jsonl", "data", "dd.jsonl: no such file; did you mean d.jsonl?"),
        ("{train: dd.jsonl, test: d.jsonl}", "data.train", "dd.jsonl: no such file; did you mean d.jsonl?"),
        ("{train: d.jsonl, val: no/v.jsonl}", "data.val", "no/v.jsonl: there is no folder no; correct the path"),
    ],
)
def test_data_that_cannot_be_read_is_named_with_its_key(tmp_path: Path, data: str, key: str, reason: str) -> None:
    path = folder(tmp_path)
    path.write_text(LEAST.replace("d.jsonl", data))
    assert problem(path) == f"TASK.yaml: {key}: {reason}"


def test_given_files_are_the_splits_and_val_is_carved(tmp_path: Path) -> None:
    path = folder(tmp_path, rows=20)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"message": f"t{i}", "team": "billing"}) for i in range(4)))
    path.write_text(LEAST.replace("d.jsonl", "{train: d.jsonl, test: t.jsonl}"))
    splits = load_task(path).splits
    assert (len(splits.train), len(splits.val), len(splits.test)) == (11, 9, 4)
    assert {e.inputs["message"] for e in splits.test} == {"t0", "t1", "t2", "t3"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("prompt: 'Route {text}'", "TASK.yaml: prompt: placeholder {text} is not among the inputs: message"),
        ("prompt: best.json", "TASK.yaml: prompt: best.json cannot be read as a prompt"),
        ("prompt: {template: Go}", "TASK.yaml: prompt: input 'message' has no placeholder; add {message}"),
        ("prompt: {sections: {task: 'Route {message}'}}", "TASK.yaml: prompt: section 'task' holds {message}"),
        (
            "prompt: {demos: [{inputs: {text: a}, output: b}]}",
            "TASK.yaml: prompt: demos[0] has no input 'message'; add it",
        ),
        ("prompt: sead.txt", "sead.txt: no such file; did you mean seed.txt?"),
        ("constraints: {frozen: [demos]}", "TASK.yaml: constraints.frozen: 'demos' is neither a text nor a path"),
        (
            "labels: [account, biling, billing, shipping]",
            "TASK.yaml: labels: 'biling' never occurs in the data's 'team'; did you mean 'billing'?",
        ),
        ("labels: [account, billing]", "d.jsonl line 3: 'shipping' is not among the labels"),
        ("split: {train: 1, val: 1, test: 1}", "TASK.yaml: split: the shares add up to 3"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path: Path, more: str, message: str) -> None:
    (tmp_path / "seed.txt").write_text("Route.")
    assert problem(folder(tmp_path, more)).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{account: a, billing: b}", "label 'shipping' has no word; give it one"),
        ("{account: a, billing: b, shipping: ''}", "label 'shipping' has the word ''; give it one"),
        ("{account: a, billing: ' b', shipping: c}", "label 'billing' has the word ' b'; give it one"),
        ("{account: a, billing: b, shipping: A}", "'account' and 'shipping' have one word, 'A'; change one"),
    ],
)
def test_words_that_are_not_one_for_each_label_are_refused(tmp_path: Path, words: str, message: str) -> None:
    more = f"prompt: {{sections: {{task: Route.}}, words: {words}}}\n"
    assert problem(folder(tmp_path, more)).startswith(f"TASK.yaml: prompt.words: {message}")


def test_a_layout_that_would_make_another_prompt_of_a_calibrated_one_is_refused(tmp_path: Path) -> None:
    prompt = "prompt: {sections: {task: Route.}, calibration: {account: 0.2, billing: 0.3, shipping: 0.5}}\n"
    assert "layout: prompt.calibration holds for" in problem(folder(tmp_path, f"{prompt}layout: {{style: xml}}\n"))
    kept = load_task(folder(tmp_path, f"{prompt}layout: {{style: plain}}\n")).prompts["main"]
    assert kept.calibration == {"account": 0.2, "billing": 0.3, "shipping": 0.5}


def test_words_for_all_labels_reach_the_prompt(tmp_path: Path) -> None:
    words = {"account": "a", "billing": "the bill", "shipping": "c"}
    more = f"prompt: {{sections: {{task: Route.}}, words: {json.dumps(words)}}}\n"
    assert load_task(folder(tmp_path, more)).prompts["main"].words == words


def test_an_output_among_the_inputs_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path)
    path.write_text(LEAST.replace("[message]", "[message, team]"))
    assert "'team' is also an input" in problem(path)


def test_a_missing_output_is_fine_for_a_judge_only(tmp_path: Path) -> None:
    path = folder(tmp_path)
    path.write_text(LEAST.replace("output: team\n", "metric: judge\n"))
    assert load_task(path).splits.train[0].expected is None
    path.write_text(LEAST.replace("output: team\n", "metric: label\n"))
    assert problem(path).startswith("TASK.yaml: 'output' is missing")


def test_too_few_examples_are_refused_unless_they_are_only_evaluated(tmp_path: Path) -> None:
    path = folder(tmp_path, rows=7)
    assert problem(path).startswith("TASK.yaml: only 7 examples")
    splits = load_task(path, allow_few=True).splits
    assert (len(splits.train), len(splits.val), len(splits.test)) == (0, 0, 7)


def test_answers_that_do_not_repeat_are_matched_exactly(tmp_path: Path) -> None:
    task = load_task(folder(tmp_path, teams=tuple(f"t{i}" for i in range(11))))
    assert (task.metric, task.labels) == ("exact_match", ())


def test_given_labels_make_the_metric_label(tmp_path: Path) -> None:
    teams = tuple(f"t{i}" for i in range(11))
    task = load_task(folder(tmp_path, f"labels: [{', '.join(teams)}]", teams=teams))
    assert (task.metric, task.labels) == ("label", teams)


def test_labels_are_sampled_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert load_task(folder(tmp_path)).scoring == "sampled"
    assert load_task(folder(tmp_path, "scoring: calibrated")).scoring == "calibrated"


def test_more_than_twenty_labels_must_be_listed(tmp_path: Path) -> None:
    path = folder(tmp_path, "metric: label", teams=tuple(f"t{i}" for i in range(21)))
    assert "'labels' is missing and 'team' has 21 different values" in problem(path)


def test_pairs_are_input_and_output() -> None:
    task = built()
    assert (task.inputs, task.output) == (("input",), "output")
    assert {(e.inputs["input"], e.expected) for e in task.splits.train} <= set(pairs())


def test_mappings_guess_the_output_by_its_name() -> None:
    examples = [{"label": f"l{i % 2}", "text": f"t{i}"} for i in range(12)]
    task = built(examples=examples)
    assert (task.inputs, task.output, task.metric) == (("text",), "label", "label")


def test_a_pair_may_have_several_inputs() -> None:
    task = built(examples=[({"a": i, "b": 1}, "x") for i in range(12)])
    assert task.prompts["main"].template == "a: {a}\nb: {b}"


def test_any_mapping_of_shares_splits_the_examples() -> None:
    splits = built(split=MappingProxyType({"train": 6, "val": 4, "test": 2})).splits
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 4, 2)


def test_a_prompt_value_keeps_its_frozen_marks() -> None:
    prompt = Prompt(sections=(Section(name="task", body="Do."),), frozen=("task",))
    assert built(prompt=prompt, constraints={"frozen": ["template"]}).prompts["main"].frozen == ("task", "template")


def test_a_prompt_text_from_python_is_never_a_path() -> None:
    assert built(prompt="seed.txt").prompts["main"].sections[0].body == "seed.txt"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"examples": []}, "task: examples is empty"),
        ({"examples": ["x"]}, "examples[0]: must be a mapping of columns or a pair"),
        ({"examples": [{0: "a", 1: "b"}]}, "examples[0]: the name of a column must be a text, not 0; rename it"),
        ({"examples": [({"output": "a"}, "b")] * 12}, "examples[0]: the input has a field 'output' too"),
        (
            {"prompt": Prompt(sections=(Section(name="a", body="x"), Section(name="a", body="y")))},
            "task: prompt: section 'a': each needs a name of its own",
        ),
        ({"prompt": Prompt(sections=(Section(name="template", body="x"),))}, "task: prompt: section 'template': each"),
        ({"description": "Give the plural of {input}."}, "task: description: holds {input}, which is filled in in a"),
        ({"examples": [*pairs(), ("new", None)]}, "examples[12]: field 'output' is empty"),
        ({"concurency": 3}, "task: unknown key 'concurency'; did you mean 'concurrency'?"),
        ({"examples": [{"text": "a"}] * 3}, "task: inputs: must not be empty"),
    ],
)
def test_what_cannot_work_from_python_is_named_too(more: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        built(**more)
    assert str(caught.value).startswith(message)


def test_the_second_of_a_pair_is_the_answer_whatever_the_inputs_are_called() -> None:
    task = built(examples=[({"text": f"t{i}", "labels": "a, b"}, "ab"[i % 2]) for i in range(12)])
    assert (task.inputs, task.output) == (("text", "labels"), "output")
    assert {e.expected for e in task.splits.train} == {"a", "b"}
    assert built(output="team").output == "team"


def test_inputs_alone_are_enough_for_a_judge() -> None:
    task = built(examples=[{"text": f"t{i}"} for i in range(12)], inputs=["text"], metric="judge")
    assert task.splits.test[0].expected is None


def test_a_cap_below_the_seeds_own_size_is_refused_with_that_size(tmp_path: Path) -> None:
    more = f"prompt: '{'word ' * 50}'\nconstraints: {{max_prompt_tokens: %d}}\n"
    size = prompt_tokens(load_task(folder(tmp_path, more % 500)).prompts["main"])
    assert load_task(folder(tmp_path, more % size)).max_prompt_tokens == size
    message = f"constraints.max_prompt_tokens: the prompt has about {size} itself"
    assert message in problem(folder(tmp_path, more % (size - 1)))


def test_a_row_in_two_files_is_named_with_both_lines(tmp_path: Path) -> None:
    path = folder(tmp_path)
    path.write_text(path.read_text().replace("data: d.jsonl", "data: {train: d.jsonl, val: v.jsonl}"))
    (tmp_path / "v.jsonl").write_text((tmp_path / "d.jsonl").read_text().splitlines()[2])
    assert "the same row is in train (d.jsonl line 3) and in val (v.jsonl line 1)" in problem(path)


def test_rows_left_out_as_repeated_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    built(examples=[*pairs(), *pairs(2)])
    assert "repeat an earlier one" in caplog.text
    assert "rows=2" in caplog.text


def test_temperature_and_repeats_reach_the_task_and_have_sane_values(tmp_path: Path) -> None:
    task = load_task(folder(tmp_path, "temperature: 0.7\nrepeats: 3\n"))
    assert (task.temperature, task.repeats) == (0.7, 3)
    assert problem(folder(tmp_path, "temperature: -1\n")) == "TASK.yaml: temperature: must be at least 0.0 (got -1)"
    assert problem(folder(tmp_path, "repeats: 0\n")) == "TASK.yaml: repeats: must be above 0 (got 0)"
