"""How far apart the dates of a series lie, where each falls on that grid, and the dates that follow.

Instants are whole microseconds since 1970 without a time zone, so that neither
the machine's zone nor a column's resolution changes a response.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from healthseg.errors import InvalidParameters, hint

HOUR = 3_600_000_000
DAY = 24 * HOUR
MONTHS_BY_DAYS = {
    1: (28, 31),
    2: (59, 62),
    3: (89, 92),
    4: (120, 123),
    6: (181, 184),
    12: (365, 366),
}


@dataclass(frozen=True)
class Spacing:
    """A regular grid: ``months`` calendar months apart, else ``step`` units (microseconds, or 1 of an index).

    ``day`` is the day of the month that a grid of months falls on; 31 is its last.
    """

    season_length: int
    step: int = 0
    months: int = 0
    day: int = 0

    def positions(self, instants: np.ndarray) -> np.ndarray | None:
        """Steps since the first instant, or None where one lies off the grid."""
        if self.months:
            months, days, clock = _calendar(instants)
            on_day = days == np.minimum(self.day or days[0], _days_in_month(months))
            offsets, step = months - months[0], self.months
            if not (on_day.all() and (clock == clock[0]).all()):
                return None
        else:
            offsets, step = instants - instants[0], self.step
        return None if (offsets % step).any() else offsets // step

    def following(self, last: int, horizon: int) -> np.ndarray:
        """The ``horizon`` instants after ``last``."""
        ahead = np.arange(1, horizon + 1)
        if not self.months:
            return last + ahead * self.step
        months, days, clock = _calendar(np.array([last]))
        then = months[0] + ahead * self.months
        day = np.minimum(self.day or days[0], _days_in_month(then))
        return _first_of(then) + (day - 1) * DAY + clock[0]


INDEX = Spacing(season_length=1, step=1)
NAMED = {
    "hourly": Spacing(24, HOUR),
    "daily": Spacing(7, DAY),
    "weekly": Spacing(52, 7 * DAY),
    "monthly": Spacing(12, months=1),
    "quarterly": Spacing(4, months=3),
    "yearly": Spacing(1, months=12),
}


def named(name: str) -> Spacing:
    """The spacing called ``name``.

    >>> named("weekly").season_length
    52
    """
    if name not in NAMED:
        raise InvalidParameters(
            f"spacing {name!r} is not known: give one of {', '.join(NAMED)}{hint(name, NAMED)}",
            parameter="spacing",
            value_provided=str(name),
            validation_rule="one of " + ", ".join(NAMED),
        )
    return NAMED[name]


def anchored(spacing: Spacing, instants: np.ndarray) -> Spacing:
    """The spacing with its day of the month read off the dates."""
    return replace(spacing, day=_month_day(instants)) if spacing.months else spacing


def detect(instants: np.ndarray) -> Spacing | None:
    """The spacing of two or more sorted, distinct instants; None for fewer.

    It is their median difference, or where that leaves dates off the grid, as
    gaps do, their smallest. Months are recognised where every date has the same
    day of the month (or is a month's last), below a day the season is the day,
    and any other regular spacing has no season.
    """
    if len(instants) < 2:
        return None
    gaps = np.sort(np.diff(instants))
    candidates = [_from_step(int(step), instants) for step in (gaps[(len(gaps) - 1) // 2], gaps[0])]
    return next(
        (grid for grid in candidates if grid.positions(instants) is not None), candidates[0]
    )


def _from_step(step: int, instants: np.ndarray) -> Spacing:
    for months, (least, most) in MONTHS_BY_DAYS.items():
        if least * DAY <= step <= most * DAY:
            found = Spacing(12 // months, months=months, day=_month_day(instants))
            if found.positions(instants) is not None:
                return found
    seasons = {DAY: 7, 7 * DAY: 52}
    within_day = DAY // step if step < DAY and DAY % step == 0 else 1
    return Spacing(seasons.get(step, within_day), step)


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
