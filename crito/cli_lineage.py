"""The command that tells where the parts of a prompt came from: ``crito lineage``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crito.cli_options import AsJson, Db, RunId
from crito.errors import BadInput
from crito.place import DATABASE

if TYPE_CHECKING:
    from crito.descent import Descent


class Form(StrEnum):
    """What the descent is written as."""

    TEXT = "text"
    MERMAID = "mermaid"
    GRAPHML = "graphml"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(lineage)


def lineage(
    run: RunId,
    *,
    form: Annotated[
        Form,
        typer.Option("--format", help="text: the best prompt's parts; mermaid, graphml: the graph of all candidates."),
    ] = Form.TEXT,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="In place of stdout.")] = None,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show where each part of the best prompt came from, and what it is worth.

    Of a run that has not ended, the best prompt so far.
    """
    from crito.prompt_files import check_folder, save

    if as_json and form is not Form.TEXT:
        raise BadInput(f"--json: holds parts and graph together; give it without --format {form.value}")
    if output is not None:
        check_folder(output)
    from crito.descent import read_descent
    from crito.runs import find, opened

    with opened(db) as database:
        found = read_descent(database, find(database, run).run)
    if output is not None:
        save(output, _written(found, form, as_json=as_json))
    elif form is Form.TEXT and not as_json:
        from crito.report import descent_lines, print_lines, stdout

        print_lines(stdout(), descent_lines(found))
    else:
        typer.echo(_written(found, form, as_json=as_json), nl=False)


def _written(found: Descent, form: Form, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(found.as_json(), indent=2) + "\n"
    if form is Form.TEXT:
        from crito.report import descent_lines

        return "".join(f"{line}\n" for line in descent_lines(found))
    from crito.memory.lineage import graphml, mermaid

    return mermaid(found.graph) if form is Form.MERMAID else graphml(found.graph)
