"""What each change that a prompt carries is worth: where it came from, and what the run measured of it.

The effect of a change is measured where it was made (the child against the parent that it was made from) and where it
was taken back. Examples that a child was made to mend or to keep are left out: they were picked by how its parent did
on them, which alone would make the child look better. What is left is mostly the examples by which the child was
chosen, so what is worth most tends to look better than it is; the verdict on the test split does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from crito.memory.archive import Archive
from crito.prompt import Layout, Prompt
from crito.records import Candidate
from crito.task import Example
from crito.tools.passages import sentences
from crito.tools.stats import bootstrap_interval


class Change(NamedTuple):
    """One edit of a step from a parent to its child: pieces that went, and pieces that came in their place.

    A piece is a rule of a list, a sentence of a text, a demonstration, or the value of a layout key, of the template
    or of the words. Rules count one by one; what changed in one text, or among the demonstrations, is one change.
    """

    place: str
    removed: frozenset[str]
    added: frozenset[str]

    def undoes(self, other: Change) -> bool:
        """Whether it puts back what the other one found."""
        return self == Change(other.place, other.added, other.removed)


class Credit(BaseModel):
    """One change that a candidate carries against the seed, and what it is worth.

    Attributes:
        place: Name of a section, ``demos``, ``layout.style`` and the like, ``template`` or ``words``.
        text: What the candidate still has of it, piece by piece; empty where something was only left out.
        removed: What stood there before; empty where something was only added.
        candidate: Id of the candidate that brought it, whose round, operator, author and hypothesis follow.
        gain: Mean effect per example, None where nothing was measured; 95 % ``interval``, over ``n`` examples.
        others: Other edits that were made with it and share this effect; 0 where it is the effect of this one alone.
        undone: Ids of the candidates that took back this and nothing else; their effect is in ``gain``, its sign
            turned.
    """

    model_config = ConfigDict(frozen=True)
    place: str
    text: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    candidate: str
    round: int
    operator: str
    author: str
    hypothesis: str
    gain: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    others: int = 0
    undone: tuple[str, ...] = ()


def credited(candidate: str, seed: str, archive: Archive, examples: Sequence[Example]) -> tuple[Credit, ...]:
    """A credit for every change between the seed and a candidate, in the order of the candidate's prompt.

    Each piece is followed back to the first candidate that had it; of two parents through the one that has it. Where
    a step made or took back this one edit alone, its effect is the mean over these steps; else the effect of all that
    was made with it, undivided. Effects are averaged per example first; the interval is that of
    :func:`crito.tools.stats.bootstrap_interval`.

    Args:
        candidate: Id of the candidate.
        seed: Id of the seed.
        archive: Candidates and outcomes of the run.
        examples: On what effects may be measured: validation and training examples.
    """
    return tuple(_Descent(seed, archive, examples).credits(candidate))


def changes(before: Prompt, after: Prompt) -> tuple[Change, ...]:
    """The edits between two prompts; the order of sections, rules and demonstrations is none."""
    old, new = pieces(before), pieces(after)
    listed = {s.name for prompt in (before, after) for s in prompt.sections if isinstance(s.body, tuple)}
    found = []
    for place in dict.fromkeys((*new, *old)):
        gone = [piece for piece in old.get(place, ()) if piece not in new.get(place, ())]
        come = [piece for piece in new.get(place, ()) if piece not in old.get(place, ())]
        if place in listed:
            pairs = zip_longest(([piece] for piece in gone), ([piece] for piece in come), fillvalue=())
            found += [Change(place, frozenset(a), frozenset(b)) for a, b in pairs]
        elif gone or come:
            found.append(Change(place, frozenset(gone), frozenset(come)))
    return tuple(found)


def pieces(prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """What a prompt consists of, by place and in its order; see :class:`Change`."""
    found = {s.name: tuple(sentences([s.body]) if isinstance(s.body, str) else s.body) for s in prompt.sections}
    found["demos"] = tuple(demo.model_dump_json(include={"inputs", "output"}) for demo in prompt.demos)
    found |= {f"layout.{key}": (getattr(prompt.layout, key),) for key in Layout.model_fields}
    found["template"] = (prompt.template,)
    found["words"] = tuple(f"{label}: {word}" for label, word in prompt.words.items())
    return found


@dataclass(frozen=True)
class _Descent:
    """The candidates of a run, of which any can be followed back to the seed."""

    seed: str
    archive: Archive
    examples: Sequence[Example]

    @cached_property
    def known(self) -> Mapping[str, Candidate]:
        return {candidate.id: candidate for candidate in self.archive.candidates()}

    @cached_property
    def steps(self) -> Mapping[str, tuple[Change, ...]]:
        """What each candidate changed of the parent that it was made from."""
        return {c.id: changes(self.parent(c).main, c.main) for c in self.known.values() if c.id != self.seed}

    def parent(self, candidate: Candidate) -> Candidate:
        """What a candidate was made from; the seed where nobody knows."""
        return self.known[next((parent for parent in candidate.parents if parent in self.known), self.seed)]

    def credits(self, candidate: str) -> Iterator[Credit]:
        has = pieces(self.known[candidate].main)
        had = pieces(self.known[self.seed].main)
        carried: dict[tuple[str, Change], None] = {}
        for place in dict.fromkeys((*has, *had)):
            mine, seeds = has.get(place, ()), had.get(place, ())
            brought = (self.origin(candidate, place, piece, there=True) for piece in mine if piece not in seeds)
            dropped = (self.origin(candidate, place, piece, there=False) for piece in seeds if piece not in mine)
            carried |= dict.fromkeys(brought)
            carried |= dict.fromkeys((maker, change) for maker, change in dropped if not change.added)
        for maker, change in carried:
            yield self.credit(self.known[maker], change, has.get(change.place, ()))

    def origin(self, candidate: str, place: str, piece: str, *, there: bool) -> tuple[str, Change]:
        """The candidate since which a piece has been there, or has not, and the change by which it came or went."""
        maker = self.known[candidate]
        while older := next(
            (p for p in self.parents(maker) if (piece in pieces(p.main).get(place, ())) == there), None
        ):
            maker = older
        changed = (c for c in self.steps[maker.id] if c.place == place)
        return maker.id, next(c for c in changed if piece in (c.added if there else c.removed))

    def parents(self, candidate: Candidate) -> list[Candidate]:
        found = [self.known[parent] for parent in candidate.parents if parent in self.known]
        return found if found or candidate.id == self.seed else [self.known[self.seed]]

    def credit(self, maker: Candidate, change: Change, left: Sequence[str]) -> Credit:
        made, old = self.steps[maker.id], pieces(self.parent(maker).main)
        undoing = [c for c, step in self.steps.items() if len(step) == 1 and step[0].undoes(change)]
        back = {c: {e: -effect for e, effect in lost.items()} for c in undoing if (lost := self.effect(c))}
        alone = [self.effect(maker.id), *back.values()] if len(made) == 1 else [*back.values()]
        shared = not any(alone)
        measured = _pooled([self.effect(maker.id)] if shared else alone)
        return Credit(
            place=change.place,
            text=tuple(piece for piece in left if piece in change.added),
            removed=tuple(piece for piece in old.get(change.place, ()) if piece in change.removed),
            candidate=maker.id,
            round=maker.round,
            operator=maker.operator,
            author=maker.author,
            hypothesis=maker.hypothesis,
            gain=sum(measured) / len(measured) if measured else None,
            interval=bootstrap_interval(measured) if measured else None,
            n=len(measured),
            others=len(made) - 1 if shared else 0,
            undone=tuple(back),
        )

    def effect(self, child: str) -> dict[str, float]:
        """Paired differences of a child against what it was made from, by example."""
        made = self.known[child]
        picked = {*made.mends, *made.keeps}
        fair = [example for example in self.examples if example.id not in picked]
        pairs = zip(
            fair, self.archive.scores(child, fair), self.archive.scores(self.parent(made).id, fair), strict=True
        )
        return {e.id: mine - theirs for e, mine, theirs in pairs if mine is not None and theirs is not None}


def _pooled(effects: Sequence[Mapping[str, float]]) -> list[float]:
    """The mean of several effects on each example that any of them has."""
    by_example: dict[str, list[float]] = defaultdict(list)
    for effect in effects:
        for example, difference in effect.items():
            by_example[example].append(difference)
    return [sum(differences) / len(differences) for differences in by_example.values()]
