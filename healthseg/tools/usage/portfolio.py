"""The portfolio's usage on one page: who breaks away, idle seats, users who come and go, customers on a single user."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import EPOCH, epoch_days
from healthseg.metrics.leaving import customers_as_of
from healthseg.metrics.lives import counting, hours_of
from healthseg.metrics.retention import retention
from healthseg.metrics.spans import over
from healthseg.tools.rounding import integer, rounded
from healthseg.tools.usage import details
from healthseg.tools.usage import unusual as usage_unusual
from healthseg.tools.usage import week as usage_week
from healthseg.tools.usage.answer import alert_of
from healthseg.tools.usage.period import DAY
from healthseg.tools.usage.result import Advice, GrowthAccounting, PortfolioUsage
from healthseg.tools.usage.subject import (
    GROWTH,
    TOOL,
    TREND_DAYS,
    portfolio_rows,
    spans_of,
    weeks_before,
)

AWAY_RATIO = (
    0.8  # of the portfolio's median: a customer below it, and far out of the others' spread
)
AWAY_Z = -2.0
IDLE = 0.5  # of the seats in use
UNUSUAL_DAYS = 365
BIN = 0.1
FLOOR = 0.01  # a ratio of zero has no logarithm
LISTED = [
    "client_id",
    "name",
    "usage_ratio",
    "relative_ratio",
    "z",
    "breaks_away",
    "monthly_active_users",
    "weekly_active_users",
    "seats",
    "seat_utilisation",
    "top_user_share",
    "single_user",
    "champion_departed",
    "person_events",
    "days_since_last",
    "arr",
    "currency",
    "tier",
    "reason",
]


def answer(portfolio: Any, as_of: dt.date, asked: Any) -> PortfolioUsage:
    """The response for the portfolio at ``as_of``; ``asked`` are the validated parameters."""
    settings, end = portfolio.settings, as_of + DAY
    start = max(end - asked.lookback_period_days * DAY, portfolio.first_event_day)
    rows, known = portfolio_rows(portfolio, as_of), customers_as_of(portfolio, as_of)
    everybody = known.index[
        epoch_days(known["signup_date"]) < (end - dt.date(1970, 1, 1)).days
    ].tolist()
    table = _customers(rows, known, settings)
    growth, growth_frame, weeks = _growth(portfolio, everybody, start, end)
    trend, weeks = details.trends(weeks, end, settings.seed, settings.interval_level)
    cohorts, kept = details.retained(retention(portfolio, end, everybody))
    zone = "each account's own clock"
    hours = hours_of(counting(portfolio, everybody, start, end), start, end)
    heatmap, week_frames, reasons = usage_week.heatmap(hours, start, end, zone, settings)
    days, unusual = _days(portfolio, everybody, end)
    figures = _figures(table)
    actions = rules.fired(TOOL, "portfolio_action", figures)
    money = _money(table)
    single = table[table["single_user"]]
    return PortfolioUsage(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=rounded(table["usage_ratio"].notna().mean()) if len(table) else None,
        warnings=money[1],
        not_measured=_not_measured(table, trend, reasons, money[0]),
        total_customers=len(table),
        excluded=_excluded(portfolio, known, as_of, len(table)),
        lookback_period_days=asked.lookback_period_days,
        interval_level=settings.interval_level,
        **_totals(table),
        usage_trends=trend,
        breaking_away=_records(table[table["breaks_away"]]),
        idle_seats=_records(_idle(table)),
        single_user_customers=_records(single.sort_values("arr", ascending=False, kind="stable")),
        champions_departed=_records(table[table["champion_departed"] == 1]),
        single_user_arr=None if money[0] is None else rounded(single["arr"].sum(), 2),
        currency=money[0],
        growth_accounting=growth,
        user_retention=cohorts,
        activity_heatmap=heatmap,
        unusual_days=usage_unusual.records(unusual),
        customers=_records(table),
        recommendations=[rule["text"] for rule in actions],
        recommendations_detail=[Advice(**rule) for rule in actions],
        alerts=[alert_of(rule) for rule in rules.fired(TOOL, "portfolio_alert", figures)],
    ).with_frames(
        customers=table,
        growth=growth_frame,
        retention=kept,
        weeks=weeks,
        days=days,
        utilisation=_utilisation(table),
        unusual_days=unusual,
        **week_frames,
    )


def _customers(rows: pd.DataFrame, known: pd.DataFrame, settings: Any) -> pd.DataFrame:
    """A row a live customer; those that break away first, by how far."""
    rows = rows.set_index("client_id", drop=False)
    who = known.loc[rows.index]
    name = (
        who["name"].where(who["name"].notna(), rows["client_id"])
        if "name" in who
        else rows["client_id"]
    )
    currency = rows["currency"].where(rows["currency"].notna(), settings.reporting_currency)
    relative, z = _away(rows["usage_vs_own_baseline"])
    table = pd.DataFrame(
        {
            "client_id": rows["client_id"],
            "name": name,
            "usage_ratio": rows["usage_vs_own_baseline"],
            "relative_ratio": relative,
            "z": z,
            "breaks_away": (relative < AWAY_RATIO) & (z <= AWAY_Z),
            "monthly_active_users": rows["monthly_active_users"],
            "weekly_active_users": rows["weekly_active_users"],
            "seats": rows["seats"].where(rows["seats"] > 0),
            "seat_utilisation": rows["seat_utilisation"],
            "top_user_share": rows["top_user_share_28d"],
            "single_user": rows["monthly_active_users"] == 1,
            "champion_departed": rows["champion_departed"],
            "person_events": rows["person_events_28d"],
            "days_since_last": rows["days_since_last_person_event"],
            "arr": rows["arr"],
            "currency": currency,
            "tier": rows["tier"],
        }
    )
    table = table.reset_index(drop=True)
    table["reason"] = [_reason(row) for row in table.to_dict("records")]
    table = table.sort_values(
        ["breaks_away", "z", "client_id"], ascending=[False, True, True], kind="stable"
    )
    return table[LISTED].reset_index(drop=True)


def _away(ratio: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Each customer's ratio over the portfolio's median, and how many robust spreads its logarithm lies away."""
    if not ratio.notna().any():
        return ratio, ratio
    logs = np.log(ratio.clip(lower=FLOOR))
    middle = logs.median()
    spread = max(1.4826 * (logs - middle).abs().median(), 1e-9)
    return ratio / ratio.median(), (logs - middle) / spread


def _reason(row: dict[str, Any]) -> str:
    if row["days_since_last"] >= 14:
        return f"nobody has used it for {row['days_since_last']:.0f} days"
    if row["champion_departed"] == 1:
        return "the champion has left"
    if row["breaks_away"]:
        return f"usage {100 * (row['usage_ratio'] - 1):+.0f} % against its own baseline"
    if row["single_user"]:
        return "a single user"
    if row["seat_utilisation"] < IDLE:
        return f"{row['monthly_active_users']:.0f} of {row['seats']:.0f} seats in use"
    return ""


def _growth(
    portfolio: Any, clients: list[str], start: dt.date, end: dt.date
) -> tuple[GrowthAccounting, pd.DataFrame, pd.DataFrame]:
    """All customers' users by week and over the period, those that have left since too; and the weeks' events."""
    parts = [
        (0, start, end),
        *weeks_before(end, portfolio.first_event_day, max((end - start).days, TREND_DAYS)),
    ]
    frame = over(portfolio, spans_of(clients, parts), ["person_events", *GROWTH])
    total = frame.groupby("span_id")[["person_events", *GROWTH]].sum(min_count=1)
    total = pd.DataFrame(parts, columns=["span_id", "start", "end"]).join(total, on="span_id")
    period, weeks = total.iloc[0].to_dict(), total.iloc[1:].reset_index(drop=True)
    rows = weeks.to_dict("records")
    growth = GrowthAccounting(
        period=details.growth_of(period, start, end),
        weeks=[details.growth_of(row, row["start"], row["end"]) for row in rows],
    )
    table = weeks[["start", "end", *GROWTH]].assign(
        pulse_ratio=[details.pulse(row) for row in rows]
    )
    return growth, table.astype({"pulse_ratio": float}), weeks


def _days(portfolio: Any, clients: list[str], end: dt.date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The portfolio's days of the last year, with what was usual on such days; and those that were not."""
    start = end - UNUSUAL_DAYS * DAY
    unusual = usage_unusual.unusual(portfolio, clients, start, end, end)
    frame = usage_unusual.usual_days(portfolio, clients, end)
    labels = dict(zip(unusual["date"], unusual["calendar"], strict=True))
    dates = [EPOCH + dt.timedelta(days=day) for day in frame["day"].tolist()]
    frame = frame.assign(
        date=frame["day"].to_numpy().astype("datetime64[D]").astype("datetime64[s]"),
        unusual=[date in labels for date in dates],
        calendar=pd.Series([labels.get(date) for date in dates], dtype=object),
    )
    frame = frame[["date", "person_events", "expected", "ratio", "unusual", "calendar"]]
    return frame[frame["date"] >= pd.Timestamp(start)].reset_index(drop=True), unusual


def _totals(table: pd.DataFrame) -> dict[str, Any]:
    seated = table.dropna(subset=["seats", "monthly_active_users"])
    seats = seated["seats"].sum()
    month = table["monthly_active_users"]
    return {
        "active_customers": integer((month > 0).sum()) if month.notna().any() else None,
        "weekly_active_users": integer(table["weekly_active_users"].sum(min_count=1)),
        "monthly_active_users": integer(month.sum(min_count=1)),
        "licensed_seats": integer(seats) if len(seated) else None,
        "customers_with_seats": len(seated),
        "seat_utilisation": rounded(seated["monthly_active_users"].sum() / seats)
        if seats
        else None,
        "median_usage_ratio": rounded(table["usage_ratio"].median()),
    }


def _idle(table: pd.DataFrame) -> pd.DataFrame:
    """Customers with fewer than half of their seats in use, most idle seats first."""
    idle = table[table["seat_utilisation"] < IDLE]
    order = (idle["monthly_active_users"] - idle["seats"]).sort_values(kind="stable").index
    return idle.loc[order]


def _utilisation(table: pd.DataFrame) -> pd.DataFrame:
    """Customers and ARR by tenths of seats in use; the last holds all above."""
    known = table.dropna(subset="seat_utilisation")
    place = np.minimum((known["seat_utilisation"] / BIN + 1e-9).astype(int), 10)
    rows = [
        (
            step * BIN,
            (step + 1) * BIN,
            int((place == step).sum()),
            float(known.loc[place == step, "arr"].sum()),
        )
        for step in range(11)
    ]
    return pd.DataFrame(rows, columns=["low", "high", "customers", "arr"])


def _figures(table: pd.DataFrame) -> dict[str, Any]:
    """The named figures that the rules for the portfolio read."""
    return {
        "customers": float(len(table)),
        "breaking_away": float(table["breaks_away"].sum()),
        "departed": float((table["champion_departed"] == 1).sum()),
        "single": float(table["single_user"].sum()),
        "silent": float((table["days_since_last"] >= 14).sum()),
        "idle": float(len(_idle(table))),
    }


def _money(table: pd.DataFrame) -> tuple[str | None, list[str]]:
    """The one currency of the table, None (and a warning) where there are several or none is known."""
    known = sorted({str(name) for name in table.loc[table["arr"].notna(), "currency"].dropna()})
    if len(known) > 1:
        return None, [f"ARR in several currencies is not added up: {', '.join(known)}"]
    return (known[0] if known else None), []


def _excluded(portfolio: Any, known: pd.DataFrame, as_of: dt.date, live: int) -> dict[str, int]:
    day = pd.Timestamp(as_of)
    begun = pd.to_datetime(known["signup_date"]) <= day
    left = known["churned_on"].notna()
    churned, waiting = int((begun & left).sum()), int((~begun).sum())
    return {
        "churned": churned,
        "not_started": waiting,
        "prospect": len(known) - churned - waiting - live,
    }


def _not_measured(
    table: pd.DataFrame, trend: Any, reasons: dict[str, str], currency: str | None
) -> dict[str, str]:
    found = dict(reasons)
    if trend.trend_direction is None:
        found["$.usage_trends"] = f"{trend.weeks} whole weeks with events, at least 6 are needed"
    if not table["seats"].notna().any():
        found["$.seat_utilisation"] = found["$.licensed_seats"] = "no customer's seats are known"
    if not table["usage_ratio"].notna().any():
        found["$.median_usage_ratio"] = "no customer has a baseline yet"
    if currency is None:
        found["$.single_user_arr"] = found["$.currency"] = "no ARR in one known currency"
    return dict(sorted(found.items()))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    plain = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in plain
    ]
