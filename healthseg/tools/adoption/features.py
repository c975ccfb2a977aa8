"""What each feature and each category amounts to: how many adopted it, how deep, how broad, how often, how liked."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.statistics.rates import wilson
from healthseg.tools.adoption import times
from healthseg.tools.adoption.figures import Figures

CSAT_LEAST = 5
FREQUENCIES = (
    (12, "daily"),
    (4, "weekly"),
    (1, "monthly"),
)  # active days of a user in 28; below: rare


def frequency(median_days: float) -> str | None:
    """How often a typical user of a feature comes back to it.

    >>> frequency(12), frequency(4), frequency(1), frequency(0.5)
    ('daily', 'weekly', 'monthly', 'rare')
    """
    if np.isnan(median_days):
        return None
    return next((word for least, word in FREQUENCIES if median_days >= least), "rare")


def portfolio_features(figures: Figures, names: list[str]) -> pd.DataFrame:
    """A row a feature over all live customers that could use it: who adopted it, what they do with it."""
    pairs = figures.pairs[figures.pairs["feature"].isin(names)]
    level = figures.settings.interval_level
    by = pairs.groupby("feature", sort=True)
    known = by["adopted"].count()
    frame = pd.DataFrame(
        {
            "customers": by.size(),
            "adopted": by["adopted"].sum(min_count=1),
            "users": by["users"].sum(min_count=1),
        }
    )
    frame["rate"] = frame["adopted"] / known.where(known > 0)
    frame["lower"], frame["upper"] = wilson(frame["adopted"].fillna(0), known, level)
    users = pairs["client_id"].map(figures.users)
    mine = pairs.assign(user_share=pairs["users"] / users.where(users > 0))
    adopters = mine[mine["adopted"] == 1].groupby("feature")
    frame["events_per_adopter"] = adopters["events"].median()
    frame["user_share"] = adopters["user_share"].median()
    frame["regular"] = (
        (pairs["recent_days"] >= figures.settings.regular_min_days).groupby(pairs["feature"]).sum()
    )
    frame["power"] = (
        (pairs["recent_days"] >= figures.settings.power_min_days).groupby(pairs["feature"]).sum()
    )
    frame = frame.reindex(names).assign(
        customers=lambda rows: rows["customers"].fillna(0).astype(int)
    )
    return _common(figures, frame, figures.user_days)


def customer_features(
    figures: Figures, pairs: pd.DataFrame, active_users: float, user_days: pd.DataFrame
) -> pd.DataFrame:
    """A row a feature that one customer could use: the share of its active users that used it, and whether it is
    adopted.
    """
    frame = pairs.set_index("feature")[["adopted", "users", "events", "recent_days"]]
    frame = frame.rename(columns={"events": "events_per_adopter"}).assign(customers=1)
    frame["rate"] = (
        frame["users"] / active_users
        if active_users > 0
        else np.where(frame["users"].isna(), np.nan, 0.0)
    )
    frame["lower"], frame["upper"] = wilson(
        frame["users"].fillna(0), np.full(len(frame), active_users), figures.settings.interval_level
    )
    frame["user_share"] = frame["rate"]
    frame["regular"] = (frame["recent_days"] >= figures.settings.regular_min_days).astype(int)
    frame["power"] = (frame["recent_days"] >= figures.settings.power_min_days).astype(int)
    return _common(figures, frame.drop(columns="recent_days").sort_index(), user_days)


def _common(figures: Figures, frame: pd.DataFrame, user_days: pd.DataFrame) -> pd.DataFrame:
    """With category, release, frequency, and satisfaction (of all who answered: of one customer hardly anybody does)."""
    listed = figures.features.reindex(frame.index)
    frame.insert(0, "category", listed["category"])
    frame["released_on"] = listed["released_on"]
    frame["median_active_days"] = (
        user_days.groupby("feature")["active_days"].median().reindex(frame.index)
    )
    frame["usage_frequency"] = [frequency(days) for days in frame["median_active_days"]]
    answers = (
        None
        if figures.csat is None
        else figures.csat.assign(score=figures.csat["score"].astype(float))
    )
    by = None if answers is None else answers.groupby("feature")["score"]
    frame["satisfaction_n"] = np.nan if by is None else by.size().reindex(frame.index).fillna(0)
    enough = frame["satisfaction_n"] >= CSAT_LEAST
    mean = np.nan if by is None else by.sum().reindex(frame.index) / frame["satisfaction_n"]
    frame["satisfaction"] = mean if by is None else mean.where(enough)
    return frame.rename_axis("feature").reset_index()


# -- times -------------------------------------------------------------------------------


class Lives:
    """The lives of features with some customers (all of the portfolio, or one), by feature."""

    def __init__(self, figures: Figures, lives: pd.DataFrame) -> None:
        self.figures, self.settings, self.lives = figures, figures.settings, lives
        self.by_event = {
            event: times.spells(lives, event) for event in ("first_use_day", "adopted_day")
        }
        self.kept = times.kept(lives, figures.silent_days)
        self._made: dict[Hashable, Any] = {}
        self.untracked = (~lives["watched"].astype(bool)).groupby(lives["feature"]).sum()

    @classmethod
    def of_portfolio(cls, figures: Figures) -> Lives:
        """Of all customers, those that left included; made once per open portfolio, each figure when first asked for."""
        return remember(
            figures.portfolio,
            ("adoption lives", figures.as_of, figures.period_days),
            lambda: cls(figures, figures.lives),
        )

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def time_to(self, feature: str, event: str) -> times.Time:
        return self._once((feature, event), lambda: self._time_to(feature, event))

    def category_time(self, category: str) -> times.Time:
        """Pairs pooled, with an interval over customers; of one customer over its features."""
        return self._once(category, lambda: self._category_time(category))

    def became(self, feature: str) -> dict[str, float]:
        """Adoptions seen to happen, how many were abandoned, of those taken up again, and the share kept 180 days."""
        return self._once((feature, "became"), lambda: self._became(feature))

    def curves(self, by: str) -> pd.DataFrame:
        """Time-to-adopt curves by feature or category: name, days, share, lower, upper, at_risk."""
        return self._once(
            (by, "curves"),
            lambda: _stacked(
                self.by_event["adopted_day"],
                by,
                lambda rows: times.points(rows, self.settings.interval_level),
            ),
        )

    def kept_curves(self) -> pd.DataFrame:
        """The share of adoptions still in use, by category."""
        return self._once("kept", self._kept_curves)

    # -- how each is made ------------------------------------------------------------------

    def _time_to(self, feature: str, event: str) -> times.Time:
        rows = self.by_event[event]
        return times.median(
            rows[rows["feature"] == feature],
            int(self.untracked.get(feature, 0)),
            self.settings.interval_level,
        )

    def _category_time(self, category: str) -> times.Time:
        rows, lives = self.by_event["adopted_day"], self.lives[self.lives["category"] == category]
        rows, excluded = (
            rows[rows["category"] == category],
            int((~lives["watched"].astype(bool)).sum()),
        )
        if rows["client_id"].nunique() < 2:
            return times.median(rows, excluded, self.settings.interval_level)
        return times.pooled_median(rows, excluded, self.settings.interval_level, self.settings.seed)

    def _became(self, feature: str) -> dict[str, float]:
        adopted = self.lives[
            (self.lives["feature"] == feature)
            & self.lives["adopted_day"].notna()
            & self.lives["seen_adopting"].astype(bool)
        ]
        rows = self.kept[self.kept["feature"] == feature]
        share = times.share_by(rows, times.KEPT_DAYS, self.settings.interval_level) or (np.nan,) * 3
        return {
            "adopters": len(adopted),
            "abandoned": int(adopted["abandoned_day"].notna().sum()),
            "readopted": int(adopted["readopted_day"].notna().sum()),
            "share": share[0],
            "lower": share[1],
            "upper": share[2],
        }

    def _kept_curves(self) -> pd.DataFrame:
        def lasting(rows: pd.DataFrame) -> pd.DataFrame:
            found = times.points(rows, self.settings.interval_level)
            return found.assign(
                share=1 - found["share"], lower=1 - found["upper"], upper=1 - found["lower"]
            )

        return _stacked(self.kept, "category", lasting)


def _stacked(rows: pd.DataFrame, by: str, make) -> pd.DataFrame:
    parts = [make(some).assign(name=name) for name, some in rows.groupby(by, sort=True)]
    columns = ["name", "days", "share", "lower", "upper", "at_risk"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
