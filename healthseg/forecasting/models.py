"""The members of the combination, each fitted once and forecasting from every origin, and the candidates made of them.

A candidate is naive, seasonal naive, or the mean of Theta, the dynamic optimised Theta model and the damped trend on the
values without their season: none, an additive or a multiplicative one, or that of a day within that of a week.

``paths(values, horizon)`` is an array (origins × steps) of forecasts after 1, 2, ..., n values: the
last row is the forecast, the rows above are the rolling origins that the interval is measured on,
but for the first ``starting`` ones. Parameters are searched on fixed grids, linear ones solved
exactly: such a search can't run away, and gives the same bits everywhere.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import scipy

from healthseg.forecasting.seasons import Season, find_seasons
from healthseg.settings.statistics import ForecastSettings

LEVEL_GRID = np.r_[0.02, 0.05, np.arange(2, 20) / 20, 0.98]
DAMPED_LEVELS = (0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 0.95)
# as shares of the level's parameter, as usual for ETS
DAMPED_TRENDS = (0.01, 0.05, 0.1, 0.2, 0.35, 0.55)
DAMPINGS = (0.8, 0.85, 0.9, 0.94, 0.98)  # the bounds of R's forecast::ets
STARTING_ORIGINS = 3  # a line through fewer points says nothing
CACHED_LENGTH = 1024  # values; longer responses are not worth their memory


class Member(Protocol):
    """A fitted model: its forecasts from every origin of a series."""

    @property
    def starting(self) -> int: ...

    def paths(self, values: np.ndarray, horizon: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Naive:
    """The value ``lag`` steps ago stays: the last one, or that of the same season (while there is none, the last)."""

    lag: int = 1

    @property
    def starting(self) -> int:
        return self.lag - 1

    def paths(self, values: np.ndarray, horizon: int) -> np.ndarray:
        origins = np.arange(len(values))[:, None]
        source = origins + 1 - self.lag + np.arange(horizon) % self.lag
        return np.where(source < 0, values[origins], values[np.maximum(source, 0)])


@dataclass(frozen=True)
class Theta:
    """Exponential smoothing plus a share of the straight line's slope.

    With ``share`` = 1/2 and the level started at the first value this is the
    Theta method (Assimakopoulos and Nikolopoulos 2000, in the form of Hyndman
    and Billah 2003); with both estimated, and the line drawn through the values
    up to each origin, the dynamic optimised Theta model (Fiorucci, Pellegrini,
    Louzada, Petropoulos and Koehler, International Journal of Forecasting 32, 2016).
    """

    alpha: float
    start: float
    share: float
    intercept: bool
    starting: ClassVar[int] = STARTING_ORIGINS

    def paths(self, values: np.ndarray, horizon: int) -> np.ndarray:
        decay = (1 - self.alpha) ** np.arange(1, len(values) + 1)
        intercepts, slopes = running_lines(values)
        level = scipy.signal.lfilter([self.alpha], [1, self.alpha - 1], values) + decay * self.start
        drift = (np.arange(horizon) + ((1 - decay) / self.alpha)[:, None]) * slopes[:, None]
        if self.intercept:
            drift = drift + (decay * intercepts)[:, None]
        return level[:, None] + self.share * drift


def fit_theta(values: np.ndarray) -> Theta:
    """The Theta method, its smoothing parameter fitted by statsmodels (as in its ThetaModel)."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    # scaled, so that the search does not depend on the unit
    scaled = values / 2.0 ** np.frexp(np.abs(values).max())[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a search that stops early is judged by its forecast
        model = SimpleExpSmoothing(scaled, initialization_method="known", initial_level=scaled[0])
        fitted = model.fit()
    alpha = min(max(float(fitted.params["smoothing_level"]), 1e-4), 1.0)
    return Theta(alpha, float(values[0]), 0.5, intercept=False)


def fit_dynamic_theta(values: np.ndarray) -> Theta:
    """The dynamic optimised Theta model: alpha on a grid, level and share of the slope by least squares."""
    intercepts, slopes = (np.r_[0.0, line[:-1]] for line in running_lines(values))
    count, best = np.arange(len(values)), np.inf
    fitted: Theta | None = None
    for alpha in LEVEL_GRID:
        decay = (1 - alpha) ** count
        level = np.r_[0.0, scipy.signal.lfilter([alpha], [1, alpha - 1], values)[:-1]]
        drift = decay * intercepts + (1 - decay) / alpha * slopes
        target, decay, drift = (part[STARTING_ORIGINS:] for part in (values - level, decay, drift))
        start, share = _two_regressors(target, decay, drift)
        error = float(((target - start * decay - share * drift) ** 2).sum())
        if error < best:
            best, fitted = error, Theta(float(alpha), start, share, intercept=True)
    if fitted is None:
        raise ArithmeticError("no finite sum of squares")
    return fitted


def _two_regressors(
    target: np.ndarray, decay: np.ndarray, drift: np.ndarray
) -> tuple[float, float]:
    """Least squares of target on decay and drift, the second coefficient kept in [0, 1]."""
    dd, dg, gg = (decay**2).sum(), (decay * drift).sum(), (drift**2).sum()
    td, tg = (target * decay).sum(), (target * drift).sum()
    determinant = dd * gg - dg * dg
    share = (dd * tg - dg * td) / determinant if determinant > 1e-9 * dd * gg else 0.0
    share = min(max(float(share), 0.0), 1.0)
    return float((td - share * dg) / dd), share


def running_lines(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts and slopes of the least-squares lines through the first 1, 2, ..., n values (at times 1, 2, ...).

    >>> [line.round(6).tolist() for line in running_lines(np.array([1.0, 3.0, 5.0]))]
    [[1.0, -1.0, -1.0], [0.0, 2.0, 2.0]]
    """
    count = np.arange(1.0, len(values) + 1)
    sums, moments = np.cumsum(values), np.cumsum(count * values)
    middle, spread = (count + 1) / 2, count * (count * count - 1) / 12
    slopes = np.where(count > 1, (moments - middle * sums) / np.where(count > 1, spread, 1.0), 0.0)
    return sums / count - slopes * middle, slopes


@dataclass(frozen=True)
class DampedTrend:
    """Holt's method with a damped trend (Gardner and McKenzie 1985), as the innovations model ETS(A,Ad,N).

    ``level = level' + damping·trend' + alpha·error``, ``trend = damping·trend' + beta·error``.
    """

    alpha: float
    beta: float
    damping: float
    level: float
    trend: float
    starting: ClassVar[int] = STARTING_ORIGINS

    def paths(self, values: np.ndarray, horizon: int) -> np.ndarray:
        levels, trends = self._states(values)
        return levels[:, None] + trends[:, None] * np.cumsum(
            self.damping ** np.arange(1, horizon + 1)
        )

    def _states(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Level and trend after each value, from the errors, which are a linear filter of the values."""
        numerator, denominator = _filter(self.alpha, self.beta, self.damping)
        start = np.zeros(len(values))
        start[0] = 1.0
        first = [self.level + self.damping * self.trend, -self.damping * self.level]
        errors = scipy.signal.lfilter(numerator, denominator, values) - scipy.signal.lfilter(
            first, denominator, start
        )
        trends = scipy.signal.lfilter([self.beta], [1, -self.damping], errors)
        return values - (1 - self.alpha) * errors, trends + self.trend * self.damping ** np.arange(
            1, len(values) + 1
        )


def fit_damped_trend(values: np.ndarray) -> DampedTrend:
    """Least squares over a grid of (alpha, beta, damping), with the initial level and trend exact at each point."""
    alpha, beta, damping = _damped_grid()
    responses, square, shifted, cross = _start_responses(len(values))
    errors = _recursion(_differences(values, damping))
    later, determinant = responses[:-1], square * shifted - cross**2
    first, second = (errors * responses).sum(axis=0), (errors[1:] * later).sum(axis=0)
    at_start = (shifted * first - cross * second) / determinant
    after = (square * second - cross * first) / determinant
    errors -= at_start * responses
    errors[1:] -= after * later
    best = int(np.argmin((errors**2).sum(axis=0)))
    level = float(-after[best] / damping[best])
    return DampedTrend(
        float(alpha[best]),
        float(beta[best]),
        float(damping[best]),
        level,
        float((at_start[best] - level) / damping[best]),
    )


@functools.cache
def _damped_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """alpha, beta and damping of every grid point."""
    grid = np.meshgrid(DAMPINGS, DAMPED_LEVELS, DAMPED_TRENDS, indexing="ij")
    damping, alpha, share = (part.ravel() for part in grid)
    return alpha, alpha * share, damping


def _filter(
    alpha: float | np.ndarray, beta: float | np.ndarray, damping: float | np.ndarray
) -> tuple[list, list]:
    """The errors of ETS(A,Ad,N) as a filter of the values: its ARIMA(1,1,2) form, turned over."""
    return (
        [1.0, -(1 + damping), damping],
        [1.0, alpha + damping * beta - 1 - damping, damping * (1 - alpha)],
    )


def _differences(values: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """The filter's numerator: values × grid points, for a model that starts at level 0 and trend 0."""
    before = np.r_[0.0, values[:-1]]
    earlier = np.r_[0.0, before[:-1]]
    return (values - before)[:, None] - damping * (before - earlier)[:, None]


def _recursion(inputs: np.ndarray) -> np.ndarray:
    """The filter's denominator, run down the rows of ``inputs`` for all grid points at once."""
    _, (_, once, twice) = _filter(*_damped_grid())
    before = earlier = np.zeros(inputs.shape[1])
    rows = np.empty_like(inputs)
    for row, current in zip(rows, inputs, strict=True):
        np.subtract(current - once * before, twice * earlier, out=row)
        before, earlier = row, before
    return rows


def _start_responses(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a unit of initial state does to the errors (values × grid points); the same for all series of one length.

    Then what its least squares need: sums of squares of all and of all but the
    last, and of the products of neighbours.
    """
    size = 1 << max(7, (count - 1).bit_length())
    table, squares, products = (
        _cached_responses if size <= CACHED_LENGTH else _computed_responses
    )(size)
    return table[:count], squares[count - 1], squares[count - 2], products[count - 2]


def _computed_responses(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    impulse = np.zeros((size, len(_damped_grid()[0])))
    impulse[0] = 1.0
    table = _recursion(impulse)
    return table, np.cumsum(table**2, axis=0), np.cumsum(table[1:] * table[:-1], axis=0)


_cached_responses = functools.lru_cache(maxsize=8)(_computed_responses)


# -- the candidates, and how much each weighs ------------------------------------------------------


MEMBER_PARAMETERS = 5.0  # of the damped trend, the largest member
MEMBERS: dict[str, Callable[[np.ndarray], Member]] = {
    "theta": fit_theta,
    "dynamic theta": fit_dynamic_theta,
    "damped trend": fit_damped_trend,
}
FIT_FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError)
SHORTEST_DAY, MINUTES = 24, 1440  # steps of a day in which a week is looked for


@dataclass(frozen=True)
class Candidate:
    """A way to forecast a series, whose parameters are fitted; ``paths`` forecasts from every origin."""

    name: str
    members: tuple[Member, ...]
    seasons: tuple[Season, ...] = ()
    parameters: float = 1.0

    @property
    def starting(self) -> int:
        return max(member.starting for member in self.members)

    def paths(self, values: np.ndarray, horizon: int) -> np.ndarray:
        removed = []
        for season in self.seasons:
            removed.append(season.indices(values))
            values = removed[-1].remove(values)
        with np.errstate(all="ignore"):
            paths = np.mean([member.paths(values, horizon) for member in self.members], axis=0)
        for indices in reversed(removed):
            paths = indices.restore(paths)
        return paths


def naive(lag: int = 1, name: str = "naive") -> Candidate:
    return Candidate(name, (Naive(lag),))


def candidates(
    values: np.ndarray, horizon: int, season_length: int, settings: ForecastSettings
) -> list[Candidate]:
    """What may forecast ``values``, naive first."""
    simple = [naive()]
    if season_length > 1 and len(values) >= 2 * season_length:
        simple.append(naive(season_length, "seasonal naive"))
    seasons: list[tuple[Season, ...]] = [
        (season,) for season in find_seasons(values, season_length, settings)
    ]
    seasons += [
        (*first, longer)
        for first in seasons
        if season_length >= SHORTEST_DAY and MINUTES % season_length == 0
        for longer in find_seasons(
            first[0].indices(values).remove(values),
            settings.forecast_longer_season_days * season_length,
            settings,
        )
        if longer.multiplicative == first[0].multiplicative
    ]
    fitted = [_combination(values, horizon, each, settings) for each in seasons or [()]]
    if not any(candidate.members for candidate in fitted):
        simple[0] = naive(name=f"naive{fitted[0].name}")
    return simple + [candidate for candidate in fitted if candidate.members]


def _combination(
    values: np.ndarray, horizon: int, seasons: tuple[Season, ...], settings: ForecastSettings
) -> Candidate:
    """The mean of the members that fit the values without season; without members where none does."""
    for season in seasons:
        values = season.indices(values).remove(values)
    fitted: dict[str, Member] = {}
    for name, fit in MEMBERS.items():
        try:
            member = fit(values)
            path = member.paths(values, horizon)[-1]
        except FIT_FAILURES:
            continue
        if _is_sound(values, path, settings.forecast_max_straying):
            fitted[name] = member
    failed = [name for name in MEMBERS if name not in fitted]
    name = " + ".join(fitted) + (f" ({', '.join(failed)} failed)" if failed else "")
    if seasons:
        kind = "multiplicative" if seasons[0].multiplicative else "additive"
        lengths = " and ".join(str(season.length) for season in seasons)
        name += f", {kind} season of {lengths}"
    parameters = MEMBER_PARAMETERS + sum(
        season.keep * (season.length - 1) / season.cycles for season in seasons
    )
    return Candidate(name, tuple(fitted.values()), seasons, parameters)


def _is_sound(adjusted: np.ndarray, path: np.ndarray, max_straying: float) -> bool:
    """Finite, and no farther from the last value than the series' range could carry it."""
    if not np.isfinite(path).all():
        return False
    reach = max_straying * np.ptp(adjusted) * (1 + len(path) / (len(adjusted) - 1))
    return bool(np.abs(path - adjusted[-1]).max() <= reach)


def weigh(
    errors: list[np.ndarray],
    parameters: list[float],
    season_length: int,
    settings: ForecastSettings,
) -> np.ndarray:
    """Weights of candidates, naive first, by their errors (origins × steps) at recent origins.

    They go with a negative power of the mean absolute error, which each fitted parameter makes a
    little larger; small ones are 0, and where nothing beats naive it has all.
    """
    count, horizon = errors[0].shape
    recent = max(
        settings.forecast_weight_horizons * horizon,
        settings.forecast_weight_seasons * season_length + horizon,
    )
    start = max(count // 3, count - recent)
    size = np.array([np.nanmean(np.abs(each[start:])) for each in errors])
    size = np.where(np.isfinite(size), size, np.inf)
    fitted = np.array(parameters) - 1
    size = size * (1 + settings.forecast_parameter_penalty * fitted / count)
    if size[0] <= size[1:].min(initial=np.inf):
        return np.eye(len(size))[0]
    relative = np.maximum(size / size.min(), 1.0) if size.min() > 0 else 1.0 + 1e3 * (size > 0)
    weights = relative**-settings.forecast_weight_power
    weights /= weights.sum()
    weights = np.where(weights < settings.forecast_min_weight, 0.0, weights)
    return weights / weights.sum()
