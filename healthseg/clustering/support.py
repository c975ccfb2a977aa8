"""Which support topics follow each other, how long tickets take, and how many users help
themselves.

A sequence counts in consecutive tickets of a customer. Chance keeps each customer's topics and
shuffles their order: of n tickets a → b is expected n_a·n_b / n times (a → a: n_a·(n_a − 1) / n).
The excess has mean zero in every customer; its Student's t over customers is the test. Of three
topics p is the largest of its own and its two pairs'.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.patterns import HELD_OUT, PatternFamily, PatternLimits
from healthseg.metrics.counting import counting, customers, epoch_day
from healthseg.periods import DAY_SECONDS
from healthseg.settings import Settings
from healthseg.statistics.survival import kaplan_meier, median_times, quantile_time

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

ARROW = " → "
Z_95 = 1.96
TICKETS = [
    "client_id",
    "ticket_id",
    "topic",
    "user_id",
    "opened_day",
    "resolved_day",
    "opened_second",
    "seconds",
]

Topics = tuple[str, ...]


@dataclass(frozen=True)
class SupportPatterns:
    """``family`` is None where ``sequences_reason`` says why sequences are unknown; ``resolution`` is None without a
    tickets table."""

    family: PatternFamily | None
    sequences_reason: str | None
    resolution: Resolution | None
    self_service: SelfService
    tickets: int


def support(
    portfolio: Portfolio, clients: Sequence[str], start: dt.date, end: dt.date
) -> SupportPatterns:
    """The tickets that these customers opened in ``[start, end)``: sequences, time to resolution, self-service.

    Keys of the family: ``login → permissions``, ``login → permissions → billing``; support is the customers with the
    sequence, n those with two tickets or more, lift the count over that expected by chance.
    """
    settings = portfolio.settings
    rows = tickets(portfolio, clients, end)
    service = self_service(portfolio, sorted(clients), rows, start, end)
    if rows is None:
        return SupportPatterns(None, "there is no tickets table", None, service, 0)
    rows = rows[rows["opened_day"] >= epoch_day(start)].reset_index(drop=True)
    with_topic = rows.dropna(subset=["topic"]).reset_index(drop=True)
    many = int((with_topic.groupby("client_id").size() >= 2).sum())
    needed = settings.pattern_min_customers
    family, reason = None, None
    if many < needed:
        reason = f"{many} customers with two tickets or more that have a topic, at least {needed} are needed"
    else:
        family = _family(with_topic, start, end, settings)
    times = resolution(rows, start, end, settings)
    return SupportPatterns(family, reason, times, service, len(rows))


def tickets(portfolio: Portfolio, clients: Sequence[str], until: dt.date) -> pd.DataFrame | None:
    """The tickets that some customers opened before ``until``, in order; None without a ``tickets`` table.

    Columns: client_id, ticket_id, topic, user_id, opened_day, resolved_day, opened_second (since 1970; NaN where the
    opening has no time) and seconds (to resolution; NaN while open, or without times). A ticket resolved from ``until``
    on was open then.
    """
    if not portfolio.has("tickets"):
        return None
    rows = portfolio.cache.get(
        "ticket_histories", None, lambda: _ticket_histories(portfolio), disk=False
    )
    rows = rows[rows["client_id"].isin(set(clients)) & (rows["opened_day"] < epoch_day(until))]
    known = rows["resolved_day"] < epoch_day(until)
    resolved = {name: rows[name].where(known) for name in ("resolved_day", "seconds")}
    return rows.assign(**resolved).reset_index(drop=True)


def _ticket_histories(portfolio: Portfolio) -> pd.DataFrame:
    names = sorted(customers(portfolio).index)
    scope = pd.DataFrame({"k": np.arange(len(names), dtype=np.int32), "client_id": names})
    rows = portfolio.sql("metrics/ticket_histories", scope=scope)
    rows = rows.assign(client_id=np.array(names, dtype=object)[rows["k"].to_numpy()])
    floats = {name: float for name in ("resolved_day", "opened_second", "seconds")}
    return rows.astype({"opened_day": np.int64, **floats})[TICKETS]


def _family(rows: pd.DataFrame, start: dt.date, end: dt.date, settings: Settings) -> PatternFamily:
    held_out_days = round((end - start).days * settings.pattern_held_out_share)
    late = rows["opened_day"] >= epoch_day(end) - held_out_days
    least = settings.pattern_min_customers
    chains, later = _TopicChains(rows), _TopicChains(rows[late].reset_index(drop=True))
    keys = chains.keys(least)
    held_out = later.compare(keys)
    held_out = held_out.assign(p=held_out["p"] / 2)[HELD_OUT]

    def resample(weights: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        observed, expected = chains.counts([keys[position] for position in at])
        with np.errstate(divide="ignore", invalid="ignore"):
            return weights @ (observed > 0), (weights @ observed) / (weights @ expected)

    limits = PatternLimits(least, settings.pattern_min_lift)
    return PatternFamily(
        "support", chains.compare(keys), chains.clients, resample, held_out, limits
    )


class _TopicChains:
    """Tickets in order by customer, of those with two or more: their topics as numbers."""

    def __init__(self, rows: pd.DataFrame) -> None:
        rows = rows[rows.groupby("client_id")["topic"].transform("size") >= 2]
        self.clients = sorted(rows["client_id"].unique())
        self.client = pd.Index(self.clients).get_indexer(rows["client_id"])
        self.topic = rows["topic"].astype(str).to_numpy(dtype=object)
        self.topics = sorted(set(self.topic))
        self.counts_by_topic = np.zeros((len(self.clients), len(self.topics)))
        at = self.client, pd.Index(self.topics).get_indexer(self.topic)
        np.add.at(self.counts_by_topic, at, 1)
        self.tickets = self.counts_by_topic.sum(axis=1)

    def keys(self, least: int) -> list[Topics]:
        """All pairs, and the triples of enough customers."""
        pairs = list(itertools.product(self.topics, repeat=2))
        triples = self._runs(3).drop_duplicates(["client", "key"]).groupby("key").size()
        return pairs + sorted(triples.index[triples >= least])

    def _runs(self, length: int) -> pd.DataFrame:
        """Every run of ``length`` consecutive tickets of a customer: client, key."""
        end = max(len(self.client) - length + 1, 0)
        same = self.client[:end] == self.client[length - 1 :]
        runs = list(zip(*(self.topic[at : at + end] for at in range(length)), strict=True))
        keys = pd.Series(runs, dtype=object)
        frame = pd.DataFrame({"client": self.client[:end], "key": keys})
        return frame[same].reset_index(drop=True)

    def counts(self, keys: list[Topics]) -> tuple[np.ndarray, np.ndarray]:
        """Observed and expected, ``[client, key]``."""
        position = {key: at for at, key in enumerate(keys)}
        observed = np.zeros((len(self.clients), len(keys)))
        for length in {len(key) for key in keys}:
            runs = self._runs(length)
            at = runs["key"].map(position)
            known = at.notna().to_numpy(dtype=bool)
            client = runs["client"].to_numpy(dtype=np.int64)[known]
            np.add.at(observed, (client, at.to_numpy(dtype=float)[known].astype(np.int64)), 1)
        expected = [self._expected(key) for key in keys]
        return observed, np.column_stack(expected) if expected else observed

    def _expected(self, key: Topics) -> np.ndarray:
        """By customer: positions for the run times the chance of drawing its topics one after the other."""
        chance, taken = np.ones(len(self.clients)), dict.fromkeys(key, 0)
        for at, topic in enumerate(key):
            own = np.zeros(len(self.clients))
            if topic in self.topics:
                own = self.counts_by_topic[:, self.topics.index(topic)]
            left = np.maximum(self.tickets - at, 1)
            chance = chance * np.maximum(own - taken[topic], 0) / left
            taken[topic] += 1
        return chance * np.maximum(self.tickets - len(key) + 1, 0)

    def compare(self, keys: list[Topics]) -> pd.DataFrame:
        observed, expected = self.counts(keys)
        n = len(self.clients)
        count, like = observed.sum(axis=0), expected.sum(axis=0)
        error = np.full(len(keys), np.nan)
        if n > 1:
            error = np.sqrt(n) * (observed - expected).std(axis=0, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num((count - like) / error)
            lift = np.where(like > 0, count / like, 1.0)
            reach = Z_95 * error / np.maximum(count, 0.5)
        own_p = 2 * scipy.special.stdtr(max(n - 1, 1), -np.abs(t))
        p_of = dict(zip(keys, own_p.tolist(), strict=True))
        p = [max(p_of[key], *(p_of[pair] for pair in itertools.pairwise(key))) for key in keys]
        shows = (observed > 0).sum(axis=0)
        return pd.DataFrame(
            {
                "key": [ARROW.join(key) for key in keys],
                "support": shows,
                "n": n,
                "prevalence": shows / max(n, 1),
                "base_rate": like / max(np.maximum(self.tickets - 1, 0).sum(), 1),
                "lift": lift,
                "lower": lift * np.exp(-reach),
                "upper": lift * np.exp(reach),
                "p": np.array(p),
                "seen": count.astype(int),
            }
        )


@dataclass(frozen=True)
class Resolution:
    """Median hours to resolution of the tickets opened in the first and in the second half of the window.

    Open tickets are censored at its end; None where half are never resolved, or too few were. ``ratio`` is the second
    over the first with its interval over resampled customers; ``direction`` is improving where the interval lies below
    1, worsening above it, else stable; None without a ratio.
    """

    first_hours: float | None
    second_hours: float | None
    first_tickets: int
    second_tickets: int
    open_tickets: int
    ratio: float | None
    lower: float | None
    upper: float | None
    level: float
    reason: str | None

    @property
    def direction(self) -> str | None:
        if self.ratio is None or self.lower is None or self.upper is None:
            return None
        return "improving" if self.upper < 1 else "worsening" if self.lower > 1 else "stable"


def resolution(rows: pd.DataFrame, start: dt.date, end: dt.date, settings: Settings) -> Resolution:
    """``rows`` are the tickets opened in ``[start, end)`` as from ``tickets``; those without times are left out.

    >>> days = np.arange(20.0)
    >>> rows = pd.DataFrame({"client_id": [f"c{at % 5}" for at in range(20)], "opened_second": days * 86_400,
    ...                      "seconds": np.where(days < 10, 8, 4) * 3_600.0, "opened_day": days})
    >>> times = resolution(rows, dt.date(1970, 1, 1), dt.date(1970, 1, 21), Settings())
    >>> times.first_hours, times.second_hours, times.direction
    (8.0, 4.0, 'improving')
    """
    order = ["client_id", "opened_second"]
    rows = rows[rows["opened_second"].notna()].sort_values(order, kind="stable")
    seconds, level = rows["seconds"].to_numpy(dtype=float), settings.interval_level
    resolved = np.isfinite(seconds)
    censored = float(epoch_day(end) * DAY_SECONDS) - rows["opened_second"].to_numpy(dtype=float)
    hours = np.maximum(np.where(resolved, seconds, censored), 60.0) / 3600
    middle = (epoch_day(start) + epoch_day(end)) / 2
    second = rows["opened_day"].to_numpy(dtype=float) >= middle
    halves = (~second, second)
    sizes = (int((~second).sum()), int(second.sum()), int((~resolved).sum()))
    fewest = min(int((resolved & half).sum()) for half in halves)
    needed = settings.resolution_min_tickets
    if fewest < needed:
        reason = (
            f"{fewest} resolved tickets in one half of the window, at least {needed} are needed"
        )
        return Resolution(None, None, *sizes, None, None, None, level, reason)
    before, after = (
        quantile_time(kaplan_meier(hours[half], resolved[half])).time for half in halves
    )
    if before is None or after is None:
        reason = "half of the tickets are not resolved yet"
        return Resolution(before, after, *sizes, None, None, None, level, reason)
    unit = np.unique(rows["client_id"].to_numpy(dtype=object), return_inverse=True)[1]
    lower, upper = _ratio_interval(unit, hours, resolved, halves, settings)
    return Resolution(before, after, *sizes, after / before, lower, upper, level, None)


def _ratio_interval(
    unit: np.ndarray,
    hours: np.ndarray,
    resolved: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
    settings: Settings,
) -> tuple[float | None, float | None]:
    """The ratio's percentiles over resampled customers; of a single customer over resampled tickets."""
    unit = unit if unit.max() > 0 else np.arange(len(unit))
    units, random = int(unit.max()) + 1, np.random.default_rng(settings.seed)
    resamples, level = settings.resolution_resamples, settings.interval_level
    weights = random.multinomial(units, np.full(units, 1 / units), size=resamples)[:, unit]
    before, after = (median_times(hours[h], resolved[h], weights[:, h]) for h in halves)
    with np.errstate(invalid="ignore"):
        ratio = after / before
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) < resamples / 2:
        return None, None
    lower, upper = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


@dataclass(frozen=True)
class SelfService:
    """Users with an event on a self-service feature, of those with one or with a ticket; None where ``reason`` says
    why it is not measured."""

    share: float | None
    helped_themselves: int
    users: int
    reason: str | None


def self_service(
    portfolio: Portfolio,
    clients: list[str],
    rows: pd.DataFrame | None,
    start: dt.date,
    end: dt.date,
) -> SelfService:
    """The share of those who sought help that used ``self_service_features`` (settings) in ``[start, end)``."""
    features, since = portfolio.settings.self_service_features, epoch_day(start)
    if not features:
        return SelfService(None, 0, 0, "no self_service_features in the settings")
    if rows is None:
        return SelfService(None, 0, 0, "there is no tickets table")
    used = counting(portfolio, clients, start, end).rows("feature_user_days")
    inside = (used["day"] >= since) & (used["day"] < epoch_day(end))
    used = used[used["feature"].isin(features) & inside & used["user_id"].notna()]
    client = np.array(clients, dtype=object)[used["k"].to_numpy()]
    helped = set(zip(client, used["user_id"].astype(str), strict=True))
    with_ticket = rows[(rows["opened_day"] >= since) & rows["user_id"].notna()]
    seekers = helped | set(
        zip(with_ticket["client_id"], with_ticket["user_id"].astype(str), strict=True)
    )
    if not seekers:
        return SelfService(None, 0, 0, "no user had a ticket or used a self-service feature")
    return SelfService(len(helped) / len(seekers), len(helped), len(seekers), None)
