"""Adoption of features: when one is abandoned, little used, first used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class AdoptionSettings(Frozen):
    """Adoption of features: when one is abandoned, little used, first used."""

    # two months without a use: longer than a quarter's routine
    abandoned_after_days: Annotated[int, Field(ge=14)] = 60
    funnel_first_use_days: Annotated[int, Field(ge=2)] = (
        2  # ever: the second day is the first that was chosen
    )
    low_adoption_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
