"""Where the best prompt of a run came from, read from its database: who made what of whom, and what it was worth."""

from __future__ import annotations

from typing import Any, NamedTuple

import networkx as nx

from crito.memory.archive import Archive
from crito.memory.attempts import Attempts
from crito.memory.credit import Credit, credited
from crito.memory.lineage import lineage
from crito.records import candidate_id
from crito.result import Result
from crito.runs import row_of, status_of
from crito.task import Task
from crito.tools.database import Database


class Descent(NamedTuple):
    """The descent of the best prompt, or of the best so far.

    Attributes:
        status: As in :class:`crito.runs.RunSummary`.
        best: Id of the verdict's candidate; before there is one, of the last incumbent.
        credits: What the best prompt changes of the seed; empty where that is the best.
        graph: All candidates (:func:`crito.memory.lineage.lineage`), with their ``fate``, ``val`` score and, in ``n``,
            the validation examples that it is over; ``val`` is left out where there are none.
    """

    run: str
    name: str
    model: str
    status: str
    seed: str
    best: str
    credits: tuple[Credit, ...]
    graph: nx.DiGraph[str]

    def as_json(self) -> dict[str, Any]:
        """What ``crito lineage --json`` prints."""
        return {
            **{key: getattr(self, key) for key in ("run", "name", "model", "status", "seed", "best")},
            "credits": [credit.model_dump(mode="json") for credit in self.credits],
            "candidates": [{"id": node, **known} for node, known in self.graph.nodes.items()],
            "edges": [list(edge) for edge in self.graph.edges],
        }


def read_descent(database: Database, run: str) -> Descent:
    """The descent of a run's best prompt, whether the run has ended or not.

    Raises:
        BadInput: There is no run of that id.
    """
    row = row_of(database, run)
    task = Task.model_validate_json(row.task)
    verdict = Result.model_validate_json(row.result).verdict if row.result else None
    archive, attempts = Archive(database, run, task.scoring), Attempts(database, run).all()
    seed = candidate_id(task.prompts)
    leaders = [seed, *(attempt.candidate for attempt in attempts if attempt.incumbent)]
    best = verdict.best if verdict else leaders[-1]
    graph = lineage(archive.candidates())
    fates = {attempt.candidate: attempt.fate for attempt in attempts}
    for node, known in graph.nodes.items():
        scores = [value for value in archive.values(node, task.splits.val) if value is not None]
        known["fate"] = "seed" if node == seed else fates.get(node, "open")
        known["n"] = len(scores)
        if scores:
            known["val"] = sum(scores) / len(scores)
    return Descent(
        run=run,
        name=task.name,
        model=task.model,
        status=status_of(database, run, row.status),
        seed=seed,
        best=best,
        credits=credited(best, seed, archive, (*task.splits.val, *task.splits.train)) if best != seed else (),
        graph=graph,
    )
