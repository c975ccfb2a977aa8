"""How was revenue retained month by month, which cohorts stayed, who churned, and had the score warned of them?"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.metrics.landmarks import period_ends
from healthseg.metrics.money import PARTS, money, movements, retention
from healthseg.metrics.profile import is_live, profiles
from healthseg.metrics.spells import CHURNED, merged_into, spells_as_of
from healthseg.metrics.stages import history
from healthseg.periods import year_before
from healthseg.scoring.scored_panel import scorecard_rows
from healthseg.tools.base import Figure, Part

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

ROWS_AT_ONCE = 200_000  # of customers and dates: some 40 MB
REVENUE = ("by_month", "churned", "cohorts")
# how many months after the one in which they began, how many customers began and are live, and their ARR, as a share
# of that at the end of the first month
COHORT_COLUMNS = ["cohort", "months", "customers", "live", "share", "arr", "arr_share"]


def revenue_by_month(
    portfolio: Portfolio, as_of: dt.date, months: int, only: Collection[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Per month end (the last is ``as_of``): how its ARR moved since the month before, and NRR and GRR over 12 months;
    a row per customer that churned since then, at least within a year, with its month and the reason recorded with
    its stage; and the cohorts of customers that began in these months (``COHORT_COLUMNS``). ``only`` these customers.

    All amounts are at the rates of ``as_of``. NRR and GRR are NaN before a year of ARR is known.
    """

    def build() -> dict[str, pd.DataFrame]:
        return dict(zip(REVENUE, _by_month(portfolio, as_of, months, only), strict=True))

    state = [as_of, months, portfolio.content(), portfolio.settings.fingerprint]
    frames = portfolio.cache.get("revenue_by_month", state, build) if only is None else build()
    by_month, churned, cohorts = (frames[name].copy() for name in REVENUE)
    return by_month, churned, cohorts


def _by_month(
    portfolio: Portfolio, as_of: dt.date, months: int, only: Collection[str] | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    ends = _month_ends(as_of, months)
    dates = sorted({*ends, *map(year_before, ends)})
    arr, spells = _arr_by_date(portfolio, dates, as_of), spells_as_of(portfolio, as_of)
    if only is not None:
        arr = {date: amounts[amounts.index.isin(only)] for date, amounts in arr.items()}
        spells = spells[spells["client_id"].isin(only)]
    merged, named = merged_into(portfolio, as_of), _names(portfolio)
    rows = []
    for earlier, end in itertools.pairwise(ends):
        part = movements(arr[earlier], arr[end], merged)
        year = retention(movements(arr[year_before(end)], arr[end], merged))
        sums = [float(part[name].sum()) for name in PARTS]
        names = named.reindex(part.index[part["churn"] < 0]).tolist()
        rows.append((end, year.nrr, year.grr, year.customers, *sums, len(names), ", ".join(names)))
    columns = ["month", "nrr", "grr", "cohort", *PARTS, "churned", "churned_customers"]
    frame = pd.DataFrame(rows, columns=columns).astype({"nrr": float, "grr": float})
    frame["month"] = pd.to_datetime(frame["month"])
    churned = _churned(portfolio, spells, as_of, min(ends[0], year_before(as_of)), arr)
    return frame, churned, _cohorts(spells, as_of, {end: arr[end] for end in ends})


def _cohorts(spells: pd.DataFrame, as_of: dt.date, arr: dict[dt.date, pd.Series]) -> pd.DataFrame:
    """Of the customers that began in a month, how many are live at the end of it and of each later one, with their ARR?

    Those that churned within their first month count; accounts that were merged, and prospects, do not.
    """
    first = spells.drop_duplicates("client_id").set_index("client_id")["signup_date"]
    merged = spells.loc[spells["merged_into"].notna(), "client_id"]
    churned = spells.loc[spells["churned_on"].notna(), "client_id"]
    first = first[(first.index.isin([*arr[as_of].index, *churned])) & ~first.index.isin(merged)]
    began = first.dt.to_period("M")
    rows = []
    for cohort in sorted({pd.Period(end, freq="M") for end in arr}):
        members = first.index[began == cohort]
        start = np.nan
        for end in sorted(arr):
            later = (pd.Period(end, freq="M") - cohort).n
            if later < 0 or not len(members):
                continue
            live = members[members.isin(arr[end].index)]
            # where nobody is live, nobody pays
            amount = float(arr[end].reindex(live).sum(min_count=1)) if len(live) else 0.0
            start = amount if later == 0 else start
            share = amount / start if start > 0 else np.nan
            sizes = len(members), len(live), len(live) / len(members)
            rows.append((cohort.start_time, later, *sizes, amount, share))
    return pd.DataFrame(rows, columns=COHORT_COLUMNS)


def churned_between(customers: pd.DataFrame, start: dt.date, end: dt.date) -> list[dict[str, str]]:
    """Who churned after ``start`` and by ``end``, the latest first; ``customers`` are by client_id."""
    if "churned_on" not in customers:
        return []
    days = pd.to_datetime(customers["churned_on"])
    days = days[(days > pd.Timestamp(start)) & (days <= pd.Timestamp(end))]
    days = days.sort_values(ascending=False, kind="stable")
    names = customers["name"] if "name" in customers else pd.Series(dtype=object)
    named = [names.get(client) for client in days.index]
    return [
        {
            "client_id": str(client),
            "name": str(client if pd.isna(name) else name),
            "churned_on": str(day.date()),
        }
        for name, (client, day) in zip(named, days.items(), strict=True)
    ]


class PredictedAndHappened(Part):
    """What was predicted on a day whose horizon is over, and what happened."""

    predicted_on: dt.date = Field(description="The day of the predictions")
    until: dt.date = Field(description="The end of the horizon")
    expected: float | None = Field(description="Customers expected to churn or give notice")
    churned: int = Field(description="Customers that churned, or gave notice")


class ScoresBeforeChurn(Part):
    """Of the customers that churned within a year, which the score warned of a quarter before."""

    customers: int = Field(description="Customers that churned and had a score then")
    warned: int = Field(description="Those that scored below the band Healthy")
    missed: int = Field(description="Those that scored in the band Healthy or above")
    threshold: float = Field(description="The lower end of the band Healthy")
    missed_arr: float | None = Field(description="ARR of those, as last paid")


def churned_in_year(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """Who churned within a year, the most ARR first, with the ``score`` a quarter before (``churned_score_days``)."""

    def build() -> pd.DataFrame:
        _, rows, _ = revenue_by_month(portfolio, as_of, portfolio.settings.revenue_months)
        rows = rows[rows["churned_on"] > pd.Timestamp(year_before(as_of))]
        rows = rows.assign(
            score=_scores_before(portfolio, rows, as_of), money=-rows["arr"].fillna(0.0)
        )
        return rows.sort_values(["money", "client_id"], kind="stable").drop(columns="money")

    return portfolio.cache.get("churned_in_year", as_of, build, disk=False)


def churned_customer(portfolio: Portfolio, client_id: str, as_of: dt.date) -> dict[str, Any] | None:
    """The last loss of a customer as ``churned_in_year`` has it, of any day; None where none is known."""
    rows = churned_in_year(portfolio, as_of)
    own = rows[rows["client_id"] == client_id]
    if not len(own):
        spells = spells_as_of(portfolio, as_of)
        spells = spells[(spells["client_id"] == client_id) & spells["churned_on"].notna()]
        if not len(spells):
            return None
        ends = sorted({(day - pd.Timedelta(days=1)).date() for day in spells["churned_on"]})
        arr = _arr_by_date(portfolio, ends, as_of)
        since = ends[0] - dt.timedelta(days=1)
        own = _churned(portfolio, spells, as_of, since, arr)
        own = own.assign(score=_scores_before(portfolio, own, as_of))
    return None if not len(own) else own.sort_values("churned_on").iloc[-1].to_dict()


def _scores_before(portfolio: Portfolio, rows: pd.DataFrame, as_of: dt.date) -> np.ndarray:
    settings = portfolio.settings
    days = pd.Timedelta(days=settings.churned_score_days)
    dates = [day.date() for day in rows["churned_on"] - days]
    pairs = pd.DataFrame({"client_id": rows["client_id"], "date": dates})
    panel = panels.build_pairs(portfolio, pairs) if len(pairs) else pairs
    if not len(panel):
        return np.full(len(rows), np.nan)
    frame = scorecard_rows(panel, as_of, settings.score_lookback_days, settings).frame
    shown = frame.set_index(["client_id", "date"])["shown"]
    keys = zip(pairs["client_id"], pd.to_datetime(pairs["date"]), strict=True)
    return np.array([float(shown.get(key, np.nan)) for key in keys])


def scores_before_churn(
    portfolio: Portfolio, as_of: dt.date, addable: bool
) -> ScoresBeforeChurn | None:
    """How the year's churned customers scored a quarter before; None where none of them had a score."""
    rows = churned_in_year(portfolio, as_of)
    rows = rows[rows["score"].notna()]
    if not len(rows):
        return None
    missed = rows[rows["score"] >= portfolio.settings.band_edges[1]]
    addable = addable and (missed["arr"].notna().any() or not len(missed))
    arr = round(float(missed["arr"].fillna(0.0).sum()), 2)
    return ScoresBeforeChurn(
        customers=len(rows),
        warned=len(rows) - len(missed),
        missed=len(missed),
        threshold=portfolio.settings.band_edges[1],
        missed_arr=Figure(
            arr if addable else None, "no ARR is known, or several currencies and no rates"
        ),
    )


def _month_ends(as_of: dt.date, months: int) -> list[dt.date]:
    """``as_of`` and the month ends before it."""
    first = (pd.Timestamp(as_of) - pd.DateOffset(months=months + 1)).date()
    return [*[day for day in period_ends(first, as_of, "ME") if day < as_of][-months:], as_of]


def _arr_by_date(
    portfolio: Portfolio, dates: list[dt.date], rates_on: dt.date
) -> dict[dt.date, pd.Series]:
    """The ARR of each date's live customers, of as many dates at once as memory has room for."""
    size, arr = max(1, ROWS_AT_ONCE // max(1, len(customers(portfolio)))), {}
    for first in range(0, len(dates), size):
        part = dates[first : first + size]
        rows = profiles(portfolio, part)
        rows = rows[is_live(rows)]
        for date in part:
            of_date = rows[rows["date"] == pd.Timestamp(date)].set_index("client_id")
            arr[date] = money(portfolio, of_date, date, rates_on).amounts
    return arr


def _churned(
    portfolio: Portfolio,
    spells: pd.DataFrame,
    as_of: dt.date,
    since: dt.date,
    arr: dict[dt.date, pd.Series],
) -> pd.DataFrame:
    """Customers lost after ``since``: when, by which statement, their last known ARR, and whether they were won back."""
    lost = spells[
        (spells["churned_on"] > pd.Timestamp(since)) & spells["merged_into"].isna()
    ].copy()
    lost["month"] = lost["churned_on"] + pd.offsets.MonthEnd(0)
    lost["month"] = lost["month"].where(lost["month"] <= pd.Timestamp(as_of), pd.Timestamp(as_of))
    ends = [pd.Timestamp(end) for end in arr]
    before = [max(end for end in ends if end < day).date() for day in lost["churned_on"]]
    lost["arr"] = [
        arr[end].get(client, np.nan) for end, client in zip(before, lost["client_id"], strict=True)
    ]
    following = spells.set_index(["client_id", "spell"])["signup_date"]
    back = following.reindex(pd.MultiIndex.from_arrays([lost["client_id"], lost["spell"] + 1]))
    lost["won_back_on"] = back.to_numpy()
    lost["name"] = lost["client_id"].map(_names(portfolio))
    lost["reason"] = _reasons(portfolio, lost)
    columns = [
        "client_id",
        "name",
        "month",
        "churned_on",
        "notice_on",
        "arr",
        "lost_by",
        "reason",
        "won_back_on",
    ]
    order = ["churned_on", "client_id"]
    return lost[columns].sort_values(order, kind="stable", ignore_index=True)


def _reasons(portfolio: Portfolio, lost: pd.DataFrame) -> list[str | None]:
    """The reason recorded with each customer's entry into the stage ``churned``, of several the one closest to the loss."""
    known = history(portfolio)
    reasons: list[str | None] = []
    for client, day in zip(lost["client_id"], lost["churned_on"].dt.date, strict=True):
        entries = [change for change in known.of(client) if change.stage == CHURNED]
        closest = min(entries, key=lambda change: abs((change.day - day).days), default=None)
        reasons.append(closest.reason if closest is not None else None)
    return reasons


def _names(portfolio: Portfolio) -> pd.Series:
    """By customer its name, else its client_id."""
    table = portfolio.table("customers").set_index("client_id", drop=False)
    return table["name"].astype(object).fillna(table["client_id"])
