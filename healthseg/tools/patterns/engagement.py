"""How customers engage: features and personas, days and hours, messages, tickets, unusual days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.charts.formats import percent, words
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_patterns import ORDER
from healthseg.clustering.feature_use import activity_by_persona
from healthseg.clustering.pattern_words import first_upper, listed, plain
from healthseg.clustering.personas import Personas
from healthseg.clustering.sequences import ARROW, AdoptionOrders
from healthseg.clustering.temporal import SeasonalCycle, peaks_and_lows
from healthseg.metrics.counting import customers
from healthseg.tools.base import Figure
from healthseg.tools.patterns.result import (
    ActivityAnomaly,
    ActivityTimes,
    AdoptionSequences,
    FeatureBundle,
    FeatureUsagePatterns,
    MessageResponse,
    PersonaEvidence,
    SequenceGaps,
    TicketPatterns,
    UserPersona,
)
from healthseg.tools.patterns.study import SEGMENT, SINGLE, Study, StudyScope
from healthseg.tools.values import records, rounded, word

NOT_REQUESTED = "not requested"
PERSONA_COLUMNS = ["persona", "feature", "factor", "percentage"]
SERIES = {
    "people": ("users", "Users"),
    "doing": ("person_events", "Events of active users"),
    "calls": ("api_events", "API calls"),
    "events": ("person_events", "Events"),
    "kind": ("feature_users", "Users of {feature}"),
}
LONGEST_RETURN_DAYS = 1e12


# -- features ------------------------------------------------------------------------------------


def feature_usage(study: Study, own: pd.DataFrame, learned: pd.DataFrame) -> FeatureUsagePatterns:
    """Orders are the portfolio's (of one customer: those that it has begun), bundles the scope's own.

    ``own`` and ``learned`` are the significant rows of the study and of the portfolio's study.
    """
    rows = learned[learned["kind"] == "sequence"].sort_values(
        ["support", "key"], ascending=[False, True], kind="stable"
    )
    orders, keys = study.orders, rows["key"].tolist()
    if orders is None:
        keys = []
    elif study.scope.client_id is not None:
        keys = [key for key in keys if _has_begun(orders, study.scope.client_id, key)]
    gaps = [] if orders is None else [orders.gaps(key) for key in keys]
    none = "no order of adoption is significant"
    best = "no order of adoption goes with retention significantly" if keys else none
    steps = np.concatenate([days.ravel() for days in gaps]) if gaps else None
    return FeatureUsagePatterns(
        sequential_adoption=AdoptionSequences(
            common_sequences=[key.split(ARROW) for key in keys],
            optimal_sequence=Figure(_best_order(study.portfolio_study, keys), best),
            avg_time_between_steps_days=Figure(
                None if steps is None else float(np.median(steps)), none
            ),
            gaps=[sequence_gaps(orders, key) for key in keys] if orders is not None else [],
        ),
        feature_bundles=[
            _bundle(study, row) for row in own[own["kind"] == "bundle"].to_dict("records")
        ],
    )


def _has_begun(orders: AdoptionOrders, client_id: str, key: str) -> bool:
    first = key.split(ARROW)[0]
    return client_id in orders.days.index and bool(np.isfinite(orders.days.loc[client_id, first]))


def sequence_gaps(orders: AdoptionOrders, key: str) -> SequenceGaps:
    days = orders.gaps(key)
    lower, median, upper = np.quantile(days, [0.25, 0.5, 0.75])
    unfinished, begun = orders.unfinished(key)
    share = rounded(unfinished / begun) if begun else None
    return SequenceGaps(
        sequence=key.split(ARROW),
        customers=len(days),
        median_days=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        unfinished_share=Figure(share, "no customer had time to finish it"),
        unfinished_of=begun,
    )


def _best_order(study: Study, keys: Sequence[str]) -> list[str] | None:
    """The order whose customers churn least, all else equal, where that is significant."""
    rows = study.tried("habit")
    rows = rows[rows["key"].isin([ORDER + key for key in keys])]
    rows = rows[rows["hazard_upper"].astype(float) < 1]
    if not len(rows):
        return None
    best = rows.sort_values(["hazard_ratio", "key"], kind="stable")["key"].iloc[0]
    return str(best).removeprefix(ORDER).split(ARROW)


def _bundle(study: Study, row: dict[Any, Any]) -> FeatureBundle:
    users_of_all, users_of_any = study.bundles.co_usage(row["key"], study.churned_before)
    wide = study.portfolio_study
    shown = wide.shown("bundle", row["key"])
    correlation = None if shown is None else wide.retention.with_and_without(shown).correlation
    few = "too few churned, or were retained, to compare"
    return FeatureBundle(
        bundle=row["key"].split(PLUS),
        co_usage_rate=rounded(users_of_all / max(users_of_any, 1)),
        success_correlation=Figure(rounded(correlation and correlation.value), few),
        success_lower=Figure(rounded(correlation and correlation.lower), few),
        success_upper=Figure(rounded(correlation and correlation.upper), few),
        support=users_of_all,
        users_of_any=users_of_any,
        lift=rounded(row["lift"]),
        confidence=rounded(row["confidence"]),
    )


# -- personas ------------------------------------------------------------------------------------


def user_personas(study: Study) -> tuple[list[UserPersona], PersonaEvidence, pd.DataFrame]:
    """Personas with what distinguishes them, the evidence for them, and their frame: ``PERSONA_COLUMNS``."""
    clusters, not_clustered = study.personas
    evidence = PersonaEvidence(
        stable=clusters.labels is not None,
        reason=clusters.reason,
        users=clusters.users,
        not_clustered=not_clustered,
        silhouette=rounded(clusters.silhouette),
        silhouette_p=rounded(clusters.silhouette_p),
        stability=rounded(clusters.stability),
    )
    labels = clusters.labels
    if labels is None:
        return [], evidence, pd.DataFrame(columns=PERSONA_COLUMNS)
    activity = activity_by_persona(study.feature_days, labels, study.scope.days)
    names, most = _persona_names(clusters), study.settings.persona_features_shown
    people, rows = [], []
    for persona, share in enumerate(clusters.shares):
        factors = dict(clusters.set_apart_by(persona, most))
        people.append(
            UserPersona(
                persona_name=names[persona],
                percentage=share,
                characteristics=_characteristics(study, factors, activity, persona),
                recommended_engagement=_engagement(factors),
                users=int((labels == persona).sum()),
                set_apart_by={name: rounded(factor, 2) for name, factor in factors.items()},
            )
        )
        rows += [(names[persona], feature, factor, share) for feature, factor in factors.items()]
    return people, evidence, pd.DataFrame(rows, columns=PERSONA_COLUMNS)


def _persona_names(clusters: Personas) -> list[str]:
    """Each after the two features that distinguish it most; a persona without any uses everything."""
    names: list[str] = []
    for persona in range(len(clusters.shares)):
        features = [words(feature) for feature, _ in clusters.set_apart_by(persona, 2)]
        name = f"{first_upper(' and '.join(features))} users" if features else "All-round users"
        names.append(name if name not in names else f"{name} ({persona + 1})")
    return names


def _characteristics(
    study: Study, factors: dict[str, float], activity: pd.DataFrame, persona: int
) -> list[str]:
    own, everyone, settings = activity.loc[persona], activity.loc["all"], study.settings
    texts = [
        f"Uses {plain(feature)} {factor:.1f} times as often as other users of the same features"
        for feature, factor in factors.items()
    ]
    texts.append(
        f"{own['features']:.0f} features in the window, {own['days']:.1f} active days a week "
        f"(all users: {everyone['features']:.0f} and {everyone['days']:.1f})"
    )
    often = own["weekend"] >= settings.persona_weekend_min_ratio * everyone["weekend"]
    if often and own["weekend"] >= settings.persona_weekend_min_share:
        texts.append(f"{percent(own['weekend'])} of its activity is on weekends")
    return texts


def _engagement(factors: dict[str, float]) -> str | None:
    features = list(factors)[:2]
    return f"Tell them first what is new in {listed(features)}" if features else None


# -- days and hours ------------------------------------------------------------------------------


def activity_times(study: Study, min_confidence: float) -> ActivityTimes:
    times = study.time
    peaks = peaks_and_lows(study.judged, min_confidence) if times.reason is None else None
    seasons = [text for season in times.seasons if (text := _season_in_words(season))]
    no_season = "; ".join(
        f"{season.cycle}: {season.reason or 'no significant cycle'}"
        for season in times.seasons
        if season.cycle != "week"
    )
    trend = times.trend
    detail = {
        "user_hours": times.user_hours,
        "weeks": times.weeks,
        "trend": trend
        and {
            "direction": trend.direction,
            "weekly_growth_rate": rounded(trend.weekly_growth_rate),
            "lower": rounded(trend.lower),
            "upper": rounded(trend.upper),
            "weeks": trend.weeks,
        },
        "seasons": [
            {
                "cycle": season.cycle,
                "found": season.significant,
                "cycles_seen": rounded(season.cycles_seen, 1),
                "strength": rounded(season.strength),
                "p": rounded(season.p),
                "reason": season.reason,
            }
            for season in times.seasons
        ],
    }
    return ActivityTimes(
        peak_activity_days=Figure(peaks and peaks.peak_days, times.reason),
        peak_activity_hours=Figure(peaks and peaks.peak_hours, times.reason),
        low_activity_periods=Figure(peaks and peaks.low_periods, times.reason),
        seasonal_trends=Figure("; ".join(seasons) or None, no_season),
        detail=detail,
    )


def _season_in_words(season: SeasonalCycle) -> str | None:
    """A significant cycle longer than a week."""
    if (
        not season.significant
        or season.cycle == "week"
        or season.high is None
        or season.low is None
    ):
        return None
    (high, most), (low, least) = season.high, season.low
    text = (
        f"{season.cycle}: {100 * (most - 1):+.0f}% in week {high + 1} of it, "
        f"{100 * (least - 1):+.0f}% in week {low + 1}"
    )
    return text.replace("-", "−")


def week_frame(grid: np.ndarray) -> pd.DataFrame:
    """User-hours by weekday and hour over an hour's mean."""
    day, hour = np.indices(grid.shape)
    hours = grid.ravel().astype(float)
    return pd.DataFrame({"weekday": day.ravel(), "hour": hour.ravel(), "user_hours": hours})


# -- messages and tickets ------------------------------------------------------------------------


def message_response(study: Study) -> MessageResponse | Figure:
    messages = study.messages
    if messages.reason:
        return Figure(None, messages.reason)
    frequencies = messages.frequency or []
    best = {frequency.content: frequency.best for frequency in frequencies if frequency.best}
    reasons = sorted({frequency.reason for frequency in frequencies if frequency.reason})
    names = ("channels", "contents", "weekdays")
    tables = {name: getattr(messages, name) for name in names}
    return MessageResponse(
        preferred_channels=_rates(messages.channels),
        optimal_frequency=Figure(
            best or None, "; ".join(reasons) or "contents are texts, not categories"
        ),
        engagement_rate_by_content=Figure(
            _rates(messages.contents), "contents are texts, not categories"
        ),
        detail={
            "sent": messages.sent,
            **{name: records(rows) for name, rows in tables.items() if rows is not None},
        },
    )


def _rates(rows: pd.DataFrame | None) -> dict[str, float | None] | None:
    if rows is None:
        return None
    return {str(name): rounded(rate) for name, rate in zip(rows["name"], rows["rate"], strict=True)}


def ticket_patterns(study: Study, min_confidence: float) -> TicketPatterns | Figure:
    tickets = study.tickets
    times, help_seeking = tickets.resolution, tickets.self_service
    if times is None:
        return Figure(None, tickets.sequences_reason or "there is no tickets table")
    rows = study.judged
    rows = rows[(rows["kind"] == "support") & rows["passes"] & (rows["lift"] > 1)]
    rows = rows[rows["confidence"].fillna(0) >= min_confidence]
    topics = rows.sort_values(["support", "key"], ascending=[False, True], kind="stable")["key"]
    trend = times.direction and (
        f"{first_upper(times.direction)} (half were resolved within {times.first_hours:.0f} h in "
        f"the first half of the window, within {times.second_hours:.0f} h in the second)"
    )
    sequences = None if tickets.sequences_reason else topics.tolist()
    return TicketPatterns(
        common_issue_sequences=Figure(sequences, tickets.sequences_reason),
        time_to_resolution_trends=Figure(trend, times.reason or "half are never resolved"),
        self_service_adoption=Figure(rounded(help_seeking.share), help_seeking.reason),
        detail={
            "tickets": tickets.tickets,
            "first_half_hours": rounded(times.first_hours, 1),
            "second_half_hours": rounded(times.second_hours, 1),
            "ratio": rounded(times.ratio),
            "ratio_lower": rounded(times.lower),
            "ratio_upper": rounded(times.upper),
            "interval_level": times.level,
            "first_half_tickets": times.first_tickets,
            "second_half_tickets": times.second_tickets,
            "still_open": times.open_tickets,
            "self_service_users": help_seeking.helped_themselves,
            "users_seeking_help": help_seeking.users,
        },
    )


# -- unusual days --------------------------------------------------------------------------------


def unusual_days(study: Study) -> list[ActivityAnomaly]:
    """Unusual days of the scope's sum, and of single customers; the largest first."""
    portfolio, scope = study.portfolio, study.scope
    rows = study.unusual_days
    rows = rows.assign(of_all=rows["client_id"].isna()).sort_values(
        ["of_all", "return_days", "first_day", "client_id"],
        ascending=[False, False, True, True],
        kind="stable",
    )
    known = customers(portfolio)
    names = known["name"].dropna().to_dict() if "name" in known else {}
    shown = rows.head(study.settings.unusual_days_shown)
    return [_anomaly(row, scope, names) for row in shown.to_dict("records")]


def _change(row: dict[Any, Any]) -> str:
    """How many times as many; "new", "vanished" or "none before" where that says nothing."""
    if row["about"] == "kind":
        return "new" if row["value"] > row["expected"] else "vanished"
    if row["value"] == row["expected"]:
        return "as many"
    return f"{row['ratio']:.1f} times as many" if row["expected"] >= 0.5 else "none before"


def _anomaly(row: dict[Any, Any], scope: StudyScope, names: dict[str, str]) -> ActivityAnomaly:
    series, subject = SERIES[row["about"]]
    own = word(row["client_id"])
    subject = subject.format(feature=row["feature"]) + (" a day" if row["lasting"] else "")
    change = _change(row)
    whose = "segment" if scope.kind == SEGMENT else "portfolio"
    last = pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=int(row["last_day"]))
    return ActivityAnomaly(
        anomaly_type=row["anomaly_type"],
        date=pd.Timestamp(row["date"]).date(),
        description=f"{subject}: {row['value']:,.0f} instead of {row['expected']:,.0f} ({change})",
        lasting=bool(row["lasting"]),
        feature=word(row["feature"]),
        likely_cause=word(row["likely_cause"]),
        action_required=bool(row["action_required"]),
        scope="customer" if own or scope.kind == SINGLE else whose,
        client_id=own or scope.client_id,
        customer_name=names.get(own or scope.client_id or ""),
        series=series,
        until=last.date(),
        return_days=rounded(min(row["return_days"], LONGEST_RETURN_DAYS), 0),
        factor=rounded(row["ratio"]),
    )
