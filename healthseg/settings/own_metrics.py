"""A team's own metrics, as ``[metrics.<name>]`` of portfolio.toml or ``settings={"metrics": …}`` states them."""

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
