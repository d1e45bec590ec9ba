"""The command line: ``crito optimize``, ``evaluate``, ``resume``, ``runs``, ``show``, ``trace``, ``init``.

What is asked for goes to stdout, everything else to stderr. Heavy parts are imported in the commands that need them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from crito.errors import BadInput, CritoError, Interrupted

if TYPE_CHECKING:
    from crito.interrupt import Started
    from crito.progress import Progress
    from crito.prompt import Prompt
    from crito.result import Result

_TEXTS, _YAMLS = (".txt", ".md"), (".yaml", ".yml")


class _Commands(TyperGroup):
    """Ends with one line on stderr and the error's exit code, never with a traceback of an error made on purpose."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CritoError as error:
            code, message = error.exit_code, str(error)
        except KeyboardInterrupt:
            code, message = Interrupted.exit_code, "interrupted; what was answered until then is kept in the database"
        typer.echo(f"crito: {' '.join(message.split())}", err=True)
        raise typer.Exit(code)


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
_DB = Path(".crito/crito.db")

app = typer.Typer(
    cls=_Commands,
    name="crito",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the command ``crito``."""
    app(prog_name="crito")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("crito"))
        raise typer.Exit


@app.callback()
def crito(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Improve a prompt for a task, with held-out evidence, a bill and a trace."""


@app.command()
def optimize(
    task: TaskPath,
    *,
    output: OutputPath = None,
    model: ModelName = None,
    agent_model: Annotated[
        str | None, typer.Option("--agent-model", metavar="NAME", help="In place of the task's agent_model.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides the splits and everything random.")] = None,
    budget_calls: Annotated[int | None, typer.Option(metavar="N", help="The most paid calls.")] = None,
    budget_usd: Annotated[float | None, typer.Option(metavar="USD", help="The most US dollars.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(metavar="N", help="The most tokens, in and out.")] = None,
    budget_seconds: Annotated[float | None, typer.Option(metavar="S", help="The most seconds.")] = None,
    db: Db = _DB,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look for a better prompt.

    It is compared with yours on held-out examples that nothing was chosen by.
    """
    _check_output(output)
    from crito.api import aoptimize
    from crito.progress import Progress
    from crito.tools.task_file import load_task

    budget = {"calls": budget_calls, "usd": budget_usd, "tokens": budget_tokens, "seconds": budget_seconds}
    loaded = load_task(
        task, overrides={"model": model, "agent_model": agent_model, "seed": seed, "budget": _given(budget)}
    )
    _make_importable(loaded.metric, task.parent)
    with Progress(quiet=quiet) as progress:
        result = _run(lambda started: aoptimize(loaded, database=db, listener=progress, started=started), progress)
    _finish(result, db, output, as_json=as_json)


@app.command()
def resume(run: RunId, output: OutputPath = None, db: Db = _DB, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Go on with a run where it stopped.

    A metric module:function is looked for in the current folder.
    """
    _check_output(output)
    from crito.api import aresume
    from crito.progress import Progress
    from crito.runs import find, opened

    with opened(db) as database:
        stopped = find(database, run)
    _make_importable(stopped.metric, Path())
    with Progress(quiet=quiet) as progress:
        result = _run(lambda started: aresume(stopped.run, database=db, listener=progress, started=started), progress)
    _finish(result, db, output, as_json=as_json)


@app.command()
def evaluate(
    task: TaskPath,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="A .txt, .md or .yaml file, or '-' for stdin; else the task's own."),
    ] = None,
    *,
    split: Annotated[Split, typer.Option(help="Which examples to score on.")] = Split.ALL,
    model: ModelName = None,
    db: Db = _DB,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a prompt on the task's examples."""
    import asyncio

    from crito.api import aevaluate
    from crito.progress import Progress
    from crito.report import evaluation_lines, print_lines, stdout
    from crito.tools.task_file import load_task

    loaded = load_task(task, overrides={"model": model, "prompt": _written(prompt)}, allow_few=True)
    _make_importable(loaded.metric, task.parent)
    with Progress(quiet=quiet) as progress:
        evaluation = asyncio.run(aevaluate(loaded, split=split.value, database=db, listener=progress))
    if as_json:
        _print_json(evaluation.model_dump(mode="json"))
    else:
        print_lines(stdout(), evaluation_lines(evaluation))


@app.command()
def runs(*, db: Db = _DB, as_json: AsJson = False) -> None:
    """List the runs, the newest first."""
    from crito.report import print_lines, runs_lines, stdout
    from crito.runs import opened, summaries

    with opened(db) as database:
        found = summaries(database)
    if as_json:
        _print_json([summary.as_json() for summary in found])
    else:
        print_lines(stdout(), runs_lines(found))


@app.command()
def show(
    run: RunId,
    *,
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the prompt's text and nothing else.")] = False,
    messages: Annotated[bool, typer.Option("--messages", help="Print the prompt as JSON chat messages.")] = False,
    output: OutputPath = None,
    db: Db = _DB,
    as_json: AsJson = False,
) -> None:
    """Show what came of a run.

    The verdict, the bill, the way to the best prompt, and the prompt.
    """
    _check_output(output)
    from crito.runs import find, opened

    with opened(db) as database:
        found = find(database, run)
    if found.result is not None and (prompt or messages):
        best = found.result.prompt
        _export(best, output)
        _print_json(best.to_messages()) if messages else typer.echo(best.to_text())
    elif found.result is not None:
        _finish(found.result, db, output, as_json=as_json)
    elif prompt or messages or output:
        raise BadInput(f"run {found.run} is not done, so it has no prompt yet; go on with: crito resume {found.run}")
    elif as_json:
        _print_json(found.as_json())
    else:
        from crito.report import print_lines, status_lines, stdout
        from crito.trace import by_role, read_calls

        with opened(db) as database:
            bill = by_role(read_calls(database, found.run))
        print_lines(stdout(), status_lines(found, bill))


@app.command()
def trace(
    run: RunId,
    *,
    calls: Annotated[bool, typer.Option("--calls", help="List every call instead.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed calls instead.")] = False,
    db: Db = _DB,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a run.

    Round by round: who proposed what and why, what became of it, and what it cost.
    """
    from crito.report import calls_lines, print_lines, stdout, trace_lines
    from crito.runs import find, opened
    from crito.trace import read_trace

    with opened(db) as database:
        found = read_trace(database, find(database, run).run)
    listed = found.failures if failed else found.calls
    if as_json:
        _print_json([c.model_dump(mode="json") for c in listed] if calls or failed else found.model_dump(mode="json"))
    else:
        print_lines(stdout(), calls_lines(listed) if calls or failed else trace_lines(found))


@app.command()
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file, such as examples.csv or examples.jsonl.")],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The task file to write.")] = Path(
        "TASK.yaml"
    ),
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The model to name in it.")] = "local/smollm2",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a TASK.yaml for a data file."""
    from crito.tools.task_starter import starter

    if output.exists() and not force:
        raise BadInput(f"{output}: is there already; name another with --output, or overwrite it with --force")
    _check_folder(output)
    elsewhere = output.resolve().parent != Path.cwd() and "://" not in data
    text = starter(Path(data).resolve() if elsewhere else data, model=model)
    _save(output, text)
    if as_json:
        _print_json({"task": str(output)})
    else:
        typer.echo(f"{output} is written; check it, then run: crito optimize {output}")


def _run(work: Callable[[Started], Coroutine[Any, Any, Result]], progress: Progress) -> Result:
    from crito.interrupt import run_stoppably

    try:
        return run_stoppably(work, progress.say)
    except Interrupted as error:
        if "crito resume" in str(error):
            raise
        raise Interrupted(f"{error}; go on with: crito resume {progress.run}") from None


def _finish(result: Result, db: Path, output: Path | None, *, as_json: bool) -> None:
    _export(result.prompt, output)
    if as_json:
        _print_json(result.as_json())
        return
    from crito.report import print_lines, result_lines, stdout
    from crito.runs import opened
    from crito.trace import by_role, read_calls

    with opened(db) as database:
        bill = by_role(read_calls(database, result.run))
    print_lines(stdout(), result_lines(result, bill))


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _given(options: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in options.items() if value is not None} or None


def _make_importable(metric: str, folder: Path) -> None:
    """Let a metric ``module:function`` be found beside TASK.yaml."""
    if ":" in metric:
        sys.path.insert(0, os.fspath(folder.resolve()))


def _written(prompt: str | None) -> str | None:
    """What the key ``prompt`` of a task file holds for this argument: a text or the path of a file."""
    if prompt is None:
        return None
    if prompt == "-":
        return _piped()
    if Path(prompt).suffix not in (*_TEXTS, *_YAMLS):
        raise BadInput(f"{prompt}: PROMPT must be a .txt, .md or .yaml file, or '-' for stdin")
    return os.fspath(Path(prompt).resolve())


def _piped() -> str:
    try:
        text = typer.get_binary_stream("stdin").read().decode()
    except UnicodeDecodeError:
        raise BadInput("stdin: is not UTF-8; convert the prompt first") from None
    if not text.strip():
        raise BadInput("stdin: is empty; pipe the prompt's text into it")
    return text


def _check_output(path: Path | None) -> None:
    """Refuse an --output that cannot be written, before anything is paid for."""
    if path is None:
        return
    if path.suffix not in (*_TEXTS, *_YAMLS, ".json"):
        raise BadInput(f"--output {path}: must end in .yaml (every part), .txt (text) or .json (messages)")
    _check_folder(path)


def _check_folder(path: Path) -> None:
    if not path.resolve().parent.is_dir():
        raise BadInput(f"--output {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise BadInput(f"--output {path}: is a folder; name a file")


def _export(prompt: Prompt, path: Path | None) -> None:
    if path is None:
        return
    if path.suffix in _YAMLS:
        text = prompt.to_yaml()
    elif path.suffix == ".json":
        text = json.dumps(prompt.to_messages(), indent=2)
    else:
        text = prompt.to_text()
    _save(path, text)


def _save(path: Path, text: str) -> None:
    """Write a text byte by byte as it is."""
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise BadInput(f"--output {path}: cannot be written ({error.strerror}); name another file") from error
