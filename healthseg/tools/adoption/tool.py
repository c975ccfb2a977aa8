"""track_feature_adoption: what is used of what is paid for, how fast, does it last, and does it go with staying?"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound
from healthseg.metrics.profile import customer_as_of
from healthseg.tools.adoption import answer as adoption_answer
from healthseg.tools.adoption.result import FeatureAdoption, PortfolioAdoption
from healthseg.tools.parameters import Parameters, validated

Category = Literal["core", "advanced", "premium", "all"]
Against = Literal["tier", "industry", "all_customers"]
Days = Field(default=30, ge=7, le=365, description="Days over which adoption is judged")
AsOf = Field(default=None, description="Date, read to its end; default the portfolio's last day")


class CustomerParameters(Parameters):
    """Parameters of track_feature_adoption."""

    client_id: str | None = Field(
        default=None, description="Specific customer (omit for all customers)"
    )
    feature_category: Category = Field(default="all", description="Category of features")
    time_period_days: int = Days
    include_adoption_funnel: bool = Field(default=True, description="Include the adoption funnel")
    include_correlation_analysis: bool = Field(
        default=True, description="Correlate adoption with outcomes"
    )
    benchmark_against: Against | None = Field(
        default=None, description="Peers to compare with; default tier"
    )
    as_of: str | dt.date | None = AsOf


class PortfolioParameters(Parameters):
    """Parameters of portfolio_adoption."""

    feature_category: Category = Field(default="all", description="Category of features")
    time_period_days: int = Days
    as_of: str | dt.date | None = AsOf


def track_feature_adoption(
    portfolio: Portfolio,
    client_id: str | None = None,
    feature_category: str = "all",
    time_period_days: int = 30,
    include_adoption_funnel: bool = True,
    include_correlation_analysis: bool = True,
    benchmark_against: str | None = None,
    *,
    as_of: str | dt.date | None = None,
) -> FeatureAdoption:
    """Which of the features that can be used are adopted, how fast, how deep, for how long, and does it go with
    staying?

    Adopted means: a person's events on ``adopted_min_days`` (2) days of ``time_period_days``, on one of them by
    ``adopted_min_users`` (1). The denominator is what is released and entitled at the end of ``as_of``. Times are
    Kaplan–Meier medians with those not there yet; effects are measured at quarter ends on the 90 days after them,
    adjusted for size, tenure, tier and overall activity. Without ``client_id`` the response is about all live customers.
    Raises InvalidClientId, ClientNotFound, InvalidParameters, DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [f"2025-03-{day:02d} 09:00" for day in range(1, 31)]
    >>> portfolio = tiny_portfolio([*(("a", day, "u1", "search") for day in days), ("a", days[4], "u1", "export")])
    >>> adoption = track_feature_adoption(portfolio, "a")
    >>> [(one.feature_name, one.adopted) for one in adoption.feature_details]
    [('export', False), ('search', True)]
    """
    asked = validated(
        CustomerParameters,
        {
            "client_id": client_id,
            "feature_category": feature_category,
            "time_period_days": time_period_days,
            "include_adoption_funnel": include_adoption_funnel,
            "include_correlation_analysis": include_correlation_analysis,
            "benchmark_against": benchmark_against,
            "as_of": as_of,
        },
    )
    if client_id is None:
        return adoption_answer.of_all(portfolio, portfolio.as_of(asked.as_of), asked)
    date = portfolio.as_of(asked.as_of)
    customer = customer_as_of(portfolio, client_id, date)
    if pd.Timestamp(customer["signup_date"]) > pd.Timestamp(date):
        raise ClientNotFound(
            f"{client_id} signs up on {customer['signup_date']}, after {date}",
            parameter="client_id",
            value_provided=client_id,
            signup_date=str(customer["signup_date"]),
            validation_rule="signed up by as_of",
        )
    return adoption_answer.of_one(portfolio, customer, date, asked)


def portfolio_adoption(
    portfolio: Portfolio,
    *,
    feature_category: str = "all",
    time_period_days: int = 30,
    as_of: str | dt.date | None = None,
) -> PortfolioAdoption:
    """The response for all customers, and what the portfolio's report shows besides: who adopts least, what is abandoned.

    Raises InvalidParameters and DataRetrievalError.
    """
    given = validated(
        PortfolioParameters,
        {
            "feature_category": feature_category,
            "time_period_days": time_period_days,
            "as_of": as_of,
        },
    )
    asked = validated(CustomerParameters, given.model_dump())
    return adoption_answer.of_all(
        portfolio, portfolio.as_of(asked.as_of), asked, kind=PortfolioAdoption
    )
