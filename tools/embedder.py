"""Texts to vectors, from any model that can do so, in the shape that the ledger pays."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from crito.errors import BadInput
from crito.protocols import ModelReply, ModelRequest
from crito.tools.endpoint_model import read_usage, unusable
from crito.tools.models import resolve
from crito.tools.prices import mode_of

_EXAMPLES = "openai/text-embedding-3-small, endpoint/http://localhost:8000/v1#my-model or local/smollm2"


class Embeds(Protocol):
    """A model that gives vectors: ``embed`` makes one attempt and answers in the format of OpenAI's embeddings."""

    name: str
    identity: str

    async def embed(self, texts: Sequence[str]) -> Mapping[str, Any]:
        """The answer for these texts.

        Raises:
            crito.errors.CallFailed: Whatever went wrong, already classified.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections and processes."""
        ...


class Embedder:
    """A model whose reply to a request is a vector for each message, one line of base64 (float32) each.

    Attributes:
        identity: Tells its answers from those of a model of the same name that is asked for words.
    """

    def __init__(self, model: Embeds) -> None:
        self.name = model.name
        self.identity = f"vectors {model.identity}".strip()
        self._model = model

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer once.

        Raises:
            CallFailed: Whatever went wrong, classified; ``garbage`` for anything but one vector for each message.
        """
        answer = await self._model.embed([message.content for message in request.messages])
        usage = read_usage(answer)
        try:
            rows = [entry["embedding"] for entry in sorted(answer["data"], key=lambda entry: entry["index"])]
            with np.errstate(over="ignore"):
                vectors = np.array(rows, dtype=np.float64).astype("<f4")
            shaped = vectors.ndim == 2 and len(vectors) == len(request.messages) and vectors.size > 0
            usable = shaped and bool(np.isfinite(vectors).all())
        except (KeyError, TypeError, ValueError):
            usable = False
        if not usable:
            raise unusable("garbage", f"{self.name}: the answer holds no vector for each text", usage)
        lines = (base64.b64encode(vector.tobytes()).decode() for vector in vectors)
        return ModelReply(text="\n".join(lines), usage=usage)

    async def aclose(self) -> None:
        """Give back connections and processes; it can be asked again."""
        await self._model.aclose()


def resolve_embedder(name: str, *, environ: Mapping[str, str] = os.environ) -> Embedder:
    """Make the embedding model that a name stands for; nothing is loaded or called yet.

    The names are those of :func:`crito.tools.models.resolve`. A model in a file gives the mean over its tokens.

    Args:
        name: The name.
        environ: Where API keys are looked for.

    Raises:
        BadInput: The name cannot be an embedding model's, or its file, package or key is missing.
    """
    provider, _, rest = name.partition("/")
    if not provider or not rest:
        raise BadInput(f"embed: {name!r} names no provider; write for example {_EXAMPLES}")
    if mode_of(name) not in ("", "embedding"):
        raise BadInput(f"embed: {name} gives no vectors; name an embedding model, such as {_EXAMPLES}")
    try:
        model = resolve(name, environ=environ)
    except BadInput as error:
        raise BadInput(f"embed: {str(error).removeprefix('model: ')}") from None
    return Embedder(cast("Embeds", model))


def vectors_of(lines: Sequence[str]) -> NDArray[np.float32]:
    """The vectors in lines of an :class:`Embedder`, shape (lines, dimensions).

    Raises:
        ValueError: A line is damaged, or they are not of one length.
    """
    return np.array([np.frombuffer(base64.b64decode(line, validate=True), dtype="<f4") for line in lines])
