"""Segments and how customers answer messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class SegmentSettings(Frozen):
    """Segments and how customers answer messages."""

    # moves are shown since a quarter ago
    segment_compare_days: Annotated[int, Field(ge=7)] = 90
    # the trend of a score or a metric: twelve weeks
    segment_trend_days: Annotated[int, Field(ge=7)] = 84
    # what distinguishes a segment, and the risks of a customer: more are not read
    segment_max_differences: Count = 8
    segment_max_risks: Count = 4
    # draws of the values' errors, for the moves that noise alone makes
    segment_noise_draws: Annotated[int, Field(ge=100)] = 1_000
    # Cliff's delta that is a medium effect (Romano et al. 2006)
    segment_min_effect: Share = 0.33
    # customers of each segment in a comparison: fewer say nothing of a segment
    segment_min_compared_customers: Count = 8
    # more groups than a team can treat differently
    segment_max_groups: Annotated[int, Field(ge=2)] = 8
    # robust standard deviations from the others: less is not worth a word in a group's name, or
    # among what distinguishes a segment
    group_name_min_distance: Positive = 0.5
    segment_min_distance: Positive = 0.4
    # segments by usage: which metric, and its thresholds (shares of the seats)
    usage_segment_metric: str = "weekly_active_users_per_seat"
    usage_segment_thresholds: tuple[float, ...] = (0.2, 0.5, 0.8)
    # segments that hold so much of the top fifth by ARR are named
    pareto_named_share: Share = 0.8
    # a customer is new for a quarter
    new_customer_days: Count = 90
    # an invoice that is overdue for a month needs a manager
    segment_overdue_days: Count = 30
    # how customers answer messages: two quarters
    messages_window_days: Annotated[int, Field(ge=14)] = 180
    # a click later than that answers something else
    messages_engaged_days: Count = 7
    # fewer say nothing of a channel
    messages_min_sent: Count = 30
    # help pages, guides: customers that use them help themselves
    self_service_features: tuple[str, ...] = ()
