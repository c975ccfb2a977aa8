"""segment_customers: who belongs together by value, usage, health, industry, lifecycle or metrics of one's own?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound, InvalidParameters
from healthseg.metrics.profile import customer_as_of
from healthseg.tools.parameters import Parameters, validated
from healthseg.tools.segments import answer as segment_answer
from healthseg.tools.segments.result import Segmentation

Kind = Literal["value", "usage", "health", "industry", "lifecycle", "custom"]
Format = Literal["detailed", "summary", "ids_only"]
Criteria = Field(
    description="What the type takes: thresholds, trend_weighting, metrics, method, k, rules …"
)
Type = Field(description="Type of segmentation")
Least = Field(default=5, ge=1, description="Minimum customers per segment")
Most = Field(default=10, ge=1, le=100, description="Maximum number of segments")
Advice = Field(default=True, description="Include engagement recommendations")
Output = Field(default="detailed", description="Output format")
Since = Field(
    default=None,
    description="Earlier date to compare with; default segment_compare_days (90) before as_of",
)
AsOf = Field(default=None, description="Date, read to its end; default the portfolio's last day")


class PortfolioParameters(Parameters):
    """Parameters of portfolio_segments."""

    segmentation_criteria: dict[str, Any] = Criteria
    segment_type: Kind = Type
    min_segment_size: int = Least
    max_segments: int = Most
    include_recommendations: bool = Advice
    output_format: Format = Output
    compare_with: str | dt.date | None = Since
    as_of: str | dt.date | None = AsOf


class CustomerParameters(PortfolioParameters):
    """Parameters of segment_customers."""

    client_id: str | None = Field(
        default=None, description="Customer whose place is shown (omit for none)"
    )


def segment_customers(
    portfolio: Portfolio,
    segmentation_criteria: Mapping[str, Any] | None,
    segment_type: str,
    min_segment_size: int = 5,
    max_segments: int = 10,
    include_recommendations: bool = True,
    output_format: str = "detailed",
    *,
    client_id: str | None = None,
    compare_with: str | dt.date | None = None,
    as_of: str | dt.date | None = None,
) -> Segmentation:
    """Which customers belong together, what sets them apart, who moved, and what works for each segment?

    Every live customer is in exactly one segment; those that can't be placed are in their own, with the reason.
    Segments below ``min_segment_size``, or beyond ``max_segments``, are put together by a stated rule. ``custom``
    segments by metrics are spoken of only where the evidence is there. The run is kept in the portfolio's ledger.
    Raises InvalidClientId, ClientNotFound, InvalidParameters, DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([(client, f"2025-03-{day:02d} 09:00", "u1") for client in "abc" for day in range(1, 29)])
    >>> found = segment_customers(portfolio, {"rules": [{"name": "Old", "when": "tenure_months > 6"}]}, "custom", 1)
    >>> [(one.segment_name, one.customer_count) for one in found.segments]
    [('Old', 3)]
    """
    asked = validated(
        CustomerParameters,
        {
            "segmentation_criteria": _plain(segmentation_criteria),
            "segment_type": segment_type,
            "min_segment_size": min_segment_size,
            "max_segments": max_segments,
            "include_recommendations": include_recommendations,
            "output_format": output_format,
            "client_id": client_id,
            "compare_with": compare_with,
            "as_of": as_of,
        },
    )
    return _answered(portfolio, asked)


def portfolio_segments(
    portfolio: Portfolio,
    *,
    segmentation_criteria: Mapping[str, Any] | None,
    segment_type: str,
    min_segment_size: int = 5,
    max_segments: int = 10,
    include_recommendations: bool = True,
    output_format: str = "detailed",
    compare_with: str | dt.date | None = None,
    as_of: str | dt.date | None = None,
) -> Segmentation:
    """The same response, for the portfolio's report. Raises InvalidParameters and DataRetrievalError."""
    given = validated(
        PortfolioParameters,
        {
            "segmentation_criteria": _plain(segmentation_criteria),
            "segment_type": segment_type,
            "min_segment_size": min_segment_size,
            "max_segments": max_segments,
            "include_recommendations": include_recommendations,
            "output_format": output_format,
            "compare_with": compare_with,
            "as_of": as_of,
        },
    )
    return _answered(portfolio, validated(CustomerParameters, given.model_dump()))


def _answered(portfolio: Portfolio, asked: CustomerParameters) -> Segmentation:
    date = portfolio.as_of(asked.as_of)
    since = None if asked.compare_with is None else portfolio.as_of(asked.compare_with)
    if since is not None and since >= date:
        raise InvalidParameters(
            f"compare_with {since} does not lie before as_of {date}",
            parameter="compare_with",
            value_provided=str(asked.compare_with),
            validation_rule="a date before as_of",
        )
    if asked.client_id is not None:
        refuse_unless_live(portfolio, asked.client_id, date)
    return segment_answer.answer(portfolio, date, asked.model_copy(update={"compare_with": since}))


def refuse_unless_live(portfolio: Portfolio, client_id: str, date: dt.date) -> None:
    """Raises where the customer is unknown, not there yet or no longer."""
    customer = customer_as_of(portfolio, client_id, date)
    left = customer["churned_on"]
    if pd.Timestamp(customer["signup_date"]) > pd.Timestamp(date):
        begun = pd.Timestamp(customer["signup_date"]).date()
        raise ClientNotFound(
            f"{client_id} signs up on {begun}, after {date}",
            parameter="client_id",
            value_provided=client_id,
            signup_date=str(begun),
            validation_rule="signed up by as_of",
        )
    if not pd.isna(left):
        last = left.date() - dt.timedelta(days=1)
        raise ClientNotFound(
            f"{client_id} left on {left.date()}, and segments and tiers hold live customers; where it "
            f"stood on its last day: as_of {last}",
            parameter="client_id",
            value_provided=client_id,
            churned_on=str(left.date()),
            last_as_of=str(last),
            validation_rule="live at as_of",
        )


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
