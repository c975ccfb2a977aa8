"""Which contracts renew when, and what may churn by then?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from healthseg.scoring.churn.expected import (
    Reach,
    SimulatedChurn,
    churn_by_horizon,
    reach,
    simulate_horizons,
)
from healthseg.scoring.health import bands_of
from healthseg.settings import BANDS
from healthseg.tools.base import Part
from healthseg.tools.values import rounded

if TYPE_CHECKING:
    from healthseg.tools.context import PortfolioContext

# days ahead, each window holding the shorter ones
WINDOWS = (30, 60, 90, 180)
QUARTERS = 4
OVERDUE, UNCONTRACTED, ALL, NOT_SCORED = "overdue", "uncontracted", "all", "not scored"
RENEWAL_COLUMNS = [
    *(
        "window",
        "kind",
        "band",
        "customers",
        "arr",
        "expected_customers",
        "expected",
        "lower",
        "upper",
    ),
    *("horizon_days", "note"),
]


class RenewalRisk(Part):
    """What may churn through a renewal that lies beyond ``churn_horizon_days``."""

    horizon_days: int = Field(description="Days ahead, which the renewal lies within")
    churn_probability: float = Field(description="Probability of churn or notice within them")
    lower: float = Field(description="Lower end of its interval")
    upper: float = Field(description="Upper end of its interval")
    arr: float | None = Field(description="Probability × ARR; null where no ARR is known")
    currency: str | None = Field(description="The portfolio's currency")


def renewal_risk(context: PortfolioContext, client_id: str) -> RenewalRisk | None:
    """What of a customer may churn by a renewal beyond ``churn_horizon_days``, within the longest window.

    None where it renews within the horizon or beyond that window, where past dates did not test so long a horizon, where
    no rate is known, and after a notice.
    """
    days, horizon = context.live["days_to_renewal"].get(client_id), WINDOWS[-1]
    if days is None or not context.settings.churn_horizon_days < days <= horizon:
        return None
    if reach(context.portfolio, context.as_of).tested_days < horizon:
        return None
    own = context.live.loc[[client_id]]
    risk = churn_by_horizon(context.portfolio, context.as_of, own, [horizon])[horizon].iloc[0]
    if risk["gave_notice"] or pd.isna(risk["probability"]):
        return None
    probability, lower, upper = (float(risk[name]) for name in ("probability", "lower", "upper"))
    return RenewalRisk(
        horizon_days=horizon,
        churn_probability=round(probability, 4),
        lower=round(lower, 4),
        upper=round(upper, 4),
        arr=rounded(probability * context.money.amounts.get(client_id, np.nan), 2),
        currency=context.money.currency,
    )


def renewals(context: PortfolioContext) -> pd.DataFrame:
    """A row per live customer whose renewal is known, the next one first: what renews, when, and how it stands.

    Columns: client_id, name, csm_id, arr, renewal_on, days_to_renewal (negative: overdue), uncontracted_days (NaN while
    a contract is in force), quarter, auto_renews, band, score, churn_probability and expected_churned_arr (within
    ``churn_horizon_days``; ``renewal_windows`` has those of the windows), gave_notice.
    """
    rows, churn = context.live, context.churn
    days, on = rows["days_to_renewal"].astype(float), renewal_days(rows, context.as_of)
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


def renewal_days(rows: pd.DataFrame, as_of: dt.date) -> pd.Series:
    """The day of each customer's renewal, NaT where it is unknown."""
    return pd.Timestamp(as_of) + pd.to_timedelta(rows["days_to_renewal"].astype(float), unit="D")


def _quarter(days: pd.Series) -> pd.Series:
    """The quarter of each day: "2025 Q3"."""
    word = (
        days.dt.year.astype("Int64").astype(str)
        + " Q"
        + days.dt.quarter.astype("Int64").astype(str)
    )
    return word.where(days.notna(), None)


@dataclass(frozen=True)
class Window:
    """Customers whose renewal falls into some days, and in how many days these end."""

    kind: str
    name: str
    days: int
    members: pd.DataFrame


def renewal_windows(context: PortfolioContext, frame: pd.DataFrame) -> pd.DataFrame:
    """By window and band: customers, ARR, and the ARR expected to churn by the window's end with its range.

    Windows are the next 30, 60, 90 and 180 days, this quarter and the next three (from ``as_of`` on), what is overdue,
    and customers without a contract (both within ``churn_horizon_days``); the band "all" has all of a window's customers.
    ``horizon_days`` are those until the end, ``note`` says where it lies beyond what the model was tested on, or beyond what
    is known: then there is no expectation. ARR is NaN where it can't be added up. Of the same customers a longer
    window never expects less.
    """
    return context.stored("renewal_windows", lambda: _by_window(context, frame)).copy()


def _by_window(context: PortfolioContext, frame: pd.DataFrame) -> pd.DataFrame:
    windows = _windows(context, frame)
    ahead = reach(context.portfolio, context.as_of)
    simulated = _simulated(
        context, [window for window in windows if window.days <= ahead.known_days]
    )
    parts = []
    for window in windows:
        members = window.members
        band = members["band"].astype(object).where(members["band"].notna(), NOT_SCORED)
        for name in (ALL, *BANDS, NOT_SCORED):
            chosen = members if name == ALL else members[band == name]
            if name == ALL or len(chosen):
                risk = _risk(context, chosen, simulated.get(window.days))
                note = _note(window.days, ahead)
                parts.append(
                    (window.name, window.kind, name, len(chosen), *risk, window.days, note)
                )
    return pd.DataFrame(parts, columns=RENEWAL_COLUMNS)


def _windows(context: PortfolioContext, frame: pd.DataFrame) -> list[Window]:
    as_of, usual = context.as_of, context.settings.churn_horizon_days
    days, quarter = frame["days_to_renewal"], pd.Period(as_of, freq="Q")
    ahead = frame[days >= 0]
    windows = [
        Window("days", f"next {count} days", count, ahead[ahead["days_to_renewal"] <= count])
        for count in WINDOWS
    ]
    for step in range(QUARTERS):
        each = quarter + step
        name, until = f"{each.year} Q{each.quarter}", each.end_time.date()
        members = ahead[ahead["quarter"] == name]
        windows.append(Window("quarter", name, max((until - as_of).days, 1), members))
    lapsed = frame[frame["uncontracted_days"] >= 1]
    windows.append(Window(OVERDUE, OVERDUE, usual, frame[days < 0]))
    windows.append(Window(UNCONTRACTED, UNCONTRACTED, usual, lapsed))
    return windows


def _simulated(context: PortfolioContext, windows: list[Window]) -> dict[int, SimulatedChurn]:
    """By horizon who churns in each draw, of the customers whose windows end then."""
    members: dict[int, set[str]] = {}
    for window in windows:
        members.setdefault(window.days, set()).update(window.members["client_id"])
    churn = churn_by_horizon(context.portfolio, context.as_of, context.live, sorted(members))
    tables = [churn[days][churn[days].index.isin(members[days])] for days in churn]
    draws, seed = context.settings.at_risk_draws, context.settings.seed
    return dict(
        zip(churn, simulate_horizons(tables, context.live["tier"], draws, seed), strict=True)
    )


def _note(days: int, ahead: Reach) -> str:
    if days > ahead.known_days:
        return f"not measured beyond {ahead.known_days} days, as long as customers were watched"
    if days > ahead.tested_days:
        return (
            f"extrapolated, since past dates tested the model up to {ahead.tested_days} days ahead"
        )
    return ""


def _risk(
    context: PortfolioContext, members: pd.DataFrame, simulated: SimulatedChurn | None
) -> tuple[float, ...]:
    """ARR, customers and ARR that are expected to churn, and the ends of the latter's range."""
    clients, addable = pd.Index(members["client_id"]), context.money.addable
    arr = float(members["arr"].sum()) if addable else np.nan
    if simulated is None:
        return (arr, *(np.nan,) * 4)
    customers = float(simulated.probabilities["probability"].reindex(clients).sum(min_count=1))
    customers = customers if len(clients) else 0.0
    if not addable or np.isnan(customers):
        return (arr, customers, *(np.nan,) * 3)
    tail = (1 - context.settings.interval_level) / 2
    churned = simulated.arr(context.money.amounts.reindex(clients))
    ends = [churned.quantile(share) if len(clients) else 0.0 for share in (tail, 1 - tail)]
    return arr, customers, churned.expected, ends[0], ends[1]
