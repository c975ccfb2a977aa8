"""Usage: what makes a peak of the week."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class UsageSettings(Frozen):
    """Usage: what makes a peak of the week."""

    # a week's peak: how far it stands out, and how seldom chance does that among all hours (or days) of a flat week
    peak_min_ratio: Annotated[float, Field(gt=1)] = 1.25
    peak_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.01
