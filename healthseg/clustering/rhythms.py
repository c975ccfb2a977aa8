"""When in the week do people work, and which days and hours stand out of chance?

The unit is an active user-hour: a user, a day and an hour of the account's own clock in which it did anything at all,
so that a busy session counts once. Only whole weeks are looked at: each weekday comes equally often.

Chance is what is left when each user's week is rolled by an offset of its own, from 0 to 167 hours: volumes, sessions
and their gaps stay, the clock is lost. Of twenty customers or more all weeks of a customer are rolled together: the
habits of a few large ones are no habit of all. Two questions are asked, of days and of hours apart:

1. Is there a rhythm at all? Rolling turns a user's week on the circle of the week (of the day), so the squared
   resultant of all of them, over its variance, is exponential (Rayleigh's test, with weeks of users, or customers, as
   the vectors); the first three harmonics are tried, p is three times the least. Beyond 1 in 100,000 nothing
   more is asked: a portfolio of hundreds of customers then shows no peak where there are none.
2. Which stand out? Days that hold at least 5 % of the hours (hours that hold at least 2 %) are in use; one is a peak
   if it has at least 1.25 times their mean, and its excess over the mean in standard errors is one that the largest
   excess of any day (hour) reaches in fewer than 1 of 100 rollings (a max-statistic: all are tried at once).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

WEEK_HOURS = 168
LEAST_WEEKS = 2
LEAST_USER_HOURS = 20
MANY = 20  # customers; from so many on they, not users' weeks, are the independent units
RHYTHM_MAX_P = 1e-5
HARMONICS = 3
ROLLINGS = 499
IN_USE = {"day": 0.05, "hour": 0.02}
CELLS = {"day": 7, "hour": 24}
AT_ONCE = 20_000_000  # rolled user-hours in memory
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Rhythm:
    """The answer for days or for hours.

    ``cells``: place (0 = Monday, or the hour), user_hours, share, in_use, ratio (to the mean of those in use), p, peak.
    ``p`` is that of any rhythm at all; ``reason`` says why nothing could be asked.
    """

    kind: str
    cells: pd.DataFrame
    p: float
    reason: str | None = None

    @property
    def peaks(self) -> list[int]:
        return self.cells.loc[self.cells["peak"], "place"].tolist()


def rhythms(
    hours: pd.DataFrame,
    start_day: int,
    end_day: int,
    seed: int,
    min_ratio: float = 1.25,
    max_p: float = 0.01,
) -> dict[str, Rhythm]:
    """The rhythm of days and of hours: which stand out?

    ``hours`` has a row per active user-hour: user (any labels), day (since 1970), hour (local, 0–23), and k (the
    customer) where there are several; those in ``[start_day, end_day)`` are read, cut to whole weeks that end with it.
    The same rows and seed give the same response.

    >>> rows = pd.DataFrame([(user, day, hour) for user in range(5) for day in range(56) for hour in (8, 9, 10)],
    ...                     columns=["user", "day", "hour"])
    >>> rhythms(rows[(rows["hour"] == 9) | (rows["day"] % 7 == 0)], 0, 56, seed=7)["hour"].peaks
    [9]
    """
    rows, reason = _whole_weeks(hours, start_day, end_day)
    if reason:
        week = np.bincount(_of_week(rows), minlength=WEEK_HOURS)
        return {kind: Rhythm(kind, _cells(week, kind), float("nan"), reason) for kind in CELLS}
    place, who, many = _turned_together(rows, end_day)
    rolled = _rolled(place, who, many, seed)
    return {kind: _rhythm(kind, place, who, many, rolled[kind], min_ratio, max_p) for kind in CELLS}


def any_rhythm(hours: pd.DataFrame, start_day: int, end_day: int) -> dict[str, float]:
    """The p of any rhythm at all, of days and of hours, for rows as ``rhythms`` reads them; 1 where too few."""
    rows, reason = _whole_weeks(hours, start_day, end_day)
    if reason:
        return dict.fromkeys(CELLS, 1.0)
    place, who, many = _turned_together(rows, end_day)
    return {kind: _rayleigh(place, who, many, kind) for kind in CELLS}


def _whole_weeks(
    hours: pd.DataFrame, start_day: int, end_day: int
) -> tuple[pd.DataFrame, str | None]:
    """The user-hours of the whole weeks that end with ``end_day``; why there are too few, None where there are not."""
    weeks = (end_day - start_day) // 7
    rows = hours[(hours["day"] >= end_day - 7 * weeks) & (hours["day"] < end_day)]
    rows = rows.drop_duplicates(["user", "day", "hour"])
    if weeks < LEAST_WEEKS:
        return rows, f"{weeks} whole weeks, at least {LEAST_WEEKS} are needed"
    few = f"{len(rows)} active user-hours, at least {LEAST_USER_HOURS} are needed"
    return rows, few if len(rows) < LEAST_USER_HOURS else None


def _of_week(rows: pd.DataFrame) -> np.ndarray:
    """The hour of the week, 0 = Monday midnight."""
    return (rows["day"].to_numpy() + 3) % 7 * 24 + rows["hour"].to_numpy()


def _turned_together(rows: pd.DataFrame, end_day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hour of the week, a number for what is rolled together (in an order that does not depend on the rows'), and how
    many user-hours each such pair has."""
    if "k" in rows and rows["k"].nunique() >= MANY:
        who = rows["k"].to_numpy(dtype=np.int64)
    else:
        user = np.unique(rows["user"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        who = user * 100_000 + (end_day - 1 - rows["day"].to_numpy()) // 7
    who = np.unique(who, return_inverse=True)[1].astype(np.int64)
    pairs, many = np.unique(who * WEEK_HOURS + _of_week(rows), return_counts=True)
    return pairs % WEEK_HOURS, pairs // WEEK_HOURS, many


def _rolled(
    place: np.ndarray, who: np.ndarray, many: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Counts of days and of hours under each rolling, ``[rolling, cell]``."""
    random = np.random.default_rng(seed)
    place = place.astype(np.int16)
    one_each = bool((many == 1).all())
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in CELLS}
    step = max(1, AT_ONCE // max(len(place), 1))
    for at in range(0, ROLLINGS, step):
        times = min(step, ROLLINGS - at)
        offsets = random.integers(0, WEEK_HOURS, size=(times, who.max() + 1), dtype=np.int16)
        turned = (place + offsets[:, who]) % WEEK_HOURS
        weights = None if one_each else np.broadcast_to(many, turned.shape).ravel()
        flat = np.bincount(
            (turned + np.arange(times, dtype=np.int32)[:, None] * WEEK_HOURS).ravel(),
            weights,
            minlength=times * WEEK_HOURS,
        ).reshape(times, 7, 24)
        found["day"].append(flat.sum(axis=2))
        found["hour"].append(flat.sum(axis=1))
    return {kind: np.concatenate(parts) for kind, parts in found.items()}


def _excess(counts: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which cells are in use, their ratio to the mean of those, and their excess over it in its standard errors."""
    counts = np.atleast_2d(counts)
    used = counts >= IN_USE[kind] * counts.sum(axis=1, keepdims=True)
    base = (counts * used).sum(axis=1, keepdims=True) / np.maximum(
        used.sum(axis=1, keepdims=True), 1
    )
    base = np.maximum(base, 1e-12)
    return (
        used,
        np.where(used, counts / base, 0.0),
        np.where(used, (counts - base) / np.sqrt(base), -np.inf),
    )


def _cells(week: np.ndarray, kind: str) -> pd.DataFrame:
    """The counts of the 168 hours of the week alone, where nothing is asked of them."""
    counts = week.reshape(7, 24).sum(axis=1 if kind == "day" else 0).astype(np.int64)
    share = counts / max(counts.sum(), 1)
    return pd.DataFrame(
        {
            "place": np.arange(CELLS[kind]),
            "user_hours": counts,
            "share": share,
            "in_use": (share >= IN_USE[kind]) & (counts > 0),
            "ratio": np.nan,
            "p": np.nan,
            "peak": False,
        }
    )


def _rhythm(
    kind: str,
    place: np.ndarray,
    who: np.ndarray,
    many: np.ndarray,
    rolled: np.ndarray,
    min_ratio: float,
    max_p: float,
) -> Rhythm:
    week = np.bincount(place, many, minlength=WEEK_HOURS)
    cells, overall = _cells(week, kind), _rayleigh(place, who, many, kind)
    used, ratio, excess = (part[0] for part in _excess(cells["user_hours"].to_numpy(), kind))
    largest = _excess(rolled, kind)[2].max(axis=1)
    p = (1 + (largest[:, None] >= excess[None, :] - 1e-9).sum(axis=0)) / (len(rolled) + 1)
    peak = used & (ratio >= min_ratio) & (p < max_p) & (overall < RHYTHM_MAX_P)
    cells = cells.assign(
        in_use=used, ratio=np.where(used, ratio, np.nan), p=np.where(used, p, np.nan), peak=peak
    )
    return Rhythm(kind, cells, overall)


def _rayleigh(place: np.ndarray, who: np.ndarray, many: np.ndarray, kind: str) -> float:
    """p of no rhythm at all: three times the least over the harmonics of exp(−|Σ v|² / Σ |v|²), v what is rolled
    together."""
    turn = place / (WEEK_HOURS if kind == "day" else 24)
    least = 1.0
    for harmonic in range(1, HARMONICS + 1):
        angle = 2 * np.pi * harmonic * turn
        real, imaginary = (
            np.bincount(who, many * np.cos(angle)),
            np.bincount(who, many * np.sin(angle)),
        )
        spread = (real**2 + imaginary**2).sum()
        if spread > 0:
            least = min(least, float(np.exp(-(real.sum() ** 2 + imaginary.sum() ** 2) / spread)))
    return min(1.0, HARMONICS * least)


def hour_ranges(hours: list[int]) -> list[str]:
    """Contiguous hours as ranges.

    >>> hour_ranges([9, 10, 14, 23]), hour_ranges([11, 12])
    (['9-11am', '2-3pm', '11pm-12am'], ['11am-1pm'])
    """
    found, hours = [], sorted(hours)
    while hours:
        last = next(
            (at for at in range(len(hours) - 1) if hours[at + 1] != hours[at] + 1), len(hours) - 1
        )
        found.append(_range(hours[0], hours[last] + 1))
        hours = hours[last + 1 :]
    return found


def _range(start: int, end: int) -> str:
    words = [(str((hour - 1) % 12 + 1), "am" if hour % 24 < 12 else "pm") for hour in (start, end)]
    (first, half), (last, other) = words
    return f"{first}-{last}{other}" if half == other else f"{first}{half}-{last}{other}"
