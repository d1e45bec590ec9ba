"""A bench as tables: scores by preset and task, what each preset took, and how the presets differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crito.bench_figures import Figures, Interval

_ROLES = ("target", "planner", "critic", "teacher", "student", "rewriter", "synthesizer", "judge")
_WIDE = 10_000


def print_figures(console: Console, found: Figures, *, usd: bool = False) -> None:
    """Print the figures of a bench, with US dollars where they are what the searches had to keep to.

    The console is widened, so that lines are never folded.
    """
    console.width = max(console.width, _WIDE)
    for title, table in _tables(found, usd=usd):
        console.print(title, style="bold")
        console.print(table)
        console.print()


def _tables(found: Figures, *, usd: bool) -> list[tuple[str, Table]]:
    tables = [
        ("Held-out score, half of its 95 % interval over seeds and test examples", _by_task(found)),
        (
            "Means over all runs: score, generalization gap, one use of the prompt, the search by role",
            _by_preset(found, usd=usd),
        ),
    ]
    if found.differences:
        reference = found.differences[0].preset
        title = f"{reference} minus the others, paired by seed and test example, with a 95 % interval"
        tables.append((title, _differences(found)))
    return tables


def _by_task(found: Figures) -> Table:
    tasks = list(dict.fromkeys(figure.task for figure in found.by_task))
    cells = {(figure.preset, figure.task): _score(figure.score, figure.interval) for figure in found.by_task}
    rows = [[s.preset, *(cells[s.preset, task] for task in tasks)] for s in found.by_preset]
    return _table(["preset", *tasks], rows)


def _by_preset(found: Figures, *, usd: bool) -> Table:
    roles = [role for role in _ROLES if any(role in s.calls for s in found.by_preset)]
    rows = [
        [
            s.preset,
            _score(s.score, s.interval),
            f"{s.gap:+.3f}",
            *(f"{value:,.0f}" for value in (s.prompt_tokens, *(s.calls.get(role, 0.0) for role in roles))),
            *(f"{value:,.0f}" for value in (s.prompt_tokens_target, s.prompt_tokens_agents, s.seconds)),
            *(["?" if s.usd is None else f"{s.usd:.4f}"] if usd else []),
        ]
        for s in found.by_preset
    ]
    calls = (f"calls {role}" for role in roles)
    spent = ("tokens in target", "tokens in agents", "s", *(["USD"] if usd else []))
    return _table(["preset", "mean", "gap", "prompt tokens", *calls, *spent], rows)


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
