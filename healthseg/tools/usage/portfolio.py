"""The portfolio's usage: who breaks away, idle seats, users who join and go dormant, dependence on one user."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import EPOCH, counting, epoch_days, observed_spans
from healthseg.metrics.money import Money, money
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.spans import over
from healthseg.metrics.users import hours_of, retention
from healthseg.statistics.robust import MAD_TO_SD
from healthseg.tools.base import Alert, Figure
from healthseg.tools.context import (
    DAY,
    PortfolioContext,
    chosen_customers,
    chosen_warnings,
    live_rows,
)
from healthseg.tools.next_actions import NextActions
from healthseg.tools.usage.result import GrowthAccounting, GrowthPeriod, PortfolioUsage
from healthseg.tools.usage.sections import (
    GROWTH,
    SpanOf,
    growth_accounting,
    growth_period,
    heatmap,
    retention_cohorts,
    spans_of,
    trends,
    unusual_day_parts,
    unusual_days,
    usual_days,
    weeks_before,
)
from healthseg.tools.values import integer, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

TOOL = "track_usage_engagement"
# what the actions of the shared list must be about to stand on this page
TOPICS = ("usage", "champion", "breadth", "seats")
UTILISATION_STEP = 0.1
RATIO_FLOOR = 0.01  # a ratio of zero has no logarithm


def usage_of_portfolio(
    portfolio: Portfolio, as_of: dt.date, lookback_period_days: int, only: str | None = None
) -> PortfolioUsage:
    """The response for the portfolio, or the chosen customers of it, at ``as_of``."""
    settings, end = portfolio.settings, as_of + DAY
    start = max(end - lookback_period_days * DAY, portfolio.first_event_day)
    everybody = customers_as_of(portfolio, as_of)
    known = everybody.loc[chosen_customers(portfolio, only)]
    signed_up = epoch_days(known["signup_date"]) < (end - EPOCH).days
    everyone = known.index[signed_up].tolist()
    rows = live_rows(portfolio, as_of)
    amounts = money(portfolio, rows, as_of)
    table = _customers(rows, amounts, everybody, settings)
    table = table[table["client_id"].isin(known.index)]
    counted = known["churned_on"].notna() | known.index.isin(table["client_id"])
    customers_counted = known.index[signed_up & counted].tolist()
    growth, growth_frame, weeks = _growth(
        portfolio, customers_counted, known["churned_on"], start, end
    )
    trend, weeks = trends(weeks, end, settings)
    cohorts, retention_frame = retention_cohorts(retention(portfolio, end, everyone))
    hours = hours_of(counting(portfolio, everyone, start, end), start, end)
    rhythm, rhythm_frames = heatmap(hours, start, end, "each account's own clock", settings)
    days, odd = _days(portfolio, everyone, end)
    # new customers are still giving out their seats
    new = PortfolioContext.of(portfolio, as_of).live["provisional"].astype(bool)
    idle = _idle(table[~table["client_id"].isin(new.index[new])], settings)
    figures = _figures(table, idle, settings)
    actions = rules.triggered(TOOL, "portfolio_action", figures, settings.rules)
    alerts = rules.triggered(TOOL, "portfolio_alert", figures, settings.rules)
    currency = amounts.currency if amounts.addable else None
    warnings = [*chosen_warnings(only), *_warnings(amounts)]
    single = table[table["single_user"]].sort_values("arr", ascending=False, kind="stable")
    no_arr = "no ARR in one known currency"
    return PortfolioUsage(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=rounded(table["usage_ratio"].notna().mean()) if len(table) else None,
        warnings=warnings,
        not_measured={}
        if trend.trend_direction
        else {"$.usage_trends": str(trend.figure_of("trend_direction").reason)},
        total_customers=len(table),
        excluded=_excluded(known, as_of, len(table)),
        lookback_period_days=lookback_period_days,
        interval_level=settings.interval_level,
        **_totals(table),
        usage_trends=trend,
        breaking_away=_records(table[table["breaks_away"]]),
        idle_seats=_records(idle),
        single_user_customers=_records(single),
        champions_departed=_records(table[table["champion_departed"] == 1]),
        active_users_change=Figure(
            _users_gained(growth.period), "users of the period before are not known"
        ),
        **{
            name: Figure(None if currency is None else rounded(rows_of["arr"].sum(), 2), no_arr)
            for name, rows_of in (
                ("single_user_arr", single),
                ("breaking_away_arr", table[table["breaks_away"]]),
                ("idle_seats_arr", idle),
            )
        },
        currency=Figure(currency, no_arr),
        growth_accounting=growth,
        user_retention=cohorts,
        activity_heatmap=rhythm,
        unusual_days=unusual_day_parts(odd),
        customers=_records(table),
        recommendations=[rule.text for rule in actions],
        recommendations_detail=actions,
        next_actions=NextActions.of(portfolio, as_of).ranked(_concerned(table, settings), TOPICS),
        alerts=[Alert.of(rule) for rule in alerts],
    ).with_frames(
        customers=table,
        growth=growth_frame,
        retention=retention_frame,
        weeks=weeks,
        days=days,
        utilisation=_utilisation(table),
        unusual_days=odd,
        **rhythm_frames,
    )


def _customers(
    rows: pd.DataFrame, amounts: Money, known: pd.DataFrame, settings: Settings
) -> pd.DataFrame:
    """A row a live customer; those that break away first, by how far."""
    ids, profiles = rows["client_id"], known.loc[rows.index]
    ratio = rows["usage_vs_own_baseline"]
    relative, z = _against_the_others(ratio)
    away = (relative < settings.breaking_away_max_ratio) & (z <= settings.breaking_away_max_z)
    table = pd.DataFrame(
        {
            "client_id": ids,
            "name": profiles["name"].fillna(ids) if "name" in profiles else ids,
            "usage_ratio": ratio,
            "relative_ratio": relative,
            "z": z,
            "breaks_away": away,
            "monthly_active_users": rows["monthly_active_users"],
            "weekly_active_users": rows["weekly_active_users"],
            "seats": rows["seats"].where(rows["seats"] > 0),
            "seat_utilisation": rows["seat_utilisation"],
            "top_user_share": rows["top_user_share_28d"],
            "single_user": rows["monthly_active_users"] == 1,
            "champion_departed": rows["champion_departed"],
            "person_events": rows["person_events_28d"],
            "days_since_last": rows["days_since_last_person_event"],
            "arr": amounts.amounts,
            "currency": amounts.currency or amounts.by_currency,
            "tier": rows["tier"],
        }
    ).reset_index(drop=True)
    table["reason"] = [_reason(row, settings) for row in table.to_dict("records")]
    order, ascending = ["breaks_away", "z", "client_id"], [False, True, True]
    return table.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)


def _against_the_others(ratio: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Each ratio over the median, and the robust spreads by which its logarithm lies away."""
    if not ratio.notna().any():
        return ratio, ratio
    logs = np.log(ratio.clip(lower=RATIO_FLOOR))
    middle = logs.median()
    spread = max(MAD_TO_SD * (logs - middle).abs().median(), 1e-9)
    return ratio / ratio.median(), (logs - middle) / spread


def _reason(row: dict[str, Any], settings: Settings) -> str:
    if row["days_since_last"] >= settings.silent_days:
        return f"no active user for {row['days_since_last']:.0f} days"
    if row["champion_departed"] == 1:
        return "the champion has departed"
    if row["breaks_away"]:
        share = 100 * (row["usage_ratio"] - 1)
        side = "above" if share > 0 else "below"
        return f"usage {abs(share):.0f}% {side} its own baseline"
    if row["single_user"]:
        return "depends on one user"
    if row["seat_utilisation"] < settings.idle_seats_max_utilisation:
        return f"{row['monthly_active_users']:.0f} of {row['seats']:.0f} seats in use"
    return ""


def _growth(
    portfolio: Portfolio, clients: list[str], churned_on: pd.Series, start: dt.date, end: dt.date
) -> tuple[GrowthAccounting, pd.DataFrame, pd.DataFrame]:
    """Users over the period and by week, and the weeks' events.

    Of a customer that churned by a span's end all users of the span before count as dormant, so that the active ones
    are those of the customers that are live at that end.
    """
    days = max((end - start).days, portfolio.settings.usage_trend_days)
    parts = [(0, start, end), *weeks_before(end, portfolio.first_event_day, days)]
    names = ["person_events", *GROWTH]
    frame = over(portfolio, _whole_days(portfolio, clients, parts, end), names)
    ends = frame["span_id"].map({part[0]: part[2] for part in parts})
    gone = pd.to_datetime(frame["client_id"].map(churned_on)) < pd.to_datetime(ends)
    frame.loc[gone, "dormant_users"] += frame.loc[gone, "returning_users"]
    frame.loc[gone, ["active_users", "new_users", "returning_users", "resurrected_users"]] = 0.0
    total = frame.groupby("span_id")[names].sum(min_count=1)
    total = pd.DataFrame(parts, columns=["span_id", "start", "end"]).join(total, on="span_id")
    weeks = total.iloc[1:].reset_index(drop=True)
    gaps = portfolio.extent.gaps
    missing = [any(first <= gap < after for gap in gaps) for _, first, after in parts[1:]]
    weeks["person_events"] = weeks["person_events"].mask(np.array(missing, dtype=bool))
    growth, growth_frame = growth_accounting(
        growth_period(total.iloc[0].to_dict(), start, end), weeks
    )
    return growth, growth_frame, weeks


def _users_gained(period: GrowthPeriod) -> int | None:
    """How many more users are active than in the period before."""
    new, back, lost = period.new_users, period.resurrected_users, period.dormant_users
    return None if new is None or back is None or lost is None else new + back - lost


def _whole_days(
    portfolio: Portfolio, clients: list[str], parts: list[SpanOf], end: dt.date
) -> pd.DataFrame:
    """The spans of each customer, counted back from its own last whole day: in the west the day before."""
    last = observed_spans(portfolio, clients, end - DAY, 1).set_index("client_id")["end"]
    spans = spans_of(clients, parts)
    back = pd.to_timedelta((end - spans["client_id"].map(last)).map(lambda days: days.days), "D")
    for name in ("start", "end"):
        spans[name] = (pd.to_datetime(spans[name]) - back).dt.date
    return spans


def _days(
    portfolio: Portfolio, clients: list[str], end: dt.date
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The days of the last year with what is usual on such days; and those that are unusual."""
    start = end - portfolio.settings.unusual_days_window_days * DAY
    odd = unusual_days(portfolio, clients, start, end, end)
    frame = usual_days(portfolio, clients, end)
    labels = dict(zip(odd["date"], odd["calendar"], strict=True))
    dates = [EPOCH + dt.timedelta(days=day) for day in frame["day"].tolist()]
    frame = frame.assign(
        date=frame["day"].to_numpy().astype("datetime64[D]").astype("datetime64[s]"),
        unusual=[date in labels for date in dates],
        calendar=pd.Series([labels.get(date) for date in dates], dtype=object),
    )
    frame = frame[["date", "person_events", "expected", "ratio", "unusual", "calendar"]]
    return frame[frame["date"] >= pd.Timestamp(start)].reset_index(drop=True), odd


def _totals(table: pd.DataFrame) -> dict[str, Any]:
    seated = table.dropna(subset=["seats", "monthly_active_users"])
    seats, users = seated["seats"].sum(), table["monthly_active_users"]
    no_seats, early = "no customer's seats are known", "too few days are tracked"
    return {
        "active_customers": Figure(
            integer((users > 0).sum()) if users.notna().any() else None, early
        ),
        "weekly_active_users": Figure(
            integer(table["weekly_active_users"].sum(min_count=1)), early
        ),
        "monthly_active_users": Figure(integer(users.sum(min_count=1)), early),
        "licensed_seats": Figure(integer(seats) if len(seated) else None, no_seats),
        "customers_at_their_seats": int((seated["seat_utilisation"] >= 1).sum()),
        "customers_with_seats": len(seated),
        "seats_in_use": Figure(
            integer(seated["monthly_active_users"].sum()) if len(seated) else None, no_seats
        ),
        "seat_utilisation": Figure(
            rounded(seated["monthly_active_users"].sum() / seats) if seats else None, no_seats
        ),
        "median_usage_ratio": Figure(
            rounded(table["usage_ratio"].median()), "no customer has a baseline yet"
        ),
    }


def _idle(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Customers with idle seats, most idle seats first."""
    idle = table[table["seat_utilisation"] < settings.idle_seats_max_utilisation]
    unused = (idle["monthly_active_users"] - idle["seats"]).sort_values(kind="stable")
    return idle.loc[unused.index]


def _utilisation(table: pd.DataFrame) -> pd.DataFrame:
    """Customers and ARR by tenths of seats in use; the last holds all above."""
    known = table.dropna(subset="seat_utilisation")
    step = np.minimum((known["seat_utilisation"] / UTILISATION_STEP + 1e-9).astype(int), 10)
    rows = [
        (
            at * UTILISATION_STEP,
            (at + 1) * UTILISATION_STEP,
            int((step == at).sum()),
            float(known.loc[step == at, "arr"].sum()),
        )
        for at in range(11)
    ]
    return pd.DataFrame(rows, columns=["low", "high", "customers", "arr"])


def _figures(table: pd.DataFrame, idle: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    """The named figures that the portfolio's rules read."""
    silent = table["days_since_last"] >= settings.silent_days
    groups = {
        "silent": table[silent],
        "falling": table[table["breaks_away"] & ~silent],
        "departed": table[table["champion_departed"] == 1],
        "single": table[table["single_user"]],
        "idle": idle,
    }
    names = {f"{name}_names": _largest(rows) for name, rows in groups.items()}
    counts = {name: float(len(rows)) for name, rows in groups.items()}
    figures = {"customers": float(len(table)), "breaking_away": float(table["breaks_away"].sum())}
    return {**settings.limits_in_rules, **figures, **counts, **names}


def _concerned(table: pd.DataFrame, settings: Settings) -> list[str]:
    """The customers that a list of the page names."""
    listed = table["breaks_away"] | table["single_user"] | (table["champion_departed"] == 1)
    idle = table["seat_utilisation"] < settings.idle_seats_max_utilisation
    silent = table["days_since_last"] >= settings.silent_days
    return table.loc[listed | idle | silent, "client_id"].tolist()


def _largest(rows: pd.DataFrame) -> str | None:
    """The customers with the most ARR by name, and how many more there are."""
    ranked = rows.sort_values(["arr", "client_id"], ascending=[False, True])
    return rules.listed(ranked["name"].astype(str)) or None


def _warnings(amounts: Money) -> list[str]:
    """That ARR in several currencies is not added up, where there are no rates."""
    if amounts.addable:
        return []
    named = sorted({str(name) for name in amounts.by_currency[amounts.amounts.notna()].dropna()})
    return [f"ARR in several currencies is not added up: {', '.join(named)}"]


def _excluded(known: pd.DataFrame, as_of: dt.date, live: int) -> dict[str, int]:
    begun = pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of)
    churned = int((begun & known["churned_on"].notna()).sum())
    waiting = int((~begun).sum())
    return {
        "churned": churned,
        "not_started": waiting,
        "prospect": len(known) - churned - waiting - live,
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {
            str(key): round(value, 4) if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in rows
    ]
