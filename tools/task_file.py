"""TASK.yaml, or the same keys from Python, with its data: a checked task that is ready to run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from crito.config import PromptForm, TaskFile, check_keys, parse_prompt_form, parse_task_file, suggestion
from crito.errors import BadInput
from crito.prompt import Prompt, Section, placeholders
from crito.task import Example, Splits, Task
from crito.tools.datasets import Loaded, Row, read_examples, read_text, to_examples
from crito.tools.limits import prompt_tokens
from crito.tools.logs import logger
from crito.tools.prompt_check import check_prompt
from crito.tools.splits import MINIMUM, MOST_STRATA, SHARES, join

_PROMPT_FILE = re.compile(r"\S[^\n]*\.(txt|md|ya?ml)")
_MESSAGES_FILE = re.compile(r"\S+\.json")
_ATOM = re.compile(r"([^\[\].]+)\[(\d+)\]")
_ANSWER = "output"
"""What the right answer of a pair is called, if nothing else is said."""
_OUTPUT_NAMES = (
    *("label", "labels", "output", "answer", "expected", "target", "gold", "solution", "result", "response"),
    *("team", "category", "class", "intent", "topic", "sentiment"),
)


def load_task(path: Path, *, overrides: Mapping[str, object] | None = None, allow_few: bool = False) -> Task:
    """Read TASK.yaml, its prompt and its data (paths in it are relative to its folder) and check them together.

    Args:
        path: The file.
        overrides: Keys that replace those of the file, as in ``{"budget": {"calls": 100}}``; None changes nothing.
        allow_few: Put fewer than 10 examples into test instead of refusing them; enough to evaluate a prompt.

    Raises:
        BadInput: Something in the file or its data cannot work; the message names the place and the cure.
    """
    place, folder = str(path), path.parent
    spec = parse_task_file(read_text(path), place, overrides)
    parts = _load(spec, folder, place)
    name = spec.name or path.resolve().parent.name
    return _checked(spec, name, _prompt_of(spec, folder, place), parts, place, allow_few=allow_few)


def build_task(
    *,
    name: str,
    description: str,
    examples: Sequence[Row | tuple[object, object]],
    inputs: Sequence[str] | Mapping[str, str] | None = None,
    output: str | None = None,
    prompt: str | Prompt | None = None,
    split: Mapping[str, float] | None = None,
    allow_few: bool = False,
    **keys: object,
) -> Task:
    """A checked task from values in memory, with the checks of :func:`load_task`.

    Args:
        name: Short name of the task.
        description: What the model should do, in a sentence.
        examples: Mappings by column, or pairs (input, right answer) whose input may be a mapping of several.
        inputs: Columns that the model is given; None for all but ``output``.
        output: Column with the right answer; None for the one that is called so, or else the last.
        prompt: The seed prompt; a text is never taken for a path. None for the description.
        split: ``train``, ``val`` and ``test`` as shares or as numbers of examples.
        allow_few: Put fewer than 10 examples into test instead of refusing them; enough to evaluate a prompt.
        keys: Any other key of TASK.yaml: ``model``, which must be there, and ``metric``, ``budget`` or ``seed``.

    Raises:
        BadInput: Something cannot work; the message names the place and the cure.
    """
    if not examples:
        raise BadInput(f"task: examples is empty; give at least {MINIMUM}")
    output = output or (None if isinstance(examples[0], Mapping) else _ANSWER)
    rows = [_row(item, f"examples[{index}]", output or _ANSWER) for index, item in enumerate(examples)]
    given, answer = _columns(list(rows[0][1]), inputs, output)
    named = {"name": name, "description": description, "data": "examples", "inputs": given, "output": answer}
    spec = check_keys({**named, "split": dict(split) if split else None, **keys}, "task")
    loaded = to_examples(rows, spec.inputs, answer, limit=spec.max_examples, seed=spec.seed)
    seed_prompt = prompt if isinstance(prompt, Prompt) else _prompt_from(prompt, spec, "task")
    return _checked(spec, name, seed_prompt, {"train": loaded}, "task", allow_few=allow_few)


def guess_output(columns: Sequence[str]) -> str | None:
    """The column with the right answer: one that is called so, else the last; None where there is no column."""
    named = (column for name in _OUTPUT_NAMES for column in columns if column.lower() == name)
    return next(named, columns[-1] if columns else None)


def guess_metric(examples: Sequence[Example]) -> str:
    """``label`` where at most 20 different answers repeat (three rows each on average), else ``exact_match``."""
    distinct = {example.expected for example in examples}
    return "label" if len(distinct) <= MOST_STRATA and len(examples) >= 3 * len(distinct) else "exact_match"


def check_answers(examples: Sequence[Example], labels: Sequence[str], places: Mapping[str, str]) -> None:
    """Refuse right answers that are no label.

    Args:
        examples: Rows of data.
        labels: The possible answers.
        places: Where each row stands, by the example's id.

    Raises:
        BadInput: The first such row, with the label that may be meant.
    """
    odd = next((example for example in examples if example.expected not in labels), None)
    if odd is not None:
        hint = suggestion(str(odd.expected), labels)
        raise BadInput(f"{places[odd.id]}: {odd.expected!r} is not among the labels{hint}")


def _load(spec: TaskFile, folder: Path, place: str) -> dict[str, Loaded]:
    sources = {name: source for name, source in spec.data if source is not None}
    parts = {}
    for name, source in sources.items():
        path = source if source.startswith("hf://") else folder / source
        try:
            parts[name] = read_examples(path, spec.inputs, spec.output, limit=spec.max_examples, seed=spec.seed)
        except BadInput as error:
            key = "data" if len(sources) == 1 else f"data.{name}"
            raise BadInput(f"{place}: {key}: {error}") from error
    return parts


def _row(item: Row | tuple[object, object], place: str, answer: str) -> tuple[str, Row]:
    """The columns of a row; the right answer of a pair stands in the one of this name."""
    if isinstance(item, Mapping):
        odd = next((column for column in item if not isinstance(column, str)), None)
        if odd is not None:
            raise BadInput(f"{place}: the name of a column must be a text, not {odd!r:.40}; rename it")
        return place, item
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise BadInput(f"{place}: must be a mapping of columns or a pair (input, right answer), not {item!r:.40}")
    given = item[0] if isinstance(item[0], Mapping) else {"input": item[0]}
    if answer in given:
        raise BadInput(f"{place}: the input has a field {answer!r} too, which is the right answer's name; rename it")
    return place, {**given, answer: item[1]}


def _columns(
    columns: Sequence[str], inputs: Sequence[str] | Mapping[str, str] | None, output: str | None
) -> tuple[Sequence[str] | Mapping[str, str], str | None]:
    """The columns of the inputs and that of the right answer; what was not given is guessed."""
    taken = inputs.values() if isinstance(inputs, Mapping) else inputs or ()
    answer = output or guess_output([column for column in columns if column not in taken])
    return inputs or [column for column in columns if column != answer], answer


def _checked(
    spec: TaskFile, name: str, prompt: Prompt, parts: Mapping[str, Loaded], place: str, *, allow_few: bool
) -> Task:
    if spec.output in spec.inputs.values():
        raise BadInput(
            f"{place}: output: {spec.output!r} is also an input, so the answer would be given away; remove it"
        )
    examples = [example for part in parts.values() for example in part.examples]
    repeated = sum(part.duplicates for part in parts.values())
    if repeated:
        logger("crito.data").warning(f"{place}: rows that repeat an earlier one are left out", rows=repeated)
    metric = _metric(spec, examples, place)
    places = {example: where for part in parts.values() for example, where in part.places.items()}
    labels = _labels(spec, metric, examples, places, place)
    _check_words(prompt, labels, place)
    return Task(
        name=name,
        description=spec.description,
        requirements=spec.requirements,
        inputs=tuple(spec.inputs),
        output=spec.output or "output",
        labels=labels,
        metric=metric,
        scoring=spec.scoring,
        splits=_splits(spec, parts, place, allow_few=allow_few),
        prompts={"main": _fitted(prompt, spec, place)},
        model=spec.model,
        agent_model=spec.agent_model or spec.model,
        budget=spec.budget,
        max_prompt_tokens=spec.constraints.max_prompt_tokens,
        max_output_tokens=spec.max_output_tokens,
        reasoning=spec.reasoning,
        temperature=spec.temperature,
        repeats=spec.repeats,
        concurrency=spec.concurrency,
        seed=spec.seed,
        prices=spec.prices,
        memory=spec.memory,
        remember_prompts=spec.remember_prompts,
        embed=spec.embed,
    )


def _splits(spec: TaskFile, parts: Mapping[str, Loaded], place: str, *, allow_few: bool) -> Splits:
    given = {name: part.examples for name, part in parts.items()}
    if allow_few and sum(map(len, given.values())) < MINIMUM:
        return Splits(train=(), val=(), test=tuple(example for part in given.values() for example in part))
    shares = spec.split.model_dump() if spec.split else SHARES
    try:
        return join(
            *(given.get(name, ()) for name in ("train", "val", "test")),
            shares=shares,
            seed=spec.seed,
            places={name: part.places for name, part in parts.items()},
        )
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from error


def _metric(spec: TaskFile, examples: Sequence[Example], place: str) -> str:
    needs_none = spec.metric is not None and (spec.metric.startswith("judge") or ":" in spec.metric)
    if spec.output is None and not needs_none:
        cure = "name the column with the right answer, or use a metric that needs none, such as judge"
        raise BadInput(f"{place}: 'output' is missing; {cure}")
    return spec.metric or ("label" if spec.labels else guess_metric(examples))


def _labels(
    spec: TaskFile, metric: str, examples: Sequence[Example], places: Mapping[str, str], place: str
) -> tuple[str, ...]:
    seen = Counter(example.expected for example in examples if example.expected is not None)
    if not spec.labels:
        if metric != "label":
            return ()
        if len(seen) > MOST_STRATA:
            many = f"{spec.output!r} has {len(seen)} different values"
            raise BadInput(f"{place}: 'labels' is missing and {many}; list the labels, or use metric: exact_match")
        return tuple(sorted(seen))
    unused = next((label for label in spec.labels if label not in seen), None)
    if unused is not None:
        hint = suggestion(unused, sorted(seen)[:MOST_STRATA])
        raise BadInput(f"{place}: labels: {unused!r} never occurs in the data's {spec.output!r}{hint}")
    check_answers(examples, spec.labels, places)
    return spec.labels


def _prompt_of(spec: TaskFile, folder: Path, place: str) -> Prompt:
    written = spec.prompt
    if isinstance(written, str) and _MESSAGES_FILE.fullmatch(written):
        cure = "name a .txt, .md or .yaml file; --output best.yaml writes every part of a prompt"
        raise BadInput(f"{place}: prompt: {written} cannot be read as a prompt; {cure}")
    if not isinstance(written, str) or not _PROMPT_FILE.fullmatch(written):
        return _prompt_from(written, spec, place)
    file = folder / written
    text = read_text(file)
    if file.suffix in (".yaml", ".yml"):
        return _prompt_from(parse_prompt_form(text, str(file)), spec, place)
    return _prompt_from(text, spec, place)


def _prompt_from(written: str | PromptForm | None, spec: TaskFile, place: str) -> Prompt:
    if isinstance(written, str):
        return Prompt.from_text(written, inputs=tuple(spec.inputs))
    plain = Prompt.from_text("", inputs=tuple(spec.inputs))
    if written is None:
        # Not from_text: braces in a description are no placeholders, unless they name an input.
        held = next((field for field in placeholders(spec.description) if field in spec.inputs), None)
        if held is not None:
            cure = "which is filled in in a prompt alone; give this text as 'prompt'"
            raise BadInput(f"{place}: description: holds {{{held}}}, {cure}")
        return plain.model_copy(update={"sections": (Section(name="task", body=spec.description),)})
    return Prompt.model_validate({**written.model_dump(), "template": written.template or plain.template})


def _fitted(prompt: Prompt, spec: TaskFile, place: str) -> Prompt:
    """The prompt with the task's layout and frozen marks, once its placeholders are known to be right."""
    check_prompt(prompt, tuple(spec.inputs), place)
    layout = prompt.layout.model_copy(update=spec.layout.model_dump(exclude_unset=True))
    if prompt.calibration and layout != prompt.layout:
        cure = "leave 'layout' out, or remove 'calibration' from the prompt"
        raise BadInput(f"{place}: layout: prompt.calibration holds for the prompt with its own layout alone; {cure}")
    frozen = tuple(dict.fromkeys((*prompt.frozen, *spec.constraints.frozen)))
    fitted = prompt.model_copy(update={"layout": layout, "frozen": frozen})
    for mark in frozen:
        if not _can_freeze(fitted, mark):
            names = ", ".join([*(section.name for section in prompt.sections), "template"])
            cure = f"copy a text from it, or name one of: {names}"
            raise BadInput(f"{place}: constraints.frozen: {mark!r} is neither a text nor a path in the prompt; {cure}")
    cap, size = spec.constraints.max_prompt_tokens, prompt_tokens(fitted)
    if cap is not None and size > cap:
        raise BadInput(
            f"{place}: constraints.max_prompt_tokens: the prompt has about {size} itself; allow at least those"
        )
    return fitted


def _check_words(prompt: Prompt, labels: Sequence[str], place: str) -> None:
    """Refuse words by which an answer cannot be read as one label; more words than labels do no harm."""
    if not prompt.words:
        return
    unsaid = next((label for label in labels if label not in prompt.words), None)
    if unsaid is not None:
        raise BadInput(f"{place}: prompt.words: label {unsaid!r} has no word; give it one, such as itself")
    labels_by_word: dict[str, str] = {}
    for label, word in prompt.words.items():
        if word != word.strip() or not word:
            cure = "give it one without white space around it"
            raise BadInput(f"{place}: prompt.words: label {label!r} has the word {word!r}; {cure}")
        other = labels_by_word.setdefault(word.casefold(), label)
        if other != label:
            raise BadInput(f"{place}: prompt.words: {other!r} and {label!r} have one word, {word!r}; change one")


def _can_freeze(prompt: Prompt, mark: str) -> bool:
    atom = _ATOM.fullmatch(mark)
    section = prompt.section(atom[1] if atom else mark)
    if atom and section is not None:
        return not isinstance(section.body, str) and int(atom[2]) < len(section.body)
    return section is not None or mark == "template" or mark in prompt.written
