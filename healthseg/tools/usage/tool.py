"""track_usage_engagement: who uses it, of the seats paid for; is it growing, when, how deep, and who does it depend on?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.tools.base import AsOf, ClientId, Day, Only, tool
from healthseg.tools.context import CustomerContext
from healthseg.tools.usage.customer import CustomerUsage
from healthseg.tools.usage.period import usage_period
from healthseg.tools.usage.portfolio import usage_of_portfolio
from healthseg.tools.usage.result import PortfolioUsage, UsageEngagement

Granularity = Literal["hourly", "daily", "weekly", "monthly"]


@tool
def track_usage_engagement(
    portfolio: Portfolio,
    client_id: ClientId,
    period_start: Annotated[
        Day, Field(description="First day of the period; default 30 days before its end")
    ] = None,
    period_end: Annotated[
        Day, Field(description="Day after the period's last; default the day after as_of")
    ] = None,
    granularity: Annotated[Granularity, Field(description="Grain of the series")] = "daily",
    include_feature_breakdown: Annotated[
        bool, Field(description="Include each feature's use")
    ] = True,
    include_user_segmentation: Annotated[
        bool, Field(description="Include cohorts of users and their retention")
    ] = True,
    benchmark_comparison: Annotated[
        bool, Field(description="Compare with peers and the benchmarks table")
    ] = True,
    *,
    include_users: Annotated[bool, Field(description="Name each user with its figures")] = False,
    as_of: AsOf = None,
) -> UsageEngagement:
    """Who uses it, of the seats paid for; is it growing, when, how deep, and who does it depend on?

    The period is ``[period_start, period_end)`` in days of the account's own clock. Nothing after
    the end of ``as_of`` is read, and of the period only the days on which the customer was live
    and events were tracked (``analysis_period.effective_*``). Daily active users are the mean over
    the period, weekly and monthly ones the distinct users of its last 7 and 30 days. Raises
    InvalidClientId, ClientNotFound, InvalidParameters and DataRetrievalError. Definitions:
    docs/methods.md and docs/metrics.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [f"2025-03-{day:02d} 09:00" for day in range(1, 29)]
    >>> portfolio = tiny_portfolio([("a", day, user) for day in days for user in ("u1", "u2")])
    >>> usage = track_usage_engagement(portfolio, "a", "2025-03-15", "2025-03-29")
    >>> usage.engagement_metrics.daily_active_users, usage.usage_analytics.total_events
    (2, 28)
    """
    portfolio.require("events")
    context = CustomerContext(portfolio, client_id, portfolio.as_of(as_of))
    period = usage_period(context, period_start, period_end, granularity == "hourly")
    return CustomerUsage(context, period, granularity, include_users).result(
        features=include_feature_breakdown,
        segmentation=include_user_segmentation,
        benchmark=benchmark_comparison,
    )


@tool
def portfolio_usage(
    portfolio: Portfolio,
    *,
    lookback_period_days: Annotated[
        int, Field(ge=7, le=365, description="Days for growth and rhythm")
    ] = 30,
    only: Only = None,
    as_of: AsOf = None,
) -> PortfolioUsage:
    """Where does usage fall while the others hold, where are seats idle, who depends on one user?

    Live customers only; churned ones, those that have not begun and prospects are counted apart. ``only`` shows some
    customers alone; who breaks away is judged among all. Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_usage(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    portfolio.require("events")
    return usage_of_portfolio(portfolio, portfolio.as_of(as_of), lookback_period_days, only)
