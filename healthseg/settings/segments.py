"""Segments and how customers answer messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class SegmentSettings(Frozen):
    """Segments and how customers answer messages."""

    segment_compare_days: Annotated[int, Field(ge=7)] = 90  # who moved since: a quarter
    segment_min_effect: Annotated[float, Field(gt=0, lt=1)] = (
        0.33  # Cliff's delta; Romano et al. (2006): medium
    )
    messages_window_days: Annotated[int, Field(ge=14)] = (
        180  # how customers answer messages: two quarters
    )
    messages_engaged_days: Annotated[int, Field(ge=1)] = (
        7  # a click later than that answers something else
    )
    messages_min_sent: Annotated[int, Field(ge=1)] = 30  # fewer say nothing of a channel
    self_service_features: tuple[str, ...] = ()  # help pages, guides: who uses them helps itself
