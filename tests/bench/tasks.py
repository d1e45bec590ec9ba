"""Held-out scores on public tasks with the embedded model: `python tests/bench/tasks.py DATA_FOLDER`.

A task is a folder with task.json (description, labels, metric) and train|val|test.jsonl of {"input", "expected"} rows.
The search has --calls calls; the verdict on the whole test split comes on top. One JSON line per run on stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa

from crito.api import optimize
from crito.prompt import Prompt
from crito.task import Budget, Example, Splits, Task, example_id
from crito.tools.database import Database, calls, spans


def main() -> None:
    """Run the tasks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "singular_to_plural", "agnews", "trec"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--model", default="local/smollm2")
    options = parser.parse_args()
    for seed, name in itertools.product(options.seeds, options.tasks):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "crito.db"
            result = optimize(load(options.data / name, options, seed), database=path)
            found = {"task": name, "seed": seed, **searched(path), **result.as_json()}
        print(json.dumps(found), flush=True)
        print(f"{name} seed {seed}: {result!s}".split("\n\n")[0], file=sys.stderr, flush=True)


def searched(path: Path) -> dict[str, int]:
    """Calls and prompt tokens of the search alone: all but the calls made in the verdict's span."""
    database = Database(path)
    verdict = sa.select(spans.c.id).where(spans.c.name == "execute_tool verdict")
    total = sa.select(sa.func.count().label("calls"), sa.func.sum(calls.c.tokens_in).label("tokens"))
    row = database.read(total.where(calls.c.span.not_in(verdict)))[0]
    database.dispose()
    return {"search_calls": row.calls, "search_tokens_in": row.tokens}


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
    return tuple(
        Example(id=example_id({"input": row["input"]}), inputs={"input": row["input"]}, expected=row["expected"])
        for row in found
    )


if __name__ == "__main__":
    main()
