"""How good would the forecasts have been? Rolling origins, beside naive and seasonal naive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from healthseg.forecasting import frames
from healthseg.forecasting.frames import Bounds, Series, SeriesSet
from healthseg.forecasting.series import DEFAULTS, SeriesFit, fit_series, naive_fit
from healthseg.settings.statistics import ForecastSettings

MODELS = ("forecast", "naive", "seasonal naive")
METRICS = ["mase", "smape", "coverage", "width"]
FIGURES = ["actual", "forecast", "lower", "upper", "error", *METRICS]


GAINS = ["client_id", "forecast", "naive", "gain"]


@dataclass(frozen=True, repr=False)
class Backtest:
    """The errors of past forecasts.

    ``overall``: one row per model (forecast, naive, seasonal naive) with ``mase``, ``smape`` (per cent, 0 to 200),
    ``coverage`` (share of outcomes inside the interval), ``width`` (mean width on the scale of the values), ``clients``
    and ``forecasts``; ``by_step``: the same per model and step. Both are means over each client's forecasts, then over
    clients; where an error has no scale, since the values before it never changed, ``mase`` leaves it out and
    ``mase_reason`` says so. ``errors``: every forecast, by ``client_id, origin`` (date of the last value that was read), ``step, model,
    date`` with ``actual, forecast, lower, upper, error`` (actual minus forecast), its four metrics and the ``method``.
    ``skipped``: clients too short for a single origin.
    """

    overall: pd.DataFrame
    by_step: pd.DataFrame
    errors: pd.DataFrame
    skipped: tuple[Any, ...]
    level: float

    def __repr__(self) -> str:
        if self.overall.empty:
            return "No series is long enough for a back-test."
        means = self.overall.set_index("model")
        errors = ", ".join(
            f"{model} {'not measured' if pd.isna(mase) else f'{mase:.3g}'}"
            for model, mase in means["mase"].items()
        )
        first = means.iloc[0]
        return (
            f"Back-test of {first['clients']:.0f} series, {first['forecasts']:.0f} forecasts: MASE {errors}; "
            f"{self.level:.0%} intervals hold {first['coverage']:.0%} of the outcomes."
        )

    def gains(self) -> pd.DataFrame:
        """What the forecast of each series gains in MASE over the naive one, the worst first."""
        mean = self.errors.groupby(["client_id", "model"])["mase"].mean().unstack("model")
        if "forecast" not in mean or "naive" not in mean:
            return pd.DataFrame(columns=GAINS)
        mean["gain"] = mean["naive"] - mean["forecast"]
        return mean.sort_values("gain", kind="stable").reset_index()[GAINS]

    @property
    def better_than_naive(self) -> int:
        """In how many series the forecast beats the naive one."""
        return int((self.gains()["gain"] > 0).sum())


class WithinTolerance(NamedTuple):
    """``probability`` that the outcome lies within the tolerance, from ``origins`` back-tested forecasts."""

    probability: float | None
    origins: int


@dataclass(frozen=True)
class _Plan:
    """From which origins which steps are forecast."""

    horizon: int
    level: float
    limits: Bounds
    origins: int
    refit_every: int
    min_train: int
    settings: ForecastSettings

    def cuts(self, series: Series) -> np.ndarray:
        """How many values are known at each origin, oldest first."""
        counts = np.arange(self.min_train, len(series.values) - self.horizon + 1)
        return counts[series.known[counts - 1]][-self.origins :]

    def fits(self, series: Series, cut: int) -> list[SeriesFit]:
        missing, length = 1 - float(series.known[:cut].mean()), series.season_length
        known = series.values[:cut][-self.settings.forecast_max_points :]
        return [
            fit_series(known, self.horizon, length, missing, self.settings),
            naive_fit(),
            naive_fit(length, "seasonal naive"),
        ]


def backtest(
    frame: pd.DataFrame | pd.Series,
    horizon: int,
    level: float = 0.9,
    *,
    origins: int = DEFAULTS.backtest_min_origins,
    refit_every: int = 5,
    min_train: int = DEFAULTS.forecast_min_points,
    season_length: int | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    spacing: str | None = None,
    settings: ForecastSettings = DEFAULTS,
) -> Backtest:
    """How far off were this series' forecasts when they were made at earlier dates?

    From each of the last ``origins`` dates with ``horizon`` steps after them and ``min_train``
    before (interpolated values are neither origins nor outcomes) the series is forecast and
    compared with the outcome. Parameters, season and method are fitted at every ``refit_every``-th
    origin, in between only the states move on. Nothing after an origin is read.

    MASE divides each absolute error by the mean absolute error of the seasonal naive forecast up to
    the origin. The other arguments (level, season_length, lower_bound, upper_bound, spacing, settings), and
    errors, are those of ``forecast``.

    >>> frame = pd.DataFrame({"client_id": "a", "date": range(60), "value": [float(k) for k in range(60)]})
    >>> past = backtest(frame, 3, origins=20)
    >>> past
    Back-test of 1 series, 60 forecasts: MASE forecast 0.366, naive 2, seasonal naive 2; 90% intervals hold 100% of the outcomes.
    >>> past.overall[["model", "mase", "coverage"]].round(2)
                model  mase  coverage
    0        forecast  0.37       1.0
    1           naive  2.00       1.0
    2  seasonal naive  2.00       1.0
    >>> within_tolerance(past.errors, step=3, tolerance=5)
    WithinTolerance(probability=1.0, origins=20)
    """
    plan = _Plan(
        frames.whole(horizon, "horizon"),
        frames.share(level),
        frames.bounds(lower_bound, upper_bound),
        frames.whole(origins, "origins"),
        frames.whole(refit_every, "refit_every"),
        frames.whole(min_train, "min_train"),
        settings,
    )
    season = None if season_length is None else frames.whole(season_length, "season_length")
    data = frames.read(frame, plan.limits, season, spacing)
    parts, skipped = [], list(data.empty)
    for series in data.series:
        if len(plan.cuts(series)):
            parts.append(_errors(series, data, plan))
        else:
            skipped.append(series.client_id)
    errors = pd.concat(parts, ignore_index=True) if parts else _no_errors(data)
    overall, by_step = _means(errors, ["model"]), _means(errors, ["model", "step"])
    return Backtest(overall, by_step, errors, tuple(sorted(skipped)), plan.level)


def within_tolerance(
    errors: pd.DataFrame,
    step: int,
    tolerance: float = 5.0,
    min_origins: int = DEFAULTS.backtest_min_origins,
) -> WithinTolerance:
    """How probable is it that the outcome lies within ``tolerance`` of the forecast ``step`` steps ahead?

    ``errors`` are those of a back-test (of one client, or of several alike). The share of forecasts with |error| <=
    tolerance; None where fewer than ``min_origins`` forecasts were tested.

    >>> errors = pd.DataFrame({"model": "forecast", "step": 1, "error": [4.0, -5.0, 6.0, 1.0]})
    >>> within_tolerance(errors, 1, min_origins=4)
    WithinTolerance(probability=0.75, origins=4)
    >>> within_tolerance(errors, 1)
    WithinTolerance(probability=None, origins=4)
    """
    rows = (errors["model"] == "forecast") & (errors["step"] == step)
    sizes = errors.loc[rows, "error"].abs().to_numpy()
    if len(sizes) < max(min_origins, 1):
        return WithinTolerance(None, len(sizes))
    return WithinTolerance(float((sizes <= tolerance).mean()), len(sizes))


def _errors(series: Series, data: SeriesSet, plan: _Plan) -> pd.DataFrame:
    """The errors of one series from all its origins."""
    cuts, horizon = plan.cuts(series), plan.horizon
    outcomes = np.where(series.known, series.values, np.nan)
    figures, methods = [], []
    for start in range(0, len(cuts), plan.refit_every):
        group = cuts[start : start + plan.refit_every]
        fits = plan.fits(series, int(group[0]))
        for cut in group:
            size = scale(series.values[:cut], series.season_length)
            actual = outcomes[cut : cut + horizon]
            known = series.values[:cut][-plan.settings.forecast_max_points :]
            for fit in fits:
                past = fit.forecast(known, horizon, plan.level, plan.limits)
                figures.append(_figures(actual, *past, size))
            methods += [fit.method for fit in fits]
    steps = np.tile(np.arange(1, horizon + 1), len(cuts) * len(MODELS))
    origin = np.repeat(cuts, len(MODELS) * horizon)
    following = series.spacing.following(series.first, len(series.values) - 1)
    instants = np.r_[series.first, following]
    rows = pd.DataFrame(
        {
            "client_id": data.clients([series.client_id] * len(steps)),
            "origin": data.dates(instants[origin - 1]),
            "step": steps,
            "model": np.tile(np.repeat(MODELS, horizon), len(cuts)),
            "date": data.dates(instants[origin + steps - 1]),
            **dict(zip(FIGURES, np.concatenate(figures).T, strict=True)),
            "method": np.repeat(methods, horizon),
        }
    )
    return rows[np.isfinite(rows["actual"])]


def _figures(
    actual: np.ndarray, point: np.ndarray, low: np.ndarray, high: np.ndarray, size: float
) -> np.ndarray:
    error = actual - point
    inside = np.where(np.isfinite(low + high), (low <= actual) & (actual <= high), np.nan)
    metrics = (np.abs(error) / size, smape(actual, point), inside, high - low)
    return np.column_stack([actual, point, low, high, error, *metrics])


def _no_errors(data: SeriesSet) -> pd.DataFrame:
    instants = data.dates(np.empty(0, dtype=np.int64))
    return pd.DataFrame(
        {
            "client_id": data.clients([]),
            "origin": instants,
            "step": pd.Series(dtype=np.int64),
            "model": pd.Series(dtype="str"),
            "date": instants,
            **{name: pd.Series(dtype=float) for name in FIGURES},
            "method": pd.Series(dtype="str"),
        }
    )


def _means(errors: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over each client's forecasts, then over clients, with how many of both."""
    per_client = errors.groupby([*keys, "client_id"])[METRICS].mean()
    grouped = per_client.groupby(level=keys)
    table = grouped.mean().assign(
        clients=grouped.size(),
        forecasts=errors.groupby(keys).size(),
        mase_reason=[
            _mase_reason(known, count)
            for known, count in zip(grouped["mase"].count(), grouped.size(), strict=True)
        ],
    )
    return table.reset_index().sort_values(keys, key=_rank, ignore_index=True)


def _mase_reason(known: int, count: int) -> str | None:
    """Why errors have no scale; None where all have one."""
    if known == count:
        return None
    unscaled = f"the values before {count - known} of {count} clients' forecasts never changed"
    return unscaled + (": they are left out" if known else ", so that their errors have no scale")


def _rank(column: pd.Series) -> pd.Series:
    return column.map(MODELS.index) if column.name == "model" else column


def smape(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Symmetric absolute percentage errors, 0 to 200, as in the M3 competition; 0 where both are 0.

    >>> smape(np.array([100.0, 0.0]), np.array([50.0, 0.0])).round(2).tolist()
    [66.67, 0.0]
    """
    size = np.abs(actual) + np.abs(forecast)
    return 200 * np.abs(actual - forecast) / np.where(size > 0, size, 1.0)


def scale(history: np.ndarray, season_length: int = 1) -> float:
    """MASE's denominator: mean absolute error of the seasonal naive forecast within the history.

    Of the naive forecast where the history is shorter than two seasons; NaN where that is never wrong (Hyndman and
    Koehler, International Journal of Forecasting 22, 2006).

    >>> scale(np.array([1.0, 3.0, 2.0]))
    1.5
    """
    lag = season_length if len(history) >= 2 * season_length else 1
    changes = np.abs(history[lag:] - history[:-lag])
    return float(changes.mean()) if changes.any() else float("nan")
