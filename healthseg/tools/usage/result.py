"""The shape of track_usage_engagement's response: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class Range(Part):
    """An interval, at the response's ``interval_level``."""

    lower: float
    upper: float


class AnalysisPeriod(Part):
    start: str  # instants of UTC: midnight of the account's own clock
    end: str
    start_date: dt.date  # the days asked for, account-local; the end is exclusive
    end_date: dt.date
    effective_start: dt.date  # the part of them in which the customer lived and events were tracked
    effective_end: dt.date
    days: int
    timezone: str
    granularity: str


class EngagementMetrics(Part):
    weekly_active_users: int | None
    monthly_active_users: int | None
    daily_active_users: int | None
    user_activation_rate: float | None
    activated_users: int | None
    activation_basis: str | None  # users, seats, or the settings' activation_features
    feature_adoption_rate: float | None
    average_session_duration_minutes: float | None
    sessions_per_user_per_week: float | None
    active_users: int | None  # distinct, in the period
    active_days_per_user: float | None
    stickiness: float | None
    licensed_seats: int | None
    seat_utilisation: float | None  # monthly active users ÷ seats
    provisioned_users: int | None


class UsageAnalytics(Part):
    total_sessions: int | None
    total_events: int | None
    unique_features_used: int | None
    unlisted_features: int | None
    api_calls_count: int | None
    person_events: int | None
    active_days: int | None


class Velocity(Part):
    change: float | None  # later half's slope − earlier half's, of log1p, a week
    interval: Range | None


class UsageTrends(Part):
    trend_direction: str | None
    weekly_growth_rate: float | None
    growth_interval: Range | None
    usage_velocity: str | None
    velocity: Velocity
    weeks: int
    window_start: dt.date
    interval_level: float


class UserCohorts(Part):
    power_users: int
    regular_users: int
    at_risk_users: int
    inactive_users: int
    users: int
    active_days_histogram: list[int]  # users by active days of the last 28, 0 to 28
    declining_users: int | None


class GrowthPeriod(Part):
    start: dt.date
    end: dt.date
    active_users: int | None
    new_users: int | None
    returning_users: int | None
    resurrected_users: int | None
    dormant_users: int | None
    pulse_ratio: float | None  # (new + resurrected) ÷ dormant


class GrowthAccounting(Part):
    period: GrowthPeriod
    weeks: list[GrowthPeriod]


class RetentionCohort(Part):
    cohort_start: dt.date
    users: int
    retained: list[float | None]  # by week since the first event; null: not over yet


class Dependence(Part):
    top_user_share: float | None  # of the person events with a user, 28 days
    monthly_active_users: int | None
    single_user: bool | None
    champion_share: float | None
    champion_active_days: int | None
    champion_silent_days: int | None
    champion_departed: bool | None
    champion_user_id: str | None


class OwnBaseline(Part):
    ratio: float | None  # 28 days against the 84 before, per tracked day
    portfolio_median_ratio: float | None
    portfolio_customers: int
    below_while_portfolio_holds: bool | None


class FeatureUse(Part):
    feature: str
    first_use_date: dt.date | None
    adoption_rate: float | None
    weekly_usage: float
    person_events: int
    active_users: int
    active_days: int
    users_ever: int | None
    listed: bool | None
    used_before_tracking: bool  # may have been in use before events were tracked


class Cell(Part):
    name: str
    user_hours: int
    share: float
    ratio: float | None  # to the mean of those in use
    p: float | None
    peak: bool


class Heatmap(Part):
    peak_days: list[str] | None
    peak_hours: list[str] | None
    statement: str
    timezone: str
    user_hours: int
    days: list[Cell]
    hours: list[Cell]
    user_hours_by_weekday_and_hour: list[list[int]]
    rhythm_p_days: float | None
    rhythm_p_hours: float | None


class Benchmark(Part):
    vs_industry_average: str | None
    percentile_rank: float | None
    percentile_interval: Range | None
    metric: str | None
    value: float | None
    industry_median: float | None
    source: str | None
    vs_peers: str | None
    peer_median: float | None
    peer_group: str | None
    peers: int


class UnusualDay(Part):
    date: dt.date
    person_events: int
    expected: (
        float | None
    )  # median of the same weekday around; null where there are too few of them
    ratio: float | None
    z: float
    about: str  # people, or doing (events of those who came)
    value: int  # of what stood out, on the day of the spell that is farthest out
    value_expected: float
    portfolio_ratio: (
        float | None
    )  # what the rest of the portfolio had of its usual people; 1 where all was as always
    calendar: str | None
    likely_cause: (
        str | None
    )  # the calendar's label, missing data, tickets; null where the portfolio names none


class Advice(Part):
    """A fired rule, with the figures that made it fire."""

    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class Alert(Part):
    type: str
    severity: str
    message: str
    figures: dict[str, Any]


class UsageEngagement(Result):
    """One customer's usage. Its frames, unrounded:

    series: start, end (local), person_events, api_events, active_users, sessions, complete; weeks: start, end,
    person_events, fitted; growth: a row a week; features: a row a feature used; adopters: week_end, feature, users;
    heatmap: weekday, hour, user_hours, person_events; cells: kind, place, name, user_hours, share, in_use, ratio, p,
    peak; histogram: active_days, users, cohort; users: only with include_users; peers: client_id, value; unusual_days:
    date, value, expected, ratio, z, portfolio_ratio, calendar; metrics: one row of the period's metrics; retention:
    cohort, week, users, retained, share.
    """

    tool: ClassVar[str] = "track_usage_engagement"

    client_id: str
    name: str
    status: str
    analysis_period: AnalysisPeriod
    interval_level: float
    engagement_metrics: EngagementMetrics
    usage_analytics: UsageAnalytics
    usage_trends: UsageTrends
    user_cohorts: UserCohorts | None
    growth_accounting: GrowthAccounting
    user_retention: list[RetentionCohort] | None
    dependence: Dependence
    own_baseline: OwnBaseline
    feature_adoption_timeline: list[FeatureUse] | None
    activity_heatmap: Heatmap
    benchmark_insights: Benchmark | None
    series: list[dict[str, Any]]
    unusual_days: list[UnusualDay]
    users: list[dict[str, Any]] | None
    recommendations: list[str]
    recommendations_detail: list[Advice]
    alerts: list[Alert]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import usage

        return {
            "series": usage.series(self.frame("series"), width),
            "trend": usage.trend(self.frame("weeks"), width),
            "growth": usage.growth(self.frame("growth"), width),
            "heatmap": usage.heatmap(self.frame("heatmap"), width),
            "histogram": usage.histogram(self.frame("histogram"), width),
            "retention": usage.retention(self.frame("retention"), width),
            "features": usage.features(self.frame("features"), width),
            "peers": usage.peers(self.frame("peers"), self.client_id, width),
        }

    def verdict(self) -> str:
        figures, trend = self.engagement_metrics, self.usage_trends
        if not self.usage_analytics.person_events:
            return f"{self.name}: no person used it in this period"
        many, days = figures.monthly_active_users, 30
        if many is None:
            many, days = figures.active_users, self.analysis_period.days
        users = f"{self.name}: {many} active user{'' if many == 1 else 's'} in {days} days"
        users += f" on {figures.licensed_seats} seats" if figures.licensed_seats else ""
        rate = (
            ""
            if trend.weekly_growth_rate is None
            else f" ({100 * trend.weekly_growth_rate:+.1f} % a week)"
        )
        moving = f"; usage {trend.trend_direction}{rate}" if trend.trend_direction else ""
        todo = len(self.recommendations)
        return users + moving + (f"; {todo} thing{'s' if todo > 1 else ''} to do" if todo else "")

    def summary(self) -> dict[str, Any]:
        figures, counted = self.engagement_metrics, self.usage_analytics
        return {
            "Active users (day, week, month)": f"{figures.daily_active_users}, {figures.weekly_active_users}, "
            f"{figures.monthly_active_users}",
            "Sessions": counted.total_sessions,
            "Events": counted.total_events,
            "Trend": self.usage_trends.trend_direction,
            "Peaks": self.activity_heatmap.statement,
            "Alerts": "; ".join(a.message for a in self.alerts) or "none",
        }


class PortfolioUsage(Result):
    """What the portfolio report of track_usage_engagement needs; its frames are:

    customers: a row a live customer (client_id, name, usage_ratio, relative_ratio, z, breaks_away,
    monthly_active_users, weekly_active_users, seats, seat_utilisation, top_user_share, single_user, champion_departed,
    person_events, days_since_last, arr, currency, tier, reason), those that break away first; growth: a row a week;
    retention: cohort, week, users, retained, share; days: date, person_events, expected, ratio, unusual, calendar;
    weeks: start, end, person_events, fitted; utilisation: low, high, customers, arr; heatmap: weekday, hour,
    user_hours, person_events; unusual_days: the days that stand out.
    """

    tool: ClassVar[str] = "track_usage_engagement"

    total_customers: int
    excluded: dict[str, int]
    lookback_period_days: int
    interval_level: float
    active_customers: int | None
    weekly_active_users: int | None
    monthly_active_users: int | None
    licensed_seats: int | None
    seat_utilisation: float | None
    customers_with_seats: int
    usage_trends: UsageTrends
    median_usage_ratio: float | None
    breaking_away: list[dict[str, Any]]
    idle_seats: list[dict[str, Any]]
    single_user_customers: list[dict[str, Any]]
    champions_departed: list[dict[str, Any]]
    single_user_arr: float | None
    currency: str | None
    growth_accounting: GrowthAccounting
    user_retention: list[RetentionCohort]
    activity_heatmap: Heatmap
    unusual_days: list[UnusualDay]
    customers: list[dict[str, Any]]
    recommendations: list[str]
    recommendations_detail: list[Advice]
    alerts: list[Alert]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import usage, usage_portfolio

        return {
            "breaking_away": usage_portfolio.breaking_away(self.frame("customers"), width),
            "utilisation": usage_portfolio.utilisation(self.frame("utilisation"), width),
            "trend": usage.trend(self.frame("weeks"), width),
            "days": usage_portfolio.days(self.frame("days"), width),
            "growth": usage.growth(self.frame("growth"), width),
            "retention": usage.retention(self.frame("retention"), width),
            "heatmap": usage.heatmap(self.frame("heatmap"), width),
        }

    def verdict(self) -> str:
        if not self.total_customers:
            return "The portfolio has no live customers"
        away = len(self.breaking_away)
        used = (
            ""
            if self.seat_utilisation is None
            else f", {100 * self.seat_utilisation:.0f} % of the seats in use"
        )
        month = self.monthly_active_users
        known = (
            "Too few days are tracked"
            if month is None
            else f"{month:,} users active in 30 days{used}"
        )
        verb = "breaks" if away == 1 else "break"
        return f"{known}; {away} of {self.total_customers} customers {verb} away from the portfolio"

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.total_customers,
            "Active users in 30 days": self.monthly_active_users,
            "Breaking away": len(self.breaking_away),
            "On a single user": len(self.single_user_customers),
            "Trend": self.usage_trends.trend_direction,
        }
