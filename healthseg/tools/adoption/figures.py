"""From metrics to figures: which features the live customers could use on a day, and what they did with them."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import communication as voices
from healthseg.metrics import panels
from healthseg.metrics import spans as measured
from healthseg.metrics.counting import customers
from healthseg.metrics.feature_timelines import feature_timelines
from healthseg.settings import Settings

CATEGORIES = ("core", "advanced", "premium")
NO_CATEGORY = "uncategorised"
RECENT_DAYS = 28
YEAR_DAYS = 365
PAIRS = [
    "client_id",
    "feature",
    "category",
    "adopted",
    "events",
    "users",
    "recent_days",
    "days_ever",
    "told",
]
DAY = dt.timedelta(days=1)


class Figures:
    """The frames of one day and period that all sections of a response are made of; made once per open portfolio."""

    def __init__(self, portfolio: Any, as_of: dt.date, period_days: int) -> None:
        self.portfolio, self.as_of, self.period_days = portfolio, as_of, period_days
        self.settings: Settings = portfolio.settings

    @classmethod
    def of(cls, portfolio: Any, as_of: dt.date, period_days: int) -> Figures:
        return remember(
            portfolio, ("adoption", as_of, period_days), lambda: cls(portfolio, as_of, period_days)
        )

    # -- who and what --------------------------------------------------------------------

    @cached_property
    def known(self) -> pd.DataFrame:
        """All that had signed up by as_of: client_id, live, tier, industry, stage and the panel's metrics."""
        rows = panels.panel(self.portfolio, [self.as_of]).set_index("client_id", drop=False)
        return rows.assign(live=rows["live"].astype(bool), industry=rows.get("industry"))

    @cached_property
    def live(self) -> pd.DataFrame:
        """Live customers; prospects are none yet."""
        return self.known[self.known["live"] & (self.known["stage"].astype(object) != "prospect")]

    @property
    def clients(self) -> list[str]:
        return self.live.index.tolist()

    def excluded(self) -> dict[str, int]:
        signup = pd.to_datetime(customers(self.portfolio)["signup_date"])
        return {
            "churned": int((~self.known["live"]).sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
            "prospect": int(
                (self.known["live"] & (self.known["stage"].astype(object) == "prospect")).sum()
            ),
        }

    @cached_property
    def features(self) -> pd.DataFrame:
        """Each feature's category, release and recommended position, by name; without a ``features`` table those used."""
        if self.portfolio.has("features"):
            table = self.portfolio.table("features").set_index("feature", drop=False)
            released = pd.to_datetime(table["released_on"])
            table = table[released.isna() | (released <= pd.Timestamp(self.as_of))].sort_index()
            return table.assign(
                released_on=pd.to_datetime(table["released_on"]),
                recommended_position=pd.to_numeric(table["recommended_position"]),
            )
        names = sorted(self.lives["feature"].unique())
        return pd.DataFrame(
            {
                "feature": names,
                "category": NO_CATEGORY,
                "released_on": pd.NaT,
                "recommended_position": np.nan,
            },
            index=pd.Index(names, name="feature"),
        )

    @property
    def categories(self) -> list[str]:
        found = self.features["category"].unique()
        return [name for name in (*CATEGORIES, NO_CATEGORY) if name in found]

    # -- what was done -------------------------------------------------------------------

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return self.pairs_of(self.clients, self.as_of)

    def pairs_of(self, clients: list[str], day: dt.date) -> pd.DataFrame:
        """A row per customer and feature that it could use on ``day``: adopted (over the period), users and events of
        the period, days of use in the last 28 and ever, whether it was told of the feature; with its category."""
        if not clients:
            return pd.DataFrame(columns=PAIRS).astype({"adopted": float, "told": bool})
        windows = {
            "period": self.period_days,
            "recent": RECENT_DAYS,
            "ever": max((day - self.portfolio.first_event_day).days + 1, 1),
        }
        asked = {
            "period": ["adopted", "person_events", "active_users"],
            "recent": ["active_days"],
            "ever": ["active_days"],
        }
        parts = [
            self._over(clients, day, length, asked[name], "entitled_feature").rename(
                columns={
                    "person_events": "events",
                    "active_users": "users",
                    "active_days": {"recent": "recent_days", "ever": "days_ever"}.get(
                        name, "active_days"
                    ),
                }
            )
            for name, length in windows.items()
        ]
        frame = (
            parts[0]
            .merge(parts[1], on=["client_id", "feature"])
            .merge(parts[2], on=["client_id", "feature"])
        )
        frame["category"] = frame["feature"].map(self.features["category"])
        frame["told"] = self._told(frame, clients, day)
        return frame.dropna(subset=["category"]).reset_index(drop=True)

    def _over(
        self, clients: list[str], day: dt.date, length: int, asked: list[str], by: str
    ) -> pd.DataFrame:
        spans = pd.DataFrame(
            {
                "client_id": clients,
                "span_id": 0,
                "start": day - (length - 1) * DAY,
                "end": day + DAY,
            }
        )
        parts = [
            measured.over(self.portfolio, spans[spans["client_id"].isin(some)], asked, by=by)
            for some in measured.chunks(clients)
        ]
        return pd.concat(parts, ignore_index=True).drop(columns=["span_id", "start", "end"])

    def _told(self, frame: pd.DataFrame, clients: list[str], day: dt.date) -> np.ndarray:
        sent = voices.said_about_features(
            self.portfolio, "messages", dt.date(1970, 1, 1), day, clients
        )
        if sent is None:
            return np.zeros(len(frame), dtype=bool)
        known = pd.MultiIndex.from_frame(sent[["client_id", "feature"]])
        return pd.MultiIndex.from_frame(frame[["client_id", "feature"]]).isin(known)

    @cached_property
    def messages_known(self) -> bool:
        """Whether any message of the portfolio names a feature: without that nobody's awareness is known."""
        everyone = self.known.index.tolist()
        return (
            voices.said_about_features(self.portfolio, "messages", self.as_of, self.as_of, everyone)
            is not None
        )

    @cached_property
    def user_days(self) -> pd.DataFrame:
        return self.user_days_of(self.clients, self.as_of, RECENT_DAYS)

    def user_days_of(self, clients: list[str], day: dt.date, length: int) -> pd.DataFrame:
        """A row per customer, user and feature used in the ``length`` days that end with ``day``: on how many."""
        if not clients:
            return pd.DataFrame(columns=["client_id", "user_id", "feature", "active_days"])
        return self._over(clients, day, length, ["active_days"], "user_feature")

    def active_users(self, clients: list[str], day: dt.date) -> pd.Series:
        """Each customer's active users over the period, by client_id; NaN before tracking began."""
        if not clients:
            return pd.Series(dtype=float)
        spans = pd.DataFrame(
            {
                "client_id": clients,
                "span_id": 0,
                "start": day - (self.period_days - 1) * DAY,
                "end": day + DAY,
            }
        )
        return measured.over(self.portfolio, spans, ["active_users"]).set_index("client_id")[
            "active_users"
        ]

    @cached_property
    def users(self) -> pd.Series:
        return self.active_users(self.clients, self.as_of)

    # -- lives ---------------------------------------------------------------------------

    @cached_property
    def silent_days(self) -> int:
        """Days without use after which a feature counts as abandoned: never fewer than the rule of adoption looks at."""
        return max(self.settings.abandoned_after_days, self.period_days)

    @cached_property
    def lives(self) -> pd.DataFrame:
        """``feature_lives`` of all customers, those that left included: a clock that asks only who stayed is biased."""
        frame = feature_timelines(self.portfolio, self.as_of, self.period_days, self.silent_days)
        if not self.portfolio.has("features"):
            return frame.assign(category=NO_CATEGORY)
        listed = self.portfolio.table("features").set_index("feature")["category"]
        return (
            frame.assign(category=frame["feature"].map(listed))
            .dropna(subset=["category"])
            .reset_index(drop=True)
        )

    # -- what was said -------------------------------------------------------------------

    @cached_property
    def tickets(self) -> pd.DataFrame | None:
        return self._of_a_year("tickets")

    @cached_property
    def csat(self) -> pd.DataFrame | None:
        return self._of_a_year("csat")

    def _of_a_year(self, what: str) -> pd.DataFrame | None:
        return voices.said_about_features(
            self.portfolio,
            what,
            self.as_of - (YEAR_DAYS - 1) * DAY,
            self.as_of,
            self.known.index.tolist(),
        )
