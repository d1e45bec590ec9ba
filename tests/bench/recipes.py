"""What recipes of prompts are worth on validation examples, and what is gained around the best of them.

Run it with `python tests/bench/recipes.py DATA --tasks sst2,trec`. The test split is not touched. Of each task random
recipes (demonstrations x answer rule x cue x place, as the operator ``spread`` draws them) answer all validation
examples, which gives the effect of each factor by least squares. Then the best of them on one half of these examples is
varied, and the other half says what that is worth: one demonstration exchanged, dropped or added (``near``), a new set
of a size as drawn (``fresh``), a new set of the largest size (``largest``), a new recipe (``drawn``), and the layout of
the user with a set of the largest size (``plain``). One JSON line per prompt on stdout, tables on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it stands outside the package of the tests

from crito import Budget, evaluate
from crito.agents.recipes import followed, templates
from crito.bench_tasks import tasks
from crito.graph.operators.demonstrations import changed, sample
from crito.graph.operators.spread import drawn
from crito.memory.recipe import LARGEST
from crito.prompt import Demo, Prompt
from crito.task import Example, Task

FACTORS = ("answer rule", "answer cue", "before the first input", "before every input", "log2 of demonstrations")


def main() -> None:
    """Measure the tasks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of task folders")
    parser.add_argument("--tasks", default="", help="names, with commas; all by default")
    parser.add_argument("--model", default=None, help="in place of local/smollm2")
    parser.add_argument("--recipes", type=int, default=20, help="random ones of each task")
    parser.add_argument("--variants", type=int, default=8, help="of each kind, around the best")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = [name for name in options.tasks.split(",") if name]
    for name, task in tasks([options.data], names, model=options.model).items():
        print(name, file=sys.stderr)
        with TemporaryDirectory() as folder:
            measure(name, task, options, Path(folder) / "crito.db")


def measure(name: str, task: Task, options: argparse.Namespace, database: Path) -> None:
    """Recipes of one task and what is around the best; see the module's docstring."""
    rng = np.random.default_rng(options.seed)
    base = task.prompts["main"]
    demos = [Demo(inputs=e.inputs, output=e.expected or "", example_id=e.id) for e in task.splits.train]

    def recipe() -> Prompt:
        found, chosen = drawn(base, demos, len(templates(base, task)) - 1, task, rng)
        return base.apply(followed(found, base, task, chosen))

    halves = [_judged_on(task, task.splits.val[at::2]) for at in (0, 1)]

    def scores(kind: str, prompt: Prompt) -> list[float]:
        found = [evaluate(half, prompt=prompt, split="val", database=database).score for half in halves]
        print(json.dumps({"task": name, "kind": kind, **_factors(prompt, base), "scores": found}), flush=True)
        return found

    tried = [(prompt, scores("recipe", prompt)) for prompt in (recipe() for _ in range(options.recipes))]
    _report_factors([_factors(prompt, base) for prompt, _ in tried], [fmean(found) for _, found in tried])
    best, (_, reached) = max(tried, key=lambda pair: pair[1][0])
    around: dict[str, Callable[[], Prompt]] = {
        "near": lambda: _shown(best, changed(best.demos, demos, task, rng) or list(best.demos)),
        "fresh": lambda: _shown(best, sample(demos, task, rng)),
        "largest": lambda: _shown(best, sample(demos, task, rng, size=LARGEST)),
        "drawn": recipe,
        "plain": lambda: _shown(base, sample(demos, task, rng, size=LARGEST)),
    }
    print(f"  the best: {reached:.3f}", file=sys.stderr)
    for kind, make in around.items():
        worth = [scores(kind, make())[1] for _ in range(options.variants)]
        line = f"  {kind:8} mean {fmean(worth):.3f}, deviation {pstdev(worth):.3f}, highest {max(worth):.2f}"
        print(line, file=sys.stderr)


def _shown(prompt: Prompt, demos: list[Demo]) -> Prompt:
    return prompt.model_copy(update={"demos": tuple(demos)})


def _judged_on(task: Task, examples: Sequence[Example]) -> Task:
    splits = task.splits.model_copy(update={"val": tuple(examples)})
    return task.model_copy(update={"splits": splits, "budget": Budget(calls=len(examples))})


def _factors(prompt: Prompt, base: Prompt) -> dict[str, Any]:
    place = prompt.layout.instructions
    values = (
        prompt.sections != base.sections,
        prompt.template != base.template,
        place == "user",
        place == "each",
        float(np.log2(max(1, len(prompt.demos)))),
    )
    return dict(zip(FACTORS, values, strict=True))


def _report_factors(rows: list[dict[str, Any]], worth: list[float]) -> None:
    """Least squares: change of the score by factor, with its standard error."""
    table = np.array([[1.0, *map(float, row.values())] for row in rows])
    found, *_ = np.linalg.lstsq(table, np.array(worth), rcond=None)
    left = np.array(worth) - table @ found
    free = max(1, len(rows) - np.linalg.matrix_rank(table))
    errors = np.sqrt(np.diag(np.linalg.pinv(table.T @ table)) * (left @ left) / free)
    for name, effect, error in zip(FACTORS, found[1:], errors[1:], strict=True):
        print(f"  {name:26} {effect:+.3f} ± {error:.3f}", file=sys.stderr)


if __name__ == "__main__":
    main()
