"""Commands for what earlier runs learned: ``crito lessons list | show | export | import | forget``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from crito.cli_options import AsJson, Db, Memory
from crito.errors import BadInput
from crito.place import DATABASE, lessons_of

if TYPE_CHECKING:
    from crito.memory.lesson_store import LessonStore
    from crito.memory.lessons import Lesson, Observation

_Made = TypeVar("_Made")
Scope = Annotated[
    Memory, typer.Option("--memory", help="The project's lessons, beside the run database, or the user's own.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    lessons = typer.Typer(
        name="lessons", help="What earlier runs learned.", no_args_is_help=True, rich_markup_mode=None
    )
    lessons.command("list")(list_lessons)
    lessons.command("show")(show)
    lessons.command("export")(export)
    lessons.command("import")(import_lessons)
    lessons.command("forget")(forget)
    app.add_typer(lessons)


def list_lessons(*, memory: Scope = Memory.PROJECT, db: Db = DATABASE, as_json: AsJson = False) -> None:
    """List the lessons, the latest first."""
    found = list(reversed(_known(memory, db)))
    if as_json:
        _print_json([_as_json(lesson) for lesson in found])
        return
    from crito.report import lessons_lines, print_lines, stdout

    print_lines(stdout(), lessons_lines(found))


def show(
    lesson: Annotated[str, typer.Argument(metavar="LESSON", help="Id of a lesson, or the beginning of one.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show a lesson with every effect that was measured."""
    matching = [known for known in _known(memory, db) if known.id.startswith(lesson)]
    if len(matching) != 1:
        what = "is not the beginning of any lesson" if not matching else f"fits {len(matching)} lessons"
        raise BadInput(f"lesson: {lesson!r} {what}; see: crito lessons list")
    if as_json:
        _print_json({**_as_json(matching[0]), "observations": [o.model_dump() for o in matching[0].observations]})
        return
    from crito.report import lesson_lines, print_lines, stdout

    print_lines(stdout(), lesson_lines(matching[0]))


def export(
    *,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="In place of stdout.")] = None,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
) -> None:
    """Write every observation as one line of JSON, for ``crito lessons import`` elsewhere."""
    from crito.prompt_files import check_folder, save

    if output is not None:
        check_folder(output)
    lines = [observation.model_dump_json() for lesson in _known(memory, db) for observation in lesson.observations]
    if output is None:
        typer.echo("\n".join(lines))
    else:
        save(output, "".join(f"{line}\n" for line in lines))


def import_lessons(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What crito lessons export wrote.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Add the observations of a file; all of them, or, if a line is malformed, none."""
    given = _read(file)
    _in(memory, db, lambda store: store.write(*given), make=True)
    _print_json({"imported": len(given)}) if as_json else typer.echo(f"{len(given)} observations were added")


def forget(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or 'all'.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Remove everything that a run left in memory, or all there is."""
    gone = _in(memory, db, lambda store: store.forget(None if run == "all" else run))
    if not gone and run != "all":
        raise BadInput(f"run: the memory holds nothing of {run!r}; see the runs of: crito lessons list --json")
    _print_json({"forgotten": gone}) if as_json else typer.echo(f"{gone} records were removed")


def _known(memory: Memory, db: Path) -> list[Lesson]:
    from crito.memory.lessons import Observation, lessons

    return lessons(_in(memory, db, lambda store: store.read(Observation)))


def _in(memory: Memory, db: Path, work: Callable[[LessonStore], Awaitable[_Made]], *, make: bool = False) -> _Made:
    """What some work on the store gives; a store that is not there is not made for reading."""
    from crito.memory.lesson_store import opened

    path = lessons_of(memory.value, db)
    if not make and not path.exists():
        raise BadInput(f"{path}: there are no lessons here yet; a finished run leaves some")

    async def inside() -> _Made:
        async with opened(path) as store:
            return await work(store)

    return asyncio.run(inside())


def _read(file: Path) -> list[Observation]:
    from pydantic import ValidationError

    from crito.memory.lessons import Observation

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read ({error}); give what crito lessons export wrote") from error
    found, faults = [], []
    for number, line in enumerate(lines, start=1):
        try:
            found += [Observation.model_validate_json(line)] if line.strip() else []
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            fault = f"line {number}: {f'{where}: ' if where else ''}{first['msg']}"
            faults.append("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in fault))
    if faults:
        raise BadInput(f"{file}: nothing was added; {'; '.join(faults)}")
    return found


def _as_json(lesson: Lesson) -> dict[str, Any]:
    low, high = lesson.interval
    return {
        "id": lesson.id,
        "kind": lesson.latest.kind,
        "text": lesson.text,
        "label": lesson.latest.label,
        "section": lesson.latest.section,
        "gain": lesson.gain,
        "interval": [low, high],
        "n": lesson.n,
        "confirmed": lesson.confirmed,
        "refuted": lesson.refuted,
        "runs": list(lesson.runs),
    }


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
