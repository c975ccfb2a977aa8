"""The shape of analyze_engagement_patterns' response: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class Scope(Part):
    scope_type: str
    segment_id: str | None
    segment_name: str | None
    client_id: str | None
    customer_name: str | None


class Period(Part):
    start_date: dt.date
    end_date: dt.date  # exclusive
    days: int
    asked_days: int


class Evidence(Part):
    """What a pattern rests on; ``lift`` is over ``base_rate``, in units that ``basis`` names."""

    support: int
    n: int
    prevalence: float
    base_rate: float
    rate_with: float  # base_rate × lift
    lift: float
    lift_lower: float | None
    lift_upper: float | None
    interval_level: float
    p: float
    q: float
    held_out_lift: float | None
    held_out_p: float | None
    found_again: bool
    confidence: float | None
    basis: str


class Within(Part):
    """The same pattern among customers of one tier, or of one tenure."""

    group: str
    support: int
    lift: float | None
    reversed: bool


class Pattern(Part):
    pattern_id: str
    pattern_name: str
    pattern_type: str
    confidence: float
    prevalence: float
    description: str
    business_impact: str | None
    actionable_insight: str | None
    key: str
    evidence: Evidence
    within: list[Within]


class Rejected(Part):
    """A hypothesis that looked like a pattern and did not hold, and where it failed."""

    pattern_name: str
    pattern_type: str
    why: str
    evidence: Evidence


class Testing(Part):
    """How many hypotheses were tried in this call, all judged as one family."""

    hypotheses: int
    by_type: dict[str, int]
    passed: int
    below_confidence: int
    max_q: float
    held_out_max_p: float
    resamples: int
    min_pattern_confidence: float


class Temporal(Part):
    peak_activity_days: list[str] | None
    peak_activity_hours: list[str] | None
    low_activity_periods: list[str] | None
    seasonal_trends: str | None
    detail: dict[str, Any]


class Gap(Part):
    sequence: list[str]
    customers: int
    median_days: float
    lower_quartile: float
    upper_quartile: float
    unfinished_share: float | None
    unfinished_of: int


class Sequences(Part):
    common_sequences: list[list[str]]
    optimal_sequence: list[str] | None
    avg_time_between_steps_days: float | None
    gaps: list[Gap]


class Bundle(Part):
    bundle: list[str]
    co_usage_rate: float
    success_correlation: float | None
    success_lower: float | None
    success_upper: float | None
    support: int
    users_of_any: int
    lift: float
    confidence: float


class FeatureUsage(Part):
    sequential_adoption: Sequences
    feature_bundles: list[Bundle]


class Communication(Part):
    preferred_channels: dict[str, float | None] | None
    optimal_frequency: dict[str, str] | None
    engagement_rate_by_content: dict[str, float | None] | None
    detail: dict[str, Any]


class Support(Part):
    common_issue_sequences: list[str] | None
    time_to_resolution_trends: str | None
    self_service_adoption: float | None
    detail: dict[str, Any]


class Persona(Part):
    persona_name: str
    percentage: float
    characteristics: list[str]
    recommended_engagement: str | None
    users: int
    set_apart_by: dict[str, float]


class PersonaEvidence(Part):
    stable: bool
    reason: str | None
    users: int
    not_clustered: int
    silhouette: float | None
    silhouette_p: float | None
    stability: float | None


class Outcome(Part):
    """Leaving in the month after, with and without it, over the portfolio's history; the ratio adjusted."""

    hazard_ratio: float
    lower: float
    upper: float
    interval_level: float
    adjusted_for: list[str]
    monthly_rate_with: float
    monthly_rate_without: float
    months_with: int
    months_without: int
    left_with: int
    left_without: int


class Success(Part):
    pattern: str
    success_metric: str
    correlation: float | None
    insight: str
    correlation_lower: float | None
    correlation_upper: float | None
    retention_with: float | None
    retention_without: float | None
    n_with: int | None
    n_without: int | None
    outcome: Outcome
    confidence: float
    shown_by_customer: bool | None


class Warning_(Part):
    sign: str
    share_at_beginning: float
    share_otherwise: float


class Risk(Part):
    pattern: str
    risk_type: str
    early_warning_indicators: list[str]
    probability_of_churn: float | None
    recommended_intervention: str | None
    probability_lower: float | None
    probability_upper: float | None
    n: int
    base_rate: float | None
    base_n: int
    horizon_days: int
    lead_days: float | None
    lead_quartiles: list[float] | None
    among_leavers: float | None
    among_stayers: float | None
    indicators: list[Warning_]
    outcome: Outcome
    confidence: float
    shown_now: int | None
    shown_by_customer: bool | None
    within: list[Within]


class Anomaly(Part):
    anomaly_type: str
    date: dt.date
    description: str
    likely_cause: str | None
    action_required: bool
    scope: str
    client_id: str | None
    customer_name: str | None
    series: str
    until: dt.date
    return_days: float | None  # how seldom as much would come by chance
    factor: float | None


class Kind(Part):
    kind: str
    spells: int
    recovered: int


class Transition(Part):
    common_interventions: list[str] | None
    success_rate: float | None
    avg_transition_time_days: float | None
    success_lower: float | None
    success_upper: float | None
    treated: int
    matched_success_rate: float | None
    matched_lower: float | None
    matched_upper: float | None
    matched: int
    difference: float | None
    difference_lower: float | None
    difference_upper: float | None
    interval_level: float
    by_kind: list[Kind]
    spells: int


class Predictive(Part):
    likely_expansion_candidates: int | None
    likely_churn_candidates: int | None
    optimal_intervention_timing: str | None
    confidence_score: float | None
    confidence_n: int | None
    churn_candidates: list[str] | None
    expansion_candidates: list[str] | None
    timing_days: int | None
    timing_sign: str | None


class Optimisation(Part):
    opportunity: str
    current_state: str
    opportunity_state: str
    potential_impact: str | None
    effort: str
    priority: str
    rule: str
    figures: dict[str, Any]


class Fired(Part):
    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class EngagementPatterns(Result):
    """analyze_engagement_patterns' response; frames: ``patterns`` (everything tried and what came of it), ``risk``,
    ``lead`` (the lead-time curves), ``gaps``, ``personas``, ``anomalies``, ``customers`` and more by section."""

    tool: ClassVar[str] = "analyze_engagement_patterns"

    analysis_id: str
    analysis_scope: Scope
    customers_analyzed: int
    analysis_period: Period
    pattern_categories: list[str]
    excluded: dict[str, int]
    identified_patterns: list[Pattern]
    not_held: list[Rejected]
    testing: Testing
    temporal_patterns: Temporal | None
    feature_usage_patterns: FeatureUsage | None
    communication_patterns: Communication | None
    support_patterns: Support | None
    user_personas: list[Persona] | None
    persona_evidence: PersonaEvidence | None
    success_patterns: list[Success] | None
    risk_patterns: list[Risk] | None
    anomalies: list[Anomaly] | None
    pattern_transitions: dict[str, Transition] | None
    predictive_insights: Predictive | None
    engagement_optimization: list[Optimisation]
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]

    @property
    def client_id(self) -> str | None:
        return self.analysis_scope.client_id

    def charts(self) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import patterns

        found = {
            "patterns": patterns.lifts(self.frame("held")),
            "risk": patterns.risks(self.frame("risk")),
            "lead": patterns.leads(self.frame("lead")),
            "personas": patterns.personas(self.frame("personas")),
            "gaps": patterns.gaps(self.frame("gaps")),
            "week": patterns.week(self.frame("week")),
        }
        return found

    def verdict(self) -> str:
        who = (
            self.analysis_scope.customer_name or self.analysis_scope.segment_name or "The portfolio"
        )
        held, tried = len(self.identified_patterns), self.testing.hypotheses
        text = f"{who}: {held} of {tried:,} possible patterns {'show here' if self.client_id else 'hold'}"
        if self.risk_patterns:
            first = self.risk_patterns[0]
            text += f"; leaving is foretold most by: {first.pattern.lower()}"
        if self.predictive_insights and self.predictive_insights.likely_churn_candidates:
            count = self.predictive_insights.likely_churn_candidates
            text += "; likely to leave" if self.client_id else f"; {count} likely to leave"
        return text

    def summary(self) -> dict[str, Any]:
        return {
            "Patterns": "; ".join(one.pattern_name for one in self.identified_patterns[:6])
            or "none",
            "Signs of leaving": "; ".join(one.pattern for one in (self.risk_patterns or [])[:4])
            or "none",
            "Personas": "; ".join(one.persona_name for one in self.user_personas or []) or "none",
        }
