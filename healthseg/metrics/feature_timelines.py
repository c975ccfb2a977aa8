"""Each feature's timeline with each customer: since when it could be used, first use, adoption, abandonment, return."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics.adoption import Changes, adoption_changes, eligible, feature_numbers
from healthseg.metrics.counting import (
    EPOCH,
    FAR,
    Counting,
    Spans,
    chunks,
    customers,
    epoch_day,
)
from healthseg.metrics.profile import churn_days

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


DAY_COLUMNS = (
    "from_day",
    "until_day",
    "first_use_day",
    "second_use_day",
    "adopted_day",
    "abandoned_day",
    "readopted_day",
)


def feature_timelines(
    portfolio: Portfolio, as_of: dt.date, rule_days: int, silent_days: int
) -> pd.DataFrame:
    """One row per customer and feature that it could use by ``as_of``, as known at its end.

    ``from_day`` is when the clock begins: the latest of signup, release and entitlement; ``until_day`` (exclusive) when
    the feature was last open to the customer: its entitlement's end, churn, else the day after ``as_of``.
    ``first_use_day`` and ``second_use_day`` are days with a person event from then on; ``adopted_day`` the first by
    whose end the rule of adoption held over ``rule_days``; ``abandoned_day`` the first of ``silent_days`` without use
    after adoption (known only once they have passed); ``readopted_day`` when it was adopted again after them. All are
    days since 1970, NaN where it did not happen. ``watched``: events were tracked from ``from_day`` on;
    ``seen_adopting``: watched, or not in use in the first ``silent_days`` of tracking.
    """
    clients = sorted(customers(portfolio).index)
    parts = [
        _chunk(portfolio, as_of, rule_days, silent_days, part)
        for part in chunks(portfolio, clients)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["client_id", "feature", *DAY_COLUMNS])
    )


def _chunk(
    portfolio: Portfolio, as_of: dt.date, rule_days: int, silent_days: int, clients: list[str]
) -> pd.DataFrame:
    start, end = epoch_day(portfolio.first_event_day), epoch_day(as_of) + 1
    every = np.arange(len(clients), dtype=np.int64)
    count = Counting(
        portfolio, clients, Spans(every, np.full(len(clients), start), np.full(len(clients), end))
    )
    frame = _open(count, end)
    width, numbers = len(feature_numbers(count)), feature_numbers(count)
    key = frame["k"].to_numpy() * width + numbers.get_indexer(frame["feature"])
    uses = _uses(count, numbers, key, frame)
    frame["first_use_day"], frame["second_use_day"] = (
        uses.nth(frame["from_day"], 0),
        uses.nth(frame["from_day"], 1),
    )
    adoptions = SortedDays.of(key, *_beginnings(adoption_changes(count, rule_days)), frame)
    frame["adopted_day"] = adoptions.nth(frame["from_day"], 0)
    frame["abandoned_day"] = _abandoned(uses, frame, silent_days)
    frame["readopted_day"] = adoptions.nth(frame["abandoned_day"] + silent_days, 0)
    frame["watched"] = frame["from_day"] >= start
    frame["seen_adopting"] = frame["watched"] | (frame["first_use_day"] >= start + silent_days)
    frame.insert(0, "client_id", np.array(clients, dtype=object)[frame["k"]])
    return frame.drop(columns="k").sort_values(
        ["client_id", "feature"], kind="stable", ignore_index=True
    )


def _open(count: Counting, end: int) -> pd.DataFrame:
    """Customer, feature, and the days in which it was open to the customer; several entitlements are taken as one."""
    rows = (
        eligible(count)
        .groupby(["k", "feature"], sort=True)
        .agg(from_day=("from_day", "min"), until_day=("until_day", "max"))
        .reset_index()
    )
    gone = churn_days(count.portfolio, count.clients, EPOCH + dt.timedelta(days=end - 1))
    k = rows["k"].to_numpy(dtype=np.int64)
    begin = np.maximum(rows["from_day"].to_numpy(dtype=np.int64), count.signup[k])
    until = np.fmin(np.minimum(rows["until_day"].to_numpy(dtype=np.float64), end), gone[k])
    frame = pd.DataFrame(
        {
            "k": k,
            "feature": rows["feature"].astype(object),
            "from_day": begin.astype(float),
            "until_day": until,
        }
    )
    return frame[frame["from_day"] < frame["until_day"]].reset_index(drop=True)


class SortedDays:
    """The sorted days of each row's key: for a row and a day, which is the n-th from that day on?"""

    def __init__(self, key: np.ndarray, ordered: np.ndarray, until: np.ndarray) -> None:
        self.key, self.ordered, self.until = key, ordered, until

    @classmethod
    def of(
        cls, key: np.ndarray, keys: np.ndarray, days: np.ndarray, frame: pd.DataFrame
    ) -> SortedDays:
        ordered = np.sort(keys.astype(np.int64) * FAR + days.astype(np.int64))
        return cls(key, ordered, frame["until_day"].to_numpy())

    def first_from(self, day: pd.Series) -> np.ndarray:
        """Where each row's days from ``day`` on begin; past the end where ``day`` is NaN."""
        known = np.where(np.isnan(day), FAR - 1, day).astype(np.int64)
        return np.searchsorted(self.ordered, self.key * np.int64(FAR) + known)

    def at(self, position: np.ndarray) -> np.ndarray:
        """The day at a place where it is the same key's and before the row's end, else NaN."""
        if not len(self.ordered):
            return np.full(len(position), np.nan)
        nearest = self.ordered[np.minimum(position, len(self.ordered) - 1)]
        day = (nearest - self.key * np.int64(FAR)).astype(float)
        good = (position < len(self.ordered)) & (nearest // FAR == self.key) & (day < self.until)
        return np.where(good, day, np.nan)

    def nth(self, day: pd.Series, n: int) -> np.ndarray:
        return self.at(self.first_from(day) + n)


def _uses(count: Counting, numbers: pd.Index, key: np.ndarray, frame: pd.DataFrame) -> SortedDays:
    rows = count.rows("feature_days")
    keys = rows["k"].to_numpy(dtype=np.int64) * len(numbers) + numbers.get_indexer(rows["feature"])
    return SortedDays.of(key, keys, rows["day"].to_numpy(), frame)


def _beginnings(
    changes: Changes,
) -> tuple[np.ndarray, np.ndarray]:
    begins = changes.change > 0
    return changes.key[begins], changes.day[begins]


def _abandoned(uses: SortedDays, frame: pd.DataFrame, silent_days: int) -> np.ndarray:
    """The first day of ``silent_days`` without use, after each row's adoption and all of them before its end."""
    last_of_row = uses.ordered
    following = np.r_[last_of_row[1:], np.int64(FAR) * FAR]
    silent = following - last_of_row > silent_days  # to the next use of the key, or to another key
    ends = SortedDays(uses.key, last_of_row[silent], uses.until)
    last = ends.nth(frame["adopted_day"], 0)
    return np.where(last + silent_days < frame["until_day"], last + 1, np.nan)
