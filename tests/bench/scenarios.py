"""The scenarios as a user runs them, each seed in a process and database of its own: `python tests/bench/scenarios.py`.

One JSON line per run on stdout, a table of medians at the end on stderr.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def main() -> None:
    """Run the scenarios one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=["order_extraction", "ticket_triage"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    for name in options.names:
        runs = [run(name, seed) for seed in options.seeds]
        for found in runs:
            print(json.dumps(found), flush=True)
        middle = {
            key: statistics.median(r[key] for r in runs) for key in ("seed_score", "best_score", "p_value", "wall")
        }
        print(name, {key: round(value, 4) for key, value in middle.items()}, file=sys.stderr, flush=True)


def run(name: str, seed: int) -> dict[str, Any]:
    """One run; ``wall`` is the whole process in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(SCENARIOS / f"{name}.py"), "--seed", str(seed), "--json"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        result: dict[str, Any] = json.loads(done.stdout)
        return {**result, "wall": time.perf_counter() - began}


if __name__ == "__main__":
    main()
