"""Presets: a method is a setting of the same parts, not a code path."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Preset(BaseModel):
    """Settings of a search.

    Attributes:
        opening: Share of the search budget for the opening: demonstrations and layouts around the seed.
        round: Share of the search budget for one later round; ``compress`` for one that compresses.
        steps: Parents worked on in one round.
        block: Validation examples of one race block.
        alpha: Level of the paired tests that eliminate a candidate from a race.
        patience: Rounds without a new incumbent before the next stage: search, then compress, then sweep, then verdict.
        rounds: The most rounds of all stages together.
        reserve: Share of the search budget kept for the stages after the search.
        margin: How much a compressed prompt may lose (non-inferiority).
    """

    model_config = ConfigDict(frozen=True)
    name: str
    opening: float = Field(default=0.5, gt=0, le=1)
    round: float = Field(default=0.2, gt=0, le=1)
    compress: float = Field(default=0.1, gt=0, le=1)
    steps: int = Field(default=3, gt=0)
    block: int = Field(default=8, gt=0)
    alpha: float = Field(default=0.2, gt=0, lt=0.5)
    patience: int = Field(default=2, gt=0)
    rounds: int = Field(default=12, gt=0)
    reserve: float = Field(default=0.25, ge=0, lt=1)
    margin: float = Field(default=0.02, ge=0)


DEFAULT = Preset(name="default")
