"""The portfolio's own clock: days, steps, random streams, and local time to UTC and back."""

from __future__ import annotations

import datetime as dt
import zlib
from dataclasses import dataclass

import numpy as np

from healthseg.periods import zone_offsets

LAST_DAY = dt.date(2025, 10, 10)
STEP_DAYS = 30
DAY_SECONDS = 86_400
DAY_MS = DAY_SECONDS * 1_000


def epoch_day(day: dt.date) -> int:
    """Days since 1970-01-01.

    >>> epoch_day(dt.date(1970, 1, 11))
    10
    """
    return (day - dt.date(1970, 1, 1)).days


@dataclass(frozen=True)
class Frame:
    """The portfolio's days: ``start`` as an epoch day, and how many follow, the last one included."""

    start: int
    days: int

    @property
    def end(self) -> int:
        """The portfolio's last day."""
        return self.start + self.days - 1

    @property
    def steps(self) -> np.ndarray:
        """Day numbers (0 = the first day) on which the hazard's 30-day steps begin.

        The first 30 days have no step: nothing has been counted before them.
        """
        return np.arange(STEP_DAYS, self.days, STEP_DAYS)

    @property
    def weeks(self) -> int:
        return self.days // 7 + 1


def frame(months: int) -> Frame:
    """The frame of so many whole months that end with 2025-10-10.

    >>> frame(18).days
    548
    """
    after = LAST_DAY + dt.timedelta(days=1)
    years, month = divmod(after.year * 12 + after.month - 1 - months, 12)
    start = epoch_day(dt.date(years, month + 1, after.day))
    return Frame(start, epoch_day(after) - start)


def stream(seed: int, chunk: int, subject: str) -> np.random.Generator:
    """The random numbers of one subject in one chunk: a subject never shifts another's draws."""
    return np.random.default_rng([seed, chunk, zlib.crc32(subject.encode())])


class Zones:
    """Offsets of a list of zones, by UTC hour, for the portfolio's days and some around them."""

    MARGIN_DAYS = 4

    def __init__(self, names: list[str], days: Frame) -> None:
        self.names = names
        low = days.start - self.MARGIN_DAYS
        high = days.end + self.MARGIN_DAYS
        self._first_hour = low * 24
        self._table = np.zeros((len(names), (high - low) * 24), np.int64)
        place = {name: row for row, name in enumerate(names)}
        span = [dt.date(1970, 1, 1) + dt.timedelta(days=day) for day in (low, high)]
        for name, since, until, offset in zone_offsets(names, *span):
            hours = slice(since // 3600 - self._first_hour, until // 3600 - self._first_hour)
            self._table[place[name], hours] = offset * 1_000

    def _offset_ms(self, utc_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        hour = utc_ms // 3_600_000 - self._first_hour
        return self._table[zone, np.clip(hour, 0, self._table.shape[1] - 1)]

    def to_utc(self, local_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        """UTC of a wall clock; an hour that daylight saving skips becomes the next one."""
        guess = local_ms - self._offset_ms(local_ms, zone)
        return local_ms - self._offset_ms(guess, zone)

    def local_day(self, utc_ms: np.ndarray, zone: np.ndarray) -> np.ndarray:
        """The account-local epoch day of an instant, exact across daylight saving."""
        return (utc_ms + self._offset_ms(utc_ms, zone)) // DAY_MS
