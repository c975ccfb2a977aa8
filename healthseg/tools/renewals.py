"""Which contracts renew when, and what may churn by then?"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.scoring.health import bands_of
from healthseg.settings import BANDS

if TYPE_CHECKING:
    from healthseg.tools.context import PortfolioContext

# days ahead, each window holding the shorter ones
WINDOWS = (30, 60, 90, 180)
QUARTERS = 4
OVERDUE, UNCONTRACTED, ALL, NOT_SCORED = "overdue", "uncontracted", "all", "not scored"
RENEWAL_COLUMNS = ["window", "kind", "band", "customers", "arr", "expected", "lower", "upper"]


def renewals(context: PortfolioContext) -> pd.DataFrame:
    """A row per live customer whose renewal is known, the next one first: what renews, when, and how it stands.

    Columns: client_id, name, csm_id, arr, renewal_on, days_to_renewal (negative: overdue), uncontracted_days (NaN while
    a contract is in force), quarter, auto_renews, band, score, churn_probability, expected_churned_arr, gave_notice.
    """
    rows, churn = context.live, context.churn
    days = rows["days_to_renewal"].astype(float)
    on = pd.Timestamp(context.as_of) + pd.to_timedelta(days, unit="D")
    frame = pd.DataFrame(
        {
            "client_id": rows.index,
            "name": context.names,
            "csm_id": context.static("csm_id", snapshot=True),
            "arr": context.money.amounts,
            "currency": context.money.currency or context.money.by_currency,
            "renewal_on": on,
            "days_to_renewal": days,
            "uncontracted_days": rows["uncontracted_days"].astype(float),
            "quarter": _quarter(on),
            "auto_renews": rows["contract_auto_renews"].astype(float),
            "band": bands_of(rows["shown"].to_numpy(dtype=float), context.settings),
            "score": rows["shown"].astype(float),
            "churn_probability": churn["probability"],
            "expected_churned_arr": context.expected_churned_arr,
            "gave_notice": churn["gave_notice"],
        },
        index=rows.index,
    )
    known = frame["days_to_renewal"].notna() | (frame["uncontracted_days"] >= 1)
    frame = frame[known].reset_index(drop=True)
    return frame.sort_values(["days_to_renewal", "client_id"], kind="stable", ignore_index=True)


def _quarter(days: pd.Series) -> pd.Series:
    """The quarter of each day: "2025 Q3"."""
    word = (
        days.dt.year.astype("Int64").astype(str)
        + " Q"
        + days.dt.quarter.astype("Int64").astype(str)
    )
    return word.where(days.notna(), None)


def renewal_windows(context: PortfolioContext, frame: pd.DataFrame) -> pd.DataFrame:
    """By window and band: customers, ARR, and the ARR expected to churn within the horizon with its range.

    Windows are the next 30, 60, 90 and 180 days, this quarter and the next three (from ``as_of`` on), what is overdue,
    and customers without a contract; the band "all" has all of a window's customers. ARR is NaN where it can't be added up.
    """
    parts = []
    for kind, window, members in _windows(context.as_of, frame):
        band = members["band"].astype(object).where(members["band"].notna(), NOT_SCORED)
        for name in (ALL, *BANDS, NOT_SCORED):
            chosen = members if name == ALL else members[band == name]
            if name == ALL or len(chosen):
                parts.append((window, kind, name, len(chosen), *_risk(context, chosen)))
    return pd.DataFrame(parts, columns=RENEWAL_COLUMNS)


def _windows(as_of: dt.date, frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    days, quarter = frame["days_to_renewal"], pd.Period(as_of, freq="Q")
    ahead = frame[days >= 0]
    windows = [
        ("days", f"next {count} days", ahead[ahead["days_to_renewal"] <= count])
        for count in WINDOWS
    ]
    for step in range(QUARTERS):
        name = f"{(quarter + step).year} Q{(quarter + step).quarter}"
        windows.append(("quarter", name, ahead[ahead["quarter"] == name]))
    windows.append((OVERDUE, OVERDUE, frame[days < 0]))
    windows.append((UNCONTRACTED, UNCONTRACTED, frame[frame["uncontracted_days"] >= 1]))
    return windows


def _risk(context: PortfolioContext, members: pd.DataFrame) -> tuple[float, float, float, float]:
    if not context.money.addable:
        return (np.nan,) * 4
    tail = (1 - context.settings.interval_level) / 2
    clients = pd.Index(members["client_id"])
    simulated = context.simulated_churned_arr(clients)
    ends = [simulated.quantile(share) if len(clients) else 0.0 for share in (tail, 1 - tail)]
    return float(members["arr"].sum()), simulated.expected, ends[0], ends[1]
