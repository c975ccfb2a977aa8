"""One series: season off, the members fitted, what failed replaced and named, season back on.

The forecast is the mean of three methods that err in different ways: Theta, the
dynamic optimised Theta model and the damped trend. Means of simple methods have
won or come near the top in every M competition (Makridakis and Hibon 2000;
Makridakis, Spiliotis and Assimakopoulos 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from healthseg.forecasting.intervals import half_widths
from healthseg.forecasting.models import Naive, fit_damped_trend, fit_dynamic_theta, fit_theta
from healthseg.forecasting.season import Season, find_season

MIN_POINTS = 8  # five parameters, and a few values that speak against them
MOST_MISSING = 0.5  # of a grid; beyond it a model would be fitted to our own straight lines
MOST_STRAYING = 2.0  # times what the whole range, kept up at its pace, would reach
MEMBER_PARAMETERS = 5.0  # of the damped trend, the largest member
MEMBERS: dict[str, Callable] = {
    "theta": fit_theta,
    "dynamic theta": fit_dynamic_theta,
    "damped trend": fit_damped_trend,
}
FIT_FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True)
class Bounds:
    lower: float | None = None
    upper: float | None = None

    def clip(self, values: np.ndarray) -> np.ndarray:
        low = -np.inf if self.lower is None else self.lower
        high = np.inf if self.upper is None else self.upper
        return np.clip(values, low, high)


@dataclass(frozen=True)
class Fit:
    """Parameters of one series, which forecast from any origin of it, earlier or later."""

    method: str
    members: tuple
    season: Season | None = None
    parameters: float = 0.0

    @property
    def starting(self) -> int:
        return max(member.starting for member in self.members)

    def roll(self, values: np.ndarray, horizon: int) -> Roll:
        """Forecasts from every origin of ``values`` with these parameters."""
        adjusted = self.season.remove(values) if self.season else values
        with np.errstate(all="ignore"):
            paths = np.mean([member.paths(adjusted, horizon) for member in self.members], axis=0)
        return Roll(self, adjusted, paths)


@dataclass(frozen=True)
class Roll:
    """A fit run over a series: values without season, and forecasts (origins × steps) on that scale."""

    fit: Fit
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


def naive_fit(lag: int = 1, method: str = "naive") -> Fit:
    return Fit(method, (Naive(lag),), parameters=1.0)


def fit_series(
    values: np.ndarray, horizon: int, season_length: int, missing_share: float = 0.0
) -> Fit:
    """The fit that ``values`` (finite, evenly spaced) allow; its ``method`` says which and why.

    >>> fit_series(np.array([3.0, 4.0]), 2, 1).method
    'naive (fewer than 8 values)'
    """
    if np.ptp(values) == 0:
        return naive_fit(method="constant")
    if len(values) < MIN_POINTS:
        return naive_fit(method=f"naive (fewer than {MIN_POINTS} values)")
    if missing_share > MOST_MISSING:
        return naive_fit(method="naive (more than half of the steps have no value)")
    with np.errstate(all="ignore"):
        season = find_season(values, season_length)
        fitted = _combine(season.remove(values) if season else values, horizon)
    if season is None:
        return fitted
    return replace(
        fitted,
        method=f"{fitted.method}, season of {season_length}",
        season=season,
        parameters=fitted.parameters + season.parameters,
    )


def _combine(adjusted: np.ndarray, horizon: int) -> Fit:
    kept, failed = {}, []
    for name, fit in MEMBERS.items():
        try:
            member = fit(adjusted)
            sound = _sound(adjusted, member.paths(adjusted, horizon)[-1])
        except FIT_FAILURES:
            sound = False
        if sound:
            kept[name] = member
        else:
            failed.append(name)
    note = f" ({', '.join(failed)} failed)" if failed else ""
    if not kept:
        return naive_fit(method="naive" + note)
    return Fit(" + ".join(kept) + note, tuple(kept.values()), parameters=MEMBER_PARAMETERS)


def _sound(adjusted: np.ndarray, path: np.ndarray) -> bool:
    """Finite, and no farther from the last value than the series' range could carry it."""
    if not np.isfinite(path).all():
        return False
    reach = MOST_STRAYING * np.ptp(adjusted) * (1 + len(path) / (len(adjusted) - 1))
    return bool(np.abs(path - adjusted[-1]).max() <= reach)
