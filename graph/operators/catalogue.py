"""Every operator by its name, with what it needs and how often it is worth a try before anything is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crito.graph.operators import compress, critique_synthesis, demonstrations, sweep
from crito.graph.operators.assignment import Operator


@dataclass(frozen=True)
class Entry:
    """An operator of the catalogue.

    Attributes:
        propose: The operator.
        about: What it does, in half a sentence, for the planner and for ``crito presets``.
        prior: Beta prior (accepted, not accepted) before anything was tried; algorithms of the field differ in how
            often each pays.
        parents: Parents that it wants.
        writes: Whether it is of no use without a capable agent model.
    """

    propose: Operator
    about: str
    prior: tuple[float, float] = (2.0, 2.0)
    parents: int = 1
    writes: bool = False


OPERATORS: Mapping[str, Entry] = {
    "critique_synthesis": Entry(critique_synthesis.propose, "edits the instructions from failures beside successes"),
    "demonstrations": Entry(demonstrations.propose, "looks for better sets of examples"),
    "compress": Entry(compress.propose, "makes the prompt shorter"),
    "sweep": Entry(sweep.propose, "combines the parts of all that did well"),
}
