"""Failure clusters that stay the same over a run: what became of each while one incumbent followed the other.

Nothing is stored: clusters are computed from the incumbents' outcomes, so that a resumed run finds the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from crito.records import FailureLabel, Outcome
from crito.task import Task
from crito.tools.diagnostics import clusters
from crito.tools.likelihood import as_scored

ClusterState = Literal["new", "growing", "shrinking", "fixed", "regressed", "unchanged"]
_ALIKE = 0.3
"""Jaccard similarity from which failures of another label are an old cluster; of the same label any overlap will do."""


class Moment(NamedTuple):
    """When a candidate became the incumbent, and its outcomes; ``round`` is None for the seed, which was there first.

    The outcomes are on validation examples, which every incumbent answers.
    """

    round: int | None
    outcomes: Sequence[Outcome]


class Cluster(BaseModel):
    """Failures that belong together, at one moment.

    Attributes:
        id: ``c1``, ``c2`` and so on, in the order in which they turned up.
        label: Of its cases now, or of the last ones it had.
        since: Round in which it turned up; None if the seed had it.
        first: Number of its cases then.
        cases: Ids of the examples that are in it now.
        ever: Ids of all examples that ever were, the first ones first.
        again: How many of its cases an earlier incumbent had right.
        state: ``new``; ``fixed`` without any case, though some may fail in another cluster now; ``shrinking`` with
            fewer than under the incumbent before; ``regressed`` with as many or more, of which an earlier incumbent
            had some right; ``growing`` with more that nobody has had right; else ``unchanged``.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    label: FailureLabel
    since: int | None
    first: int
    cases: tuple[str, ...]
    ever: tuple[str, ...]
    again: int = 0
    state: ClusterState = "new"

    @property
    def told(self) -> str:
        """The cluster in one line."""
        when = "at the start" if self.since is None else f"in round {self.since}"
        again = f", {self.again} of them right before" if self.again else ""
        return f"{self.id} {self.label}: {self.first} cases {when}, {len(self.cases)} now{again}, {self.state}"


def followed(moments: Sequence[Moment], task: Task) -> list[tuple[Cluster, ...]]:
    """The clusters at each moment, fixed ones included, in the order in which they turned up.

    At every moment the incumbent's failures are grouped by label (:func:`crito.tools.diagnostics.clusters`; failed
    calls are no failures of the prompt). A group is the known cluster with whose examples it has the largest Jaccard
    similarity, at least .3 or, under the same label, above 0; a cluster takes one group, and what is left is new.
    The threshold is ours.
    """
    examples = {example.id: example for example in task.splits.val}
    known: tuple[Cluster, ...] = ()
    been_right: set[str] = set()
    found = []
    for moment in moments:
        outcomes = as_scored([o for o in moment.outcomes if o.example in examples], examples, task.scoring)
        groups = clusters(outcomes, examples, task)
        groups.pop("call_failed", None)
        known = _continued(known, groups, moment.round, been_right)
        been_right.update(outcome.example for outcome in outcomes if outcome.right)
        found.append(known)
    return found


def _continued(
    known: Sequence[Cluster], groups: dict[FailureLabel, tuple[str, ...]], number: int | None, been_right: set[str]
) -> tuple[Cluster, ...]:
    match = _matched(known, groups)
    again = {label: sum(example in been_right for example in cases) for label, cases in groups.items()}
    old = []
    for cluster in known:
        label = match.get(cluster.id)
        cases = groups[label] if label else ()
        relapsed = again[label] if label else 0
        update = {
            "label": label or cluster.label,
            "cases": cases,
            "ever": tuple(dict.fromkeys((*cluster.ever, *cases))),
            "again": relapsed,
            "state": _state(cluster.cases, cases, relapsed),
        }
        old.append(cluster.model_copy(update=update))
    fresh = [label for label in groups if label not in match.values()]
    new = [
        Cluster(
            id=f"c{at}",
            label=label,
            since=number,
            first=len(groups[label]),
            cases=groups[label],
            ever=groups[label],
            again=again[label],
        )
        for at, label in enumerate(fresh, start=len(known) + 1)
    ]
    return (*old, *new)


def _matched(known: Sequence[Cluster], groups: dict[FailureLabel, tuple[str, ...]]) -> dict[str, FailureLabel]:
    """Label of the group that each known cluster goes on with, the most similar pairs first."""
    pairs = []
    for at, cluster in enumerate(known):
        for label, cases in groups.items():
            similar = len({*cluster.ever} & {*cases}) / len({*cluster.ever, *cases})
            if similar >= _ALIKE or (similar and label == cluster.label):
                pairs.append((-similar, label != cluster.label, at, label))
    match: dict[str, FailureLabel] = {}
    for *_, at, label in sorted(pairs):
        if known[at].id not in match and label not in match.values():
            match[known[at].id] = label
    return match


def _state(before: Sequence[str], now: Sequence[str], again: int) -> ClusterState:
    if not now:
        return "fixed"
    if len(now) < len(before):
        return "shrinking"
    if again:
        return "regressed"
    return "growing" if len(now) > len(before) else "unchanged"
