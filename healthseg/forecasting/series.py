"""Forecasts of one series or ten thousand, each with an interval and the name of its method."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.fit import Bounds, fit_series


def forecast(
    frame: pd.DataFrame,
    horizon: int,
    level: float = 0.9,
    *,
    season_length: int | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    spacing: str | None = None,
) -> pd.DataFrame:
    """What comes next, and how far off it may be?

    ``frame`` has one row per ``client_id`` and ``date`` with a ``value`` (other
    columns are ignored); ``date`` holds dates, or integers one step apart. Each
    series is read by itself: its forecast has the same bits alone or among
    thousands, and the order of rows does not matter. A missing value or a
    missing row is the same, a gap: inner gaps are bridged by straight lines, and
    the first step forecast is the one after the last known value.

    ``season_length`` is a count of steps (1: none); left out, it follows from the
    spacing of the dates: hourly 24, daily 7, weekly 52, monthly 12, quarterly 4,
    yearly 1; 1 for integers. A season is used only where a test finds it.
    ``lower_bound`` and ``upper_bound`` are bounds of the values, which forecasts
    and intervals keep. ``spacing`` (hourly, daily, weekly, monthly, quarterly,
    yearly) is needed only where a single value leaves the dates' spacing open.

    Returns ``client_id, date, forecast, lower, upper, method`` in order of client
    and date, ``horizon`` rows for each client with a value. ``lower`` and
    ``upper`` enclose the outcome with probability ``level`` (missing where a
    single value gives no metric of it, unless bounds do). ``method`` names the
    models whose mean is the forecast, those that failed, and the season used.

    Raises InvalidParameters for columns, dates, values, horizon, level or bounds
    that can't be used.

    >>> import pandas as pd
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
    portfolio = frames.read(frame, limits, season, spacing)
    ids, dates, figures, methods = [], [], [], []
    for series in portfolio.series:
        point, low, high, method = _one(series, steps, level, limits)
        ids += [series.client_id] * steps
        dates.append(series.spacing.following(series.last, steps))
        figures.append(np.column_stack([point, low, high]))
        methods += [method] * steps
    table = np.concatenate(figures) if figures else np.empty((0, 3))
    when = np.concatenate(dates) if dates else np.empty(0, dtype=np.int64)
    return pd.DataFrame(
        {
            "client_id": portfolio.clients(ids),
            "date": portfolio.dates(when),
            "forecast": table[:, 0],
            "lower": table[:, 1],
            "upper": table[:, 2],
            "method": pd.Series(methods, dtype="str"),
        }
    )


def _one(series: frames.Series, horizon: int, level: float, limits: Bounds) -> tuple:
    fit = fit_series(series.values, horizon, series.season_length, series.missing_share)
    point, low, high = fit.roll(series.values, horizon).at(len(series.values), level, limits)
    if np.isnan(low).all():  # a single value: only the bounds are known to hold
        low = np.full(horizon, np.nan if limits.lower is None else limits.lower)
        high = np.full(horizon, np.nan if limits.upper is None else limits.upper)
    return point, low, high, fit.method
