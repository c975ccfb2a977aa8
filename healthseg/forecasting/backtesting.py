"""How good would the forecasts have been? Rolling origins, beside naive and seasonal naive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.accuracy import scale, smape
from healthseg.forecasting.fit import MIN_POINTS, Bounds, Fit, fit_series, naive_fit

MODELS = ("forecast", "naive", "seasonal naive")
METRICS = ["mase", "smape", "coverage", "width"]
KEYS = ["client_id", "origin", "step", "model"]
FIGURES = ["actual", "forecast", "lower", "upper", "error", "mase", "smape", "coverage", "width"]


@dataclass(frozen=True)
class Backtest:
    """What ``backtest`` found.

    ``overall``: one row per model (forecast, naive, seasonal naive) with ``mase``,
    ``smape`` (per cent, 0 to 200), ``coverage`` (share of outcomes inside the
    interval), ``width`` (mean width on the scale of the values), ``clients`` and
    ``forecasts``; ``by_step``: the same per model and step. Both are means over
    each client's forecasts, then over clients. ``errors``: every forecast,
    by ``client_id, origin`` (date of the last value that was read), ``step,
    model, date`` with ``actual, forecast, lower, upper, error`` (actual minus
    forecast), its four metrics and the ``method``. ``skipped``: clients too
    short for a single origin.
    """

    overall: pd.DataFrame
    by_step: pd.DataFrame
    errors: pd.DataFrame
    skipped: tuple
    level: float


class Within(NamedTuple):
    """``probability`` that the outcome lies within the tolerance, from ``origins`` back-tested forecasts."""

    probability: float | None
    origins: int


def backtest(
    frame: pd.DataFrame,
    horizon: int,
    level: float = 0.9,
    *,
    origins: int = 20,
    refit_every: int = 5,
    min_train: int = MIN_POINTS,
    season_length: int | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    spacing: str | None = None,
) -> Backtest:
    """How far off were this series' forecasts when they were made at earlier dates?

    From each of the last ``origins`` dates that leave ``horizon`` steps after
    them and at least ``min_train`` before (values that were interpolated are
    never an origin nor an outcome), the series up to that date is forecast and
    held against what came. Parameters, season and method are those of a fit to
    the values up to an origin, taken anew at every ``refit_every``-th one; in
    between only the states move on. Nothing after an origin is ever read.

    MASE divides each absolute error by the mean absolute error of the seasonal
    naive forecast within the values up to the origin; below 1 is better than
    that. The other arguments are those of ``forecast``.

    Raises InvalidParameters as ``forecast`` does.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"client_id": "a", "date": range(60), "value": [float(k) for k in range(60)]})
    >>> found = backtest(frame, 3, origins=20)
    >>> found.overall[["model", "mase", "coverage"]].round(2)
                model  mase  coverage
    0        forecast  0.37       1.0
    1           naive  2.00       1.0
    2  seasonal naive  2.00       1.0
    >>> within_tolerance(found.errors, step=3, tolerance=5)
    Within(probability=1.0, origins=20)
    """
    steps, level = frames.whole(horizon, "horizon"), frames.share(level)
    wanted, every = frames.whole(origins, "origins"), frames.whole(refit_every, "refit_every")
    least = frames.whole(min_train, "min_train")
    season = None if season_length is None else frames.whole(season_length, "season_length")
    limits = frames.bounds(lower_bound, upper_bound)
    portfolio = frames.read(frame, limits, season, spacing)
    parts, skipped = [], list(portfolio.empty)
    for series in portfolio.series:
        cuts = _origins(series, steps, wanted, least)
        if len(cuts):
            parts.append(_rows(series, portfolio, cuts, steps, level, limits, every))
        else:
            skipped.append(series.client_id)
    errors = _joined(parts, portfolio)
    return Backtest(
        _means(errors, ["model"]),
        _means(errors, ["model", "step"]),
        errors,
        tuple(sorted(skipped)),
        level,
    )


def within_tolerance(
    errors: pd.DataFrame, step: int, tolerance: float = 5.0, min_origins: int = 20
) -> Within:
    """How probable is it that the outcome lies within ``tolerance`` of the forecast ``step`` steps ahead?

    ``errors`` are those of a back-test (of one client, or of as many as are alike).
    The share of forecasts with |error| <= tolerance; None where fewer than
    ``min_origins`` forecasts were tested.

    >>> import pandas as pd
    >>> errors = pd.DataFrame({"model": "forecast", "step": 1, "error": [4.0, -5.0, 6.0, 1.0]})
    >>> within_tolerance(errors, 1, min_origins=4)
    Within(probability=0.75, origins=4)
    >>> within_tolerance(errors, 1)
    Within(probability=None, origins=4)
    """
    chosen = errors.loc[
        (errors["model"] == "forecast") & (errors["step"] == step), "error"
    ].to_numpy()
    if len(chosen) < max(min_origins, 1):
        return Within(None, len(chosen))
    return Within(float((np.abs(chosen) <= tolerance).mean()), len(chosen))


def _origins(series: frames.Series, horizon: int, wanted: int, least: int) -> np.ndarray:
    """How many values each origin has seen, oldest first."""
    seen = np.arange(least, len(series.values) - horizon + 1)
    return seen[series.known[seen - 1]][-wanted:]


def _rows(
    series: frames.Series,
    portfolio: frames.Portfolio,
    cuts: np.ndarray,
    horizon: int,
    level: float,
    limits: Bounds,
    every: int,
) -> pd.DataFrame:
    """The errors of one series from all its origins."""
    figures, methods = [], []
    for start in range(0, len(cuts), every):
        group = cuts[start : start + every]
        fits = _fits(series, int(group[0]), horizon)
        rolls = [fit.roll(series.values[: group[-1]], horizon) for fit in fits]
        for cut in group:
            size = scale(series.values[:cut], series.season_length)
            actual = np.where(series.known, series.values, np.nan)[cut : cut + horizon]
            figures += [_figures(actual, *roll.at(int(cut), level, limits), size) for roll in rolls]
            methods += [fit.method for fit in fits]
    return _table(series, portfolio, cuts, horizon, np.concatenate(figures), methods)


def _fits(series: frames.Series, cut: int, horizon: int) -> list[Fit]:
    missing = 1 - float(series.known[:cut].mean())
    return [
        fit_series(series.values[:cut], horizon, series.season_length, missing),
        naive_fit(),
        naive_fit(series.season_length, "seasonal naive"),
    ]


def _figures(
    actual: np.ndarray, point: np.ndarray, low: np.ndarray, high: np.ndarray, size: float
) -> np.ndarray:
    error = actual - point
    inside = np.where(np.isfinite(low + high), (low <= actual) & (actual <= high), np.nan)
    return np.column_stack(
        [
            actual,
            point,
            low,
            high,
            error,
            np.abs(error) / size,
            smape(actual, point),
            inside,
            high - low,
        ]
    )


def _table(
    series: frames.Series,
    portfolio: frames.Portfolio,
    cuts: np.ndarray,
    horizon: int,
    figures: np.ndarray,
    methods: list[str],
) -> pd.DataFrame:
    grid = np.r_[series.first, series.spacing.following(series.first, len(series.values) - 1)]
    models, ahead = len(MODELS), np.arange(1, horizon + 1)
    steps = np.tile(ahead, len(cuts) * models)
    seen = np.repeat(cuts, models * horizon)
    rows = pd.DataFrame(figures, columns=FIGURES)
    rows.insert(0, "client_id", portfolio.clients([series.client_id] * len(rows)))
    rows.insert(1, "origin", portfolio.dates(grid[seen - 1]))
    rows.insert(2, "step", steps)
    rows.insert(3, "model", np.tile(np.repeat(MODELS, horizon), len(cuts)))
    rows.insert(4, "date", portfolio.dates(grid[seen + steps - 1]))
    rows["method"] = np.repeat(methods, horizon)
    return rows[np.isfinite(rows["actual"])]


def _joined(parts: list[pd.DataFrame], portfolio: frames.Portfolio) -> pd.DataFrame:
    if parts:
        return pd.concat(parts, ignore_index=True)
    empty = {name: pd.Series(dtype=float) for name in FIGURES}
    when = portfolio.dates(np.empty(0, dtype=np.int64))
    return pd.DataFrame(
        {
            "client_id": portfolio.clients([]),
            "origin": when,
            "step": pd.Series(dtype=np.int64),
            "model": pd.Series(dtype="str"),
            "date": when,
            **empty,
            "method": pd.Series(dtype="str"),
        }
    )


def _means(errors: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over each client's forecasts, then over clients, with how many of both."""
    per_client = errors.groupby([*keys, "client_id"])[METRICS].mean()
    grouped = per_client.groupby(level=keys)
    table = grouped.mean()
    table["clients"] = grouped.size()
    table["forecasts"] = errors.groupby(keys).size()
    table = table.reset_index()
    return table.sort_values(keys, key=_rank).reset_index(drop=True)


def _rank(column: pd.Series) -> pd.Series:
    return column.map(MODELS.index) if column.name == "model" else column
