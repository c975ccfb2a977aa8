"""Which features are taken up one after the other: does b follow a sooner than it comes to those without a?

Popular features come first by themselves, and broad customers take up everything: neither is a pattern. So each first
use of b is held against the customers who could have made it then: of the same breadth (how much they took up of all
else), as long after they could first use b, and without b so far. Of these a share had taken up a in the last weeks:
the chance that this taker is one of them, were a of no matter. How many takers of b had a shortly before is then
Poisson-binomial: the log-rank test (Mantel 1966) of a's last weeks, exact given the times.

A step has a direction only where b soon after a is at least twice as frequent as a soon after b. A longer sequence is
as strong as its weakest step: its p is the largest, its lift the least of its steps'. Only first uses that were watched
since the feature could be used enter.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.bundles_chance import at_least
from healthseg.clustering.judging import COLUMNS, Family, Limits
from healthseg.clustering.sequences_prefixspan import prefixspan

KIND = "sequence"
ARROW = " → "
LONGEST = 5
SOON_DAYS = 60  # a step is made within two months, or it is no step
BREADTHS = 3  # groups of customers by the share of the other features that they took up
ONE_WAY = 2.0  # times as often in this order as in the other
PROMISING = 0.05  # p of a step, over which no longer sequence can pass


@dataclass(frozen=True)
class Orders:
    """``days`` are customers × features (first uses, days since 1970; NaN: never, or unseen), ``clocks`` since when
    each could be used (NaN: never, or before tracking), ``ends`` until when it was watched."""

    days: pd.DataFrame
    clocks: pd.DataFrame
    ends: pd.DataFrame
    limits: Limits
    level: float

    @functools.cached_property
    def family(self) -> Family:
        """Every order that enough customers show, against chance; searched for when it is first asked for."""
        return _Search(
            self.days, self.clocks.to_numpy(), self.ends.to_numpy(), self.limits, self.level
        ).family()

    def shows(self, key: str, by_day: float = np.inf) -> np.ndarray:
        """Which customers show a sequence, each step soon after the one before, by a day."""
        days = self.days[key.split(ARROW)].to_numpy()
        return soon(days) & (days[:, -1] <= by_day)

    def gaps(self, key: str) -> np.ndarray:
        """Days between consecutive steps of the customers that show a sequence: customers × steps."""
        return np.diff(self.days.loc[self.shows(key), key.split(ARROW)].to_numpy(), axis=1)

    def unfinished(self, key: str) -> tuple[int, int]:
        """Customers that could go all the way, and of them those that made the first step but not all in time."""
        names = key.split(ARROW)
        begun = (
            self.days[names[0]].notna().to_numpy()
            & self.clocks[names].notna().all(axis=1).to_numpy()
        )
        return int((begun & ~self.shows(key)).sum()), int(begun.sum())


def soon(days: np.ndarray) -> np.ndarray:
    """Rows whose days rise strictly, by at most ``SOON_DAYS`` a step; an unknown day follows nothing."""
    with np.errstate(invalid="ignore"):
        steps = np.diff(days, axis=1)
        return ((steps > 0) & (steps <= SOON_DAYS)).all(axis=1)


def sequences(lives: pd.DataFrame, limits: Limits, level: float = 0.9) -> Orders:
    """Every order of first uses that enough customers show, each against chance.

    ``lives`` is ``feature_lives``: client_id, feature, from_day, until_day, first_use_day, watched. The family's keys
    are features joined by arrows; its units are the customers.
    """
    watched = lives[lives["watched"].astype(bool)]
    clients = sorted(lives["client_id"].unique())
    days, clocks, ends = (
        watched.pivot(index="client_id", columns="feature", values=name)
        .reindex(clients)
        .astype(float)
        for name in ("first_use_day", "from_day", "until_day")
    )
    return Orders(days, clocks, ends, limits, level)


class _Search:
    def __init__(
        self, days: pd.DataFrame, clocks: np.ndarray, ends: np.ndarray, limits: Limits, level: float
    ) -> None:
        self.limits, self.z = limits, scipy.special.ndtri((1 + level) / 2)
        self.names, self.clients = days.columns.tolist(), days.index.tolist()
        self.days, self.clocks = days.to_numpy(), clocks
        self.ends = np.where(np.isfinite(self.days), self.days, ends)
        self.middle = float(np.nanmedian(self.days)) if np.isfinite(self.days).any() else np.nan
        self.steps: dict[tuple[str, str], _Step] = {}

    def family(self) -> Family:
        rows, least = self._rows(), max(int(self.limits.support), 1)
        frequent = prefixspan(rows, least, 2)
        for pair in frequent.loc[frequent["items"].str.len() == 2, "items"]:
            self.steps[pair] = self._step(*pair)
        good = frozenset(
            pair
            for pair, step in self.steps.items()
            if step.p() <= PROMISING and step.lift() >= self.limits.lift and self._one_way(pair)
        )
        longer = prefixspan(rows, least, LONGEST, good)
        longer = longer.loc[longer["items"].str.len() > 2, "items"].tolist()
        tried = pd.DataFrame(
            [self._row(items) for items in [*self.steps, *longer]], columns=COLUMNS
        )
        held = pd.DataFrame(
            [self._later(items) for items in [*sorted(good), *longer]], columns=["key", "lift", "p"]
        )
        return Family(
            KIND, tried, self.clients, self._again(tried["key"].tolist()), held, self.limits
        )

    def _rows(self) -> pd.DataFrame:
        unit, item = np.nonzero(np.isfinite(self.days))
        return pd.DataFrame(
            {
                "unit": unit,
                "item": np.array(self.names, dtype=object)[item],
                "time": self.days[unit, item],
            }
        )

    def _places(self, items: tuple[str, ...]) -> list[int]:
        return [self.names.index(item) for item in items]

    def _one_way(self, pair: tuple[str, str]) -> bool:
        days = self.days[:, self._places(pair)]
        return soon(days).sum() >= ONE_WAY * soon(days[:, ::-1]).sum()

    def _breadth(self, but: list[int]) -> np.ndarray:
        """Each customer's group by the share it took up of the features that it could use, but for some."""
        others = np.delete(np.arange(len(self.names)), but)
        could = np.isfinite(self.clocks[:, others])
        share = np.isfinite(self.days[:, others]).sum(axis=1) / np.maximum(could.sum(axis=1), 1)
        edges = np.quantile(share, np.arange(1, BREADTHS) / BREADTHS)
        return np.searchsorted(edges, share, side="left")

    def _step(self, first: str, second: str) -> _Step:
        at, to = self._places((first, second))
        group = self._breadth([at, to])
        could = np.isfinite(self.clocks[:, [at, to]]).all(axis=1)
        taker, had, chance = [], [], []
        for one in np.unique(group):
            who = np.flatnonzero(could & (group == one))
            clock = self.clocks[who, to]
            end = self.ends[who, to] - clock
            begin = np.where(np.isfinite(self.days[who, at]), self.days[who, at] - clock, np.inf)
            took = np.isfinite(self.days[who, to])
            share, exposed = exposures(end, took, begin)
            taker.append(who[took])
            had.append(exposed)
            chance.append(share)
        taker = np.concatenate(taker) if taker else np.zeros(0, dtype=int)
        return _Step(
            taker,
            self.days[taker, to],
            *(np.concatenate(part) if part else np.zeros(0) for part in (had, chance)),
        )

    def _row(self, items: tuple[str, ...]) -> tuple:
        steps = [self.steps[pair] for pair in itertools.pairwise(items)]
        weakest = min(steps, key=lambda step: step.lift())
        places = self._places(items)
        could = np.isfinite(self.clocks[:, places]).all(axis=1)
        support, n = int((soon(self.days[:, places]) & could).sum()), int(could.sum())
        prevalence, lift = support / max(n, 1), weakest.lift()
        reach = np.exp(self.z / np.sqrt(max(weakest.had.sum(), 0.5)))
        one_way = all(self._one_way(pair) for pair in itertools.pairwise(items))
        p = max(step.p() for step in steps) if one_way else 1.0
        return (
            ARROW.join(items),
            support,
            n,
            prevalence,
            prevalence / max(lift, 1e-9),
            lift,
            lift / reach,
            lift * reach,
            p,
        )

    def _later(self, items: tuple[str, ...]) -> tuple:
        """The same steps among the first uses after the middle of all first uses."""
        steps = [self.steps[pair].after(self.middle) for pair in itertools.pairwise(items)]
        return (
            ARROW.join(items),
            min(step.lift() for step in steps),
            max(step.p() for step in steps),
        )

    def _again(self, keys: list[str]):
        def again(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            support, lift = (np.empty((len(weights), len(rows))) for _ in range(2))
            for column, row in enumerate(rows):
                items = tuple(keys[row].split(ARROW))
                support[:, column] = weights @ soon(self.days[:, self._places(items)])
                steps = [self.steps[pair].lifts(weights) for pair in itertools.pairwise(items)]
                lift[:, column] = np.min(steps, axis=0)
            return support, lift

        return again


@dataclass(frozen=True)
class _Step:
    """Takers of the second feature, when, whether each had the first shortly before, and the chance that it had."""

    taker: np.ndarray
    day: np.ndarray
    had: np.ndarray
    chance: np.ndarray

    def p(self) -> float:
        return at_least(int(self.had.sum()), self.chance) if len(self.had) else 1.0

    def lift(self) -> float:
        return float(self.had.sum() / max(self.chance.sum(), 1e-9))

    def lifts(self, weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, self.taker]
        return (drawn @ self.had) / np.maximum(drawn @ self.chance, 1e-9)

    def after(self, day: float) -> _Step:
        late = self.day > day
        return _Step(self.taker[late], self.day[late], self.had[late], self.chance[late])


def exposures(
    end: np.ndarray, took: np.ndarray, begin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of those who took it: the share of who still could that were exposed at that time, and whether they were.

    ``end`` is when each took it or was last seen, ``begin`` when exposure began (infinite: never); it lasts
    ``SOON_DAYS``.

    >>> share, had = exposures(np.array([5.0, 9.0]), np.array([True, False]), np.array([2.0, np.inf]))
    >>> share.tolist(), had.tolist()
    ([0.5], [True])
    """
    stop = np.minimum(begin + SOON_DAYS, end)
    some = begin < stop
    begins, stops = np.sort(begin[some]), np.sort(stop[some])
    at = end[took]
    exposed = np.searchsorted(begins, at, side="left") - np.searchsorted(stops, at, side="left")
    at_risk = len(end) - np.searchsorted(np.sort(end), at, side="left")
    return exposed / np.maximum(at_risk, 1), ((begin < end) & (end <= begin + SOON_DAYS))[took]
