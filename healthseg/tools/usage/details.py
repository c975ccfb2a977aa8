"""The parts of a response about usage: activity, trend, cohorts, growth, retention, dependence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import lives
from healthseg.periods import end_of_day_utc
from healthseg.statistics.robust import theil_sen
from healthseg.statistics.velocity import velocity
from healthseg.tools.rounding import integer, number, rounded
from healthseg.tools.usage.period import DAY, Period
from healthseg.tools.usage.result import (
    AnalysisPeriod,
    Dependence,
    EngagementMetrics,
    GrowthAccounting,
    GrowthPeriod,
    OwnBaseline,
    Range,
    RetentionCohort,
    UsageAnalytics,
    UsageTrends,
    UserCohorts,
    Velocity,
)
from healthseg.tools.usage.subject import GROWTH, LEAST_WEEKS, Subject

HOLDS = 0.9  # the portfolio holds while its median customer keeps nine tenths of its own baseline
BELOW = 0.8  # a customer has fallen below it with less than four fifths


def period(found: Period, granularity: str) -> AnalysisPeriod:
    start, end = (
        end_of_day_utc(day - DAY, found.zone).strftime("%Y-%m-%dT%H:%M:%SZ")
        for day in (found.start, found.end)
    )
    return AnalysisPeriod(
        start=start,
        end=end,
        start_date=found.start,
        end_date=found.end,
        effective_start=found.effective_start,
        effective_end=found.effective_end,
        days=found.days,
        timezone=found.zone,
        granularity=granularity,
    )


def engagement(subject: Subject) -> EngagementMetrics:
    now, counted = subject.now, subject.counted
    users, mau = number(counted["active_users"]), number(now["monthly_active_users"])
    rate, activated, basis = activation(subject)
    visits = None if not users else counted["daily_active_users"] * subject.period.days / users
    return EngagementMetrics(
        weekly_active_users=integer(now["weekly_active_users"]),
        monthly_active_users=integer(mau),
        daily_active_users=integer(counted["daily_active_users"]),
        user_activation_rate=rounded(rate),
        activated_users=activated,
        activation_basis=basis,
        feature_adoption_rate=rounded(now["feature_adoption_rate_30d"]),
        average_session_duration_minutes=rounded(counted["average_session_minutes"], 1),
        sessions_per_user_per_week=rounded(counted["sessions_per_user_per_week"], 2),
        active_users=integer(users),
        active_days_per_user=rounded(visits, 2),
        stickiness=rounded(counted["stickiness"]),
        licensed_seats=integer(subject.seats),
        seat_utilisation=rounded(now["seat_utilisation"]),
        provisioned_users=integer(counted["provisioned_users"]),
    )


def activation(subject: Subject) -> tuple[float | None, int | None, str | None]:
    """The rate, the users behind it, and what it was divided by."""
    if subject.settings.activation_features and subject.portfolio.has("users"):
        done, of = lives.activation(subject.count, subject.end)
        return (done / of if of else None), done, "activation_features"
    activated, provisioned = (
        number(subject.counted["activated_users"]),
        number(subject.counted["provisioned_users"]),
    )
    basis = "users" if subject.portfolio.has("users") else "seats"
    of = provisioned if basis == "users" else subject.seats
    if activated is None or not of:
        return None, integer(activated), None
    return activated / of, integer(activated), basis


def analytics(subject: Subject, unlisted: int | None) -> UsageAnalytics:
    counted = subject.counted
    person, calls = number(counted["person_events"]), number(counted["api_events"])
    total = None if person is None else person + calls
    return UsageAnalytics(
        total_sessions=integer(counted["sessions"]),
        total_events=integer(total),
        unique_features_used=integer(counted["unique_features_used"]),
        unlisted_features=unlisted,
        api_calls_count=integer(calls),
        person_events=integer(person),
        active_days=integer(counted["active_days"]),
    )


def trends(
    weeks: pd.DataFrame, end: dt.date, seed: int, level: float
) -> tuple[UsageTrends, pd.DataFrame]:
    """Theil–Sen over log1p of the weeks' person events; the weeks with the line that was fitted."""
    values = np.log1p(weeks["person_events"].to_numpy(dtype=float))
    frame = weeks[["start", "end", "person_events"]].assign(fitted=np.nan)
    window = weeks["start"].iloc[0] if len(weeks) else end
    if len(values) < LEAST_WEEKS or not np.isfinite(values).all() or not values.any():
        return UsageTrends(
            trend_direction=None,
            weekly_growth_rate=None,
            growth_interval=None,
            usage_velocity=None,
            velocity=Velocity(change=None, interval=None),
            weeks=len(values),
            window_start=window,
            interval_level=level,
        ), frame
    x = np.arange(len(values), dtype=float)
    line = theil_sen(x, values, level, LEAST_WEEKS)
    slope, low, high = (float(part[0]) for part in (line.slope, line.lower, line.upper))
    word = {1.0: "increasing", -1.0: "decreasing"}.get(float(line.direction[0]), "stable")
    frame["fitted"] = np.expm1(slope * x + np.median(values - slope * x))
    moving = velocity(values, seed, level)
    spread = (
        None
        if moving.word is None
        else Range(lower=round(moving.lower, 4), upper=round(moving.upper, 4))
    )
    return UsageTrends(
        trend_direction=word,
        weekly_growth_rate=rounded(np.expm1(slope)),
        growth_interval=Range(
            lower=round(float(np.expm1(low)), 4), upper=round(float(np.expm1(high)), 4)
        ),
        usage_velocity=moving.word,
        velocity=Velocity(change=rounded(moving.change), interval=spread),
        weeks=len(values),
        window_start=window,
        interval_level=level,
    ), frame


def cohorts(subject: Subject) -> UserCohorts | None:
    counted = {
        name: number(value) for name, value in subject.cohorts.items() if name.endswith("_users")
    }
    if None in counted.values():
        return None
    histogram = np.bincount(subject.users["active_days"], minlength=29)
    return UserCohorts(
        **{name: int(value) for name, value in counted.items()},
        users=len(subject.users),
        active_days_histogram=histogram.tolist(),
        declining_users=subject.declining_users,
    )


def histogram(users: pd.DataFrame) -> pd.DataFrame:
    """Users by active days of the last 28 and cohort."""
    counted = (
        users.groupby(["active_days", "cohort"], sort=True).size().rename("users").reset_index()
    )
    return counted.astype({"active_days": int, "users": int})


def growth_of(row: Mapping[str, Any], start: dt.date, end: dt.date) -> GrowthPeriod:
    figures = {name: integer(row[name]) for name in GROWTH}
    return GrowthPeriod(start=start, end=end, **figures, pulse_ratio=rounded(pulse(row), 2))


def pulse(row: Mapping[str, Any]) -> float | None:
    lost = number(row["dormant_users"])
    return (row["new_users"] + row["resurrected_users"]) / lost if lost else None


def growth(subject: Subject) -> tuple[GrowthAccounting, pd.DataFrame]:
    frame = subject.weeks[["start", "end", *GROWTH]]
    weeks = [growth_of(row, row["start"], row["end"]) for row in frame.to_dict("records")]
    frame = frame.assign(pulse_ratio=[pulse(row) for row in frame.to_dict("records")]).astype(
        {"pulse_ratio": float}
    )
    return GrowthAccounting(
        period=growth_of(subject.counted, subject.start, subject.end), weeks=weeks
    ), frame


def retained(frame: pd.DataFrame) -> tuple[list[RetentionCohort], pd.DataFrame]:
    """Cohorts with users, oldest first; what is not over yet stays null."""
    frame = frame[frame["users"] > 0].reset_index(drop=True)
    frame = frame.assign(share=frame["retained"] / frame["users"])
    found = [
        RetentionCohort(
            cohort_start=start.date(),
            users=int(rows["users"].iloc[0]),
            retained=[rounded(share) for share in rows["share"]],
        )
        for start, rows in frame.groupby("cohort", sort=True)
    ]
    return found, frame


def dependence(subject: Subject) -> Dependence:
    now, champion = subject.now, subject.champion
    mau, departed = number(now["monthly_active_users"]), number(now["champion_departed"])
    return Dependence(
        top_user_share=rounded(now["top_user_share_28d"]),
        monthly_active_users=integer(mau),
        single_user=None if mau is None else mau == 1,
        champion_share=rounded(now["champion_share"]),
        champion_active_days=None if champion is None else champion["active_days"],
        champion_silent_days=None if champion is None else champion["silent_days"],
        champion_departed=None if departed is None else bool(departed),
        champion_user_id=champion["user_id"]
        if champion is not None and subject.asked.include_users
        else None,
    )


def own_baseline(subject: Subject) -> OwnBaseline:
    ratio, (median, many) = number(subject.now["usage_vs_own_baseline"]), subject.portfolio_ratio
    falls = None if ratio is None or median is None else ratio < BELOW and median >= HOLDS
    return OwnBaseline(
        ratio=rounded(ratio),
        portfolio_median_ratio=rounded(median),
        portfolio_customers=many,
        below_while_portfolio_holds=falls,
    )
