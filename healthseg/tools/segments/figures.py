"""What segments and tiers are made of: the live customers of a day, measured and scored, with their ARR."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.metrics.money import Money, money
from healthseg.periods import weekly
from healthseg.scoring import score_trend
from healthseg.scoring.scored_panel import scorecard_rows
from healthseg.settings import Settings
from healthseg.tools import score_forecasts

DAY = dt.timedelta(days=1)
TREND_DAYS = 84
LOOKBACK_DAYS = 30
OVERDUE_DAYS = 30
SILENT_DAYS = 14
NEW_DAYS = 90


class Figures:
    """The frames of one day that all sections of a response are made of; made once per open portfolio."""

    def __init__(self, portfolio: Any, as_of: dt.date) -> None:
        self.portfolio, self.as_of = portfolio, as_of
        self.settings: Settings = portfolio.settings
        self._days: dict[dt.date, pd.DataFrame] = {}

    @classmethod
    def of(cls, portfolio: Any, as_of: dt.date) -> Figures:
        return remember(portfolio, ("segments", as_of), lambda: cls(portfolio, as_of))

    # -- who and what --------------------------------------------------------------------

    def everyone(self, date: dt.date) -> pd.DataFrame:
        """All that had signed up by a date, by client_id: the panel's metrics of that date and their scores.

        Where a portfolio keeps no past of seats and plan, today's value stands for it (``with_todays_value``).
        """
        if date not in self._days:
            rows = panels.panel(self.portfolio, sorted({date, self.as_of}))
            judged = scorecard_rows(rows, self.as_of, LOOKBACK_DAYS, self.settings, None)
            self._days[date] = judged.on(date)
        return self._days[date]

    def live_on(self, date: dt.date) -> pd.DataFrame:
        """Live customers of a date; prospects are none yet."""
        rows = self.everyone(date)
        return rows[_live(rows)]

    @cached_property
    def live(self) -> pd.DataFrame:
        return self.live_on(self.as_of)

    @property
    def clients(self) -> list[str]:
        return self.live.index.tolist()

    @cached_property
    def names(self) -> pd.Series:
        """What live customers are called: their names, else their ids."""
        known, ids = customers(self.portfolio).reindex(self.live.index), self.live.index.to_series()
        return known["name"].astype(object).fillna(ids) if "name" in known else ids

    def static(self, column: str, snapshot: bool = False) -> pd.Series:
        """A column of the customers table by live customer; a snapshot's only on the portfolio's last day."""
        known = customers(self.portfolio).reindex(self.live.index)
        if column not in known or (snapshot and self.as_of < self.portfolio.data_until):
            return pd.Series(None, index=self.live.index, dtype=object)
        return known[column].astype(object).where(known[column].notna(), None)

    def excluded(self) -> dict[str, int]:
        rows, signup = (
            self.everyone(self.as_of),
            pd.to_datetime(customers(self.portfolio)["signup_date"]),
        )
        alive = rows["live"].astype(bool)
        return {
            "churned": int((~alive).sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
            "prospect": int((alive & (rows["stage"].astype(object) == "prospect")).sum()),
        }

    # -- money and time ------------------------------------------------------------------

    def money_on(self, date: dt.date) -> Money:
        return remember(
            self.portfolio,
            ("segment_money", self.as_of, date),
            lambda: money(self.portfolio, self.live_on(date), date),
        )

    @property
    def money(self) -> Money:
        return self.money_on(self.as_of)

    @cached_property
    def trends(self) -> pd.DataFrame:
        """Each customer's slope of weekly scores and the verdict on it, by client_id, as the health score has them."""
        rows = panels.panel(self.portfolio, weekly(self.as_of, TREND_DAYS))
        judged = scorecard_rows(rows, self.as_of, LOOKBACK_DAYS, self.settings, None)
        found = score_trend(judged.frame, self.as_of, LOOKBACK_DAYS, self.settings)
        return found.set_index("client_id").reindex(self.live.index)

    def weekly_values(self, metric: str) -> pd.DataFrame:
        """A metric of the live customers on the weekly dates of twelve weeks, oldest first: customers × dates."""
        dates = sorted(weekly(self.as_of, TREND_DAYS))
        rows = panels.panel(self.portfolio, dates)
        frame = scorecard_rows(rows, self.as_of, LOOKBACK_DAYS, self.settings, None).frame.merge(
            rows.drop(columns=["live"]), on=["client_id", "date"], how="left"
        )
        frame = frame[frame["live"].astype(bool)]
        return (
            frame.pivot(index="client_id", columns="date", values=metric)
            .reindex(self.live.index)
            .astype(float)
        )

    def score_error_sd(self) -> float | None:
        """How far a week's score is off by itself: the robust spread of one-week forecasts' back-tested errors."""
        errors = score_forecasts.past_errors(self.portfolio, self.as_of)
        first = errors[(errors["model"] == "forecast") & (errors["step"] == 1)]["error"].to_numpy(
            dtype=float
        )
        return (
            float(1.4826 * np.median(np.abs(first - np.median(first))))
            if len(first) >= 20
            else None
        )


def _live(rows: pd.DataFrame) -> pd.Series:
    return rows["live"].astype(bool) & (rows["stage"].astype(object) != "prospect")
