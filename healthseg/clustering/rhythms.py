"""At which hours and on which days of the week are people active, and which of them are no chance?

The unit is an active user-hour on the account's own clock, so that a busy session counts once; only
whole weeks are read. Chance is what remains when each user's week (of twenty customers or more: all
weeks of a customer) is rolled by an offset of its own, from 0 to 167 hours: volumes and gaps stay,
the clock is lost.

Is there a rhythm at all? Rolling turns a week on the circle of the week (of the day), so the
squared resultant over its variance is exponential (Rayleigh's test, three harmonics, p is three
times the least). Without a p below ``rhythm_max_p`` there are no peaks. Which are peaks? Those in
use with ``peak_min_ratio`` times the mean whose excess, in standard errors, the largest excess of
any day (hour) reaches in less than ``peak_max_p`` of the rollings (a max-statistic).

Lows, and parts of days (``compare_cells``): the excess of a cell over its like in one week has mean
zero and weeks (customers) are independent: its mean over its standard error has Student's
distribution, whatever the volumes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.support import Z_95
from healthseg.metrics.counting import counting
from healthseg.metrics.users import hours_of
from healthseg.rules import counted
from healthseg.settings import Settings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PARTS = ("night", "morning", "afternoon", "evening")  # six hours each, from midnight
CELLS = {"day": 7, "hour": 24}
WEEK_HOURS = 168
HARMONICS = 3
AT_ONCE = 20_000_000  # rolled user-hours in memory


@dataclass(frozen=True)
class Rhythm:
    """The rhythm of days or of hours.

    ``cells``: place (0 = Monday, or the hour), user_hours, share, in_use, ratio (to the mean of those in use), p, peak.
    ``p`` is that of any rhythm at all; ``reason`` says why there is too little data.
    """

    kind: str
    cells: pd.DataFrame
    p: float
    reason: str | None = None

    @property
    def peaks(self) -> list[int]:
        return self.cells.loc[self.cells["peak"], "place"].tolist()


@dataclass(frozen=True)
class _Rolled:
    """User-hours by hour of the week and unit: ``hour``, ``unit`` and ``count`` of each pair that occurs."""

    hour: np.ndarray
    unit: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, end_day: int, settings: Settings) -> _Rolled:
        """Units (customers, or weeks of users) are numbered in an order that does not depend on the rows'."""
        if "k" in rows and rows["k"].nunique() >= settings.units_min_customers:
            unit = rows["k"].to_numpy(dtype=np.int64)
        else:
            user = np.unique(rows["user"].to_numpy(), return_inverse=True)[1].astype(np.int64)
            unit = user * 100_000 + (end_day - 1 - rows["day"].to_numpy()) // 7
        unit = np.unique(unit, return_inverse=True)[1].astype(np.int64)
        pairs, count = np.unique(unit * WEEK_HOURS + _hour_of_week(rows), return_counts=True)
        return cls(pairs % WEEK_HOURS, pairs // WEEK_HOURS, count)

    def rollings(self, settings: Settings) -> dict[str, np.ndarray]:
        """Counts of days and of hours under each rolling, ``[rolling, cell]``."""
        random = np.random.default_rng(settings.seed)
        cell = self.hour.astype(np.int16)
        plain = bool((self.count == 1).all())
        parts: dict[str, list[np.ndarray]] = {kind: [] for kind in CELLS}
        rollings = settings.rhythm_rollings
        step = max(1, AT_ONCE // max(len(cell), 1))
        for start in range(0, rollings, step):
            times = min(step, rollings - start)
            size = (times, self.unit.max() + 1)
            offsets = random.integers(0, WEEK_HOURS, size=size, dtype=np.int16)
            turned = (cell + offsets[:, self.unit]) % WEEK_HOURS
            weights = None if plain else np.broadcast_to(self.count, turned.shape).ravel()
            flat = (turned + np.arange(times, dtype=np.int32)[:, None] * WEEK_HOURS).ravel()
            table = np.bincount(flat, weights, minlength=times * WEEK_HOURS).reshape(times, 7, 24)
            parts["day"].append(table.sum(axis=2))
            parts["hour"].append(table.sum(axis=1))
        return {kind: np.concatenate(tables) for kind, tables in parts.items()}

    def rayleigh_p(self, kind: str) -> float:
        """p of no rhythm at all: three times the least over the harmonics of exp(−|Σ v|² / Σ |v|²), v per unit."""
        turn = self.hour / (WEEK_HOURS if kind == "day" else 24)
        least = 1.0
        for harmonic in range(1, HARMONICS + 1):
            angle = 2 * np.pi * harmonic * turn
            real, imaginary = (
                np.bincount(self.unit, self.count * part) for part in (np.cos(angle), np.sin(angle))
            )
            spread = (real**2 + imaginary**2).sum()
            if spread > 0:
                resultant = real.sum() ** 2 + imaginary.sum() ** 2
                least = min(least, float(np.exp(-resultant / spread)))
        return min(1.0, HARMONICS * least)


def rhythms(
    hours: pd.DataFrame, start_day: int, end_day: int, settings: Settings
) -> dict[str, Rhythm]:
    """The rhythm of days and of hours: which are peaks?

    ``hours`` has a row per active user-hour: user (any labels), day (since 1970), hour (local, 0–23), and k (the
    customer) where there are several; those in ``[start_day, end_day)`` are read, cut to whole weeks that end with it.

    >>> rows = pd.DataFrame([(user, day, hour) for user in range(5) for day in range(56) for hour in (8, 9, 10)],
    ...                     columns=["user", "day", "hour"])
    >>> rhythms(rows[(rows["hour"] == 9) | (rows["day"] % 7 == 0)], 0, 56, Settings())["hour"].peaks
    [9]
    """
    rows, reason = _whole_weeks(hours, start_day, end_day, settings)
    week = np.bincount(_hour_of_week(rows), minlength=WEEK_HOURS)
    cells = {kind: _cells(week, kind, settings) for kind in CELLS}
    if reason:
        return {kind: Rhythm(kind, cells[kind], float("nan"), reason) for kind in CELLS}
    rolled = _Rolled.of(rows, end_day, settings)
    rollings = rolled.rollings(settings)
    return {
        kind: _with_peaks(cells[kind], kind, rolled.rayleigh_p(kind), rollings[kind], settings)
        for kind in CELLS
    }


def rhythm_p(
    hours: pd.DataFrame, start_day: int, end_day: int, settings: Settings
) -> dict[str, float]:
    """The p of any rhythm at all, of days and of hours, for rows as ``rhythms`` reads them; 1 where too few."""
    rows, reason = _whole_weeks(hours, start_day, end_day, settings)
    if reason:
        return dict.fromkeys(CELLS, 1.0)
    rolled = _Rolled.of(rows, end_day, settings)
    return {kind: rolled.rayleigh_p(kind) for kind in CELLS}


def _whole_weeks(
    hours: pd.DataFrame, start_day: int, end_day: int, settings: Settings
) -> tuple[pd.DataFrame, str | None]:
    """The user-hours of the whole weeks that end with ``end_day``, and why there are too few, if so."""
    weeks, needed = (end_day - start_day) // 7, settings.rhythm_min_user_hours
    rows = hours[(hours["day"] >= end_day - 7 * weeks) & (hours["day"] < end_day)]
    rows = rows.drop_duplicates(["user", "day", "hour"])
    if weeks < settings.rhythm_min_weeks:
        return (
            rows,
            f"{counted(weeks, 'whole week')}, at least {settings.rhythm_min_weeks} are needed",
        )
    if len(rows) < needed:
        return rows, f"{len(rows)} active user-hours, at least {needed} are needed"
    return rows, None


def _hour_of_week(rows: pd.DataFrame) -> np.ndarray:
    """0 = Monday midnight."""
    return (rows["day"].to_numpy() + 3) % 7 * 24 + rows["hour"].to_numpy()


def _in_use_share(kind: str, settings: Settings) -> float:
    return settings.rhythm_day_in_use_share if kind == "day" else settings.rhythm_hour_in_use_share


def _cells(week: np.ndarray, kind: str, settings: Settings) -> pd.DataFrame:
    """The counts of the 168 hours of the week by day or by hour."""
    counts = week.reshape(7, 24).sum(axis=1 if kind == "day" else 0).astype(np.int64)
    share = counts / max(counts.sum(), 1)
    return pd.DataFrame(
        {
            "place": np.arange(CELLS[kind]),
            "user_hours": counts,
            "share": share,
            "in_use": (share >= _in_use_share(kind, settings)) & (counts > 0),
            "ratio": np.nan,
            "p": np.nan,
            "peak": False,
        }
    )


def _with_peaks(
    cells: pd.DataFrame, kind: str, rhythm_p: float, rollings: np.ndarray, settings: Settings
) -> Rhythm:
    in_use_share = _in_use_share(kind, settings)
    used, ratio, excess = (
        part[0] for part in _excess(cells["user_hours"].to_numpy()[None, :], in_use_share)
    )
    largest = _excess(rollings, in_use_share)[2].max(axis=1)
    reached = (largest[:, None] >= excess[None, :] - 1e-9).sum(axis=0)
    p = (1 + reached) / (len(rollings) + 1)
    peak = used & (ratio >= settings.peak_min_ratio) & (p < settings.peak_max_p)
    cells = cells.assign(
        in_use=used,
        ratio=np.where(used, ratio, np.nan),
        p=np.where(used, p, np.nan),
        peak=peak & (rhythm_p < settings.rhythm_max_p),
    )
    return Rhythm(kind, cells, rhythm_p)


def _excess(counts: np.ndarray, in_use_share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which cells are in use, their ratio to the mean of those, and their excess over it in its standard errors."""
    used = counts >= in_use_share * counts.sum(axis=1, keepdims=True)
    mean = (counts * used).sum(axis=1, keepdims=True) / np.maximum(
        used.sum(axis=1, keepdims=True), 1
    )
    mean = np.maximum(mean, 1e-12)
    excess = np.where(used, (counts - mean) / np.sqrt(mean), -np.inf)
    return used, np.where(used, counts / mean, 0.0), excess


def hour_ranges(hours: list[int]) -> list[str]:
    """Contiguous hours as ranges.

    >>> hour_ranges([9, 10, 14, 23]), hour_ranges([11, 12])
    (['9-11am', '2-3pm', '11pm-12am'], ['11am-1pm'])
    """
    ranges: list[list[int]] = []
    for hour in sorted(hours):
        if ranges and ranges[-1][1] == hour:
            ranges[-1][1] = hour + 1
        else:
            ranges.append([hour, hour + 1])
    return [_range_name(start, end) for start, end in ranges]


def _range_name(start: int, end: int) -> str:
    first, last = ((hour - 1) % 12 + 1 for hour in (start, end))
    half, other = ("am" if hour % 24 < 12 else "pm" for hour in (start, end))
    return f"{first}-{last}{other}" if half == other else f"{first}{half}-{last}{other}"


def user_hours(
    portfolio: Portfolio, clients: Sequence[str], start: dt.date, end: dt.date
) -> pd.DataFrame:
    """A row per user and hour in ``[start, end)`` with any activity, on the account's own clock.

    Columns: client_id, k (its position among the sorted ``clients``), user (a number), day (since 1970), weekday
    (0 = Monday), hour. Empty where events have no times.
    """
    names = sorted(clients)
    rows = hours_of(counting(portfolio, names, start, end), start, end)
    rows = rows[rows["user"] >= 0].drop_duplicates(["user", "day", "hour"])
    rows = rows.sort_values(["user", "day", "hour"], kind="stable", ignore_index=True)
    rows = rows[["k", "user", "day", "hour"]].astype(np.int64)
    client = np.array(names, dtype=object)[rows["k"]]
    return rows.assign(client_id=client, weekday=(rows["day"] + 3) % 7)


def week_table(rows: pd.DataFrame, unit: np.ndarray, units: int) -> np.ndarray:
    """User-hours by unit and hour of the week."""
    flat = unit * WEEK_HOURS + _hour_of_week(rows).astype(np.int64)
    return np.bincount(flat, minlength=units * WEEK_HOURS).reshape(units, WEEK_HOURS).astype(float)


@dataclass(frozen=True)
class WeekCells:
    """Cells of the week, and what each is compared with.

    ``own[cell, hour of the week]`` is 1 within the cell; ``like[cell, hour of the week]`` adds up to the mean of the
    cells in use that it is compared with.
    """

    key: list[str]
    own: np.ndarray
    like: np.ndarray


def cells_of(counts: np.ndarray, settings: Settings) -> WeekCells:
    """The weekdays, the hours in use and the parts of weekdays in use, from the counts of the 168 hours of the week.

    Days that are not in use are compared too (they may be low); hours of the night without activity are not.
    """
    grid = counts.reshape(7, 24)
    total = max(grid.sum(), 1)
    days = grid.sum(axis=1) >= settings.rhythm_day_in_use_share * total
    hours = grid.sum(axis=0) >= settings.rhythm_hour_in_use_share * total
    by_part = grid.reshape(7, 4, 6).sum(axis=(0, 2))
    parts = by_part >= settings.rhythm_part_in_use_share * total
    weekday, hour = np.divmod(np.arange(WEEK_HOURS), 24)
    part = hour // 6
    of_days = days[weekday] / max(days.sum(), 1)
    of_hours = hours[hour] / max(hours.sum(), 1)
    rows = [(f"day:{DAY_NAMES[at]}", weekday == at, of_days) for at in range(7)]
    rows += [(f"hour:{at:02d}", hour == at, of_hours) for at in np.flatnonzero(hours)]
    rows += [
        (
            f"part:{DAY_NAMES[at]} {PARTS[which]}",
            (weekday == at) & (part == which),
            of_days * (part == which),
        )
        for at in np.flatnonzero(days)
        for which in np.flatnonzero(parts)
    ]
    keys, own, like = zip(*rows, strict=True)
    return WeekCells(list(keys), np.array(own, dtype=float), np.array(like, dtype=float))


def compare_cells(weeks: np.ndarray, cells: WeekCells) -> pd.DataFrame:
    """Every cell's user-hours over those of its like (lift), its interval at 95%, and p (two-sided).

    ``weeks[unit, hour of the week]`` are the user-hours of independent units: users' weeks, or customers.
    Columns: key, user_hours, expected, lift, lower, upper, p.
    """
    own, like = weeks @ cells.own.T, weeks @ cells.like.T
    count, expected = own.sum(axis=0), like.sum(axis=0)
    excess, units = own - like, len(weeks)
    # of a single unit there is no spread: p is 1
    spread = excess.std(axis=0, ddof=1) if units > 1 else np.full(len(cells.key), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = excess.mean(axis=0) / (spread / np.sqrt(units))
        lift = count / expected
        error = np.sqrt(((own - lift * like) ** 2).sum(axis=0)) / np.maximum(count, 0.5)
    return pd.DataFrame(
        {
            "key": cells.key,
            "user_hours": count,
            "expected": expected,
            "lift": lift,
            "lower": lift * np.exp(-Z_95 * error),
            "upper": lift * np.exp(Z_95 * error),
            "p": 2 * scipy.special.stdtr(max(units - 1, 1), -np.abs(np.nan_to_num(t))),
        }
    )
