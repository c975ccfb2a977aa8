"""Expansion potential: what could each customer come to pay more, for seats and for premium features?

Seats: max(0, users forecast in a year − seats) × ARR ÷ seats, where nine of ten seats are in use
(else 0). Premium features: seats × the difference in ARR per seat between peers with and without the
features that the customer lacks, where that difference is known to be positive. Features that the
same customers have are sold together and count once, as a bundle; of several bundles the one with
the largest difference counts, because plans contain each other and their differences must not be
added. A ``potential_arr`` in the customers table replaces the estimate.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.forecasting import forecast
from healthseg.metrics import panels
from healthseg.scoring.churn.base_rates import THE_PORTFOLIO
from healthseg.statistics.robust import Shift, hodges_lehmann

if TYPE_CHECKING:
    from healthseg.tools.context import PortfolioContext

# a year of four-week steps
STEPS, STEP_DAYS = 13, 28
ENDS = ("potential", "lower", "upper")
EFFECT_COLUMNS = [
    "feature",
    "bundle",
    "tier",
    "peers",
    "per_seat",
    "lower",
    "upper",
    "with_it",
    "without",
    "significant",
]


def expansion_potential(context: PortfolioContext, date: dt.date) -> pd.DataFrame:
    """By live customer of a date: potential, lower, upper, source and their parts; NaN where unknown.

    The parts are seats_* and premium_* (potential, lower, upper), users_in_a_year, and
    contraction_exposure: the ARR of seats that nobody uses.
    """
    return context.portfolio.cache.get(
        "expansion_potential",
        (context.as_of, date),
        lambda: _potential(context, date),
        disk=False,
    )


def _potential(context: PortfolioContext, date: dt.date) -> pd.DataFrame:
    rows, price = context.live_on(date), arr_per_seat(context, date)
    premium = _premium(context, rows, price, date)
    frame = pd.concat([_seats(context, rows, price, date), premium], axis=1)
    idle = (rows["seats"].astype(float) - rows["monthly_active_users"].astype(float)).clip(lower=0)
    frame["contraction_exposure"] = idle * price
    for end in ENDS:
        frame[end] = frame[f"seats_{end}"] + frame[f"premium_{end}"].fillna(0.0)
    frame["source"] = frame["potential"].notna().map({True: "usage and peers", False: None})
    if date != context.as_of:
        return frame
    known = pd.to_numeric(context.static("potential_arr", snapshot=True), errors="coerce")
    known = known.reindex(frame.index)
    frame["source"] = frame["source"].where(known.isna(), "customers table")
    for end in ENDS:
        frame[end] = frame[end].where(known.isna(), known)
    return frame


def arr_per_seat(context: PortfolioContext, date: dt.date) -> pd.Series:
    """ARR ÷ seats by live customer of a date."""
    seats = context.live_on(date)["seats"].astype(float)
    return context.money_on(date).amounts.reindex(seats.index) / seats.where(seats > 0)


# -- seats -----------------------------------------------------------------------------------


def _seats(
    context: PortfolioContext, rows: pd.DataFrame, price: pd.Series, date: dt.date
) -> pd.DataFrame:
    """Users in a year beyond today's seats at the customer's own price, by the forecast's interval."""
    seats, users = rows["seats"].astype(float), rows["monthly_active_users"].astype(float)
    known = price.notna() & users.notna()
    full = known & (users / seats >= context.settings.expansion_min_utilisation)
    frame = pd.DataFrame(
        {f"seats_{end}": np.where(known, 0.0, np.nan) for end in ENDS}, index=rows.index
    )
    future = _stored_future_users(context, rows.index[full].tolist(), date)
    frame["users_in_a_year"] = future["forecast"].reindex(rows.index)
    for end, column in zip(ENDS, ("forecast", "lower", "upper"), strict=True):
        more = (future[column] - seats.reindex(future.index)).clip(lower=0)
        frame.loc[future.index, f"seats_{end}"] = more * price.reindex(future.index)
    return frame


def _stored_future_users(
    context: PortfolioContext, clients: list[str], date: dt.date
) -> pd.DataFrame:
    """``_future_users``, stored: by these clients, whom today's seats and stages decide."""
    portfolio, fingerprint = context.portfolio, context.settings.fingerprint
    inputs = [context.as_of, date, clients, portfolio.content(None), fingerprint]

    def build() -> pd.DataFrame:
        return _future_users(context, clients, date).reset_index(names="client_id")

    return portfolio.cache.get("users_ahead", inputs, build).set_index("client_id").astype(float)


def _future_users(context: PortfolioContext, clients: list[str], date: dt.date) -> pd.DataFrame:
    """Monthly active users in a year by customer: forecast, lower, upper."""
    columns = ["forecast", "lower", "upper"]
    if not clients:
        return pd.DataFrame(columns=columns, dtype=float)
    dates = [date - dt.timedelta(days=STEP_DAYS * back) for back in range(STEPS, -1, -1)]
    rows = panels.panel(context.portfolio, dates, clients)
    rows = rows[rows["live"].astype(bool) & rows["monthly_active_users"].notna()]
    if not len(rows):
        return pd.DataFrame(columns=columns, dtype=float)
    series = pd.DataFrame(
        {
            "client_id": rows["client_id"].astype(str),
            "date": ((rows["date"] - pd.Timestamp(date)).dt.days // STEP_DAYS).astype(int),
            "value": rows["monthly_active_users"].astype(float),
        }
    )
    settings = context.settings
    future = forecast(
        series,
        STEPS,
        settings.interval_level,
        season_length=1,
        lower_bound=0,
        settings=settings,
    )
    return future[future["date"] == STEPS].set_index("client_id")[columns]


# -- premium features ------------------------------------------------------------------------


def premium_effects(
    context: PortfolioContext, rows: pd.DataFrame, price: pd.Series, date: dt.date
) -> pd.DataFrame:
    """How much more per seat do customers with a bundle of premium features pay than those without?

    A row per bundle and tier (``EFFECT_COLUMNS``): the Hodges–Lehmann shift among the tier's customers
    where enough have the bundle and enough lack it, else among all. It is significant where its
    interval does not reach below 0.
    """
    entitled = _entitled(context, rows.index, date)
    table: list[tuple] = []
    if entitled is None:
        return pd.DataFrame(table, columns=EFFECT_COLUMNS)
    for feature, bundle in bundles(entitled).items():
        for tier in sorted(set(rows["tier"].dropna().astype(str))):
            members = rows.index[rows["tier"] == tier]
            shift, peers = _shift(context, price.reindex(members), entitled[feature]), tier
            if shift is None:
                shift, peers = _shift(context, price, entitled[feature]), THE_PORTFOLIO
            if shift is not None:
                significant = shift.lower >= 0 and shift.median > 0
                ends = (shift.median, shift.lower, shift.upper, shift.n, shift.others)
                table.append((feature, ", ".join(bundle), tier, peers, *ends, significant))
    return pd.DataFrame(table, columns=EFFECT_COLUMNS)


def bundles(entitled: pd.DataFrame) -> dict[str, list[str]]:
    """Features that exactly the same customers have, by the name of the first."""
    groups: dict[bytes, list[str]] = {}
    for feature in entitled.columns:
        groups.setdefault(entitled[feature].to_numpy().tobytes(), []).append(feature)
    return {features[0]: features for features in groups.values()}


def _entitled(context: PortfolioContext, clients: pd.Index, date: dt.date) -> pd.DataFrame | None:
    """Customers × released premium features: who may use which on a date; None without such tables."""
    portfolio, day = context.portfolio, pd.Timestamp(date)
    if not portfolio.has("features") or not portfolio.has("entitlements"):
        return None
    features, rows = portfolio.table("features"), portfolio.table("entitlements")
    released = pd.to_datetime(features["released_on"])
    premium = features["category"].eq("premium") & (released.isna() | (released <= day))
    starts, ends = pd.to_datetime(rows["starts_on"]), pd.to_datetime(rows["ends_on"])
    valid = rows[(starts.isna() | (starts <= day)) & (ends.isna() | (ends > day))]
    table = pd.crosstab(valid["client_id"], valid["feature"]).astype(bool)
    columns = sorted(features.loc[premium, "feature"])
    return (
        table.reindex(index=clients, columns=columns, fill_value=False).fillna(False).astype(bool)
    )


def _shift(context: PortfolioContext, price: pd.Series, entitled: pd.Series) -> Shift | None:
    known, settings = price.dropna(), context.settings
    has = entitled.reindex(known.index)
    if min(has.sum(), (~has).sum()) < settings.expansion_min_peers:
        return None
    return hodges_lehmann(known[has].to_numpy(), known[~has].to_numpy(), settings.interval_level)


def _premium(
    context: PortfolioContext, rows: pd.DataFrame, price: pd.Series, date: dt.date
) -> pd.DataFrame:
    """Seats × the largest difference among the bundles that a customer lacks."""
    columns = [f"premium_{end}" for end in ENDS]
    frame = pd.DataFrame(np.nan, index=rows.index, columns=columns)
    entitled = _entitled(context, rows.index, date)
    if entitled is None:
        return frame
    frame.loc[price.notna()] = 0.0
    effects = premium_effects(context, rows, price, date)
    effects = effects[effects["significant"].astype(bool)]
    # the largest difference overwrites the smaller ones
    for effect in effects.sort_values(["per_seat", "feature"], kind="stable").to_dict("records"):
        without = (rows["tier"] == effect["tier"]) & ~entitled[effect["feature"]] & price.notna()
        for column, end in zip(columns, ("per_seat", "lower", "upper"), strict=True):
            frame.loc[without, column] = rows["seats"].astype(float)[without] * effect[end]
    return frame
