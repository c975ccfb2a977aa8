"""Whom a response is about: one customer's features, users and lives, on the day that is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import panels
from healthseg.metrics.counting import Counting, Spans, epoch_day
from healthseg.metrics.users import provisioned
from healthseg.tools.adoption import funnel as funnels
from healthseg.tools.adoption.features import Lives, customer_features
from healthseg.tools.adoption.figures import DAY, RECENT_DAYS, Figures
from healthseg.tools.rounding import word


class Subject:
    """A customer at ``as_of``; one that has left is shown as of its last day (``day``)."""

    def __init__(
        self, figures: Figures, customer: Mapping[str, Any], categories: list[str]
    ) -> None:
        self.figures, self.portfolio, self.customer, self.categories = (
            figures,
            figures.portfolio,
            customer,
            categories,
        )
        self.client_id = str(customer["client_id"])
        self.name = str(customer.get("name") or self.client_id)
        left = customer.get("churned_on")
        self.churned = (
            left is not None
            and not pd.isna(left)
            and pd.Timestamp(left) <= pd.Timestamp(figures.as_of)
        )
        self.day: dt.date = figures.as_of
        if self.churned:
            self.day = max(pd.Timestamp(left).date() - DAY, self.portfolio.first_event_day)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        rows = self.figures.pairs_of([self.client_id], self.day)
        return rows[rows["category"].isin(self.categories)].reset_index(drop=True)

    @cached_property
    def own(self) -> pd.DataFrame:
        """Its features' lives."""
        rows = self.figures.lives
        return rows[(rows["client_id"] == self.client_id) & rows["category"].isin(self.categories)]

    @cached_property
    def lives(self) -> Lives:
        return Lives(self.figures, self.own)

    @cached_property
    def active_users(self) -> float:
        """Of the period; NaN before tracking began."""
        return float(self.figures.active_users([self.client_id], self.day)[self.client_id])

    @cached_property
    def recent(self) -> pd.DataFrame:
        return self.figures.user_days_of([self.client_id], self.day, RECENT_DAYS)

    @cached_property
    def ever(self) -> pd.DataFrame:
        tracked_days = max((self.day - self.portfolio.first_event_day).days + 1, 1)
        return self.figures.user_days_of([self.client_id], self.day, tracked_days)

    @cached_property
    def users(self) -> list[str]:
        """Provisioned at the end of ``day``, or seen by then where no table lists users."""
        first, end = (
            np.array([epoch_day(day)]) for day in (self.portfolio.first_event_day, self.day + DAY)
        )
        span = Spans(np.zeros(1, dtype=np.int64), np.minimum(first, end - 1), end)
        return sorted(
            provisioned(Counting(self.portfolio, [self.client_id], span), int(end[0]))["user_id"]
        )

    @cached_property
    def frame(self) -> pd.DataFrame:
        return customer_features(self.figures, self.pairs, self.active_users, self.recent)

    @cached_property
    def units(self) -> pd.DataFrame:
        return funnels.user_units(self.pairs, self.ever, self.recent, self.users)

    @property
    def words(self) -> dict[str, str | None]:
        """What its peers share with it."""
        tier = panels.tiers_at(self.portfolio, {self.client_id: self.day})[self.client_id]
        return {"tier": tier, "industry": word(self.customer.get("industry"))}

    def warnings(self) -> list[str]:
        found = []
        if self.churned:
            left = pd.Timestamp(self.customer["churned_on"]).date()
            found.append(f"churned on {left}: shown as of {self.day}")
        if self.active_users == 0:
            found.append(
                f"no events in this period ({self.figures.period_days} days to {self.day})"
            )
        return found
