"""What Crito itself costs: import, start of the command line, workflow per round, memory.

Run it with `python tests/bench/overhead.py`; it prints one JSON object with medians over processes. Workflow overhead
is the time of a run with a scripted model outside the spans of its nodes (state, checkpoints, screening, memory), by
round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from crito.api import optimize
from crito.protocols import ModelRequest
from crito.task import Budget
from crito.tools.database import Database, spans
from crito.tools.scripted_model import ScriptedModel


def process_seconds(*command: str) -> float:
    """Wall-clock seconds of a process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def answer(request: ModelRequest) -> str:
    """Half of the answers right, whatever the prompt says, so that the search goes through all its stages."""
    question = request.messages[-1].content
    number = int("".join(c for c in question if c.isdigit()) or 0)
    return "even" if number % 4 in (0, 1) else "odd"


def workflow() -> tuple[float, int]:
    """Overhead in milliseconds per round, and the number of rounds."""
    pairs = [(f"Is {n} even or odd?", "even" if n % 2 == 0 else "odd") for n in range(200)]
    rounds: set[object] = set()

    def listen(event: object) -> None:
        if isinstance(event, dict) and event["event"] == "round":
            rounds.add(event["round"])

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crito.db"
        model = ScriptedModel(answer)
        optimize("Even or odd?", pairs, model=model, budget=Budget(calls=1500), database=path, listener=listen)
        database = Database(path)
        rows = database.read(sa.select(spans.c.name, spans.c.started, spans.c.ended, spans.c.parent))
        database.dispose()
    whole = next(row for row in rows if row.name.startswith("invoke_workflow"))
    inside = sorted((row.started, row.ended) for row in rows if row.parent is not None)
    busy, end = 0.0, 0.0
    for began, ended in inside:
        busy += max(0.0, ended - max(began, end))
        end = max(end, ended)
    return 1000 * (whole.ended - whole.started - busy) / len(rounds), len(rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    python = sys.executable
    bare = [process_seconds(python, "-c", "pass") for _ in range(options.rounds)]
    imported = [process_seconds(python, "-c", "import crito") for _ in range(options.rounds)]
    shown = [process_seconds(python, "-m", "crito", "--help") for _ in range(options.rounds)]
    runs = [workflow() for _ in range(3)]
    found = {
        "import_seconds": statistics.median(imported) - statistics.median(bare),
        "help_seconds": statistics.median(shown),
        "python_seconds": statistics.median(bare),
        "workflow_ms_per_round": statistics.median(overhead for overhead, _ in runs),
        "rounds": runs[0][1],
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
