"""What could each customer come to pay more: seats that will be needed, premium features it does not have.

potential = max(0, users forecast in a year − seats) × ARR ÷ seats, where nine of ten seats are in use (else 0), plus
seats × the difference in ARR per seat between peers with and without the premium features that the customer has not,
where that is known to be positive. Features that the same customers have are sold together and count once, and of
several such bundles the one with the largest difference: plans hold each other, and their differences must not be
added. A ``potential_arr`` of the customers table stands over all.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.data.memory import remember, stored
from healthseg.forecasting import forecast
from healthseg.metrics import panel as panels
from healthseg.statistics.robust import hodges_lehmann
from healthseg.tools.segments.figures import Figures

STEPS, STEP_DAYS = 13, 28  # a year of four-week steps, back and ahead
LEAST_PEERS = 8
COLUMNS = [
    "seats_potential",
    "seats_lower",
    "seats_upper",
    "premium_potential",
    "premium_lower",
    "premium_upper",
    "users_in_a_year",
    "contraction_exposure",
]


def potential(figures: Figures, date: dt.date) -> pd.DataFrame:
    """By live customer of a date: potential, lower, upper, source, and the parts in ``COLUMNS``; NaN where unknown."""
    return remember(
        figures.portfolio, ("potential", figures.as_of, date), lambda: _potential(figures, date)
    )


def _potential(figures: Figures, date: dt.date) -> pd.DataFrame:
    rows = figures.live_on(date)
    arr, seats = figures.money_on(date).amounts.reindex(rows.index), rows["seats"].astype(float)
    per_seat = arr / seats.where(seats > 0)
    seat_part = _seats(figures, rows, per_seat, date)
    premium = _premium(figures, rows, per_seat, date)
    frame = pd.concat([seat_part, premium], axis=1)
    idle = (seats - rows["monthly_active_users"].astype(float)).clip(lower=0)
    frame["contraction_exposure"] = idle * per_seat
    for name in ("potential", "lower", "upper"):
        parts = frame[[f"seats_{name}", f"premium_{name}"]]
        frame[name] = parts["seats_" + name] + parts["premium_" + name].fillna(0.0)
    frame["source"] = np.where(frame["potential"].notna(), "usage and peers", None)
    return _given(figures, frame, date)


def _given(figures: Figures, frame: pd.DataFrame, date: dt.date) -> pd.DataFrame:
    """A potential of the customers table stands over what is estimated; it is known on the portfolio's last day alone."""
    if date != figures.as_of:
        return frame
    given = pd.to_numeric(figures.static("potential_arr", snapshot=True), errors="coerce").reindex(
        frame.index
    )
    frame["source"] = frame["source"].where(given.isna(), "customers table")
    for name in ("potential", "lower", "upper"):
        frame[name] = frame[name].where(given.isna(), given)
    return frame


def _seats(
    figures: Figures, rows: pd.DataFrame, per_seat: pd.Series, date: dt.date
) -> pd.DataFrame:
    """Users in a year beyond the seats there are, at the customer's own price, with the forecast's interval."""
    seats, users = rows["seats"].astype(float), rows["monthly_active_users"].astype(float)
    known = per_seat.notna() & users.notna()
    full = known & (users / seats >= figures.settings.expansion_min_utilisation)
    found = pd.DataFrame(
        {name: np.where(known, 0.0, np.nan) for name in COLUMNS[:3]}, index=rows.index
    )
    found["users_in_a_year"] = np.nan
    ahead = _kept_users_ahead(figures, rows.index[full].tolist(), date)
    for name, column in (("potential", "forecast"), ("lower", "lower"), ("upper", "upper")):
        more = (ahead[column] - seats.reindex(ahead.index)).clip(lower=0) * per_seat.reindex(
            ahead.index
        )
        found.loc[ahead.index, f"seats_{name}"] = more
    found.loc[ahead.index, "users_in_a_year"] = ahead["forecast"]
    return found


def _kept_users_ahead(figures: Figures, clients: list[str], date: dt.date) -> pd.DataFrame:
    """``_users_ahead``, forecast once per state of the portfolio; all of its rows, since today's seats say whose."""
    kept = stored(
        figures.portfolio,
        f"users-ahead-{figures.as_of:%Y%m%d}-{date:%Y%m%d}",
        None,
        lambda: _users_ahead(figures, clients, date).reset_index(names="client_id").to_dict("list"),
    )
    return pd.DataFrame(kept).set_index("client_id").astype(float)


def _users_ahead(figures: Figures, clients: list[str], date: dt.date) -> pd.DataFrame:
    """Monthly active users in a year, by customer: forecast, lower, upper."""
    nothing = pd.DataFrame({"forecast": [], "lower": [], "upper": []}, dtype=float)
    if not clients:
        return nothing
    dates = [date - dt.timedelta(days=STEP_DAYS * back) for back in range(STEPS, -1, -1)]
    rows = panels.panel(figures.portfolio, dates, clients)
    rows = rows[rows["live"].astype(bool) & rows["monthly_active_users"].notna()]
    step = (rows["date"] - pd.Timestamp(date)).dt.days // STEP_DAYS
    frame = pd.DataFrame(
        {
            "client_id": rows["client_id"].astype(str),
            "date": step.astype(int),
            "value": rows["monthly_active_users"].astype(float),
        }
    )
    if not len(frame):
        return nothing
    found = forecast(frame, STEPS, figures.settings.interval_level, season_length=1, lower_bound=0)
    return found[found["date"] == STEPS].set_index("client_id")[["forecast", "lower", "upper"]]


# -- premium features ------------------------------------------------------------------------


def entitled_premium(figures: Figures, clients: pd.Index, date: dt.date) -> pd.DataFrame | None:
    """Customers × released premium features: who may use which on a date; None where no table says."""
    portfolio = figures.portfolio
    if not portfolio.has("features") or not portfolio.has("entitlements"):
        return None
    features = portfolio.table("features")
    released = pd.to_datetime(features["released_on"])
    premium = features[
        (features["category"] == "premium") & (released.isna() | (released <= pd.Timestamp(date)))
    ]
    rows = portfolio.table("entitlements")
    starts, ends = pd.to_datetime(rows["starts_on"]), pd.to_datetime(rows["ends_on"])
    rows = rows[
        (starts.isna() | (starts <= pd.Timestamp(date)))
        & (ends.isna() | (ends > pd.Timestamp(date)))
    ]
    held = pd.crosstab(rows["client_id"], rows["feature"]).astype(bool)
    return (
        held.reindex(index=clients, columns=sorted(premium["feature"]), fill_value=False)
        .fillna(False)
        .astype(bool)
    )


def premium_effects(
    figures: Figures, rows: pd.DataFrame, per_seat: pd.Series, date: dt.date
) -> pd.DataFrame:
    """By bundle of premium features and tier: the difference in ARR per seat with and without, its interval, n of both.

    Compared are customers of the tier, where 8 have it and 8 don't; else those of the portfolio. A difference whose interval
    reaches below 0 is none.
    """
    held = entitled_premium(figures, rows.index, date)
    found = []
    for feature, bundle in ({} if held is None else bundles(held)).items():
        for tier in sorted(set(rows["tier"].dropna().astype(str))):
            group = rows.index[rows["tier"] == tier]
            shift, whose = _shift(per_seat, held[feature], group, figures), tier
            if shift is None:
                shift, whose = _shift(per_seat, held[feature], rows.index, figures), "the portfolio"
            if shift is not None:
                found.append(
                    {
                        "feature": feature,
                        "bundle": ", ".join(bundle),
                        "tier": tier,
                        "peers": whose,
                        "per_seat": shift.median,
                        "lower": shift.lower,
                        "upper": shift.upper,
                        "with_it": shift.n,
                        "without": shift.others,
                        "stands": shift.lower >= 0 and shift.median > 0,
                    }
                )
    columns = [
        "feature",
        "bundle",
        "tier",
        "peers",
        "per_seat",
        "lower",
        "upper",
        "with_it",
        "without",
        "stands",
    ]
    return pd.DataFrame(found, columns=columns)


def bundles(held: pd.DataFrame) -> dict[str, list[str]]:
    """Features that exactly the same customers have, under the name of the first."""
    by: dict[bytes, list[str]] = {}
    for feature in held.columns:
        by.setdefault(held[feature].to_numpy().tobytes(), []).append(feature)
    return {features[0]: features for features in by.values()}


def _shift(per_seat: pd.Series, held: pd.Series, group: pd.Index, figures: Figures):
    known = per_seat.reindex(group).dropna()
    have = held.reindex(known.index)
    if have.sum() < LEAST_PEERS or (~have).sum() < LEAST_PEERS:
        return None
    return hodges_lehmann(
        known[have].to_numpy(), known[~have].to_numpy(), figures.settings.interval_level
    )


def _premium(
    figures: Figures, rows: pd.DataFrame, per_seat: pd.Series, date: dt.date
) -> pd.DataFrame:
    """Seats × the largest difference among the bundles of premium features that a customer has not."""
    names = ["premium_potential", "premium_lower", "premium_upper"]
    found = pd.DataFrame(np.nan, index=rows.index, columns=names)
    held = entitled_premium(figures, rows.index, date)
    if held is None:
        return found
    table = premium_effects(figures, rows, per_seat, date)
    table, seats = table[table["stands"].astype(bool)], rows["seats"].astype(float)
    found[:] = np.where(per_seat.notna(), 0.0, np.nan)[:, None]
    for row in table.sort_values(
        ["per_seat", "feature"], kind="stable"
    ).itertuples():  # the largest stays
        without = (rows["tier"] == row.tier) & ~held[row.feature] & per_seat.notna()
        for name, value in zip(names, (row.per_seat, row.lower, row.upper), strict=True):
            found.loc[without, name] = seats[without] * value
    return found
