"""What a response about usage is made from: one customer's metrics over its period, and the portfolio's on the same days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import lives, people
from healthseg.metrics import panel as panels
from healthseg.metrics.counting import Counting
from healthseg.metrics.spans import over_one
from healthseg.settings import Settings
from healthseg.tools.rounding import number
from healthseg.tools.usage.period import DAY, Period

TOOL = "track_usage_engagement"
TREND_DAYS = 84  # the trend looks at 12 weeks at least
LEAST_WEEKS = 6
WEEK = dt.timedelta(days=7)
MONTH_DAYS = 30
PERIOD_METRICS = (
    "person_events",
    "api_events",
    "active_days",
    "active_users",
    "daily_active_users",
    "stickiness",
    "sessions",
    "sessions_per_user_per_week",
    "average_session_minutes",
    "unique_features_used",
    "new_users",
    "returning_users",
    "resurrected_users",
    "dormant_users",
    "provisioned_users",
    "activated_users",
)
COHORT_METRICS = tuple(f"{name}_users" for name in lives.COHORTS)
GROWTH = ("active_users", "new_users", "returning_users", "resurrected_users", "dormant_users")


def spans_of(client_ids: list[str], parts: list[tuple[Any, dt.date, dt.date]]) -> pd.DataFrame:
    """The same spans ``(span_id, start, end)`` for each customer."""
    rows = [(client, *part) for client in client_ids for part in parts]
    return pd.DataFrame(rows, columns=["client_id", "span_id", "start", "end"])


def weeks_before(end: dt.date, first: dt.date, days: int) -> list[tuple[int, dt.date, dt.date]]:
    """Blocks of seven days counted back from ``end``, oldest first; none begins before ``first``."""
    many = min(days, (end - first).days) // 7
    return [(-back, end - back * WEEK, end - (back - 1) * WEEK) for back in range(many, 0, -1)]


def portfolio_rows(portfolio: Any, day: dt.date) -> pd.DataFrame:
    """The panel's rows of the live customers on a day."""
    rows = remember(portfolio, ("live rows", day), lambda: panels.panel(portfolio, [day]))
    return rows[rows["live"].astype(bool)]


class Subject:
    """A customer, a period, and what was counted of it."""

    def __init__(
        self,
        portfolio: Any,
        customer: Mapping[str, Any],
        as_of: dt.date,
        asked: Any,
        period: Period,
    ) -> None:
        self.portfolio, self.customer, self.as_of, self.asked, self.period = (
            portfolio,
            customer,
            as_of,
            asked,
            period,
        )
        self.client_id = str(customer["client_id"])
        self.settings: Settings = portfolio.settings
        self.name = str(customer.get("name") or self.client_id)
        self.signup = pd.Timestamp(customer["signup_date"]).date()
        self.first_day = max(self.signup, portfolio.first_event_day)
        self.start, self.end = period.effective_start, period.effective_end
        left = customer.get("churned_on")
        gone = left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of)
        self.status = "churned" if gone else "live"
        self.known_until = pd.Timestamp(left).date() if gone else as_of + DAY

    @cached_property
    def count(self) -> Counting:
        """The customer's facts: of the period, as long before it, and 12 weeks at least."""
        start = min(self.end - TREND_DAYS * DAY, self.start - self.period.days * DAY)
        return lives.counting(self.portfolio, [self.client_id], start, self.end)

    def over(
        self, parts: list[tuple[Any, dt.date, dt.date]], metrics: tuple[str, ...]
    ) -> pd.DataFrame:
        return over_one(self.count, parts, metrics)

    @cached_property
    def counted(self) -> dict[str, Any]:
        """The period's metrics."""
        return self.over([(0, self.start, self.end)], PERIOD_METRICS).iloc[0].to_dict()

    @cached_property
    def now(self) -> dict[str, Any]:
        """The panel's row at the end of the period: windows that look back over its start."""
        rows = remember(
            self.portfolio,
            ("panel row", self.period.last_day),
            lambda: panels.panel(self.portfolio, [self.period.last_day]).set_index(
                "client_id", drop=False
            ),
        )
        return rows.loc[self.client_id].to_dict()

    @property
    def peers(self) -> pd.DataFrame:
        return portfolio_rows(self.portfolio, self.period.last_day)

    @cached_property
    def weeks(self) -> pd.DataFrame:
        """Blocks of seven days over 12 weeks, or the period where it is longer: start, end and counts."""
        parts = weeks_before(self.end, self.first_day, max(self.period.days, TREND_DAYS))
        metrics = ("person_events", *GROWTH)
        return (
            self.over(parts, metrics) if parts else pd.DataFrame(columns=["start", "end", *metrics])
        )

    @cached_property
    def users(self) -> pd.DataFrame:
        return lives.users_of(self.count, self.end)

    @cached_property
    def cohorts(self) -> dict[str, Any]:
        """Users by cohort; NaN where the 28 days were not tracked."""
        return self.over([(0, self.end - 28 * DAY, self.end)], COHORT_METRICS).iloc[0].to_dict()

    @cached_property
    def declining_users(self) -> int | None:
        """Users who were regular in the 28 days before the last 28, and came on fewer than half as many days since."""
        if self.end - 56 * DAY < self.portfolio.first_event_day:
            return None
        was = self.users["before_days"] >= self.settings.regular_min_days
        return int((was & (self.users["active_days"] < self.users["before_days"] / 2)).sum())

    @cached_property
    def champion(self) -> dict[str, Any] | None:
        if number(self.now["champion_share"]) is None:
            return None
        return people.champion_of(self.count, self.end)

    @cached_property
    def seats(self) -> float | None:
        seats = number(self.now["seats"])
        return seats if seats else None

    @cached_property
    def portfolio_ratio(self) -> tuple[float | None, int]:
        """The median of all live customers' usage against their own baseline, and how many have one."""
        ratios = self.peers["usage_vs_own_baseline"].dropna()
        return (float(np.median(ratios)) if len(ratios) else None), len(ratios)
