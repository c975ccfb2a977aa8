"""One customer's usage, put together from what was counted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg import rules
from healthseg.metrics.lives import hours_of
from healthseg.metrics.retention import retention_of
from healthseg.tools.rounding import number
from healthseg.tools.usage import details
from healthseg.tools.usage import features as usage_features
from healthseg.tools.usage import peers as usage_peers
from healthseg.tools.usage import series as usage_series
from healthseg.tools.usage import unusual as usage_unusual
from healthseg.tools.usage import week as usage_week
from healthseg.tools.usage.missing import not_measured
from healthseg.tools.usage.period import DAY, Period
from healthseg.tools.usage.result import Advice, Alert, UsageEngagement
from healthseg.tools.usage.subject import TOOL, Subject


def answer(
    portfolio: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any, period: Period
) -> UsageEngagement:
    """The response for a customer over a period; ``asked`` are the validated parameters."""
    subject = Subject(portfolio, customer, as_of, asked, period)
    level = subject.settings.interval_level
    used = usage_features.features(subject)
    trend, weeks = details.trends(subject.weeks, subject.end, subject.settings.seed, level)
    growth, growth_frame = details.growth(subject)
    hours = hours_of(subject.count, subject.start, subject.end)
    heatmap, week_frames, reasons = usage_week.heatmap(
        hours, subject.start, subject.end, period.zone, subject.settings
    )
    unusual = _unusual(subject)
    series = usage_series.series(subject)
    parts = {
        "engagement_metrics": details.engagement(subject),
        "usage_trends": trend,
        "growth_accounting": growth,
        "dependence": details.dependence(subject),
        "own_baseline": details.own_baseline(subject),
        "usage_analytics": details.analytics(subject, usage_features.unlisted(subject, used)),
        "activity_heatmap": heatmap,
        **_segmentation(subject),
        **_benchmark(subject, reasons),
        "feature_adoption_timeline": usage_features.timeline(subject, used)
        if asked.include_feature_breakdown
        else None,
    }
    frames = {
        "series": series,
        "weeks": weeks,
        "growth": growth_frame,
        "features": used,
        "adopters": usage_features.adopters(subject, used),
        **week_frames,
        **_people(subject, parts),
        "peers": parts.pop("peers"),
        "unusual_days": unusual,
        "metrics": pd.DataFrame([subject.counted]),
    }
    figures = figures_of(parts, subject)
    actions = rules.fired(TOOL, "action", figures) if subject.status == "live" else []
    alerts = rules.fired(TOOL, "alert", figures) if subject.status == "live" else []
    frames["retention"] = parts.pop("retention_frame")
    response = UsageEngagement(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=_coverage(parts),
        warnings=_warnings(subject),
        not_measured=not_measured(subject, parts, reasons),
        client_id=subject.client_id,
        name=subject.name,
        status=subject.status,
        analysis_period=details.period(period, asked.granularity),
        interval_level=level,
        **parts,
        series=usage_series.records(series),
        unusual_days=usage_unusual.records(unusual),
        users=_users(subject) if asked.include_users else None,
        recommendations=[rule["text"] for rule in actions],
        recommendations_detail=[Advice(**rule) for rule in actions],
        alerts=[alert_of(rule) for rule in alerts],
    )
    return response.with_frames(**frames)


def alert_of(rule: Mapping[str, Any]) -> Alert:
    return Alert(
        type=rule["rule"], severity=rule["severity"], message=rule["text"], figures=rule["figures"]
    )


def _segmentation(subject: Subject) -> dict[str, Any]:
    if not subject.asked.include_user_segmentation:
        return {
            "user_cohorts": None,
            "user_retention": None,
            "retention_frame": pd.DataFrame(
                columns=["cohort", "week", "users", "retained", "share"]
            ),
        }
    cohorts, frame = details.retained(retention_of(subject.count, subject.end))
    return {
        "user_cohorts": details.cohorts(subject),
        "user_retention": cohorts,
        "retention_frame": frame,
    }


def _benchmark(subject: Subject, reasons: dict[str, str]) -> dict[str, Any]:
    if not subject.asked.benchmark_comparison:
        return {"benchmark_insights": None, "peers": pd.DataFrame(columns=["client_id", "value"])}
    part, peers, missing = usage_peers.benchmark(subject)
    reasons |= missing
    return {"benchmark_insights": part, "peers": peers}


def _people(subject: Subject, parts: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The histogram of users, and the users themselves where they were asked for."""
    known = subject.users if parts["user_cohorts"] is not None else subject.users.iloc[:0]
    return {
        "histogram": details.histogram(known),
        **({"users": subject.users} if subject.asked.include_users else {}),
    }


def _users(subject: Subject) -> list[dict[str, Any]]:
    rows = subject.users.astype(object).where(subject.users.notna(), None)
    dates = [name for name in rows if name.endswith("_on")]
    return [
        {**row, **{name: row[name] and str(row[name])[:10] for name in dates}}
        for row in rows.to_dict("records")
    ]


def _unusual(subject: Subject) -> pd.DataFrame:
    return usage_unusual.unusual(
        subject.portfolio, [subject.client_id], subject.start, subject.end, subject.as_of + DAY
    )


def _warnings(subject: Subject) -> list[str]:
    found = list(subject.period.notes)
    if not isinstance(subject.customer.get("timezone"), str):
        found.append(
            f"the customer has no time zone: days are those of {subject.settings.default_timezone}"
        )
    if not (subject.counted["person_events"] > 0 or subject.counted["api_events"] > 0):
        found.append("no events in this period: it was tracked, and nothing happened")
    elif not subject.counted["person_events"] > 0:
        found.append("no person's events in this period: only calls of the API")
    if subject.status == "churned":
        found.append(f"the customer left on {subject.known_until}: no alerts are raised for it")
    return found


def _coverage(parts: Mapping[str, Any]) -> float:
    """The share of the reference's single figures that could be measured."""
    keys = {
        "engagement_metrics": (
            "weekly_active_users",
            "monthly_active_users",
            "daily_active_users",
            "user_activation_rate",
            "feature_adoption_rate",
            "sessions_per_user_per_week",
            "average_session_duration_minutes",
        ),
        "usage_analytics": (
            "total_sessions",
            "total_events",
            "unique_features_used",
            "api_calls_count",
        ),
        "usage_trends": ("trend_direction", "weekly_growth_rate", "usage_velocity"),
    }
    values = [getattr(parts[part], key) for part, names in keys.items() for key in names]
    return round(sum(value is not None for value in values) / len(values), 4)


def figures_of(parts: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """The named figures that the rules read."""
    flat: dict[str, Any] = {}
    for name in (
        "engagement_metrics",
        "usage_analytics",
        "usage_trends",
        "dependence",
        "own_baseline",
        "user_cohorts",
    ):
        if parts[name] is not None:
            flat |= {
                key: value
                for key, value in parts[name].model_dump().items()
                if value is None or isinstance(value, int | float | str)
            }
    growth, seats = parts["growth_accounting"].period, subject.seats
    now, heat = subject.now, parts["activity_heatmap"]
    rate = flat["weekly_growth_rate"]
    return {
        **flat,
        "new_users": growth.new_users,
        "dormant_users": growth.dormant_users,
        "resurrected_users": growth.resurrected_users,
        "pulse_ratio": growth.pulse_ratio,
        "idle_seats": None
        if seats is None or flat["monthly_active_users"] is None
        else max(0.0, seats - flat["monthly_active_users"]),
        "below_while_portfolio_holds": None
        if flat["below_while_portfolio_holds"] is None
        else int(flat["below_while_portfolio_holds"]),
        "champion_departed": number(now["champion_departed"]),
        "drop_percent": _percent_below(flat["ratio"]),
        "portfolio_percent": None
        if flat["portfolio_median_ratio"] is None
        else 100 * flat["portfolio_median_ratio"],
        "champion_percent": _percent(flat["champion_share"]),
        "top_user_percent": _percent(flat["top_user_share"]),
        "seat_percent": _percent(flat["seat_utilisation"]),
        "growth_percent": _percent(rate),
        "shrink_percent": None if rate is None else -100 * rate,
        "days_since_last": number(now["days_since_last_person_event"]),
        "not_activated": _not_activated(flat),
        "activation_percent": _percent(flat["user_activation_rate"]),
        "adoption_percent": _percent(flat["feature_adoption_rate"]),
        "days": subject.period.days,
        "peak_times": "; ".join(
            [", ".join(heat.peak_days or []), ", ".join(heat.peak_hours or [])]
        ).strip("; "),
        "peaks": len(heat.peak_days or []) + len(heat.peak_hours or []),
    }


def _not_activated(flat: Mapping[str, Any]) -> float | None:
    if (
        flat["activation_basis"] != "users"
        or flat["provisioned_users"] is None
        or flat["activated_users"] is None
    ):
        return None
    return float(flat["provisioned_users"] - flat["activated_users"])


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _percent_below(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * (1 - ratio)
