"""The command line: ``crito optimize``, ``evaluate``, ``resume``, ``runs``, ``show``, ``trace``, ``init``.

What is asked for goes to stdout, everything else to stderr. Heavy parts are imported in the commands that need them.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from crito.cli_bench import register
from crito.cli_lessons import register as register_lessons
from crito.cli_lineage import register as register_lineage
from crito.cli_options import (
    AsJson,
    Db,
    Embed,
    Memory,
    ModelName,
    MostCalls,
    MostSeconds,
    MostTokens,
    MostUsd,
    NoMemory,
    OutputPath,
    Quiet,
    RunId,
    Split,
    TaskPath,
)
from crito.errors import BadInput, CritoError, Interrupted
from crito.place import DATABASE, resume_command
from crito.prompt_files import check_folder, check_output, export, note_calibration, save, written

if TYPE_CHECKING:
    from crito.result import Result
    from crito.task import Budget

_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""Click's, or that of the copy of Click which newer versions of typer carry."""


class _Commands(TyperGroup):
    """Ends with one line on stderr and the error's exit code, never with a traceback of an error made on purpose."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _in_one_line():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except CritoError as error:
        code, message = error.exit_code, str(error)
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # called without anything: its message is the whole help
            raise
        code, message = BadInput.exit_code, f"{error.format_message()} See: {error.ctx.command_path} --help"
    except KeyboardInterrupt:
        code, message = Interrupted.exit_code, "interrupted; what was answered until then is kept in the database"
    else:
        return
    typer.echo(f"crito: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


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
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The method, or a .yaml of yours. By default the task decides.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides the splits and everything random.")] = None,
    budget_calls: MostCalls = None,
    budget_usd: MostUsd = None,
    budget_tokens: MostTokens = None,
    budget_seconds: MostSeconds = None,
    memory: Annotated[
        Memory | None, typer.Option(help="Whose lessons to use and to add to: those beside the database, or your own.")
    ] = None,
    no_memory: NoMemory = False,
    remember_prompts: Annotated[
        bool | None,
        typer.Option("--remember-prompts", help="Keep the best prompt there too, examples and all."),
    ] = None,
    embed: Embed = None,
    db: Db = DATABASE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look for a better prompt.

    It is compared with yours on held-out examples that nothing was chosen by.
    """
    check_output(output)
    from crito.api import aoptimize
    from crito.tools.task_file import load_task

    budget = {"calls": budget_calls, "usd": budget_usd, "tokens": budget_tokens, "seconds": budget_seconds}
    if no_memory and (memory or remember_prompts or embed):
        raise BadInput("--no-memory: does not go with --memory, --remember-prompts or --embed; leave one of them out")
    chosen = {"memory": "off" if no_memory else memory and memory.value, "remember_prompts": remember_prompts}
    names = {"model": model, "agent_model": agent_model, "embed": embed, "seed": seed}
    loaded = load_task(task, overrides={**names, **chosen, "budget": _given(budget)})
    _make_importable(loaded.metric, task.parent)
    _search(partial(aoptimize, loaded, preset=preset), db, output, as_json=as_json, quiet=quiet)


@app.command()
def resume(
    run: RunId,
    *,
    output: OutputPath = None,
    budget_calls: MostCalls = None,
    budget_usd: MostUsd = None,
    budget_tokens: MostTokens = None,
    budget_seconds: MostSeconds = None,
    no_memory: NoMemory = False,
    db: Db = DATABASE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run where it stopped.

    A budget that was given replaces the run's, over all of its starts. A metric module:function is looked for in the
    current folder.
    """
    check_output(output)
    budget = {"calls": budget_calls, "usd": budget_usd, "tokens": budget_tokens, "seconds": budget_seconds}
    from crito.api import aresume
    from crito.runs import find, opened

    with opened(db) as database:
        stopped = find(database, run)
    _make_importable(stopped.metric, Path())
    limits = _budget(_given(budget))
    go_on = partial(aresume, stopped.run, budget=limits, memory="off" if no_memory else None)
    _search(go_on, db, output, as_json=as_json, quiet=quiet)


@app.command()
def evaluate(
    task: TaskPath,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="A .txt, .md or .yaml file, or '-' for stdin; else the task's own."),
    ] = None,
    *,
    split: Annotated[Split, typer.Option(help="Which examples to score on.")] = Split.ALL,
    robustness: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Also score N variants of the prompt that mean the same (10, say), on 30 of the examples at most.",
        ),
    ] = 0,
    model: ModelName = None,
    db: Db = DATABASE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a prompt on the task's examples."""
    import asyncio

    from crito.api import aevaluate
    from crito.progress import Progress
    from crito.report import evaluation_lines, print_lines, stdout
    from crito.tools.task_file import load_task

    loaded = load_task(task, overrides={"model": model, "prompt": written(prompt)}, allow_few=True)
    _make_importable(loaded.metric, task.parent)
    with Progress(quiet=quiet) as progress:
        evaluation = asyncio.run(
            aevaluate(loaded, split=split.value, robustness=robustness, database=db, listener=progress)
        )
    if as_json:
        _print_json(evaluation.model_dump(mode="json"))
    else:
        print_lines(stdout(), evaluation_lines(evaluation))


@app.command()
def runs(*, db: Db = DATABASE, as_json: AsJson = False) -> None:
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
    db: Db = DATABASE,
    as_json: AsJson = False,
) -> None:
    """Show what came of a run.

    The verdict, the bill, the way to the best prompt, and the prompt.
    """
    check_output(output)
    from crito.runs import find, opened

    with opened(db) as database:
        found = find(database, run)
    if found.result is not None and (prompt or messages):
        best = found.result.prompt
        export(best, output)
        note_calibration(best, "--messages" if messages else "--prompt")
        _print_json(best.to_messages()) if messages else typer.echo(best.to_text())
    elif found.result is not None:
        _finish(found.result, db, output, as_json=as_json)
    elif prompt or messages or output:
        command = resume_command(found.run, db)
        raise BadInput(f"run {found.run} is not done, so it has no prompt yet; go on with: {command}")
    elif as_json:
        _print_json(found.as_json())
    else:
        from crito.calls import by_role, read_calls
        from crito.report import print_lines, status_lines, stdout

        with opened(db) as database:
            bill = by_role(read_calls(database, found.run))
        print_lines(stdout(), status_lines(found, bill, db))


@app.command()
def trace(
    run: RunId,
    *,
    calls: Annotated[bool, typer.Option("--calls", help="List every call instead.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed calls instead.")] = False,
    db: Db = DATABASE,
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
        print_lines(stdout(), calls_lines(listed) if calls or failed else trace_lines(found, db))


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
    check_folder(output)
    elsewhere = output.resolve().parent != Path.cwd() and "://" not in data
    text = starter(Path(data).resolve() if elsewhere else data, model=model)
    save(output, text)
    if as_json:
        _print_json({"task": str(output)})
    else:
        typer.echo(f"{output} is written; check it, then run: crito optimize {output}")


register(app)
register_lessons(app)
register_lineage(app)


def _search(
    work: Callable[..., Coroutine[Any, Any, Result]], db: Path, output: Path | None, *, as_json: bool, quiet: bool
) -> None:
    """Start or resume a run under Ctrl-C, showing its progress, and hand out its result."""
    from crito.interrupt import run_stoppably
    from crito.progress import Progress

    with Progress(quiet=quiet) as progress:
        try:
            result = run_stoppably(lambda started: work(database=db, listener=progress, started=started), progress.say)
        except Interrupted as error:
            if "crito resume" in str(error):
                raise
            raise Interrupted(f"{error}; go on with: {resume_command(progress.run, db)}") from None
    _finish(result, db, output, as_json=as_json)


def _finish(result: Result, db: Path, output: Path | None, *, as_json: bool) -> None:
    export(result.prompt, output)
    if as_json:
        _print_json(result.as_json())
        return
    from crito.calls import by_role, read_calls
    from crito.report import print_lines, result_lines, stdout
    from crito.runs import opened

    with opened(db) as database:
        bill = by_role(read_calls(database, result.run))
    print_lines(stdout(), result_lines(result, bill, db))


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _given(options: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in options.items() if value is not None} or None


def _budget(limits: dict[str, Any] | None) -> Budget | None:
    from crito.task import Budget

    for key, value in (limits or {}).items():
        if not 0 < value < math.inf:
            raise BadInput(f"--budget-{key} {value:g}: must be above 0, and finite")
    return Budget(**limits) if limits else None


def _make_importable(metric: str, folder: Path) -> None:
    """Let a metric ``module:function`` be found beside TASK.yaml."""
    if ":" in metric:
        sys.path.insert(0, os.fspath(folder.resolve()))
