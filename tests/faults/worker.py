"""Starts or resumes a toy run in a process of its own, to be killed: `python -m tests.faults.worker DB URL RUN [SEED]`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from crito.graph.run import Run
from tests.faults.toy import essence, toy_task


def main() -> None:
    """Run to the end and print what came of it."""
    path, url, run, *rest = sys.argv[1:]
    task = toy_task(url, seed=int(rest[0]) if rest else 0)
    result = asyncio.run(Run(task, Path(path)).start(run))
    print(json.dumps(essence(result)))


if __name__ == "__main__":
    main()
