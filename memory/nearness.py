"""How near lessons are to a task by what they mean: vectors of an embedding model, compared by their cosine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crito.memory.lesson_store import LessonStore
from crito.memory.lessons import Lesson
from crito.prompt import Message
from crito.protocols import ModelRequest
from crito.tools.embedder import Embedder, vectors_of
from crito.tools.ledger import Ledger

_BATCH = 64
"""Texts of one call; some providers take no more than 96."""


class Nearness:
    """Asks an embedding model about a task and about the directions among the lessons, each direction once.

    Recipes have fixed words, which say nothing of a task, and need no vector.

    Args:
        ledger: Pays for the calls. One of its own, so that who is down here is not taken for the target's provider.
        embedder: The model.
        store: Keeps the vectors of lessons, beside them.
    """

    def __init__(self, ledger: Ledger, embedder: Embedder, store: LessonStore) -> None:
        self._ledger = ledger
        self._embedder = embedder
        self._store = store
        # No name: it may hold an address. The identity, so that other weights under the same path count as new.
        self._folder = hashlib.sha256(f"{embedder.name}\n{embedder.identity}".encode()).hexdigest()[:12]

    async def of(self, query: str, known: Sequence[Lesson]) -> NDArray[np.float64]:
        """From 1 for the direction that is nearest to the query to 0 for the farthest, and for recipes.

        Args:
            query: What the task is.
            known: The lessons; shape of the result is (lessons,).

        Raises:
            CallFailed: The model does not answer.
            ProviderFailure: It refuses the key, or is down.
            BudgetExhausted: A call does not fit into the budget.
        """
        near = np.zeros(len(known))
        texts = {lesson.id: lesson.text for lesson in known if lesson.latest.kind == "direction"}
        if texts:
            try:
                (asked,) = await self._asked([query])
                kept = await self._kept(texts, asked)
            finally:
                await self._embedder.aclose()  # a local model would keep its memory for the rest of the run
            rows = [at for at, lesson in enumerate(known) if lesson.id in texts]
            vectors = vectors_of([kept[known[at].id] for at in rows])
            near[rows] = nearness(vectors_of([asked])[0], vectors)
        return near

    async def _kept(self, texts: Mapping[str, str], like: str) -> dict[str, str]:
        """The vector of each lesson; who has none, or none as long as the one that it is compared with, gets one."""
        stored = await self._store.vectors(self._folder)
        kept = {lesson: stored[lesson] for lesson in texts if _usable(stored.get(lesson, ""), like)}
        missing = [lesson for lesson in texts if lesson not in kept]
        for start in range(0, len(missing), _BATCH):
            some = missing[start : start + _BATCH]
            made = dict(zip(some, await self._asked([texts[lesson] for lesson in some]), strict=True))
            await self._store.keep_vectors(self._folder, made)
            kept |= made
        return kept

    async def _asked(self, texts: Sequence[str]) -> list[str]:
        request = ModelRequest(messages=tuple(Message(role="user", content=text) for text in texts), max_tokens=1)
        return (await self._ledger.call(self._embedder, request, role="memory")).reply.text.split("\n")


def _usable(vector: str, like: str) -> bool:
    """Whether a stored vector can be compared with another one: as long, and finite."""
    try:
        return len(vector) == len(like) and bool(np.isfinite(vectors_of([vector])).all())
    except ValueError:
        return False


def nearness(query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines to a query, stretched so that the nearest has 1 and the farthest 0; shape (vectors,).

    Models differ in how alike they find any two texts: from some, no cosine comes below .8. What can be mixed with
    another rank is the order and the spacing (min-max scaling, Bruch et al. 2023).
    """
    # einsum keeps to one thread; threads of a product this small wait for each other where the cores are busy.
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) * np.linalg.norm(query)
    cosines = np.einsum("ij,j->i", vectors, query).astype(np.float64) / np.maximum(lengths, 1e-12)
    above = cosines - cosines.min()
    return np.asarray(above / max(above.max(), 1e-6))
