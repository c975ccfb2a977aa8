"""Seasons of a series: the week, the quarter, the year, each only where two full cycles have been seen.

STL (Cleveland et al. 1990) parts the logs of a series into trend, season and rest. The strength of the season is
1 − Var(rest) / Var(season + rest) (Wang, Smith & Hyndman 2006); a season is spoken of from a strength of 0.64 on
(Hyndman & Athanasopoulos 2021, §4.3 and their ``nsdiffs``), where also each cycle turned by a chance offset gives so
strong a mean cycle in at most one of a hundred drawings: two cycles of noise agree by chance more often than it seems.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.metrics.counting import EPOCH

CYCLES = {"week": 7, "quarter": 13, "year": 52}  # in days; in weeks
LEAST_STRENGTH = 0.64
DRAWS, MOST_P = 199, 0.01
LEAST_CYCLES = 2


@dataclass(frozen=True)
class Season:
    """A cycle: ``effect[place]`` is the factor on a usual day (week) at each place of the cycle, None where ``reason``
    says why it is not estimable; ``found`` says whether it is no chance."""

    cycle: str
    cycles_seen: float
    strength: float | None
    p: float | None
    effect: list[float] | None
    found: bool
    reason: str | None = None

    @property
    def high(self) -> tuple[int, float] | None:
        """Place and factor of the cycle's top."""
        return None if self.effect is None else max(enumerate(self.effect), key=lambda one: one[1])

    @property
    def low(self) -> tuple[int, float] | None:
        return None if self.effect is None else min(enumerate(self.effect), key=lambda one: one[1])


def seasons(days: pd.DataFrame, seed: int = 7) -> list[Season]:
    """The week (places 0 = Monday), the quarter (weeks since the calendar quarter's first) and the year (ISO weeks).

    ``days``: day (since 1970) and person_events, without gaps.

    >>> days = pd.DataFrame({"day": np.arange(20_000, 20_070), "person_events": 50.0})
    >>> days.loc[(days["day"] + 3) % 7 == 2, "person_events"] = 100.0
    >>> [(one.cycle, one.found, one.reason) for one in seasons(days)][:2]
    [('week', True, None), ('quarter', False, '0.7 cycles seen, two full ones are needed')]
    """
    day, events = days["day"].to_numpy(dtype=np.int64), days["person_events"].to_numpy(dtype=float)
    weekly, monday = _weeks(day, events)
    place = {
        "week": (day + 3) % 7,
        "quarter": _week_of_quarter(monday),
        "year": _week_of_year(monday),
    }
    return [
        _season(name, np.log1p(events if name == "week" else weekly), place[name], length, seed)
        for name, length in CYCLES.items()
    ]


def _weeks(day: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of whole weeks from Monday, and the Mondays."""
    first = int(-(day[0] + 3) % 7) if len(day) else 0
    whole = (len(day) - first) // 7
    return events[first : first + 7 * whole].reshape(whole, 7).sum(axis=1), day[
        first : first + 7 * whole : 7
    ]


def _week_of_quarter(monday: np.ndarray) -> np.ndarray:
    dates = [EPOCH + dt.timedelta(days=int(day)) for day in monday]
    starts = [dt.date(date.year, 3 * ((date.month - 1) // 3) + 1, 1) for date in dates]
    return np.array(
        [min((date - start).days // 7, 12) for date, start in zip(dates, starts, strict=True)],
        dtype=int,
    )


def _week_of_year(monday: np.ndarray) -> np.ndarray:
    dates = [EPOCH + dt.timedelta(days=int(day)) for day in monday]
    return np.array([min(date.isocalendar().week, 52) - 1 for date in dates], dtype=int)


def _season(name: str, logs: np.ndarray, place: np.ndarray, length: int, seed: int) -> Season:
    seen = len(logs) / length
    if seen < LEAST_CYCLES:
        return Season(
            name, seen, None, None, None, False, f"{seen:.1f} cycles seen, two full ones are needed"
        )
    from statsmodels.tsa.seasonal import STL  # takes longer to import than a response to make

    parts = STL(logs, period=length, robust=True).fit()
    both = float(np.var(parts.seasonal + parts.resid))
    strength = max(0.0, 1 - float(np.var(parts.resid)) / both) if both > 0 else 0.0
    p = _turned_p(logs - parts.trend, length, seed) if strength >= LEAST_STRENGTH else 1.0
    effect = [
        float(np.exp(np.mean(parts.seasonal[place == at]))) if (place == at).any() else 1.0
        for at in range(length)
    ]
    return Season(name, seen, strength, p, effect, strength >= LEAST_STRENGTH and p <= MOST_P)


def _turned_p(detrended: np.ndarray, length: int, seed: int) -> float:
    """How often cycles turned by chance offsets have a mean cycle that varies as much."""
    cycles = len(detrended) // length
    table = detrended[len(detrended) - cycles * length :].reshape(cycles, length)
    random = np.random.default_rng(seed)
    own = float(np.var(table.mean(axis=0)))
    at = (np.arange(length) + random.integers(0, length, size=(DRAWS, cycles, 1))) % length
    drawn = np.var(table[np.arange(cycles)[None, :, None], at].mean(axis=1), axis=1)
    return float((1 + (drawn >= own - 1e-12).sum()) / (DRAWS + 1))
