"""A commented TASK.yaml to start from, made from a data file's columns and rows."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from crito.errors import BadInput
from crito.tools.datasets import Row, read_rows, to_examples
from crito.tools.task_file import guess_metric, guess_output

_SAMPLE = 2000  # as max_examples, so that the guesses hold for what is loaded later
_ID_NAMES = ("id", "idx", "index", "uuid", "row")
_TEXT = """\
# A task for Crito. Check the lines below, then run: crito optimize TASK.yaml
# Keys behind a '#' are optional; the value shown is the default or an example.

# What the model should do, in a sentence. Crito's agents read this: the more exact, the better.
description: {description}
# requirements: ["Answer with one word."]  # statements that every good answer fulfils

# The model to improve the prompt for: local/smollm2, local/<file.gguf>, endpoint/<url>#<model>, openai/gpt-5-mini, …
model: {model}
# agent_model: {model}  # the model that Crito's agents speak through

# Your prompt: a text, or the path of a .txt, .md or .yaml file. Without it, the description is the first prompt.
# prompt: |-
#   {description_line}
#
#   {placeholders}

# The examples: .jsonl, .csv, .tsv, .json or .parquet, or hf://owner/name:split. Paths are relative to this file.
# Files that are split already: {{train: train.jsonl, val: val.jsonl, test: test.jsonl}}
data: {data}
{others}# The columns that the model is given, each a placeholder of the prompt. A mapping renames: {{text: "Column 1"}}
inputs: {inputs}
# The column with the right answer.
output: {output}

# How an answer is scored: label, exact_match, contains, numeric, regex, json_fields, rouge, chrf, judge,
# or a function of yours as module:function.
metric: {metric}
{labels}
# split: {{train: 0.4, val: 0.3, test: 0.3}}  # shares, or numbers of examples; test is opened once, for the verdict
# max_examples: 2000  # rows kept of each file, sampled where there are more

# Hard limits over everything the run does, together; 1,000 calls where no limit is written.
# budget:
#   calls: 600
#   tokens: 500000
#   usd: 1.5
#   seconds: 600
#   verdict_share: 0.4  # the most of the calls that the final comparison may take

# constraints:
#   max_prompt_tokens: 800  # longer prompts are refused
#   frozen: ["a text of the prompt that must stay"]  # or a path, such as task or rules[0]

# layout:
#   style: plain  # how sections are marked: plain, markdown, xml or json
#   demos: turns  # demonstrations as chat turns, or inline
#   instructions: system  # where they go: system, user (first turn) or each (turn)

# name: my-task  # the default is the name of this folder
# concurrency: 8  # calls in flight at once; 8 by default, 1 for a local model
# seed: 0  # decides the splits and everything random
# max_output_tokens: 64  # the default follows the longest right answer
# scoring: sampled  # or likelihood, calibrated: labels by log-probability, where the model gives it
# reasoning: false  # whether answers may reason before the result
# temperature: 0  # of the target's answers
# repeats: 1  # answers to each test example, averaged in the verdict; for a temperature above 0, or a judge
# memory: project  # lessons of earlier runs: project (beside the run database), user (all your projects) or "off"
# remember_prompts: false  # keep the best prompt's text there too, with its demonstrations, for near tasks
# embed: openai/text-embedding-3-small  # finds lessons by meaning too; is sent the description and lessons' texts
# prices: {{{model}: [0.25, 2.0]}}  # US dollars per million tokens (in, out), for models whose price is not known
"""


def starter(data_path: str | Path, *, model: str) -> str:
    """The text of a TASK.yaml that loads as it is; output column, labels and metric are guessed from the data.

    Args:
        data_path: A data file; it stands in the text as given here.
        model: The model to name in it.

    Raises:
        BadInput: The file cannot be read, or has fewer than two columns.
    """
    rows = read_rows(data_path, limit=_SAMPLE, seed=0)
    columns = list(rows[0][1])
    output = guess_output(columns)
    if output is None or len(columns) < 2:
        raise BadInput(f"{data_path}: has one column; it needs one for the input and one for the right answer")
    given = _inputs([row for _, row in rows], [column for column in columns if column != output])
    placed = ((f"{data_path} row {number}", row) for number, row in rows)
    examples = to_examples(placed, given, output, limit=_SAMPLE, seed=0).examples
    metric = guess_metric(examples)
    labels = sorted({str(example.expected) for example in examples}) if metric == "label" else []
    others = [column for column in columns if column != output and column not in given.values()]
    description = _description(list(given.values()), output, labels)
    return _TEXT.format(
        description=_yaml(description),
        description_line=" ".join(description.split()),
        model=_yaml(model),
        placeholders=" ".join(f"{{{name}}}" for name in given),
        data=_yaml(str(data_path)),
        others=f"# Further columns in it, not used: {_yaml(others)[1:-1]}\n" if others else "",
        inputs=_yaml(list(given) if list(given) == list(given.values()) else given),
        output=_yaml(output),
        metric=metric,
        labels=f"# The possible answers.\nlabels: {_yaml(labels)}\n"
        if labels
        else '# labels: ["yes", "no"]  # the possible answers, for label\n',
    )


def _inputs(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, str]:
    """Columns of prose if there are any, else all but flags and ids, by a name that fits a placeholder."""
    prose = [column for column in columns if sum(" " in str(row.get(column)) for row in rows) * 2 >= len(rows)]
    plain = [
        column for column in columns if column.lower() not in _ID_NAMES and not isinstance(rows[0][column], bool | None)
    ]
    names: dict[str, str] = {}
    for column in prose or plain or columns:
        simple = column if column.isidentifier() else re.sub(r"\W+", "_", column).strip("_").lower()
        name = simple if re.fullmatch(r"[A-Za-z_]\w*", simple) and simple not in names else f"input_{len(names) + 1}"
        names[name] = column
    return names


def _description(inputs: Sequence[str], output: str, labels: Sequence[str]) -> str:
    choice = f": one of {', '.join(labels)}" if labels else ""
    return f"Read the {' and the '.join(inputs)} and answer with the {output}{choice}."


def _yaml(value: object) -> str:
    text = yaml.safe_dump(
        value, default_style='"', default_flow_style=True, allow_unicode=True, width=sys.maxsize, sort_keys=False
    )
    return text.strip()
