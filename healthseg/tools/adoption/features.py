"""Features on a day: which the customers could use, what they did with them, how long that took and lasted."""

from __future__ import annotations

import datetime as dt
import functools
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics import communication
from healthseg.metrics import spans as metrics
from healthseg.metrics.counting import customers, observed_spans
from healthseg.metrics.feature_timelines import feature_timelines
from healthseg.metrics.feature_times import ADOPTED, FIRST_USE, FeatureTimes, MedianTime
from healthseg.statistics.rates import wilson
from healthseg.tools.adoption.result import (
    AdoptionDuration,
    CategorySummary,
    FeatureDetail,
    FeatureRetention,
    Funnel,
    NamedFunnel,
    TimeTo,
)
from healthseg.tools.base import Figure
from healthseg.tools.context import DAY, chosen_customers, panel_rows
from healthseg.tools.values import integer, number, rounded, word

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

CATEGORIES = ("core", "advanced", "premium")
ALL_TRACKED = 0  # days: since tracking began
NO_CATEGORY = "uncategorised"
YEAR_DAYS = 365
PAIR_COLUMNS = [
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
STAGES = ("eligible", "awareness", "trial", "first_use", "regular_use", "power_use")
# active days of a typical user in 28; below: rare
FREQUENCIES = ((12, "daily"), (4, "weekly"), (1, "monthly"))


class FeatureUsage:
    """Use of features by customers on a day and over the period that ends with it; built once per portfolio."""

    def __init__(
        self, portfolio: Portfolio, as_of: dt.date, period_days: int, only: str | None = None
    ) -> None:
        self.portfolio, self.as_of, self.period_days = portfolio, as_of, period_days
        self.only = only
        self.settings: Settings = portfolio.settings

    @classmethod
    def of(
        cls, portfolio: Portfolio, as_of: dt.date, period_days: int, only: str | None = None
    ) -> FeatureUsage:
        key = (as_of, period_days, only)
        build = functools.partial(cls, portfolio, *key)
        return portfolio.cache.get("feature_usage", key, build, disk=False)

    # -- customers and features ------------------------------------------------------------

    @cached_property
    def everyone(self) -> pd.DataFrame:
        """All that had signed up by ``as_of``, by client_id: the panel's metrics."""
        chosen = chosen_customers(self.portfolio, self.only)
        rows = panel_rows(self.portfolio, self.as_of)
        rows = rows[rows.index.isin(chosen)]
        return rows.assign(live=rows["live"].astype(bool), industry=rows.get("industry"))

    @cached_property
    def live(self) -> pd.DataFrame:
        """Live customers; prospects are not customers yet."""
        prospect = self.everyone["stage"].astype(object) == "prospect"
        return self.everyone[self.everyone["live"] & ~prospect]

    @property
    def clients(self) -> list[str]:
        return self.live.index.tolist()

    def excluded(self) -> dict[str, int]:
        """How many customers are not counted, by reason."""
        chosen = chosen_customers(self.portfolio, self.only)
        signup = pd.to_datetime(customers(self.portfolio).loc[chosen, "signup_date"])
        live = self.everyone["live"]
        prospect = live & (self.everyone["stage"].astype(object) == "prospect")
        return {
            "churned": int((~live).sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
            "prospect": int(prospect.sum()),
        }

    @cached_property
    def features(self) -> pd.DataFrame:
        """Category, release and recommended position by feature; without a features table those used."""
        if self.portfolio.has("features"):
            table = self.portfolio.table("features").set_index("feature", drop=False)
            released = pd.to_datetime(table["released_on"])
            position = pd.to_numeric(table["recommended_position"])
            table = table.assign(released_on=released, recommended_position=position)
            return table[released.isna() | (released <= pd.Timestamp(self.as_of))].sort_index()
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
        known = self.features["category"].unique()
        return [name for name in (*CATEGORIES, NO_CATEGORY) if name in known]

    # -- use -------------------------------------------------------------------------------

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return self.pairs_of(self.clients, self.as_of)

    def pairs_of(self, clients: list[str], day: dt.date) -> pd.DataFrame:
        """A row per customer and feature that it could use on ``day``.

        adopted, users and events over the period; active days of the last 28 and ever; told:
        whether a message named the feature; with the feature's category.
        """
        if not clients:
            return pd.DataFrame(columns=PAIR_COLUMNS).astype({"adopted": float, "told": bool})
        period = self._over(
            clients, day, self.period_days, ["adopted", "person_events", "active_users"]
        ).rename(columns={"person_events": "events", "active_users": "users"})
        recent = self._over(
            clients, day, self.portfolio.settings.adoption_recent_days, ["active_days"]
        )
        ever = self._over(clients, day, ALL_TRACKED, ["active_days"])
        keys = ["client_id", "feature"]
        frame = period.merge(recent.rename(columns={"active_days": "recent_days"}), on=keys)
        frame = frame.merge(ever.rename(columns={"active_days": "days_ever"}), on=keys)
        frame["category"] = frame["feature"].map(self.features["category"])
        frame["told"] = self._messaged(frame, clients, day)
        return frame.dropna(subset=["category"]).reset_index(drop=True)

    def _over(
        self,
        clients: list[str],
        day: dt.date,
        days: int,
        names: list[str],
        by: str = "entitled_feature",
    ) -> pd.DataFrame:
        """Metrics over the ``days`` observed days (or all) that end with ``day``, for some customers."""
        spans = observed_spans(self.portfolio, clients, day, days)
        if days == ALL_TRACKED:
            spans["start"] = self.portfolio.first_event_day
        parts = [
            metrics.over(self.portfolio, spans[spans["client_id"].isin(chunk)], names, by=by)
            for chunk in metrics.chunks(self.portfolio, clients)
        ]
        return pd.concat(parts, ignore_index=True).drop(columns=["span_id", "start", "end"])

    def _messaged(self, frame: pd.DataFrame, clients: list[str], day: dt.date) -> np.ndarray:
        sent = communication.said_about_features(
            self.portfolio, "messages", dt.date(1970, 1, 1), day, clients
        )
        if sent is None:
            return np.zeros(len(frame), dtype=bool)
        keys = ["client_id", "feature"]
        return pd.MultiIndex.from_frame(frame[keys]).isin(pd.MultiIndex.from_frame(sent[keys]))

    @cached_property
    def messages_known(self) -> bool:
        """Whether any message of the portfolio names a feature: else awareness is unknown."""
        ids = self.everyone.index.tolist()
        sent = communication.said_about_features(
            self.portfolio, "messages", self.as_of, self.as_of, ids
        )
        return sent is not None

    @cached_property
    def user_days(self) -> pd.DataFrame:
        return self.user_days_of(
            self.clients, self.as_of, self.portfolio.settings.adoption_recent_days
        )

    def user_days_of(self, clients: list[str], day: dt.date, days: int) -> pd.DataFrame:
        """Active days per customer, user and feature in the ``days`` days that end with ``day``."""
        if not clients:
            return pd.DataFrame(columns=["client_id", "user_id", "feature", "active_days"])
        return self._over(clients, day, days, ["active_days"], "user_feature")

    def active_users(self, clients: list[str], day: dt.date) -> pd.Series:
        """Each customer's active users over the period, by client_id; NaN before tracking began."""
        if not clients:
            return pd.Series(dtype=float)
        spans = observed_spans(self.portfolio, clients, day, self.period_days)
        users = metrics.over(self.portfolio, spans, ["active_users"])
        return users.set_index("client_id")["active_users"]

    @cached_property
    def users(self) -> pd.Series:
        return self.active_users(self.clients, self.as_of)

    # -- lives of features at customers ----------------------------------------------------

    @cached_property
    def silent_days(self) -> int:
        """Days without use after which a feature counts as abandoned; not fewer than the rule of adoption reads."""
        return max(self.settings.abandoned_after_days, self.period_days)

    @cached_property
    def lives(self) -> pd.DataFrame:
        """First use, adoption and abandonment of all customers, churned ones included: else clocks are biased."""
        frame = feature_timelines(self.portfolio, self.as_of, self.period_days, self.silent_days)
        if not self.portfolio.has("features"):
            return frame.assign(category=NO_CATEGORY)
        listed = self.portfolio.table("features").set_index("feature")["category"]
        frame = frame.assign(category=frame["feature"].map(listed))
        return frame.dropna(subset=["category"]).reset_index(drop=True)

    @cached_property
    def times(self) -> FeatureTimes:
        return FeatureTimes(self.lives, self.silent_days, self.settings)

    # -- tickets and answers ---------------------------------------------------------------

    @cached_property
    def tickets(self) -> pd.DataFrame | None:
        return self._of_a_year("tickets")

    @cached_property
    def csat(self) -> pd.DataFrame | None:
        return self._of_a_year("csat")

    def _of_a_year(self, kind: str) -> pd.DataFrame | None:
        start, ids = self.as_of - (YEAR_DAYS - 1) * DAY, self.everyone.index.tolist()
        return communication.said_about_features(self.portfolio, kind, start, self.as_of, ids)


# -- a row a feature -------------------------------------------------------------------


def frequency(median_days: float) -> str | None:
    """How often a typical user comes back to a feature, by its active days of 28.

    >>> frequency(12), frequency(4), frequency(1), frequency(0.5)
    ('daily', 'weekly', 'monthly', 'rare')
    """
    if np.isnan(median_days):
        return None
    return next((name for least, name in FREQUENCIES if median_days >= least), "rare")


def portfolio_features(usage: FeatureUsage, names: list[str]) -> pd.DataFrame:
    """A row a feature over all live customers that could use it: adoption, depth, breadth, frequency."""
    settings, pairs = usage.settings, usage.pairs[usage.pairs["feature"].isin(names)]
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
    frame["lower"], frame["upper"] = wilson(
        frame["adopted"].fillna(0), known, settings.interval_level
    )
    users = pairs["client_id"].map(usage.users).astype(float)  # words stay words where no row is
    shares = pairs.assign(user_share=pairs["users"] / users.where(users > 0))
    adopters = shares[shares["adopted"] == 1].groupby("feature")
    frame["events_per_adopter"] = adopters["events"].median()
    frame["user_share"] = adopters["user_share"].median()
    for name, least in (("regular", settings.regular_min_days), ("power", settings.power_min_days)):
        frame[name] = (pairs["recent_days"] >= least).groupby(pairs["feature"]).sum()
    frame = frame.reindex(names)
    frame["customers"] = frame["customers"].fillna(0).astype(int)
    return _with_shared(usage, frame, usage.user_days)


def customer_features(
    usage: FeatureUsage, pairs: pd.DataFrame, active_users: float, user_days: pd.DataFrame
) -> pd.DataFrame:
    """A row a feature that one customer could use: the share of its active users, whether it is adopted."""
    settings = usage.settings
    frame = pairs.set_index("feature")[["adopted", "users", "events", "recent_days"]]
    frame = frame.rename(columns={"events": "events_per_adopter"}).assign(customers=1)
    if np.isnan(active_users):  # no event names a user, or none was tracked
        frame["users"] = np.nan
    if active_users > 0:
        frame["rate"] = frame["users"] / active_users
    else:
        frame["rate"] = np.where(frame["users"].isna(), np.nan, 0.0)
    frame["lower"], frame["upper"] = wilson(
        frame["users"].fillna(0), np.full(len(frame), active_users), settings.interval_level
    )
    frame["user_share"] = frame["rate"]
    frame["regular"] = (frame["recent_days"] >= settings.regular_min_days).astype(int)
    frame["power"] = (frame["recent_days"] >= settings.power_min_days).astype(int)
    return _with_shared(usage, frame.drop(columns="recent_days").sort_index(), user_days)


def _with_shared(usage: FeatureUsage, frame: pd.DataFrame, user_days: pd.DataFrame) -> pd.DataFrame:
    """With category, release, frequency and satisfaction (of all customers: one alone hardly answers)."""
    listed = usage.features.reindex(frame.index)
    frame.insert(0, "category", listed["category"])
    frame["released_on"] = listed["released_on"]
    days = user_days.groupby("feature")["active_days"].median()
    frame["median_active_days"] = days.reindex(frame.index)
    frame["usage_frequency"] = [frequency(median) for median in frame["median_active_days"]]
    if usage.csat is None:
        frame["satisfaction_n"] = frame["satisfaction"] = np.nan
    else:
        answers = usage.csat["score"].astype(float).groupby(usage.csat["feature"])
        count = answers.size().reindex(frame.index).fillna(0)
        frame["satisfaction_n"] = count
        mean = answers.sum().reindex(frame.index) / count
        frame["satisfaction"] = mean.where(count >= usage.settings.feature_csat_min_answers)
    return frame.rename_axis("feature").reset_index()


# -- parts of the response -------------------------------------------------------------


def time_to(time: MedianTime, level: float) -> TimeTo:
    """A median time as the response has it."""
    return TimeTo(
        days=number(time.days),
        lower=number(time.lower),
        upper=number(time.upper),
        interval_level=level,
        n=time.n,
        events=time.events,
        excluded_untracked=time.excluded,
    )


def category_summary(
    usage: FeatureUsage, pairs: pd.DataFrame, times: FeatureTimes, category: str, customers: int
) -> CategorySummary:
    """Counts of one customer; of several their means, and the ratio of the means."""
    rows = pairs[pairs["category"] == category]
    known = rows["adopted"].notna()
    adopted = rows["adopted"].sum() if known.any() else None
    time = times.category_time(category)

    def mean(count: float) -> float:
        return int(count) if customers <= 1 else round(count / customers, 2)

    return CategorySummary(
        total_features=mean(len(rows)),
        adopted_features=None if adopted is None else mean(adopted),
        adoption_rate=None if adopted is None else rounded(adopted / known.sum()),
        average_time_to_adopt_days=Figure(number(time.days), time.reason),
        time_to_adopt=time_to(time, usage.settings.interval_level),
    )


def feature_detail(
    usage: FeatureUsage,
    row: dict[str, Any],
    times: FeatureTimes,
    retention: FeatureRetention | None,
    single: bool,
) -> FeatureDetail:
    """One feature's part; ``retention`` says how its adoption goes with retention."""
    name, level = row["feature"], usage.settings.interval_level
    first, adopted = (times.time_to(name, event) for event in (FIRST_USE, ADOPTED))
    outcome = times.outcome(name)
    duration = AdoptionDuration(
        adopters=outcome["adopters"],
        abandoned=outcome["abandoned"],
        readopted=outcome["readopted"],
        share_kept_180_days=rounded(outcome["share"]),
        lower=rounded(outcome["lower"]),
        upper=rounded(outcome["upper"]),
        interval_level=level,
        silent_days=usage.silent_days,
    )
    known = number(row["adopted"]) is not None
    released = row["released_on"]
    return FeatureDetail(
        feature_name=name,
        feature_category=row["category"],
        adoption_rate=rounded(row["rate"]),
        customers_using=integer(row["adopted"]),
        total_customers=int(row["customers"]),
        average_time_to_first_use_days=number(first.days),
        usage_frequency=word(row["usage_frequency"]),
        customer_satisfaction=rounded(row["satisfaction"], 2),
        correlation_with_retention=None if retention is None else retention.adjusted,
        adopted=bool(row["adopted"]) if single and known else None,
        adoption_rate_lower=rounded(row["lower"]) if known else None,
        adoption_rate_upper=rounded(row["upper"]) if known else None,
        users=integer(row["users"]),
        events_per_adopter=rounded(row["events_per_adopter"], 1),
        user_share=rounded(row["user_share"]),
        median_active_days=rounded(row["median_active_days"], 1),
        satisfaction_n=integer(row["satisfaction_n"]),
        released_on=None if pd.isna(released) else pd.Timestamp(released).date(),
        time_to_first_use=time_to(first, level),
        time_to_adopt=time_to(adopted, level),
        kept=duration,
        staying=retention,
    )


# -- funnel ----------------------------------------------------------------------------


def funnel_stages(units: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Which stage each unit (days_ever, recent_days, told) reached; a stage needs those before it."""
    used = units["days_ever"] >= 1
    first = used & (units["days_ever"] >= settings.funnel_first_use_days)
    regular = first & (units["recent_days"] >= settings.regular_min_days)
    return pd.DataFrame(
        {
            "eligible": True,
            "awareness": units["told"].astype(bool) | used,
            "trial": used,
            "first_use": first,
            "regular_use": regular,
            "power_use": regular & (units["recent_days"] >= settings.power_min_days),
        },
        index=units.index,
    )


def _funnel_counts(stages: pd.DataFrame, awareness_known: bool) -> dict[str, Any]:
    counts: dict[str, Any] = {name: int(stages[name].sum()) for name in STAGES}
    eligible, regular = counts["eligible"], counts["regular_use"]
    if not awareness_known:
        counts["awareness"] = None
    return counts | {"conversion_rate": round(regular / eligible, 4) if eligible else None}


def funnels(usage: FeatureUsage, units: pd.DataFrame, unit: str) -> dict[str, Any]:
    """The funnels over all units, by category and by feature."""
    stages, known = funnel_stages(units, usage.settings), usage.messages_known

    def by(column: str) -> list[NamedFunnel]:
        return [
            NamedFunnel(name=str(name), unit=unit, **_funnel_counts(stages.loc[rows.index], known))
            for name, rows in units.groupby(column, sort=True)
        ]

    return {
        "adoption_funnel": Funnel(unit=unit, **_funnel_counts(stages, known)),
        "category_funnels": by("category"),
        "feature_funnels": by("feature"),
    }


def funnel_frame(usage: FeatureUsage, units: pd.DataFrame) -> pd.DataFrame:
    """scope (all, or a category), stage, units, share of the eligible, share of the stage before."""
    stages = funnel_stages(units, usage.settings)
    names = [name for name in STAGES if usage.messages_known or name != "awareness"]
    scopes = [("all", units), *units.groupby("category", sort=True)]
    rows = []
    for scope, members in scopes:
        counts = stages.loc[members.index, names].sum()
        for index, stage in enumerate(names):
            before = counts[names[max(index - 1, 0)]]
            rows.append(
                {
                    "scope": str(scope),
                    "stage": stage,
                    "place": index,
                    "units": int(counts[stage]),
                    "share": counts[stage] / len(members) if len(members) else np.nan,
                    "of_before": counts[stage] / before if before else np.nan,
                }
            )
    return pd.DataFrame(rows, columns=["scope", "stage", "place", "units", "share", "of_before"])
