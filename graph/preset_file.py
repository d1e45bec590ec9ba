"""A preset of the user's own, as YAML: every setting of a search without a line of code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from crito.config import mapping_of, suggestion
from crito.errors import BadInput
from crito.graph.preset import Preset, Stage
from crito.tools.datasets import read_text

SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[\w.-]+")
_CURE = "crito presets default shows one to begin with"


def read_preset(path: Path) -> Preset:
    """The preset in a file; without a ``name`` it has the file's.

    Raises:
        BadInput: The file cannot be read, is not valid YAML, or a key or value of it is none of a preset's.
    """
    given = mapping_of(read_text(path), str(path), cure=_CURE)
    try:
        found = Preset.model_validate({"name": path.stem, **given})
    except ValidationError as error:
        raise BadInput(f"{path}: {_problem(error)}; {_CURE}") from error
    if not _NAME.fullmatch(found.name):
        raise BadInput(f"{path}: name: {found.name!r} is to be letters, digits, '.', '-' and '_'; correct it")
    return found


def as_yaml(preset: Preset) -> str:
    """A preset as the text of such a file, with every setting but its name: what is changed is another method."""
    return yaml.safe_dump(
        preset.model_dump(mode="json", exclude={"name"}), sort_keys=False, allow_unicode=True, width=100
    )


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    *above, key = first["loc"] or ("preset",)
    if first["type"] == "extra_forbidden":
        shape: type[BaseModel] = Stage if above else Preset
        where = "".join(f"{part}: " for part in above[:1])
        return f"{where}unknown key {key!r}{suggestion(str(key), shape.model_fields)}"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc'])) or 'settings'}: {said}"
