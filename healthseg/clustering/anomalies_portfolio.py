"""Anomalies of customers and of the portfolio, each told from the other: a dip of all is one event, not one a customer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.anomalies import COLUMNS, MAX_P, anomalies
from healthseg.clustering.anomalies_causes import with_causes
from healthseg.clustering.anomalies_days import Daily, daily
from healthseg.metrics.counting import EPOCH, epoch_day
from healthseg.statistics.departures import LEAST_Z, against_weekday

LEAST_DAYS = 28
Window = tuple[dt.date, dt.date, dt.date]  # start, end, and the day before which days are known
FOUND_COLUMNS = [
    "client_id",
    *COLUMNS,
    "date",
    "of_usual",
    "cause",
    "likely_cause",
    "action_required",
]


def anomalies_of(
    portfolio: Any,
    clients: Sequence[str],
    start: dt.date,
    end: dt.date,
    max_p: float = MAX_P,
    each: bool = True,
    until: dt.date | None = None,
) -> pd.DataFrame:
    """The anomalies that touch ``[start, end)``: of the sum of ``clients``, and (``each``) of every single one.

    A row an anomaly: client_id (None: the sum of ``clients``), the columns of ``anomalies``, date (of the day farthest
    out), of_usual (what the rest of the days had of its usual people on that day; 1 where it did as always), cause,
    likely_cause, action_required (a dip with no cause in calendar or gaps, and nothing since as usual). Days are held
    against the whole history before ``until`` (None: ``end``). What the rest of the days explains, and days whose data
    is missing, are left out of the customers' rows; in the sum of all customers they stand, once. Customers with fewer
    than 28 days are not asked.
    """
    days, known = daily(portfolio, until or end), until or end
    index = pd.Index(days.clients)
    places = index.get_indexer(sorted(clients))
    parts = [_scope(portfolio, days, places, (start, end, known), max_p)] if len(places) > 1 else []
    if each or len(places) == 1:
        own = [_one(portfolio, days, int(place), (start, end, known), max_p) for place in places]
        parts += (
            own
            if len(places) == 1
            else [part[part["cause"] != "data_gap"] for part in own if len(part)]
        )
    filled = [part for part in parts if len(part)]
    frame = (
        pd.concat(filled, ignore_index=True)
        if filled
        else pd.DataFrame({name: [] for name in FOUND_COLUMNS})
    )
    return frame[FOUND_COLUMNS]


def _scope(
    portfolio: Any, days: Daily, places: np.ndarray, window: Window, max_p: float
) -> pd.DataFrame:
    start, end, known = window
    found = _within(anomalies(days.of(places), max_p=max_p, since=_since(start)), start, end)
    rest = _of_usual(days, places)
    found = found.assign(
        client_id=None, of_usual=rest[found["day"].to_numpy(dtype=np.int64) - days.first_day]
    )
    return _explained(portfolio, found, [days.clients[place] for place in places], known)


def _one(portfolio: Any, days: Daily, place: int, window: Window, max_p: float) -> pd.DataFrame:
    (start, end, known), (first, after) = window, days.lived[place]
    if after - first < LEAST_DAYS:
        return pd.DataFrame()
    rest = _of_usual(days, np.array([place]))
    found = _within(
        anomalies(days.columns_of([place]), rest[first:after], max_p, _since(start)), start, end
    )
    if not len(found):
        return found
    found = found.assign(
        client_id=days.clients[place],
        of_usual=rest[found["day"].to_numpy(dtype=np.int64) - days.first_day],
    )
    return _explained(portfolio, found, [days.clients[place]], known)


def _since(start: dt.date) -> int:
    """Somewhat before the window, so that what began there and lasted into it is whole."""
    return epoch_day(start) - LEAST_DAYS


def _within(found: pd.DataFrame, start: dt.date, end: dt.date) -> pd.DataFrame:
    if not len(found):
        return found
    inside = (found["last_day"] >= epoch_day(start)) & (found["first_day"] < epoch_day(end))
    return found[inside].reset_index(drop=True)


def _of_usual(portfolio: Daily, places: np.ndarray) -> np.ndarray:
    """What the rest of the portfolio had of its usual people on each day, 1 where it did not depart from its weekday."""
    users = portfolio.counts["users"]
    days = against_weekday(portfolio.users_of_all - users[places].sum(axis=0, dtype=np.int64))
    departs = (np.abs(days.z) >= LEAST_Z) & days.is_change
    rest = np.ones(users.shape[1])
    rest[days.place[departs]] = days.ratio[departs]
    return rest


def _explained(
    portfolio: Any, found: pd.DataFrame, clients: Sequence[str], known: dt.date
) -> pd.DataFrame:
    found = with_causes(portfolio, found, clients, known)
    dates = [EPOCH + dt.timedelta(days=int(day)) for day in found["day"]]
    told = found["cause"].isin(["calendar", "data_gap"])
    down = found["anomaly_type"] == "unusual_dip"
    return found.assign(
        date=pd.Series(dates, index=found.index, dtype=object),
        action_required=down & ~told & found["open"].astype(bool),
    )
