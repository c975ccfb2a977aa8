"""Forecasts of one series or ten thousand, each with an interval and the name of its method.

Means of simple methods came near the top in every M competition (Makridakis and Hibon 2000;
Makridakis, Spiliotis and Assimakopoulos 2020); which of them, and how its season goes, each series'
own rolling back-test says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.candidates import Candidate, candidates, naive, weigh
from healthseg.forecasting.frames import Bounds
from healthseg.forecasting.intervals import constant_half_widths, half_widths, past_errors
from healthseg.forecasting.outliers import without_outliers
from healthseg.forecasting.seasons import Season, closed_ahead, find_seasons
from healthseg.settings.forecasting import ForecastSettings

DEFAULTS = ForecastSettings()


def forecast(
    frame: pd.DataFrame | pd.Series,
    horizon: int,
    level: float = 0.9,
    *,
    season_length: int | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    spacing: str | None = None,
    no_change: bool = False,
    settings: ForecastSettings = DEFAULTS,
) -> pd.DataFrame:
    """What comes next, and how far off may it be?

    ``frame`` has one row per ``client_id`` and ``date`` with a ``value``; ``date`` holds dates, or
    integers one step apart; or it is one Series by date. Each series is forecast by itself: the same bits alone or among
    thousands, whatever the order of rows. Missing values and rows are gaps: inner ones are bridged
    by straight lines, and the first step is the one after the last known value.

    ``season_length`` (1: none) follows from the spacing of the dates: hourly 24, daily 7, weekly
    52, monthly 12, quarterly 4, else 1; a season is used only where a test confirms it. Forecasts
    and intervals keep ``lower_bound`` and ``upper_bound``; ``settings`` are those of forecasting. ``spacing`` is needed only where a single value leaves it open.
    ``no_change`` forecasts the last value, with the interval of its own past errors: where a
    back-test shows that nothing is better.

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
        fit = naive_fit(method="no change") if no_change else None
        point, low, high, method = _forecast(series, steps, level, limits, settings, fit)
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
    series: frames.Series,
    horizon: int,
    level: float,
    limits: Bounds,
    settings: ForecastSettings,
    fit: SeriesFit | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    values = series.values[-settings.forecast_max_points :]
    if fit is None:
        fit = fit_series(values, horizon, series.season_length, series.missing_share, settings)
    point, low, high = fit.forecast(values, horizon, level, limits)
    if np.isnan(low).all():  # a single value: only the bounds are known to hold
        low = np.full(horizon, np.nan if limits.lower is None else limits.lower)
        high = np.full(horizon, np.nan if limits.upper is None else limits.upper)
    return point, low, high, fit.method


@dataclass(frozen=True)
class SeriesFit:
    """Candidates of one series with their weights, which forecast from any origin of it, earlier or later."""

    method: str
    candidates: tuple[Candidate, ...]
    weights: tuple[float, ...] = (1.0,)
    season: Season | None = None
    cleaning: ForecastSettings | None = None

    def forecast(
        self, values: np.ndarray, horizon: int, level: float, bounds: Bounds
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forecast, lower and upper for the steps after ``values``, which are all that is read."""
        if self.cleaning:
            values = cleaned(values, self.season, self.cleaning)
        closed = closed_ahead(values, self.season, horizon) if self.season else None
        paths = sum(
            weight * candidate.paths(values, horizon)
            for candidate, weight in zip(self.candidates, self.weights, strict=True)
        )
        paths = np.where(closed, 0.0, paths) if closed is not None else np.asarray(paths)
        if _is_constant(values) and len(values) > 1:
            half = constant_half_widths(values, horizon, level)
        else:
            half = half_widths(
                values,
                paths,
                level,
                self._mean("parameters"),
                relative=bounds.upper is None,
                starting=round(self._mean("starting")),
                closed=closed,
                season_length=self.season.length if self.season else 1,
            )
        point = bounds.clip(paths[-1])
        return point, bounds.clip(point - half), bounds.clip(point + half)

    def _mean(self, name: str) -> float:
        return float(np.dot(self.weights, [getattr(each, name) for each in self.candidates]))


def naive_fit(lag: int = 1, method: str = "naive") -> SeriesFit:
    return SeriesFit(method, (naive(lag),))


def cleaned(values: np.ndarray, season: Season | None, settings: ForecastSettings) -> np.ndarray:
    """``values`` without outliers, which are judged with the season removed."""
    if season is None:
        return without_outliers(values, settings)
    indices = season.indices(values)
    adjusted = indices.remove(values)
    plain = without_outliers(adjusted, settings)
    back = plain * indices.local if season.multiplicative else plain + indices.local
    return np.where(plain == adjusted, values, back)


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
    if _is_constant(values):
        return naive_fit(method="constant")
    if len(values) < settings.forecast_min_points:
        return naive_fit(method=f"naive (fewer than {settings.forecast_min_points} values)")
    if missing_share > settings.forecast_max_missing_share:
        return naive_fit(method="naive (more than half of the steps have no value)")
    with np.errstate(all="ignore"):
        return _weighted(values, horizon, season_length, settings)


def _is_constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def _weighted(
    values: np.ndarray, horizon: int, season_length: int, settings: ForecastSettings
) -> SeriesFit:
    season = next(iter(reversed(find_seasons(values, season_length, settings))), None)
    plain = cleaned(values, season, settings)
    if _is_constant(plain):
        return SeriesFit("constant but for outliers", (naive(),), cleaning=settings)
    pool = candidates(plain, horizon, season_length, settings)
    closed = closed_ahead(plain, season, horizon) if season else None
    paths = [each.paths(plain, horizon) for each in pool]
    if closed is not None:
        paths = [np.where(closed, 0.0, each) for each in paths]
    errors = [past_errors(plain, each) for each in paths]
    weights = weigh(errors, [each.parameters for each in pool], season_length, settings)
    chosen = [(each, float(weight)) for each, weight in zip(pool, weights, strict=True) if weight]
    chosen.sort(key=lambda pair: -pair[1])
    parts, shares = zip(*chosen, strict=True)
    return SeriesFit(_method(parts, shares), parts, shares, season, settings)


def _method(parts: tuple[Candidate, ...], shares: tuple[float, ...]) -> str:
    if len(parts) == 1:
        return parts[0].name
    return "; ".join(f"{share:.0%} {part.name}" for part, share in zip(parts, shares, strict=True))
