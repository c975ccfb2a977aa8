"""A team's own metrics, as ``[metrics.<name>]`` of portfolio.toml or ``settings={"metrics": …}`` states them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from healthseg.errors import InvalidParameters
from healthseg.rules.expressions import Condition
from healthseg.settings.base import Frozen

Use = Literal["scorecard", "churn", "segments", "rules", "pages"]
ALL_USES: tuple[Use, ...] = ("scorecard", "churn", "segments", "rules", "pages")


class OwnMetric(Frozen):
    """A metric by one of four sources: ``expression`` over columns of the panel, ``sql`` over the tables as they
    were known at the end of a day, ``daily`` (the rows of its name in the table ``metrics_daily``), or ``percentile_of``
    a column among the live customers with the same value of ``peers`` (a column; without it all of them)."""

    expression: str | None = None
    sql: str | None = None
    daily: bool = False
    percentile_of: str | None = None
    peers: str | None = None
    # a figure computed elsewhere holds for so many days after its date: a monthly one, and four days to compute it
    max_age_days: Annotated[int, Field(ge=0)] = 35
    # what a customer without a row of ``sql`` has: missing, or a number
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
        texts = (self.expression, self.sql, self.percentile_of)
        if sum(text is not None for text in texts) + self.daily != 1:
            raise ValueError("a metric has one of expression, sql, percentile_of and daily = true")
        return self

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
