"""Two lineages into one: what each changed since their lowest common ancestor, together (GEPA's merge)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from crito.graph.deps import Deps
from crito.graph.operators.assignment import Assignment
from crito.graph.operators.offspring import offspring
from crito.memory.lineage import common_ancestor, lineage
from crito.prompt import ORDERED, Prompt, Section
from crito.records import Candidate

_Part = TypeVar("_Part")


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The merged child of the first two parents, made by code alone.

    None when one descends from the other, nothing is shared, or one has become worse than their ancestor.
    """
    parents = assignment.parents[:2]
    if len({parent.id for parent in parents}) < 2:
        return []
    one, other = parents
    root = common_ancestor(lineage(deps.archive.candidates()), one.id, other.id)
    if root is None or root in (one.id, other.id):
        return []
    if any(deps.archive.gain(parent.id, root, deps.val) < 0 for parent in parents):
        return []
    if one.main.words != other.main.words:
        return []  # a rule that names words belongs to them
    first_leads = deps.archive.gain(one.id, other.id, deps.val) >= 0
    merged = three_way(deps.archive.candidate(root).main, one.main, other.main, first_leads=first_leads)
    patch = one.main.diff(merged).model_copy(update={"rationale": f"join what both changed since {root}"})
    return offspring(parents, [patch], operator="merge", round_number=assignment.round, author="code")


def three_way(root: Prompt, one: Prompt, other: Prompt, *, first_leads: bool = True) -> Prompt:
    """What each of two prompts changed of a third, in one prompt; where both changed a part, the leader's version.

    Lists of rules need no leader: they hold what neither dropped and what either added.
    """
    names = dict.fromkeys(section.name for prompt in (one, other) for section in prompt.sections)
    pick = _Pick(first_leads)
    sections = (
        _rules(root.section(name), one.section(name), other.section(name))
        or pick(root.section(name), one.section(name), other.section(name))
        for name in names
    )
    return one.model_copy(
        update={
            "sections": tuple(section for section in sections if section is not None and section.body),
            "demos": pick(root.demos, one.demos, other.demos),
            "template": pick(root.template, one.template, other.template),
            "layout": pick(root.layout, one.layout, other.layout),
        }
    )


def _rules(before: Section | None, one: Section | None, other: Section | None) -> Section | None:
    """Rules of both: what neither dropped, then what either added.

    None unless both changed a list of rules, and where they cannot be joined: steps, whose order counts, and two new
    versions of one rule.
    """
    if one is None or other is None or before in (one, other) or one.name == ORDERED:
        return None
    if isinstance(one.body, str) or isinstance(other.body, str):
        return None
    old = before.body if before is not None and not isinstance(before.body, str) else ()
    mine, theirs = ([rule for rule in side.body if rule not in old] for side in (one, other))
    if mine and theirs and any(rule not in one.body and rule not in other.body for rule in old):
        return None
    kept = [rule for rule in old if rule in one.body and rule in other.body]
    return one.model_copy(update={"body": tuple(dict.fromkeys([*kept, *mine, *theirs]))})


@dataclass(frozen=True)
class _Pick:
    """Chooses one side's version of a part: the one that changed, and the leader's if both did."""

    first_leads: bool

    def __call__(self, before: _Part, one: _Part, other: _Part) -> _Part:
        if one == before:
            return other
        return one if other == before or self.first_leads else other
