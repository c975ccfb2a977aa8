"""The page of the portfolio's usage: a function for each question."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
    footer,
    isolated,
    joined,
    lines,
    paragraph,
    prose,
    table,
)
from healthseg.reports.pages.usage import what_stood_out
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "actions",
    "breaking_away",
    "coming_and_going",
    "footer",
    "method",
    "open_portfolio",
    "opening",
    "retention",
    "seats",
    "single_users",
    "unusual_days",
]
_NAME = Column(
    "name",
    "Customer",
    markup=lambda row: f"{isolated(row['name'])}<small>{prose(row['reason'] or '')}</small>",
)


def opening(usage: Any) -> Html:
    """The portfolio, the verdict, and five figures."""
    trend = usage.usage_trends
    rate = trend.weekly_growth_rate
    items = [
        Card(
            "Active in 30 days",
            formats.number(usage.monthly_active_users),
            f"{formats.number(usage.weekly_active_users)} in 7 days",
        ),
        Card(
            "Seats in use",
            formats.percent(usage.seat_utilisation),
            f"of {formats.number(usage.licensed_seats)} at {formats.number(usage.customers_with_seats)} customers",
        ),
        Card(
            "Trend",
            "–" if rate is None else f"{formats.signed(100 * rate, 1)} %",
            "events a week",
            formats.words(trend.trend_direction or "too little data"),
            {"increasing": "up", "decreasing": "down"}.get(trend.trend_direction or "", ""),
        ),
        Card("Breaking away", formats.number(len(usage.breaking_away)), "customers"),
        Card(
            "On a single user",
            formats.number(len(usage.single_user_customers)),
            f"ARR {formats.brief_money(usage.single_user_arr, usage.currency)}"
            if usage.single_user_arr
            else "customers",
        ),
    ]
    return page.portfolio_opening(usage, "Portfolio usage", "The portfolio’s usage", items)


def breaking_away(usage: Any) -> Html:
    """Whose usage breaks away from the portfolio?"""
    lead = joined(
        f"{formats.number(len(usage.breaking_away))} of {formats.number(usage.total_customers)} customers",
        f"The portfolio's median customer is at {formats.percent(usage.median_usage_ratio)} of its own baseline; listed are "
        "those below four fifths of that, and two robust spreads away",
    )
    columns = [
        _NAME,
        Column("usage_ratio", "Of own baseline", formats.percent, True),
        Column("monthly_active_users", "Users in 30 days", formats.number, True),
        Column("days_since_last", "Days since the last event", formats.number, True),
        page.money_column(usage),
    ]
    return Html(
        paragraph(lead, "lead")
        + table(usage.breaking_away, columns, label="customers")
        + figure(usage, "breaking_away"),
        lead,
    )


def seats(usage: Any) -> Html:
    """Are the seats in use?"""
    columns = [
        _NAME,
        Column("seat_utilisation", "Seats in use", formats.percent, True),
        Column("monthly_active_users", "Users in 30 days", formats.number, True),
        Column("seats", "Seats", formats.number, True),
        page.money_column(usage),
    ]
    lead = joined(
        f"{formats.number(len(usage.idle_seats))} customers use fewer than half of their seats"
    )
    return Html(
        paragraph(lead, "lead")
        + figure(usage, "utilisation")
        + table(usage.idle_seats, columns, label="customers"),
        lead,
    )


def coming_and_going(usage: Any) -> Html:
    """Do more users come than go?"""
    period = usage.growth_accounting.period
    lead = (
        ""
        if period.new_users is None
        else joined(
            f"In {usage.lookback_period_days} days {formats.number(period.new_users)} users are new, "
            f"{formats.number(period.returning_users)} came before too, "
            f"{formats.number(period.resurrected_users)} came back after a break "
            f"and {formats.number(period.dormant_users)} did not come again"
        )
    )
    names = (
        ("active_users", "Active"),
        ("new_users", "New"),
        ("returning_users", "Returning"),
        ("resurrected_users", "Resurrected"),
        ("dormant_users", "Dormant"),
    )
    columns = [
        Column("start", "Week from", formats.day),
        *[Column(key, name, formats.number, True) for key, name in names],
    ]
    weeks = table(usage.frame("growth").to_dict("records"), columns, label="weeks")
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + figure(usage, "growth", weeks)
        + figure(usage, "trend"),
        lead,
    )


def retention(usage: Any) -> Html:
    """Do new users stay?"""
    return Html(
        figure(usage, "retention") + figure(usage, "heatmap"), usage.activity_heatmap.statement
    )


def single_users(usage: Any) -> Html:
    """Which customers hang on one person?"""
    columns = [
        _NAME,
        Column("person_events", "Events in 28 days", formats.number, True),
        Column("seats", "Seats", formats.number, True),
        page.money_column(usage),
    ]
    gone = [
        Column("name", "Customer"),
        Column("days_since_last", "Days since the last event", formats.number, True),
        page.money_column(usage),
    ]
    lead = joined(
        f"{formats.number(len(usage.single_user_customers))} customers have a single active user in 30 days",
        f"The champion has left at {formats.number(len(usage.champions_departed))}",
    )
    return Html(
        paragraph(lead, "lead")
        + table(usage.single_user_customers, columns, "On a single user", "customers")
        + table(usage.champions_departed, gone, "Champion departed", "customers"),
        lead,
    )


def unusual_days(usage: Any) -> Html:
    """Which days were not like others?"""
    rows = [day.model_dump() for day in usage.unusual_days]
    columns = [
        Column("date", "Day", formats.day),
        Column("person_events", "Events", formats.number, True),
        Column("expected", "Usual", formats.number, True),
        Column("ratio", "Ratio", formats.percent, True),
        Column("about", "What stood out", what_stood_out),
        Column("likely_cause", "Likely cause", formats.plain),
    ]
    return Html(figure(usage, "days", table(rows, columns, label="days")))


def actions(usage: Any) -> Html:
    """What to do?"""
    todo = [prose(advice.text) for advice in usage.recommendations_detail]
    nothing = "" if todo else paragraph("No rule asks for anything.", "lead")
    return Html(nothing + lines(todo, ordered=True), "; ".join(usage.recommendations))


def method(usage: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        usage,
        "Live customers only; users who come and go are of all customers, those that have left since too",
        "Usage against the own baseline is the events of 28 days over those of the 84 days before, a tracked day alike",
        "A day is unusual where as many people, or as much done by each, comes by chance once in 100,000 such days",
        "Amounts of different currencies are never added up",
    )
