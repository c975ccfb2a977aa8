"""Whom a response is about: one customer's rows and scores, and the day that is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from healthseg.metrics import panel as panels
from healthseg.scoring import score_trend
from healthseg.settings import Settings
from healthseg.tools.health.figures import (
    ARR_DAYS,
    Asked,
    Judged,
    dates_of,
    figures,
    frozen_rows,
    judge,
    judge_rows,
    last_day,
)


class Subject:
    """A customer at ``as_of``; one that has left is shown as of its last day (``day``)."""

    def __init__(
        self,
        portfolio: Any,
        customer: Mapping[str, Any],
        as_of: dt.date,
        asked: Any,
        judged: Judged | None = None,
    ) -> None:
        self.portfolio, self.as_of, self.asked = portfolio, as_of, asked
        self.customer = customer
        self.settings: Settings = portfolio.settings
        self.rules = Asked.of(asked.scoring_model, asked.component_weights)
        self.weights = self.rules.weights
        self.client_id = str(customer["client_id"])
        self.lookback_days: int = asked.lookback_period_days
        left = self.customer["churned_on"]
        self.churned = (
            left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of)
        )
        self.day = last_day(customer["signup_date"], left) if self.churned else as_of
        self.start = self.day - dt.timedelta(days=self.lookback_days)
        self.judged = judged if judged is not None else self._judged()

    def _judged(self) -> Judged:
        if self.churned:
            rows = frozen_rows(self.portfolio, self.as_of, self.lookback_days, self.client_id)
            return judge_rows(self.portfolio, rows, self.day, self.lookback_days, self.rules)
        return judge(self.portfolio, self.day, self.lookback_days, self.rules, [self.client_id])

    def row(self, day: dt.date) -> dict[str, Any] | None:
        """The customer's metrics and scores on a day; None before it signed up."""
        rows = self.judged.on(day)
        return rows.iloc[0].to_dict() if len(rows) else None

    @cached_property
    def now(self) -> dict[str, Any]:
        return self.row(self.day)

    @cached_property
    def then(self) -> dict[str, Any] | None:
        return self.row(self.start)

    @cached_property
    def points(self) -> pd.DataFrame:
        return self.judged.scores.points(self.client_id, self.day)

    @cached_property
    def trend(self) -> dict[str, Any]:
        return (
            score_trend(self.judged.frame, self.day, self.lookback_days, self.settings)
            .iloc[0]
            .to_dict()
        )

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The named figures that the rules read."""
        earlier = self.row(self.day - dt.timedelta(days=ARR_DAYS))
        return figures(
            self.now, self.then, earlier, self.trend, self.lookback_days, self.asked.risk_threshold
        )

    @property
    def zone(self) -> str:
        zone = self.customer.get("timezone")
        return zone if isinstance(zone, str) else self.settings.default_timezone

    def figures_before(self, days: int) -> list[dict[str, Any] | None]:
        """The figures of each of the ``days`` days before, oldest first: what a cooldown looks back on."""
        past = [self.as_of - dt.timedelta(days=back) for back in range(days, 0, -1)]
        dates = sorted({date for day in past for date in dates_of(day, self.lookback_days)})
        rows = panels.build(self.portfolio, dates, [self.client_id])
        signed_up = set(rows["date"])
        return [
            self._figures_on(rows, day) if pd.Timestamp(day) in signed_up else None for day in past
        ]

    def _figures_on(self, rows: pd.DataFrame, day: dt.date) -> dict[str, Any]:
        here = rows[rows["date"].isin(pd.to_datetime(dates_of(day, self.lookback_days)))]
        judged = judge_rows(self.portfolio, here, day, self.lookback_days, self.rules)
        return Subject(self.portfolio, self.customer, day, self.asked, judged).figures
