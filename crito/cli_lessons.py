"""Commands for what earlier runs learned: ``crito lessons list | show | operators | export | import | forget``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from crito.cli_options import AsJson, Db, Memory
from crito.errors import BadInput
from crito.place import DATABASE, lessons_of

if TYPE_CHECKING:
    from crito.memory.lesson_store import LessonStore
    from crito.memory.lessons import Lesson
    from crito.memory.proven import Proven
    from crito.memory.record import Record

_SHOWN = 5
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
    lessons.command("operators")(operators)
    lessons.command("export")(export)
    lessons.command("import")(import_lessons)
    lessons.command("forget")(forget)
    app.add_typer(lessons)


def list_lessons(*, memory: Scope = Memory.PROJECT, db: Db = DATABASE, as_json: AsJson = False) -> None:
    """List the lessons and, where they were kept, the proven prompts, each the latest first."""
    found = _in(memory, db, _known)
    if as_json:
        _print_json([_as_json(known) for known in found])
        return
    from crito.lesson_report import lessons_lines
    from crito.report import print_lines, stdout

    print_lines(stdout(), lessons_lines(found))


def show(
    lesson: Annotated[str, typer.Argument(metavar="LESSON", help="Id of a lesson, or the beginning of one.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show a lesson, or a proven prompt by the id of its run, with every effect that was measured."""
    begun = [known for known in _in(memory, db, _known) if known.id.startswith(lesson)]
    matching = [known for known in begun if known.id == lesson] or begun
    if len(matching) != 1:
        what = "is not the beginning of any lesson" if not matching else f"fits {len(matching)} lessons"
        raise BadInput(f"lesson: {lesson!r} {what}; see: crito lessons list")
    if as_json:
        _print_json({**_as_json(matching[0]), **_details(matching[0])})
        return
    from crito.lesson_report import lesson_lines, proven_lines
    from crito.memory.lessons import Lesson
    from crito.report import print_lines, stdout

    known = matching[0]
    print_lines(stdout(), lesson_lines(known) if isinstance(known, Lesson) else proven_lines(known))


def operators(*, memory: Scope = Memory.PROJECT, db: Db = DATABASE, as_json: AsJson = False) -> None:
    """Show what the steps of each operator earned, which later runs begin their bandit with."""
    from crito.memory.operator_use import OperatorUse

    uses = _in(memory, db, lambda store: store.read(OperatorUse))
    if as_json:
        _print_json([use.model_dump(mode="json") for use in uses])
        return
    from crito.lesson_report import operators_lines
    from crito.report import print_lines, stdout

    print_lines(stdout(), operators_lines(uses))


def export(
    *,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="In place of stdout.")] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Proven prompts too, with the examples that they show.")
    ] = False,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
) -> None:
    """Write all records as lines of JSON, for ``crito lessons import`` elsewhere; proven prompts on request."""
    from crito.memory.exchange import line_of
    from crito.prompt_files import check_folder, save

    if output is not None:
        check_folder(output)
    records = _in(memory, db, lambda store: store.all(prompts=prompts))
    text = "".join(f"{line_of(record)}\n" for record in records)
    typer.echo(text, nl=False) if output is None else save(output, text)


def import_lessons(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What crito lessons export wrote.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Add the records of a file; all of them, or, if a line is malformed, none. What is here is never changed."""
    given = _read(file)
    added = _in(memory, db, lambda store: store.add(*given), make=True)
    if as_json:
        _print_json(added._asdict())
        return
    left = f"; {added.differing} left out, as they differ from what is here" if added.differing else ""
    typer.echo(f"{added.new} records were added, {added.known} were here already{left}")


def forget(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of one, 'latest', or 'all'.")],
    *,
    memory: Scope = Memory.PROJECT,
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Remove everything that a run left in memory, or all there is."""
    gone = _in(memory, db, lambda store: _forgotten(store, run))
    _print_json({"forgotten": gone}) if as_json else typer.echo(f"{gone} records were removed")


async def _forgotten(store: LessonStore, name: str) -> int:
    if name == "all":
        return await store.forget()
    known = await store.runs()
    meant = known[-1:] if name == "latest" else [run for run in known if name and run.startswith(name)]
    exact = [run for run in meant if run == name] or meant
    if len(exact) != 1:
        what = f"may mean {', '.join(exact)}; give more of its id" if exact else "left nothing in this memory"
        latest = f"; the latest that did are {', '.join(known[-_SHOWN:])}" if known and not exact else ""
        raise BadInput(f"run: {name!r} {what}{latest}")
    return await store.forget(exact[0])


async def _known(store: LessonStore) -> list[Lesson | Proven]:
    """All lessons and proven prompts, the latest of each first."""
    from crito.memory.lessons import Observation, lessons
    from crito.memory.proven import ProvenPrompt, Trial, proven

    prompts = proven(await store.read(ProvenPrompt), await store.read(Trial))
    return [*reversed(lessons(await store.read(Observation))), *reversed(prompts)]


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


def _read(file: Path) -> list[Record]:
    from crito.memory.exchange import record_of

    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read ({error}); give what crito lessons export wrote") from error
    found, faults = [], []
    for number, line in enumerate(lines, start=1):
        try:
            found += [record_of(line)] if line.strip() else []
        except ValueError as error:
            fault = f"line {number}: {error}"
            faults.append("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in fault))
    if faults:
        raise BadInput(f"{file}: nothing was added; {'; '.join(faults)}")
    return found


def _as_json(known: Lesson | Proven) -> dict[str, Any]:
    from crito.memory.proven import Proven

    about = {"id": known.id, "text": known.text, "promise": known.promise(time.time()), "seen": known.seen}
    about |= {"kind": known.kind, "gain": known.gain, "n": known.n, "refuted": known.refuted, "runs": list(known.runs)}
    if isinstance(known, Proven):
        return about
    told = {"interval": list(known.interval), "confirmed": known.confirmed}
    return {**about, **told, "label": known.latest.label, "section": known.latest.section}


def _details(known: Lesson | Proven) -> dict[str, Any]:
    from crito.memory.proven import Proven

    if isinstance(known, Proven):
        return {"prompt": known.prompt.prompt.to_text(), "trials": [t.model_dump(mode="json") for t in known.trials]}
    return {"observations": [o.model_dump(mode="json") for o in known.observations]}


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
