"""What an operator is given to do: the one shape that all of them have."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from crito.graph.deps import Deps
from crito.memory.recalled import Recalled
from crito.records import Candidate


@dataclass(frozen=True)
class Assignment:
    """One planned step, for one worker.

    Attributes:
        parents: What to work on, the one to edit first; at least one. Operators that combine use the second.
        count: Candidates that the round's calls reach for.
        round: The round.
        worker: Index of the worker, so that workers of one round draw different random numbers.
        focus: What the planner wants it to look at.
        recalled: What the run took along from earlier ones.
        ask: Whether the agents' model may be asked; if not, only what code can do is done.
    """

    parents: tuple[Candidate, ...]
    count: int
    round: int
    worker: int = 0
    focus: str = ""
    recalled: Recalled = field(default_factory=Recalled)
    ask: bool = True

    @property
    def parent(self) -> Candidate:
        """The candidate to edit."""
        return self.parents[0]


class Operator(Protocol):
    """Makes candidates from parents and evidence; nothing that it proposes counts before it was raced."""

    def __call__(self, deps: Deps, assignment: Assignment) -> Awaitable[list[Candidate]]:
        """Propose.

        Raises:
            BudgetExhausted: A call does not fit into the budget.
            ProviderFailure: The provider is down.
        """
        ...
