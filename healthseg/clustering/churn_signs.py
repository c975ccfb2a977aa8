"""Signs of churn and of retention: conditions on a customer's metrics, and when each customer showed them.

Which sign is which is declared in ``SIGNS``; its thresholds are settings, its words are in the rules.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics import catalog, panels
from healthseg.metrics.counting import epoch_days
from healthseg.metrics.landmarks import landmark_rows
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.spells import spells_as_of
from healthseg.periods import weekly
from healthseg.settings import Settings
from healthseg.statistics.effects import event_of_rows, labels

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

TOOL = "analyze_engagement_patterns"
RISK, SUCCESS = "risk", "success"
COMPARE = {"<": operator.lt, ">=": operator.ge}
# the change of a metric over four weeks or a month, as a ratio
CHANGES = {"users_change": "monthly_active_users", "features_change": "unique_features_used_28d"}
Members = Callable[[dt.date], "set[str] | None"]


@dataclass(frozen=True)
class Sign:
    """``parts`` are (metric, comparison, setting), all of which must hold; unknown where a metric is."""

    name: str
    kind: str
    parts: tuple[tuple[str, str, str], ...]

    @property
    def label(self) -> str:
        return rules.phrases(TOOL, "sign")[self.name]["label"]

    @property
    def advice(self) -> str:
        return rules.phrases(TOOL, "sign")[self.name]["advice"]

    def shown(self, rows: pd.DataFrame, settings: Settings) -> np.ndarray:
        """1 where the sign is there, 0 where not, NaN where a metric of it is unknown."""
        values = [rows[metric].to_numpy(dtype=float) for metric, _, _ in self.parts]
        held = [
            COMPARE[comparison](value, getattr(settings, setting))
            for value, (_, comparison, setting) in zip(values, self.parts, strict=True)
        ]
        known = np.isfinite(values).all(axis=0)
        return np.where(known, np.all(held, axis=0).astype(float), np.nan)


IDLE_SEATS = ("seat_utilisation", "<", "sign_idle_seats_max_utilisation")
SERIOUS_TICKETS = ("open_high_tickets", ">=", "sign_serious_tickets_min_count")
SIGNS = (
    Sign("usage_drop", RISK, (("usage_vs_own_baseline", "<", "sign_usage_drop_max_ratio"),)),
    Sign("fewer_users", RISK, (("users_change", "<", "sign_fewer_users_max_ratio"),)),
    Sign("fewer_features", RISK, (("features_change", "<", "sign_fewer_features_max_ratio"),)),
    Sign("silence", RISK, (("days_since_last_person_event", ">=", "sign_silence_min_days"),)),
    Sign("idle_seats", RISK, (IDLE_SEATS,)),
    Sign("seldom_used", RISK, (("stickiness_30d", "<", "sign_seldom_used_max_stickiness"),)),
    Sign("narrow_use", RISK, (("feature_adoption_rate_30d", "<", "sign_narrow_use_max_share"),)),
    Sign("one_user", RISK, (("top_user_share_28d", ">=", "sign_one_user_min_share"),)),
    Sign("champion_left", RISK, (("champion_departed", ">=", "sign_champion_left_min_count"),)),
    Sign("serious_tickets", RISK, (SERIOUS_TICKETS,)),
    Sign("many_tickets", RISK, (("tickets_per_10_mau_90d", ">=", "sign_many_tickets_min_rate"),)),
    Sign(
        "slow_support",
        RISK,
        (("median_resolution_hours_90d", ">=", "sign_slow_support_min_hours"),),
    ),
    Sign("detractors", RISK, (("nps_365d", "<", "sign_detractors_max_nps"),)),
    Sign("overdue", RISK, (("worst_days_overdue", ">=", "sign_overdue_min_days"),)),
    Sign("idle_and_broken", RISK, (IDLE_SEATS, SERIOUS_TICKETS)),
    Sign("growing_use", SUCCESS, (("usage_vs_own_baseline", ">=", "sign_growing_use_min_ratio"),)),
    Sign("full_seats", SUCCESS, (("seat_utilisation", ">=", "sign_full_seats_min_utilisation"),)),
    Sign("daily_habit", SUCCESS, (("stickiness_30d", ">=", "sign_daily_habit_min_stickiness"),)),
    Sign("broad_use", SUCCESS, (("feature_adoption_rate_30d", ">=", "sign_broad_use_min_share"),)),
    Sign("promoters", SUCCESS, (("nps_365d", ">=", "sign_promoters_min_nps"),)),
)
BY_NAME = {sign.name: sign for sign in SIGNS}


def _with_changes(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Panel rows with the ratio of some metrics to the customer's own of an earlier date.

    ``before`` has client_id, date (the row's own, not the earlier one) and those metrics.
    """
    keys = pd.MultiIndex.from_arrays([rows["client_id"].astype(str), pd.to_datetime(rows["date"])])
    earlier = before.set_index([before["client_id"].astype(str), pd.to_datetime(before["date"])])
    changes = {}
    for name, metric in CHANGES.items():
        was = earlier[metric].reindex(keys).to_numpy(dtype=float)
        changes[name] = rows[metric].to_numpy(dtype=float) / np.where(was > 0, was, np.nan)
    return rows.assign(**changes)


class SignHistory:
    """The metrics of customers at month ends and on weekly dates, with what came after.

    ``members(date)`` are the customers that count on a date, None for all.
    """

    def __init__(self, portfolio: Portfolio, as_of: dt.date, members: Members) -> None:
        self.portfolio, self.as_of, self.members = portfolio, as_of, members
        self.settings = portfolio.settings
        self.known = customers_as_of(portfolio, as_of)
        self.losses = spells_as_of(portfolio, as_of)

    @cached_property
    def months(self) -> pd.DataFrame:
        """Live rows at month ends; ``outcome`` is 1 where the customer churned or gave notice in the month after."""
        return self._of_members("pattern_months", self._months)

    @cached_property
    def weeks(self) -> pd.DataFrame:
        """Live rows before notice on weekly dates.

        The panel's metrics, their changes over four weeks, ``event_in_days`` (until churn or notice, NaN where neither
        has come by as_of) and ``follow_days`` (how long the row could be followed).
        """
        return self._of_members("pattern_weeks", self._weeks)

    @cached_property
    def dates(self) -> list[dt.date]:
        """The weekly dates; of a large portfolio every fourth."""
        dates = weekly(self.as_of, 7 * (self.settings.sign_history_weeks - 1))
        dates = [date for date in dates if date >= self.portfolio.first_event_day]
        few = len(self.known) <= panels.WHOLE_UP_TO
        return dates if few else dates[:: -self.settings.sign_history_large_step_weeks][::-1]

    def _months(self) -> pd.DataFrame:
        days = self.settings.sign_month_days
        rows = landmark_rows(self.portfolio, self.as_of, days, days, every="ME")
        if not len(rows):
            rows = rows.reindex(columns=[*rows.columns, *catalog.columns()])
        dates = sorted(pd.to_datetime(rows["date"]).dt.date.unique())
        columns = ["client_id", "date", *CHANGES.values()]
        before = pd.DataFrame({name: [] for name in columns})
        if len(dates) > 1:
            earlier, later = pd.to_datetime(dates[:-1]), pd.to_datetime(dates[1:])
            following = dict(zip(earlier, later, strict=True))
            before = panels.panel(self.portfolio, dates)[columns]
            before = before.assign(date=pd.to_datetime(before["date"]).map(following))
            before = before.dropna(subset=["date"])
        return _with_changes(rows, before)

    def _weeks(self) -> pd.DataFrame:
        rows = panels.panel(self.portfolio, self.dates)
        before = rows[["client_id", "date", *CHANGES.values()]]
        before = before.assign(date=pd.to_datetime(before["date"]) + pd.Timedelta(days=28))
        rows = labels(
            rows[rows["live"].astype(bool)].reset_index(drop=True), self.losses, self.as_of, 1
        )
        rows = rows[rows["status"] != "after_event"].drop(columns=["outcome", "status"])
        rows = rows.reset_index(drop=True)
        event = event_of_rows(rows, self.losses)
        date = pd.to_datetime(rows["date"])
        return _with_changes(rows, before).assign(
            day=epoch_days(rows["date"]),
            event_in_days=(event - date.to_numpy()) / np.timedelta64(1, "D"),
            follow_days=(pd.Timestamp(self.as_of) - date).dt.days,
        )

    def _of_members(self, name: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The rows of customers that are members on the row's own date."""
        rows = self.portfolio.cache.get(name, self.as_of, build, disk=False)
        counted = np.ones(len(rows), dtype=bool)
        dates = pd.to_datetime(rows["date"]).dt.date.to_numpy()
        for date in sorted(set(dates)):
            members = self.members(date)
            if members is not None:
                on_date = dates == date
                counted[on_date] = rows.loc[on_date, "client_id"].isin(members).to_numpy()
        return rows[counted].reset_index(drop=True)
