"""Forecasts of one series or ten thousand, each with an interval and the name of its method.

The mean of Theta, the dynamic optimised Theta model and the damped trend: means of simple methods
came near the top in every M competition (Makridakis and Hibon 2000; Makridakis, Spiliotis and
Assimakopoulos 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.frames import Bounds
from healthseg.forecasting.intervals import half_widths
from healthseg.forecasting.models import (
    Member,
    Naive,
    SeasonalIndices,
    find_season,
    fit_damped_trend,
    fit_dynamic_theta,
    fit_theta,
)
from healthseg.settings.forecasting import ForecastSettings

DEFAULTS = ForecastSettings()
MEMBER_PARAMETERS = 5.0  # of the damped trend, the largest member
MEMBERS: dict[str, Callable[[np.ndarray], Member]] = {
    "theta": fit_theta,
    "dynamic theta": fit_dynamic_theta,
    "damped trend": fit_damped_trend,
}
FIT_FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError)


def forecast(
    frame: pd.DataFrame,
    horizon: int,
    level: float = 0.9,
    *,
    season_length: int | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    spacing: str | None = None,
    settings: ForecastSettings = DEFAULTS,
) -> pd.DataFrame:
    """What comes next, and how far off may it be?

    ``frame`` has one row per ``client_id`` and ``date`` with a ``value``; ``date`` holds dates, or
    integers one step apart. Each series is forecast by itself: the same bits alone or among
    thousands, whatever the order of rows. Missing values and rows are gaps: inner ones are bridged
    by straight lines, and the first step is the one after the last known value.

    ``season_length`` (1: none) follows from the spacing of the dates: hourly 24, daily 7, weekly
    52, monthly 12, quarterly 4, else 1; a season is used only where a test confirms it. Forecasts
    and intervals keep the bounds. ``spacing`` is needed only where a single value leaves it open.

    Returns ``client_id, date, forecast, lower, upper, method``, ``horizon`` rows per client with a
    value. ``lower`` and ``upper`` enclose the outcome with probability ``level`` (missing where a
    single value gives no error, unless bounds do). ``method`` names the models whose mean is the
    forecast, those that failed, and the season.

    Raises InvalidParameters for unusable columns, dates, values, horizon, level or bounds.

    >>> frame = pd.DataFrame({"client_id": "a", "date": pd.date_range("2025-01-06", periods=4, freq="7D"),
    ...                       "value": [60.0, 62.0, 61.0, 62.0]})
    >>> forecast(frame, 2, upper_bound=100).round({"lower": 1, "upper": 1})
      client_id       date  forecast  lower  upper                       method
    0         a 2025-02-03      62.0   58.6   65.4  naive (fewer than 8 values)
    1         a 2025-02-10      62.0   57.3   66.7  naive (fewer than 8 values)
    """
    steps, level = frames.whole(horizon, "horizon"), frames.share(level)
    season = None if season_length is None else frames.whole(season_length, "season_length")
    limits = frames.bounds(lower_bound, upper_bound)
    data = frames.read(frame, limits, season, spacing)
    ids, dates, figures, methods = [], [], [], []
    for series in data.series:
        point, low, high, method = _forecast(series, steps, level, limits, settings)
        ids += [series.client_id] * steps
        dates.append(series.spacing.following(series.last, steps))
        figures.append(np.column_stack([point, low, high]))
        methods += [method] * steps
    table = np.concatenate(figures) if figures else np.empty((0, 3))
    when = np.concatenate(dates) if dates else np.empty(0, dtype=np.int64)
    return pd.DataFrame(
        {
            "client_id": data.clients(ids),
            "date": data.dates(when),
            "forecast": table[:, 0],
            "lower": table[:, 1],
            "upper": table[:, 2],
            "method": pd.Series(methods, dtype="str"),
        }
    )


def _forecast(
    series: frames.Series, horizon: int, level: float, limits: Bounds, settings: ForecastSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    fit = fit_series(series.values, horizon, series.season_length, series.missing_share, settings)
    point, low, high = fit.roll(series.values, horizon).at(len(series.values), level, limits)
    if np.isnan(low).all():  # a single value: only the bounds are known to hold
        low = np.full(horizon, np.nan if limits.lower is None else limits.lower)
        high = np.full(horizon, np.nan if limits.upper is None else limits.upper)
    return point, low, high, fit.method


@dataclass(frozen=True)
class SeriesFit:
    """Parameters of one series, which forecast from any origin of it, earlier or later."""

    method: str
    members: tuple[Member, ...]
    season: SeasonalIndices | None = None
    parameters: float = 0.0

    @property
    def starting(self) -> int:
        return max(member.starting for member in self.members)

    def roll(self, values: np.ndarray, horizon: int) -> FittedPaths:
        """Forecasts from every origin of ``values`` with these parameters."""
        adjusted = self.season.remove(values) if self.season else values
        with np.errstate(all="ignore"):
            paths = np.mean([member.paths(adjusted, horizon) for member in self.members], axis=0)
        return FittedPaths(self, adjusted, paths)


@dataclass(frozen=True)
class FittedPaths:
    """A fit run over a series: values without season, and forecasts (origins × steps) on that scale."""

    fit: SeriesFit
    adjusted: np.ndarray
    paths: np.ndarray

    def at(
        self, origin: int, level: float, bounds: Bounds
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forecast, lower and upper for the steps after the first ``origin`` values, which are all that is read."""
        season, path = self.fit.season, self.paths[origin - 1]
        with np.errstate(all="ignore"):
            half = half_widths(
                self.adjusted[:origin],
                self.paths[:origin],
                level,
                self.fit.parameters,
                relative=bounds.upper is None,
                starting=self.fit.starting,
            )
        if season:
            path, half = season.restore(path, origin), season.widen(half, origin)
        return bounds.clip(path), bounds.clip(path - half), bounds.clip(path + half)


def naive_fit(lag: int = 1, method: str = "naive") -> SeriesFit:
    return SeriesFit(method, (Naive(lag),), parameters=1.0)


def fit_series(
    values: np.ndarray,
    horizon: int,
    season_length: int,
    missing_share: float = 0.0,
    settings: ForecastSettings = DEFAULTS,
) -> SeriesFit:
    """The fit that ``values`` (finite, evenly spaced) allow; its ``method`` says which and why.

    >>> fit_series(np.array([3.0, 4.0]), 2, 1).method
    'naive (fewer than 8 values)'
    """
    if np.ptp(values) == 0:
        return naive_fit(method="constant")
    if len(values) < settings.forecast_min_points:
        return naive_fit(method=f"naive (fewer than {settings.forecast_min_points} values)")
    if missing_share > settings.forecast_max_missing_share:
        return naive_fit(method="naive (more than half of the steps have no value)")
    with np.errstate(all="ignore"):
        season = find_season(values, season_length, settings)
        fitted = _combined(season.remove(values) if season else values, horizon, settings)
    if season is None:
        return fitted
    return replace(
        fitted,
        method=f"{fitted.method}, season of {season_length}",
        season=season,
        parameters=fitted.parameters + season.parameters,
    )


def _combined(adjusted: np.ndarray, horizon: int, settings: ForecastSettings) -> SeriesFit:
    fitted: dict[str, Member] = {}
    failed = []
    for name, fit in MEMBERS.items():
        try:
            member = fit(adjusted)
            sound = _is_sound(
                adjusted, member.paths(adjusted, horizon)[-1], settings.forecast_max_straying
            )
        except FIT_FAILURES:
            sound = False
        if sound:
            fitted[name] = member
        else:
            failed.append(name)
    note = f" ({', '.join(failed)} failed)" if failed else ""
    if not fitted:
        return naive_fit(method="naive" + note)
    return SeriesFit(
        " + ".join(fitted) + note, tuple(fitted.values()), parameters=MEMBER_PARAMETERS
    )


def _is_sound(adjusted: np.ndarray, path: np.ndarray, max_straying: float) -> bool:
    """Finite, and no farther from the last value than the series' range could carry it."""
    if not np.isfinite(path).all():
        return False
    reach = max_straying * np.ptp(adjusted) * (1 + len(path) / (len(adjusted) - 1))
    return bool(np.abs(path - adjusted[-1]).max() <= reach)
