"""The pages of usage: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import CUSTOMER_ABOUT, NEXT_ACTIONS, portfolio_about
from healthseg.reports.spec import (
    Card,
    Cell,
    Chart,
    Columns,
    Facts,
    Missing,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.usage.result import UsageEngagement

TREND = Card(
    "Trend",
    "{usage_trends.weekly_growth_rate:signed_percent.1}",
    "events a week",
    lambda usage: (
        "{usage_trends.trend_direction:words}"
        if usage.usage_trends.trend_direction
        else "too little data"
    ),
    direction="usage_trends.trend_direction",
)
# of the period, each user once; weeks have words of their own
GROWTH = (
    "Of {growth_accounting.period.active_users:number user} of the last {lookback_period_days:number day} "
    "{growth_accounting.period.new_users:number} are new and "
    "{growth_accounting.period.resurrected_users:number} resurrected; "
    "{growth_accounting.period.dormant_users:number} became dormant: active in the days before, not in these"
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
        "Gains ÷ losses": "pulse_ratio:number.2",
    },
    label="weeks",
)


def stood_out(day: Row) -> str:
    """What made a day unusual."""
    return {"people": "people who were active", "doing": "what each of them did"}[day["about"]]


def cohort(user: Row) -> str:
    """A user's cohort; "at risk" is a health band's name."""
    return "occasional" if user["cohort"] == "at_risk" else "{cohort:words}"


def dependence(usage: UsageEngagement) -> tuple[str, ...]:
    """Whether usage depends on one user, and whether its champion is still active."""
    users = usage.dependence
    single = "All usage depends on a single user" if users.single_user else ""
    top = "The top user accounts for {dependence.top_user_share:percent} of the events of 28 days"
    if users.champion_share is None:
        return single, top, "" if users.champion_departed is None else NO_CHAMPION
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


NO_CHAMPION = (
    "No single user accounted for a fifth of the usage on 12 days of the 90 before: "
    "there is no champion to lose"
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
        TREND,
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
        Section(
            "amount",
            "Who uses it, how much, and how many of the paid seats?",
            blocks=(
                Facts(
                    {
                        "Active users in the period": "{engagement_metrics.active_users:number}",
                        "On an average day": "{engagement_metrics.daily_active_users:number}",
                        "Provisioned users": "{engagement_metrics.provisioned_users:number}",
                        "Activated": "{engagement_metrics.user_activation_rate:percent}",
                        "Features adopted of those entitled": "{engagement_metrics.feature_adoption_rate:percent}",
                        "Events by people": "{usage_analytics.person_events:number}",
                        "API calls": "{usage_analytics.api_calls_count:number}",
                        "Features used": "{usage_analytics.unique_features_used:number}",
                        "Sessions per user and week": "{engagement_metrics.sessions_per_user_per_week:number.1}",
                    }
                ),
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
            ),
        ),
        Section(
            "growth",
            "Is it growing?",
            (
                "Events by people are {usage_trends.trend_direction:words}: "
                "{usage_trends.weekly_growth_rate:signed_percent.1} a week, "
                "{usage_trends.interval_level:percent} interval "
                "{usage_trends.growth_interval.lower:signed_percent.1} to "
                "{usage_trends.growth_interval.upper:signed_percent.1}, over "
                "{usage_trends.weeks:number week}",
                "The pace is {usage_trends.usage_velocity}",
                GROWTH,
                "The last 28 days are at {own_baseline.ratio:percent} of the customer’s own baseline; "
                "the portfolio’s median customer at {own_baseline.portfolio_median_ratio:percent} "
                "(n = {own_baseline.portfolio_customers:number})",
            ),
            (
                Missing("The trend", "usage_trends.trend_direction"),
                Chart("trend"),
                Chart("growth", WEEKS),
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
                    "Unusual days",
                    "days",
                ),
            ),
        ),
        Section(
            "timing",
            "When is it used?",
            (
                "{activity_heatmap.statement:sentence}",
                "By the clock of {activity_heatmap.timezone}, "
                "n = {activity_heatmap.user_hours:number user-hour}",
            ),
            (
                Chart(
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
                ),
            ),
        ),
        Section(
            "depth",
            "How deep and how often?",
            (
                "By their active days of the last 28, of {user_cohorts.users:number user} who could "
                "have been active {user_cohorts.power_users:number} are power users, "
                "{user_cohorts.regular_users:number} regular, {user_cohorts.at_risk_users:number} "
                "occasional and {user_cohorts.inactive_users:number} inactive",
                lambda usage: (
                    "{user_cohorts.declining_users:number} who were regular were active on fewer "
                    "than half as many days in the last 28 days"
                    if usage.user_cohorts and usage.user_cohorts.declining_users
                    else None
                ),
            ),
            (
                Missing("Cohorts of users", "user_cohorts"),
                Chart("histogram", needs="user_cohorts"),
                Chart("retention", needs="user_cohorts"),
                Missing("Features", "feature_adoption_timeline"),
                Chart(
                    "features",
                    Table(
                        "feature_adoption_timeline",
                        {
                            "Feature": "feature:words",
                            "First use": "first_use_date:day",
                            "Users": "active_users:number",
                            "Users ever": "users_ever:number",
                            "Events a week": "weekly_usage:number.1",
                        },
                        label="features",
                    ),
                    needs="feature_adoption_timeline",
                ),
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
            "dependence",
            "Who does usage depend on?",
            dependence,
            (Missing("Dependence on users", "dependence.top_user_share"),),
        ),
        Section(
            "comparison",
            "How does it compare with peers?",
            (
                "It ranks above {benchmark_insights.percentile_rank:number}% of its "
                "{benchmark_insights.peers:number peer} ({benchmark_insights.peer_group}), interval "
                "{benchmark_insights.percentile_interval.lower:number} to "
                "{benchmark_insights.percentile_interval.upper:number}%",
                "{benchmark_insights.vs_peers:sentence}",
                "{benchmark_insights.vs_industry_average:sentence}",
            ),
            (
                Missing("The comparison", "benchmark_insights"),
                Missing("The rank among peers", "benchmark_insights.percentile_rank"),
                Chart("peers", needs="benchmark_insights"),
            ),
        ),
        Section(
            "actions",
            "What to do next?",
            blocks=(
                NEXT_ACTIONS,
                Points("alerts", "{message:prose}", severity="severity", heading="Alerts"),
            ),
        ),
    ),
    method=(
        "Days are those of the account’s own clock; API calls are events, but not activity",
        "Active users of the week and the month are the distinct users of the last 7 and 30 days",
        "Active users of the day are a mean over the period",
        "The trend is the Theil–Sen slope of the logarithms of whole weeks",
        "A day or hour is a peak where it is far above the mean of those in use, beyond what chance "
        "explains",
        "Cells of the retention table stay blank until the whole week is over",
    ),
)


def _customers(columns: Columns) -> Columns:
    """A customer with its reason, the columns, and its ARR."""
    return {"Customer": Cell("name", under="{reason:prose}"), **columns, "ARR": "arr:money"}


PORTFOLIO = Page(
    tool="track_usage_engagement",
    kind="Portfolio usage",
    summary="The usage of all customers: where it dropped sharply, whose seats are idle, whether more "
    "users join than go dormant, and who depends on a single user.",
    title="The portfolio’s usage",
    about=(portfolio_about,),
    cards=(
        Card(
            "Active in 30 days",
            "{monthly_active_users:number}",
            "{weekly_active_users:number} in 7 days",
        ),
        Card(
            "Seats in use",
            "{seat_utilisation:percent}",
            "{seats_in_use:number} of {licensed_seats:number} at {customers_with_seats:number customer}",
        ),
        TREND,
        Card("Sharp drops", "{breaking_away:count}", "customers"),
        Card(
            "On a single user",
            "{single_user_customers:count}",
            lambda usage: (
                "ARR {single_user_arr:brief_money}" if usage.single_user_arr else "customers"
            ),
        ),
    ),
    sections=(
        Section("actions", "What to do next?", blocks=(NEXT_ACTIONS,)),
        Section(
            "breaking_away",
            "Where did usage drop sharply?",
            (
                "Usage of {breaking_away:count} of {total_customers:number customer} fell far below its own "
                "baseline, while the median customer is at {median_usage_ratio:percent} of its",
            ),
            (
                Table(
                    "breaking_away",
                    _customers(
                        {
                            "Of own baseline": Cell("usage_ratio:percent", bar=True),
                            "Users in 30 days": "monthly_active_users:number",
                            "Days since the last event": "days_since_last:number",
                        }
                    ),
                    label="customers",
                ),
            ),
        ),
        Section(
            "seats",
            "Which seats are idle?",
            ("{idle_seats:count customer} use fewer than half of their seats",),
            (
                Chart("utilisation"),
                Table(
                    "idle_seats",
                    _customers(
                        {
                            "Seats in use": Cell("seat_utilisation:percent", bar=True),
                            "Users in 30 days": "monthly_active_users:number",
                            "Seats": "seats:number",
                        }
                    ),
                    label="customers",
                ),
            ),
        ),
        Section(
            "growth",
            "Is the number of users growing?",
            (GROWTH,),
            (Chart("growth", WEEKS), Chart("trend")),
        ),
        Section(
            "retention",
            "Do new users keep using it, and when?",
            blocks=(Chart("retention"), Chart("heatmap")),
        ),
        Section(
            "single_users",
            "Which customers depend on one user?",
            (
                "{single_user_customers:count customer} have a single active user in 30 days",
                "The champion departed at {champions_departed:count customer}",
            ),
            (
                Table(
                    "single_user_customers",
                    _customers(
                        {
                            "Events in 28 days": "person_events:number",
                            "Seats": "seats:number",
                        }
                    ),
                    "On a single user",
                    "customers",
                ),
                Table(
                    "champions_departed",
                    {
                        "Customer": "name",
                        "Days since the last event": "days_since_last:number",
                        "ARR": "arr:money",
                    },
                    "Champion departed",
                    "customers",
                ),
            ),
        ),
        Section(
            "unusual_days",
            "Which days were unusual?",
            blocks=(
                Chart(
                    "days",
                    Table(
                        "unusual_days",
                        {
                            "Day": "date:day",
                            "Events": "person_events:number",
                            "Usual": "expected:number",
                            "Ratio": "ratio:percent",
                            "What stood out": stood_out,
                            "Likely cause": "{likely_cause:prose?none found}",
                        },
                        label="days",
                    ),
                ),
            ),
        ),
    ),
    method=(
        "Live customers only; new, returning, resurrected and dormant users are those of all "
        "customers, of churned ones too",
        "Usage against the own baseline is the events of 28 days over those of the 84 days before, "
        "per tracked day; a sharp drop is below four fifths of the median customer’s, and two robust "
        "spreads away",
        "A day is unusual where as many people, or as much done by each, occurs by chance once in "
        "100,000 such days",
        "Amounts of different currencies are never added up",
    ),
    portfolio=True,
)
