"""Why a key of a response about usage is null, by its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthseg.tools.usage.subject import LEAST_WEEKS, Subject

NOT_REQUESTED = "not requested"


def not_measured(
    subject: Subject, parts: Mapping[str, Any], reasons: Mapping[str, str]
) -> dict[str, str]:
    """Every null of the response that is a missing figure, with its reason."""
    found = dict(reasons)
    for name, flag in (
        ("feature_adoption_timeline", "include_feature_breakdown"),
        ("user_cohorts", "include_user_segmentation"),
        ("user_retention", "include_user_segmentation"),
        ("benchmark_insights", "benchmark_comparison"),
        ("users", "include_users"),
    ):
        if not getattr(subject.asked, flag):
            found[f"$.{name}"] = NOT_REQUESTED
    if parts["user_cohorts"] is None and "$.user_cohorts" not in found:
        found["$.user_cohorts"] = "the 28 days before the period's end were not tracked"
    for name, keys in _words(subject).items():
        values = parts[name].model_dump()
        found |= {f"$.{name}.{key}": reason for key, reason in keys.items() if values[key] is None}
    if subject.asked.granularity == "hourly":
        found["$.series[*].api_events"] = found["$.series[*].sessions"] = "not counted by the hour"
    elif not _timed(subject):
        found["$.series[*].sessions"] = "the portfolio's events have no times"
    return dict(sorted(found.items()))


def _timed(subject: Subject) -> bool:
    return subject.counted["sessions"] == subject.counted["sessions"]


def _words(subject: Subject) -> dict[str, dict[str, str]]:
    """The reasons that a key of each part can have to be null."""
    portfolio, nobody = subject.portfolio, "nobody was active in the period"
    sessions = (
        "no session began in the period"
        if _timed(subject)
        else "the portfolio's events have no times"
    )
    seats = "no seats are known of that day"
    users = "no users table"
    early = "events were not tracked long enough before the period's end"
    features = "no event names a feature"
    champion = "no user has 20 % of the usage on 12 days of the 90" if _long(subject) else early
    weeks = f"{len(subject.weeks)} whole weeks with events, at least {LEAST_WEEKS} are needed"
    velocity = f"{len(subject.weeks)} whole weeks with events, at least 8 are needed"
    return {
        "engagement_metrics": {
            "weekly_active_users": early,
            "monthly_active_users": early,
            "daily_active_users": early,
            "user_activation_rate": seats
            if not portfolio.has("users")
            else "no user is provisioned, or old enough",
            "activated_users": early,
            "activation_basis": "no rate",
            "feature_adoption_rate": features,
            "average_session_duration_minutes": sessions,
            "sessions_per_user_per_week": sessions if not _timed(subject) else nobody,
            "active_users": early,
            "active_days_per_user": nobody,
            "stickiness": nobody,
            "licensed_seats": seats,
            "seat_utilisation": seats,
            "provisioned_users": users,
        },
        "usage_analytics": {
            "total_sessions": "the portfolio's events have no times",
            "unique_features_used": features,
            "unlisted_features": "no features table",
        },
        "usage_trends": {
            "trend_direction": weeks,
            "weekly_growth_rate": weeks,
            "growth_interval": weeks,
            "usage_velocity": velocity,
        },
        "dependence": {
            "top_user_share": nobody,
            "monthly_active_users": early,
            "single_user": early,
            "champion_share": champion,
            "champion_active_days": champion,
            "champion_silent_days": champion,
            "champion_departed": early,
            "champion_user_id": champion
            if subject.asked.include_users and subject.champion is None
            else NOT_REQUESTED,
        },
        "own_baseline": {
            "ratio": "fewer than 28 tracked days before, or no event in them",
            "portfolio_median_ratio": "no customer has a baseline",
            "below_while_portfolio_holds": "no ratio",
        },
    }


def _long(subject: Subject) -> bool:
    departed = subject.now["champion_departed"]
    return departed == departed
