"""From at risk to healthy: does what is done help, beyond what comes back by itself?

A spell begins on a weekly date with a score under 60 after one of 60 or more; it has recovered where the score is 60 or
more on four weekly dates in a row, the first of them within 90 days. Who stands low now would rise a little anyway:
spells with an intervention in their first 30 days are held against the likest spells without one, by score, slope
before and tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_days
from healthseg.statistics.rates import wilson
from healthseg.statistics.survival import kaplan_meier, quantile_time

LEAST = 20
WINDOW_DAYS, TREATED_DAYS, STEADY_WEEKS, SLOPE_WEEKS = 90, 30, 4, 4
MATCHES = 3  # untreated spells a treated one is held against
COLUMNS = ["client_id", "day", "score", "slope", "tier", "recovered", "days", "treated", "kind"]


@dataclass(frozen=True)
class Transitions:
    """``spells``: one row a spell (``COLUMNS``); rates are None where ``reason`` says why."""

    spells: pd.DataFrame
    treated: int
    success_rate: float | None
    success_lower: float | None
    success_upper: float | None
    matched: int
    matched_rate: float | None
    matched_lower: float | None
    matched_upper: float | None
    difference: float | None
    difference_lower: float | None
    difference_upper: float | None
    median_days: float | None
    kinds: pd.DataFrame
    reason: str | None


def transitions(
    scores: pd.DataFrame,
    interventions: pd.DataFrame | None,
    threshold: float,
    seed: int,
    level: float,
) -> Transitions:
    """``scores``: client_id, date (weekly), shown, tier, live. ``interventions``: client_id, kind, happened_at."""
    spells = _spells(scores, threshold)
    spells = _with_treatment(spells, interventions)
    treated = spells[spells["treated"]]
    kinds = (
        treated.groupby("kind", sort=True)["recovered"].agg(["size", "sum"]).reset_index()
        if len(treated)
        else (pd.DataFrame(columns=["kind", "size", "sum"]))
    )
    why = _why_not(spells, interventions)
    if why:
        return Transitions(
            spells,
            len(treated),
            *[None] * 3,
            int((~spells["treated"]).sum()),
            *[None] * 7,
            kinds,
            why,
        )
    others = spells[~spells["treated"]].reset_index(drop=True)
    like = _likest(treated, others)
    own = treated["recovered"].to_numpy(dtype=float)
    theirs = others["recovered"].to_numpy(dtype=float)[like].mean(axis=1)
    drawn = _drawn(treated["client_id"].to_numpy(), own - theirs, seed)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    used = len(np.unique(like))
    curve = kaplan_meier(treated["days"], treated["recovered"], level=level)
    return Transitions(
        spells,
        len(treated),
        float(own.mean()),
        *_interval(own.sum(), len(own), level),
        used,
        float(theirs.mean()),
        *_interval(theirs.mean() * used, used, level),
        float((own - theirs).mean()),
        float(low),
        float(high),
        quantile_time(curve).time,
        kinds,
        None,
    )


def _interval(count: float, n: int, level: float) -> tuple[float, float]:
    low, high = wilson(count, n, level)
    return float(low), float(high)


def _why_not(spells: pd.DataFrame, interventions: pd.DataFrame | None) -> str | None:
    if interventions is None:
        return "the portfolio has no interventions"
    treated = int(spells["treated"].sum())
    if min(treated, len(spells) - treated) < LEAST:
        return (
            f"too few: {treated} spells with an intervention and {len(spells) - treated} without, {LEAST} of each "
            "are needed"
        )
    return None


def _spells(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    rows = scores[scores["live"].astype(bool) & scores["shown"].notna()]
    rows = rows.sort_values(["client_id", "date"], kind="stable")
    found: list[tuple[Any, ...]] = []
    for client, own in rows.groupby("client_id", sort=True):
        day, score = epoch_days(own["date"]), own["shown"].to_numpy(dtype=float)
        tier = own["tier"].astype(object).to_numpy()
        low = score < threshold
        for at in np.flatnonzero(low[1:] & ~low[:-1]) + 1:
            if day[-1] - day[at] < WINDOW_DAYS + 7 * STEADY_WEEKS and not _back(day, low, at)[0]:
                continue  # not followed to the end
            recovered, days = _back(day, low, at)
            before = score[max(at - SLOPE_WEEKS, 0) : at]
            slope = float(score[at] - before.mean())
            found.append((client, int(day[at]), score[at], slope, tier[at], recovered, days))
    return pd.DataFrame(found, columns=COLUMNS[:-2])


def _back(day: np.ndarray, low: np.ndarray, at: int) -> tuple[bool, float]:
    """Whether the score was back for four dates in a row that began within 90 days, and after how many days."""
    for place in range(at + 1, len(day) - STEADY_WEEKS + 1):
        if day[place] - day[at] > WINDOW_DAYS:
            break
        if not low[place : place + STEADY_WEEKS].any():
            return True, float(day[place] - day[at])
    return False, float(WINDOW_DAYS)


def _with_treatment(spells: pd.DataFrame, interventions: pd.DataFrame | None) -> pd.DataFrame:
    """Whether, and by what, something was done in a spell's first 30 days (the first of several) and before its end."""
    kind = np.full(len(spells), None, dtype=object)
    given = (
        None
        if interventions is None
        else interventions.assign(day=epoch_days(interventions["happened_at"]))
    )
    if given is not None and len(spells):
        given = given.sort_values(["client_id", "day", "kind"], kind="stable")
        by = {
            client: (own["day"].to_numpy(), own["kind"].to_numpy(dtype=object))
            for client, own in given.groupby("client_id")
        }
        until = spells["day"] + np.minimum(
            TREATED_DAYS, np.where(spells["recovered"], spells["days"], TREATED_DAYS)
        )
        for row, (client, day, last) in enumerate(
            zip(spells["client_id"], spells["day"], until, strict=True)
        ):
            days, kinds = by.get(client, ((), ()))
            at = int(np.searchsorted(days, day))
            kind[row] = kinds[at] if at < len(days) and days[at] <= last else None
    return spells.assign(treated=[one is not None for one in kind], kind=kind).astype(
        {"treated": bool}
    )


def _likest(treated: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """For each treated spell the positions of the three likest others: same tier first, then score and slope."""
    spread = [
        max(float(np.std(np.r_[treated[name], others[name]])), 1e-9) for name in ("score", "slope")
    ]
    away = sum(
        ((treated[name].to_numpy()[:, None] - others[name].to_numpy()) / one) ** 2
        for name, one in zip(("score", "slope"), spread, strict=True)
    )
    tiers = treated["tier"].astype(str).to_numpy()[:, None] != others["tier"].astype(str).to_numpy()
    return np.argsort(away + 4.0 * tiers, axis=1, kind="stable")[:, :MATCHES]


def _drawn(client: np.ndarray, difference: np.ndarray, seed: int, count: int = 400) -> np.ndarray:
    """The mean difference of resampled customers."""
    who, ids = pd.factorize(client, sort=True)
    weights = np.random.default_rng(seed).multinomial(
        len(ids), np.full(len(ids), 1 / len(ids)), size=count
    )[:, who]
    return (weights @ difference) / np.maximum(weights.sum(axis=1), 1)
