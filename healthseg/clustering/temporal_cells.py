"""When do people come, and when not? Active user-hours by weekday, hour and part of a day on the account's own clock.

The null turns every user's week by a chance number of hours: each user's volume and the gaps between its visits stay,
the clock is lost. Under it the excess t of a cell over its like in one user's week (the user-hours in the cell, less
the mean of the cells in use) has mean zero, and the weeks (of a scope of many customers: the customers) are
independent; so their mean over its standard error has Student's distribution, whatever the volumes; nothing needs to
be drawn. Lows, and parts of days, are told by it; which days and hours are peaks is for ``rhythms`` to say.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.rhythms import DAY_NAMES, IN_USE
from healthseg.metrics.lives import counting, hours_of

PARTS = ("night", "morning", "afternoon", "evening")  # six hours each, from midnight
PART_IN_USE = 0.10  # of all user-hours: people do come in that part of days
LEVEL_Z = 1.96
LEAST_USER_HOURS = 20  # of a customer (user) that is asked whether it shows a pattern


def user_hours(
    portfolio: Any, clients: Sequence[str], start: dt.date, end: dt.date
) -> pd.DataFrame:
    """client_id, k (its place among them), user (a number), day (since 1970), weekday (0 = Monday) and hour of each
    hour in ``[start, end)`` in which a user did anything, on the account's own clock; empty where events have no
    times."""
    names = sorted(clients)
    rows = hours_of(counting(portfolio, names, start, end), start, end)
    rows = rows[rows["user"] >= 0].drop_duplicates(["user", "day", "hour"])
    rows = rows.sort_values(["user", "day", "hour"], kind="stable", ignore_index=True)
    out = rows[["k", "user", "day", "hour"]].astype(np.int64)
    return out.assign(
        client_id=np.array(names, dtype=object)[out["k"]], weekday=(out["day"] + 3) % 7
    )


@dataclass(frozen=True)
class Cells:
    """The cells that are asked about: name, and which of 168 hours of the week they hold and are held against.

    ``own[cell, hour of the week]`` is 1 within the cell; ``like[cell, hour of the week]`` adds up to the mean of the
    cells in use that it is held against.
    """

    key: list[str]
    own: np.ndarray
    like: np.ndarray


def cells_of(counts: np.ndarray) -> Cells:
    """The weekdays, the hours in use and the parts of weekdays in use, from the counts of the 168 hours of the week.

    A day is in use with 5 % of the user-hours, an hour with 2 %, a part of days with 10 %. Days that are not in use are
    asked too (they may be low); hours of the night, when nobody comes, are not.
    """
    grid = counts.reshape(7, 24)
    total = max(grid.sum(), 1)
    days, hours = (
        grid.sum(axis=1) >= IN_USE["day"] * total,
        grid.sum(axis=0) >= IN_USE["hour"] * total,
    )
    parts = grid.reshape(7, 4, 6).sum(axis=(0, 2)) >= PART_IN_USE * total
    weekday, hour = np.divmod(np.arange(168), 24)
    part = hour // 6
    rows = [
        (
            f"day:{DAY_NAMES[at]}",
            weekday == at,
            np.isin(weekday, np.flatnonzero(days)) / max(days.sum(), 1),
        )
        for at in range(7)
    ]
    rows += [
        (f"hour:{at:02d}", hour == at, np.isin(hour, np.flatnonzero(hours)) / max(hours.sum(), 1))
        for at in np.flatnonzero(hours)
    ]
    rows += [
        (
            f"part:{DAY_NAMES[at]} {PARTS[which]}",
            (weekday == at) & (part == which),
            (days[weekday] & (part == which)) / max(days.sum(), 1),
        )
        for at in np.flatnonzero(days)
        for which in np.flatnonzero(parts)
    ]
    return Cells(
        [name for name, *_ in rows],
        np.array([own for _, own, _ in rows], dtype=float),
        np.array([like for *_, like in rows], dtype=float),
    )


def tried(weeks: np.ndarray, cells: Cells) -> pd.DataFrame:
    """Every cell's user-hours over those of its like (lift), its interval at 95 %, and p (two-sided).

    ``weeks[unit, hour of the week]`` are the user-hours of independent units: users' weeks, or customers.
    Columns: key, user_hours, expected, lift, lower, upper, p.
    """
    own, like = weeks @ cells.own.T, weeks @ cells.like.T
    count, expected = own.sum(axis=0), like.sum(axis=0)
    excess = own - like
    spread = (
        excess.std(axis=0, ddof=1) if len(excess) > 1 else np.full(len(cells.key), np.nan)
    )  # one unit: p is 1
    with np.errstate(divide="ignore", invalid="ignore"):
        t = excess.mean(axis=0) / (spread / np.sqrt(len(excess)))
        lift = count / expected
        error = np.sqrt(((own - lift * like) ** 2).sum(axis=0)) / np.maximum(count, 0.5)
    return pd.DataFrame(
        {
            "key": cells.key,
            "user_hours": count,
            "expected": expected,
            "lift": lift,
            "lower": lift * np.exp(-LEVEL_Z * error),
            "upper": lift * np.exp(LEVEL_Z * error),
            "p": 2 * scipy.special.stdtr(max(len(excess) - 1, 1), -np.abs(np.nan_to_num(t))),
        }
    )


def table(rows: pd.DataFrame, unit: np.ndarray, units: int) -> np.ndarray:
    """User-hours by unit and hour of the week."""
    place = rows["weekday"].to_numpy(dtype=np.int64) * 24 + rows["hour"].to_numpy(dtype=np.int64)
    return np.bincount(unit * 168 + place, minlength=units * 168).reshape(units, 168).astype(float)
