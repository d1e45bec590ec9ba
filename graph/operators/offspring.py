"""What patches make of their parents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crito.errors import PatchRejected
from crito.patch import Patch
from crito.records import Candidate, child


def offspring(
    parents: Sequence[Candidate], patches: Iterable[Patch], *, operator: str, round_number: int, author: str
) -> list[Candidate]:
    """The distinct children that the patches make of the first parent, with the ids of all parents.

    A patch that does not apply, touches something frozen or only leads back to a parent is left out.
    """
    ids = tuple(parent.id for parent in parents)
    found: dict[str, Candidate] = {}
    for patch in patches:
        try:
            made = child(parents[0], patch, operator=operator, round_number=round_number, author=author)
        except PatchRejected:
            continue
        if made.id not in ids:
            found.setdefault(made.id, made.model_copy(update={"parents": ids}))
    return list(found.values())
