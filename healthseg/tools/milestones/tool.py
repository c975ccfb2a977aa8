"""track_adoption_milestones: how far has a customer come, what is late, what blocks, when will it be done?"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound
from healthseg.metrics.profile import customer_as_of
from healthseg.tools.milestones import answer as milestones_answer
from healthseg.tools.milestones import portfolio as milestones_portfolio
from healthseg.tools.milestones.result import AdoptionMilestones, PortfolioMilestones
from healthseg.tools.parameters import Parameters, validated

Category = Literal["onboarding", "adoption", "expansion", "all"]
AsOf = Field(default=None, description="Date, read to its end; default the portfolio's last day")


class CustomerParameters(Parameters):
    """Parameters of track_adoption_milestones."""

    client_id: str = Field(description="Customer identifier")
    milestone_category: Category = Field(default="all", description="Category of milestones")
    include_overdue: bool = Field(default=True, description="Include overdue milestones")
    include_recommendations: bool = Field(
        default=True, description="Include recommendations for acceleration"
    )
    as_of: str | dt.date | None = AsOf


class PortfolioParameters(Parameters):
    """Parameters of portfolio_milestones."""

    milestone_category: Category = Field(default="all", description="Category of milestones")
    as_of: str | dt.date | None = AsOf


def track_adoption_milestones(
    portfolio: Portfolio,
    client_id: str,
    milestone_category: str = "all",
    include_overdue: bool = True,
    include_recommendations: bool = True,
    *,
    as_of: str | dt.date | None = None,
) -> AdoptionMilestones:
    """Which milestones has a customer completed, which are late, what blocks them, and when will they be done?

    A milestone is completed by hand or by use (``completes_when``), whichever was first; completed, skipped, overdue,
    in progress or not started, in this order, so that the five partition the total. Days count from signing up (or
    coming back) to the target; a forecast is the curve of the customers whose milestone was open as long. The
    likelihood of success is calibrated on the portfolio's past customers, or absent. Raises InvalidClientId,
    ClientNotFound, InvalidParameters, DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> plan = pd.DataFrame({"milestone_id": ["kick", "search"], "name": ["Kick-off", "Search in use"],
    ...                      "category": ["onboarding", "adoption"], "target_days": [10, 30],
    ...                      "completes_when": [None, '{"feature": "search", "users": 2}']})
    >>> done = pd.DataFrame({"client_id": ["a"], "milestone_id": ["kick"], "completed_at": ["2025-03-05"]})
    >>> who = pd.DataFrame({"client_id": ["a"], "signup_date": ["2025-03-01"]})
    >>> portfolio = tiny_portfolio([("a", "2025-03-20 09:00", "u1", "search")], who, milestones=plan, milestone_progress=done)
    >>> response = track_adoption_milestones(portfolio, "a")
    >>> [(one.milestone_id, one.status, one.progress_percentage) for one in response.milestone_details]
    [('kick', 'completed', None), ('search', 'in_progress', 0.5)]
    """
    asked = validated(
        CustomerParameters,
        {
            "client_id": client_id,
            "milestone_category": milestone_category,
            "include_overdue": include_overdue,
            "include_recommendations": include_recommendations,
            "as_of": as_of,
        },
    )
    date = portfolio.as_of(asked.as_of)
    customer = customer_as_of(portfolio, client_id, date)
    if pd.Timestamp(customer["signup_date"]) > pd.Timestamp(date):
        raise ClientNotFound(
            f"{client_id} signs up on {pd.Timestamp(customer['signup_date']).date()}, after {date}",
            parameter="client_id",
            value_provided=client_id,
            signup_date=str(pd.Timestamp(customer["signup_date"]).date()),
            validation_rule="signed up by as_of",
        )
    return milestones_answer.of_one(portfolio, customer, date, asked)


def portfolio_milestones(
    portfolio: Portfolio, *, milestone_category: str = "all", as_of: str | dt.date | None = None
) -> PortfolioMilestones:
    """Where do the portfolio's customers get stuck, what blocks them, how long does value take, and who is late?

    Raises InvalidParameters and DataRetrievalError.
    """
    asked = validated(
        PortfolioParameters, {"milestone_category": milestone_category, "as_of": as_of}
    )
    return milestones_portfolio.of_portfolio(portfolio, portfolio.as_of(asked.as_of), asked)
