"""How many managers do the tiers take, how many are there, and which thresholds would fit those there are?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.settings import Settings
from healthseg.tools.segments.figures import Figures

CRITICAL_GAP, CRITICAL_SHARE = (
    1 / 3,
    0.25,
)  # of the need that is missing, and of the ARR that hangs on it
REFERENCE = ("Micro", "SMB", "Mid-Market", "Corporate", "Enterprise")


def by_rank(names: Sequence[str], table: dict[str, Any]) -> list[Any]:
    """What a table by tier name says of each tier; of names that it doesn't hold by their rank among the usual five.

    >>> by_rank(["Bronze", "Gold"], {"Micro": 1, "SMB": 2, "Mid-Market": 3, "Corporate": 4, "Enterprise": 5})
    [1, 5]
    """
    usual = [name for name in REFERENCE if name in table] or list(table)
    last = max(len(names) - 1, 1)
    return [
        table[name] if name in table else table[usual[round(place * (len(usual) - 1) / last)]]
        for place, name in enumerate(names)
    ]


def hours_of(names: Sequence[str], settings: Settings) -> list[float]:
    """Hours a month that a customer of each tier takes."""
    return [float(hours) for hours in by_rank(names, settings.tier_hours_per_month)]


def needs(
    figures: Figures, names: Sequence[str], tier: pd.Series, arr_share: dict[str, float | None]
) -> pd.DataFrame:
    """A row a tier from the lowest: customers, hours_each, hours, capacity_hours (of a manager), need, current, gap,
    priority, available_hours (None where it is not known who there is)."""
    csms = figures.portfolio.table("csms") if figures.portfolio.has("csms") else None
    managers = figures.static("csm_id", snapshot=True)
    rows = []
    for name, each in zip(names, hours_of(names, figures.settings), strict=True):
        members = tier.index[tier == name]
        capacity, current, available = _there(
            csms, name, managers.reindex(members), figures.settings
        )
        hours = each * len(members)
        need = math.ceil(round(hours / capacity, 9))
        gap = None if current is None else need - current
        rows.append(
            {
                "tier": name,
                "customers": len(members),
                "hours_each": each,
                "hours": hours,
                "capacity_hours": capacity,
                "need": need,
                "current": current,
                "gap": gap,
                "available_hours": available,
                "priority": _priority(gap, need, arr_share.get(name)),
            }
        )
    return pd.DataFrame(rows).astype({"current": object, "gap": object, "available_hours": float})


def _there(
    csms: pd.DataFrame | None, name: str, managers: pd.Series, settings: Settings
) -> tuple[float, int | None, float | None]:
    """A manager's hours a month, how many managers there are for a tier, and their hours together."""
    if csms is not None and csms["tier"].notna().any():
        own = csms[csms["tier"] == name]
        hours = own["capacity_hours"].astype(float).fillna(settings.csm_capacity_hours)
        capacity = (
            float(hours.mean()) if len(own) and hours.mean() > 0 else settings.csm_capacity_hours
        )
        return capacity, len(own), float(hours.sum())
    named = managers.dropna().nunique()
    if csms is None and not named:
        return settings.csm_capacity_hours, None, None
    return settings.csm_capacity_hours, int(named), None


def _priority(gap: int | None, need: int, share: float | None) -> str:
    if gap is None:
        return "unknown"
    if need and gap / need >= CRITICAL_GAP and share is not None and share >= CRITICAL_SHARE:
        return "critical"
    return "high" if gap > 0 else "none"


def suggested(
    amounts: pd.Series,
    given: Sequence[float],
    hours_each: Sequence[float],
    available: Sequence[float],
) -> list[float] | None:
    """Thresholds under which each tier's managers have as many customers as their hours carry, from the top down.

    The topmost tier takes as many of the largest customers as its hours allow, and so on; a threshold is the
    largest ARR that is left out, so that this customer belongs below. Where the customers run out the given
    thresholds stay, halved until they rise. None where a tier's hours are not known, or do not carry a single
    customer.
    """
    known = np.sort(amounts.dropna().to_numpy(dtype=float))[::-1]
    if not len(known) or any(not np.isfinite(value) for value in available[1:]):
        return None
    limits: list[float] = []
    at = 0
    for place in range(len(given) - 1, -1, -1):
        room = int(available[place + 1] // hours_each[place + 1])
        at += room
        limit = float(known[at]) if at < len(known) else float(given[place])
        while limits and limit >= limits[-1] > 0 and at >= len(known):
            limit /= 2
        if room == 0 or (limits and limit >= limits[-1]):
            return None
        limits.append(limit)
    return limits[::-1]
