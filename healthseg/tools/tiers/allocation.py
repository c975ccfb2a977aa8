"""Which tier does each customer belong to, and how many managers does each tier need?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from healthseg.clustering.rules import UNPLACED, places
from healthseg.statistics.robust import ranks

if TYPE_CHECKING:
    from healthseg.settings import Settings
    from healthseg.tools.context import PortfolioContext

T = TypeVar("T")
RANKED = ("arr", "potential", "strategic_value")
USUAL_TIERS = ("Micro", "SMB", "Mid-Market", "Corporate", "Enterprise")


# -- tiers of customers ----------------------------------------------------------------------


def by_amount(values: pd.Series, thresholds: Sequence[float]) -> pd.Series:
    """The tier's number of each amount, from the lowest; an upper limit belongs to its tier."""
    number = places(values.to_numpy(dtype=float), thresholds, lower_included=False)
    return pd.Series(number, index=values.index)


def composite(parts: pd.DataFrame, weights: Sequence[float] | np.ndarray) -> pd.Series:
    """The weighted mean of the mid-ranks (0 to 1) of the known parts; a missing part's weight goes to the others.

    >>> frame = pd.DataFrame({"arr": [1.0, 2.0], "potential": [5.0, None]})
    >>> composite(frame, (0.5, 0.5)).tolist()
    [0.375, 0.75]
    """
    columns = [_mid_ranks(parts[name].to_numpy(dtype=float)) for name in parts]
    ranked = np.column_stack(columns)
    weight = np.where(np.isnan(ranked), 0.0, np.asarray(weights, dtype=float))
    total = weight.sum(axis=1)
    mean = np.full(len(ranked), np.nan)
    np.divide((weight * np.nan_to_num(ranked)).sum(axis=1), total, out=mean, where=total > 0)
    return pd.Series(mean, index=parts.index)


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    result = np.full(len(values), np.nan)
    if known.any():
        result[known] = (ranks(values[known]) - 0.5) / known.sum()
    return result


def by_sizes(scores: pd.Series, sizes: Sequence[int]) -> pd.Series:
    """Tiers of stated sizes, from the lowest score up; ids break ties. A missing score has no tier.

    >>> by_sizes(pd.Series({"a": 0.2, "b": 0.9, "c": 0.5}), [2, 1]).tolist()
    [0, 1, 0]
    """
    known = scores.dropna()
    order = known.index[np.lexsort((known.index.to_numpy().astype(str), known.to_numpy()))]
    number = np.repeat(np.arange(len(sizes)), sizes)[: len(order)]
    number = np.r_[number, np.full(len(order) - len(number), len(sizes) - 1)]
    return pd.Series(number, index=order).reindex(scores.index).fillna(UNPLACED).astype(int)


def sensitivity(
    parts: pd.DataFrame, weights: Sequence[float], sizes: Sequence[int], step: float
) -> list[dict[str, Any]]:
    """How many customers change tier when a weight moves by ``step``, the others in proportion?"""
    base, shares = by_sizes(composite(parts, weights), sizes), np.asarray(weights) / sum(weights)
    rows = []
    for at, name in enumerate(parts.columns):
        for move in (-step, step):
            weight = min(max(float(shares[at]) + move, 0.0), 1.0)
            rest = 1 - shares[at]
            others = shares * (1 - weight) / rest if rest > 0 else (1 - weight) / (len(shares) - 1)
            moved = np.where(np.arange(len(shares)) == at, weight, others)
            changed = int((by_sizes(composite(parts, moved), sizes) != base).sum())
            row = {"weight": name, "from_weight": round(float(shares[at]), 4)}
            rows.append(row | {"to_weight": round(weight, 4), "customers_in_another_tier": changed})
    return rows


# -- managers --------------------------------------------------------------------------------


def by_rank(names: Sequence[str], table: Mapping[str, T]) -> list[T]:
    """A table's value for each tier by name; for other names by their rank among the usual five.

    >>> usual = {"Micro": 1, "SMB": 2, "Mid-Market": 3, "Corporate": 4, "Enterprise": 5}
    >>> by_rank(["Bronze", "Gold"], usual)
    [1, 5]
    """
    usual = [name for name in USUAL_TIERS if name in table] or list(table)
    last = max(len(names) - 1, 1)
    return [
        table[name if name in table else usual[round(rank * (len(usual) - 1) / last)]]
        for rank, name in enumerate(names)
    ]


def staffing(
    context: PortfolioContext,
    names: Sequence[str],
    tier: pd.Series,
    arr_share: Mapping[str, float | None],
) -> pd.DataFrame:
    """A row per tier from the lowest: customers, hours_each, hours, capacity_hours (of a manager), need,
    current, gap, available_hours (None where the managers are unknown), priority."""
    settings, portfolio = context.settings, context.portfolio
    csms = portfolio.table("csms") if portfolio.has("csms") else None
    managers = context.static("csm_id", snapshot=True)
    rows = []
    hours_each = by_rank(names, settings.tier_hours_per_month)
    for name, each in zip(names, hours_each, strict=True):
        members = tier.index[tier == name]
        own = managers.reindex(members)
        capacity, current, available = _managers(csms, name, own, settings)
        hours = float(each) * len(members)
        need = math.ceil(round(hours / capacity, 9))
        gap = None if current is None else need - current
        rows.append(
            {
                "tier": name,
                "customers": len(members),
                "hours_each": float(each),
                "hours": hours,
                "capacity_hours": capacity,
                "need": need,
                "current": current,
                "gap": gap,
                "available_hours": available,
                "priority": _priority(gap, need, arr_share.get(name), settings),
            }
        )
    return pd.DataFrame(rows).astype({"current": object, "gap": object, "available_hours": float})


def _managers(
    csms: pd.DataFrame | None, tier: str, assigned: pd.Series, settings: Settings
) -> tuple[float, int | None, float | None]:
    """A manager's hours a month, how many managers a tier has, and their hours together."""
    capacity = settings.csm_capacity_hours
    if csms is not None and csms["tier"].notna().any():
        own = csms[csms["tier"] == tier]
        hours = own["capacity_hours"].astype(float).fillna(capacity)
        mean = float(hours.mean()) if len(own) and hours.mean() > 0 else capacity
        return mean, len(own), float(hours.sum())
    known = assigned.dropna().nunique()
    if csms is None and not known:
        return capacity, None, None
    return capacity, int(known), None


def _priority(gap: int | None, need: int, arr_share: float | None, settings: Settings) -> str:
    if gap is None:
        return "unknown"
    large = arr_share is not None and arr_share >= settings.large_tier_arr_share
    if large and need and gap / need >= settings.critical_capacity_gap_share:
        return "critical"
    return "high" if gap > 0 else "none"


def suggested_thresholds(
    amounts: pd.Series,
    current: Sequence[float],
    hours_each: Sequence[float],
    available: Sequence[float],
) -> list[float] | None:
    """Thresholds by which each tier's managers have as many customers as their hours allow.

    The topmost tier takes as many of the largest customers as its hours allow, and so on down; a
    threshold is the largest ARR left out, which belongs to the tier below. Where there are no more
    customers, the current thresholds remain, halved until they rise. None where a tier's hours are
    unknown or allow no customer.
    """
    known = np.sort(amounts.dropna().to_numpy(dtype=float))[::-1]
    if not len(known) or any(not np.isfinite(hours) for hours in available[1:]):
        return None
    limits: list[float] = []
    served = 0
    for tier in range(len(current), 0, -1):
        room = int(available[tier] // hours_each[tier])
        served += room
        exhausted = served >= len(known)
        limit = float(current[tier - 1]) if exhausted else float(known[served])
        while exhausted and limits and limit >= limits[-1] > 0:
            limit /= 2
        if room == 0 or (limits and limit >= limits[-1]):
            return None
        limits.append(limit)
    return limits[::-1]
