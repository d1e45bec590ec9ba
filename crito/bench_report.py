"""A bench as tables: scores by preset and task, what each preset took, and how the presets differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crito.bench_figures import Figures, Interval

_PER_RUN = ("mean", "gap", "prompt tokens", "calls target", "calls agents", "tokens in target", "tokens in agents", "s")
_WIDE = 10_000


def print_figures(console: Console, found: Figures) -> None:
    """Print the figures of a bench; the console is widened, so that lines are never folded."""
    console.width = max(console.width, _WIDE)
    for title, table in _tables(found):
        console.print(title, style="bold")
        console.print(table)
        console.print()


def _tables(found: Figures) -> list[tuple[str, Table]]:
    tables = [
        ("Held-out score, half of its 95 % interval over seeds and test examples", _by_task(found)),
        (
            "Means over all runs: score, generalization gap, one use of the prompt, the search by role",
            _by_preset(found),
        ),
    ]
    if found.differences:
        reference = found.differences[0].preset
        title = f"{reference} minus the others, paired over tasks and seeds, with a 95 % interval"
        tables.append((title, _differences(found)))
    return tables


def _by_task(found: Figures) -> Table:
    tasks = list(dict.fromkeys(figure.task for figure in found.by_task))
    cells = {(figure.preset, figure.task): _score(figure.score, figure.interval) for figure in found.by_task}
    rows = [[s.preset, *(cells[s.preset, task] for task in tasks)] for s in found.by_preset]
    return _table(["preset", *tasks], rows)


def _by_preset(found: Figures) -> Table:
    rows = [
        [
            s.preset,
            _score(s.score, s.interval),
            f"{s.gap:+.3f}",
            *(f"{value:,.0f}" for value in (s.prompt_tokens, s.calls_target, s.calls_agents)),
            *(f"{value:,.0f}" for value in (s.prompt_tokens_target, s.prompt_tokens_agents, s.seconds)),
        ]
        for s in found.by_preset
    ]
    return _table(["preset", *_PER_RUN], rows)


def _differences(found: Figures) -> Table:
    rows = [
        [d.other, f"{d.difference:+.3f}", f"[{d.interval[0]:+.3f}, {d.interval[1]:+.3f}]", str(d.pairs)]
        for d in found.differences
    ]
    return _table(["minus", "difference", "interval", "pairs"], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _score(score: float, interval: Interval) -> str:
    return f"{score:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"
