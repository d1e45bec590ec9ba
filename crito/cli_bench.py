"""Commands that compare methods: ``crito bench`` and ``crito presets``."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crito.cli_options import AsJson, Quiet
from crito.errors import BadInput, Interrupted, ProviderFailure

if TYPE_CHECKING:
    from crito.bench import Bench
    from crito.bench_cells import CellResult
    from crito.bench_figures import Figures
    from crito.bench_folder import BenchFolder
    from crito.graph.preset import Preset
    from crito.task import Task

_OUTPUT = Path(".crito/bench")
_EXAMPLES, _SEARCH = 50, 600
"""Validation examples and target calls of the search that `crito presets` reckons with."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(bench)
    app.command()(presets)


def bench(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER", help="Tasks: folders with task.json and train|val|test.jsonl, or TASK.yaml files."
        ),
    ],
    *,
    presets: Annotated[
        str, typer.Option(metavar="A,B", help="Methods; default-demos is default without demos. See: crito presets")
    ] = "default",
    tasks: Annotated[str, typer.Option(metavar="X,Y", help="Tasks by folder name; all by default.")] = "",
    seeds: Annotated[str, typer.Option(metavar="N,M", help="One run for each.")] = "0,1,2",
    calls: Annotated[int | None, typer.Option(metavar="N", help="The most calls of one search.")] = None,
    tokens: Annotated[int | None, typer.Option(metavar="N", help="The most tokens of one search, in and out.")] = None,
    usd: Annotated[float | None, typer.Option(metavar="USD", help="The most US dollars of one search.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="In place of the tasks' models.")] = None,
    agent_model: Annotated[str | None, typer.Option(metavar="NAME", help="Who speaks for the agents.")] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the bench is kept, and goes on.")] = _OUTPUT,
    parallel: Annotated[int, typer.Option(metavar="N", help="Runs at the same time.", min=1)] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods on your tasks, each search with the same budget.

    The verdicts on the whole test splits come on top of it. Started again, it goes on where it stopped.
    """
    limits = _limits({"calls": calls, "tokens": tokens, "usd": usd})
    from crito.bench import Bench, exact
    from crito.bench_folder import BenchFolder
    from crito.bench_tasks import places
    from crito.bench_tasks import tasks as load
    from crito.graph.presets import preset

    named = [preset(name) for name in dict.fromkeys(_listed(presets, "--presets"))]
    chosen = {method.name: method for method in named}
    if len(chosen) < len(named):
        raise BadInput("--presets: two of them have the same name; give one another 'name'")
    loaded = load(folders, _names(tasks), model=model, agent_model=agent_model)
    _make_importable(loaded, places(folders))
    wanted = Bench(presets=chosen, tasks=loaded, seeds=_seeds(seeds), limits=limits)
    folder = BenchFolder(output)
    folder.check(wanted.terms)
    wanted.check()
    given: dict[str, object] = {"presets": presets, "tasks": tasks, "seeds": seeds}
    given |= {unit: exact(limit) for unit, limit in limits.items()}
    given |= {"model": model, "agent-model": agent_model, "output": output, "parallel": parallel}
    found = _measure(wanted, folder, parallel=parallel, quiet=quiet, again=_command(folders, given))
    _report(wanted, found, folder, as_json=as_json)


def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one as a file for --preset.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the methods that a search can follow, with their settings; with a name, print one as YAML to start from."""
    from crito.graph.ablation import PARTS
    from crito.graph.preset_file import as_yaml
    from crito.graph.presets import PRESETS
    from crito.graph.presets import preset as by_name

    if name is not None:
        found = by_name(name)
        typer.echo(json.dumps(found.model_dump(mode="json"), indent=2) if as_json else as_yaml(found), nl=as_json)
        return
    if as_json:
        told = [{**p.model_dump(mode="json"), **_calls(p), "recalls": p.recalls} for p in PRESETS.values()]
        typer.echo(json.dumps(told, indent=2))
        return
    for preset in PRESETS.values():
        typer.echo("\n".join(_described(preset)))
    typer.echo(f"Without a part: as in default-{PARTS[0]}. Parts: {', '.join(PARTS)}")


def _described(preset: Preset) -> list[str]:
    """Name and words of a preset, then its stages and the settings in which it differs from the ordinary."""
    calls = _calls(preset)
    most, alone = calls["most_calls"], calls["unlimited_calls"]
    whole = f"; {alone:,} without a limit" if alone is not None else "; without a limit, as many as you give it"
    lines = [
        f"{preset.name}: at most {most} target calls where {_SEARCH} are left and {_EXAMPLES} examples validate{whole}"
    ]
    for key, value in preset.model_dump(exclude={"name"}, exclude_defaults=True).items():
        if isinstance(value, list | tuple):
            lines += [f"  {_words(part)}" for part in value]
        else:
            lines.append(f"  {key.replace('_', ' ')}: {value}")
    if preset.recalls:
        lines.append("  memory: takes along what earlier runs learned")
    return lines


def _calls(preset: Preset) -> dict[str, int | None]:
    """Target calls of a search at most: of the budget that is reckoned with, and without one."""
    alone = preset.most_calls(_EXAMPLES)
    limited = int(preset.most_calls(_EXAMPLES, _SEARCH))
    return {"most_calls": limited, "unlimited_calls": None if math.isinf(alone) else int(alone)}


def _words(part: Mapping[str, Any]) -> str:
    named = (f"{key} {' '.join(v) if isinstance(v, list | tuple) else v}" for key, v in part.items() if key != "name")
    return f"stage {part['name']}: {', '.join(named)}"


def _measure(wanted: Bench, folder: BenchFolder, *, parallel: int, quiet: bool, again: str) -> list[CellResult]:
    from crito.bench import BenchRun
    from crito.bench_progress import BenchProgress
    from crito.interrupt import run_stoppably

    with BenchProgress(wanted.cells, quiet=quiet) as progress:
        run = BenchRun(wanted, folder, parallel=parallel, listener=progress)

        async def work(started: Any) -> list[CellResult]:
            started(run)
            return await run.start()

        try:
            found = run_stoppably(work, progress.say)
        except (Interrupted, ProviderFailure) as error:
            reason = str(error).split("; go on with: ")[0]
            raise type(error)(f"{reason}; go on with: {again}") from error
    return found


def _report(wanted: Bench, found: Sequence[CellResult], folder: BenchFolder, *, as_json: bool) -> None:
    from crito.bench_figures import figures
    from crito.bench_plot import plot
    from crito.bench_report import print_figures
    from crito.report import stdout

    shown = figures(found)
    text = json.dumps(_as_json(wanted, found, shown), indent=2)
    folder.replace("results.json", text)
    try:
        plot(shown, folder.path / "bench.html")
    except BadInput as error:
        typer.echo(f"crito: {error}", err=True)
    if as_json:
        typer.echo(text)
    else:
        print_figures(stdout(), shown, usd="usd" in wanted.limits)
        typer.echo(f"all cells: {folder.path / 'results.json'}")


def _as_json(wanted: Bench, found: Sequence[CellResult], shown: Figures) -> dict[str, Any]:
    return {
        "terms": wanted.terms.model_dump(mode="json"),
        **shown.model_dump(mode="json"),
        "cells": [result.model_dump(mode="json", exclude={"scores"}) for result in found],
    }


def _limits(given: Mapping[str, float | None]) -> dict[str, float]:
    limits = {unit: limit for unit, limit in given.items() if limit is not None}
    if not limits:
        raise BadInput("budget: give each search a limit: --calls N, --tokens N or --usd X")
    for unit, limit in limits.items():
        if not 0 < limit < float("inf"):
            raise BadInput(f"--{unit} {limit:g}: must be above 0")
    return limits


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _listed(text: str, option: str) -> list[str]:
    names = _names(text)
    if not names:
        raise BadInput(f"{option}: names nothing; give names with commas between them")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(name) for name in _listed(text, "--seeds")))
    except ValueError:
        raise BadInput(f"--seeds {text}: must be whole numbers with commas between them, such as 0,1,2") from None
    if min(seeds) < 0:
        raise BadInput(f"--seeds {text}: {min(seeds)} is below 0; give whole numbers from 0 up, such as 0,1,2")
    return seeds


def _command(folders: Sequence[Path], given: Mapping[str, object]) -> str:
    """The command that goes on with a bench."""
    options = [word for key, value in given.items() if value not in ("", None) for word in (f"--{key}", str(value))]
    return shlex.join(["crito", "bench", *map(str, folders), *options])


def _make_importable(tasks: Mapping[str, Task], files: Mapping[str, Path]) -> None:
    """Let a metric ``module:function`` be found beside its TASK.yaml.

    Raises:
        BadInput: Two tasks have modules of one name beside them, of which Python would load the first for both.
    """
    homes: dict[str, Path] = {}
    for name, task in tasks.items():
        module, is_import, _ = task.metric.partition(":")
        folder = files[name].resolve().parent
        if not is_import:
            continue
        sys.path.insert(0, os.fspath(folder))
        beside = folder / module.split(".")[0]
        if not beside.is_dir() and not beside.with_suffix(".py").is_file():
            continue
        other = homes.setdefault(beside.name, folder)
        if other != folder:
            raise BadInput(f"{files[name]}: metric {task.metric}: {other} has a module {beside.name} too; rename one")
