"""The forecasts that a series may have, and how much each weighs by its own rolling back-test.

A candidate is naive, seasonal naive, or the mean of Theta, the dynamic optimised Theta model and the
damped trend on the values without their season: none, an additive or a multiplicative one, or that
of a day within that of a week.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from healthseg.forecasting.models import (
    Member,
    Naive,
    fit_damped_trend,
    fit_dynamic_theta,
    fit_theta,
)
from healthseg.forecasting.seasons import Season, find_seasons
from healthseg.settings.forecasting import ForecastSettings

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
