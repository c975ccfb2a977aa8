"""What is tried in a call, and what came of it: all families of a scope, judged together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import Bundles, bundles
from healthseg.clustering.communication import MessagePatterns, communication
from healthseg.clustering.patterns import PatternFamily, PatternLimits, evaluate_patterns
from healthseg.clustering.personas import Personas, personas
from healthseg.clustering.sequences import ARROW, AdoptionOrders, sequences
from healthseg.clustering.support import SupportPatterns, support
from healthseg.clustering.temporal import TemporalPatterns, temporal
from healthseg.data.memory import remember, stored_frame
from healthseg.metrics import landmarks as measured
from healthseg.metrics import spans
from healthseg.metrics.counting import Counting, Spans, chunks, epoch_day
from healthseg.metrics.feature_timelines import feature_timelines
from healthseg.metrics.profile import customers_as_of
from healthseg.tools.patterns.landmarks import RULE_DAYS, Landmarks
from healthseg.tools.patterns.leaving import EXTRA, Leaving
from healthseg.tools.patterns.scope import ALL, SINGLE, Scope, all_customers
from healthseg.tools.patterns.signs import BY_NAME, RISK, SIGNS, SUCCESS

SEQUENCES = PatternLimits(
    support=10
)  # customers in one order; p and held-out time keep chance away
BUNDLES = SIGNS_LIMITS = PatternLimits()
USERS = PatternLimits(support=5)  # of one customer: users that use all of a bundle
LEAST_EVENTS = 20  # of a user in the window, from which on what it does says something
KINDS = ("temporal", "communication", "support", "sequence", "bundle", RISK, SUCCESS, "habit")
USED = "uses "
ORDER = "took up "


Weighed = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Study:
    """The families of one scope and window. Of one customer, what leaves is learnt on the portfolio (``portfolio_wide``)."""

    def __init__(self, portfolio: Any, scope: Scope, categories: frozenset[str]) -> None:
        self.portfolio, self.scope, self.categories, self.settings = (
            portfolio,
            scope,
            categories,
            portfolio.settings,
        )
        self.level = portfolio.settings.interval_level
        self._families: dict[str, PatternFamily | None] = {}

    @classmethod
    def of(cls, portfolio: Any, scope: Scope, categories: frozenset[str]) -> Study:
        key = (
            "patterns",
            scope.kind,
            scope.client_id,
            scope.segment_id,
            scope.as_of,
            scope.days,
            tuple(sorted(categories)),
        )
        return remember(portfolio, key, lambda: cls(portfolio, scope, categories))

    @cached_property
    def portfolio_wide(self) -> Study:
        """The same window of all customers, as of the portfolio's own date: what a single customer is held against."""
        if self.scope.kind != SINGLE:
            return self
        return Study.of(
            self.portfolio,
            all_customers(self.portfolio, self.scope.as_of, self.scope.asked_days),
            self.categories,
        )

    @property
    def features_asked(self) -> bool:
        return "feature_usage" in self.categories

    # -- features ------------------------------------------------------------------------

    @cached_property
    def lives(self) -> pd.DataFrame:
        """Of all: also of customers that left before the window, whose orders of adoption are history as well."""
        whole = remember(
            self.portfolio,
            ("pattern lives", self.scope.as_of),
            lambda: stored_frame(
                self.portfolio,
                "pattern-lives",
                self.scope.as_of,
                lambda: feature_timelines(
                    self.portfolio, self.scope.as_of, RULE_DAYS, self.settings.abandoned_after_days
                ),
            ),
        )
        if self.scope.kind == ALL:
            return whole
        return whole[whole["client_id"].isin(self.scope.clients)].reset_index(drop=True)

    @cached_property
    def orders(self) -> AdoptionOrders | None:
        if self.scope.kind == SINGLE:
            return self.portfolio_wide.orders
        return sequences(self.lives, SEQUENCES, self.settings) if len(self.lives) else None

    @cached_property
    def used(self) -> pd.DataFrame:
        """Units × features of the window: 1 used, 0 not, NaN not open to it. Units are customers, or one's users.

        Of all customers also those that left before: the as many days until they did, as their orders are history too.
        """
        return self._used(self.scope.start)

    def _used(self, start: dt.date) -> pd.DataFrame:
        if self.scope.kind == SINGLE:
            rows = self.feature_days
            rows = rows[rows["day"] >= epoch_day(start)] if len(rows) else rows
            return (
                rows.pivot_table(
                    index="user_id", columns="feature", values="day", aggfunc="nunique"
                )
                .notna()
                .astype(float)
            )
        frame = pd.concat(
            [
                pd.DataFrame(
                    {"client_id": self.scope.clients, "start": start, "end": self.scope.end}
                ),
                self._before_leaving((self.scope.end - start).days),
            ]
        ).assign(span_id=0)
        found = [
            spans.over(
                self.portfolio,
                frame[frame["client_id"].isin(some)],
                ["active_days"],
                by="entitled_feature",
            )
            for some in spans.chunks(frame["client_id"].tolist())
        ]
        rows = pd.concat(found, ignore_index=True)
        days = rows.pivot(index="client_id", columns="feature", values="active_days").astype(float)
        return (days > 0).astype(float).where(days.notna())

    @property
    def gone(self) -> list[str]:
        """Customers that tell which bundles there are, and are no part of the window."""
        return (
            self.used.index.difference(self.scope.clients).tolist()
            if self.scope.kind == ALL
            else []
        )

    def _before_leaving(self, days: int) -> pd.DataFrame:
        """The last days of each customer of the portfolio that left before the window."""
        if self.scope.kind != ALL:
            return pd.DataFrame(columns=["client_id", "start", "end"])
        left = (
            customers_as_of(self.portfolio, self.scope.as_of)["churned_on"]
            .dropna()
            .dt.date.drop(self.scope.clients, errors="ignore")
        )
        first = self.portfolio.first_event_day
        start = [max(first, day - dt.timedelta(days=days)) for day in left]
        frame = pd.DataFrame({"client_id": left.index, "start": start, "end": left.to_numpy()})
        return frame[frame["start"] < frame["end"]]

    @cached_property
    def bundles(self) -> Bundles:
        limits = USERS if self.scope.kind == SINGLE else BUNDLES
        return bundles(
            self.used,
            self._used(self.scope.middle).reindex(columns=self.used.columns, fill_value=0.0),
            limits,
            self.settings,
        )

    @cached_property
    def feature_days(self) -> pd.DataFrame:
        """client_id, user_id, feature, day: a row where a user used a feature on a day of the window."""
        return (
            pd.concat(
                [self._rows("feature_user_days", some) for some in chunks(self.scope.clients)],
                ignore_index=True,
            )
            if self.scope.clients
            else pd.DataFrame()
        )

    def _rows(self, name: str, clients: list[str]) -> pd.DataFrame:
        every, start, end = (
            np.arange(len(clients)),
            epoch_day(self.scope.start),
            epoch_day(self.scope.end),
        )
        count = Counting(
            self.portfolio,
            clients,
            Spans(every, np.full(len(clients), start), np.full(len(clients), end)),
        )
        rows = count.rows(name)
        rows = rows[(rows["day"] >= start) & (rows["day"] < end)]
        named = rows.assign(client_id=np.array(clients, dtype=object)[rows["k"].to_numpy()]).drop(
            columns="k"
        )
        return named.astype({"user_id": object})

    @cached_property
    def user_events(self) -> pd.Series:
        """Person events of the window by client_id and user_id."""
        parts = [self._rows("user_days", some) for some in chunks(self.scope.clients)]
        rows = pd.concat(parts, ignore_index=True)
        return rows.groupby(["client_id", "user_id"], sort=True)["person_events"].sum()

    @cached_property
    def personas(self) -> tuple[Personas, int]:
        """The personas, and how many users did too little to be placed."""
        events = self.user_events
        enough = events[events >= LEAST_EVENTS]
        rows = self.feature_days
        known = pd.MultiIndex.from_frame(rows[["client_id", "user_id"]]).isin(enough.index)
        days = (
            rows[known]
            .groupby(["client_id", "user_id", "feature"], sort=True)["day"]
            .nunique()
            .rename("days")
        )
        found = personas(days.reset_index(), self.settings)
        return found, len(events) - found.users

    # -- leaving and staying -----------------------------------------------------------------

    @cached_property
    def landmarks(self) -> Landmarks:
        return Landmarks(self.portfolio, self.scope.as_of, self.scope.belongs)

    @cached_property
    def months(self) -> pd.DataFrame:
        return self.landmarks.months()

    @cached_property
    def foretold(self) -> Leaving:
        """What signs are tried with."""
        return Leaving(
            self.months, SIGNS_LIMITS, self.settings.effects_interval_level, at_equal_activity=False
        )

    @cached_property
    def advised(self) -> Leaving:
        """What customers use, together, and took up in which order is tried with."""
        return Leaving(
            self.months, SIGNS_LIMITS, self.settings.effects_interval_level, at_equal_activity=True
        )

    def _signs(self, kind: str) -> PatternFamily:
        return self.foretold.family(
            kind, {sign.name: sign.shown(self.months) for sign in SIGNS if sign.kind == kind}
        )

    def _habits(self) -> PatternFamily:
        shown = self.uses | {ORDER + key: self._completed(key) for key in self._promising()}
        beside = {key: _share_of_others(key, self.uses, len(self.months)) for key in shown}
        return self.advised.family("habit", shown, beside)

    def shown(self, kind: str, key: str) -> np.ndarray | None:
        """1, 0 or NaN by month row of what may be tried against leaving; None for what can't be."""
        if kind in (RISK, SUCCESS):
            return BY_NAME[key].shown(self.months)
        return (
            self._completed(key.removeprefix(ORDER))
            if key.startswith(ORDER)
            else self.uses.get(key)
        )

    @cached_property
    def uses(self) -> dict[str, np.ndarray]:
        """Of each feature, by month row: adopted then (1), not (0), not open to it (NaN)."""
        if not len(self.months):
            return {}
        pairs = measured.adopted_at(self.portfolio, self.months, RULE_DAYS)
        found = {}
        for feature, rows in pairs.groupby("feature", sort=True):
            shown = np.full(len(self.months), np.nan)
            shown[rows["span_id"].to_numpy(dtype=int)] = rows["adopted"].to_numpy(dtype=float)
            found[USED + str(feature)] = shown
        return found

    def _promising(self) -> list[str]:
        """Orders that are worth trying against leaving."""
        if self.orders is None or not len(self.months):
            return []
        tried = self.orders.family.tried
        return tried.loc[
            (tried["p"] <= 1e-4) & (tried["support"] >= SEQUENCES.support), "key"
        ].tolist()

    def _completed(self, order: str) -> np.ndarray:
        """By month row: an order was taken to its end by then (1) or not (0); NaN where it could not be."""
        names = order.split(ARROW)
        place = self.orders.days.index.get_indexer(self.months["client_id"])
        day = (pd.to_datetime(self.months["date"]) - pd.Timestamp(1970, 1, 1)).dt.days.to_numpy()
        could = self.orders.clocks[names].notna().all(axis=1).to_numpy()
        last = np.where(self.orders.shows(order), self.orders.days[names[-1]].to_numpy(), np.inf)
        return np.where(could[place] & (place >= 0), (last[place] <= day).astype(float), np.nan)

    # -- days, hours, messages, tickets ------------------------------------------------------

    @property
    def _window(self) -> tuple[Any, list[str], dt.date, dt.date]:
        return self.portfolio, self.scope.clients, self.scope.start, self.scope.end

    @cached_property
    def time(self) -> TemporalPatterns:
        return temporal(*self._window)

    @cached_property
    def messages(self) -> MessagePatterns:
        return communication(*self._window)

    @cached_property
    def tickets(self) -> SupportPatterns:
        return support(*self._window)

    # -- all together ------------------------------------------------------------------------

    @property
    def families(self) -> list[PatternFamily]:
        return [family for kind in KINDS if (family := self.family(kind)) is not None]

    def family(self, kind: str) -> PatternFamily | None:
        """What is tried of a kind; None where it is not asked for, or nothing can be tried."""
        if kind not in self._families:
            self._families[kind] = self._family(kind)
        return self._families[kind]

    def _family(self, kind: str) -> PatternFamily | None:
        of_portfolio, by_category = (
            self.scope.kind != SINGLE,
            {"temporal": "time", "communication": "messages", "support": "tickets"},
        )
        if kind in by_category:
            return (
                getattr(self, by_category[kind]).family
                if kind in self.categories and self.scope.clients
                else None
            )
        if kind in ("sequence", "bundle"):
            if not self.features_asked or not self.scope.clients:
                return None
            if kind == "bundle":
                return self.bundles.family if self.used.size else None
            return self.orders.family if of_portfolio and self.orders is not None else None
        if not of_portfolio:
            return None
        return self._habits() if kind == "habit" else self._signs(kind)

    def asked_again(self, kind: str, key: str) -> tuple[Sequence[str], Weighed | None]:
        """The units of a kind, and a pattern asked again of them weighted: its support and lift by weighting."""
        if kind in (RISK, SUCCESS, "habit"):
            tries = self.advised if kind == "habit" else self.foretold
            return tries.units.tolist(), lambda weights: tries.drawn(weights, self.shown(kind, key))
        family = self.family(kind)
        if family is None or family.resample is None:
            return [], None
        at = np.flatnonzero((family.tried["key"] == key).to_numpy())[:1]
        return family.units, lambda weights: tuple(
            one[:, 0] for one in family.resample(weights, at)
        )

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Everything tried. Of the whole portfolio it is kept: each of its customers is held against it."""

        def make() -> pd.DataFrame:
            return evaluate_patterns(self.families, self.settings)

        if self.scope.kind != ALL:
            return make()
        portfolio, as_of = self.portfolio, self.scope.as_of
        inputs = [as_of, portfolio.content(as_of), portfolio.settings.fingerprint]
        inputs += [self.scope.asked_days, sorted(self.categories)]
        return portfolio.cache.get("patterns", inputs, make)

    def tried(self, kind: str) -> pd.DataFrame:
        """What was tried of a kind, with the figures of leaving (NaN where those were not asked)."""
        rows = self.judged[self.judged["kind"] == kind]
        return rows.reindex(columns=list(dict.fromkeys([*rows, *EXTRA])))


def _share_of_others(key: str, uses: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """By month row: of the features that are no part of a habit, the share used of those open; the mean where none."""
    part_of = {USED + name for name in key.removeprefix(ORDER).split(ARROW)} | {key}
    others = [shown for name, shown in uses.items() if name not in part_of]
    used = np.sum([np.nan_to_num(shown) for shown in others], axis=0) if others else np.zeros(rows)
    open_to = np.sum([np.isfinite(shown) for shown in others], axis=0) if others else np.zeros(rows)
    share = np.divide(used, open_to, out=np.full(rows, np.nan), where=open_to > 0)
    return np.where(
        np.isfinite(share), share, np.nanmean(share) if np.isfinite(share).any() else 0.0
    )
