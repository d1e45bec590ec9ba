"""The tasks of a bench: folders with task.json and train, val and test rows, or TASK.yaml files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from crito.config import suggestion
from crito.errors import BadInput
from crito.prompt import Prompt
from crito.task import Example, Scoring, Splits, Task
from crito.tools.datasets import read_examples, read_text
from crito.tools.task_file import check_answers, load_task

_SPEC, _YAML = "task.json", "TASK.yaml"
_MODEL = "local/smollm2"
_SHAPE = f"{_SPEC} (description, labels, metric, scoring, reasoning) with train, val and test.jsonl, or {_YAML}"


class _Spec(BaseModel):
    """What task.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    description: str
    labels: tuple[str, ...] | None = None
    metric: str = "exact_match"
    scoring: Scoring = "sampled"
    reasoning: bool = False


def tasks(
    sources: Sequence[Path], names: Sequence[str] = (), *, model: str | None = None, agent_model: str | None = None
) -> dict[str, Task]:
    """The tasks of folders, by name: that of the task's folder, or of its file where it is not called TASK.yaml.

    Args:
        sources: TASK.yaml files, folders of one task, and folders of such folders.
        names: Which tasks, in this order; all by default, in the order of their names.
        model: Who the prompts are for, in place of a TASK.yaml's own; local/smollm2 for a task.json.
        agent_model: Who speaks for the agents; ``model`` by default.

    Raises:
        BadInput: A source holds no task, a name is unknown or stands for two tasks, or a task cannot work.
    """
    known = places(sources)
    for name in names:
        if name not in known:
            raise BadInput(f"task {name!r}: {_missing(name, sources, known)}")
    chosen = list(dict.fromkeys(names)) or list(known)
    return {name: _load(name, known[name], model, agent_model) for name in chosen}


def places(sources: Sequence[Path]) -> dict[str, Path]:
    """The file that describes each task, by the task's name.

    Raises:
        BadInput: A source holds no task, or two tasks have one name.
    """
    known: dict[str, Path] = {}
    for source in sources:
        for file in _files(source):
            name = file.resolve().parent.name if file.name in (_SPEC, _YAML) else file.stem
            if known.setdefault(name, file).resolve() != file.resolve():
                raise BadInput(f"{file}: {known[name]} is a task {name!r} too; rename one of them")
    return known


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"{source}: there is no such folder or file")
    found = _described(source) or [file for folder in sorted(source.iterdir()) for file in _described(folder)]
    if not found:
        raise BadInput(f"{source}: holds no task; one is a folder with {_SHAPE}")
    return found


def _described(folder: Path) -> list[Path]:
    return [folder / name for name in (_SPEC, _YAML) if (folder / name).is_file()][:1]


def _missing(name: str, sources: Sequence[Path], known: Mapping[str, Path]) -> str:
    empty = next((source / name for source in sources if (source / name).is_dir()), None)
    return f"{empty} lacks {_SHAPE}" if empty else f"there is none of that name{suggestion(name, known)}"


def _load(name: str, file: Path, model: str | None, agent_model: str | None) -> Task:
    if file.name != _SPEC:
        agents = agent_model or model
        loaded = load_task(file, overrides={"model": model, "agent_model": agents})
        return loaded.model_copy(update={"name": name})
    spec = _spec(file)
    return Task(
        name=name,
        description=spec.description,
        inputs=("input",),
        output="answer",
        labels=spec.labels or (),
        metric=spec.metric,
        scoring=spec.scoring,
        reasoning=spec.reasoning,
        splits=_splits(file.parent, spec.labels),
        prompts={"main": Prompt.from_text(spec.description)},
        model=model or _MODEL,
        agent_model=agent_model or model or _MODEL,
    )


def _spec(file: Path) -> _Spec:
    try:
        return _Spec.model_validate_json(read_text(file))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f" {part}:" for part in first["loc"])
        raise BadInput(f"{file}:{place} {first['msg']}; it must be {_SHAPE}") from error


def _splits(folder: Path, labels: Sequence[str] | None) -> Splits:
    """The rows as they stand: one that is in two splits would give answers away.

    Raises:
        BadInput: It does, its answer is not among the labels, or a file is missing or broken.
    """
    found: dict[str, tuple[Example, ...]] = {}
    homes: dict[str, str] = {}
    for split in ("train", "val", "test"):
        loaded = read_examples(folder / f"{split}.jsonl", {"input": "input"}, "expected", limit=sys.maxsize, seed=0)
        for example in loaded.examples:
            if homes.setdefault(example.id, split) != split:
                raise BadInput(f"{loaded.places[example.id]}: stands in {homes[example.id]}.jsonl too; remove one")
        if labels:
            check_answers(loaded.examples, labels, loaded.places)
        found[split] = tuple(loaded.examples)
    return Splits(**found)
