"""What a response could not metric, by the path of the key that is null, and how much of it was measured."""

from __future__ import annotations

from typing import Any

from healthseg.tools.adoption.benchmark import KEYS
from healthseg.tools.adoption.effects import Effects
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.result import FeatureAdoption

NOT_ASKED = "not requested"
FIGURES = (
    "adoption_rate",
    "average_time_to_first_use_days",
    "usage_frequency",
    "customer_satisfaction",
    "correlation_with_retention",
)
Found = list[tuple[str, bool, str]]


def coverage(response: FeatureAdoption) -> float | None:
    """The share of the features' figures (those of the reference that were asked for) that could be measured."""
    names = FIGURES if response.correlation_analysis is not None else FIGURES[:-1]
    known = [getattr(one, name) is not None for one in response.feature_details for name in names]
    return round(sum(known) / len(known), 4) if known else None


def reasons(
    figures: Figures, asked: Any, response: FeatureAdoption, tried: Effects | None
) -> dict[str, str]:
    """The reason of each key that is null, in order of the paths."""
    found = [
        *_adoption(figures, response),
        *_details(response),
        *_sections(figures, response),
        *_effects(response),
        *_impact(response, tried),
        *_benchmark(response, asked.benchmark_against or "tier"),
    ]
    return {path: reason for path, missing, reason in sorted(found) if missing}


def _adoption(figures: Figures, response: FeatureAdoption) -> Found:
    start, tracked = response.period_start, figures.portfolio.first_event_day
    early = f"the period begins on {start}, before events were tracked ({tracked})"
    if not len(figures.features):
        early = "the events name no features"
    summaries = response.feature_adoption_summary
    return [
        (
            f"$.feature_adoption_summary.{name}.adoption_rate",
            one.adoption_rate is None,
            early if one.total_features else "nothing of it can be used",
        )
        for name, one in summaries.items()
    ] + [
        (
            f"$.feature_adoption_summary.{name}.average_time_to_adopt_days",
            one.average_time_to_adopt_days is None,
            _never(one.time_to_adopt),
        )
        for name, one in summaries.items()
    ]


def _never(time: Any) -> str:
    if not time.n:
        return "all could be used before events were tracked: when they began is unknown"
    return f"{time.events} of {time.n} got there: fewer than half by the time they were last seen"


def _details(response: FeatureAdoption) -> Found:
    why = {
        "average_time_to_first_use_days": "fewer than half got there, or nobody was watched from the beginning",
        "customer_satisfaction": "fewer than 5 answers on the feature in 365 days",
        "usage_frequency": "nobody used it in 28 days",
        "adoption_rate": "no active user, or before events were tracked",
    }
    return [
        (
            f"$.feature_details[*].{name}",
            any(getattr(one, name) is None for one in response.feature_details),
            reason,
        )
        for name, reason in why.items()
    ]


def _sections(figures: Figures, response: FeatureAdoption) -> Found:
    funnel = response.adoption_funnel
    no_barriers = any(one.barriers is None for one in response.low_adoption_features)
    return [
        ("$.adoption_funnel", funnel is None, NOT_ASKED),
        (
            "$.adoption_funnel.awareness",
            funnel is not None and not figures.messages_known,
            "no message names a feature",
        ),
        (
            "$.adoption_patterns",
            response.client_id is not None,
            "patterns are of many customers: ask for all",
        ),
        (
            "$.adoption_patterns[*].avg_time_to_value",
            any(one.avg_time_to_value is None for one in response.adoption_patterns or []),
            "no milestone stands for first value, or too few of the group are known to have reached it",
        ),
        ("$.correlation_analysis", response.correlation_analysis is None, NOT_ASKED),
        (
            "$.low_adoption_features[*].barriers",
            no_barriers,
            "no tickets or answers name a feature",
        ),
    ]


def _effects(response: FeatureAdoption) -> Found:
    if response.correlation_analysis is None:
        return [("$.feature_details[*].correlation_with_retention", True, NOT_ASKED)]
    found = [
        (f"$.correlation_analysis.{name}", one.adjusted is None, one.reason or "")
        for name, one in response.correlation_analysis.detail.items()
    ]
    few = [one for one in response.feature_details if one.correlation_with_retention is None]
    known = (one.staying.reason for one in few if one.staying and one.staying.reason)
    reason = f"of {len(few)} features: {next(known, 'no landmark row knows of it')}"
    return [*found, ("$.feature_details[*].correlation_with_retention", bool(few), reason)]


def _impact(response: FeatureAdoption, tried: Effects | None) -> Found:
    row = None if tried is None else tried.of("messages")
    reason = (
        NOT_ASKED
        if row is None
        else "this portfolio's history shows no effect of such an action beyond chance"
    )
    if row is not None and isinstance(row.get("reason"), str):
        reason = row["reason"]
    return [
        (
            "$.recommendations[*].expected_impact",
            any(one.expected_impact is None for one in response.recommendations),
            reason,
        )
    ]


def _benchmark(response: FeatureAdoption, against: str) -> Found:
    standing = response.benchmark_standing
    reason = (
        "compared are single customers"
        if standing is None
        else (
            "fewer peers than the setting peers_min"
            if standing.peer_median is None
            else "half of the peers have adopted nothing"
        )
    )
    return [
        (
            f"$.benchmark_comparison.{name}",
            getattr(response.benchmark_comparison, name) is None,
            reason if key == against else NOT_ASKED,
        )
        for key, name in KEYS.items()
    ]
