"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Memory(StrEnum):
    """Whose lessons a run uses and adds to."""

    PROJECT = "project"
    USER = "user"


class Split(StrEnum):
    """Which examples to score on."""

    ALL = "all"
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


TaskPath = Annotated[Path, typer.Argument(metavar="TASK.yaml", help="The task file; crito init writes one.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of one, or 'latest'.")]
Db = Annotated[Path, typer.Option("--db", metavar="FILE", help="The run database.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
ModelName = Annotated[str | None, typer.Option("--model", metavar="NAME", help="In place of the task's model.")]
OutputPath = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", help="Write the prompt: .yaml (all of it), .txt (text), .json (messages)."
    ),
]
NoMemory = Annotated[bool, typer.Option("--no-memory", help="Neither use nor add to what earlier runs learned.")]
Embed = Annotated[
    str | None, typer.Option("--embed", metavar="MODEL", help="Find lessons by their meaning too, with its vectors.")
]
MostCalls = Annotated[int | None, typer.Option(metavar="N", help="The most paid calls.")]
MostUsd = Annotated[float | None, typer.Option(metavar="USD", help="The most US dollars.")]
MostTokens = Annotated[int | None, typer.Option(metavar="N", help="The most tokens, in and out.")]
MostSeconds = Annotated[float | None, typer.Option(metavar="S", help="The most seconds of one start.")]
