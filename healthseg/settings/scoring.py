"""The health score: scorecards, coverage, ramp, caps, bands, peers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from healthseg.settings.base import Frozen
from healthseg.settings.scorecard import DEFAULT_SCORECARD, Scorecard, Variant


class ScoringSettings(Frozen):
    """The health score: scorecards, coverage, ramp, caps, bands, peers."""

    scorecard: Scorecard = DEFAULT_SCORECARD
    scorecard_variants: tuple[Variant, ...] = ()
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.30
    ramp_days: Annotated[int, Field(ge=0)] = 90
    overdue_cap_days: Annotated[int, Field(ge=1)] = 60
    overdue_cap_score: Annotated[float, Field(ge=0, le=100)] = 59.0
    band_edges: tuple[float, float, float] = (40.0, 60.0, 80.0)
    peers_min: Annotated[int, Field(ge=2)] = 8

    @field_validator("band_edges")
    @classmethod
    def _bands(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 < values[0] < values[1] < values[2] < 100:
            raise ValueError("band_edges must rise between 0 and 100")
        return values

    def scorecard_for(self, plan: str | None, tier: str | None, stage: str | None) -> Scorecard:
        """The first variant whose every given list holds the customer's word, else the default."""
        for variant in self.scorecard_variants:
            pairs = ((variant.plan, plan), (variant.tier, tier), (variant.stage, stage))
            if all(value in words for words, value in pairs if words):
                return Scorecard(components=variant.components)
        return self.scorecard
