"""track_usage_engagement: who uses it, how much of what is paid for, is it growing, when, on whom does it hang?"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.metrics.leaving import customer_as_of
from healthseg.tools.parameters import Parameters, validated
from healthseg.tools.usage import answer as usage_answer
from healthseg.tools.usage import portfolio as usage_portfolio
from healthseg.tools.usage.period import period_of
from healthseg.tools.usage.result import PortfolioUsage, UsageEngagement

Granularity = Literal["hourly", "daily", "weekly", "monthly"]
Day = str | dt.date | None
AS_OF = "Date, read to its end; default the portfolio's last day"


class CustomerParameters(Parameters):
    """Parameters of track_usage_engagement."""

    client_id: str = Field(description="Customer identifier")
    period_start: Day = Field(
        default=None, description="First day of the period; default 30 days before its end"
    )
    period_end: Day = Field(
        default=None, description="Day after the period's last; default the day after as_of"
    )
    granularity: Granularity = Field(default="daily", description="Grain of the series")
    include_feature_breakdown: bool = Field(default=True, description="Include each feature's use")
    include_user_segmentation: bool = Field(
        default=True, description="Include cohorts of users and their retention"
    )
    benchmark_comparison: bool = Field(
        default=True, description="Compare with peers and the benchmarks table"
    )
    include_users: bool = Field(default=False, description="Name each user with its figures")
    as_of: Day = Field(default=None, description=AS_OF)


class PortfolioParameters(Parameters):
    """Parameters of portfolio_usage."""

    lookback_period_days: int = Field(
        default=30, ge=7, le=365, description="Days for growth and rhythm"
    )
    as_of: Day = Field(default=None, description=AS_OF)


def track_usage_engagement(
    portfolio: Portfolio,
    client_id: str,
    period_start: Day = None,
    period_end: Day = None,
    granularity: str = "daily",
    include_feature_breakdown: bool = True,
    include_user_segmentation: bool = True,
    benchmark_comparison: bool = True,
    *,
    include_users: bool = False,
    as_of: Day = None,
) -> UsageEngagement:
    """Who uses it, how much, of the seats paid for; is it growing, when, how deep, and on whom does it hang?

    The period is ``[period_start, period_end)`` in days of the account's own clock; nothing after the end of ``as_of``
    is read, and of the period only the days in which the customer lived and events were tracked
    (``analysis_period.effective_*``). Active users of the day are a mean over the period, of the week and the month
    the distinct users of its last 7 and 30 days. Raises InvalidClientId, ClientNotFound, InvalidParameters and
    DataRetrievalError. Definitions: docs/methods.md and docs/metrics.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", user) for day in range(1, 29) for user in ("u1", "u2")])
    >>> usage = track_usage_engagement(portfolio, "a", "2025-03-15", "2025-03-29")
    >>> usage.engagement_metrics.daily_active_users, usage.usage_analytics.total_events
    (2, 28)
    """
    asked = validated(
        CustomerParameters,
        {
            "client_id": client_id,
            "period_start": period_start,
            "period_end": period_end,
            "granularity": granularity,
            "include_feature_breakdown": include_feature_breakdown,
            "include_user_segmentation": include_user_segmentation,
            "benchmark_comparison": benchmark_comparison,
            "include_users": include_users,
            "as_of": as_of,
        },
    )
    date = portfolio.as_of(asked.as_of)
    customer = customer_as_of(portfolio, client_id, date)
    return usage_answer.answer(
        portfolio, customer, date, asked, period_of(portfolio, customer, date, asked)
    )


def portfolio_usage(
    portfolio: Portfolio, *, lookback_period_days: int = 30, as_of: Day = None
) -> PortfolioUsage:
    """Whose usage breaks away from the portfolio, whose seats lie idle, who hangs on a single user, how users come and go?

    Live customers only; those that left, have not begun or are prospects are counted apart. Raises InvalidParameters
    and DataRetrievalError.
    """
    asked = validated(
        PortfolioParameters, {"lookback_period_days": lookback_period_days, "as_of": as_of}
    )
    return usage_portfolio.answer(portfolio, portfolio.as_of(asked.as_of), asked)
