"""What a response could not metric, by the path of the key that is null, and why."""

from __future__ import annotations

from healthseg.tools.patterns.result import EngagementPatterns

NOT_ASKED = "not requested"


def reasons(
    response: EngagementPatterns,
    known: dict[str, str],
    leaves: str | None,
    spells: str | None,
    ahead: dict[str, str],
    predictions: bool,
) -> dict[str, str]:
    """The reason of each key that is null, in order of the paths."""
    found = [
        *((path, True, why) for path, why in known.items()),
        *_usage(response),
        *_ahead(response, ahead, predictions),
        ("$.risk_patterns", response.risk_patterns is None, leaves or ""),
        ("$.success_patterns", response.success_patterns is None, leaves or ""),
        *_moved(response, spells),
        (
            "$.analysis_scope.segment_id",
            response.analysis_scope.segment_id is None,
            "the scope is no segment",
        ),
        (
            "$.risk_patterns[*].probability_of_churn",
            any(one.probability_of_churn is None for one in response.risk_patterns or []),
            "fewer than 20 spells that could be followed for 90 days",
        ),
        (
            "$.identified_patterns[*].business_impact",
            any(one.business_impact is None for one in response.identified_patterns),
            "of a single customer, or without ARR or enough leavers to tell what goes with it",
        ),
    ]
    return {path: why for path, is_null, why in sorted(found) if is_null}


def _usage(response: EngagementPatterns) -> list[tuple[str, bool, str]]:
    usage = response.feature_usage_patterns
    if usage is None:
        return []
    path, orders = "$.feature_usage_patterns.sequential_adoption", usage.sequential_adoption
    return [
        (
            f"{path}.optimal_sequence",
            orders.optimal_sequence is None,
            "no order of adoption goes with staying beyond chance"
            if orders.common_sequences
            else "no order of adoption holds",
        ),
        (
            f"{path}.avg_time_between_steps_days",
            orders.avg_time_between_steps_days is None,
            "no order of adoption holds",
        ),
        (
            "$.feature_usage_patterns.feature_bundles[*].success_correlation",
            any(one.success_correlation is None for one in usage.feature_bundles),
            "too few left, or stayed, to tell",
        ),
    ]


def _ahead(
    response: EngagementPatterns, ahead: dict[str, str], asked: bool
) -> list[tuple[str, bool, str]]:
    if response.predictive_insights is None:
        return [("$.predictive_insights", True, NOT_ASKED if not asked else "")]
    return [(f"$.predictive_insights.{name}", True, why) for name, why in ahead.items()]


def _moved(response: EngagementPatterns, why: str | None) -> list[tuple[str, bool, str]]:
    path = "$.pattern_transitions.from_at_risk_to_healthy"
    return [
        (f"{path}.{name}", why is not None, why or "")
        for name in ("success_rate", "avg_transition_time_days")
    ]
