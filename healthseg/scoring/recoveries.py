"""From at risk to healthy: do interventions help, beyond what recovers by itself?

A spell begins on a weekly date with a score under ``recovery_score`` after one above. It has recovered where the score
is above for ``recovery_steady_weeks`` weekly dates in a row that begin within ``recovery_days``. Low scores rise a
little anyway: spells with an intervention in their first ``recovery_treated_days`` are compared with the most similar
spells without one, by score, slope before and tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_days
from healthseg.settings import Settings
from healthseg.statistics.effects import resamples
from healthseg.statistics.rates import wilson
from healthseg.statistics.survival import kaplan_meier, quantile_time

COLUMNS = ["client_id", "day", "score", "slope", "tier", "recovered", "days"]


@dataclass(frozen=True)
class Recoveries:
    """``spells``: one row a spell (``COLUMNS``, treated, kind); ``kinds``: kind, size and sum (recovered).

    Rates are None where ``reason`` says why.
    """

    spells: pd.DataFrame
    kinds: pd.DataFrame
    treated: int
    matched: int
    reason: str | None = None
    success_rate: float | None = None
    success_lower: float | None = None
    success_upper: float | None = None
    matched_success_rate: float | None = None
    matched_lower: float | None = None
    matched_upper: float | None = None
    difference: float | None = None
    difference_lower: float | None = None
    difference_upper: float | None = None
    median_days: float | None = None


def recoveries(
    scores: pd.DataFrame,
    interventions: pd.DataFrame | None,
    settings: Settings,
    seed: int,
    level: float,
) -> Recoveries:
    """``scores``: client_id, date (weekly), shown, tier, live. ``interventions``: client_id, kind, happened_at."""
    spells = _with_treatment(_spells(scores, settings), interventions, settings)
    treated = spells[spells["treated"]]
    kinds = pd.DataFrame(columns=["kind", "size", "sum"])
    if len(treated):
        recovered = treated.groupby("kind", sort=True)["recovered"]
        kinds = recovered.agg(["size", "sum"]).reset_index()
    untreated = spells[~spells["treated"]].reset_index(drop=True)
    reason = _reason(len(treated), len(untreated), interventions, settings)
    if reason:
        return Recoveries(spells, kinds, len(treated), len(untreated), reason)
    similar = _most_similar(treated, untreated, settings)
    own = treated["recovered"].to_numpy(dtype=float)
    theirs = untreated["recovered"].to_numpy(dtype=float)[similar].mean(axis=1)
    drawn = _resampled_difference(treated["client_id"].to_numpy(), own - theirs, seed, settings)
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    used = len(np.unique(similar))
    success_lower, success_upper = wilson(own.sum(), len(own), level)
    matched_lower, matched_upper = wilson(theirs.mean() * used, used, level)
    return Recoveries(
        spells,
        kinds,
        len(treated),
        used,
        success_rate=float(own.mean()),
        success_lower=float(success_lower),
        success_upper=float(success_upper),
        matched_success_rate=float(theirs.mean()),
        matched_lower=float(matched_lower),
        matched_upper=float(matched_upper),
        difference=float((own - theirs).mean()),
        difference_lower=float(lower),
        difference_upper=float(upper),
        median_days=quantile_time(
            kaplan_meier(treated["days"], treated["recovered"], level=level)
        ).time,
    )


def _reason(
    treated: int, untreated: int, interventions: pd.DataFrame | None, settings: Settings
) -> str | None:
    if interventions is None:
        return "the portfolio has no interventions"
    if min(treated, untreated) < settings.recovery_min_spells:
        return (
            f"too few: {treated} spells with an intervention and {untreated} without, "
            f"{settings.recovery_min_spells} of each are needed"
        )
    return None


def _spells(scores: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    rows = scores[scores["live"].astype(bool) & scores["shown"].notna()]
    rows = rows.sort_values(["client_id", "date"], kind="stable")
    followed_days = settings.recovery_days + 7 * settings.recovery_steady_weeks
    spells: list[tuple[Any, ...]] = []
    for client, own in rows.groupby("client_id", sort=True):
        day, score = epoch_days(own["date"]), own["shown"].to_numpy(dtype=float)
        tier = own["tier"].astype(object).to_numpy()
        low = score < settings.recovery_score
        for at in np.flatnonzero(low[1:] & ~low[:-1]) + 1:
            recovered, days = _recovered(day, low, int(at), settings)
            if not recovered and day[-1] - day[at] < followed_days:
                continue
            before = score[max(at - settings.recovery_slope_weeks, 0) : at]
            slope = float(score[at] - before.mean())
            spells.append((client, int(day[at]), score[at], slope, tier[at], recovered, days))
    return pd.DataFrame(spells, columns=COLUMNS)


def _recovered(day: np.ndarray, low: np.ndarray, at: int, settings: Settings) -> tuple[bool, float]:
    """Whether the score is steadily back within ``recovery_days``, and after how many days."""
    steady = settings.recovery_steady_weeks
    for back in range(at + 1, len(day) - steady + 1):
        if day[back] - day[at] > settings.recovery_days:
            break
        if not low[back : back + steady].any():
            return True, float(day[back] - day[at])
    return False, float(settings.recovery_days)


def _with_treatment(
    spells: pd.DataFrame, interventions: pd.DataFrame | None, settings: Settings
) -> pd.DataFrame:
    """Whether, and by what, a spell was treated in its first days (the first of several) and before its end."""
    kind = np.full(len(spells), None, dtype=object)
    if interventions is not None and len(spells):
        rows = interventions.assign(day=epoch_days(interventions["happened_at"]))
        rows = rows.sort_values(["client_id", "day", "kind"], kind="stable")
        by_client = {
            client: (own["day"].to_numpy(), own["kind"].to_numpy(dtype=object))
            for client, own in rows.groupby("client_id")
        }
        longest = settings.recovery_treated_days
        days_open = np.where(spells["recovered"], spells["days"], longest)
        until = spells["day"] + np.minimum(longest, days_open)
        for row, (client, day, last) in enumerate(
            zip(spells["client_id"], spells["day"], until, strict=True)
        ):
            days, kinds = by_client.get(client, ((), ()))
            at = int(np.searchsorted(days, day))
            kind[row] = kinds[at] if at < len(days) and days[at] <= last else None
    treated = np.array([value is not None for value in kind], dtype=bool)
    return spells.assign(treated=treated, kind=kind)


def _most_similar(treated: pd.DataFrame, untreated: pd.DataFrame, settings: Settings) -> np.ndarray:
    """For each treated spell the positions of the most similar others: same tier first, then score and slope."""
    names = ["score", "slope"]
    both = pd.concat([treated[names], untreated[names]]).to_numpy(dtype=float)
    spread = np.maximum(both.std(axis=0), 1e-9)
    distance = sum(
        ((treated[name].to_numpy()[:, None] - untreated[name].to_numpy()) / scale) ** 2
        for name, scale in zip(names, spread, strict=True)
    )
    tiers = [frame["tier"].astype(str).to_numpy() for frame in (treated, untreated)]
    distance = distance + settings.recovery_other_tier_distance * (tiers[0][:, None] != tiers[1])
    return np.argsort(distance, axis=1, kind="stable")[:, : settings.recovery_matches]


def _resampled_difference(
    client: np.ndarray, difference: np.ndarray, seed: int, settings: Settings
) -> np.ndarray:
    """The mean difference in each resample of the customers."""
    customer, ids = pd.factorize(client, sort=True)
    weights = resamples(len(ids), seed, settings.recovery_resamples)[:, customer]
    return (weights @ difference) / np.maximum(weights.sum(axis=1), 1)
