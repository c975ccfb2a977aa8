"""Interventions go to customers who stand low: whoever is low now would have risen a little anyway."""

from __future__ import annotations

import numpy as np

from healthseg.demo import names
from healthseg.demo.customers import Customers

CHANCE_A_WEEK = 0.20
PAUSE_WEEKS = 13
FOLLOW_WEEKS = 13


def give(
    rng: np.random.Generator, series: np.ndarray, low: float, recovered: float, who: Customers
) -> dict[str, np.ndarray]:
    """Client, kind, day, the weekly series then, and whether it rose above ``recovered`` within 13 weeks by itself.

    Given where the series (customers × weeks) is below ``low``, at most once a quarter.
    """
    weeks = series.shape[1]
    able = (series < low) & (rng.random(series.shape) < CHANCE_A_WEEK)
    able &= np.arange(weeks) * 7 > np.maximum(who.signup, 21)[:, None]
    rows, last = [np.zeros((0, 2), int)], np.full(who.count, -99)
    for week in range(1, weeks - 2):
        chosen = np.flatnonzero(able[:, week] & (week - last > PAUSE_WEEKS))
        last[chosen] = week
        rows.append(np.column_stack([chosen, np.full(len(chosen), week)]))
    client, week = np.concatenate(rows).T
    ahead = np.minimum(week[:, None] + np.arange(1, FOLLOW_WEEKS + 1), weeks - 1)
    return {
        "client": client,
        "kind": rng.integers(0, len(names.INTERVENTIONS), len(client)),
        "day": week * 7 + rng.integers(0, 5, len(client)),
        "factor": series[client, week],
        "recovered_without": (series[client[:, None], ahead] > recovered).any(axis=1),
    }


def weekly_standing(daily_events: np.ndarray, who: Customers) -> np.ndarray:
    """Each week's events against the customer's own mean, in its own standard deviations."""
    weeks = daily_events.shape[1] // 7
    weekly = daily_events[:, : weeks * 7].reshape(who.count, weeks, 7).sum(axis=2)
    lived = np.arange(weeks) * 7 >= np.maximum(who.signup, 0)[:, None]
    values = np.where(lived, weekly, np.nan)
    known = lived.any(axis=1)
    middle, spread = np.zeros(who.count), np.ones(who.count)
    middle[known] = np.nanmean(values[known], axis=1)
    spread[known] = np.maximum(np.nanstd(values[known], axis=1), 1e-9)
    return np.where(lived, (weekly - middle[:, None]) / spread[:, None], 0.0)
