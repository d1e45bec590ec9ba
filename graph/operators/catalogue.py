"""Every operator by its name, with what it needs and how often it is worth a try before anything is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crito.graph.operators import (
    ablate,
    babble,
    compress,
    critique_synthesis,
    demonstrations,
    format,  # noqa: A004 - a layout's own word
    history,
    induce,
    merge,
    opening,
    recombine,
    restart,
    restyle,
    socratic,
    spread,
    strategy,
    sweep,
    verbalizer,
)
from crito.graph.operators.assignment import Operator


@dataclass(frozen=True)
class Entry:
    """An operator of the catalogue.

    Attributes:
        propose: The operator.
        about: What it does, in half a sentence, for the planner and for ``crito presets``.
        prior: Beta prior (earned, not earned) before anything was tried. In the default's search they make Thompson
            sampling pick critiques and the history in about .24 of the steps each, demonstrations in .20, a spread of
            them in .12, the sweep in .10, Socratic dialogues and recombination in .03 each, all others in the rest; the
            history's is what the scripted world asked for (docs/benchmarks.md).
        parents: Parents that it wants.
        incumbent: Whether it works on the incumbent whatever the archive says.
        asks: Whether it asks the agents' model.
        writes: Whether it is of no use without a model that can write.
        answers: Whether it works from right answers alone.
    """

    propose: Operator
    about: str
    prior: tuple[float, float] = (2.0, 2.0)
    parents: int = 1
    incumbent: bool = False
    asks: bool = False
    writes: bool = False
    answers: bool = False


OPERATORS: Mapping[str, Entry] = {
    "opening": Entry(
        opening.propose, "tries what helped in earlier runs, and a spread around the seed", incumbent=True
    ),
    "critique_synthesis": Entry(
        critique_synthesis.propose, "edits the instructions from failures beside successes", (6.0, 6.0), asks=True
    ),
    "demonstrations": Entry(demonstrations.propose, "looks for better sets of examples", (5.5, 6.0)),
    "spread": Entry(spread.propose, "draws examples, their layout and the cue anew", (4.5, 6.0)),
    "socratic": Entry(
        socratic.propose,
        "questions on a cluster of failures, answered with an edit",
        (3.0, 7.0),
        asks=True,
        writes=True,
    ),
    "induce": Entry(
        induce.propose, "writes new instructions from examples", (2.0, 8.0), asks=True, writes=True, answers=True
    ),
    "restyle": Entry(restyle.propose, "says the same in other styles", (2.0, 8.0), asks=True, writes=True),
    "history": Entry(
        history.propose, "continues the row of instructions with their scores", (6.0, 6.0), asks=True, writes=True
    ),
    "recombine": Entry(recombine.propose, "crosses two prompts", (3.0, 7.0), parents=2, asks=True),
    "differential": Entry(
        recombine.differential, "rewrites what differs between two prompts", (3.0, 7.0), parents=2, asks=True
    ),
    "merge": Entry(merge.propose, "joins what two lineages changed", (1.0, 9.0), parents=2),
    "format": Entry(format.propose, "samples other layouts", (2.0, 8.0)),
    "strategy": Entry(strategy.propose, "has the answer given at once, or reasoned out", (2.0, 8.0)),
    "verbalizer": Entry(verbalizer.propose, "has other words said for the labels", (1.0, 9.0)),
    "restart": Entry(
        restart.propose, "writes new instructions without a look at the old ones", (1.0, 9.0), asks=True, writes=True
    ),
    "ablate": Entry(ablate.propose, "leaves one part out", (1.0, 9.0)),
    "compress": Entry(compress.propose, "makes the prompt shorter", incumbent=True),
    "sweep": Entry(sweep.propose, "combines the parts of all that did well", (4.0, 6.0), incumbent=True),
    "babble": Entry(babble.propose, "puts random words in place of the instructions"),
}
