"""Adoption of features: when one is abandoned, little used, first used, worth a recommendation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class AdoptionSettings(Frozen):
    """Adoption of features: when one is abandoned, little used, first used, worth a recommendation."""

    # two months without a use: longer than a quarter's routine
    abandoned_after_days: Annotated[int, Field(ge=14)] = 60
    # use in the last four weeks is recent
    adoption_recent_days: Annotated[int, Field(ge=1)] = 28
    # adoption lasts where the feature is in use half a year later
    adoption_lasting_days: Annotated[int, Field(ge=1)] = 180
    # ever: the second day is the first that was chosen
    funnel_first_use_days: Annotated[int, Field(ge=2)] = 2
    low_adoption_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    # a feature is called little adopted only when released for a quarter …
    low_adoption_min_released_days: Annotated[int, Field(ge=0)] = 90
    # … and when so many customers could use it; tiers with fewer set no target
    adoption_min_customers: Annotated[int, Field(ge=1)] = 8
    # answers on a feature from which a mean is shown
    feature_csat_min_answers: Annotated[int, Field(ge=1)] = 5
    # tickets on one topic, or low answers, that make a barrier
    barrier_min_tickets: Annotated[int, Field(ge=1)] = 3
    barrier_max_csat: Annotated[float, Field(ge=0)] = 2.0
    # a reader acts on a handful: barriers of a feature, recommendations of a tool
    barriers_max_count: Annotated[int, Field(ge=1)] = 5
    recommendations_max_count: Annotated[int, Field(ge=1)] = 5
    # retention after a quarter's end, churn after a month's, and a rise of ARR, which takes longer
    adoption_effect_horizon_days: Annotated[int, Field(ge=1)] = 90
    adoption_effect_step_days: Annotated[int, Field(ge=1)] = 30
    adoption_effect_expansion_days: Annotated[int, Field(ge=1)] = 180
    # a message about a feature reaches back a month, its effect is looked for over two
    adoption_message_days: Annotated[int, Field(ge=1)] = 30
    adoption_message_horizon_days: Annotated[int, Field(ge=1)] = 60
    # standard deviations from the other groups, from which a metric names an adoption pattern
    adoption_pattern_min_difference_sds: Annotated[float, Field(gt=0)] = 0.5
