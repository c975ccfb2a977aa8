"""Days that are not like the same weekdays around them."""
from __future__ import annotations

import numpy as np
import pandas as pd

WEEKS_AROUND = 8             # on each side, as far as the series goes
LEAST_DAYS = 6
LEAST_Z = 4.5                # one day of three years in a series of counts without any
LEAST_CHANGE = 0.20


def departures(values: np.ndarray, least_z: float = LEAST_Z) -> pd.DataFrame:
    """Which days of a daily series depart from their weekday?

    A day is held against the median of the same weekday in the eight weeks before and after it (as far as the series
    goes, at least 6 of them); the spread is the largest of 1.4826 × their median absolute deviation, the root of the
    median (Poisson's, for counts) and ½. Reported are days at least 4.5 spreads and 20 % away from the median.
    Columns, a row a departing day: place (in the series), value, expected, ratio, z.

    >>> departures(np.array([70.0] * 30 + [7.0] + [70.0] * 30)).round(2).values.tolist()
    [[30.0, 7.0, 70.0, 0.1, -7.53]]
    """
    values = np.asarray(values, dtype=float)
    like = around(values, np.arange(len(values)))
    enough = np.isfinite(like).sum(axis=1) >= LEAST_DAYS
    like, day = like[enough], np.flatnonzero(enough)
    if not len(day):
        return pd.DataFrame({name: [] for name in ("place", "value", "expected", "ratio", "z")}, dtype=float)
    middle = np.nanmedian(like, axis=1)
    spread = 1.4826 * np.nanmedian(np.abs(like - middle[:, None]), axis=1)
    spread = np.maximum(np.maximum(spread, np.sqrt(middle)), 0.5)
    z, away = (values[day] - middle) / spread, np.abs(values[day] - middle)
    found = (np.abs(z) >= least_z) & (away >= LEAST_CHANGE * middle) & (middle > 0)
    ratio = np.divide(values[day], middle, out=np.full(len(day), np.nan), where=middle > 0)
    frame = pd.DataFrame({"place": day, "value": values[day], "expected": middle, "ratio": ratio, "z": z})
    return frame[found].reset_index(drop=True)


def around(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The same weekday's values in the weeks around each place, NaN beyond the series' ends."""
    shifts = 7 * np.r_[np.arange(-WEEKS_AROUND, 0), np.arange(1, WEEKS_AROUND + 1)]
    place = np.asarray(places)[:, None] + shifts[None, :]
    inside = (place >= 0) & (place < len(values))
    return np.where(inside, values[np.clip(place, 0, max(len(values) - 1, 0))], np.nan)
