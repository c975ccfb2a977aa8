"""What follows a sign: spells of it, who left within 90 days of their first day, and how many days before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.rates import wilson
from healthseg.tools.patterns.landmarks import HORIZON_DAYS

LEAST = 20
Already = tuple[str, float, float]
QUIET_WEEKS = 4  # without the sign, before a new spell of it can begin
CURVE_DAYS = tuple(range(7, 85, 7))


@dataclass(frozen=True)
class After:
    """What became of the spells of a sign; rates are None under 20 spells."""

    spells: int
    lost: int
    rate: float | None
    lower: float | None
    upper: float | None
    matched: int
    matched_rate: float | None
    lead_days: float | None
    lead_quartiles: tuple[float, float] | None
    leads: int
    among_leavers: float | None  # share of the weeks in the 90 days before leaving that showed it
    among_stayers: float | None  # share of the weeks of those who stayed for 90 days more


def after(weeks: pd.DataFrame, shown: np.ndarray, level: float) -> After:
    """The spells of a sign (``shown``: 1, 0, NaN by row of ``weeks``), and what came within 90 days of their first day.

    Only first days that could be followed for 90 days are counted; matched are the rows of the same dates without it.
    """
    start = first_days(weeks, shown)
    mature = (weeks["follow_days"] >= HORIZON_DAYS).to_numpy()
    ahead = weeks["event_in_days"].to_numpy(dtype=float)
    lost = np.nan_to_num(ahead, nan=np.inf) <= HORIZON_DAYS
    counted = start & mature
    n, count = int(counted.sum()), int((counted & lost).sum())
    low, high = wilson(count, n, level)
    matched, rate = _matched(weeks, shown, counted, lost & mature, mature)
    leads = ahead[start & lost]
    known = np.isfinite(shown)
    before, stayed = known & lost & mature, known & ~lost & mature
    return After(
        n,
        count,
        count / n if n >= LEAST else None,
        float(low) if n >= LEAST else None,
        float(high) if n >= LEAST else None,
        matched,
        rate if n >= LEAST else None,
        float(np.median(leads)) if len(leads) >= LEAST // 2 else None,
        tuple(np.quantile(leads, [0.25, 0.75]).tolist()) if len(leads) >= LEAST // 2 else None,
        len(leads),
        float(shown[before].mean()) if before.any() else None,
        float(shown[stayed].mean()) if stayed.any() else None,
    )


def first_days(weeks: pd.DataFrame, shown: np.ndarray) -> np.ndarray:
    """Rows on which a sign begins: shown, and known not to be on the customer's last dates of four weeks before."""
    frame = pd.DataFrame(
        {"client": weeks["client_id"].to_numpy(), "day": weeks["day"].to_numpy(), "shown": shown}
    )
    step = max(
        int(np.median(np.diff(np.unique(frame["day"])))) if frame["day"].nunique() > 1 else 7, 1
    )
    back = max(QUIET_WEEKS * 7 // step, 1)
    grouped = frame.groupby("client", sort=False)["shown"]
    earlier = np.column_stack([grouped.shift(place).to_numpy() for place in range(1, back + 1)])
    quiet = (np.nan_to_num(earlier, nan=0) == 0).all(axis=1) & np.isfinite(earlier[:, 0])
    return (np.nan_to_num(shown) == 1) & quiet


def _matched(
    weeks: pd.DataFrame,
    shown: np.ndarray,
    counted: np.ndarray,
    lost: np.ndarray,
    mature: np.ndarray,
) -> tuple[int, float | None]:
    """Rows without the sign on the dates on which spells began, weighted as those: how many, and who left."""
    day = weeks["day"].to_numpy()
    spells = pd.Series(day[counted]).value_counts()
    without = (shown == 0) & mature & np.isin(day, spells.index)
    if not without.any():
        return 0, None
    rates = pd.Series(lost[without].astype(float)).groupby(day[without]).mean()
    weights = spells.reindex(rates.index)
    return int(without.sum()), float((rates * weights).sum() / weights.sum())


def lead_curve(weeks: pd.DataFrame, shown: np.ndarray) -> pd.DataFrame:
    """By weeks before leaving: the share of leavers that showed a sign, and that of all who stayed 90 days more.

    Columns: lead_days, leavers, n, stayers, gap. A leaver's row counts for the lead day nearest to it.
    """
    ahead, known = weeks["event_in_days"].to_numpy(dtype=float), np.isfinite(shown)
    stayed = (
        known
        & ~(np.nan_to_num(ahead, nan=np.inf) <= HORIZON_DAYS)
        & (weeks["follow_days"] >= HORIZON_DAYS)
    )
    base = float(shown[stayed].mean()) if stayed.any() else np.nan
    rows = []
    for lead in CURVE_DAYS:
        here = known & (np.abs(ahead - lead) <= 3)
        rows.append(
            (lead, float(shown[here].mean()) if here.any() else np.nan, int(here.sum()), base)
        )
    frame = pd.DataFrame(rows, columns=["lead_days", "leavers", "n", "stayers"])
    return frame.assign(gap=frame["leavers"] - frame["stayers"])


def warnings_of(
    weeks: pd.DataFrame, start: np.ndarray, others: dict[str, np.ndarray]
) -> list[Already]:
    """Other signs that were already there when a spell began more often than on all other rows: name, both shares.

    Named are those at least a quarter more frequent, with n of 20 or more, most telling first.
    """
    found = []
    for name, shown in others.items():
        known = np.isfinite(shown)
        here, rest = known & start, known & ~start
        if min(here.sum(), rest.sum()) < LEAST:
            continue
        share, base = float(shown[here].mean()), float(shown[rest].mean())
        if (
            base > 0
            and share >= 1.25 * base
            and share - base >= 2.58 * np.sqrt(share * (1 - share) / here.sum())
        ):
            found.append((name, share, base))
    return sorted(found, key=lambda one: -one[1] / one[2])
