"""How long do tickets take, and does that change? How many users help themselves?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_day
from healthseg.metrics.lives import counting
from healthseg.statistics.survival import kaplan_meier, median_times, quantile_time

RESAMPLES = 500
LEAST_RESOLVED = 10  # in each half


@dataclass(frozen=True)
class Resolution:
    """Median hours from opening to resolution, open tickets censored at the end of the window, of the tickets opened in
    its first and in its second half; None where half are never resolved, or fewer than ten were. ``ratio`` is the
    second over the first with its interval over resampled customers; ``direction`` is improving where the interval lies
    below 1, worsening above it, else stable; None without a ratio."""

    first_hours: float | None
    second_hours: float | None
    first_tickets: int
    second_tickets: int
    open_tickets: int
    ratio: float | None
    lower: float | None
    upper: float | None
    level: float
    reason: str | None

    @property
    def direction(self) -> str | None:
        if self.ratio is None or self.lower is None or self.upper is None:
            return None
        return "improving" if self.upper < 1 else "worsening" if self.lower > 1 else "stable"


def resolution(
    rows: pd.DataFrame, start: dt.date, end: dt.date, seed: int, level: float
) -> Resolution:
    """``rows`` are the tickets opened in ``[start, end)`` as ``tickets`` gives them; those without times are left out.

    >>> days = np.arange(20.0)
    >>> rows = pd.DataFrame({"client_id": [f"c{at % 5}" for at in range(20)], "opened_second": days * 86_400,
    ...                      "seconds": np.where(days < 10, 8, 4) * 3_600.0, "opened_day": days})
    >>> found = resolution(rows, dt.date(1970, 1, 1), dt.date(1970, 1, 21), 7, 0.9)
    >>> found.first_hours, found.second_hours, found.direction
    (8.0, 4.0, 'improving')
    """
    rows = rows[rows["opened_second"].notna()].sort_values(
        ["client_id", "opened_second"], kind="stable"
    )
    known = rows["seconds"].to_numpy(dtype=float)
    happened = np.isfinite(known)
    censored = epoch_day(end) * 86_400.0 - rows["opened_second"].to_numpy(dtype=float)
    hours = np.maximum(np.where(happened, known, censored), 60.0) / 3600
    middle = (epoch_day(start) + epoch_day(end)) / 2
    second = rows["opened_day"].to_numpy(dtype=float) >= middle
    sizes = (int((~second).sum()), int(second.sum()), int((~happened).sum()))
    fewest = int(min((happened & half).sum() for half in (~second, second))) if len(rows) else 0
    if fewest < LEAST_RESOLVED:
        reason = f"{fewest} resolved tickets in one half of the window, at least {LEAST_RESOLVED} are needed"
        return Resolution(None, None, *sizes, None, None, None, level, reason)
    medians = [
        quantile_time(kaplan_meier(hours[half], happened[half])).time for half in (~second, second)
    ]
    if None in medians:
        return Resolution(
            *medians, *sizes, None, None, None, level, "half of the tickets are not resolved yet"
        )
    lower, upper = _interval(rows["client_id"], hours, happened, second, seed, level)
    return Resolution(*medians, *sizes, medians[1] / medians[0], lower, upper, level, None)


def _interval(
    client: pd.Series,
    hours: np.ndarray,
    happened: np.ndarray,
    second: np.ndarray,
    seed: int,
    level: float,
) -> tuple[float | None, float | None]:
    """The ratio's percentiles over resampled customers; of a single customer over resampled tickets."""
    unit = np.unique(client.to_numpy(dtype=object), return_inverse=True)[1]
    unit = unit if unit.max() > 0 else np.arange(len(client))
    many, random = int(unit.max()) + 1, np.random.default_rng(seed)
    weights = random.multinomial(many, np.full(many, 1 / many), size=RESAMPLES)[:, unit]
    first, later = (
        median_times(hours[half], happened[half], weights[:, half]) for half in (~second, second)
    )
    with np.errstate(invalid="ignore"):
        ratio = later / first
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) < RESAMPLES / 2:
        return None, None
    lower, upper = np.quantile(ratio, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


@dataclass(frozen=True)
class SelfService:
    """Users with an event on a self-service feature, of those with one or with a ticket; None where ``reason`` says
    why it is not measured."""

    share: float | None
    helped_themselves: int
    users: int
    reason: str | None


def self_service(
    portfolio: Any, clients: list[str], rows: pd.DataFrame | None, start: dt.date, end: dt.date
) -> SelfService:
    """The share of those who sought help that used ``self_service_features`` (settings) in ``[start, end)``."""
    features = portfolio.settings.self_service_features
    if not features:
        return SelfService(None, 0, 0, "no self_service_features in the settings")
    if rows is None:
        return SelfService(None, 0, 0, "there is no tickets table")
    used = counting(portfolio, clients, start, end).rows("feature_user_days")
    used = used[
        used["feature"].isin(features)
        & (used["day"] >= epoch_day(start))
        & (used["day"] < epoch_day(end))
    ]
    used = used[used["user_id"].notna()]
    names = np.array(clients, dtype=object)
    helped = {
        (names[k], user)
        for k, user in zip(used["k"].to_numpy(), used["user_id"].astype(str), strict=True)
    }
    asked = rows[(rows["opened_day"] >= epoch_day(start)) & rows["user_id"].notna()]
    asking = set(zip(asked["client_id"], asked["user_id"].astype(str), strict=True))
    if not helped | asking:
        return SelfService(None, 0, 0, "no user had a ticket or used a self-service feature")
    return SelfService(len(helped) / len(helped | asking), len(helped), len(helped | asking), None)
