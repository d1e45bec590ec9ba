"""Held-out scores on public tasks with the embedded model: `python tests/bench/tasks.py DATA_FOLDER`.

`crito bench` with our tasks and 600 calls and 150,000 tokens for each search; every option of it may follow.
"""

from __future__ import annotations

import sys

from crito.cli import app

if __name__ == "__main__":
    app(
        [
            "bench",
            "--tasks",
            "sst2,singular_to_plural,agnews,trec",
            "--calls",
            "600",
            "--tokens",
            "150000",
            *sys.argv[1:],
        ]
    )
