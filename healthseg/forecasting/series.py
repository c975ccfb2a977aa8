"""Forecasts of one series or ten thousand, each with an interval and the name of its method.

Means of simple methods came near the top in every M competition (Makridakis and Hibon 2000;
Makridakis, Spiliotis and Assimakopoulos 2020); which of them, and how its season goes, each series'
own rolling back-test says.

A model's textbook interval takes its parameters for known and covers about 80% where it says 90. Here past errors are
measured by step, their spread fitted to a power of the step (shrunk towards a random walk's 1/2), with Student's t for the
fitted parameters, the factor 1 + h/n of an estimated drift (h²σ²/n on top of hσ²), and, for values of at least 0 without an
upper bound, variance in proportion to the level (as of counts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.frames import Bounds
from healthseg.forecasting.models import Candidate, candidates, naive, weigh
from healthseg.forecasting.seasons import Season, closed_ahead, find_seasons
from healthseg.settings.statistics import ForecastSettings
from healthseg.statistics.rates import student_errors
from healthseg.statistics.robust import MAD_TO_SD

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


# -- how far off a forecast may be -----------------------------------------------------------------


RANDOM_WALK_GROWTH = 0.5
GROWTH_PRIOR = 3.0  # weight of the random walk, in independent stretches of log steps
POSITION_PRIOR = 6.0  # cycles whose errors are alike at all positions of a season
RECENT_HORIZONS, RECENT_SEASONS = 8, 4  # origins whose errors count where they are larger than all
MOST_RESCALING = 4.0  # a fall towards zero must not shrink the past errors to nothing


def half_widths(
    values: np.ndarray,
    paths: np.ndarray,
    level: float,
    parameters: float,
    *,
    relative: bool,
    starting: int = 0,
    closed: np.ndarray | None = None,
    season_length: int = 1,
) -> np.ndarray:
    """Half widths of the intervals for the steps after the last value.

    ``paths`` (origins × steps) are the forecasts from each origin of ``values``, ``parameters`` how
    many were fitted, ``relative`` whether variance goes with the level, ``starting`` how many of the
    first origins to leave out, ``closed`` (origins × steps) which steps fall on days without any
    activity. NaN where no earlier origin has a known outcome. Where no forecast was ever off,
    the widths are those of a constant.
    """
    count, horizon = paths.shape
    errors = past_errors(values, paths)
    scales = level_scales(paths) if relative and values.min() >= 0 else np.ones(paths.shape)
    is_open = np.ones(paths.shape, dtype=bool) if closed is None else ~closed
    errors = np.where(is_open, errors / scales, np.nan)[starting:]
    recent = max(RECENT_HORIZONS * horizon, RECENT_SEASONS * season_length + horizon)
    growth = np.fmax(measured_growth(errors), measured_growth(errors[-recent:]))
    growth = growth * scales[-1] * _position_spreads(errors, growth, season_length)
    degrees = max(count - parameters, 2.0)
    ahead = np.arange(1, horizon + 1)
    half = (
        student_errors(level, degrees)
        * np.sqrt(count / degrees)
        * np.sqrt(1 + ahead / count)
        * growth
    )
    if not growth.any():
        half = constant_half_widths(values, horizon, level)
    if closed is None or not closed[-1].any():
        return half
    return np.where(is_open[-1], half, _closed_half_width(values, paths, closed, level))


def _position_spreads(errors: np.ndarray, growth: np.ndarray, season_length: int) -> np.ndarray:
    """How wide errors are at the season's position of each step ahead, relative to all; near 1 after few cycles."""
    count, horizon = errors.shape
    if season_length < 2 or not growth.all():
        return np.ones(horizon)
    position = (np.arange(count)[:, None] + np.arange(horizon) - (count - 1)) % season_length
    squares, known = (errors / growth) ** 2, np.isfinite(errors)
    sums = np.bincount(position[known], squares[known], season_length)
    counts = np.bincount(position[known], minlength=season_length)
    overall, cycles = sums.sum() / max(counts.sum(), 1), count / season_length
    ratio = sums / np.maximum(counts, 1) / max(overall, 1e-300)
    ratio = np.where(counts > 0, ratio, 1.0)
    spread = np.sqrt((cycles * ratio + POSITION_PRIOR) / (cycles + POSITION_PRIOR))
    return spread[np.arange(horizon) % season_length]


def _closed_half_width(
    values: np.ndarray, paths: np.ndarray, closed: np.ndarray, level: float
) -> float:
    """Of closed days, seldom with any activity: a quantile of what there was, and one day as any other."""
    sizes = np.abs(values[1:] - paths[:-1, 0])[closed[:-1, 0]]
    return float(np.quantile(np.r_[sizes, np.abs(values).mean()], level, method="higher"))


def constant_half_widths(values: np.ndarray, horizon: int, level: float) -> np.ndarray:
    """Of n equal values: they may be off as a count of their size (at least 1) is, the less the more of them.

    >>> constant_half_widths(np.full(2, 50.0), 1, 0.9).round(1).tolist()
    [38.7]
    >>> constant_half_widths(np.full(100, 50.0), 1, 0.9).round(1).tolist()
    [1.2]
    """
    count, ahead = len(values), np.arange(1, horizon + 1)
    spread = np.sqrt(max(float(np.abs(values).mean()), 1.0) / count * (1 + ahead / count))
    return student_errors(level, max(count - 1.0, 1.0)) * spread


def past_errors(values: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Errors (origins × steps) of the forecasts whose outcome is known; NaN elsewhere."""
    count, horizon = paths.shape
    targets = np.arange(1, count + 1)[:, None] + np.arange(horizon)
    return np.where(targets < count, values[np.minimum(targets, count - 1)] - paths, np.nan)


def level_scales(paths: np.ndarray) -> np.ndarray:
    """By origin and step: the standard deviation that the forecast level brings, as of counts; 1 at today's."""
    ahead = paths[-1][paths[-1] > 0]
    if not len(ahead):
        return np.ones(paths.shape)
    return np.clip(np.sqrt(np.maximum(paths, 0) / ahead.mean()), 1 / MOST_RESCALING, MOST_RESCALING)


def measured_growth(errors: np.ndarray) -> np.ndarray:
    """Root mean square error by step, smoothed to a power of the step.

    >>> import numpy as np
    >>> measured_growth(np.array([[1.0, 2.0], [1.0, np.nan]])).round(2).tolist()
    [1.07, 1.54]
    """
    known = np.isfinite(errors)
    counts = known.sum(axis=0)
    spread = np.sqrt((np.where(known, errors, 0.0) ** 2).sum(axis=0) / np.maximum(counts, 1))
    if not counts.any():
        return np.full(errors.shape[1], np.nan)
    ahead = np.arange(1, errors.shape[1] + 1)
    used = spread > 0
    if not used.any():
        return np.zeros(errors.shape[1])
    weights = counts[used] / ahead[used]  # overlapping stretches are not independent
    steps, sizes = np.log(ahead[used]), np.log(spread[used])
    mean_step, mean_size = (weights @ steps) / weights.sum(), (weights @ sizes) / weights.sum()
    shape = weights * (steps - mean_step)
    power = (shape @ (sizes - mean_size) + GROWTH_PRIOR * RANDOM_WALK_GROWTH) / (
        shape @ (steps - mean_step) + GROWTH_PRIOR
    )
    return np.exp(mean_size + np.clip(power, 0, 1) * (np.log(ahead) - mean_step))


# -- outliers --------------------------------------------------------------------------------------


WINDOW = 7  # values before each that foretell it
LEAST = 4 * WINDOW  # values below which neither lines nor their misses are known
FIRST, SECOND = np.triu_indices(WINDOW, 1)


def without_outliers(values: np.ndarray, settings: ForecastSettings) -> np.ndarray:
    """``values`` (without season) with short excursions replaced by what the values before foretell.

    Each value is compared with a robust line (Theil and Sen) through the seven before it, on the scale
    of roots where all are at least 0. Farther off than ``forecast_outlier_spreads`` times the usual
    miss, for at most ``forecast_outlier_max_steps`` and back on the line after it, it is an outlier:
    a longer excursion is a new level. Where more than ``forecast_outlier_max_share`` are, they belong
    to the series and remain.

    >>> without_outliers(np.r_[np.full(30, 4.0), 90.0], ForecastSettings())[-2:].tolist()
    [4.0, 4.0]
    """
    if len(values) < LEAST:
        return values
    rooted = values.min() >= 0
    scaled = np.sqrt(values) if rooted else values
    start, slope = _lines(scaled)
    miss = np.abs(scaled[WINDOW:] - start - slope * WINDOW)
    rare = max(1, int(settings.forecast_outlier_max_share * len(values)))
    usual = np.sort(miss)[:-rare]
    spread = max(MAD_TO_SD * float(np.median(miss)), float(np.sqrt((usual**2).mean())))
    reach = settings.forecast_outlier_spreads * spread + 1e-9 * np.abs(scaled).max()
    far = np.flatnonzero(miss > reach)
    cleaned, total = scaled.copy(), 0
    for run in np.split(far, np.flatnonzero(np.diff(far) > 1) + 1):
        first, after = int(run[0]) if len(run) else 0, int(run[-1]) + 1 if len(run) else 0
        if not 0 < after - first <= settings.forecast_outlier_max_steps:
            continue
        line = start[first] + slope[first] * (WINDOW + np.arange(after - first + 1))
        if after < len(miss) and abs(scaled[WINDOW + after] - line[-1]) > reach:
            continue
        cleaned[WINDOW + first : WINDOW + after] = line[:-1]
        total += after - first
    if not 0 < total <= rare:
        return values
    return np.where(cleaned == scaled, values, np.maximum(cleaned, 0) ** 2 if rooted else cleaned)


def _lines(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and slope of a robust line through every ``WINDOW`` values that have one after them."""
    windows = np.lib.stride_tricks.sliding_window_view(values[:-1], WINDOW)
    slope = np.median((windows[:, SECOND] - windows[:, FIRST]) / (SECOND - FIRST), axis=1)
    return np.median(windows - slope[:, None] * np.arange(WINDOW), axis=1), slope
