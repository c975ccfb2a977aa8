"""How metrics are counted: sessions, adoption, champions, cohorts of users, baselines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from healthseg.settings.base import Frozen
from healthseg.settings.own_metrics import OwnMetric


class MetricSettings(Frozen):
    """How metrics are counted: sessions, adoption, champions, cohorts of users, baselines."""

    # a team's own, by name
    metrics: dict[str, OwnMetric] = Field(default_factory=dict)
    # customers that work through the API alone are judged by their API events; others are inferred: programs on so many
    # days of the twelve weeks before (two of them), and persons on no more than so many (somebody looks in now and then)
    api_only_customers: tuple[str, ...] = ()
    api_only_min_days: Annotated[int, Field(ge=1)] = 14
    api_only_max_person_days: Annotated[int, Field(ge=0)] = 2
    # how often users come is known from two weeks after signup
    frequency_min_days: Annotated[int, Field(ge=1)] = 14
    session_gap_minutes: Annotated[int, Field(ge=1)] = (
        30  # Google Analytics', Amplitude's and Mixpanel's default
    )
    adopted_min_days: Annotated[int, Field(ge=1)] = 2  # once is a look, twice is a choice
    adopted_min_users: Annotated[int, Field(ge=1)] = 1
    # the champion is looked for in a quarter, and then may be silent for four weeks
    champion_days: Annotated[int, Field(ge=28)] = 90
    champion_silence_days: Annotated[int, Field(ge=1)] = 28
    champion_min_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    champion_min_active_days: Annotated[int, Field(ge=1)] = 12
    # 28 days without the champion are a departure only where that seldom: of 100 champions who stay, a tenth of one
    champion_silence_max_p: Annotated[float, Field(gt=0, le=1)] = 0.001
    power_min_days: Annotated[int, Field(ge=1, le=28)] = 12  # of 28; three working days a week
    regular_min_days: Annotated[int, Field(ge=1, le=28)] = 4  # of 28; once a week
    activation_features: tuple[
        str, ...
    ] = ()  # activated = used one of them; empty: any person event
    activation_days: Annotated[int, Field(ge=1)] = (
        14  # after creation, where activation_features are set
    )
    baseline_min_tracked_days: Annotated[int, Field(ge=1)] = 28
    # before a span: what usage is compared with, twelve weeks
    own_baseline_days: Annotated[int, Field(ge=28)] = 84
    # a user who is not listed belongs to the customer while active within a quarter
    unlisted_user_active_days: Annotated[int, Field(ge=28)] = 90
    # after tracking began: a user first active then may have been active before
    tracking_start_days: Annotated[int, Field(ge=0)] = 28
    # of the days of a span and the one before it: with more in a tracking gap, who is new or dormant is not known
    growth_max_missing_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # more contents of messages, or longer ones, are texts and no categories
    message_contents_max_count: Annotated[int, Field(ge=1)] = 50
    message_content_max_characters: Annotated[int, Field(ge=1)] = 60
    # answers from which NPS and CSAT are measured: one more of two moves NPS by up to 67 points, and says nothing yet
    survey_min_answers: Annotated[int, Field(ge=1)] = 3
    paid_late_days: Annotated[int, Field(ge=0)] = 5

    @field_validator("metrics")
    @classmethod
    def _named(cls, metrics: dict[str, OwnMetric]) -> dict[str, OwnMetric]:
        for name in metrics:
            if not name.isidentifier():
                raise ValueError(f"{name!r}: a metric's name is a word of letters, digits and _")
        return metrics

    @property
    def champion_look_back_days(self) -> int:
        return self.champion_days + self.champion_silence_days
