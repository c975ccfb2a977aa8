"""The panel: one row per customer and date, every metric as it was knowable at the end of that date.

A score today, its history, a churn model's rows, a report card are functions of this frame. Its
rows are kept in the store by what they were made from: a row of a past date is counted once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import catalog
from healthseg.metrics import spans as measured
from healthseg.metrics.counting import Counting, Spans, customers, epoch_day, epoch_days
from healthseg.metrics.keys import dated_key
from healthseg.metrics.metric import Metric
from healthseg.metrics.profile import STATIC, profile, tiers
from healthseg.settings import fingerprint

WORDS = ("client_id", "industry", "region", "plan", "currency", "stage", "tier")
ROWS_LEVEL, ROWS_UNUSED_DAYS = "panel", 30  # of one date
LEVEL, MANY_DATES, UNUSED_DAYS = (
    "panels",
    8,
    7,
)  # of the dates that are asked for together, in one file
WHOLE_UP_TO = 2_000  # customers: up to here a date is counted for all, also where one was asked for


def panel(
    portfolio: Any, dates: Iterable[dt.date], clients: list[str] | None = None
) -> pd.DataFrame:
    """What was known of every customer at the end of each date?

    One row per customer that had signed up and date, in order of customer and date: profile
    (``live, tenure_days, arr, seats, plan, tier, stage, days_to_renewal`` …) and the columns of
    the catalogue, NaN where not measured. Snapshot columns of ``customers`` enter only on the portfolio's last day.
    A date's row is the same whatever was added to the portfolio later.
    """
    wanted = sorted(set(dates))
    if clients is not None and len(customers(portfolio)) > WHOLE_UP_TO >= len(clients):
        fresh = [date for date in wanted if _stored(portfolio, date) is None]
        if fresh:
            kept = [_of(_stored(portfolio, date), clients) for date in wanted if date not in fresh]
            return _joined([*kept, build(portfolio, fresh, clients)])
    whole = _whole(portfolio, tuple(wanted))
    return whole.copy() if clients is None else _of(whole, clients)


def _whole(portfolio: Any, dates: tuple[dt.date, ...]) -> pd.DataFrame:
    """All customers' rows on these dates; the last few sets of dates are remembered."""
    recent = portfolio.__dict__.setdefault("_panels", {})
    key = dates, catalog.registered_digest()
    if key not in recent:
        found = _together(portfolio, dates)
        while len(recent) > 3:
            recent.pop(next(iter(recent)))
        recent[key] = found
    return recent[key]


def _together(portfolio: Any, dates: tuple[dt.date, ...]) -> pd.DataFrame:
    """The rows of these dates; of many dates also in one file, which is read in a fraction of the time."""
    key = (
        fingerprint([dated_key(portfolio, date) for date in dates])
        if len(dates) >= MANY_DATES
        else None
    )
    found = portfolio.store.get_frame(LEVEL, key) if key else None
    if found is None:
        _build_all(portfolio, [date for date in dates if _stored(portfolio, date) is None])
        found = _joined([_stored(portfolio, date) for date in dates])
        if key:
            portfolio.store.put_frame(LEVEL, key, found)
            portfolio.store.evict(LEVEL, days=UNUSED_DAYS)
    return found


def _of(frame: pd.DataFrame, clients: list[str]) -> pd.DataFrame:
    """The rows of some customers of a frame sorted by customer."""
    ids = frame["client_id"].to_numpy()
    ranges = [
        np.arange(*(np.searchsorted(ids, client, side=side) for side in ("left", "right")))
        for client in sorted(set(clients))
    ]
    return frame.iloc[np.concatenate(ranges)].reset_index(drop=True) if ranges else frame.iloc[:0]


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    if not frames:
        return pd.DataFrame(columns=["client_id", "date", *catalog.columns()])
    return pd.concat(frames, ignore_index=True).sort_values(
        ["client_id", "date"], kind="stable", ignore_index=True
    )


def _build_all(portfolio: Any, dates: list[dt.date]) -> None:
    if not dates:
        return
    frame = build(portfolio, dates, customers(portfolio).index.tolist())
    groups = dict(list(frame.groupby("date", sort=False)))
    for date in dates:
        rows = groups.get(pd.Timestamp(date), frame.iloc[:0]).reset_index(drop=True)
        portfolio.store.put_frame(ROWS_LEVEL, dated_key(portfolio, date), rows)
        _memory(portfolio)[date] = rows
    portfolio.store.evict(ROWS_LEVEL, days=ROWS_UNUSED_DAYS)


def _memory(portfolio: Any) -> dict[dt.date, pd.DataFrame]:
    rows = portfolio.__dict__.setdefault("_panel_rows", {})
    return rows.setdefault(catalog.registered_digest(), {})


def _stored(portfolio: Any, date: dt.date) -> pd.DataFrame | None:
    memory = _memory(portfolio)
    if date not in memory:
        found = portfolio.store.get_frame(ROWS_LEVEL, dated_key(portfolio, date))
        if found is None:
            return None
        memory[date] = found
    return memory[date]


def build(portfolio: Any, dates: list[dt.date], clients: list[str]) -> pd.DataFrame:
    """The panel's rows, counted now (``panel`` is the one that remembers them)."""
    every = pd.MultiIndex.from_product([clients, dates], names=["client_id", "date"])
    return build_pairs(portfolio, every.to_frame(index=False))


def build_pairs(portfolio: Any, pairs: pd.DataFrame) -> pd.DataFrame:
    """The panel's rows of any pairs of ``client_id`` and ``date``, each customer on dates of its own, counted now."""
    days = measured.days_counted(pairs["date"], pairs["date"])
    parts = [
        _build_chunk(portfolio, pairs[pairs["client_id"].isin(clients)], clients)
        for clients in measured.chunks(pairs["client_id"].unique().tolist(), days)
    ]
    return _joined(parts)


def _build_chunk(portfolio: Any, pairs: pd.DataFrame, clients: list[str]) -> pd.DataFrame:
    k, day = (
        pd.Index(clients).get_indexer(pairs["client_id"]).astype(np.int64),
        epoch_days(pairs["date"]),
    )
    count, columns = _counted(portfolio, clients, k, day)
    who = profile(count, k, day, epoch_day(portfolio.data_until))
    frame = pd.DataFrame(
        {
            "client_id": np.array(clients, dtype=object)[k],
            "date": day.astype("datetime64[D]").astype("datetime64[s]"),
        }
    )
    frame = pd.concat(
        [frame, _static(count, k), who.drop(columns=["k", "day"]), pd.DataFrame(columns)], axis=1
    )
    frame["tier"] = tiers(frame["arr"].to_numpy(), portfolio.settings)
    for name, metric in catalog.derived().items():
        frame[name] = _derived(metric, frame)
    return _typed(frame[frame["tenure_days"] >= 0].reset_index(drop=True))


def _counted(
    portfolio: Any, clients: list[str], k: np.ndarray, day: np.ndarray
) -> tuple[Counting, dict[str, np.ndarray]]:
    """The columns that are counted over windows that end with each row's date."""
    metrics = catalog.counted()
    ends = {
        window: Spans(k, day + 1 - window, day + 1)
        for window in {metric.window_days for metric in metrics.values()}
    }
    values: dict[str, np.ndarray] = {}
    # Events are read for a month or so, the small tables for a year.
    for from_events in (True, False):
        chosen = {
            name: metric for name, metric in metrics.items() if metric.from_events is from_events
        }
        longest = max(metric.window_days for metric in chosen.values())
        count = Counting(portfolio, clients, ends[longest])
        values |= {
            name: _words(metric, metric.count(count, ends[metric.window_days]))
            for name, metric in chosen.items()
        }
    return count, {name: values[name] for name in metrics}


def _words(metric: Metric, codes: np.ndarray) -> np.ndarray:
    if not metric.levels:
        return codes
    words = np.array([*metric.levels, None], dtype=object)
    return words[np.where(np.isnan(codes), len(metric.levels), codes).astype(np.int64)]


def _derived(metric: Metric, frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(pd.to_numeric(metric.derive(frame)), dtype=np.float64)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """With the types that the store gives back, so that a row that was just counted is the one that is read later."""
    texts = [*WORDS, *(name for name, metric in catalog.counted().items() if metric.levels)]
    words = {name: "str" for name in texts if name in frame}
    return frame.astype({**words, "date": "datetime64[ms]"})


def _static(count: Counting, k: np.ndarray) -> pd.DataFrame:
    known = count.customers
    return pd.DataFrame(
        {name: known[name].to_numpy(dtype=object)[k] for name in STATIC[1:3] if name in known}
    )


def tiers_at(portfolio: Any, days: dict[str, dt.date]) -> dict[str, str | None]:
    """Each customer's value tier on a day of its own (a churned customer's: the last one it lived)."""
    out: dict[str, str | None] = {}
    for clients in measured.chunks(list(days)):
        day = np.array([epoch_day(days[client]) for client in clients], dtype=np.int64)
        k = np.arange(len(clients), dtype=np.int64)
        who = profile(
            Counting(portfolio, clients, Spans(k, day, day + 1)),
            k,
            day,
            epoch_day(portfolio.data_until),
        )
        out |= dict(zip(clients, tiers(who["arr"].to_numpy(), portfolio.settings), strict=True))
    return out


def span_of(portfolio: Any, client_id: str, end: dt.date, days: int, metric: str) -> float:
    """One customer's metric over the ``days`` days that end with ``end``."""
    spans = pd.DataFrame(
        {
            "client_id": [client_id],
            "span_id": [0],
            "start": [end - dt.timedelta(days=days - 1)],
            "end": [end + dt.timedelta(days=1)],
        }
    )
    return float(measured.over(portfolio, spans, [metric])[metric].iloc[0])
