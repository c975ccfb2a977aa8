"""The page of a customer's usage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.reports.pages.common import (
    CUSTOMER_ABOUT,
    actions_section,
)
from healthseg.reports.spec import (
    Card,
    Chart,
    Facts,
    Fold,
    Missing,
    Page,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.usage.result import PortfolioUsage, UsageEngagement

# whole weeks from which on columns by week show a course
WEEKS_DRAWN = 3
# users of all weeks together from which on shares of them, or of their hours, show a course
COHORT_USERS = 30


def _weeks_known(usage: UsageEngagement) -> bool:
    return len(usage.frame("weeks")) >= WEEKS_DRAWN


def _trend(usage: UsageEngagement | PortfolioUsage) -> str:
    if usage.usage_trends.unclear:
        return "Not clear"
    if usage.usage_trends.trend_direction == "stable":
        return "{usage_trends.trend_direction:Words}"
    return "{usage_trends.weekly_growth_rate:signed_percent.1}"


def _direction(usage: UsageEngagement | PortfolioUsage) -> str:
    direction = usage.usage_trends.trend_direction
    if direction is None:
        return "too little data"
    return "" if direction == "stable" else "{usage_trends.trend_direction:words}"


def _by_baseline(usage: UsageEngagement) -> bool:
    return usage.usage_trends.unclear and usage.own_baseline.ratio is not None


TREND = Card(
    "Usage trend",
    _trend,
    "events a week, over {usage_trends.weeks:number week}",
    _direction,
    direction="usage_trends.trend_direction",
    past="frames.weeks.person_events",
    past_name="events by week",
)
# a customer's: where weeks do not tell, against its own baseline, as the verdict says it
OWN_TREND = replace(
    TREND,
    figure=lambda usage: "{own_baseline.ratio:percent}" if _by_baseline(usage) else _trend(usage),
    note=lambda usage: (
        "of its own baseline, in 28 days"
        if _by_baseline(usage)
        else "events a week, over {usage_trends.weeks:number week}"
    ),
)


def _retention_known(usage: UsageEngagement) -> bool:
    """Whether enough users are followed for shares of them; the weeks of the fewest are noise."""
    weeks = usage.frame("retention")
    return bool(len(weeks) and weeks.drop_duplicates("cohort")["users"].sum() >= COHORT_USERS)


def _hours_known(usage: UsageEngagement) -> bool:
    hours = usage.activity_heatmap.user_hours or 0
    return not usage.is_new and hours >= COHORT_USERS


def growth(days: str) -> str:
    """How many joined, came back and stopped; ``days`` is the period's length."""
    return (
        "{growth_accounting.period.new_users:number user} joined and "
        "{growth_accounting.period.resurrected_users:number} returned after a break in {"
        + days
        + ":number day}, while {growth_accounting.period.dormant_users:number} stopped"
    )


WEEKS = Table(
    "frames.growth",
    {
        "Week from": "start:day",
        "Active": "active_users:number",
        "New": "new_users:number",
        "Active again": "returning_users:number",
        "Back": "resurrected_users:number",
        "Paused": "dormant_users:number",
        "New and back per paused user": "pulse_ratio:number.2",
    },
    label="weeks",
)


def stood_out(day: Row) -> str:
    """What made a day unusual."""
    what = {
        "people": "{value:number} active users",
        "doing": "{value:number} events each",
        "events": "{value:number} events",
    }
    return f"{what[day['about']]}, usually {{value_expected:number}}"


def cohort(user: Row) -> str:
    """A user's cohort; "at risk" is a health band's name."""
    return "occasional" if user["cohort"] == "at_risk" else "{cohort:words}"


def dependence(usage: UsageEngagement) -> tuple[str, ...]:
    """Whether usage depends on one user, and whether its champion is still active."""
    users = usage.dependence
    single = "All usage depends on a single user" if users.single_user else ""
    top = "The top user accounts for {dependence.top_user_share:percent} of the events of 28 days"
    if users.champion_share is None:
        seen = users.champion_departed is not None and not usage.is_new
        return single, top, NO_CHAMPION if seen else ""
    state = (
        "and has been silent for {dependence.champion_silent_days:number day}"
        if users.champion_departed
        else "and is active"
    )
    return (
        single,
        top,
        "The champion of the 90 days before accounted for {dependence.champion_share:percent} of the "
        f"events on {{dependence.champion_active_days:number day}} {state}",
    )


NO_CHAMPION = "No single user accounted for a fifth of the usage on 12 days of the 90 before"


def _amount(usage: UsageEngagement) -> tuple[str, ...]:
    metrics = usage.engagement_metrics
    if not metrics.licensed_seats or metrics.seat_utilisation is None:
        return ("{engagement_metrics.active_users:number user} were active in the period",)
    used = (
        "{engagement_metrics.seat_utilisation:percent} of the {engagement_metrics.licensed_seats:number seat} paid for "
        "were used in 30 days"
    )
    if metrics.daily_active_users == 0:
        return (
            used,
            "Somebody was active on {usage_analytics.active_days:number} of {analysis_period.days:number day}",
        )
    return used, "On an average day {engagement_metrics.daily_active_users:number user} are active"


def _depth(usage: UsageEngagement) -> tuple[str, ...]:
    cohorts = usage.user_cohorts
    if cohorts is None:
        return ()
    return (
        "Of {user_cohorts.users:number user} {user_cohorts.power_users:number} are active on three days a week or more, "
        "{user_cohorts.regular_users:number} on at least one, {user_cohorts.at_risk_users:number} less often and "
        "{user_cohorts.inactive_users:number} not at all in 28 days",
        "{user_cohorts.declining_users:number} regular ones have halved their active days: talk to them"
        if cohorts.declining_users
        else "",
    )


COMPARED: tuple[str, ...] = (
    "It is used more than at {benchmark_insights.percentile_rank:number}% of its "
    "{benchmark_insights.peers:number peer} ({benchmark_insights.peer_group})",
    "{benchmark_insights.vs_peers:sentence}",
    "{benchmark_insights.vs_industry_average:sentence}",
)
COMPARISON = (
    Missing("The comparison", "benchmark_insights"),
    Missing("The rank among peers", "benchmark_insights.percentile_rank"),
    Chart("peers", needs="benchmark_insights"),
)
USED = Table(
    "feature_adoption_timeline",
    {
        "Feature": "feature:words",
        "First use": "first_use_date:day",
        "Users": "active_users:number",
        "Users ever": "users_ever:number",
        "Events a week": "weekly_usage:number.1",
    },
    label="features",
)
HOURS = Chart(
    "heatmap",
    Table(
        "frames.cells",
        {
            "Day or hour": "name",
            "User-hours": "user_hours:number",
            "Share": "share:percent.1",
            "To the mean in use": "ratio:number.2",
            "p": "p:number.3",
        },
        label="days and hours",
        where=lambda cell: cell["user_hours"],
    ),
)


CUSTOMER = Page(
    tool="track_usage_engagement",
    kind="Customer usage",
    summary="One customer's usage: who uses it, how many of the seats, whether it grows, when, how "
    "deeply, and whether it depends on single users.",
    title="{name}",
    about=(
        "{analysis_period.effective_start:day} to {analysis_period.effective_end:day_before}, "
        "{analysis_period.days:number day} by the clock of {analysis_period.timezone}",
        CUSTOMER_ABOUT,
    ),
    cards=(
        Card(
            "Active in 30 days",
            "{engagement_metrics.monthly_active_users:number}",
            "{engagement_metrics.weekly_active_users:number} in 7 days",
            past="frames.growth.active_users",
            past_name="active users by week",
        ),
        Card(
            "Seats in use",
            "{engagement_metrics.seat_utilisation:percent}",
            "of {engagement_metrics.licensed_seats:number seat}",
        ),
        OWN_TREND,
        Card(
            "Sessions",
            "{usage_analytics.total_sessions:number}",
            "{engagement_metrics.average_session_duration_minutes:number.1 minute} on average",
        ),
        Card(
            "Stickiness",
            "{engagement_metrics.stickiness:percent}",
            "of the month’s users on an average day",
        ),
    ),
    sections=(
        actions_section(
            "actions",
            *("usage", "seats", "champion", "breadth", "export"),
            more=lambda usage: (Chart("trend"),) if _weeks_known(usage) else (),
        ),
        Section(
            "amount",
            "Who uses it, how much, and how many of the paid seats?",
            _amount,
            (
                Chart(
                    "series",
                    Table(
                        "series",
                        {
                            "From": "start:day",
                            "Events by people": "person_events:number",
                            "Active users": "active_users:number",
                            "Sessions": "sessions:number",
                            "API calls": "api_events:number",
                        },
                        label="parts of the period",
                    ),
                ),
                Facts(
                    {
                        "Active users in the period": "{engagement_metrics.active_users:number}",
                        "On an average day": lambda usage: (
                            "less than one"
                            if usage.engagement_metrics.daily_active_users == 0
                            else "{engagement_metrics.daily_active_users:number}"
                        ),
                        "Provisioned users": "{engagement_metrics.provisioned_users:number}",
                        "Activated": "{engagement_metrics.user_activation_rate:percent}",
                        "Features adopted of those entitled": "{engagement_metrics.feature_adoption_rate:percent}",
                        "Events by people": "{usage_analytics.person_events:number}",
                        "API calls": "{usage_analytics.api_calls_count:number}",
                        "Features used": "{usage_analytics.unique_features_used:number}",
                        "Sessions per user and week": "{engagement_metrics.sessions_per_user_per_week:number.1}",
                    }
                ),
            ),
        ),
        Section(
            "growth",
            "Is it growing?",
            (
                growth("analysis_period.days"),
                "Usage of the last 28 days is {own_baseline.ratio:percent} of that of the 84 days before, day for day; "
                "the portfolio’s median is {own_baseline.portfolio_median_ratio:percent}",
            ),
            lambda usage: (
                Missing("The trend", "usage_trends.trend_direction"),
                *((Chart("growth", WEEKS),) if _weeks_known(usage) else ()),
                Fold(
                    "{unusual_days:count unusual day}",
                    (
                        Table(
                            "unusual_days",
                            {
                                "Day": "date:day",
                                "Events": "person_events:number",
                                "Usual": "expected:number",
                                "The rest of the portfolio": "portfolio_ratio:percent",
                                "What stood out": stood_out,
                                "Likely cause": "{likely_cause:prose?none found}",
                            },
                            label="days",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            "depth",
            "How deep and how often?",
            _depth,
            lambda usage: (
                Missing("Cohorts of users", "user_cohorts"),
                *((Chart("retention", needs="user_cohorts"),) if _retention_known(usage) else ()),
                Missing("Features", "feature_adoption_timeline"),
                USED
                if usage.is_new
                else Chart("features", USED, needs="feature_adoption_timeline"),
                Table(
                    "users",
                    {
                        "User": "user_id",
                        "Cohort": cohort,
                        "Active days": "active_days:number",
                        "28 days before": "before_days:number",
                        "Events": "person_events:number",
                        "Last seen": "last_seen_on:day",
                    },
                    "Users",
                    "users",
                ),
            ),
        ),
        Section(
            "timing",
            "When is it used?",
            ("{activity_heatmap.statement:sentence}",),
            lambda usage: (HOURS,) if _hours_known(usage) else (),
        ),
        Section(
            "dependence",
            "Who does usage depend on?",
            dependence,
            lambda usage: (
                Missing("Dependence on users", "dependence.top_user_share"),
                *(() if usage.is_new else (Chart("histogram", needs="user_cohorts"),)),
            ),
        ),
        Section(
            "comparison",
            "How does it compare with peers?",
            lambda usage: (
                ("It is too new to compare with customers past their first months",)
                if usage.is_new
                else COMPARED
            ),
            lambda usage: () if usage.is_new else COMPARISON,
        ),
    ),
    method=(
        "Days are those of the account’s own clock; API calls are events, but not activity",
        "Active users of the week and the month are the distinct users of the last 7 and 30 days",
        "Active users of the day are a mean over the period",
        lambda usage: (
            "The growth a week is within {usage_trends.growth_interval.lower:signed_percent.1} and "
            "{usage_trends.growth_interval.upper:signed_percent.1} ({usage_trends.interval_level:percent} interval)"
            if usage.usage_trends.growth_interval
            else None
        ),
        lambda usage: (
            "The rank among peers is within {benchmark_insights.percentile_interval.lower:number} and "
            "{benchmark_insights.percentile_interval.upper:number}%"
            if usage.benchmark_insights and usage.benchmark_insights.percentile_interval
            else None
        ),
        "The trend is the Theil–Sen slope of the logarithms of whole weeks",
        "A day or hour is a peak where it is far above the mean of those in use, beyond what chance "
        "explains",
        "Cells of the retention table stay blank until the whole week is over",
    ),
)
