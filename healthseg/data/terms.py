"""When does a contract's term begin and end: by months of the calendar, else by days?"""

from __future__ import annotations

import numpy as np
import pandas as pd


def term_starts(rows: pd.DataFrame, tolerance: int) -> pd.Series:
    """The day on which the term of each version began.

    A change of a contract within a term is a version that ends with one of its terms: it renews as the contract did
    before, not by the days that were left.

    >>> rows = pd.DataFrame({"version": 0, "starts": [0, 400], "ends": [365.0, 730.0], "renews": np.nan, "known": [0, 400]})
    >>> term_starts(rows, 3).tolist()
    [0.0, 365.0]
    """
    begins, ends = rows["starts"].astype(float), rows["ends"].fillna(rows["renews"])
    versions = rows[ends.notna()].groupby("version")
    number = versions.cumcount()
    before = number.index.to_series().groupby(rows["version"]).shift()
    for step in range(1, int(number.max() if len(number) else 0) + 1):
        later = number.index[number == step]
        earlier = [frame[before[later]].set_axis(later) for frame in (begins, ends, rows["known"])]
        (first, end, known), own = earlier, ends[later]
        # a month may be one of the calendar, with its last day or without, or so many days
        last_day = whole_months(first, end + 1) > 0
        months, days = whole_months(first, end + last_day), (end - first).clip(lower=1)
        near = [
            (own - rolled(end + more, 0, pd.DataFrame(term)) + more).abs() <= tolerance
            for more, term in (
                (
                    last_day,
                    {"day": own + last_day - tolerance - 1, "months": months, "length": days},
                ),
                (0, {"day": own - tolerance - 1, "months": 0, "length": days}),
            )
        ]
        start = own - days
        start = start.where(
            ~(near[0] & (months > 0)), months_later(_dates(own + last_day), -months)
        )
        within = (near[0] | near[1]) & (own - begins[later] < days - tolerance)
        within &= known <= rows["known"][later]
        begins[later] = begins[later].where(~within, start)
    return begins


def rolled(date: pd.Series, gap: pd.Series | int, rows: pd.DataFrame) -> pd.Series:
    """Dates moved by whole terms (``months``, else ``length`` days) until, ``gap`` days later, they lie beyond the ``day``
    of their row.

    >>> rows = pd.DataFrame({"day": [400, 400], "months": [12, 0], "length": [365, 100]})
    >>> rolled(pd.Series([365.0, 365.0]), 1, rows).tolist()
    [730.0, 465.0]
    """
    moved = date.copy()
    late = date.notna() & (date + gap <= rows["day"]) & (rows["length"] > 0)
    if not late.any():
        return moved
    start, day, space = date[late], rows.loc[late, "day"], (date * 0 + gap)[late]
    months, length = (rows.loc[late, name].astype(np.int64) for name in ("months", "length"))
    terms = np.floor((day - space - start) / length) + 1
    by_days = start + terms * length
    first = start.to_numpy().astype("datetime64[D]")
    behind = (day - space).to_numpy().astype("datetime64[D]").astype("datetime64[M]")
    since = (behind - first.astype("datetime64[M]")).astype(int)
    size = months.clip(lower=1).to_numpy()
    number = np.maximum(since // size, 1)
    by_months = months_later(first, number * size)
    short = by_months <= (day - space).to_numpy()
    by_months = np.where(short, months_later(first, (number + 1) * size), by_months)
    moved[late] = np.where(months > 0, by_months, by_days)
    return moved


def whole_months(start: pd.Series, stop: pd.Series) -> np.ndarray:
    """How many months lie between two days, 0 where they are not whole."""
    first, last = _dates(start), _dates(stop)
    months = (last.astype("datetime64[M]") - first.astype("datetime64[M]")).astype(int)
    same_day = last - last.astype("datetime64[M]") == first - first.astype("datetime64[M]")
    return np.where(same_day, np.maximum(months, 0), 0)


def _dates(days: pd.Series) -> np.ndarray:
    return days.to_numpy(dtype=float).astype("datetime64[D]")


def months_later(day: np.ndarray, months: np.ndarray) -> np.ndarray:
    """The same day of a later month, or that month's last."""
    month = day.astype("datetime64[M]")
    day_of_month = (day - month).astype(int)
    target = month + months
    last = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(int) - 1
    return (
        (target.astype("datetime64[D]") + np.minimum(day_of_month, last))
        .astype(np.int64)
        .astype(float)
    )
