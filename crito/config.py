"""The schema of TASK.yaml, and one-line errors for everything in it that cannot work."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator

from crito.errors import BadInput
from crito.prompt import Demo, Divisor, Layout, Section
from crito.task import Budget, Scoring

_PLACEHOLDER_NAME = re.compile(r"[A-Za-z_]\w*")


def _number(value: object) -> object:
    if isinstance(value, bool):  # which pydantic would read as 1 or 0
        raise ValueError(f"must be a number (got {value})")
    return value


PositiveInt = Annotated[int, Field(gt=0), BeforeValidator(_number)]
Seed = Annotated[int, Field(ge=0), BeforeValidator(_number)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Memory = Literal["project", "user", "off"]
Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Share = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_number)]


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayoutKeys(Layout):
    """The layout keys that the user wrote; those left out stay as the prompt has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptForm(_Keys):
    """A prompt in its structured form, as ``Prompt.to_yaml`` writes it; ``sections`` may also be a mapping.

    Attributes:
        template: The message that carries the inputs; None for one line per input.
        words: The word that the model is asked to say for a label, by label.
        calibration: What the probability of each label is to be divided by, with ``scoring: calibrated``.
        gap: White space between instructions that are one plain text and the input, where both are in one message.
    """

    sections: tuple[Section, ...] = ()
    demos: tuple[Demo, ...] = ()
    layout: LayoutKeys = LayoutKeys()
    template: Annotated[str, Field(min_length=1)] | None = None
    frozen: tuple[str, ...] = ()
    words: dict[str, str] = {}
    calibration: dict[str, Divisor] = {}
    gap: str = "\n\n"

    @field_validator("sections", mode="before")
    @classmethod
    def _from_mapping(cls, value: object) -> object:
        return [{"name": name, "body": body} for name, body in value.items()] if isinstance(value, dict) else value


PromptKey = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[PromptForm, Tag("<form>")],
    Discriminator(lambda value: "<form>" if isinstance(value, dict | PromptForm) else "<text>"),
]


class DataFiles(_Keys):
    """Where the examples are; what is not given for ``val`` and ``test`` is split off ``train``."""

    train: str
    val: str | None = None
    test: str | None = None


class Shares(_Keys):
    """The size of each split: shares that add up to 1, or numbers of examples."""

    train: Share
    val: Share
    test: Share


class Constraints(_Keys):
    """What every prompt of the run must keep to."""

    max_prompt_tokens: PositiveInt | None = None
    frozen: tuple[str, ...] = ()


class TaskFile(_Keys):
    """TASK.yaml, key by key.

    Attributes:
        name: Short name of the task; None for the name of its folder.
        description: What the model should do, in a sentence.
        agent_model: Model that the agents speak through; None for ``model``.
        prompt: A text, a path ending in .txt, .md or .yaml, or the structured form; None for the description.
        inputs: The data's column behind each input, by the input's name; a list where both are the same.
        output: Column with the right answer; None where the metric needs none.
        metric: Name of a metric or ``module:function``; None lets the data decide.
        scoring: Whether labels are sampled, or scored by the log-probabilities of their tokens.
        temperature: Of the target's answers.
        repeats: How often each example is answered in the verdict and by an evaluation. In a search with more than one,
            who is ahead answers the validation examples twice.
        prices: US dollars per million tokens (in, out), by model name.
        max_examples: Rows kept of each data file, sampled where there are more.
        memory: Whose lessons are used and added to: the project's, the user's, or nobody's.
        remember_prompts: Whether the best prompt's text is kept there as well, demonstrations included.
        embed: Embedding model that compares lessons with the description; None for words alone.
    """

    name: str | None = None
    description: str = Field(min_length=1)
    requirements: tuple[str, ...] = ()
    model: str = Field(min_length=1)
    agent_model: str | None = None
    prompt: PromptKey | None = None
    data: DataFiles
    inputs: dict[str, str] = Field(min_length=1)
    output: str | None = None
    metric: str | None = None
    labels: tuple[str, ...] = ()
    scoring: Scoring = "sampled"
    split: Shares | None = None
    budget: Budget = Budget()
    constraints: Constraints = Constraints()
    layout: LayoutKeys = LayoutKeys()
    concurrency: PositiveInt | None = None
    seed: Seed = 0
    max_output_tokens: PositiveInt | None = None
    reasoning: bool = False
    temperature: Temperature = 0.0
    repeats: PositiveInt = 1
    prices: dict[str, tuple[Price, Price]] = {}
    max_examples: PositiveInt = 2000
    memory: Memory = "project"
    remember_prompts: bool = False
    embed: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("data", mode="before")
    @classmethod
    def _one_file(cls, value: object) -> object:
        return {"train": value} if isinstance(value, str) else value

    @field_validator("labels", mode="before")
    @classmethod
    def _numbers_are_labels(cls, value: object) -> object:
        """YAML reads ``[0, 1]`` as numbers; the data's numbers become texts too, so that both agree."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in value)

    @field_validator("memory", mode="before")
    @classmethod
    def _off_is_no_truth(cls, value: object) -> object:
        """YAML reads a bare ``off`` as false."""
        return "off" if value is False else value

    @field_validator("inputs", mode="before")
    @classmethod
    def _same_names(cls, value: object) -> object:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return {name: name for name in names}
        return value

    @field_validator("inputs")
    @classmethod
    def _names_fit_placeholders(cls, value: dict[str, str]) -> dict[str, str]:
        for name, column in value.items():
            if not _PLACEHOLDER_NAME.fullmatch(name):
                simple = re.sub(r"\W+", "_", name).strip("_").lower()
                cure = simple if _PLACEHOLDER_NAME.fullmatch(simple) else "text"
                raise ValueError(f"{name!r} cannot be a placeholder; write inputs: {{{cure}: {column!r}}}")
        return value


_TYPE_NAME = re.compile(r"<|str$|tuple\[")  # what pydantic adds to a location to tell a union's branches apart
_SCHEMAS: dict[tuple[str, ...], type[BaseModel]] = {
    (): TaskFile,
    ("prompt",): PromptForm,
    ("prompt", "layout"): LayoutKeys,
    ("data",): DataFiles,
    ("split",): Shares,
    ("budget",): Budget,
    ("constraints",): Constraints,
    ("layout",): LayoutKeys,
}
_CURES = {
    "description": "say in a sentence what the model should do",
    "model": "name the model to improve the prompt for, such as local/smollm2",
    "data": "name the file with the examples (.jsonl, .csv or .json)",
    "inputs": "list the data's columns that the model is given",
}
_PHRASES = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_type": "must be a text, in quotes where YAML reads something else",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a list of columns or a mapping of names to columns",
    "model_type": "must be a mapping of keys",
    "literal_error": "must be {expected}",
}


def parse_task_file(text: str, place: str, overrides: Mapping[str, object] | None = None) -> TaskFile:
    """Read the text of a TASK.yaml.

    Args:
        text: YAML.
        place: Name of the file, for errors.
        overrides: Keys that replace those of the file; mappings are merged key by key, None changes nothing.

    Raises:
        BadInput: The YAML is malformed, a key is unknown or missing, or a value cannot work.
    """
    return check_keys(_merged(mapping_of(text, place), overrides or {}), place)


def check_keys(keys: Mapping[str, object], place: str) -> TaskFile:
    """The task file with these keys.

    Raises:
        BadInput: A key is unknown or missing, or a value cannot work.
    """
    try:
        return TaskFile.model_validate(dict(keys))
    except ValidationError as error:
        raise BadInput(f"{place}: {_first_problem(error)}") from error


def parse_prompt_form(text: str, place: str) -> PromptForm:
    """Read a prompt in its structured form, as ``Prompt.to_yaml`` writes it.

    Raises:
        BadInput: The YAML is malformed, or it is not a prompt.
    """
    try:
        return PromptForm.model_validate(mapping_of(text, place))
    except ValidationError as error:
        raise BadInput(f"{place}: {_first_problem(error, ('prompt',))}") from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'metric'?`` for a near miss, else all the ``known`` words."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(words)}"


def mapping_of(text: str, place: str, *, cure: str = "such as 'description: …'; see `crito init`") -> dict[str, object]:
    """The keys of a YAML text; one that has no value counts as not written.

    Args:
        text: The YAML.
        place: Where it stands, for errors.
        cure: What to do where it has no keys at all.

    Raises:
        BadInput: It is malformed, or no mapping.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        quoted = "put texts with ': ', '#' or braces in quotes or below a '|'"
        raise BadInput(f"{place}{line}: not valid YAML ({problem}); {quoted}") from error
    except ValueError as error:  # a date or a number that Python cannot have
        raise BadInput(f"{place}: not valid YAML ({error}); put that value in quotes") from error
    if not isinstance(value, dict):
        raise BadInput(f"{place}: must be a mapping of keys, {cure}")
    # A key whose own keys are all commented out reads as null; it counts as not written.
    return {str(key): item for key, item in value.items() if item is not None}


def _merged(keys: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    merged = dict(keys)
    for key, value in overrides.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping | None):
            merged[key] = _merged(old or {}, value)
        elif value is not None:
            merged[key] = value
    return merged


def _first_problem(error: ValidationError, within: tuple[str, ...] = ()) -> str:
    # A misspelt key is also a missing one; the misspelling is what the user can mend.
    urgency = ["extra_forbidden", "missing"]
    problems: list[dict[str, Any]] = [dict(problem) for problem in error.errors()]
    details = min(problems, key=lambda p: urgency.index(p["type"]) if p["type"] in urgency else len(urgency))
    *above, key = [part for part in details["loc"] if not _TYPE_NAME.match(str(part))]
    where = _dotted(above)
    lead = f"{where}: " if where else ""
    if details["type"] == "extra_forbidden":
        schema = _SCHEMAS.get((*within, *above), BaseModel)
        hint = suggestion(str(key), schema.model_fields)
        if key == "preset" and not where:
            hint = "; a method is chosen with --preset NAME"
        if (*within, *above) == ("prompt",):
            hint += "; a prompt text with braces must be in quotes or below a '|'"
        return f"{lead}unknown key {key!r}{hint}"
    if details["type"] == "missing":
        if isinstance(key, int):
            return f"{where}: has {key} of the values it needs; add the next"
        return f"{lead}{key!r} is missing; {'add it' if above else _CURES.get(key, 'add it')}"
    return f"{_dotted([*above, key])}: {_phrase(details)}"


def _phrase(details: dict[str, Any]) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context["error"])
    phrase = _PHRASES.get(details["type"])
    if phrase is None:
        return " ".join(str(details["msg"]).split())
    got = str(details["input"]) if isinstance(details["input"], int | float) else repr(details["input"])
    return f"{phrase.format(**context)} (got {got[:60]})"


def _dotted(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
