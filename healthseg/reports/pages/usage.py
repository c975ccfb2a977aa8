"""The page of one customer's usage: a function for each question that its reader has."""

from __future__ import annotations

import datetime as dt
from typing import Any

from healthseg.charts import formats, small
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    facts,
    figure,
    footer,
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
    severity,
    table,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "actions",
    "amount",
    "comparison",
    "dependence",
    "depth",
    "footer",
    "growth",
    "method",
    "open_portfolio",
    "opening",
    "timing",
]


def opening(usage: Any) -> Html:
    """Who, which period, the verdict, and five figures."""
    period = usage.analysis_period
    span = (
        f"{formats.day(period.effective_start)} to {formats.day(_last_day(period))}, {period.days} days "
        f"by the clock of {period.timezone}"
    )
    return page.opening(
        usage, "Customer usage", usage.name, [safe(span), page.customer_line(usage)], _five(usage)
    )


def _last_day(period: Any) -> dt.date:
    return dt.date.fromisoformat(str(period.effective_end)[:10]) - dt.timedelta(days=1)


def _five(usage: Any) -> list[Card]:
    figures, counted, trend = usage.engagement_metrics, usage.usage_analytics, usage.usage_trends
    weeks = usage.frame("growth")["active_users"].tolist()
    spark = small.sparkline(weeks, label="active users by week") if len(weeks) > 1 else ""
    rate = trend.weekly_growth_rate
    direction = {"increasing": "up", "decreasing": "down"}.get(trend.trend_direction or "", "")
    return [
        Card(
            "Active in 30 days",
            formats.number(figures.monthly_active_users),
            f"{formats.number(figures.weekly_active_users)} in 7 days",
            spark=spark,
        ),
        Card(
            "Seats in use",
            formats.percent(figures.seat_utilisation),
            f"of {formats.number(figures.licensed_seats)} seats",
        ),
        Card(
            "Trend",
            "–" if rate is None else f"{formats.signed(100 * rate, 1)} %",
            "events a week",
            formats.words(trend.trend_direction or "too little data"),
            direction,
        ),
        Card(
            "Sessions",
            formats.number(counted.total_sessions),
            f"{formats.number(figures.average_session_duration_minutes, 1)} minutes on average",
        ),
        Card(
            "Stickiness",
            formats.percent(figures.stickiness),
            "of the month’s users on an average day",
        ),
    ]


def amount(usage: Any) -> Html:
    """Who uses it, how much, of the seats paid for?"""
    figures, counted = usage.engagement_metrics, usage.usage_analytics
    pairs = [
        ("Active users in the period", formats.number(figures.active_users)),
        ("On an average day", formats.number(figures.daily_active_users)),
        ("Provisioned users", formats.number(figures.provisioned_users)),
        ("Activated", formats.percent(figures.user_activation_rate)),
        ("Features adopted of those entitled", formats.percent(figures.feature_adoption_rate)),
        ("Events of persons", formats.number(counted.person_events)),
        ("Calls of the API", formats.number(counted.api_calls_count)),
        ("Features used", formats.number(counted.unique_features_used)),
        ("Sessions per user and week", formats.number(figures.sessions_per_user_per_week, 1)),
    ]
    columns = [
        Column("start", "From", formats.plain),
        Column("person_events", "Person events", formats.number, True),
        Column("active_users", "Active users", formats.number, True),
        Column("sessions", "Sessions", formats.number, True),
        Column("api_events", "API calls", formats.number, True),
    ]
    figures_table = table(usage.series, columns, label="parts of the period")
    return Html(facts(pairs) + figure(usage, "series", figures_table))


def growth(usage: Any) -> Html:
    """Is it growing?"""
    trend, period = usage.usage_trends, usage.growth_accounting.period
    moving = (
        ""
        if trend.trend_direction is None
        else (
            f"Events of persons are {trend.trend_direction}: {formats.signed(100 * trend.weekly_growth_rate, 1)} % a "
            f"week, {formats.percent(trend.interval_level)} interval "
            f"{formats.signed(100 * trend.growth_interval.lower, 1)} to "
            f"{formats.signed(100 * trend.growth_interval.upper, 1)} %, over {trend.weeks} weeks"
        )
    )
    speed = f"The pace is {trend.usage_velocity}" if trend.usage_velocity else ""
    users = (
        ""
        if period.new_users is None
        else (
            f"Of the period's users {period.new_users} are new, {period.returning_users} came before too and "
            f"{period.resurrected_users} came back after a break; {period.dormant_users} of before did not come again"
        )
    )
    own, odd = usage.own_baseline, _unusual(usage)
    base = (
        ""
        if own.ratio is None
        else (
            f"The last 28 days stand at {formats.percent(own.ratio)} of the customer's own baseline; the portfolio's median "
            f"customer at {formats.percent(own.portfolio_median_ratio)} (n = {own.portfolio_customers})"
        )
    )
    gap = (
        missing("The trend", usage.not_measured.get("$.usage_trends.trend_direction", ""))
        if not moving
        else ""
    )
    lead = joined(moving, speed, users, base)
    return Html(
        gap
        + paragraph(lead, "lead")
        + figure(usage, "trend")
        + figure(usage, "growth", _weeks(usage))
        + odd,
        lead,
    )


def _weeks(usage: Any) -> str:
    names = (
        ("active_users", "Active"),
        ("new_users", "New"),
        ("returning_users", "Stayed"),
        ("resurrected_users", "Came back"),
        ("dormant_users", "Stopped"),
    )
    columns = [
        Column("start", "Week from", formats.day),
        *[Column(key, name, formats.number, True) for key, name in names],
        Column("pulse_ratio", "Gains ÷ losses", lambda value: formats.number(value, 2), True),
    ]
    return table(usage.frame("growth").to_dict("records"), columns, label="weeks")


def what_stood_out(about: str) -> str:
    return {"people": "who came", "doing": "what each did"}[about]


def _unusual(usage: Any) -> str:
    rows = [day.model_dump() for day in usage.unusual_days]
    columns = [
        Column("date", "Day", formats.day),
        Column("person_events", "Events", formats.number, True),
        Column("expected", "Usual", formats.number, True),
        Column("portfolio_ratio", "The rest of the portfolio", formats.percent, True),
        Column("about", "What stood out", what_stood_out),
        Column("likely_cause", "Likely cause", formats.plain),
    ]
    return table(rows, columns, "Days that were not like others", "days")


def timing(usage: Any) -> Html:
    """When is it used?"""
    heat = usage.activity_heatmap
    lead = joined(
        formats.sentence(heat.statement),
        f"By the clock of {heat.timezone}, n = {heat.user_hours} user-hours",
    )
    rows = [cell.model_dump() for cell in (*heat.days, *heat.hours) if cell.user_hours]
    columns = [
        Column("name", "Day or hour"),
        Column("user_hours", "User-hours", formats.number, True),
        Column("share", "Share", lambda value: formats.percent(value, 1), True),
        Column("ratio", "To the mean in use", lambda value: formats.number(value, 2), True),
        Column("p", "p", lambda value: formats.number(value, 3), True),
    ]
    return Html(
        paragraph(lead, "lead")
        + figure(usage, "heatmap", table(rows, columns, label="days and hours")),
        lead,
    )


def depth(usage: Any) -> Html:
    """How deep and how often?"""
    cohorts = usage.user_cohorts
    if cohorts is None:
        return Html(
            missing("Cohorts of users", usage.not_measured.get("$.user_cohorts", ""))
            + _features(usage)
        )
    declining = (
        ""
        if not cohorts.declining_users
        else (
            f"{cohorts.declining_users} who were regular came on fewer than half as many days in the last 28 days"
        )
    )
    lead = joined(
        f"By their active days of the last 28, of {cohorts.users} users who could have been there "
        f"{cohorts.power_users} are power users, {cohorts.regular_users} regular, {cohorts.at_risk_users} at risk and "
        f"{cohorts.inactive_users} inactive",
        declining,
    )
    users = table(
        usage.users or [],
        [
            Column("user_id", "User"),
            Column("cohort", "Cohort", formats.words),
            Column("active_days", "Active days", formats.number, True),
            Column("before_days", "28 days before", formats.number, True),
            Column("person_events", "Events", formats.number, True),
            Column("last_seen_on", "Last seen", formats.day),
        ],
        "Users",
        "users",
    )
    return Html(
        paragraph(lead, "lead")
        + figure(usage, "histogram")
        + figure(usage, "retention")
        + _features(usage)
        + users,
        lead,
    )


def _features(usage: Any) -> str:
    if usage.feature_adoption_timeline is None:
        return missing("Features", usage.not_measured.get("$.feature_adoption_timeline", ""))
    rows = [use.model_dump() for use in usage.feature_adoption_timeline]
    columns = [
        Column("feature", "Feature", formats.words),
        Column("first_use_date", "First use", formats.day),
        Column("active_users", "Users", formats.number, True),
        Column("users_ever", "Users ever", formats.number, True),
        Column("weekly_usage", "Events a week", lambda value: formats.number(value, 1), True),
    ]
    return figure(usage, "features", table(rows, columns, label="features"))


def dependence(usage: Any) -> Html:
    """On whom does it hang?"""
    found = usage.dependence
    top = (
        ""
        if found.top_user_share is None
        else (
            f"The top user makes {formats.percent(found.top_user_share)} of the events of 28 days"
        )
    )
    single = "All usage hangs on a single user" if found.single_user else ""
    champion = ""
    if found.champion_share is not None:
        gone = (
            f"and has left: silent for {found.champion_silent_days} days"
            if found.champion_departed
            else "and is there"
        )
        champion = (
            f"The champion of the 90 days before made {formats.percent(found.champion_share)} of the events on "
            f"{found.champion_active_days} days, {gone}"
        )
    elif found.champion_departed is not None:
        champion = "No single user carried a fifth of the usage on 12 days of the 90 before: there is no champion to lose"
    lead = joined(single, top, champion)
    why = usage.not_measured.get("$.dependence.top_user_share", "")
    return Html(paragraph(lead, "lead") if lead else missing("Dependence on users", why), lead)


def comparison(usage: Any) -> Html:
    """Compared with peers?"""
    found = usage.benchmark_insights
    if found is None:
        return Html(missing("The comparison", usage.not_measured.get("$.benchmark_insights", "")))
    rank = (
        ""
        if found.percentile_rank is None
        else (
            f"It stands above {found.percentile_rank:.0f} % of its {found.peers} peers ({found.peer_group}), interval "
            f"{found.percentile_interval.lower:.0f} to {found.percentile_interval.upper:.0f} %"
        )
    )
    gap = (
        ""
        if rank
        else missing(
            "The rank among peers",
            usage.not_measured.get("$.benchmark_insights.percentile_rank", ""),
        )
    )
    lead = joined(rank, found.vs_peers or "", found.vs_industry_average or "")
    return Html(gap + (paragraph(lead, "lead") if lead else "") + figure(usage, "peers"), lead)


def actions(usage: Any) -> Html:
    """What to do?"""
    todo = [prose(advice.text) for advice in usage.recommendations_detail]
    raised = [f"{severity(alert.severity)} {prose(alert.message)}" for alert in usage.alerts]
    nothing = "" if todo else paragraph("No rule asks for anything.", "lead")
    alerts = f"<h3>Alerts</h3>{lines(raised)}" if raised else ""
    return Html(nothing + lines(todo, ordered=True) + alerts, "; ".join(usage.recommendations))


def method(usage: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        usage,
        "Days are those of the account's own clock; calls of the API are events and no activity",
        "Active users of the week and the month are the distinct users of the last 7 and 30 days",
        "Active users of the day are a mean over the period",
        "The trend is Theil–Sen's slope of the logarithms of whole weeks",
        "A day or hour is a peak where it stands far above the mean of those in use, and chance hardly does that",
        "Cells of the retention table stay blank until the whole week is over",
    )
