"""Toy runs in a process of their own, to be killed.

``python -m tests.faults.worker DB URL RUN SEED`` makes one run and prints what came of it. Without arguments, each line
on stdin with these four words forks a process that makes the run (the imports are paid for once); its id and, when it
is over, its exit status are printed. A run that the database knows is resumed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import optuna  # noqa: F401 - imported before the forks, because it is slow

from crito.graph.run import Run
from crito.tools import endpoint_model  # noqa: F401 - the same
from tests.faults.toy import essence, toy_task


def main() -> None:
    """See the module."""
    if sys.argv[1:]:
        print(json.dumps(_run(*sys.argv[1:])))
        return
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(*line.split())
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _run(path: str, url: str, run: str, seed: str) -> dict[str, object]:
    return essence(asyncio.run(Run(toy_task(url, seed=int(seed)), Path(path)).start(run)))


if __name__ == "__main__":
    main()
