"""Long frames in: checked, sorted, and laid on each series' own regular grid.

Instants are whole microseconds since 1970 without a time zone, so that neither the machine's zone nor a column's
resolution changes a result.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters, hint

COLUMNS = ("client_id", "date", "value")
MAX_VALUE = 1e100  # squares of larger values leave the range of floating point
MAX_STEPS = 1_000_000  # of a grid; more means another spacing than the caller thinks
DATE_RULE = "dates without a time zone, or integers"
HOUR = 3_600_000_000
DAY = 24 * HOUR
# a weekday that never came in three weeks is closed; one that comes in half of the weeks is open
BUSINESS_MIN_WEEKS, BUSINESS_MIN_SHARE = 3, 0.5
# months between dates, by the days between them
MONTHS_BY_DAYS = {
    1: (28, 31),
    2: (59, 62),
    3: (89, 92),
    4: (120, 123),
    6: (181, 184),
    12: (365, 366),
}


@dataclass(frozen=True)
class Bounds:
    lower: float | None = None
    upper: float | None = None

    def clip(self, values: np.ndarray) -> np.ndarray:
        low = -np.inf if self.lower is None else self.lower
        high = np.inf if self.upper is None else self.upper
        return np.clip(values, low, high)


@dataclass(frozen=True)
class Spacing:
    """A regular grid: ``months`` calendar months apart, else ``step`` units (microseconds, or 1 of an index).

    ``day`` is the day of the month that a grid of months falls on; 31 is its last. ``open_days`` are the weekdays
    (Monday 0) that a grid of days keeps to; all where empty.
    """

    season_length: int
    step: int = 0
    months: int = 0
    day: int = 0
    open_days: tuple[int, ...] = ()

    def positions(self, instants: np.ndarray) -> np.ndarray | None:
        """Steps since the first instant, or None where one lies off the grid."""
        offsets, step = instants - instants[0], self.step
        if self.open_days:
            dates, same_clock = _dates(instants), not (offsets % DAY).any()
            if not (same_clock and np.is_busday(dates, self._week).all()):
                return None
            return np.busday_count(dates[0], dates, self._week).astype(np.int64)
        if self.months:
            months, days, clock = _calendar(instants)
            on_day = days == np.minimum(self.day or days[0], _days_in_month(months))
            if not (on_day.all() and (clock == clock[0]).all()):
                return None
            offsets, step = months - months[0], self.months
        return None if (offsets % step).any() else offsets // step

    def following(self, last: int, horizon: int) -> np.ndarray:
        """The ``horizon`` instants after ``last``."""
        ahead = np.arange(1, horizon + 1)
        if self.open_days:
            date = _dates(np.array([last]))[0]
            dates = np.busday_offset(date, ahead, weekmask=self._week)
            return last + (dates - date).astype(np.int64) * DAY
        if not self.months:
            return last + ahead * self.step
        months, days, clock = _calendar(np.array([last]))
        months = months[0] + ahead * self.months
        day = np.minimum(self.day or days[0], _days_in_month(months))
        return _first_of(months) + (day - 1) * DAY + clock[0]

    @property
    def _week(self) -> list[bool]:
        return [day in self.open_days for day in range(7)]

    def anchored(self, instants: np.ndarray) -> Spacing:
        """The spacing with its day of the month from the dates."""
        return replace(self, day=_month_day(instants)) if self.months else self


INDEX = Spacing(season_length=1, step=1)
SPACINGS = {
    "hourly": Spacing(24, HOUR),
    "daily": Spacing(7, DAY),
    "weekly": Spacing(52, 7 * DAY),
    "monthly": Spacing(12, months=1),
    "quarterly": Spacing(4, months=3),
    "yearly": Spacing(1, months=12),
}


def detect(instants: np.ndarray) -> Spacing | None:
    """The spacing of two or more sorted, distinct instants; None for fewer.

    It is their median difference, or where that leaves dates off the grid, as gaps do, their smallest. Months are
    recognised where every date has the same day of the month (or is a month's last), below a day the season is the day,
    and any other regular spacing has no season. Days of which some weekdays never come, in at least three weeks, are a
    grid of the others: a market's, an office's.
    """
    if len(instants) < 2:
        return None
    business = _business_days(instants)
    if business is not None:
        return business
    gaps = np.sort(np.diff(instants))
    candidates = [_from_step(int(step), instants) for step in (gaps[(len(gaps) - 1) // 2], gaps[0])]
    fitting = (spacing for spacing in candidates if spacing.positions(instants) is not None)
    return next(fitting, candidates[0])


def _dates(instants: np.ndarray) -> np.ndarray:
    return instants.astype("datetime64[us]").astype("datetime64[D]")


def _business_days(instants: np.ndarray) -> Spacing | None:
    """The grid of the weekdays that come, each in at least half of the weeks; None where all or a single one do."""
    offsets = instants - instants[0]
    weeks = offsets[-1] / (7 * DAY)
    if weeks < BUSINESS_MIN_WEEKS or (offsets % DAY).any():
        return None
    counts = np.bincount((_dates(instants).astype(np.int64) + 3) % 7, minlength=7)
    open_days = np.flatnonzero(counts)
    regular = (counts[open_days] >= BUSINESS_MIN_SHARE * weeks).all()
    if not 1 < len(open_days) < 7 or not regular:
        return None
    return Spacing(len(open_days), DAY, open_days=tuple(open_days.tolist()))


def _from_step(step: int, instants: np.ndarray) -> Spacing:
    for months, (least, most) in MONTHS_BY_DAYS.items():
        if least * DAY <= step <= most * DAY:
            spacing = Spacing(12 // months, months=months, day=_month_day(instants))
            if spacing.positions(instants) is not None:
                return spacing
    within_day = DAY // step if step < DAY and DAY % step == 0 else 1
    return Spacing({DAY: 7, 7 * DAY: 52}.get(step, within_day), step)


def _month_day(instants: np.ndarray) -> int:
    months, days, _ = _calendar(instants)
    return 31 if (days == _days_in_month(months)).all() else int(days.max())


def _calendar(instants: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Months since 1970, day of the month, microseconds of the day."""
    months = instants.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    into = instants - _first_of(months)
    return months, into // DAY + 1, into % DAY


def _first_of(months: np.ndarray) -> np.ndarray:
    return months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)


def _days_in_month(months: np.ndarray) -> np.ndarray:
    return (_first_of(months + 1) - _first_of(months)) // DAY


@dataclass(frozen=True)
class Series:
    """One client's values on a regular grid from ``first``; steps without a value are interpolated and marked."""

    client_id: Any
    first: int
    last: int
    values: np.ndarray
    known: np.ndarray
    spacing: Spacing
    season_length: int

    @property
    def missing_share(self) -> float:
        return 1 - float(self.known.mean())


@dataclass(frozen=True)
class SeriesSet:
    """The series of a frame in order of client_id, and the types of its columns."""

    series: tuple[Series, ...]
    empty: tuple[Any, ...]  # clients whose every value is missing
    by_date: bool
    dtype: Any  # of client_id

    def dates(self, instants: np.ndarray) -> np.ndarray:
        return instants.astype("datetime64[us]") if self.by_date else instants

    def clients(self, ids: list[Any]) -> pd.Series:
        return pd.Series(ids, dtype=self.dtype)


def refuse(message: str, parameter: str, value: Any, rule: str) -> NoReturn:
    raise InvalidParameters(
        message, parameter=parameter, value_provided=str(value)[:200], validation_rule=rule
    )


def whole(value: Any, parameter: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        rule = "a whole number of at least 1"
        refuse(f"{parameter} {value!r} is not {rule}", parameter, value, rule)
    return int(value)


def share(value: Any, parameter: str = "level") -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        rule = "a number between 0 and 1, such as 0.9"
        refuse(f"{parameter} {value!r} is not {rule}", parameter, value, rule)
    return float(value)


def bounds(lower: Any, upper: Any) -> Bounds:
    limits = {"lower_bound": lower, "upper_bound": upper}
    for name, value in limits.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if value is not None and not (is_number and np.isfinite(value)):
            message = f"{name} {value!r} is not a finite number: leave it out if unknown"
            refuse(message, name, value, "a finite number or None")
    if lower is not None and upper is not None and not lower < upper:
        message = f"lower_bound {lower} does not lie below upper_bound {upper}"
        refuse(message, "lower_bound", lower, "lower_bound < upper_bound")
    return Bounds(*(None if value is None else float(value) for value in limits.values()))


def read(
    frame: pd.DataFrame | pd.Series,
    limits: Bounds,
    season_length: int | None = None,
    spacing: str | None = None,
) -> SeriesSet:
    """The checked series of a long frame, whose order of rows and columns does not matter, or of one Series by date."""
    frame = _long(frame)
    _check_columns(frame)
    instants, by_date = _instants(frame["date"])
    codes, clients = _clients(frame["client_id"])
    values = _numbers(frame["value"])
    outside = values[(limits.clip(values) != values) & ~np.isnan(values)]
    if len(outside):
        lies = f"lies outside the bounds {limits.lower} to {limits.upper} that were given"
        rule = "lower_bound <= value <= upper_bound"
        refuse(f"value {outside[0]:g} {lies}", "value", outside[0], rule)
    order = np.lexsort((instants, codes))
    codes, instants, values = codes[order], instants[order], values[order]
    _check_duplicates(codes, instants, clients, by_date)
    known = ~np.isnan(values)
    present = np.unique(codes[known])
    empty = tuple(clients[code] for code in np.setdiff1d(codes, present))
    codes, instants, values = codes[known], instants[known], values[known]
    cuts = np.searchsorted(codes, present)[1:]
    dates, amounts = np.split(instants, cuts), np.split(values, cuts)
    if not len(present):
        dates = amounts = []
    grids = _spacings(dates, by_date, spacing)
    series = tuple(
        _series(clients[code], when, what, grid, season_length)
        for code, when, what, grid in zip(present, dates, amounts, grids, strict=True)
    )
    return SeriesSet(series, empty, by_date, frame["client_id"].dtype)


def _long(frame: Any) -> Any:
    """A Series by date as a frame of one client, who has its name."""
    if not isinstance(frame, pd.Series):
        return frame
    dates = frame.index.to_timestamp() if isinstance(frame.index, pd.PeriodIndex) else frame.index
    client_id = "series" if frame.name is None else frame.name
    columns = {"client_id": client_id, "date": dates, "value": frame.to_numpy()}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))


def _check_columns(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        kind = type(frame).__name__
        message = f"frame is a {kind}: give a pandas DataFrame with {', '.join(COLUMNS)}, or a Series by date"
        refuse(message, "frame", kind, "a DataFrame or a Series by date")
    names = [str(name) for name in frame.columns]
    listed = ", ".join(names)
    for column in COLUMNS:
        if column not in frame.columns:
            message = f"frame has no column {column!r} (it has {listed or 'none'})"
            rule = "columns " + ", ".join(COLUMNS)
            refuse(message + hint(column, names), "frame", listed, rule)
        if names.count(column) > 1:
            message = f"frame has more than one column {column!r}"
            refuse(message, "frame", column, "one column of each name")


def _instants(dates: pd.Series) -> tuple[np.ndarray, bool]:
    """Microseconds since 1970, or the integers of an index."""
    if dates.isna().any():
        row = dates.index[dates.isna()][0]
        refuse(f"date is missing in row {row}", "date", None, DATE_RULE)
    if pd.api.types.is_integer_dtype(dates):
        return dates.to_numpy(dtype=np.int64), False
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        zone = dates.dt.tz
        message = (
            f"date has the time zone {zone}: turn it into local dates or into UTC without a zone "
            "first"
        )
        refuse(message, "date", zone, DATE_RULE)
    if not pd.api.types.is_datetime64_dtype(dates):
        dates = pd.Series([_instant(date) for date in dates], dtype="datetime64[us]")
    return dates.to_numpy().astype("datetime64[us]").astype(np.int64), True


def _instant(date: Any) -> np.datetime64:
    try:
        if isinstance(date, str):
            date = dt.datetime.fromisoformat(date.strip())
        if isinstance(date, dt.date) and getattr(date, "tzinfo", None) is None:
            return np.datetime64(date, "us")
    except ValueError:
        pass
    refuse(f"date {date!r} is not a date: give {DATE_RULE}", "date", date, DATE_RULE)


def _clients(ids: pd.Series) -> tuple[np.ndarray, list[Any]]:
    if ids.isna().any():
        row = ids.index[ids.isna()][0]
        refuse(f"client_id is missing in row {row}", "client_id", None, "no missing client_id")
    try:
        codes, clients = pd.factorize(ids, sort=True)
    except TypeError:
        message = (
            "client_id holds values that can't be sorted or compared: give text, or whole numbers"
        )
        refuse(message, "client_id", ids.iloc[0], "text or whole numbers")
    return codes, list(clients)


def _numbers(values: pd.Series) -> np.ndarray:
    rule = f"a finite number of at most {MAX_VALUE:g} in size, or missing"
    is_numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not is_numeric:
        for value in values[values.notna()]:
            if isinstance(value, bool) or not isinstance(value, Real | Decimal):
                refuse(f"value {value!r} is not {rule}", "value", value, rule)
        values = values.where(values.notna(), np.nan).astype(float)
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    for number in numbers[~np.isnan(numbers) & ~(np.abs(numbers) <= MAX_VALUE)][:1]:
        refuse(f"value {number} is not {rule}", "value", number, rule)
    return numbers


def _check_duplicates(
    codes: np.ndarray, instants: np.ndarray, clients: list[Any], by_date: bool
) -> None:
    twice = np.flatnonzero((np.diff(codes) == 0) & (np.diff(instants) == 0))
    if len(twice):
        client, instant = clients[codes[twice[0]]], np.int64(instants[twice[0]])
        date = str(instant.astype("datetime64[us]") if by_date else instant)
        date = date.removesuffix("T00:00:00.000000")
        message = (
            f"client {client!r} has more than one row on {date}: add them up or take one first"
        )
        refuse(message, "date", date, "one row per client_id and date")


def _spacings(instants: list[np.ndarray], by_date: bool, name: str | None) -> Iterable[Spacing]:
    """Each series' own spacing; one with a single value takes the commonest."""
    if not by_date:
        if name is not None:
            message = "spacing is for dates: an integer index is one step apart"
            refuse(message, "spacing", name, "None with integers")
        return [INDEX] * len(instants)
    if name is not None:
        if name not in SPACINGS:
            known = ", ".join(SPACINGS)
            message = f"spacing {name!r} is unknown: must be one of {known}{hint(name, SPACINGS)}"
            refuse(message, "spacing", name, "one of " + known)
        return [SPACINGS[name].anchored(when) for when in instants]
    detected = [detect(when) for when in instants]
    counts = Counter(spacing for spacing in detected if spacing)
    if detected and not counts:
        message = (
            "no series has two dates to tell their spacing from: give spacing, such as "
            "spacing='weekly'"
        )
        refuse(message, "spacing", None, "needed where every series has a single value")
    ranked = sorted(counts, key=lambda grid: (-counts[grid], grid.step, grid.months, grid.day))
    return [
        spacing or ranked[0].anchored(when)
        for spacing, when in zip(detected, instants, strict=True)
    ]


def _series(
    client: Any, instants: np.ndarray, values: np.ndarray, spacing: Spacing, season: int | None
) -> Series:
    positions = spacing.positions(instants)
    if positions is None:
        message = (
            f"the dates of client {client!r} are not evenly spaced: bring them to one per hour, day, "
            "week, month, quarter or year first (steps may be missing)"
        )
        refuse(message, "date", client, "evenly spaced dates")
    length = int(positions[-1]) + 1
    if length > MAX_STEPS:
        message = f"the dates of client {client!r} span {length:,} steps, mostly empty: give coarser dates"
        refuse(message, "date", client, f"at most {MAX_STEPS:,} steps from first to last")
    known = np.zeros(length, dtype=bool)
    known[positions] = True
    return Series(
        client,
        int(instants[0]),
        int(instants[-1]),
        np.interp(np.arange(length), positions, values),
        known,
        spacing,
        _season_length(spacing, season),
    )


def _season_length(spacing: Spacing, season: int | None) -> int:
    """The season in steps: a week of seven days has as many as it has open days."""
    if season is None or (spacing.open_days and season == 7):
        return spacing.season_length
    return season
