"""What is kept of a run: every record says which run it is of, on what task and model, and when that was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from crito.memory.signature import RecordId, Signature, TargetName

_MOST_EXAMPLES = 1_000_000
Seen = Annotated[float, Field(ge=0, le=1e11)]
"""When something was measured, in seconds since 1970; the year 5138 at most."""


class Record(BaseModel):
    """Something that one run left for later ones.

    Attributes:
        run: The run.
        signature: Of its task.
        model: Its target.
        seen: When it ended, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    run: RecordId
    signature: Signature
    model: TargetName
    seen: Seen

    @property
    def key(self) -> str:
        """Its name in a store."""
        return self.run


class Measurement(Record):
    """A gain that one run measured.

    Attributes:
        n: Validation examples that both sides answered.
        gain: Mean paired difference of the score on them.
    """

    n: int = Field(gt=0, le=_MOST_EXAMPLES)
    gain: float = Field(ge=-1, le=1)


class Known(BaseModel, ABC):
    """The same thing, as all runs that measured it know it."""

    model_config = ConfigDict(frozen=True)

    @property
    @abstractmethod
    def measured(self) -> Sequence[Measurement]:
        """One for each run, the latest last."""

    @property
    def n(self) -> int:
        """Examples of all runs together."""
        return sum(m.n for m in self.measured)

    @property
    def gain(self) -> float:
        """Mean gain per example."""
        return sum(m.n * m.gain for m in self.measured) / self.n

    @property
    def refuted(self) -> int:
        """Runs without a gain."""
        return sum(m.gain <= 0 for m in self.measured)

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that measured it."""
        return tuple(m.run for m in self.measured)

    @property
    def seen(self) -> float:
        """When it was last measured, in seconds since 1970."""
        return self.measured[-1].seen
