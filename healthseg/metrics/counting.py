"""What one call counts from: the customers in scope, the days it needs, and the facts read once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember, stored
from healthseg.metrics import shelf
from healthseg.metrics.cube import Axis, cumulate, trailing

EPOCH = dt.date(1970, 1, 1)
LOOK_BACK_DAYS = 84  # before a span's start: its own baseline
CHAMPION_DAYS = 118  # before a span's end: the champion's 90 days and the 28 after them
CUSTOMER_DAYS_AT_ONCE = 500_000  # bounds the memory: a few cubes of customers' users by days


def epoch_day(day: dt.date) -> int:
    return (day - EPOCH).days


def epoch_days(values: pd.Series) -> np.ndarray:
    """Days since 1970 of a column of dates without gaps."""
    return pd.to_datetime(values).to_numpy().astype("datetime64[D]").astype(np.int64)


def epoch_days_or_nan(values: pd.Series) -> np.ndarray:
    """Days since 1970 as floats, NaN where the date is missing."""
    dates = pd.to_datetime(values, errors="coerce").to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(dates), np.nan, dates.astype(np.int64))


def customers(portfolio: Any) -> pd.DataFrame:
    """The customers by id, as their table has them. Who had left by a day: ``leaving.customers_as_of``."""
    return remember(
        portfolio,
        "customers",
        lambda: portfolio.table("customers").set_index("client_id", drop=False),
    )


def chunks(clients: list[str], days: int = 1_000) -> Iterator[list[str]]:
    """The customers in order, as many at a time as can be counted at once over so many days."""
    clients, size = sorted(clients), max(1, CUSTOMER_DAYS_AT_ONCE // days)
    for at in range(0, len(clients), size):
        yield clients[at : at + size]


@dataclass(frozen=True)
class Spans:
    """Half-open spans of days: row ``i`` is customer ``k[i]`` from ``start[i]`` to before ``end[i]``."""

    k: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def days(self) -> np.ndarray:
        return self.end - self.start


class Counting:
    """The facts of some customers over the days that some spans need, read lazily and once.

    Metrics ask it for cumulative counts (``usage``), counts in a trailing window
    (``active_users``) and plain rows (``rows``).
    """

    def __init__(self, portfolio: Any, clients: list[str], spans: Spans) -> None:
        self.portfolio = portfolio
        self.clients = clients
        before = spans.start - np.maximum(
            spans.days, LOOK_BACK_DAYS
        )  # the span before, or its own baseline
        self.axis = Axis(
            min(int(before.min()), int(spans.end.min()) - CHAMPION_DAYS), int(spans.end.max())
        )
        self.customers = customers(portfolio).loc[clients]
        self.signup = epoch_days(self.customers["signup_date"])
        self.tracked_from = (
            epoch_day(portfolio.first_event_day) if portfolio.first_event_day else None
        )
        self._rows: dict[str, pd.DataFrame] = {}
        self._tables: dict[tuple, np.ndarray] = {}
        self._scope = pd.DataFrame(
            {"k": np.arange(len(clients), dtype=np.int32), "client_id": clients}
        )

    def rows(self, name: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``sql/metrics/<name>.sql`` for these customers and days."""
        if frames or name not in self._rows:
            found = shelf.rows(
                self.portfolio, name, self.clients, self.axis.origin, self.axis.until, **frames
            )
            if found is None:
                bounds = shelf.bounds(self.axis.origin, self.axis.until)
                found = self.portfolio.sql(
                    f"metrics/{name}", scope=self._scope, bounds=bounds, **frames
                )
            if frames:
                return found
            self._rows[name] = found
        return self._rows[name]

    def has(self, table: str) -> bool:
        return self.portfolio.has(table)

    def timed(self, spans: Spans) -> np.ndarray:
        """Whether the portfolio's events had times by each span's end: without them there are no sessions to speak of."""
        return self._since("first_hour", spans)

    def featured(self, spans: Spans) -> np.ndarray:
        """Whether the portfolio's events named features by each span's end."""
        return self._since("features_seen", spans)

    def _since(self, name: str, spans: Spans) -> np.ndarray:
        def made() -> list[int | None]:
            day = self.portfolio.sql(f"metrics/{name}")["first_day"].min()
            return [None if pd.isna(day) else int(day)]

        (first,) = remember(self.portfolio, name, lambda: stored(self.portfolio, name, None, made))
        return np.zeros(len(spans.k), dtype=bool) if first is None else spans.end > first

    # -- cumulative counts -------------------------------------------------------------

    def total(self, name: str, column: str) -> np.ndarray:
        """Cumulative sum of a column of daily changes, ``[customer, day]``."""
        if (name, column) not in self._tables:
            frame = self.rows(name)
            self._tables[name, column] = cumulate(
                self.axis,
                len(self.clients),
                frame["k"].to_numpy(),
                frame["day"].to_numpy(),
                frame[column].to_numpy(),
            )
        return self._tables[name, column]

    def active_users(self, length: int) -> np.ndarray:
        """Distinct users in the ``length`` days before each day, ``[customer, day]``."""
        return self.distinct("user_spells", "n", length)

    def distinct(self, name: str, column: str, length: int) -> np.ndarray:
        """A count of things seen in the ``length`` days before each day, ``[customer, day]``."""
        if (name, column, length) not in self._tables:
            frame = self.rows(name)
            self._tables[name, column, length] = trailing(
                self.axis,
                len(self.clients),
                frame["k"].to_numpy(),
                frame["day"].to_numpy(),
                frame["following"].to_numpy(dtype=np.float64),
                frame[column].to_numpy(dtype=np.int64),
                length,
            )
        return self._tables[name, column, length]

    def at(self, table: np.ndarray, k: np.ndarray, day: np.ndarray) -> np.ndarray:
        """A cumulative table's value by the beginning of ``day``."""
        return table[k, day - self.axis.origin]

    def between(
        self, table: np.ndarray, spans: Spans, start: np.ndarray | None = None
    ) -> np.ndarray:
        """The sum over ``[start, end)`` of each span."""
        start = spans.start if start is None else start
        return self.at(table, spans.k, spans.end) - self.at(
            table, spans.k, np.maximum(start, self.axis.origin)
        )

    # -- what is tracked, what was lived -------------------------------------------------

    def tracked(self, spans: Spans, start: np.ndarray | None = None) -> np.ndarray:
        """Whether events were tracked in the portfolio from the span's start on."""
        if self.tracked_from is None:
            return np.zeros(len(spans.k), dtype=bool)
        return (spans.start if start is None else start) >= self.tracked_from

    def lived_days(self, spans: Spans) -> np.ndarray:
        """Days of each span on which the customer had signed up."""
        return np.clip(spans.end - np.maximum(spans.start, self.signup[spans.k]), 0, None)


def where(measured: np.ndarray, value: np.ndarray) -> np.ndarray:
    """``value`` where it was measured, NaN where it was not."""
    return np.where(measured, np.asarray(value, dtype=np.float64), np.nan)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, NaN where ``below`` is zero or missing."""
    below = np.asarray(below, dtype=np.float64)
    good = np.isfinite(below) & (below != 0)
    return np.divide(
        np.asarray(above, dtype=np.float64), below, out=np.full(below.shape, np.nan), where=good
    )
