"""One customer's usage over a period."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics import people
from healthseg.metrics import users as lives
from healthseg.metrics.counting import EPOCH, Counting, Spans, epoch_day
from healthseg.metrics.identity import identified
from healthseg.metrics.spans import over, over_one
from healthseg.metrics.users import retention_of
from healthseg.periods import grains
from healthseg.tools.base import Alert, Figure
from healthseg.tools.context import DAY, CustomerContext, live_rows
from healthseg.tools.next_actions import NextActions
from healthseg.tools.usage.period import NO_USERS, UsagePeriod, hourly_series, who_was_active
from healthseg.tools.usage.result import (
    Dependence,
    EngagementMetrics,
    FeatureUse,
    OwnBaseline,
    UsageAnalytics,
    UsageBenchmark,
    UsageEngagement,
    UserCohorts,
)
from healthseg.tools.usage.sections import (
    GROWTH,
    SERIES_METRICS,
    SpanOf,
    adopters,
    covered_share,
    growth_accounting,
    growth_period,
    heatmap,
    no_peers,
    peer_benchmark,
    retention_cohorts,
    series_records,
    spans_of,
    too_new,
    trends,
    unusual_day_parts,
    unusual_days,
    user_histogram,
    user_records,
    weeks_before,
)
from healthseg.tools.values import in_percent, integer, number, rounded

TOOL = "track_usage_engagement"
NOT_REQUESTED = "not requested"
EARLY = "events were not tracked long enough before the period's end"
NO_TIMES = "the portfolio's events have no times"
IN_A_GAP = "the day lies in a tracking gap: no customer has an event on it"
PERIOD_METRICS = (
    "person_events",
    "api_events",
    "other_events",
    "active_days",
    "active_users",
    "daily_active_users",
    "stickiness",
    "sessions",
    "sessions_per_user_per_week",
    "average_session_minutes",
    "unique_features_used",
    "new_users",
    "returning_users",
    "resurrected_users",
    "dormant_users",
    "provisioned_users",
    "activated_users",
)
COHORT_METRICS = tuple(f"{name}_users" for name in lives.COHORTS)
FEATURE_METRICS = ("person_events", "active_days", "active_users")
RULE_PARTS = ("engagement_metrics", "usage_analytics", "usage_trends", "dependence", "own_baseline")
RETENTION_COLUMNS = ["cohort", "week", "users", "retained", "share"]


class CustomerUsage:
    """A customer's usage over a period, counted from its facts; ``result`` is the response."""

    def __init__(
        self,
        context: CustomerContext,
        period: UsagePeriod,
        granularity: str,
        include_users: bool,
    ) -> None:
        self.context, self.period, self.granularity = context, period, granularity
        self.include_users = include_users
        self.portfolio, self.settings = context.portfolio, context.settings
        self.client_id = context.client_id
        self.start, self.end = period.effective_start, period.effective_end

    def result(self, features: bool, segmentation: bool, benchmark: bool) -> UsageEngagement:
        """The response; each flag includes an optional section."""
        used = self.features()
        trend, weeks = trends(self.weeks, self.end, self.settings)
        growth, growth_frame = growth_accounting(
            growth_period(self.metrics, self.start, self.end), self.weeks
        )
        hours = lives.hours_of(self.count, self.start, self.end)
        rhythm, rhythm_frames = heatmap(
            hours, self.start, self.end, self.period.zone, self.settings
        )
        odd = unusual_days(
            self.portfolio, [self.client_id], self.start, self.end, self.context.as_of + DAY
        )
        series = self.series()
        cohorts = self.cohorts() if segmentation else None
        retention, retention_frame = self._retention(segmentation)
        peers, peer_frame = self._benchmark() if benchmark else (None, no_peers())
        parts: dict[str, Any] = {
            "engagement_metrics": self.engagement(),
            "usage_trends": trend,
            "growth_accounting": growth,
            "dependence": self.dependence(),
            "own_baseline": self.own_baseline(),
            "usage_analytics": self.analytics(used),
            "activity_heatmap": rhythm,
            "user_cohorts": cohorts,
        }
        untracked = "the 28 days before the period's end were not tracked"
        figures = self.figures(parts)
        if cohorts is None:
            parts["user_cohorts"] = Figure(
                None, self._reason(untracked) if segmentation else NOT_REQUESTED
            )
        actions, alerts = (
            []
            if self.context.churned
            else rules.triggered(TOOL, kind, figures, self.settings.rules)
            for kind in ("action", "alert")
        )
        users = self.users if segmentation and cohorts else self.users.iloc[:0]
        return UsageEngagement(
            as_of=self.context.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.context.as_of),
            coverage=covered_share(parts),
            warnings=self._warnings(),
            not_measured=self._series_reasons(),
            client_id=self.client_id,
            name=self.context.name,
            status=self.context.status,
            analysis_period=self.period.part(self.granularity),
            interval_level=self.settings.interval_level,
            **parts,
            user_retention=Figure(retention, NOT_REQUESTED) if retention is None else retention,
            feature_adoption_timeline=self.timeline(used)
            if features
            else Figure(None, NOT_REQUESTED),
            benchmark_insights=Figure(None, NOT_REQUESTED) if peers is None else peers,
            series=series_records(series),
            unusual_days=unusual_day_parts(odd),
            users=user_records(self.users) if self.include_users else Figure(None, NOT_REQUESTED),
            recommendations=[rule.text for rule in actions],
            recommendations_detail=actions,
            alerts=[Alert.of(rule) for rule in alerts],
            next_actions=NextActions.of(self.portfolio, self.context.as_of).shown(self.client_id),
        ).with_frames(
            series=series,
            weeks=weeks,
            growth=growth_frame,
            features=used,
            adopters=adopters(self.count, self.weeks, used, self.end),
            **rhythm_frames,
            histogram=user_histogram(users),
            **({"users": self.users} if self.include_users else {}),
            peers=peer_frame,
            unusual_days=odd,
            metrics=pd.DataFrame([self.metrics]),
            retention=retention_frame,
        )

    # -- counts ----------------------------------------------------------------------------

    @cached_property
    def count(self) -> Counting:
        """The customer's facts: of the period, as long before it, and the trend's window at least."""
        trend = self.settings.usage_trend_days * DAY
        start = min(self.end - trend, self.start - self.period.days * DAY)
        return lives.counting(self.portfolio, [self.client_id], start, self.end)

    def _over(self, parts: list[SpanOf], names: tuple[str, ...]) -> pd.DataFrame:
        return over_one(self.count, parts, names)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the period."""
        return self._over([(0, self.start, self.end)], PERIOD_METRICS).iloc[0].to_dict()

    @cached_property
    def row(self) -> dict[str, Any]:
        """The panel's row at the end of the period: windows that may begin before the period."""
        return self.context.row(self.period.panel_day)

    @cached_property
    def peers(self) -> pd.DataFrame:
        return live_rows(self.portfolio, self.period.panel_day)

    @cached_property
    def weeks(self) -> pd.DataFrame:
        """Whole weeks of the trend's window, or of the period where it is longer; NaN of one with a missing day."""
        first = max(self.context.signup_date, self.portfolio.first_event_day)
        days = max(self.period.days, self.settings.usage_trend_days)
        parts, names = weeks_before(self.end, first, days), ("person_events", *GROWTH)
        if not parts:
            return pd.DataFrame(columns=["start", "end", *names])
        weeks = self._over(parts, names)
        missing = [self._missing_days(start, end) > 0 for _, start, end in parts]
        return weeks.assign(person_events=weeks["person_events"].mask(missing))

    def _missing_days(self, start: dt.date, end: dt.date) -> int:
        """Days of a span that lie in a tracking gap."""
        days = [np.array([epoch_day(day)]) for day in (start, end)]
        return int(self.count.observed.missing(np.zeros(1, np.int64), *days)[0])

    @cached_property
    def observed_days(self) -> int:
        return self.period.days - self._missing_days(self.start, self.end)

    @cached_property
    def users(self) -> pd.DataFrame:
        return lives.users_of(self.count, self.end)

    @cached_property
    def seats(self) -> float | None:
        return number(self.row["seats"]) or None

    @property
    def timed(self) -> bool:
        return number(self.metrics["sessions"]) is not None

    @cached_property
    def names_users(self) -> bool:
        """Whether users can be counted in the period."""
        return bool(identified(self.count, self._span)[0])

    @property
    def _span(self) -> Spans:
        days = [np.array([epoch_day(day)]) for day in (self.start, self.end)]
        return Spans(np.zeros(1, np.int64), *days)

    def _reason(self, reason: str) -> str:
        """Why a figure of users is missing: they are not named, or this reason."""
        return reason if self.names_users else NO_USERS

    # -- sections --------------------------------------------------------------------------

    def engagement(self) -> EngagementMetrics:
        row, metrics = self.row, self.metrics
        users = number(metrics["active_users"])
        rate, activated, basis = self.activation()
        active_days = metrics["daily_active_users"] * self.observed_days / users if users else None
        nobody = self._reason("nobody was active in the period")
        seats = "no seats are known of that day"
        sessions = self._reason("no session began in the period" if self.timed else NO_TIMES)
        new = too_new(self.context, self.end)
        per_user, often = new or (nobody if self.timed else sessions), new or nobody
        has_users = self.portfolio.has("users")
        no_rate = "no user is provisioned, or old enough" if has_users else seats
        return EngagementMetrics(
            weekly_active_users=Figure(integer(row["weekly_active_users"]), self._reason(EARLY)),
            monthly_active_users=Figure(integer(row["monthly_active_users"]), self._reason(EARLY)),
            daily_active_users=Figure(integer(metrics["daily_active_users"]), self._reason(EARLY)),
            user_activation_rate=Figure(rounded(rate), self._reason(no_rate)),
            activated_users=Figure(activated, self._reason(EARLY)),
            activation_basis=Figure(basis, self._reason("no rate")),
            feature_adoption_rate=Figure(
                rounded(row["feature_adoption_rate_30d"]), "no event names a feature"
            ),
            average_session_duration_minutes=Figure(
                rounded(metrics["average_session_minutes"], 1), sessions
            ),
            sessions_per_user_per_week=Figure(
                rounded(metrics["sessions_per_user_per_week"], 2), per_user
            ),
            active_users=Figure(integer(users), self._reason(EARLY)),
            active_days_per_user=Figure(rounded(active_days, 2), nobody),
            stickiness=Figure(rounded(metrics["stickiness"]), often),
            licensed_seats=Figure(integer(self.seats), seats),
            seat_utilisation=Figure(rounded(row["seat_utilisation"]), self._reason(seats)),
            provisioned_users=Figure(integer(metrics["provisioned_users"]), "no users table"),
        )

    def activation(self) -> tuple[float | None, int | None, str | None]:
        """The rate, the users behind it, and what it is divided by."""
        has_users = self.portfolio.has("users")
        if self.settings.activation_features and has_users:
            activated, mature = lives.activation(self.count, self.end)
            return (activated / mature if mature else None), activated, "activation_features"
        users = number(self.metrics["activated_users"])
        divisor = number(self.metrics["provisioned_users"]) if has_users else self.seats
        if users is None or not divisor:
            return None, integer(users), None
        return min(1.0, users / divisor), integer(users), "users" if has_users else "seats"

    def analytics(self, used: pd.DataFrame) -> UsageAnalytics:
        metrics, listed = self.metrics, self._listed()
        person, calls = number(metrics["person_events"]), number(metrics["api_events"])
        unlisted = None if listed is None else int((~used["feature"].isin(listed)).sum())
        return UsageAnalytics(
            total_sessions=Figure(integer(metrics["sessions"]), self._reason(NO_TIMES)),
            total_events=integer(None if person is None else person + (calls or 0)),
            unique_features_used=Figure(
                integer(metrics["unique_features_used"]), "no event names a feature"
            ),
            unlisted_features=Figure(unlisted, "no features table"),
            api_calls_count=integer(calls),
            person_events=integer(person),
            other_events=integer(metrics["other_events"]),
            active_days=integer(metrics["active_days"]),
        )

    def cohorts(self) -> UserCohorts | None:
        """Users by active days of the last 28; None where these days were not tracked."""
        span = self._over([(0, self.end - lives.WINDOW_DAYS * DAY, self.end)], COHORT_METRICS).iloc[
            0
        ]
        counts = {name: number(span[name]) for name in COHORT_METRICS}
        if None in counts.values():
            return None
        early = "the 28 days before them were not tracked"
        return UserCohorts(
            **{name: integer(value) for name, value in counts.items()},
            users=len(self.users),
            active_days_histogram=np.bincount(self.users["active_days"], minlength=29).tolist(),
            declining_users=Figure(self._declining_users(), early),
        )

    def _declining_users(self) -> int | None:
        """Regular users of the 28 days before the last 28 that were active on fewer than half as many days since."""
        if self.end - 2 * lives.WINDOW_DAYS * DAY < self.portfolio.first_event_day:
            return None
        before, now = self.users["before_days"], self.users["active_days"]
        return int(((before >= self.settings.regular_min_days) & (now < before / 2)).sum())

    def _retention(self, include: bool) -> tuple[Any, pd.DataFrame]:
        if not include:
            return None, pd.DataFrame(columns=RETENTION_COLUMNS)
        return retention_cohorts(retention_of(self.count, self.end))

    def dependence(self) -> Dependence:
        row = self.row
        users, departed = number(row["monthly_active_users"]), number(row["champion_departed"])
        share = rounded(row["champion_share"])
        champion = None if share is None else people.champion_of(self.count, self.end)
        why = (
            "no user has 20% of the usage on 12 days of the 90"
            if departed is not None
            else self._reason(EARLY)
        )
        facts = champion or {"active_days": None, "silent_days": None, "user_id": None}
        return Dependence(
            top_user_share=Figure(
                rounded(row["top_user_share_28d"]), self._reason("nobody was active in the period")
            ),
            monthly_active_users=Figure(integer(users), self._reason(EARLY)),
            single_user=Figure(None if users is None else users == 1, self._reason(EARLY)),
            champion_share=Figure(share, why),
            champion_active_days=Figure(facts["active_days"], why),
            champion_silent_days=Figure(facts["silent_days"], why),
            champion_departed=Figure(
                None if departed is None else bool(departed), self._reason(EARLY)
            ),
            champion_user_id=Figure(
                facts["user_id"] if self.include_users else None,
                why if self.include_users else NOT_REQUESTED,
            ),
        )

    def own_baseline(self) -> OwnBaseline:
        ratios = self.peers["usage_vs_own_baseline"].dropna()
        ratio = number(self.row["usage_vs_own_baseline"])
        median = float(np.median(ratios)) if len(ratios) else None
        fell = None if ratio is None else ratio < self.settings.own_baseline_fall_ratio
        holds = median is not None and median >= self.settings.portfolio_holds_min_ratio
        few = "fewer than 28 tracked days before, or no event in them"
        return OwnBaseline(
            ratio=Figure(rounded(ratio), few),
            fell=Figure(fell, few),
            portfolio_median_ratio=Figure(rounded(median), "no customer has a baseline"),
            portfolio_customers=len(ratios),
            below_while_portfolio_holds=Figure(fell and holds, "no ratio"),
        )

    def series(self) -> pd.DataFrame:
        """The period at the requested grain; ``complete`` where the grain lies in period, life and data."""
        if self.granularity == "hourly":
            return hourly_series(self.count, self.period)
        parts = grains(self.start, self.end, self.granularity)
        spans = [(index, start, end) for index, (start, end, _) in enumerate(parts)]
        frame = self._over(spans, SERIES_METRICS)
        frame = frame.assign(
            complete=[
                complete and not self._missing_days(start, end) for start, end, complete in parts
            ]
        )
        return frame[["start", "end", *SERIES_METRICS, "complete"]]

    # -- features --------------------------------------------------------------------------

    def features(self) -> pd.DataFrame:
        """A row for each feature with a person event in the period, most users first."""
        spans = spans_of([self.client_id], [(0, self.start, self.end)])
        frame = over(self.portfolio, spans, FEATURE_METRICS, by="feature")
        frame = frame[["feature", *FEATURE_METRICS]]
        firsts = lives.feature_firsts(self.count, self.end)
        ever = firsts.dropna(subset="user_id").groupby("feature").size()
        users = number(self.metrics["active_users"])
        frame = frame.assign(
            first_use_day=frame["feature"].map(firsts.groupby("feature")["first_day"].min()),
            users_ever=frame["feature"].map(ever).fillna(0),
            adoption_rate=frame["active_users"] / users if users else np.nan,
            weekly_usage=frame["person_events"] / (max(self.observed_days, 1) / 7),
        )
        order = ["active_users", "person_events", "feature"]
        return frame.sort_values(
            order, ascending=[False, False, True], kind="stable", ignore_index=True
        )

    def timeline(self, used: pd.DataFrame) -> list[FeatureUse]:
        """The features in the order of their first use."""
        listed, tracked = self._listed(), self.portfolio.first_event_day
        rows = used.sort_values(["first_use_day", "feature"], kind="stable").to_dict("records")
        timeline = []
        for row in rows:
            first = EPOCH + dt.timedelta(days=int(row["first_use_day"]))
            early = first - dt.timedelta(days=self.settings.tracking_start_days) < tracked
            timeline.append(
                FeatureUse(
                    feature=str(row["feature"]),
                    first_use_date=first,
                    adoption_rate=Figure(
                        rounded(row["adoption_rate"]), self._reason("no user is known")
                    ),
                    weekly_usage=round(row["weekly_usage"], 1),
                    person_events=int(row["person_events"]),
                    active_users=Figure(
                        integer(row["active_users"]) if self.names_users else None, NO_USERS
                    ),
                    active_days=int(row["active_days"]),
                    users_ever=Figure(
                        integer(row["users_ever"]) if self.names_users else None, NO_USERS
                    ),
                    listed=Figure(
                        None if listed is None else row["feature"] in listed, "no features table"
                    ),
                    used_before_tracking=self.context.signup_date < tracked and early,
                )
            )
        return timeline

    def _listed(self) -> frozenset[str] | None:
        """The features table's names; None without the table."""
        if not self.portfolio.has("features"):
            return None
        return self.portfolio.cache.get(
            "listed_features",
            None,
            lambda: frozenset(self.portfolio.table("features")["feature"].astype(str)),
            disk=False,
        )

    def _benchmark(self) -> tuple[UsageBenchmark, pd.DataFrame]:
        provisioned = number(self.metrics["provisioned_users"])
        day = self.period.panel_day
        span = (day, day + dt.timedelta(days=1))
        return peer_benchmark(self.context, span, self.seats, provisioned, self.peers)

    # -- rules -----------------------------------------------------------------------------

    def figures(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The named figures that the rules read: those of the sections, and these."""
        figures: dict[str, Any] = {}
        for name in (*RULE_PARTS, "user_cohorts"):
            part = parts[name]
            figures |= part.model_dump() if part else dict.fromkeys(UserCohorts.model_fields)
        plain = (int, float, str)
        figures = {
            key: value if isinstance(value, plain) else None for key, value in figures.items()
        }
        growth, heat = parts["growth_accounting"].period, parts["activity_heatmap"]
        users, rate, ratio = (
            figures["monthly_active_users"],
            figures["weekly_growth_rate"],
            figures["ratio"],
        )
        fell = figures["below_while_portfolio_holds"]
        peaks = [*(heat.peak_days or []), *(heat.peak_hours or [])]
        times = [", ".join(names or []) for names in (heat.peak_days, heat.peak_hours)]
        provisioned, activated = figures["provisioned_users"], figures["activated_users"]
        by_users = figures["activation_basis"] == "users" and None not in (provisioned, activated)
        return {
            **figures,
            **self.settings.limits_in_rules,
            **{name: number(self.row.get(name)) for name in self.settings.metrics},
            "new_users": growth.new_users,
            "dormant_users": growth.dormant_users,
            "resurrected_users": growth.resurrected_users,
            "pulse_ratio": growth.pulse_ratio,
            "idle_seats": None
            if self.seats is None or users is None
            else max(0.0, self.seats - users),
            "below_while_portfolio_holds": None if fell is None else int(fell),
            "champion_departed": number(self.row["champion_departed"]),
            "drop_percent": None if ratio is None else 100 * (1 - ratio),
            "portfolio_percent": in_percent(figures["portfolio_median_ratio"]),
            "champion_percent": in_percent(figures["champion_share"]),
            "top_user_percent": in_percent(figures["top_user_share"]),
            "seat_percent": in_percent(figures["seat_utilisation"]),
            "growth_percent": in_percent(rate),
            "shrink_percent": None if rate is None else -100 * rate,
            "days_since_last": number(self.row["days_since_last_person_event"]),
            "not_activated": float(max(0, provisioned - activated)) if by_users else None,
            "activation_percent": in_percent(figures["user_activation_rate"]),
            "adoption_percent": in_percent(figures["feature_adoption_rate"]),
            "days": self.period.days,
            "peak_times": "; ".join(times).strip("; "),
            "peaks": len(peaks),
        }

    def _warnings(self) -> list[str]:
        warnings = [*self.period.notes, *self.context.zone_warnings]
        figures = [self.metrics[name] for name in ("person_events", "api_events")]
        if not np.isnan(figures).any():  # else they are withheld
            persons, programs = map(int, figures)
            warnings += who_was_active(persons, programs, self._named_events(), self.context)
        if self.context.churned:
            day = self.context.churned_on
            warnings.append(f"the customer churned on {day}: no alerts are raised for it")
        return warnings

    def _named_events(self) -> int:
        """The period's person events that name a user."""
        column = self.count.total("usage_days", "named_events")
        return int(self.count.between(column, self._span)[0])

    def _series_reasons(self) -> dict[str, str]:
        if self.granularity == "hourly":
            keys = ("$.series[*].api_events", "$.series[*].sessions")
            return dict.fromkeys(keys, "not counted by the hour")
        reasons = {} if self.timed else {"$.series[*].sessions": self._reason(NO_TIMES)}
        if not self.names_users:
            reasons["$.series[*].active_users"] = NO_USERS
        if self.observed_days < self.period.days:
            reasons = {f"$.series[*].{name}": IN_A_GAP for name in SERIES_METRICS} | reasons
        return reasons
