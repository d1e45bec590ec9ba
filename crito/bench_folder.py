"""The folder of a bench: its terms, one line per finished cell, and a database per run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from crito.bench_cells import Cell, CellResult
from crito.errors import BadInput
from crito.tools.run_lock import run_lock

_TERMS = "bench.json"


class Terms(BaseModel):
    """What makes two benches the same one; presets and seeds may be added to a bench.

    Attributes:
        budget: Limit of each search, in words.
        models: Names of the target's and the agents' model, by task.
        data: Hash of each task.
        presets: Settings of each preset.
    """

    model_config = ConfigDict(frozen=True)
    budget: str
    models: dict[str, tuple[str, str]]
    data: dict[str, str]
    presets: dict[str, dict[str, Any]]

    def conflict(self, other: Terms) -> str | None:
        """The first term on which this bench and ``other`` do not agree, in words; None where they do."""
        if self.data.keys() != other.data.keys():
            return f"its tasks are {', '.join(sorted(self.data))}, not {', '.join(sorted(other.data))}"
        if self.budget != other.budget:
            return f"its budget is {self.budget}, not {other.budget}"
        for task, models in self.models.items():
            if models != other.models[task]:
                return f"its models for {task} are {' and '.join(models)}, not {' and '.join(other.models[task])}"
        changed = [f"task {name} has" for name in self.data if self.data[name] != other.data[name]]
        shared = self.presets.keys() & other.presets.keys()
        changed += [f"preset {name} has" for name in sorted(shared) if self.presets[name] != other.presets[name]]
        return f"{changed[0]} changed since" if changed else None


class BenchFolder:
    """The folder of one bench: its terms, a result per finished cell, and a database per run.

    Args:
        path: The folder; nothing is read or written before it is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def results(self) -> Path:
        """The file with one line per finished cell."""
        return self.path / "results.jsonl"

    def database(self, cell: Cell) -> Path:
        """The database of a cell's run; no name of a preset has the sign that parts them."""
        return self._runs / f"{cell.preset}~{cell.task}~{cell.seed}.db"

    def check(self, terms: Terms) -> Terms:
        """The terms with those of the bench that the folder holds; nothing is written.

        Raises:
            BadInput: It holds another bench, runs of an unknown one, or a file that is not one.
        """
        file = self.path / _TERMS
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path}: is not a folder; name another with --output")
        if not file.exists():
            if self._runs.exists():
                cure = "name another folder with --output, or remove them"
                raise BadInput(f"{self.path}: has {self._runs.name} and no {_TERMS} that says of which bench; {cure}")
            return terms
        try:
            held = Terms.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise BadInput(f"{file}: cannot be read as a bench; name another folder with --output") from error
        conflict = held.conflict(terms)
        if conflict is not None:
            raise BadInput(f"{self.path}: holds another bench: {conflict}; name another folder with --output")
        return terms.model_copy(update={"presets": {**held.presets, **terms.presets}})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep every other process from it.

        Raises:
            BadInput: It cannot be made, or another process is at work on it.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(run_lock(self.results, "bench"))
            except OSError as error:
                raise self._unwritable(error) from error
            yield

    def begin(self, terms: Terms) -> None:
        """Write down the terms.

        Raises:
            BadInput: They cannot be written.
        """
        self.replace(_TERMS, terms.model_dump_json(indent=2))

    def read(self) -> dict[Cell, CellResult]:
        """Every finished cell.

        Raises:
            BadInput: They cannot be read.
        """
        if not self.results.exists():
            return {}
        try:
            lines = self.results.read_text(encoding="utf-8").splitlines()
            found = [CellResult.model_validate_json(line) for line in lines]
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            cure = "remove it: finished runs are read again from their databases"
            raise BadInput(f"{self.results}: cannot be read as results; {cure}") from error
        return {result.cell: result for result in found}

    def write(self, found: Mapping[Cell, CellResult]) -> None:
        """Keep finished cells in place of those that were there.

        Raises:
            BadInput: They cannot be written.
        """
        self.replace(self.results.name, "".join(f"{result.model_dump_json()}\n" for result in found.values()))

    def replace(self, name: str, text: str) -> None:
        """Write a file as a whole: a process that is killed leaves the old one.

        Raises:
            BadInput: It cannot be written.
        """
        fresh = self.path / f"{name}.new"
        try:
            fresh.write_text(text, encoding="utf-8")
            os.replace(fresh, self.path / name)  # noqa: PTH105 - one step, also over a file that is there
        except OSError as error:
            raise self._unwritable(error) from error

    @property
    def _runs(self) -> Path:
        return self.path / "runs"

    def _unwritable(self, error: OSError) -> BadInput:
        return BadInput(
            f"{self.path}: cannot be written ({error.strerror}); mend that, or name another folder with --output"
        )
