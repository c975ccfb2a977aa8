"""What is tried in a call, and what came of it: all families of a scope, judged together."""
from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import Bundles, bundles
from healthseg.clustering.communication import Communication, communication
from healthseg.clustering.judging import Family, Limits, judge
from healthseg.clustering.personas import Personas, personas
from healthseg.clustering.sequences import ARROW, Orders, sequences
from healthseg.clustering.support_sequences import Support, support
from healthseg.clustering.temporal import Temporal, temporal
from healthseg.data.memory import remember
from healthseg.measures import landmarks as measured
from healthseg.measures import spans
from healthseg.measures.counting import Counting, Spans, chunks, epoch_day
from healthseg.measures.feature_lives import feature_lives
from healthseg.measures.leaving import customers_as_of
from healthseg.tools.patterns.landmarks import RULE_DAYS, Landmarks
from healthseg.tools.patterns.leaving import Leaving, Tried
from healthseg.tools.patterns.scope import ALL, SINGLE, Scope, all_customers
from healthseg.tools.patterns.signs import RISK, SIGNS, SUCCESS

SEQUENCES = Limits(support=10)       # customers in one order; p and held-out time keep chance away
BUNDLES = SIGNS_LIMITS = Limits()
USERS = Limits(support=5)            # of one customer: users that use all of a bundle
LEAST_EVENTS = 20                    # of a user in the window, from which on what it does says something
USED = "uses "
ORDER = "took up "


class Study:
    """The families of one scope and window. Of one customer, what leaves is learnt on the book (``book_wide``)."""

    def __init__(self, book: Any, scope: Scope, categories: frozenset[str]) -> None:
        self.book, self.scope, self.categories, self.settings = book, scope, categories, book.settings
        self.level = book.settings.interval_level

    @classmethod
    def of(cls, book: Any, scope: Scope, categories: frozenset[str]) -> Study:
        key = ("patterns", scope.kind, scope.client_id, scope.segment_id, scope.as_of, scope.days,
               tuple(sorted(categories)))
        return remember(book, key, lambda: cls(book, scope, categories))

    @cached_property
    def book_wide(self) -> Study:
        """The same window of all customers, as of the book's own date: what a single customer is held against."""
        if self.scope.kind != SINGLE:
            return self
        return Study.of(self.book, all_customers(self.book, self.scope.as_of, self.scope.asked_days), self.categories)

    @property
    def features_asked(self) -> bool:
        return "feature_usage" in self.categories

    # -- features ------------------------------------------------------------------------

    @cached_property
    def lives(self) -> pd.DataFrame:
        """Of all: also of customers that left before the window, whose orders of adoption are history as well."""
        whole = remember(self.book, ("pattern lives", self.scope.as_of), lambda: feature_lives(
            self.book, self.scope.as_of, RULE_DAYS, self.settings.abandoned_after_days))
        if self.scope.kind == ALL:
            return whole
        return whole[whole["client_id"].isin(self.scope.clients)].reset_index(drop=True)

    @cached_property
    def orders(self) -> Orders | None:
        if self.scope.kind == SINGLE:
            return self.book_wide.orders
        return sequences(self.lives, SEQUENCES, self.level) if len(self.lives) else None

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
            return (rows.pivot_table(index="user_id", columns="feature", values="day", aggfunc="nunique")
                    .notna().astype(float))
        frame = pd.concat([pd.DataFrame({"client_id": self.scope.clients, "start": start, "end": self.scope.end}),
                           self._before_leaving((self.scope.end - start).days)]).assign(span_id=0)
        found = [spans.over(self.book, frame[frame["client_id"].isin(some)], ["active_days"], by="entitled_feature")
                 for some in spans.chunks(frame["client_id"].tolist())]
        rows = pd.concat(found, ignore_index=True)
        days = rows.pivot(index="client_id", columns="feature", values="active_days").astype(float)
        return (days > 0).astype(float).where(days.notna())

    @property
    def gone(self) -> list[str]:
        """Customers that tell which bundles there are, and are no part of the window."""
        return self.used.index.difference(self.scope.clients).tolist() if self.scope.kind == ALL else []

    def _before_leaving(self, days: int) -> pd.DataFrame:
        """The last days of each customer of the book that left before the window."""
        if self.scope.kind != ALL:
            return pd.DataFrame(columns=["client_id", "start", "end"])
        left = customers_as_of(self.book, self.scope.as_of)["churned_on"].dropna().dt.date.drop(self.scope.clients,
                                                                                               errors="ignore")
        first = self.book.first_event_day
        start = [max(first, day - dt.timedelta(days=days)) for day in left]
        frame = pd.DataFrame({"client_id": left.index, "start": start, "end": left.to_numpy()})
        return frame[frame["start"] < frame["end"]]

    @cached_property
    def bundles(self) -> Bundles:
        limits = USERS if self.scope.kind == SINGLE else BUNDLES
        return bundles(self.used, self._used(self.scope.middle).reindex(columns=self.used.columns, fill_value=0.0),
                       limits, self.level)

    @cached_property
    def feature_days(self) -> pd.DataFrame:
        """client_id, user_id, feature, day: a row where a user used a feature on a day of the window."""
        return pd.concat([self._rows("feature_user_days", some) for some in chunks(self.scope.clients)],
                         ignore_index=True) if self.scope.clients else pd.DataFrame()

    def _rows(self, name: str, clients: list[str]) -> pd.DataFrame:
        every, start, end = np.arange(len(clients)), epoch_day(self.scope.start), epoch_day(self.scope.end)
        count = Counting(self.book, clients, Spans(every, np.full(len(clients), start), np.full(len(clients), end)))
        rows = count.rows(name)
        rows = rows[(rows["day"] >= start) & (rows["day"] < end)]
        named = rows.assign(client_id=np.array(clients, dtype=object)[rows["k"].to_numpy()]).drop(columns="k")
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
        days = rows[known].groupby(["client_id", "user_id", "feature"], sort=True)["day"].nunique().rename("days")
        found = personas(days.reset_index(), self.settings.seed)
        return found, len(events) - found.users

    # -- leaving and staying -----------------------------------------------------------------

    @cached_property
    def landmarks(self) -> Landmarks:
        return Landmarks(self.book, self.scope.as_of, self.scope.belongs)

    @cached_property
    def months(self) -> pd.DataFrame:
        return self.landmarks.months()

    @cached_property
    def signs(self) -> dict[str, Tried]:
        """The signs of leaving and of staying."""
        tries = Leaving(self.months, SIGNS_LIMITS, self.settings.effects_interval_level, at_equal_activity=False)
        return {kind: tries.family(kind, {sign.name: sign.shown(self.months) for sign in SIGNS if sign.kind == kind})
                for kind in (RISK, SUCCESS)}

    @cached_property
    def habits(self) -> Tried:
        """What customers use, together, and took up in which order, against staying."""
        tries = Leaving(self.months, SIGNS_LIMITS, self.settings.effects_interval_level, at_equal_activity=True)
        uses = self._uses()
        shown = uses | self._ordered()
        return tries.family("habit", shown, {key: _share_of_others(key, uses, len(self.months)) for key in shown})

    def _uses(self) -> dict[str, np.ndarray]:
        if not len(self.months):
            return {}
        pairs = measured.adopted_at(self.book, self.months, RULE_DAYS)
        found = {}
        for feature, rows in pairs.groupby("feature", sort=True):
            shown = np.full(len(self.months), np.nan)
            shown[rows["span_id"].to_numpy(dtype=int)] = rows["adopted"].to_numpy(dtype=float)
            found[USED + str(feature)] = shown
        return found

    def _ordered(self) -> dict[str, np.ndarray]:
        """Promising orders, completed by the month's end."""
        if self.orders is None or not len(self.orders.family.tried):
            return {}
        tried = self.orders.family.tried
        keys = tried.loc[(tried["p"] <= 1e-4) & (tried["support"] >= SEQUENCES.support), "key"]
        place = self.orders.days.index.get_indexer(self.months["client_id"])
        day = (pd.to_datetime(self.months["date"]) - pd.Timestamp(1970, 1, 1)).dt.days.to_numpy()
        found = {}
        for key in keys:
            names = key.split(ARROW)
            could = self.orders.clocks[names].notna().all(axis=1).to_numpy()
            last = np.where(self.orders.shows(key), self.orders.days[names[-1]].to_numpy(), np.inf)
            shown = np.where(could[place] & (place >= 0), (last[place] <= day).astype(float), np.nan)
            found[ORDER + key] = shown
        return found

    # -- days, hours, messages, tickets ------------------------------------------------------

    @property
    def _window(self) -> tuple[Any, list[str], dt.date, dt.date]:
        return self.book, self.scope.clients, self.scope.start, self.scope.end

    @cached_property
    def time(self) -> Temporal:
        return temporal(*self._window, level=self.level)

    @cached_property
    def messages(self) -> Communication:
        return communication(*self._window)

    @cached_property
    def tickets(self) -> Support:
        return support(*self._window, seed=self.settings.seed)

    # -- all together ------------------------------------------------------------------------

    @cached_property
    def families(self) -> list[Family]:
        asked = (("temporal", "time"), ("communication", "messages"), ("support", "tickets"))
        found = [getattr(self, name).family for category, name in asked
                 if category in self.categories and self.scope.clients and getattr(self, name).family is not None]
        if self.features_asked and self.scope.clients:
            found += [self.orders.family] if self.orders is not None and self.scope.kind != SINGLE else []
            found += [self.bundles.family] if self.used.size else []
        if self.scope.kind != SINGLE:
            found += [tried.family for tried in (*self.signs.values(), self.habits)]
        return found

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Everything tried; of one customer its own, and below it what was tried on the book."""
        return judge(self.families, self.settings.seed, self.settings.effects_max_q)

    def family(self, kind: str) -> Family | None:
        return next((one for one in self.families if one.kind == kind), None)


def _share_of_others(key: str, uses: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """By month row: of the features that are no part of a habit, the share used of those open; the mean where none."""
    part_of = {USED + name for name in key.removeprefix(ORDER).split(ARROW)} | {key}
    others = [shown for name, shown in uses.items() if name not in part_of]
    used = np.sum([np.nan_to_num(shown) for shown in others], axis=0) if others else np.zeros(rows)
    open_to = np.sum([np.isfinite(shown) for shown in others], axis=0) if others else np.zeros(rows)
    share = np.divide(used, open_to, out=np.full(rows, np.nan), where=open_to > 0)
    return np.where(np.isfinite(share), share, np.nanmean(share) if np.isfinite(share).any() else 0.0)
