"""What earlier runs learned, as text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from crito.memory.lessons import Lesson
from crito.memory.operator_use import OperatorUse
from crito.memory.proven import Proven
from crito.report import Lines, clean, columns, one_line
from crito.tools.stats import BetaArm


def lessons_lines(known: Sequence[Lesson | Proven]) -> Lines:
    """One line a lesson or proven prompt; what one promises is for a task like its own, by today."""
    head = (
        "lesson",
        "kind",
        "gain",
        "95 %",
        "promises",
        "examples",
        "runs",
        "confirmed",
        "refuted",
        "last seen",
        "what",
    )
    rows = [head]
    for found in known:
        interval, confirmed = "", ""  # a prompt has neither: its trials have no interval
        if isinstance(found, Lesson):
            low, high = found.interval
            interval, confirmed = f"[{low:+.2f}, {high:+.2f}]", str(found.confirmed)
        effect = (f"{found.gain:+.2f}", interval, f"{found.promise(time.time()):+.2f}", str(found.n))
        counts = (str(len(found.runs)), confirmed, str(found.refuted), f"{datetime.fromtimestamp(found.seen):%Y-%m-%d}")
        rows.append((found.id, found.kind, *effect, *counts, one_line(found.text)))
    yield from columns(rows, right=(2, 4, 5, 6, 7, 8))


def lesson_lines(known: Lesson) -> Lines:
    """A lesson, and one line for each effect that was measured."""
    yield from _known_lines(known)
    rows = [("run", "task", "model", "operator", "gain", "95 %", "examples")]
    for seen in known.observations:
        effect = (f"{seen.gain:+.2f}", f"[{seen.low:+.2f}, {seen.high:+.2f}]", str(seen.n))
        rows.append((seen.run, seen.signature.kind, seen.model, seen.operator, *effect))
    yield from columns(rows, right=(4, 6))


def proven_lines(known: Proven) -> Lines:
    """A proven prompt, one line for each run that measured it, and its text."""
    yield from _known_lines(known)
    rows = [("run", "gain", "examples"), *((m.run, f"{m.gain:+.2f}", str(m.n)) for m in known.measured)]
    yield from columns(rows, right=(1, 2))
    yield ""
    yield clean(known.prompt.prompt.to_text())


def _known_lines(known: Lesson | Proven) -> Lines:
    yield Text(f"{known.id}: {one_line(known.text)}", "bold")
    day = f"{datetime.fromtimestamp(known.seen):%Y-%m-%d}"
    yield f"  promises {known.promise(time.time()):+.2f} on a task like its own; last seen {day}"


def operators_lines(uses: Sequence[OperatorUse]) -> Lines:
    """One line an operator: its steps in all runs, and what share of the most that a step earned they did."""
    arms: dict[str, list[BetaArm]] = {}
    for use in uses:
        for name, arm in use.arms.items():
            arms.setdefault(name, []).append(arm)
    rows = [("operator", "runs", "steps", "earned a step")]
    for name, earned in sorted(arms.items()):
        won, steps = sum(won for won, _ in earned), sum(won + lost for won, lost in earned)
        rows.append((name, str(len(earned)), f"{steps:.0f}", f"{won / max(steps, 1e-9):.2f}"))
    yield from columns(rows, right=(1, 2, 3))
