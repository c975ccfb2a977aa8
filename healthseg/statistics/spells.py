"""What follows a spell of a sign: how many customers churn within a horizon, and how long before?

``weeks`` has a row per customer and weekly date: client_id, day, ``event_in_days`` (days until churn, NaN where it is
not known to come) and ``follow_days`` (how long the row could be followed). ``shown`` says by row whether the sign is
there (1), not there (0) or unknown (NaN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.rates import wilson

LEAD_DAYS = tuple(range(7, 85, 7))
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class SpellOutcomes:
    """What became of the spells of a sign; rates are None where there are too few spells.

    ``matched_rate`` is the rate of rows without the sign on the same dates; ``among_churned`` is the share of the weeks
    in the horizon before churn that show the sign, ``among_retained`` that of the weeks of customers that stay longer.
    """

    spells: int
    rate: float | None
    lower: float | None
    upper: float | None
    matched: int
    matched_rate: float | None
    lead_days: float | None
    lead_quartiles: tuple[float, float] | None
    among_churned: float | None
    among_retained: float | None


def spell_outcomes(
    weeks: pd.DataFrame,
    shown: np.ndarray,
    starts: np.ndarray,
    level: float,
    horizon_days: int,
    min_spells: int,
) -> SpellOutcomes:
    """What came within ``horizon_days`` of the first day of each spell that could be followed so long."""
    mature = (weeks["follow_days"] >= horizon_days).to_numpy()
    ahead = weeks["event_in_days"].to_numpy(dtype=float)
    churned = np.nan_to_num(ahead, nan=np.inf) <= horizon_days
    counted = starts & mature
    n, count = int(counted.sum()), int((counted & churned).sum())
    lower, upper = wilson(count, n, level)
    matched, matched_rate = _matched(weeks, shown, counted, churned & mature, mature)
    leads = ahead[starts & churned]
    known = np.isfinite(shown)
    before, retained = known & churned & mature, known & ~churned & mature
    enough, enough_leads = n >= min_spells, len(leads) >= min_spells // 2
    lower_lead, median_lead, upper_lead = np.quantile(leads if enough_leads else [0.0], QUARTILES)
    return SpellOutcomes(
        n,
        count / n if enough else None,
        float(lower) if enough else None,
        float(upper) if enough else None,
        matched,
        matched_rate if enough else None,
        float(median_lead) if enough_leads else None,
        (float(lower_lead), float(upper_lead)) if enough_leads else None,
        float(shown[before].mean()) if before.any() else None,
        float(shown[retained].mean()) if retained.any() else None,
    )


def spell_starts(weeks: pd.DataFrame, shown: np.ndarray, quiet_weeks: int) -> np.ndarray:
    """Rows on which a spell begins: the sign is there, and not on the customer's dates of the weeks before."""
    days = weeks["day"].to_numpy()
    dates = np.unique(days)
    step = max(int(np.median(np.diff(dates))) if len(dates) > 1 else 7, 1)
    back = max(quiet_weeks * 7 // step, 1)
    grouped = pd.Series(shown).groupby(weeks["client_id"].to_numpy(), sort=False)
    earlier = np.column_stack([grouped.shift(lag).to_numpy() for lag in range(1, back + 1)])
    quiet = (np.nan_to_num(earlier, nan=0) == 0).all(axis=1) & np.isfinite(earlier[:, 0])
    return (np.nan_to_num(shown) == 1) & quiet


def _matched(
    weeks: pd.DataFrame,
    shown: np.ndarray,
    counted: np.ndarray,
    churned: np.ndarray,
    mature: np.ndarray,
) -> tuple[int, float | None]:
    """Rows without the sign on the dates of spells, weighted as those: how many, and their churn rate."""
    day = weeks["day"].to_numpy()
    spells = pd.Series(day[counted]).value_counts()
    without = (shown == 0) & mature & np.isin(day, spells.index)
    if not without.any():
        return 0, None
    rates = pd.Series(churned[without].astype(float)).groupby(day[without]).mean()
    weights = spells.reindex(rates.index)
    return int(without.sum()), float((rates * weights).sum() / weights.sum())


def lead_curve(weeks: pd.DataFrame, shown: np.ndarray, horizon_days: int) -> pd.DataFrame:
    """By days before churn: the share of churned customers that show a sign, and that of retained ones.

    Columns: lead_days, churned, n, retained, gap. A row counts for the lead day nearest to it.
    """
    ahead, known = weeks["event_in_days"].to_numpy(dtype=float), np.isfinite(shown)
    retained = (
        known
        & ~(np.nan_to_num(ahead, nan=np.inf) <= horizon_days)
        & (weeks["follow_days"] >= horizon_days)
    )
    base = float(shown[retained].mean()) if retained.any() else np.nan
    rows = []
    for lead in LEAD_DAYS:
        near = known & (np.abs(ahead - lead) <= 3)
        share = float(shown[near].mean()) if near.any() else np.nan
        rows.append((lead, share, int(near.sum()), base))
    frame = pd.DataFrame(rows, columns=["lead_days", "churned", "n", "retained"])
    return frame.assign(gap=frame["churned"] - frame["retained"])


def earliest_lead(
    curves: pd.DataFrame, min_customers: int, min_z: float
) -> tuple[str | None, int | None]:
    """The sign that separates churned from retained customers earliest, and how many days before churn it begins to.

    A sign separates from a lead day on if its gap is significant on that day and on every later one of its
    ``lead_curve``: the largest gap would be the last, the day on which churn is already visible. Of signs that begin
    together, the one with the larger gap then.

    >>> curves = pd.DataFrame({"sign": "silence", "lead_days": [7, 14, 21], "churned": [0.9, 0.6, 0.2], "n": 50,
    ...                        "retained": 0.1, "gap": [0.8, 0.5, 0.1]})
    >>> earliest_lead(curves, min_customers=20, min_z=1.96)
    ('silence', 14)
    """
    if not len(curves):
        return None, None
    ordered = curves.sort_values(["sign", "lead_days"], kind="stable")
    variance = (ordered["churned"] * (1 - ordered["churned"])).clip(lower=0.01)
    error = np.sqrt(variance / ordered["n"].clip(lower=1))
    significant = (ordered["n"] >= min_customers) & (ordered["gap"] > min_z * error)
    lasting = significant.groupby(ordered["sign"], sort=False).cummin().astype(bool)
    if not lasting.any():
        return None, None
    first = ordered[lasting].sort_values(
        ["lead_days", "gap", "sign"], ascending=[False, False, True], kind="stable"
    )
    return str(first["sign"].iloc[0]), int(first["lead_days"].iloc[0])


def early_signs(
    starts: np.ndarray,
    others: Mapping[str, np.ndarray],
    min_rows: int,
    min_ratio: float,
    min_z: float,
) -> list[tuple[str, float, float]]:
    """Other signs that are there when a spell begins more often than otherwise: name, both shares.

    Those at least ``min_ratio`` times as frequent, ``min_z`` standard errors apart, the most telling first.
    """
    early = []
    for name, shown in others.items():
        known = np.isfinite(shown)
        at_start, rest = known & starts, known & ~starts
        if min(at_start.sum(), rest.sum()) < min_rows:
            continue
        share, base = float(shown[at_start].mean()), float(shown[rest].mean())
        error = np.sqrt(share * (1 - share) / at_start.sum())
        if base > 0 and share >= min_ratio * base and share - base >= min_z * error:
            early.append((name, share, base))
    return sorted(early, key=lambda sign: -sign[1] / sign[2])
