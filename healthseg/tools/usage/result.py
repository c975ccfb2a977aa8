"""The results of track_usage_engagement, for a customer and for the portfolio."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from healthseg.charts.formats import brief_money
from healthseg.rules import counted
from healthseg.tools.base import Alert, Interval, Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture


class AnalysisPeriod(Part):
    """The period: ``[start, end)`` as requested, and the part of it in which there is something to know."""

    start: str = Field(description="Start as a UTC instant: midnight of the account's clock")
    end: str = Field(description="End as a UTC instant, exclusive")
    start_date: dt.date = Field(description="First day requested, account-local")
    end_date: dt.date = Field(description="Day after the last requested, account-local")
    effective_start: dt.date = Field(
        description="First day on which the customer lived and events were tracked"
    )
    effective_end: dt.date = Field(description="Day after the last such day")
    days: int = Field(description="Effective days")
    timezone: str = Field(description="IANA time zone of the days")
    granularity: str = Field(description="Grain of the series")


class EngagementMetrics(Part):
    """Users, seats, activation, sessions of the period."""

    weekly_active_users: int | None = Field(
        description="Distinct users of the last 7 days of the period"
    )
    monthly_active_users: int | None = Field(
        description="Distinct users of the last 30 days of the period"
    )
    daily_active_users: int | None = Field(
        description="Mean over the period's days of the day's distinct users"
    )
    user_activation_rate: float | None = Field(
        description="Share of the users (or seats) that are activated"
    )
    activated_users: int | None = Field(
        description="Users with a person event ever, or with an activation feature"
    )
    activation_basis: str | None = Field(
        description="What the rate divides by: users, seats or activation_features"
    )
    feature_adoption_rate: float | None = Field(
        description="Share of the entitled features that are adopted"
    )
    average_session_duration_minutes: float | None = Field(
        description="Mean length of a session, minutes"
    )
    sessions_per_user_per_week: float | None = Field(
        description="Sessions per active user and week"
    )
    active_users: int | None = Field(description="Distinct users in the period")
    active_days_per_user: float | None = Field(description="Mean active days per active user")
    stickiness: float | None = Field(description="Mean of daily ÷ trailing 30-day active users")
    licensed_seats: int | None = Field(description="Seats of the contract on the last day")
    seat_utilisation: float | None = Field(description="Monthly active users ÷ seats")
    provisioned_users: int | None = Field(description="Users created and not deactivated")


class UsageAnalytics(Part):
    """Sessions, events and features of the period."""

    total_sessions: int | None = Field(description="Sessions begun in the period")
    total_events: int | None = Field(description="Events of persons and of the API")
    unique_features_used: int | None = Field(description="Distinct features with a person event")
    unlisted_features: int | None = Field(
        description="Used features that the features table does not list"
    )
    api_calls_count: int | None = Field(description="Events of the API")
    person_events: int | None = Field(description="Events of persons")
    other_events: int | None = Field(
        description="Events of bots, imports and other sources, which are in no other figure"
    )
    active_days: int | None = Field(description="Days with a person event")


class SlopeChange(Part):
    """How the trend's slope changed between the earlier and the later half of the weeks."""

    change: float | None = Field(
        description="Later half's slope − earlier half's, of log1p(events) a week"
    )
    interval: Interval | None = Field(description="Bootstrap interval of the change")


class UsageTrends(Part):
    """The trend of weekly person events."""

    trend_direction: str | None = Field(description="increasing, decreasing or stable")
    weekly_growth_rate: float | None = Field(description="Growth a week, as a share")
    growth_interval: Interval | None = Field(description="Interval of the growth a week")
    usage_velocity: str | None = Field(description="accelerating, decelerating or steady")
    velocity: SlopeChange = Field(description="The figures behind usage_velocity")
    weeks: int = Field(description="Whole weeks in the window")
    window_start: dt.date = Field(description="First day of the window")
    interval_level: float = Field(description="Level of the intervals")
    unclear: bool = Field(
        description="Whether its weeks differ too much to call it stable: it may grow or fall a lot"
    )

    @property
    def statement(self) -> str:
        """The trend in words; empty where it is not known."""
        if self.trend_direction is None or self.weekly_growth_rate is None:
            return ""
        if self.trend_direction == "stable":
            return "Usage shows no clear trend" if self.unclear else "Usage is stable"
        verb = "grows" if self.weekly_growth_rate > 0 else "falls"
        return f"Usage {verb} by {100 * abs(self.weekly_growth_rate):.1f}% a week"


class UserCohorts(Part):
    """Users by their active days of the last 28."""

    power_users: int = Field(description="Users active on 12 days or more")
    regular_users: int = Field(description="Users active on 4 to 11 days")
    at_risk_users: int = Field(description="Users active on 1 to 3 days")
    inactive_users: int = Field(description="Users without an active day")
    users: int = Field(description="Users that could have been active")
    active_days_histogram: list[int] = Field(description="Users by active days, 0 to 28")
    declining_users: int | None = Field(description="Regular users whose active days halved")


class GrowthPeriod(Part):
    """Users that joined, came back and went dormant in a period."""

    start: dt.date = Field(description="First day")
    end: dt.date = Field(description="Day after the last")
    active_users: int | None = Field(description="Distinct users")
    new_users: int | None = Field(description="Users whose first event ever lies in the period")
    returning_users: int | None = Field(description="Users active in the period before, too")
    resurrected_users: int | None = Field(description="Users back after a break")
    dormant_users: int | None = Field(description="Users of the period before that are not active")
    pulse_ratio: float | None = Field(description="(new + resurrected) ÷ dormant users")


class GrowthAccounting(Part):
    """Growth accounting over the period and by week."""

    period: GrowthPeriod = Field(description="The whole period")
    weeks: list[GrowthPeriod] = Field(description="Whole weeks, oldest first")


class RetentionCohort(Part):
    """Users first seen in one week, and which share of them returned in each week after."""

    cohort_start: dt.date = Field(description="First day of the cohort's week")
    users: int = Field(description="Users first seen in the week")
    retained: list[float | None] = Field(
        description="Share by week since the first event; null: not over"
    )


class Dependence(Part):
    """How far usage depends on single users."""

    top_user_share: float | None = Field(
        description="Share of the most active user in 28 days of person events"
    )
    monthly_active_users: int | None = Field(description="Distinct users of the last 30 days")
    single_user: bool | None = Field(description="Whether all usage depends on one user")
    champion_share: float | None = Field(
        description="The champion's share of the events in the 90 days before"
    )
    champion_active_days: int | None = Field(
        description="Days of those 90 on which the champion was active"
    )
    champion_silent_days: int | None = Field(description="Days since the champion's last event")
    champion_departed: bool | None = Field(description="Whether the champion has departed")
    champion_user_id: str | None = Field(description="The champion, with include_users")


class OwnBaseline(Part):
    """Usage of 28 days against the customer's own 84 days before."""

    ratio: float | None = Field(
        description="Person events per tracked day: 28 days ÷ the 84 before"
    )
    fell: bool | None = Field(description="Whether the ratio is low enough to be called a fall")
    portfolio_median_ratio: float | None = Field(description="Median of the live customers' ratios")
    portfolio_customers: int = Field(description="Live customers with a ratio")
    below_while_portfolio_holds: bool | None = Field(
        description="Whether the customer fell while the portfolio holds"
    )


class FeatureUse(Part):
    """One feature's use in the period."""

    feature: str = Field(description="Feature")
    first_use_date: dt.date | None = Field(description="Day of the first person event ever")
    adoption_rate: float | None = Field(description="Its users ÷ active users")
    weekly_usage: float = Field(description="Person events a week")
    person_events: int = Field(description="Person events")
    active_users: int | None = Field(description="Distinct users")
    active_days: int = Field(description="Days with a person event")
    users_ever: int | None = Field(description="Distinct users ever")
    listed: bool | None = Field(description="Whether the features table lists it")
    used_before_tracking: bool = Field(
        description="Whether it may have been used before events were tracked"
    )


class RhythmCell(Part):
    """A weekday or an hour of the week's rhythm."""

    name: str = Field(description="Weekday or hour")
    user_hours: int = Field(description="Distinct users by hour, summed")
    share: float = Field(description="Share of all user-hours")
    ratio: float | None = Field(description="Ratio to the mean of the cells in use")
    p: float | None = Field(description="Permutation p of the ratio")
    peak: bool = Field(description="Whether it is a peak")


class Heatmap(Part):
    """When people are active: weekday × hour."""

    peak_days: list[str] | None = Field(description="Weekdays that stand out")
    peak_hours: list[str] | None = Field(description="Hours that stand out, as ranges")
    statement: str = Field(description="The rhythm in words")
    timezone: str = Field(description="Whose clock")
    user_hours: int = Field(description="All user-hours")
    days: list[RhythmCell] = Field(description="By weekday")
    hours: list[RhythmCell] = Field(description="By hour")
    user_hours_by_weekday_and_hour: list[list[int]] = Field(
        description="7 × 24 user-hours, Monday first"
    )
    rhythm_p_days: float | None = Field(description="p of the most extreme weekday")
    rhythm_p_hours: float | None = Field(description="p of the most extreme hour")


class UsageBenchmark(Part):
    """Usage compared with peers in the portfolio and with the industry's figures."""

    vs_industry_average: str | None = Field(
        description="Against the benchmarks table's median, in words"
    )
    percentile_rank: float | None = Field(description="Mid-rank among the peers, per cent")
    percentile_interval: Interval | None = Field(
        description="Wilson interval of the rank, per cent"
    )
    metric: str | None = Field(description="What is compared: wau_per_seat or wau_per_user")
    value: float | None = Field(description="The customer's value")
    industry_median: float | None = Field(description="The industry's median")
    source: str | None = Field(description="Source of the industry's median")
    vs_peers: str | None = Field(description="Against the peers' median, in words")
    peer_median: float | None = Field(description="The peers' median")
    peer_group: str | None = Field(description="Which peers")
    peers: int = Field(description="How many peers")


class UnusualDay(Part):
    """A day on which usage was not what it is on such days."""

    date: dt.date = Field(description="Day")
    person_events: int = Field(description="Person events of the day")
    expected: float | None = Field(
        description="Median of the same weekday around; null where too few"
    )
    ratio: float | None = Field(description="person_events ÷ expected")
    z: float = Field(description="Robust standard deviations from the usual")
    about: str = Field(
        description="people (how many were active), doing (what each did) or events (of nobody named)"
    )
    value: int = Field(description="What stood out, on the spell's most extreme day")
    value_expected: float = Field(description="The usual value of it")
    portfolio_ratio: float | None = Field(
        description="The other customers' users against their usual; 1 as always"
    )
    calendar: str | None = Field(description="The calendar's label")
    likely_cause: str | None = Field(
        description="Calendar, missing data or tickets; null where nothing explains it"
    )


class UsageEngagement(Result):
    """One customer's usage. Frames, unrounded:

    series: start, end (local), person_events, api_events, active_users, sessions, complete; weeks:
    start, end, person_events, fitted; growth: a row a week; features: a row a feature used;
    adopters: week_end, feature, users; heatmap: weekday, hour, user_hours, person_events; cells:
    kind, place, name, user_hours, share, in_use, ratio, p, peak; histogram: active_days, users,
    cohort; users: only with include_users; peers: client_id, value; unusual_days: date, value,
    expected, ratio, z, portfolio_ratio, calendar; metrics: one row, the period's metrics;
    retention: cohort, week, users, retained, share.
    """

    tool: ClassVar[str] = "track_usage_engagement"

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    status: str = Field(description="live or churned")
    analysis_period: AnalysisPeriod = Field(description="The period")
    interval_level: float = Field(description="Level of the intervals")
    engagement_metrics: EngagementMetrics = Field(description="Users, seats, activation, sessions")
    usage_analytics: UsageAnalytics = Field(description="Sessions, events, features")
    usage_trends: UsageTrends = Field(description="Trend of weekly person events")
    user_cohorts: UserCohorts | None = Field(description="Users by active days")
    growth_accounting: GrowthAccounting = Field(description="Users that join, return, go dormant")
    user_retention: list[RetentionCohort] | None = Field(description="Weekly cohorts")
    dependence: Dependence = Field(description="How far usage depends on single users")
    own_baseline: OwnBaseline = Field(description="Usage against the customer's own past")
    feature_adoption_timeline: list[FeatureUse] | None = Field(description="Features by first use")
    activity_heatmap: Heatmap = Field(description="When people are active")
    benchmark_insights: UsageBenchmark | None = Field(description="Against peers and the industry")
    series: list[dict[str, Any]] = Field(description="The period at the requested grain")
    unusual_days: list[UnusualDay] = Field(description="Days unlike others")
    users: list[dict[str, Any]] | None = Field(description="Each user, with include_users")
    recommendations: list[str] = Field(description="Recommendations, most severe first")
    recommendations_detail: list[TriggeredRule] = Field(description="The rules behind them")
    alerts: list[Alert] = Field(description="Alerts that hold")
    next_actions: list[NextAction] = Field(
        default_factory=list, description="What to do next, of the list that all tools share"
    )

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import usage

        return {
            "series": usage.series(self.frame("series")),
            "trend": usage.trend(self.frame("weeks"), self.course),
            "growth": usage.growth(self.frame("growth")),
            "heatmap": usage.heatmap(self.frame("heatmap")),
            "histogram": usage.histogram(self.frame("histogram")),
            "retention": usage.retention(self.frame("retention")),
            "features": usage.features(self.frame("features")),
            "peers": usage.peers(self.frame("peers"), self.client_id),
        }

    @property
    def course(self) -> str:
        """The trend as all of the page says it: against its own baseline where weeks do not tell, and of how many people."""
        statement, ratio = self.usage_trends.statement, self.own_baseline.ratio
        if ratio is not None and self.own_baseline.fell:
            return f"Usage is {100 * (1 - ratio):.0f}% below its own baseline"
        if ratio is not None and self.usage_trends.unclear:
            return f"Usage is at {100 * ratio:.0f}% of its own baseline, with large swings"
        period = self.growth_accounting.period
        came = (period.new_users or 0) + (period.resurrected_users or 0)
        if self.usage_trends.trend_direction == "increasing" and (period.dormant_users or 0) > came:
            stopped = counted(period.dormant_users or 0, "user")
            return f"{statement}, by fewer people: {stopped} stopped, {came} came"
        return statement

    def verdict(self) -> str:
        metrics = self.engagement_metrics
        if not self.usage_analytics.person_events:
            return f"{self.name}: no user was active in this period"
        users, days = metrics.monthly_active_users, 30
        if users is None:
            users, days = metrics.active_users or 0, self.analysis_period.days
        text = f"{self.name}: {self.notice}{counted(users, 'user')} active in {days} days"
        if metrics.licensed_seats and metrics.seat_utilisation is not None:
            text += f" on {100 * metrics.seat_utilisation:.0f}% of {counted(metrics.licensed_seats, 'seat')}"
        statement = self.course
        text += f"; {statement[:1].lower()}{statement[1:]}" if statement else ""
        slower = self.user_cohorts and self.user_cohorts.declining_users
        return text + (f"; {counted(slower, 'regular user')} slowed down" if slower else "")

    def summary(self) -> dict[str, Any]:
        metrics, counts = self.engagement_metrics, self.usage_analytics
        return {
            "Active users (day, week, month)": f"{metrics.daily_active_users}, "
            f"{metrics.weekly_active_users}, {metrics.monthly_active_users}",
            "Sessions": counts.total_sessions,
            "Events": counts.total_events,
            "Trend": self.usage_trends.trend_direction,
            "Peaks": self.activity_heatmap.statement,
            "Alerts": "; ".join(alert.message for alert in self.alerts) or "none",
        }


class PortfolioUsage(Result):
    """Usage of all live customers. Frames:

    customers: a row a live customer (client_id, name, usage_ratio, relative_ratio, z, breaks_away,
    monthly_active_users, weekly_active_users, seats, seat_utilisation, top_user_share, single_user,
    champion_departed, person_events, days_since_last, arr, currency, tier, reason), those that
    break away first; growth: a row a week; retention: cohort, week, users, retained, share; days:
    date, person_events, expected, ratio, unusual, calendar; weeks: start, end, person_events,
    fitted; utilisation: low, high, customers, arr; heatmap: weekday, hour, user_hours,
    person_events; unusual_days: the days unlike others.
    """

    tool: ClassVar[str] = "track_usage_engagement"

    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    lookback_period_days: int = Field(description="Days of growth and rhythm")
    interval_level: float = Field(description="Level of the intervals")
    active_customers: int | None = Field(description="Customers with an active user in 30 days")
    weekly_active_users: int | None = Field(description="Distinct users of the last 7 days")
    monthly_active_users: int | None = Field(description="Distinct users of the last 30 days")
    licensed_seats: int | None = Field(description="Seats of the customers whose seats are known")
    seat_utilisation: float | None = Field(
        description="Monthly active users ÷ seats, of those customers"
    )
    customers_with_seats: int = Field(description="Customers whose seats are known")
    customers_at_their_seats: int = Field(description="How many of them use all their seats")
    seats_in_use: int | None = Field(description="Monthly active users of those customers")
    usage_trends: UsageTrends = Field(description="Trend of weekly person events")
    median_usage_ratio: float | None = Field(description="Median of usage against the own baseline")
    breaking_away: list[dict[str, Any]] = Field(
        description="Customers that fall while the others hold"
    )
    idle_seats: list[dict[str, Any]] = Field(
        description="Customers with idle seats, most idle first"
    )
    single_user_customers: list[dict[str, Any]] = Field(
        description="Customers that depend on one user"
    )
    champions_departed: list[dict[str, Any]] = Field(description="Customers whose champion left")
    single_user_arr: float | None = Field(description="ARR that depends on one user each")
    breaking_away_arr: float | None = Field(description="ARR of the customers that break away")
    idle_seats_arr: float | None = Field(description="ARR of the customers with idle seats")
    active_users_change: int | None = Field(
        description="Users gained (new and back) less those lost, against the period before"
    )
    currency: str | None = Field(
        description="Currency of amounts; null where they can't be added up"
    )
    growth_accounting: GrowthAccounting = Field(description="Users that join, return, go dormant")
    user_retention: list[RetentionCohort] = Field(description="Weekly cohorts")
    activity_heatmap: Heatmap = Field(description="When people are active")
    unusual_days: list[UnusualDay] = Field(description="Days unlike others")
    customers: list[dict[str, Any]] = Field(description="Each live customer")
    recommendations: list[str] = Field(description="Recommendations, most severe first")
    recommendations_detail: list[TriggeredRule] = Field(description="The rules behind them")
    next_actions: list[NextAction] = Field(description="What to do next with these customers")
    alerts: list[Alert] = Field(description="Alerts that hold")

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import usage

        return {
            "breaking_away": usage.breaking_away(self.frame("customers")),
            "utilisation": usage.utilisation(self.frame("utilisation")),
            "trend": usage.trend(self.frame("weeks"), self.usage_trends.statement),
            "days": usage.days(self.frame("days")),
            "growth": usage.growth(self.frame("growth")),
            "retention": usage.retention(self.frame("retention")),
            "heatmap": usage.heatmap(self.frame("heatmap")),
        }

    def verdict(self) -> str:
        if not self.total_customers:
            return "The portfolio has no live customers"
        away, users = len(self.breaking_away), self.monthly_active_users
        seats = (
            ""
            if self.seat_utilisation is None
            else f"; {100 * self.seat_utilisation:.0f}% of {counted(self.licensed_seats or 0, 'paid seat')} in use"
        )
        active = (
            "Too few days are tracked"
            if users is None
            else f"{counted(users, 'user')} active in 30 days{seats}"
        )
        arr = brief_money(self.breaking_away_arr, self.currency)
        lost = f" ({arr} ARR)" if self.breaking_away_arr else ""
        first = self.next_actions[0].name if self.next_actions else ""
        return (
            f"{active}; usage fell sharply at {away} of {counted(self.total_customers, 'customer')}{lost}"
            + (f"; begin with {first}" if first else "")
        )

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.total_customers,
            "Active users in 30 days": self.monthly_active_users,
            "Sharp drops": len(self.breaking_away),
            "Depending on one user": len(self.single_user_customers),
            "Trend": self.usage_trends.trend_direction,
        }
