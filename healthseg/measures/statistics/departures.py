"""Days that are not like the same weekdays around them."""
from __future__ import annotations

import numpy as np
import pandas as pd

WEEKS_AROUND = 8             # on each side, as far as the series goes
LEAST_DAYS = 6
LEAST_Z = 4.5                # one day of three years in a series of counts without any
LEAST_CHANGE = 0.20


def departures(values: np.ndarray, least_z: float = LEAST_Z) -> pd.DataFrame:
    """Which days of a daily series of counts depart from their weekday?

    A day is held against the median m of the same weekday in the eight weeks before and after it (as far as the series
    goes, at least 6 of them), on the scale of roots, where counts of any size have like spreads: 2·(√value − √m). The
    spread is 1.4826 × the median absolute value of that over all days of the series, at least 1 (Poisson's): sixteen
    weekdays alone tell it too badly. Reported are days at least 4.5 spreads and 20 % away.
    Columns, a row a departing day: place (in the series), value, expected, ratio, z.

    >>> departures(np.array([70.0] * 30 + [7.0] + [70.0] * 30)).round(2).values.tolist()
    [[30.0, 7.0, 70.0, 0.1, -11.44]]
    """
    values = np.asarray(values, dtype=float)
    like = around(values, np.arange(len(values)))
    enough = np.isfinite(like).sum(axis=1) >= LEAST_DAYS
    like, day = like[enough], np.flatnonzero(enough)
    if not len(day):
        return pd.DataFrame({name: [] for name in ("place", "value", "expected", "ratio", "z")}, dtype=float)
    middle = np.nanmedian(like, axis=1)
    away = 2 * (np.sqrt(values[day]) - np.sqrt(middle))
    z = away / max(1.4826 * float(np.median(np.abs(away))), 1.0)
    found = (np.abs(z) >= least_z) & (np.abs(values[day] - middle) >= LEAST_CHANGE * middle) & (middle > 0)
    ratio = np.divide(values[day], middle, out=np.full(len(day), np.nan), where=middle > 0)
    frame = pd.DataFrame({"place": day, "value": values[day], "expected": middle, "ratio": ratio, "z": z})
    return frame[found].reset_index(drop=True)


def around(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The same weekday's values in the weeks around each place, NaN beyond the series' ends."""
    shifts = 7 * np.r_[np.arange(-WEEKS_AROUND, 0), np.arange(1, WEEKS_AROUND + 1)]
    place = np.asarray(places)[:, None] + shifts[None, :]
    inside = (place >= 0) & (place < len(values))
    return np.where(inside, values[np.clip(place, 0, max(len(values) - 1, 0))], np.nan)
