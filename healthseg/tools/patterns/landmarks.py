"""What a customer showed at each month's end, and who had left within the 30 days after it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import catalog, panels
from healthseg.metrics import landmarks as measured
from healthseg.metrics.counting import epoch_days
from healthseg.metrics.profile import customers_as_of
from healthseg.periods import weekly
from healthseg.scoring.churn.training import unrecorded_dates
from healthseg.statistics.outcomes import label_event_dates, labels
from healthseg.tools.patterns.signs import CHANGES, with_changes

STEP_DAYS, RULE_DAYS, HORIZON_DAYS = 30, 30, 90
WEEKS, WEEKS_MANY = 53, 4  # of weekly history; of a large portfolio every fourth week
Belongs = Callable[[dt.date], "set[str] | None"]


class Landmarks:
    """Rows at month ends (``months``: outcome within 30 days) and at weekly dates (``weeks``: event day), for a scope.

    ``belongs(date)`` gives the customers that met the scope's criteria on a date, None for all.
    """

    def __init__(self, portfolio: Any, as_of: dt.date, belongs: Belongs) -> None:
        self.portfolio, self.as_of, self.belongs = portfolio, as_of, belongs
        self.known = customers_as_of(portfolio, as_of)
        self.event = label_event_dates(self.known.reset_index(drop=True))

    @property
    def leavers_known(self) -> bool:
        """Whether the portfolio says who left at all."""
        return len(unrecorded_dates(self.portfolio)) < 2

    def months(self) -> pd.DataFrame:
        rows = remember(self.portfolio, ("pattern months", self.as_of), self._months)
        return self._within(rows)

    def _months(self) -> pd.DataFrame:
        rows = measured.landmark_rows(self.portfolio, self.as_of, RULE_DAYS, STEP_DAYS, every="ME")
        if not len(rows):
            rows = rows.reindex(
                columns=[
                    *rows.columns,
                    *catalog.columns(),
                ]
            )
        dates = sorted(pd.to_datetime(rows["date"]).dt.date.unique())
        before = pd.DataFrame(
            {"client_id": [], "date": [], **{name: [] for name in CHANGES.values()}}
        )
        if len(dates) > 1:
            parts = panels.panel(self.portfolio, dates)[["client_id", "date", *CHANGES.values()]]
            following = dict(
                zip(pd.to_datetime(dates[:-1]), pd.to_datetime(dates[1:]), strict=True)
            )
            before = parts.assign(date=pd.to_datetime(parts["date"]).map(following)).dropna(
                subset=["date"]
            )
        return with_changes(rows, before)

    def weeks(self) -> pd.DataFrame:
        """Live rows before notice on weekly dates: the panel's metrics, changes over four weeks, ``event_in_days``
        (NaN for who is still there at as_of), ``follow_days`` (how long the row could be followed)."""
        rows = remember(self.portfolio, ("pattern weeks", self.as_of), self._weeks)
        return self._within(rows)

    def _weeks(self) -> pd.DataFrame:
        dates = self.dates()
        rows = panels.panel(self.portfolio, dates)
        four = pd.Timedelta(days=28)
        before = rows[["client_id", "date", *CHANGES.values()]]
        before = before.assign(date=pd.to_datetime(before["date"]) + four)
        rows = rows[rows["live"].astype(bool)].reset_index(drop=True)
        rows = labels(rows, self.event, self.as_of, 1)
        rows = (
            rows[rows["status"] != "after_event"]
            .drop(columns=["outcome", "status"])
            .reset_index(drop=True)
        )
        day, event = epoch_days(rows["date"]), self.event.reindex(rows["client_id"])
        event = event.where(event <= pd.Timestamp(self.as_of)).to_numpy()
        ahead = (event - pd.to_datetime(rows["date"]).to_numpy()) / np.timedelta64(1, "D")
        follow = (pd.Timestamp(self.as_of) - pd.to_datetime(rows["date"])).dt.days
        return with_changes(rows, before).assign(day=day, event_in_days=ahead, follow_days=follow)

    def dates(self) -> list[dt.date]:
        dates = weekly(self.as_of, 7 * (WEEKS - 1))
        dates = [date for date in dates if date >= self.portfolio.first_event_day]
        return dates if len(self.known) <= panels.WHOLE_UP_TO else dates[::-WEEKS_MANY][::-1]

    def _within(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of customers that belonged to the scope on the row's own date."""
        keep = np.ones(len(rows), dtype=bool)
        date = pd.to_datetime(rows["date"]).dt.date.to_numpy()
        for one in sorted(set(date)):
            some = self.belongs(one)
            if some is not None:
                here = date == one
                keep[here] = rows.loc[here, "client_id"].isin(some).to_numpy()
        return rows[keep].reset_index(drop=True)
