"""How metrics are counted: sessions, adoption, champions, cohorts of users, baselines; a team's own
(``[metrics.<name>]`` of portfolio.toml, or ``settings={"metrics": …}``)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from healthseg.errors import InvalidParameters
from healthseg.rules.expressions import Condition
from healthseg.settings.base import Frozen

Use = Literal["scorecard", "churn", "segments", "rules", "pages"]
ALL_USES: tuple[Use, ...] = ("scorecard", "churn", "segments", "rules", "pages")


class StatedValue(Frozen):
    """What somebody states of a customer, from the day ``since`` on, until the day ``until``, on which it has expired."""

    client_id: str
    since: dt.date
    until: dt.date
    value: float = 1.0


class OwnMetric(Frozen):
    """A metric by one of six sources: ``expression`` over columns of the panel, ``sql`` over the tables as they
    were known at the end of a day, ``daily`` (the rows of its name in the table ``metrics_daily``), ``counted`` (a metric of the
    catalogue, over ``window_days``: older inputs do not count), ``stated`` (values of named customers, each until it expires;
    ``empty`` of all others), or ``percentile_of`` a column among the live customers with
    the same value of ``peers`` (a column; without it all of them)."""

    expression: str | None = None
    sql: str | None = None
    daily: bool = False
    counted: str | None = None
    window_days: Annotated[int | None, Field(ge=1, le=1_100)] = None
    stated: tuple[StatedValue, ...] = ()
    percentile_of: str | None = None
    peers: str | None = None
    # for so many days the last value holds where there is none. Of a figure computed elsewhere 35 where it is not stated (a
    # monthly one, and four days to compute it); of ``counted`` 0
    max_age_days: Annotated[int | None, Field(ge=0, le=1_100)] = None
    # what a customer without a row of ``sql``, or of whom nothing is ``stated``, has: missing, or a number
    empty: float | None = None
    label: str = ""
    unit: str = ""
    format: Literal["count", "days", "hours", "money", "number", "percent", "ratio", "signed"] = (
        "number"
    )
    better: Literal["higher", "lower"] | None = None
    definition: str = ""
    question: str = ""
    missing: str = ""
    uses: tuple[Use, ...] = ALL_USES
    logarithm: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        texts = (self.expression, self.sql, self.percentile_of, self.counted)
        if sum(text is not None for text in texts) + self.daily + bool(self.stated) != 1:
            raise ValueError(
                "a metric has one of expression, sql, percentile_of, counted, stated and daily = true"
            )
        if (self.counted is None) != (self.window_days is None):
            raise ValueError("counted and window_days go together")
        return self

    @property
    def held_days(self) -> int:
        """For how many days the last value holds."""
        return (35 if self.daily else 0) if self.max_age_days is None else self.max_age_days

    @field_validator("expression")
    @classmethod
    def _parsed(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Condition(text)
            except InvalidParameters as problem:
                raise ValueError(problem.message) from None
        return text


# The definitions of the portfolios that are open in this process: they describe figures (label, unit, format).
# What a portfolio computes, its own settings say.
_declared: dict[str, OwnMetric] = {}


def declare(metrics: Mapping[str, OwnMetric]) -> None:
    """Make the metrics of a portfolio that is opened known by name; the last definition of a name describes it."""
    _declared.update(metrics)


def declared() -> Mapping[str, OwnMetric]:
    """The own metrics of the portfolios that were opened in this process, by name."""
    return _declared


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
