"""Held-out scores on public tasks with the embedded model: `python tests/bench/tasks.py DATA_FOLDER [--tasks …] [--seeds …]`.

A task is a folder with task.json (description, labels, metric) and train|val|test.jsonl of {"input", "expected"} rows.
The search has --calls calls; the verdict on the whole test split comes on top. One JSON line per run on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from crito.api import optimize
from crito.task import Budget, Example, Splits, Task, example_id
from crito.prompt import Prompt


def main() -> None:
    """Run the tasks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "singular_to_plural", "agnews", "trec"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=150_000, help="prompt tokens of the search, at most")
    parser.add_argument("--model", default="local/smollm2")
    parser.add_argument("--database", type=Path, help="keep the runs here (calls are cached across runs)")
    options = parser.parse_args()
    for name in options.tasks:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                database = options.database or Path(folder) / "crito.db"
                task = load(options.data / name, options, seed)
                result = optimize(task, database=database)
                print(json.dumps({"task": name, "seed": seed, **result.as_json()}), flush=True)
                print(f"{name} seed {seed}: {result!s}".split("\n\n")[0], file=sys.stderr, flush=True)


def load(folder: Path, options: argparse.Namespace, seed: int) -> Task:
    """The task of a folder, with its own splits and a budget that keeps the verdict apart from the search."""
    spec = json.loads((folder / "task.json").read_text())
    splits = Splits(**{split: rows(folder / f"{split}.jsonl") for split in ("train", "val", "test")})
    verdict = 2 * len(splits.test)
    calls = options.calls + verdict
    return Task(
        name=folder.name,
        description=spec["description"],
        inputs=("input",),
        output="answer",
        labels=tuple(spec["labels"] or ()),
        metric=spec["metric"],
        splits=splits,
        prompts={"main": Prompt.from_text(spec["description"])},
        model=options.model,
        agent_model=options.model,
        budget=Budget(calls=calls, verdict_share=verdict / calls + 1e-6),
        seed=seed,
    )


def rows(path: Path) -> tuple[Example, ...]:
    """The examples of one file."""
    found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return tuple(Example(id=example_id({"input": r["input"]}), inputs={"input": r["input"]}, expected=r["expected"]) for r in found)


if __name__ == "__main__":
    main()
