"""What metrics are counted from: facts of some customers, read once, as cumulative daily counts.

SQL gives sparse daily changes per row (a customer, a user, a feature); ``cumulate`` adds them up along the days. All
counts are integers, so a sum is exact, has no order and is the same for one customer as for the whole portfolio.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

T = TypeVar("T")
EPOCH = dt.date(1970, 1, 1)
FAR = 2**31 - 1  # a day that never comes
CUSTOMER_DAYS_AT_ONCE = 500_000  # bounds the memory: a few tables of customers' users by days
# Each part reads all rows of the small tables: of customers with few events, and so few active users, it holds more.
FEW_EVENTS_OF_A_CUSTOMER, TIMES_AS_MANY = 500, 5

# A middling portfolio's rows are cached for all customers, in order of customer: a query costs some ten milliseconds
# for a single customer, too, and a call needs ten of them.
CACHED_CUSTOMERS_AT_MOST = 2_000
CACHED_EVENTS_AT_MOST = 5_000_000
FEW_CUSTOMERS = 25  # some days of more of them are read by one query
FIRST_DAY_COLUMN = {"session_days": "start_day"}  # that the window's first day is compared with
ROWS_FROM_FIRST_DAY = (
    "usage_days",
    "user_days",
    "user_spells",
    "session_days",
    "feature_days",
    "feature_user_days",
    "user_hours",
)
ROWS_WITH_ALL_BEFORE = (
    "last_seen",
    "user_lives",
    "feature_firsts",
    "ticket_days",
    "ticket_resolutions",
    "invoice_rows",
    "csat_survey_days",
    "csat_ticket_days",
    "nps_spells",
    "deactivations",
    "entitled_features",
)
BEFORE, NEVER = -25_567, 84_006  # 1900 and 2200: no event lies outside


# -- days and customers ------------------------------------------------------------------


def epoch_day(day: dt.date) -> int:
    return (day - EPOCH).days


def epoch_days(values: pd.Series) -> np.ndarray:
    """Days since 1970 of a column of dates without gaps."""
    return pd.to_datetime(values).to_numpy().astype("datetime64[D]").astype(np.int64)


def epoch_days_or_nan(values: pd.Series) -> np.ndarray:
    """Days since 1970 as floats, NaN where the date is missing."""
    dates = pd.to_datetime(values, errors="coerce").to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(dates), np.nan, dates.astype(np.int64))


def bounds(first_day: int, until_day: int) -> pd.DataFrame:
    """The days ``[first_day, until_day)`` as the SQL reads them: dates, so that files outside are not opened."""
    first, until = (EPOCH + dt.timedelta(days=int(day)) for day in (first_day, until_day))
    return pd.DataFrame({"floor_day": [first], "until_day": [until]}, dtype=object)


def customers(portfolio: Portfolio) -> pd.DataFrame:
    """The customers by id, as their table has them. Who had churned by a day: ``profile.customers_as_of``."""
    return portfolio.cache.get(
        "customers",
        None,
        lambda: portfolio.table("customers").set_index("client_id", drop=False),
        disk=False,
    )


def chunks(portfolio: Portfolio, clients: list[str], days: int = 1_000) -> Iterator[list[str]]:
    """The customers in order, as many at a time as can be counted at once over so many days."""
    reports = portfolio.reports
    events = reports["events"].kept if portfolio.has("events") else 0
    few = events <= FEW_EVENTS_OF_A_CUSTOMER * reports["customers"].kept
    at_once = CUSTOMER_DAYS_AT_ONCE * (TIMES_AS_MANY if few else 1)
    clients, size = sorted(clients), max(1, at_once // days)
    for first in range(0, len(clients), size):
        yield clients[first : first + size]


@dataclass(frozen=True)
class Spans:
    """Half-open spans of days: row ``i`` is customer ``k[i]`` from ``start[i]`` to before ``end[i]``."""

    k: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def days(self) -> np.ndarray:
        return self.end - self.start

    def by_length(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each length of the spans, and which of them have it."""
        for length in np.unique(self.days):
            yield int(length), self.days == length


# -- cumulative counts -------------------------------------------------------------------


@dataclass(frozen=True)
class DayAxis:
    """The days ``[origin, until)`` (days since 1970) that cumulative counts hold."""

    origin: int
    until: int

    @property
    def size(self) -> int:
        return self.until - self.origin + 1

    def slot(self, day: np.ndarray) -> np.ndarray:
        """The position of a day; a change before the axis counts from its beginning."""
        return np.clip(np.asarray(day, dtype=np.int64) - self.origin, 0, self.size - 1)


def cumulate(
    axis: DayAxis, rows: int, row: np.ndarray, day: np.ndarray, delta: np.ndarray
) -> np.ndarray:
    """``C[row, i]`` = the sum of ``delta`` of that row on days before ``origin + i``.

    Changes on or after the axis' end are left out: they are not known yet.
    """
    row, day = np.asarray(row, dtype=np.int64), np.asarray(day, dtype=np.int64)
    known = day < axis.until
    changes = np.zeros(rows * axis.size, dtype=np.int64)
    np.add.at(
        changes,
        row[known] * axis.size + axis.slot(day[known]) + 1,
        np.asarray(delta, dtype=np.int64)[known],
    )
    return np.cumsum(changes.reshape(rows, axis.size), axis=1)


def trailing(
    axis: DayAxis,
    rows: int,
    row: np.ndarray,
    day: np.ndarray,
    following: np.ndarray,
    n: np.ndarray,
    length: int,
) -> np.ndarray:
    """``C[row, i]`` = distinct things seen in the ``length`` days before ``origin + i``.

    ``n`` things seen on ``day`` count until the window has passed it or they are seen again (``following``).
    """
    day = np.asarray(day, dtype=np.int64)
    following = np.where(np.isnan(following), FAR, following).astype(np.int64)
    stop = np.minimum(day + length, following)
    changes = np.concatenate([n, -np.asarray(n)])
    return cumulate(axis, rows, np.concatenate([row, row]), np.concatenate([day, stop]), changes)


def within(
    row: np.ndarray, day: np.ndarray, span_row: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ``(index of a dated row, index of a span)`` with the row's day in ``[start, end)``.

    ``row, day`` must be sorted. Linear in the number of pairs.
    """
    scale = np.int64(FAR)
    keys = np.asarray(row, dtype=np.int64) * scale + np.asarray(day, dtype=np.int64)
    low = np.searchsorted(keys, span_row * scale + start)
    count = np.maximum(np.searchsorted(keys, span_row * scale + end) - low, 0)
    spans = np.repeat(np.arange(len(low)), count)
    offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(low, count) + offsets, spans


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


# -- observed days -----------------------------------------------------------------------


class ObservedDays:
    """The days of some customers on which events can be known: not in a tracking gap, and whole on their clock.

    Windows that end with a date hold observed days: a missing day is skipped, and the window reaches back a day more.
    """

    def __init__(self, portfolio: Portfolio, clients: list[str]) -> None:
        extent = portfolio.extent
        known = customers(portfolio).loc[clients]
        default = portfolio.settings.default_timezone
        zones = known["timezone"].fillna(default) if "timezone" in known else [default] * len(known)
        self._zone, names = pd.factorize(pd.Series(zones, dtype=object), sort=True)
        missing = [[epoch_day(day) for day in extent.missing_days(name)] for name in names]
        self._missing = [np.array(days, dtype=np.int64) for days in missing]
        # where the portfolio's last day is whole nothing is cut, also of a span that ends later
        last_days = [extent.last_whole_day(name) for name in names]
        until = [epoch_day(day) + 1 if day < extent.last_day else FAR for day in last_days]
        self._until = np.array(until, dtype=np.int64)
        self.most_missing = max(map(len, missing), default=0)

    def until(self, k: np.ndarray, end: np.ndarray) -> np.ndarray:
        """``end``, or the day after the customer's last whole day where that is earlier."""
        return np.minimum(end, self._until[self._zone[k]]) if self.most_missing else end

    def missing(self, k: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """How many days of ``[start, end)`` are missing."""
        count = np.zeros(len(k), dtype=np.int64)
        for zone, days in enumerate(self._missing):
            chosen = self._zone[k] == zone
            if len(days) and chosen.any():
                low, high = (np.searchsorted(days, at[chosen]) for at in (start, end))
                count[chosen] = np.maximum(high - low, 0)
        return count

    def back(self, k: np.ndarray, end: np.ndarray, days: int | np.ndarray) -> np.ndarray:
        """The latest start from which ``[start, end)`` holds as many observed days."""
        start = end - days
        while self.most_missing:
            earlier = end - days - self.missing(k, start, end)
            if np.array_equal(earlier, start):
                break
            start = earlier
        return start


def observed_spans(
    portfolio: Portfolio, clients: list[str], day: dt.date, days: int
) -> pd.DataFrame:
    """A span for each customer: the last so many observed days that end with ``day``, or with its last whole day."""
    observed, k = ObservedDays(portfolio, clients), np.arange(len(clients), dtype=np.int64)
    end = observed.until(k, np.full(len(k), epoch_day(day) + 1, dtype=np.int64))
    spans = {"start": observed.back(k, end, days), "end": end}
    dates = {name: at.astype("datetime64[D]").astype(object) for name, at in spans.items()}
    return pd.DataFrame({"client_id": clients, "span_id": 0, **dates})


# -- what a call counts from -------------------------------------------------------------


class Counting:
    """The facts of some customers over the days that some spans need, read lazily and once.

    Metrics ask it for cumulative counts (``total``), counts in a trailing window (``active_users``)
    and plain rows (``rows``).
    """

    def __init__(self, portfolio: Portfolio, clients: list[str], spans: Spans) -> None:
        self.portfolio = portfolio
        self.clients = clients
        # the span before, or its own baseline
        settings = portfolio.settings
        before = spans.start - np.maximum(spans.days, settings.own_baseline_days)
        self.observed = ObservedDays(portfolio, clients)
        # a portfolio without customers has no spans
        ends = spans.end if len(spans.end) else np.array([epoch_day(portfolio.data_until) + 1])
        champion = int(ends.min()) - settings.champion_look_back_days
        origin = int(before.min(initial=champion)) - self.observed.most_missing
        self.axis = DayAxis(origin, int(ends.max()))
        self.customers = customers(portfolio).loc[clients]
        self.signup = epoch_days(self.customers["signup_date"])
        self.tracked_from = (
            epoch_day(portfolio.first_event_day) if portfolio.first_event_day else None
        )
        self._built: dict[Any, Any] = {}

    def once(self, key: Any, build: Callable[[], T]) -> T:
        """``build()``, built once per key: what several metrics or spans share."""
        if key not in self._built:
            self._built[key] = build()
        return self._built[key]

    def rows(self, name: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``sql/metrics/<name>.sql`` for these customers and days."""
        if frames:
            return self._read(name, frames)
        return self.once(("rows", name), lambda: self._read(name, {}))

    def _read(self, name: str, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
        cached = _cached_rows(self.portfolio, name, self.clients, self.axis, frames)
        if cached is not None:
            return cached
        scope = _scope(self.clients)
        days = bounds(self.axis.origin, self.axis.until)
        return self.portfolio.sql(f"metrics/{name}", scope=scope, bounds=days, **frames)

    def has(self, table: str) -> bool:
        return self.portfolio.has(table)

    def withheld(self, tables: tuple[str, ...], averages: tuple[str, ...] = ()) -> np.ndarray:
        """Whether each customer lost too many rows of one of these tables, or a value that is averaged."""
        losses = self.portfolio.losses
        lost = [losses.withheld.get(table, frozenset()) for table in tables]
        lost += [losses.emptied.get(column, frozenset()) for column in averages]
        clients = frozenset().union(*lost)
        return np.array([client in clients for client in self.clients], dtype=bool)

    def timed(self, spans: Spans) -> np.ndarray:
        """Whether the portfolio's events had times by each span's end: without them there are no sessions."""
        return self._since("first_hour", spans)

    def featured(self, spans: Spans) -> np.ndarray:
        """Whether the portfolio's events named features by each span's end."""
        return self._since("features_seen", spans)

    def named(self, spans: Spans) -> np.ndarray:
        """Whether any event of the portfolio named a user by each span's end: without that no users are known."""
        return self._since("first_user", spans)

    def _since(self, name: str, spans: Spans) -> np.ndarray:
        def first_day() -> int | None:
            day = self.portfolio.sql(f"metrics/{name}")["first_day"].min()
            return None if pd.isna(day) else int(day)

        first = self.portfolio.cache.get(name, self.portfolio.state(), first_day)
        return np.zeros(len(spans.k), dtype=bool) if first is None else spans.end > first

    def total(self, name: str, column: str, observed: bool = False) -> np.ndarray:
        """Cumulative sum of a column of daily changes, ``[customer, day]``; ``observed``: of observed days alone."""

        def build() -> np.ndarray:
            frame = self.rows(name)
            k, day = (frame[key].to_numpy(dtype=np.int64) for key in ("k", "day"))
            delta = frame[column].to_numpy()
            if observed and self.observed.most_missing:
                delta = np.where(self.observed.missing(k, day, day + 1) > 0, 0, delta)
            return self.cumulate(k, day, delta)

        return self.once(("total", name, column, observed), build)

    def cumulate(self, k: Any, day: Any, delta: Any) -> np.ndarray:
        """``cumulate`` with a row a customer."""
        return cumulate(self.axis, len(self.clients), k, day, delta)

    def active_users(self, length: int) -> np.ndarray:
        """Distinct users in the ``length`` days before each day, ``[customer, day]``."""
        return self.distinct("user_spells", "n", length)

    def distinct(self, name: str, column: str, length: int, each: bool = False) -> np.ndarray:
        """A count of things seen in the ``length`` days before each day, ``[customer, day]``; ``each``: seen again, twice."""

        def build() -> np.ndarray:
            frame = self.rows(name)
            return trailing(
                self.axis,
                len(self.clients),
                frame["k"].to_numpy(),
                frame["day"].to_numpy(),
                np.full(len(frame), np.nan)
                if each
                else frame["following"].to_numpy(dtype=np.float64),
                frame[column].to_numpy(dtype=np.int64),
                length,
            )

        return self.once(("distinct", name, column, length, each), build)

    def at(self, table: np.ndarray, k: np.ndarray, day: np.ndarray) -> np.ndarray:
        """A cumulative table's value by the beginning of ``day``."""
        return table[k, day - self.axis.origin]

    def at_ends(self, spans: Spans, table_of: Callable[[int], np.ndarray]) -> np.ndarray:
        """The value of a table that depends on a window, at the end of each span, the window being the span."""
        values = np.zeros(len(spans.k), dtype=np.int64)
        for length, chosen in spans.by_length():
            values[chosen] = self.at(table_of(length), spans.k[chosen], spans.end[chosen])
        return values

    def between(
        self, table: np.ndarray, spans: Spans, start: np.ndarray | None = None
    ) -> np.ndarray:
        """The sum over ``[start, end)`` of each span."""
        start = spans.start if start is None else start
        return self.at(table, spans.k, spans.end) - self.at(
            table, spans.k, np.maximum(start, self.axis.origin)
        )

    def tracked(self, spans: Spans, start: np.ndarray | None = None) -> np.ndarray:
        """Whether events were tracked in the portfolio from the span's start on."""
        if self.tracked_from is None:
            return np.zeros(len(spans.k), dtype=bool)
        return (spans.start if start is None else start) >= self.tracked_from

    def lived_days(self, spans: Spans) -> np.ndarray:
        """Observed days of each span on which the customer had signed up."""
        start = np.maximum(spans.start, self.signup[spans.k])
        return np.clip(
            spans.end - start - self.observed.missing(spans.k, start, spans.end), 0, None
        )


def counting(portfolio: Portfolio, clients: list[str], start: dt.date, end: dt.date) -> Counting:
    """The facts of some customers over ``[start, end)`` and what metrics look back on, read once for many calls."""
    span = Spans(np.zeros(1, np.int64), np.array([epoch_day(start)]), np.array([epoch_day(end)]))
    return Counting(portfolio, clients, span)


# -- rows of all customers, cached -------------------------------------------------------


def _cached_rows(
    portfolio: Portfolio,
    name: str,
    clients: list[str],
    axis: DayAxis,
    frames: dict[str, pd.DataFrame],
) -> pd.DataFrame | None:
    """The rows for a few customers, or for all days, from the cache of a middling portfolio; else None.

    They are those that the same SQL gives for these customers alone: every row is of one day, and the days are cut as
    the SQL cuts them.
    """
    if name not in ROWS_FROM_FIRST_DAY + ROWS_WITH_ALL_BEFORE or not _is_middling(portfolio):
        return None
    if len(clients) > FEW_CUSTOMERS and not _all_days(portfolio, axis):
        return None
    inputs = [
        portfolio.state(None, ("metrics",)),
        {key: frame.to_dict("split")["data"] for key, frame in frames.items()},
    ]
    rows = portfolio.cache.rows(name, inputs, lambda: _rows_of_all(portfolio, name, frames))
    positions = _positions(portfolio)
    frame = rows.of([positions[client] for client in clients])
    if "day" not in frame:
        return frame
    inside = frame["day"].to_numpy() < axis.until
    if name in ROWS_FROM_FIRST_DAY:
        inside &= frame[FIRST_DAY_COLUMN.get(name, "day")].to_numpy() >= axis.origin
    return frame[inside].reset_index(drop=True)


def _is_middling(portfolio: Portfolio) -> bool:
    reports = portfolio.reports
    return reports["customers"].kept <= CACHED_CUSTOMERS_AT_MOST and (
        not portfolio.has("events") or reports["events"].kept <= CACHED_EVENTS_AT_MOST
    )


def _all_days(portfolio: Portfolio, axis: DayAxis) -> bool:
    first, last = (epoch_day(day) for day in (portfolio.first_event_day, portfolio.data_until))
    return axis.origin <= first and axis.until > last


def _positions(portfolio: Portfolio) -> dict[str, int]:
    """Each customer's ``k`` in the cached rows."""
    return portfolio.cache.get(
        "customer_positions",
        None,
        lambda: {client: k for k, client in enumerate(sorted(customers(portfolio).index))},
        disk=False,
    )


def _scope(clients: list[str]) -> pd.DataFrame:
    """The customers to count, each with its position."""
    k = np.arange(len(clients), dtype=np.int32)
    return pd.DataFrame({"k": k, "client_id": pd.Series(clients, dtype="str")})


def _rows_of_all(portfolio: Portfolio, name: str, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All customers' rows, sorted by all columns, customers first."""
    clients = list(_positions(portfolio))
    frame = portfolio.sql(
        f"metrics/{name}", scope=_scope(clients), bounds=bounds(BEFORE, NEVER), **frames
    )
    first = [column for column in ("k", "user_id", "feature", "day", "hour_utc") if column in frame]
    rest = [column for column in frame if column not in first]
    return frame.sort_values([*first, *rest], ignore_index=True)
