"""The panel: one row per customer and date, every metric as it was knowable at the end of that date.

A score today, its history, a churn model's rows, a report card are functions of this frame. Its rows are cached by
what they were computed from: a row of a past date is counted once.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.data.portfolio import Portfolio
from healthseg.errors import CalculationError, InvalidParameters, hint
from healthseg.metrics import catalog, own
from healthseg.metrics import spans as over_spans
from healthseg.metrics.catalog import Metric
from healthseg.metrics.communication import respondents_lost
from healthseg.metrics.counting import (
    Counting,
    ObservedDays,
    Spans,
    chunks,
    customers,
    epoch_day,
    epoch_days,
)
from healthseg.metrics.money import in_reporting_currency
from healthseg.metrics.profile import STATIC, profile, tiers
from healthseg.metrics.usage import unknown_users
from healthseg.periods import as_date

if TYPE_CHECKING:
    from distributed import Client

WORDS = ("client_id", "industry", "region", "plan", "currency", "stage", "tier")
# Of so many dates that are needed together there is one file, too, which is read in a fraction of the time.
MANY_DATES = 8
# sets of dates in memory, fewer where they have so many rows together
PANELS_IN_MEMORY, ROWS_IN_MEMORY = 4, 1_000_000
# days in which a user without a name may have been active
DAYS_OF_USERS = 30
# customers: up to here a date is counted for all, also where a few are needed
WHOLE_UP_TO = 2_000
# parts of a panel for each thread of a cluster: a lost one costs little, and the last ones end together
_PARTS_OF_A_THREAD = 2


def panel(
    portfolio: Portfolio,
    dates: Iterable[dt.date],
    clients: list[str] | None = None,
    *,
    on: Client | None = None,
) -> pd.DataFrame:
    """What was known of every customer at the end of each date?

    One row per customer that had signed up and date, in order of customer and date: profile
    (``live, tenure_days, arr, seats, plan, tier, stage, days_to_renewal`` …) and the metrics of
    the catalogue, NaN where not measured. Snapshot columns of ``customers`` enter only on the portfolio's last day.
    A date's row is the same whatever was added to the portfolio later. ``dates`` are days, read to their end;
    ``clients`` are ids, by default all. ``on`` is a ``distributed.Client`` whose workers count what is not cached, each
    some customers; they reach the portfolio's folder by the same path. What they counted is cached here, also for scores
    and models. Raises InvalidParameters for what is not a date or no client, CalculationError where the workers have
    another version of healthseg or lack a metric that is registered here.

    >>> from healthseg.testing import tiny_portfolio
    >>> rows = panel(tiny_portfolio([("a", "2025-03-01 09:00", "u1")]), ["2025-03-01"])
    >>> len(rows), "monthly_active_users" in rows
    (1, True)
    """
    portfolio = Portfolio.of(portfolio)
    _require_client(on)
    wanted = sorted({as_date(date, "dates") for date in dates})
    few = clients is not None and len(customers(portfolio)) > WHOLE_UP_TO >= len(clients)
    if clients is not None and few and not own.ranked(portfolio):
        cached = _rows_by_date(portfolio, wanted, build_missing=False)
        missing = [date for date in wanted if date not in cached]
        if missing:
            rows = [_of_clients(frame, clients) for frame in cached.values()]
            return _joined([*rows, build(portfolio, missing, clients)])
    rows_of_all = _whole(portfolio, wanted, on)
    # what a caller changes of a shallow copy is copied then
    return rows_of_all.copy(deep=False) if clients is None else _of_clients(rows_of_all, clients)


def _inputs(portfolio: Portfolio, date: dt.date) -> list[Any]:
    """What the rows of a date depend on."""
    settings = portfolio.settings
    return [
        date,
        portfolio.state(date, ("metrics",)),
        settings.arr_thresholds,
        settings.tier_names,
        settings.peers_min if own.ranked(portfolio) else None,
    ]


def _whole(portfolio: Portfolio, dates: list[dt.date], on: Client | None = None) -> pd.DataFrame:
    """All customers' rows on these dates; the last few sets of dates stay in memory, and of a large portfolio those alone."""

    def build() -> pd.DataFrame:
        rows = list(_rows_by_date(portfolio, dates, on=on).values())
        if len(customers(portfolio)) > WHOLE_UP_TO:
            portfolio.cache.forget("panel_rows")  # the same rows again
        return _joined(rows)

    inputs = [_inputs(portfolio, date) for date in dates]
    sets = ROWS_IN_MEMORY // max(1, len(customers(portfolio)) * len(dates))
    limit = min(PANELS_IN_MEMORY, max(1, sets))
    if len(dates) >= MANY_DATES:
        return portfolio.cache.get("panel", inputs, build, limit=limit)
    return portfolio.cache.get("panel", repr(inputs), build, disk=False, limit=limit)


def _rows_by_date(
    portfolio: Portfolio,
    dates: list[dt.date],
    build_missing: bool = True,
    on: Client | None = None,
) -> dict[dt.date, pd.DataFrame]:
    """All customers' rows by date; dates that are not cached are counted together."""

    def build_dates(missing: list[dt.date]) -> dict[dt.date, pd.DataFrame]:
        if not build_missing:
            return {}
        every = _every(customers(portfolio).index.tolist(), missing)
        rows: dict[dt.date, list[pd.DataFrame]] = {date: [] for date in missing}
        for frame in _build(portfolio, every, on):  # no second copy of all rows
            for date, part in rows.items():
                part.append(frame[frame["date"] == pd.Timestamp(date)])
        return {date: own.add_percentiles(portfolio, _joined(rows.pop(date))) for date in missing}

    inputs = {date: _inputs(portfolio, date) for date in dates}
    return portfolio.cache.get_each("panel_rows", inputs, build_dates)


def in_parts(portfolio: Portfolio, dates: Iterable[dt.date]) -> list[list[dt.date]]:
    """The dates, as many at a time as ``panel`` holds in memory: of most portfolios all. What is not stored is counted now,
    together, since each count reads the tables."""
    wanted = sorted(dates)
    at_once = max(1, ROWS_IN_MEMORY // max(1, len(customers(portfolio))))
    parts = [wanted[first : first + at_once] for first in range(0, len(wanted), at_once)]
    if len(parts) > 1:
        stored = portfolio.cache.stored
        missing = [date for date in wanted if not stored("panel_rows", _inputs(portfolio, date))]
        _rows_by_date(portfolio, missing)
        portfolio.cache.forget("panel_rows")
    return parts


def _of_clients(frame: pd.DataFrame, clients: list[str]) -> pd.DataFrame:
    """The rows of some customers of a frame sorted by customer."""
    ids = frame["client_id"].to_numpy()
    ranges = [
        np.arange(*(np.searchsorted(ids, client, side=side) for side in ("left", "right")))
        for client in sorted(set(clients))
    ]
    return frame.iloc[np.concatenate(ranges)].reset_index(drop=True) if ranges else frame.iloc[:0]


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames in order. The list is emptied, so that no more than two copies are in memory."""
    frames[:] = [frame for frame in frames if len(frame)] or frames[:1]
    if not frames:
        return pd.DataFrame(columns=["client_id", "date", *catalog.columns()])
    whole = pd.concat(frames, ignore_index=True)
    frames.clear()
    return whole.sort_values(["client_id", "date"], kind="stable", ignore_index=True)


# -- counting ----------------------------------------------------------------------------


def build(portfolio: Portfolio, dates: list[dt.date], clients: list[str]) -> pd.DataFrame:
    """The panel's rows, counted now; ``panel`` caches them."""
    return build_pairs(portfolio, _every(clients, dates))


def build_pairs(portfolio: Portfolio, pairs: pd.DataFrame) -> pd.DataFrame:
    """The panel's rows of any pairs of ``client_id`` and ``date``, each customer on its own dates, counted now."""
    rows = _joined(list(_build(portfolio, pairs)))
    if not own.ranked(portfolio) or not len(rows):
        return rows
    whole = _whole(portfolio, sorted(pd.to_datetime(rows["date"]).dt.date.unique()))
    return own.with_percentiles_of(portfolio, rows, whole)


def _every(clients: list[str], dates: list[dt.date]) -> pd.DataFrame:
    return pd.MultiIndex.from_product([clients, dates], names=own.KEYS).to_frame(index=False)


def _build(
    portfolio: Portfolio, pairs: pd.DataFrame, on: Client | None = None
) -> Iterator[pd.DataFrame]:
    """The rows without what is relative to all customers, some customers' at a time."""
    days = over_spans.days_counted(pairs["date"], pairs["date"], portfolio.settings)
    clients = pairs["client_id"].unique().tolist()
    if on is not None and clients:
        yield from _build_on(on, portfolio, pairs, clients, days)
        return
    # a portfolio without customers has the columns without rows
    for part in list(chunks(portfolio, clients, days)) or [[]]:
        yield _build_chunk(portfolio, pairs[pairs["client_id"].isin(part)], part)


def _build_chunk(portfolio: Portfolio, pairs: pd.DataFrame, clients: list[str]) -> pd.DataFrame:
    k = pd.Index(clients).get_indexer(pairs["client_id"]).astype(np.int64)
    day = epoch_days(pairs["date"])
    count, columns = _counted(portfolio, clients, k, day)
    dates = day.astype("datetime64[D]").astype("datetime64[s]")
    ids = pd.DataFrame({"client_id": np.array(clients, dtype=object)[k], "date": dates})
    profiles = profile(count, k, day, epoch_day(portfolio.data_until)).drop(columns=["k", "day"])
    static = {
        name: count.customers[name].to_numpy(dtype=object)[k]
        for name in STATIC[1:3]
        if name in count.customers
    }
    frame = pd.concat([ids, pd.DataFrame(static), profiles, pd.DataFrame(columns)], axis=1)
    frame["tier"] = tiers(in_reporting_currency(portfolio, frame), portfolio.settings)
    for name, metric in catalog.derived().items():
        frame[name] = _derived(metric, frame)
    frame = own.add_own(portfolio, frame)
    for table, shares in portfolio.losses.shares.items():
        frame[f"{catalog.LOST}{table}"] = frame["client_id"].map(shares).fillna(0.0).astype(float)
    emptied = portfolio.losses.emptied
    for column in sorted(catalog.averaged(catalog.built_in()) & set(emptied)):
        hidden = frame["client_id"].isin(emptied[column])
        frame[f"{catalog.LOST}{column}"] = hidden.astype(float)
    for column, marks in _users_lost(count, k, day).items():
        if marks.any():
            frame[f"{catalog.LOST}{column}"] = marks.astype(float)
    return _typed(frame[frame["tenure_days"] >= 0].reset_index(drop=True))


def _users_lost(count: Counting, k: np.ndarray, day: np.ndarray) -> dict[str, np.ndarray]:
    """By column, 1 where a user is unknown on whom figures may rest: of an answer, or of an event of the last days."""
    lost = {"surveys.user_id": respondents_lost(count)[k]}
    if count.has("events"):
        lost["events.user_id"] = count.at(unknown_users(count, DAYS_OF_USERS), k, day + 1)
    return lost


def _counted(
    portfolio: Portfolio, clients: list[str], k: np.ndarray, day: np.ndarray
) -> tuple[Counting, dict[str, np.ndarray]]:
    """The columns that are counted over windows that end with each row's date; those of events, over observed days."""
    metrics = catalog.counted()
    windows = {metric.window_days or 0 for metric in metrics.values()}
    observed = ObservedDays(portfolio, clients)
    end = observed.until(k, day + 1)
    values: dict[str, np.ndarray] = {}
    # Events are read for a month or so, the small tables for a year.
    for from_events in (True, False):
        if from_events:
            ends = {days: Spans(k, observed.back(k, end, days), end) for days in windows}
        else:
            ends = {days: Spans(k, day + 1 - days, day + 1) for days in windows}
        chosen = {
            name: metric for name, metric in metrics.items() if metric.from_events is from_events
        }
        longest = max(metric.window_days or 0 for metric in chosen.values())
        count = Counting(portfolio, clients, ends[longest])
        values |= {
            name: _words(metric, metric.counted(count, ends[metric.window_days or 0]))
            for name, metric in chosen.items()
        }
    return count, {name: values[name] for name in metrics}


def _words(metric: Metric, codes: np.ndarray) -> np.ndarray:
    if not metric.levels:
        return codes
    words = np.array([*metric.levels, None], dtype=object)
    return words[np.where(np.isnan(codes), len(metric.levels), codes).astype(np.int64)]


def _derived(metric: Metric, frame: pd.DataFrame) -> np.ndarray:
    assert metric.derive is not None
    return np.asarray(pd.to_numeric(metric.derive(frame)), dtype=np.float64)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """With the types that the cache returns, so that a row that was just counted is the one that is read later."""
    texts = [*WORDS, *(name for name, metric in catalog.counted().items() if metric.levels)]
    words = {name: "str" for name in texts if name in frame}
    return frame.astype({**words, "date": "datetime64[ms]"})


# -- on a cluster ------------------------------------------------------------------------


def _require_client(on: Client | None) -> None:
    if on is not None and not (hasattr(on, "scatter") and hasattr(on, "gather")):
        raise InvalidParameters(
            f"{str(on)[:200]!r} is not a cluster: expected a distributed.Client",
            parameter="on",
            value_provided=str(on)[:200],
            validation_rule="distributed.Client",
        )


def _build_on(
    on: Client, portfolio: Portfolio, pairs: pd.DataFrame, clients: list[str], days: int
) -> list[pd.DataFrame]:
    """The rows of a few customers from each task of a cluster."""
    assert portfolio.reports  # read here, once: the workers find it on disk
    threads = max(1, sum(on.nthreads().values()))
    at_most = -(-len(clients) // (threads * _PARTS_OF_A_THREAD))
    parts = [
        part[first : first + at_most]
        for part in chunks(portfolio, clients, days)
        for first in range(0, len(part), at_most)
    ]
    count = functools.partial(_build_there, code=catalog.code_version())
    shared = on.scatter(portfolio, broadcast=True, hash=False)
    rows = [pairs[pairs["client_id"].isin(part)] for part in parts]
    futures = on.map(count, [shared] * len(parts), rows, parts, pure=False)
    return list(on.gather(futures))


def _build_there(
    portfolio: Portfolio, pairs: pd.DataFrame, clients: list[str], code: str
) -> pd.DataFrame:
    if code != catalog.code_version():
        raise CalculationError(
            "a worker of the cluster has another version of healthseg, or lacks a metric that is registered here: "
            "install the same version everywhere, and register metrics on the workers too (Client.register_plugin)"
        )
    return _build_chunk(portfolio, pairs, clients)


# -- single figures ----------------------------------------------------------------------


def live_metrics(portfolio: Portfolio, as_of: dt.date, metrics: list[str]) -> pd.DataFrame:
    """The live customers' values of some metrics on a day, by client_id. InvalidParameters for an unknown metric."""
    rows = panel(portfolio, [as_of])
    rows = rows[rows["live"].astype(bool)].set_index("client_id")
    for name in metrics:
        if name not in rows:
            raise InvalidParameters(
                f"unknown metric {name!r}{hint(name, rows.columns)}",
                parameter="metrics",
                value_provided=name,
            )
    return rows[metrics].astype(float)


def at_risk(rows: pd.DataFrame) -> np.ndarray:
    """Whether each row's customer was live and had not given notice."""
    live = rows["live"].fillna(False).to_numpy(dtype=bool)
    return live & rows["days_since_notice"].isna().to_numpy()


def tiers_at(portfolio: Portfolio, days: dict[str, dt.date]) -> dict[str, str | None]:
    """Each customer's value tier on a day of its own (a churned customer's: its last one)."""
    names: dict[str, str | None] = {}
    for clients in chunks(portfolio, list(days)):
        day = np.array([epoch_day(days[client]) for client in clients], dtype=np.int64)
        k = np.arange(len(clients), dtype=np.int64)
        count = Counting(portfolio, clients, Spans(k, day, day + 1))
        profiles = profile(count, k, day, epoch_day(portfolio.data_until))
        dated = profiles.assign(client_id=clients, date=[days[client] for client in clients])
        arr = in_reporting_currency(portfolio, dated)
        names |= dict(zip(clients, tiers(arr, portfolio.settings), strict=True))
    return names


def span_of(portfolio: Portfolio, client_id: str, end: dt.date, days: int, metric: str) -> float:
    """One customer's metric over the ``days`` days that end with ``end``."""
    day = dt.timedelta(days=1)
    spans = pd.DataFrame(
        {
            "client_id": [client_id],
            "span_id": [0],
            "start": [end - (days - 1) * day],
            "end": [end + day],
        }
    )
    return float(over_spans.over(portfolio, spans, [metric])[metric].iloc[0])
