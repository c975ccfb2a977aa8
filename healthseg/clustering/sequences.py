"""Which features are adopted one after the other: does b follow a sooner than customers without a
adopt it?

Each first use of b is compared with the customers who could have made it then: of the same breadth
(share of all other features adopted), as long after b became available, and without b so far. A
share of these had adopted a in the last weeks: the chance that this taker is one of them, were a
irrelevant. The takers of b with a shortly before are then Poisson-binomial: the log-rank test
(Mantel 1966), exact given the times.

A step has a direction only where it is at least twice as frequent as its reverse. A longer sequence
is as strong as its weakest step: the largest p, the least lift. Only first uses tracked from the
day of availability enter.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.bundles import at_least
from healthseg.clustering.patterns import COLUMNS, HELD_OUT, PatternFamily, PatternLimits, Resample
from healthseg.settings import Settings

KIND = "sequence"
ARROW = " → "

Steps = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class AdoptionOrders:
    """First uses by customer and feature, days since 1970.

    ``days`` are first uses (NaN: never, or not tracked), ``clocks`` the days since when each feature was available
    (NaN: never, or before tracking), ``ends`` until when it was tracked.
    """

    days: pd.DataFrame
    clocks: pd.DataFrame
    ends: pd.DataFrame
    limits: PatternLimits
    settings: Settings

    @functools.cached_property
    def family(self) -> PatternFamily:
        """Every order that enough customers show, compared with chance; computed on first use."""
        return _OrderSearch(self).family()

    def soon(self, days: np.ndarray) -> np.ndarray:
        return in_order(days, self.settings.order_max_gap_days)

    def shows(self, key: str, by_day: float | np.ndarray = np.inf) -> np.ndarray:
        """Which customers show a sequence, each step soon after the one before, by a day."""
        days = self.days[key.split(ARROW)].to_numpy()
        return self.soon(days) & (days[:, -1] <= by_day)

    def gaps(self, key: str) -> np.ndarray:
        """Days between consecutive steps of the customers that show a sequence: customers × steps."""
        return np.diff(self.days.loc[self.shows(key), key.split(ARROW)].to_numpy(), axis=1)

    def frequent(self, max_p: float) -> list[str]:
        """Orders that enough customers show, with p at most ``max_p``."""
        tried = self.family.tried
        rows = (tried["p"] <= max_p) & (tried["support"] >= self.limits.support)
        return tried.loc[rows, "key"].tolist()

    def completed(self, key: str, rows: pd.DataFrame) -> np.ndarray:
        """By row (client_id, date): completed by then (1) or not (0); NaN where it could not be."""
        features = key.split(ARROW)
        customer = self.days.index.get_indexer(rows["client_id"])
        day = (pd.to_datetime(rows["date"]) - pd.Timestamp(1970, 1, 1)).dt.days.to_numpy()
        could = self.clocks[features].notna().all(axis=1).to_numpy()
        last = np.where(self.shows(key), self.days[features[-1]].to_numpy(), np.inf)
        known = could[customer] & (customer >= 0)
        return np.where(known, (last[customer] <= day).astype(float), np.nan)

    def unfinished(self, key: str) -> tuple[int, int]:
        """Customers that made the first step but not all in time, of those with access to all features."""
        names = key.split(ARROW)
        available = self.clocks[names].notna().all(axis=1).to_numpy()
        begun = self.days[names[0]].notna().to_numpy() & available
        return int((begun & ~self.shows(key)).sum()), int(begun.sum())


def in_order(days: np.ndarray, max_gap_days: float) -> np.ndarray:
    """Rows whose days rise strictly, by at most ``max_gap_days`` a step; an unknown day follows nothing."""
    with np.errstate(invalid="ignore"):
        steps = np.diff(days, axis=1)
        return np.all((steps > 0) & (steps <= max_gap_days), axis=1)


def sequences(lives: pd.DataFrame, limits: PatternLimits, settings: Settings) -> AdoptionOrders:
    """Every order of first uses that enough customers show, each compared with chance.

    ``lives`` is ``feature_lives``: client_id, feature, from_day, until_day, first_use_day, watched. The family's keys
    are features joined by arrows; its units are the customers.
    """
    tracked = lives[lives["watched"].astype(bool)]
    clients = sorted(lives["client_id"].unique())
    days, clocks, ends = (
        tracked.pivot(index="client_id", columns="feature", values=name)
        .reindex(clients)
        .astype(float)
        for name in ("first_use_day", "from_day", "until_day")
    )
    return AdoptionOrders(days, clocks, ends, limits, settings)


@dataclass(frozen=True)
class _Peers:
    """Takers of the second feature, when, whether each had the first shortly before, and the chance that it had."""

    taker: np.ndarray
    day: np.ndarray
    had: np.ndarray
    chance: np.ndarray

    def p(self) -> float:
        return at_least(int(self.had.sum()), self.chance) if len(self.had) else 1.0

    def lift(self) -> float:
        return float(self.had.sum() / max(self.chance.sum(), 1e-9))

    def resampled_lift(self, weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, self.taker]
        return (drawn @ self.had) / np.maximum(drawn @ self.chance, 1e-9)

    def after(self, day: float) -> _Peers:
        late = self.day > day
        return _Peers(self.taker[late], self.day[late], self.had[late], self.chance[late])


@dataclass(frozen=True)
class _OwnControls:
    """Customers that use both features: days from the first use of one to that of the other, and tracked around it."""

    gap: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def p(self, windows: Sequence[tuple[int, int]]) -> float:
        return min(1.0, len(windows) * min(self._window_p(*window) for window in windows))

    def _window_p(self, split_day: int, width_days: int) -> float:
        """Are there more first uses within a width after the split day than before it, given both widths tracked?"""
        before = np.clip(self.before + split_day, 0, width_days)
        after = np.clip(self.after - split_day, 0, width_days)
        lag = self.gap - split_day
        late, early = (lag > 0) & (lag <= after), (lag <= 0) & (-lag < before)
        rows = (late | early) & (before > 0) & (after > 0) & (self.gap != 0)
        share = after[rows] / (before + after)[rows]
        return at_least(int(late[rows].sum()), share) if rows.any() else 1.0


@dataclass(frozen=True)
class _SequenceStep:
    """The second feature soon after the first, compared with peers and with each customer's own days before."""

    peers: _Peers
    own: _OwnControls
    windows: Sequence[tuple[int, int]]

    def p(self) -> float:
        return max(self.peers.p(), self.own.p(self.windows))

    def lift(self) -> float:
        return self.peers.lift()


class _OrderSearch:
    def __init__(self, orders: AdoptionOrders) -> None:
        self.orders, self.limits, self.settings = orders, orders.limits, orders.settings
        self.names = orders.days.columns.tolist()
        self.days, self.clocks = orders.days.to_numpy(), orders.clocks.to_numpy()
        self.used = np.isfinite(self.days)
        self.tracked = orders.ends.to_numpy()
        self.ends = np.where(self.used, self.days, self.tracked)
        self.middle = float(np.nanmedian(self.days)) if self.used.any() else np.nan
        self.steps: dict[tuple[str, ...], _SequenceStep] = {}

    def family(self) -> PatternFamily:
        rows, least = self._first_uses(), max(int(self.limits.support), 1)
        for items in prefixspan(rows, least, 2)["items"]:
            if len(items) == 2:
                self.steps[items] = self._step(*items)
        promising = [pair for pair, step in self.steps.items() if self._is_promising(pair, step)]
        longest = self.settings.order_max_steps
        longer = [
            items
            for items in prefixspan(rows, least, longest, frozenset(promising))["items"]
            if len(items) > 2
        ]
        tried = pd.DataFrame(
            [self._row(items) for items in [*self.steps, *longer]], columns=COLUMNS
        )
        held_out = [self._held_out(items) for items in [*sorted(promising), *longer]]
        return PatternFamily(
            KIND,
            tried,
            self.orders.days.index.tolist(),
            self._resampler(tried["key"].tolist()),
            pd.DataFrame(held_out, columns=HELD_OUT),
            self.limits,
        )

    def _first_uses(self) -> pd.DataFrame:
        unit, item = np.nonzero(self.used)
        names = np.array(self.names, dtype=object)
        return pd.DataFrame({"unit": unit, "item": names[item], "time": self.days[unit, item]})

    def _columns(self, items: tuple[str, ...]) -> list[int]:
        return [self.names.index(item) for item in items]

    def _is_promising(self, pair: tuple[str, ...], step: _SequenceStep) -> bool:
        return (
            step.p() <= self.settings.pattern_promising_max_p
            and step.lift() >= self.limits.lift
            and self._is_one_way(pair)
        )

    def _is_one_way(self, pair: tuple[str, ...]) -> bool:
        days, soon = self.days[:, self._columns(pair)], self.orders.soon
        ratio = self.settings.order_min_one_way_ratio
        return bool(soon(days).sum() >= ratio * soon(days[:, ::-1]).sum())

    def _breadth(self, excluded: list[int]) -> np.ndarray:
        """Each customer's group by the share that it adopted of the features available to it, but for two."""
        available = np.isfinite(np.delete(self.clocks, excluded, axis=1)).sum(axis=1)
        adopted = np.delete(self.used, excluded, axis=1).sum(axis=1)
        share, groups = adopted / np.maximum(available, 1), self.settings.order_breadth_groups
        edges = np.quantile(share, np.arange(1, groups) / groups)
        return np.searchsorted(edges, share, side="left")

    def _step(self, first: str, second: str) -> _SequenceStep:
        at, to = self._columns((first, second))
        available = np.isfinite(self.clocks[:, [at, to]]).all(axis=1)
        peers, own = self._peers(at, to, available), self._own_controls(at, to, available)
        return _SequenceStep(peers, own, self.settings.order_own_windows_days)

    def _peers(self, at: int, to: int, available: np.ndarray) -> _Peers:
        breadth = self._breadth([at, to])
        takers, had, chance = [], [], []
        for group in np.unique(breadth):
            rows = np.flatnonzero(available & (breadth == group))
            clock, took = self.clocks[rows, to], self.used[rows, to]
            begin = np.where(self.used[rows, at], self.days[rows, at] - clock, np.inf)
            end = self.ends[rows, to] - clock
            share, exposed = exposures(end, took, begin, self.settings.order_max_gap_days)
            takers.append(rows[took])
            had.append(exposed)
            chance.append(share)
        taker = np.concatenate(takers).astype(int)
        return _Peers(taker, self.days[taker, to], np.concatenate(had), np.concatenate(chance))

    def _own_controls(self, at: int, to: int, available: np.ndarray) -> _OwnControls:
        rows = available & self.used[:, at] & self.used[:, to]
        day = self.days[rows, at]
        begin = self.clocks[rows][:, [at, to]].max(axis=1)
        return _OwnControls(self.days[rows, to] - day, day - begin, self.tracked[rows, to] - day)

    def _row(self, items: tuple[str, ...]) -> tuple[Any, ...]:
        pairs, columns = list(itertools.pairwise(items)), self._columns(items)
        steps = [self.steps[pair] for pair in pairs]
        weakest = min(steps, key=lambda step: step.lift())
        available = np.isfinite(self.clocks[:, columns]).all(axis=1)
        shows = self.orders.soon(self.days[:, columns])
        support, n = int((shows & available).sum()), int(available.sum())
        prevalence, lift = support / max(n, 1), weakest.lift()
        z = scipy.special.ndtri((1 + self.settings.interval_level) / 2)
        reach = np.exp(z / np.sqrt(max(weakest.peers.had.sum(), 0.5)))
        one_way = all(self._is_one_way(pair) for pair in pairs)
        p = max(step.p() for step in steps) if one_way else 1.0
        rates = (prevalence, prevalence / max(lift, 1e-9), lift, lift / reach, lift * reach)
        return (ARROW.join(items), support, n, *rates, p)

    def _held_out(self, items: tuple[str, ...]) -> tuple[str, float, float]:
        """The same steps among the first uses after the middle of all first uses."""
        steps = [self.steps[pair].peers.after(self.middle) for pair in itertools.pairwise(items)]
        lift, p = min(step.lift() for step in steps), max(step.p() for step in steps)
        return ARROW.join(items), lift, p

    def _resampler(self, keys: list[str]) -> Resample:
        def resample(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            support, lift = (np.empty((len(weights), len(rows))) for _ in range(2))
            for column, row in enumerate(rows):
                items = tuple(keys[row].split(ARROW))
                support[:, column] = weights @ self.orders.soon(self.days[:, self._columns(items)])
                steps = [self.steps[pair] for pair in itertools.pairwise(items)]
                lift[:, column] = np.min(
                    [step.peers.resampled_lift(weights) for step in steps], axis=0
                )
            return support, lift

        return resample


def exposures(
    end: np.ndarray, took: np.ndarray, begin: np.ndarray, lasts_days: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of the takers: the share of those still at risk that were exposed at that time, and whether they were exposed.

    ``end`` is when each took it or was last tracked, ``begin`` when exposure began (infinite: never).

    >>> share, had = exposures(np.array([5.0, 9.0]), np.array([True, False]), np.array([2.0, np.inf]), 60)
    >>> share.tolist(), had.tolist()
    ([0.5], [True])
    """
    stop = np.minimum(begin + lasts_days, end)
    exposed_ever = begin < stop
    at = end[took]
    started = np.searchsorted(np.sort(begin[exposed_ever]), at, side="left")
    exposed = started - np.searchsorted(np.sort(stop[exposed_ever]), at, side="left")
    at_risk = len(end) - np.searchsorted(np.sort(end), at, side="left")
    return exposed / np.maximum(at_risk, 1), ((begin < end) & (end <= begin + lasts_days))[took]


def prefixspan(
    rows: pd.DataFrame, least: int, longest: int = 4, steps: Steps | None = None
) -> pd.DataFrame:
    """Which sequences of items do at least ``least`` units show?

    ``rows`` has unit, item and time; a unit shows (a, b) where it has an a strictly before a b.
    Columns: items (a tuple), support; sorted by length, then items. Pei et al. (2001), with the
    earliest time at which each unit has the prefix as its projection; items may recur. With
    ``steps``, a sequence consists of them alone.

    >>> rows = pd.DataFrame({"unit": [1, 1, 2, 2], "item": ["a", "b", "a", "b"], "time": [0, 1, 5, 9]})
    >>> prefixspan(rows, least=2)[["items", "support"]].values.tolist()
    [[('a',), 2], [('b',), 2], [('a', 'b'), 2]]
    """
    unit, units = pd.factorize(rows["unit"], sort=True)
    item, items = pd.factorize(rows["item"], sort=True)
    time = rows["time"].to_numpy(dtype=float)
    order = np.lexsort((item, time, unit))
    unit, item, time = unit[order].astype(np.int64), item[order], time[order]
    frequent: list[tuple[tuple[Any, ...], int]] = []

    def extend(prefix: tuple[Any, ...], reached: np.ndarray) -> None:
        """All frequent sequences that begin with ``prefix``, which each unit has by ``reached`` (infinite: never)."""
        if len(prefix) == longest:
            return
        later = np.flatnonzero(time > reached[unit])
        # rows are in order of time: the first of each unit and item is the earliest
        key, at = np.unique(unit[later] * len(items) + item[later], return_index=True)
        next_unit, next_item = key // max(len(items), 1), key % max(len(items), 1)
        support = np.bincount(next_item, minlength=len(items))
        for code in np.flatnonzero(support >= least):
            if prefix and steps is not None and (prefix[-1], items[code]) not in steps:
                continue
            longer, ahead = (*prefix, items[code]), np.full(len(units), np.inf)
            ahead[next_unit[next_item == code]] = time[later[at]][next_item == code]
            frequent.append((longer, int(support[code])))
            extend(longer, ahead)

    extend((), np.full(len(units), -np.inf))
    frequent.sort(key=lambda entry: (len(entry[0]), entry[0]))
    return pd.DataFrame(frequent, columns=["items", "support"]).astype({"support": int})


def contains(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    """Whether one sequence contains the other, gaps allowed.

    >>> contains("abc", "ac"), contains("abc", "ca")
    (True, False)
    """
    rest = iter(longer)
    return all(item in rest for item in shorter)
