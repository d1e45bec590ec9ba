"""The loop that looks for demonstrations: sets, orders and sizes.

Demonstrations come from the training split only, with answers that are verified: the target's own output where it got
full marks, else the given answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crito.agents.demo_sizes import set_sizes, shorter
from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.patch import Edit, Patch
from crito.prompt import Demo
from crito.records import Candidate
from crito.task import Example, Task

_TRIES = 3
"""Draws for each candidate that is wanted, as some come twice."""
_ENOUGH = 6
"""Demonstrations with reasoning below which the synthesizer is asked for more."""
_HARVEST = 16
"""Training examples that are run to harvest the target's own reasoning."""


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """New demonstration sets for a parent: fresh ones, and changes of the set it has.

    Raises:
        BudgetExhausted: Harvesting reasoning does not fit into the budget.
    """
    parent = assignment.parent
    rng = deps.rng(2, assignment.round, assignment.worker)
    demos = await harvest(deps, parent)
    patches = []
    for _ in range(assignment.count * _TRIES if demos else 0):
        chosen = changed(parent.main.demos, demos, deps.task, rng) if parent.main.demos else None
        chosen = chosen or sample(demos, deps.task, rng)
        edit = Edit(op="replace", path="demos", value=tuple(chosen))
        patches.append(Patch(edits=(edit,), rationale=f"show {len(chosen)} examples"))
    made = offspring([parent], patches, operator="demonstrations", round_number=assignment.round, author="code")
    return made[: assignment.count]


async def harvest(deps: Deps, parent: Candidate) -> list[Demo]:
    """Demonstrations that may be shown, one per training example that has a verified answer.

    For tasks with reasoning, or without given answers, the parent is run on some training examples and its own
    correct outputs are taken; the synthesizer adds reasoning where the target had none right.

    Raises:
        BudgetExhausted: Running the parent does not fit into the budget.
    """
    train = deps.task.splits.train
    own = deps.task.reasoning and deps.preset.own_outputs
    if not own and all(example.expected is not None for example in train):
        return [Demo(inputs=e.inputs, output=e.expected or "", example_id=e.id) for e in train]
    outcomes = await deps.evaluator.evaluate(parent, train[:_HARVEST])
    by_id = {example.id: example for example in train}
    found = [
        Demo(inputs=by_id[o.example].inputs, output=o.output, example_id=o.example)
        for o in outcomes
        if o.right and not o.truncated
    ]
    if len(found) < _ENOUGH:
        missing = [e for e in train[:_HARVEST] if e.expected and e.id not in {d.example_id for d in found}]
        written = [await deps.synthesizer.reason(e) for e in missing[: _ENOUGH - len(found)]]
        found += [demo for demo in written if demo is not None]
    return found


def sample(demos: Sequence[Demo], task: Task, rng: np.random.Generator, *, size: int | None = None) -> list[Demo]:
    """A random set: short ones preferred, labels as even as they can be.

    Args:
        demos: What may be shown.
        task: Its labels are kept even.
        rng: Random numbers.
        size: How many, if so many fit into the tokens for demonstrations; by default drawn, with odds that go by the
            square of the size: larger sets of one layout did better on most public tasks (docs/benchmarks.md).
    """
    short = shorter(demos)
    sizes = np.array(set_sizes(short, task))
    odds = sizes**2 / np.sum(sizes**2)
    wanted = min(size, int(sizes[-1])) if size is not None else int(rng.choice(sizes, p=odds))
    size = min(wanted, len(short))
    shuffled = [short[i] for i in rng.permutation(len(short))]
    if not task.labels:
        return shuffled[:size]
    queues = {label: [d for d in shuffled if d.output == label] for label in task.labels}
    queues[""] = [d for d in shuffled if d.output not in task.labels]
    chosen: list[Demo] = []
    labels = [name for name in rng.permutation(list(queues)) if queues[name]]
    while len(chosen) < size and labels:
        for label in labels:
            if queues[label] and len(chosen) < size:
                chosen.append(queues[label].pop())
        labels = [label for label in labels if queues[label]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def changed(shown: Sequence[Demo], demos: Sequence[Demo], task: Task, rng: np.random.Generator) -> list[Demo] | None:
    """A set with one demonstration exchanged, dropped or added, or in another order; or None: a new set is wanted.

    Args:
        shown: The set, at least one.
        demos: What may be shown.
        task: An exchange keeps its label where the task has labels.
        rng: Random numbers.
    """
    current = list(shown)
    spare = [d for d in demos if d.example_id not in {c.example_id for c in current}]
    room = len(current) < set_sizes(demos, task)[-1]
    kind = rng.choice(["fresh", "exchange", "drop", "add", "shuffle"], p=[0.3, 0.3, 0.1, 0.15, 0.15])
    if kind == "fresh":
        return None
    at = int(rng.integers(len(current)))
    if kind == "exchange" and spare:
        alike = [d for d in spare if d.output == current[at].output and task.labels] or spare
        current[at] = alike[int(rng.integers(len(alike)))]
    elif kind == "drop" and len(current) > 1:
        del current[at]
    elif kind == "add" and spare and room:
        current.insert(at, spare[int(rng.integers(len(spare)))])
    else:
        current = [current[i] for i in rng.permutation(len(current))]
    return current


def shown_ids(candidate: Candidate) -> frozenset[str]:
    """Ids of the examples that a candidate shows as demonstrations."""
    return frozenset(d.example_id for p in candidate.prompts.values() for d in p.demos if d.example_id)


def unseen(candidate: Candidate, examples: Sequence[Example]) -> list[Example]:
    """The examples that the candidate does not show."""
    shown = shown_ids(candidate)
    return [example for example in examples if example.id not in shown]
