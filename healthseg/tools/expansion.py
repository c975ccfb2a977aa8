"""Expansion potential: what could each customer come to pay more, for the seats that its users need?

max(0, users now or forecast in a year − seats) × the list price of a seat (else the customer's own ARR ÷ seats), where
nine of ten seats are in use (else 0); at most what comparable customers came to pay more within a year: the highest
tenth of the rises among those of the same plan and tier a year ago, else of the same tier. Where there are too few of
them, the potential is unknown. A ``potential_arr`` in the customers table replaces the estimate. What peers of one plan
and tier pay more for a seat with premium features (``premium_effects``) is shown, and is no part of the potential: it
is not known to be a price.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.forecasting import forecast
from healthseg.metrics import panels
from healthseg.metrics.adoption import usable_features
from healthseg.periods import year_before
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
    "plan",
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

    Beside it: seats_* (potential, lower, upper before the cap), users_in_a_year, cap, and
    contraction_exposure: the ARR of seats that nobody uses.
    """
    whole = context.whole  # what comparable customers did
    frame: pd.DataFrame = context.portfolio.cache.get(
        "expansion_potential",
        (context.as_of, date),
        lambda: _potential(whole, date),
        disk=False,
    )
    return frame if whole is context else frame.reindex(context.live_on(date).index)


def _potential(context: PortfolioContext, date: dt.date) -> pd.DataFrame:
    rows, price = context.live_on(date), arr_per_seat(context, date)
    frame = _seats(context, rows, price, date)
    frame["contraction_exposure"] = idle_seats(rows) * price
    frame["cap"] = _cap(context, rows, date)
    for end in ENDS:
        raw = frame[f"seats_{end}"]
        capped = np.minimum(
            raw, frame["cap"]
        )  # unknown without comparable customers, unless it is 0
        frame[end] = capped.where(raw != 0, raw)
    frame["source"] = frame["potential"].notna().map({True: "usage and peers", False: None})
    if date != context.as_of:
        return frame
    known = pd.to_numeric(context.static("potential_arr", snapshot=True), errors="coerce")
    known = known.reindex(frame.index)
    frame["source"] = frame["source"].where(known.isna(), "customers table")
    for end in ENDS:
        frame[end] = frame[end].where(known.isna(), known)
    return frame


def idle_seats(rows: pd.DataFrame) -> pd.Series:
    """The seats that nobody used in a month, by row of the panel."""
    return (rows["seats"].astype(float) - rows["monthly_active_users"].astype(float)).clip(lower=0)


def arr_per_seat(context: PortfolioContext, date: dt.date) -> pd.Series:
    """ARR ÷ seats by live customer of a date."""
    seats = context.live_on(date)["seats"].astype(float)
    return context.money_on(date).amounts.reindex(seats.index) / seats.where(seats > 0)


def _cap(context: PortfolioContext, rows: pd.DataFrame, date: dt.date) -> pd.Series:
    """The largest rise in a year that comparable customers show, in ARR; NaN where there are too few of them."""
    settings, earlier = context.settings, year_before(date)
    before, now = context.money_on(earlier).amounts, context.money_on(date).amounts
    stayed = before.index.intersection(now.index)
    then = context.live_on(earlier).loc[stayed]
    rise = (now.loc[stayed] / before.loc[stayed].where(before.loc[stayed] > 0) - 1).clip(lower=0)
    known = pd.DataFrame({"plan": then["plan"], "tier": then["tier"], "rise": rise}).dropna(
        subset=["rise", "tier"]
    )
    share = pd.Series(np.nan, index=rows.index)
    for keys in (["tier"], ["tier", "plan"]):  # the closer comparison overwrites the wider one
        groups = known.dropna(subset=keys).groupby(keys)["rise"]
        sizes = groups.size()
        highest = groups.quantile(settings.expansion_cap_quantile)
        highest = highest[sizes >= settings.expansion_min_peers]
        own = rows[keys[0]] if len(keys) == 1 else pd.MultiIndex.from_frame(rows[keys])
        limits = pd.Series(highest.reindex(own).to_numpy(), index=rows.index)
        share = limits.where(limits.notna(), share)
    return share * now.reindex(rows.index)


# -- seats -----------------------------------------------------------------------------------


def _seats(
    context: PortfolioContext, rows: pd.DataFrame, price: pd.Series, date: dt.date
) -> pd.DataFrame:
    """Users now or in a year beyond today's seats, by the forecast's interval, at the list price of a seat where it is
    known, else at the customer's own."""
    seats, users = rows["seats"].astype(float), rows["monthly_active_users"].astype(float)
    known = price.notna() & users.notna()
    full = known & (users / seats >= context.settings.expansion_min_utilisation)
    frame = pd.DataFrame(
        {f"seats_{end}": np.where(known, 0.0, np.nan) for end in ENDS}, index=rows.index
    )
    future = _stored_future_users(context, rows.index[full].tolist(), date)
    frame["users_in_a_year"] = future["forecast"].reindex(rows.index)
    listed = _list_price(context, rows, date)
    price = listed.where(listed.notna(), price)
    over_use = (users - seats).clip(lower=0)
    for end, column in zip(ENDS, ("forecast", "lower", "upper"), strict=True):
        more = (future[column] - seats.reindex(future.index)).clip(lower=0)
        more = np.fmax(more, over_use.reindex(future.index))
        frame.loc[future.index, f"seats_{end}"] = more * price.reindex(future.index)
    return frame


def _list_price(context: PortfolioContext, rows: pd.DataFrame, date: dt.date) -> pd.Series:
    """The list price of a seat a year, by the contracts of a date, in the currency of their ARR as it is compared."""
    listed = rows["list_price"].astype(float) if "list_price" in rows else np.nan
    seats, arr = rows["seats"].astype(float), rows["arr"].astype(float)
    rate = context.money_on(date).amounts.reindex(rows.index) / arr.where(arr > 0)
    return pd.Series(listed, index=rows.index) * rate / seats.where(seats > 0)


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

    A row per bundle, tier and plan (``EFFECT_COLUMNS``): the Hodges–Lehmann shift among the customers of both, where
    enough have the bundle and enough lack it. It is significant where its interval does not reach below 0.
    """
    entitled = _entitled(context, rows.index, date)
    table: list[tuple] = []
    if entitled is None:
        return pd.DataFrame(table, columns=EFFECT_COLUMNS)
    groups = rows.dropna(subset=["tier", "plan"]).groupby(["tier", "plan"], sort=True)
    for feature, bundle in bundles(entitled).items():
        for (tier, plan), members in groups:
            shift = _shift(context, price.reindex(members.index), entitled[feature])
            if shift is not None:
                significant = shift.lower >= 0 and shift.median > 0
                ends = (shift.median, shift.lower, shift.upper, shift.n, shift.others)
                peers = f"{tier}, {plan}"
                table.append((feature, ", ".join(bundle), tier, plan, peers, *ends, significant))
    return pd.DataFrame(table, columns=EFFECT_COLUMNS)


def bundles(entitled: pd.DataFrame) -> dict[str, list[str]]:
    """Features that exactly the same customers have, by the name of the first."""
    groups: dict[bytes, list[str]] = {}
    for feature in entitled.columns:
        groups.setdefault(entitled[feature].to_numpy().tobytes(), []).append(feature)
    return {features[0]: features for features in groups.values()}


def _entitled(context: PortfolioContext, clients: pd.Index, date: dt.date) -> pd.DataFrame | None:
    """Customers × released premium features: who may use which on a date; None without such tables."""
    portfolio = context.portfolio
    if not portfolio.has("features") or not portfolio.has("entitlements"):
        return None
    features = portfolio.table("features")
    premium = features.loc[features["category"].eq("premium"), "feature"]
    rows = usable_features(portfolio, clients.tolist(), date)
    released = pd.to_datetime(features["released_on"])
    columns = sorted(premium[released.isna() | (released <= pd.Timestamp(date))])
    table = pd.crosstab(rows["client_id"], rows["feature"]).astype(bool)
    return (
        table.reindex(index=clients, columns=columns, fill_value=False).fillna(False).astype(bool)
    )


def _shift(context: PortfolioContext, price: pd.Series, entitled: pd.Series) -> Shift | None:
    known, settings = price.dropna(), context.settings
    has = entitled.reindex(known.index)
    if min(has.sum(), (~has).sum()) < settings.expansion_min_peers:
        return None
    return hodges_lehmann(known[has].to_numpy(), known[~has].to_numpy(), settings.interval_level)
