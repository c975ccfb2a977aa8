"""One customer's adoption: its features, its peers, what to adopt next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import Counting, Spans, epoch_day
from healthseg.metrics.feature_times import FeatureTimes
from healthseg.metrics.users import provisioned
from healthseg.scoring.adoption_effects import Effects
from healthseg.statistics.peers import order_statistic, peers_of
from healthseg.statistics.rates import wilson
from healthseg.tools.adoption import advice
from healthseg.tools.adoption.features import (
    FeatureUsage,
    customer_features,
)
from healthseg.tools.adoption.result import (
    AdoptionBenchmark,
    Barrier,
    LowFeature,
    PeerStanding,
    Recommendation,
)
from healthseg.tools.base import Figure
from healthseg.tools.context import DAY, CustomerContext
from healthseg.tools.values import number, rounded

BENCHMARK_KEYS = {
    "tier": "vs_tier_average",
    "industry": "vs_industry_average",
    "all_customers": "vs_all_customers",
}


class CustomerAdoption:
    """A customer's features at ``as_of``; a churned customer's on its last tracked day (``day``)."""

    def __init__(
        self, context: CustomerContext, usage: FeatureUsage, categories: list[str]
    ) -> None:
        self.context, self.usage, self.categories = context, usage, categories
        self.portfolio, self.settings = usage.portfolio, usage.settings
        self.client_id = context.client_id
        self.day: dt.date = usage.as_of
        if context.churned_on is not None:
            self.day = max(context.churned_on - DAY, self.portfolio.first_event_day)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        rows = self.usage.pairs_of([self.client_id], self.day)
        return rows[rows["category"].isin(self.categories)].reset_index(drop=True)

    @cached_property
    def lives(self) -> pd.DataFrame:
        rows = self.usage.lives
        own = rows["client_id"] == self.client_id
        return rows[own & rows["category"].isin(self.categories)]

    @cached_property
    def times(self) -> FeatureTimes:
        return FeatureTimes(self.lives, self.usage.silent_days, self.settings)

    @cached_property
    def active_users(self) -> float:
        """Active users of the period; NaN before tracking began."""
        return float(self.usage.active_users([self.client_id], self.day)[self.client_id])

    @cached_property
    def recent(self) -> pd.DataFrame:
        return self.usage.user_days_of(
            [self.client_id], self.day, self.usage.portfolio.settings.adoption_recent_days
        )

    @cached_property
    def ever(self) -> pd.DataFrame:
        days = max((self.day - self.portfolio.first_event_day).days + 1, 1)
        return self.usage.user_days_of([self.client_id], self.day, days)

    @cached_property
    def users(self) -> list[str]:
        """Users provisioned at the end of ``day``, or seen by then where no table lists users."""
        first, end = (
            np.array([epoch_day(day)]) for day in (self.portfolio.first_event_day, self.day + DAY)
        )
        spans = Spans(np.zeros(1, dtype=np.int64), np.minimum(first, end - 1), end)
        count = Counting(self.portfolio, [self.client_id], spans)
        return sorted(provisioned(count, int(end[0]))["user_id"])

    @cached_property
    def frame(self) -> pd.DataFrame:
        return customer_features(self.usage, self.pairs, self.active_users, self.recent)

    @cached_property
    def units(self) -> pd.DataFrame:
        """Every user × feature that it could use, with active days ever and in the last 28."""
        users = pd.DataFrame({"user_id": pd.Series(self.users, dtype="str")})
        grid = self.pairs[["feature", "category", "told"]].merge(users, how="cross")
        for name, rows in (("days_ever", self.ever), ("recent_days", self.recent)):
            days = rows[["user_id", "feature", "active_days"]].astype({"user_id": "str"})
            grid = grid.merge(
                days.rename(columns={"active_days": name}), on=["user_id", "feature"], how="left"
            )
        return grid.fillna({"days_ever": 0, "recent_days": 0})

    @cached_property
    def profile(self) -> dict[str, str | None]:
        """What its peers share with it."""
        return {"tier": self.context.tier(self.day), "industry": self.context.industry}

    def warnings(self) -> list[str]:
        warnings = [text] if (text := self.context.api_only_warning) else []
        if self.context.churned:
            warnings.append(f"churned on {self.context.churned_on}: shown as of {self.day}")
        if self.active_users == 0:
            days = f"{self.usage.period_days} days to {self.day}"
            warnings.append(f"no events in this period ({days})")
        return warnings

    def times_frame(self) -> pd.DataFrame:
        """Days to adoption beside the portfolio's median: name, category, days (NaN: not yet), waited, median."""
        rows = [
            {
                "name": row.feature,
                "category": row.category,
                "days": row.adopted_day - row.from_day,
                "waited": row.until_day - 1 - row.from_day,
                "median": self.usage.times.time_to(row.feature, "adopted_day").days,
            }
            for row in self.lives[self.lives["watched"].astype(bool)].itertuples()
        ]
        columns = ["name", "category", "days", "waited", "median"]
        return pd.DataFrame(rows, columns=columns).astype({"median": float})

    # -- peers -----------------------------------------------------------------------------

    def benchmark(self, against: str | None) -> tuple[AdoptionBenchmark, PeerStanding]:
        """The adopted share against the median of the requested peers (default: tier), n shown."""
        against = against or "tier"
        level, least = self.settings.interval_level, self.settings.peers_min
        rate = number(self.pairs["adopted"].mean()) if len(self.pairs) else None
        label, shares = self._peer_shares(against)
        fields: dict[str, Any] = {
            "adoption_rate": rounded(rate),
            "peer_group": label,
            "interval_level": level,
        }
        text, reason = None, "fewer peers than the setting peers_min"
        if label is None or len(shares) < least or rate is None:
            unknown = ("n", "peer_median", "percentile", "percentile_lower", "percentile_upper")
            standing = PeerStanding(**fields | dict.fromkeys(unknown))
        else:
            median = float(shares.sort_values().iloc[order_statistic(len(shares), 0.5)])
            below = float((shares < rate).sum() + (shares == rate).sum() / 2)
            lower, upper = wilson(below, len(shares), level)
            standing = PeerStanding(
                **fields,
                n=len(shares),
                peer_median=rounded(median),
                percentile=round(100 * below / len(shares), 1),
                percentile_lower=round(100 * float(lower), 1),
                percentile_upper=round(100 * float(upper), 1),
            )
            text = versus_peers(rate, median, len(shares))
            reason = "half of the peers have adopted nothing"
        values = {
            name: Figure(text, reason) if key == against else Figure(None, "not requested")
            for key, name in BENCHMARK_KEYS.items()
        }
        return AdoptionBenchmark(**values), standing

    def _peer_shares(self, against: str) -> tuple[str | None, pd.Series]:
        """The label of the peers and their adopted shares; no label where the customer's own is unknown."""
        pairs, live = self.usage.pairs, self.usage.live
        others = pairs["category"].isin(self.categories) & (pairs["client_id"] != self.client_id)
        shares = pairs[others].groupby("client_id")["adopted"].mean().dropna()
        if against == "all_customers":
            return "all customers", shares
        own = self.profile[against]
        if own is None:
            return None, shares.iloc[:0]
        alike = live.index[(live[against].astype(object) == own).to_numpy()]
        return f"{against} {own}", shares[shares.index.isin(alike)]

    @cached_property
    def _peers(self) -> tuple[str | None, pd.DataFrame]:
        """The peer group's label and the peers' pairs."""
        columns = ["client_id", "tier", "industry"]
        everyone = self.usage.live.reset_index(drop=True)[columns]
        own = pd.DataFrame({"client_id": [self.client_id]}).assign(**self.profile)
        others = everyone[everyone["client_id"] != self.client_id].astype(object)
        table = pd.concat([own.astype(object), others], ignore_index=True)
        label, peers = peers_of(table, self.client_id, self.settings.peers_min)
        pairs = self.usage.pairs
        return label, pairs[pairs["client_id"].isin(peers["client_id"])]

    @cached_property
    def open_features(self) -> pd.DataFrame:
        """Features that it could use and has not adopted, with the peers' adopted share and how long it lasts."""
        rows = self.frame[self.frame["adopted"] == 0].set_index("feature", drop=False)
        pairs = self._peers[1]
        by = pairs[pairs["adopted"].notna()].groupby("feature")["adopted"].agg(["mean", "size"])
        known = by[by["size"] >= self.settings.peers_min].reindex(rows.index)
        lasting = [self.usage.times.outcome(name)["share"] for name in rows.index]
        rows = rows.assign(peer_share=known["mean"], peers=known["size"], kept_share=lasting)
        worth = rows["peer_share"] * rows["kept_share"].fillna(1.0)
        order = np.lexsort((rows["feature"], -worth.fillna(-1.0)))
        return rows.iloc[order].reset_index(drop=True)

    # -- what to adopt next ----------------------------------------------------------------

    def _figures(self, row: Mapping[str, Any], barriers: list[Barrier] | None) -> dict[str, Any]:
        """The named figures of a feature that the rules read."""
        ever = int(self._users_ever.get(row["feature"], 0))
        return {
            "users_ever": ever,
            "other_users": max(len(self.users) - ever, 0),
            "peers": number(row["peers"]),
            "peer_percent": advice.percent(row["peer_share"]),
            "kept_percent": advice.percent(row["kept_share"]),
            "abandoned_here": self.times.outcome(row["feature"])["abandoned"],
            **advice.voice_figures(row, barriers),
        }

    @cached_property
    def _users_ever(self) -> pd.Series:
        """How many of the users that there are now have tried each feature at some time."""
        still = self.ever[self.ever["user_id"].isin(self.users)]
        return still.groupby("feature")["user_id"].nunique()

    def _advised(self, row: Mapping[str, Any]) -> tuple[list[Barrier] | None, list[Any]]:
        barriers = advice.barriers(self.usage, row["feature"], [self.client_id])
        figures = self._figures(row, barriers)
        return barriers, rules.triggered(advice.TOOL, "action", figures, self.settings.rules)

    def low_features(self, tested: Effects | None) -> list[LowFeature]:
        """All that it could use and has not adopted."""
        parts = []
        for row in self.open_features.to_dict("records"):
            barriers, held = self._advised(row)
            held = advice.promoted(self.usage, tested, row["feature"], held)
            parts.append(advice.low_feature(row, barriers, held))
        return parts

    def recommendations(self, tested: Effects | None) -> list[Recommendation]:
        """What similar customers adopted and went on using, most of them first."""
        label, parts = self._peers[0], []
        rows = self.open_features[self.open_features["peer_share"] > 0]
        for row in rows.head(self.usage.settings.recommendations_max_count).to_dict("records"):
            held = advice.promoted(self.usage, tested, row["feature"], self._advised(row)[1])
            if not held:
                continue
            share = f"{100 * row['peer_share']:.0f}% of {row['peers']:.0f} peers ({label})"
            reason = f"{share} have adopted it"
            if not np.isnan(row["kept_share"]):
                lasting = f"{100 * row['kept_share']:.0f}%"
                reason += f"; {lasting} of adoptions in the portfolio last 180 days"
            target = self._target(row["feature"])
            parts.append(advice.recommendation(self.usage, row, target, held, tested, reason))
        return parts

    def _target(self, feature: str) -> float | None:
        """The peers' 75th percentile of the share of active users who use the feature."""
        pairs = self._peers[1]
        rows = pairs[pairs["feature"] == feature]
        active = rows["client_id"].map(self.usage.users)
        shares = np.sort((rows["users"] / active.where(active > 0)).dropna().to_numpy())
        if len(shares) < self.settings.peers_min:
            return None
        return float(shares[order_statistic(len(shares), 0.75)])


def versus_peers(rate: float, median: float | None, n: int) -> str | None:
    """
    >>> versus_peers(0.56, 0.5, 34), versus_peers(0.4, 0.5, 8)
    ('+12% higher adoption than the median of 34', '20% lower adoption than the median of 8')
    """
    if not median:
        return None
    percent = round(100 * (rate / median - 1))
    if percent == 0:
        return f"the same adoption as the median of {n}"
    if percent > 0:
        return f"{percent:+d}% higher adoption than the median of {n}"
    return f"{-percent}% lower adoption than the median of {n}"
