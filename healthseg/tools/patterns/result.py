"""The shape of analyze_engagement_patterns' response: the reference's keys, and the figures behind them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from healthseg.charts.formats import lower_first, percent, words
from healthseg.rules import counted
from healthseg.tools.base import Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture


NAMED = 3


Lower = Annotated[float | None, Field(description="Lower end of its interval")]
Upper = Annotated[float | None, Field(description="Upper end of its interval")]
Level = Annotated[float, Field(description="Level of the interval")]
Confidence = Annotated[float, Field(description="Share of resamples in which it recurs")]
ShownByCustomer = Annotated[bool | None, Field(description="Whether the scope's customer shows it")]


class AnalysisScope(Part):
    scope_type: str = Field(description="single_customer, segment or all_customers")
    segment_id: str | None = Field(description="The segment, where the scope is one")
    segment_name: str | None = Field(description="The segment's name")
    client_id: str | None = Field(description="The customer, where the scope is one")
    customer_name: str | None = Field(description="The customer's name")


class PatternWindow(Part):
    start_date: dt.date = Field(description="First day")
    end_date: dt.date = Field(description="The day after the last, exclusive")
    days: int = Field(description="Days of the window")
    asked_days: int = Field(description="Days requested; more where the data begins later")


class HypothesisFigures(Part):
    support: int = Field(description="Units that show the pattern")
    n: int = Field(description="Units in which it can be measured")
    prevalence: float = Field(description="support ÷ n")
    base_rate: float = Field(description="The rate that the lift is over")
    rate_with: float = Field(description="base_rate × lift")
    lift: float = Field(description="Ratio to the base rate, by basis")
    lift_lower: Lower
    lift_upper: Upper
    interval_level: Level
    p: float = Field(description="p of the hypothesis alone")
    q: float = Field(description="False-discovery rate among all that was tried in the call")
    held_out_lift: float | None = Field(description="Lift on held-out time")
    held_out_p: float | None = Field(description="One-sided p on held-out time")
    found_again: bool = Field(description="Whether it recurs on held-out time")
    confidence: float | None = Field(description="Share of resamples in which it recurs")
    basis: str = Field(description="What the lift compares")


class PatternInGroup(Part):
    group: str = Field(description="A tier, or a range of tenure")
    support: int = Field(description="Units of the group that show the pattern")
    lift: float | None = Field(description="Lift within the group")
    reversed: bool = Field(description="Whether the opposite holds within the group")


WithinGroups = Annotated[
    list[PatternInGroup], Field(description="The pattern within tiers and tenures")
]


class EngagementPattern(Part):
    pattern_id: str = Field(description="Follows from kind and key: the same in every call")
    pattern_name: str = Field(description="Its name for readers")
    pattern_type: str = Field(
        description="temporal, feature_usage, communication, support, risk or success"
    )
    confidence: Confidence
    prevalence: float = Field(description="Share of the units that show it")
    description: str = Field(description="What the data say, in figures")
    business_impact: str | None = Field(description="low, medium or high")
    actionable_insight: str | None = Field(description="What may be done with it")
    key: str = Field(description="What it is made of, within its kind")
    evidence: HypothesisFigures = Field(description="The figures that it rests on")
    within: WithinGroups


class RejectedPattern(Part):
    pattern_name: str = Field(description="Its name for readers")
    pattern_type: str = Field(description="As of the patterns")
    why: str = Field(description="Where it failed")
    evidence: HypothesisFigures = Field(description="The figures that it was tested with")


class HypothesisCounts(Part):
    hypotheses: int = Field(description="Hypotheses tried in the call, tested as one family")
    by_type: dict[str, int] = Field(description="Hypotheses by kind")
    behaviours: int = Field(description="Hypotheses but for those of hours and weekdays")
    behaviours_held: int = Field(description="Those of them that are reported")
    passed: int = Field(description="Those that are significant and recur on held-out time")
    below_confidence: int = Field(description="Those that passed and recur in too few resamples")
    max_q: float = Field(description="Largest false-discovery rate")
    held_out_max_p: float = Field(description="Largest p on held-out time")
    resamples: int = Field(description="Resamples behind the confidence")
    min_pattern_confidence: float = Field(description="Least confidence requested")


class ActivityTimes(Part):
    peak_activity_days: list[str] | None = Field(description="Weekdays of more use than others")
    peak_activity_hours: list[str] | None = Field(description="Hours of more use than others")
    low_activity_periods: list[str] | None = Field(description="Days and hours of less use")
    seasonal_trends: str | None = Field(description="Significant cycles longer than a week")
    detail: dict[str, Any] = Field(description="User-hours, weeks, trend and seasons")


class SequenceGaps(Part):
    sequence: list[str] = Field(description="Features in the order of adoption")
    customers: int = Field(description="Customers that completed it in time")
    median_days: float = Field(description="Median days of a step")
    lower_quartile: float = Field(description="Lower quartile of a step's days")
    upper_quartile: float = Field(description="Upper quartile of a step's days")
    unfinished_share: float | None = Field(description="Share of those that began and stopped")
    unfinished_of: int = Field(description="Customers that began it")


class AdoptionSequences(Part):
    common_sequences: list[list[str]] = Field(description="Significant orders of adoption")
    optimal_sequence: list[str] | None = Field(
        description="The order whose customers churn significantly less, all else equal"
    )
    avg_time_between_steps_days: float | None = Field(description="Median days of all steps")
    gaps: list[SequenceGaps] = Field(description="Days between the steps of each order")


class FeatureBundle(Part):
    bundle: list[str] = Field(description="Features that are used together")
    co_usage_rate: float = Field(description="Users of all ÷ users of any")
    success_correlation: float | None = Field(description="Partial correlation with retention")
    success_lower: Lower
    success_upper: Upper
    support: int = Field(description="Units that use all")
    users_of_any: int = Field(description="Units that use any")
    lift: float = Field(description="Ratio to what volume and popularity explain")
    confidence: Confidence


class FeatureUsagePatterns(Part):
    sequential_adoption: AdoptionSequences = Field(description="Orders of adoption")
    feature_bundles: list[FeatureBundle] = Field(description="Features used together")


class MessageResponse(Part):
    preferred_channels: dict[str, float | None] | None = Field(
        description="Share of messages answered by use within 7 days, by channel"
    )
    optimal_frequency: dict[str, str] | None = Field(description="Best frequency by content")
    engagement_rate_by_content: dict[str, float | None] | None = Field(
        description="The same share by content"
    )
    detail: dict[str, Any] = Field(description="Messages sent; rates with intervals")


class TicketPatterns(Part):
    common_issue_sequences: list[str] | None = Field(description="Topics that follow another")
    time_to_resolution_trends: str | None = Field(description="Change within the window")
    self_service_adoption: float | None = Field(description="Share that needed no ticket")
    detail: dict[str, Any] = Field(description="Tickets and hours by half of the window")


class UserPersona(Part):
    persona_name: str = Field(description="The features that distinguish it")
    percentage: float = Field(description="Per cent of the users; all add up to 100")
    characteristics: list[str] = Field(description="What its users do, in figures")
    recommended_engagement: str | None = Field(description="What to tell them about first")
    users: int = Field(description="Its users")
    set_apart_by: dict[str, float] = Field(description="Ratio of use to other users by feature")


class PersonaEvidence(Part):
    stable: bool = Field(description="Whether there are personas")
    reason: str | None = Field(description="Why there are none")
    users: int = Field(description="Users that were clustered")
    not_clustered: int = Field(description="Users with too few events")
    silhouette: float | None = Field(description="Mean silhouette")
    silhouette_p: float | None = Field(description="Its p against users without groups")
    stability: float | None = Field(description="Mean adjusted Rand index over resamples")


class ChurnOutcome(Part):
    hazard_ratio: float = Field(description="Adjusted odds ratio of churn in the month after")
    lower: float = Field(description="Lower end of its interval")
    upper: float = Field(description="Upper end of its interval")
    interval_level: Level
    adjusted_for: list[str] = Field(description="What is held equal")
    monthly_rate_with: float = Field(description="Monthly churn rate with it")
    monthly_rate_without: float = Field(description="Monthly churn rate without it")
    months_with: int = Field(description="Customer-months with it")
    months_without: int = Field(description="Customer-months without it")
    left_with: int = Field(description="Churned in the month after, with it")
    left_without: int = Field(description="Churned in the month after, without it")


class SuccessPattern(Part):
    pattern: str = Field(description="Its name")
    success_metric: str = Field(description="What it is correlated with")
    correlation: float | None = Field(description="Partial correlation with 90-day retention")
    insight: str = Field(description="What the data say, in figures")
    correlation_lower: Lower
    correlation_upper: Upper
    retention_with: float | None = Field(description="90-day retention with it")
    retention_without: float | None = Field(description="90-day retention without it")
    n_with: int | None = Field(description="Customer-quarters with it")
    n_without: int | None = Field(description="Customer-quarters without it")
    outcome: ChurnOutcome = Field(description="Churn in the month after, with and without it")
    confidence: Confidence
    shown_by_customer: ShownByCustomer


class EarlySign(Part):
    sign: str = Field(description="Another sign")
    share_at_beginning: float = Field(description="Share of a spell's first days that show it")
    share_otherwise: float = Field(description="Share of all other days")


class RiskPattern(Part):
    pattern: str = Field(description="Its name")
    risk_type: str = Field(description="churn")
    early_warning_indicators: list[str] = Field(description="Signs that are there before")
    probability_of_churn: float | None = Field(
        description="Share that churned within the horizon of a spell's first day"
    )
    recommended_intervention: str | None = Field(description="What may be done")
    probability_lower: Lower
    probability_upper: Upper
    n: int = Field(description="Spells followed for the horizon")
    base_rate: float | None = Field(description="The same of the same dates without the sign")
    base_n: int = Field(description="Customer-dates without the sign")
    horizon_days: int = Field(description="Days of the horizon")
    lead_days: float | None = Field(description="Median days from the first day to churn")
    lead_quartiles: list[float] | None = Field(description="Quartiles of these days")
    among_leavers: float | None = Field(description="Share of weeks before churn that show it")
    among_stayers: float | None = Field(description="Share of other weeks that show it")
    indicators: list[EarlySign] = Field(description="The early signs with their shares")
    outcome: ChurnOutcome = Field(description="Churn in the month after, with and without it")
    confidence: Confidence
    shown_now: int | None = Field(description="Customers that show it on the last weekly date")
    shown_by_customer: ShownByCustomer
    within: WithinGroups


class CustomerName(Part):
    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")


class Behaviour(Part):
    sign: str = Field(description="The sign's name")
    behaviour: str = Field(description="What is measured, in words")
    kind: str = Field(description="risk (a warning sign) or success (a strength)")
    significant: bool = Field(description="Whether it alone goes with churn or retention")
    figure: str | None = Field(description="The customer's own figure")
    shown_by_customer: ShownByCustomer
    shown_now: int = Field(description="Customers that show it on the last weekly date")
    among_retained: float | None = Field(
        description="Share of customer-quarters that were retained that show it"
    )
    among_churned: float | None = Field(
        description="Share of customer-quarters that churned that show it"
    )
    churned_with: float | None = Field(description="Churned within the horizon with it")
    churned_without: float | None = Field(description="Churned within the horizon without it")
    n_with: int = Field(description="Customer-quarters with it")
    n_without: int = Field(description="Customer-quarters without it")
    lead_days: float | None = Field(
        description="Median days from the first day of a spell of it to the churn that followed"
    )
    shown_by: list[CustomerName] = Field(
        description="Customers that show it now, those with the most expected churned ARR first; "
        "of a single customer none"
    )
    advice: str = Field(description="What may be done")


class BehaviourStanding(Part):
    warning_signs: int = Field(description="Warning signs that the customer shows")
    strengths: int = Field(description="Strengths that it shows")
    warning_signs_of_retained: float | None = Field(
        description="Mean number of warning signs at customers that were retained"
    )
    churn_probability: float | None = Field(description="Its probability of churn in 90 days")
    gave_notice: bool = Field(description="Whether it gave notice")
    median_probability: float | None = Field(description="The portfolio's median of it")


class ActivityAnomaly(Part):
    anomaly_type: str = Field(description="unusual_spike or unusual_drop")
    date: dt.date = Field(description="First day")
    description: str = Field(description="What was measured, and what was expected")
    likely_cause: str | None = Field(description="Known cause within a day")
    action_required: bool = Field(description="Whether it may last and has no known cause")
    scope: str = Field(description="customer, segment or portfolio")
    client_id: str | None = Field(description="The customer, where it is one's")
    customer_name: str | None = Field(description="The customer's name")
    series: str = Field(description="users, person_events, api_events or feature_users")
    feature: str | None = Field(description="The feature, where its users are counted")
    until: dt.date = Field(description="Last day")
    lasting: bool = Field(description="Whether the figures are means of its days, not one day's")
    return_days: float | None = Field(description="Days until as much comes by chance")
    factor: float | None = Field(description="Measured ÷ expected")


class TreatedSpells(Part):
    kind: str = Field(description="Kind of intervention")
    spells: int = Field(description="Low spells that it came first in")
    recovered: int = Field(description="Those that recovered")


class RecoveryRates(Part):
    common_interventions: list[str] | None = Field(description="Kinds, most frequent first")
    success_rate: float | None = Field(description="Share of treated spells that recovered")
    avg_transition_time_days: float | None = Field(description="Median days to recovery")
    success_lower: Lower
    success_upper: Upper
    treated: int = Field(description="Low spells with an intervention")
    matched_success_rate: float | None = Field(description="Recovered of similar spells without")
    matched_lower: Lower
    matched_upper: Upper
    matched: int = Field(description="Similar spells without an intervention")
    difference: float | None = Field(description="Success rate less that of similar spells")
    difference_lower: Lower
    difference_upper: Upper
    interval_level: Level
    by_kind: list[TreatedSpells] = Field(description="Treated spells by kind")
    spells: int = Field(description="All low spells")


class PredictiveInsights(Part):
    likely_expansion_candidates: int | None = Field(description="Customers ready to expand")
    likely_churn_candidates: int | None = Field(
        description="Customers of at least twice the portfolio's probability of churn"
    )
    optimal_intervention_timing: str | None = Field(description="When signs tell most")
    confidence_score: float | None = Field(description="Share of past candidates that churned")
    confidence_n: int | None = Field(description="Past candidates")
    churn_candidates: list[str] | None = Field(description="Their client_ids")
    expansion_candidates: list[str] | None = Field(description="Their client_ids")
    churn_candidates_arr: float | None = Field(description="Their ARR, of those likely to churn")
    expansion_candidates_arr: float | None = Field(description="Their ARR, of those to expand")
    timing_days: int | None = Field(description="Days before churn")
    timing_sign: str | None = Field(description="The sign that tells most then")


class OptimizationOpportunity(Part):
    opportunity: str = Field(description="What to improve")
    current_state: str = Field(description="How it is, in figures")
    opportunity_state: str = Field(description="How it may be, in figures")
    potential_impact: str | None = Field(description="Only what history proves")
    effort: str = Field(description="Low, Medium or High")
    priority: str = Field(description="Low, Medium or High")
    rule: str = Field(description="The triggered rule")
    figures: dict[str, Any] = Field(description="The figures that the rule reads")


class EngagementPatterns(Result):
    """analyze_engagement_patterns' response.

    Frames: ``patterns`` (everything tried, with its verdict), ``risk``, ``lead`` (lead-time curves), ``gaps``,
    ``personas``, ``anomalies``, ``customers`` and more by section.
    """

    tool: ClassVar[str] = "analyze_engagement_patterns"

    analysis_id: str = Field(description="Names data, settings, version and parameters")
    analysis_scope: AnalysisScope = Field(description="Which customers are analyzed")
    customers_analyzed: int = Field(description="Customers of the scope within the window")
    churned_in_window: int = Field(description="Those among them that churned within the window")
    analysis_period: PatternWindow = Field(description="The window")
    pattern_categories: list[str] = Field(description="Categories of patterns")
    excluded: dict[str, int] = Field(description="Customers that are not counted, by reason")
    identified_patterns: list[EngagementPattern] = Field(description="Significant patterns")
    currency: str | None = Field(description="Currency of all amounts")
    not_held: list[RejectedPattern] = Field(description="The most promising of the rejected")
    testing: HypothesisCounts = Field(description="How much was tried, and the limits")
    temporal_patterns: ActivityTimes | None = Field(description="When users are active")
    feature_usage_patterns: FeatureUsagePatterns | None = Field(description="Orders and bundles")
    communication_patterns: MessageResponse | None = Field(description="Response to messages")
    support_patterns: TicketPatterns | None = Field(description="Tickets and their resolution")
    user_personas: list[UserPersona] | None = Field(description="Groups of users by feature use")
    persona_evidence: PersonaEvidence | None = Field(description="Evidence for the personas")
    success_patterns: list[SuccessPattern] | None = Field(description="What precedes retention")
    risk_patterns: list[RiskPattern] | None = Field(description="What precedes churn")
    behaviours: list[Behaviour] | None = Field(
        description="Every sign that was tested, those that the customer shows first"
    )
    standing: BehaviourStanding | None = Field(
        description="How many signs the customer shows, beside customers that were retained"
    )
    anomalies: list[ActivityAnomaly] | None = Field(description="Unusual days, the largest first")
    pattern_transitions: dict[str, RecoveryRates] | None = Field(
        description="Recovery of low scores with and without interventions"
    )
    predictive_insights: PredictiveInsights | None = Field(description="Likely next moves")
    engagement_optimization: list[OptimizationOpportunity] = Field(description="Opportunities")
    recommended_actions: list[str] = Field(description="Texts of the triggered actions")
    recommended_actions_detail: list[TriggeredRule] = Field(description="The triggered actions")
    next_actions: list[NextAction] = Field(
        description="The customer's own next actions; of several the first ones of those likely to churn, then to expand"
    )

    @property
    def client_id(self) -> str | None:
        return self.analysis_scope.client_id

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import patterns

        held = self.frame("held")
        return {
            "patterns": patterns.lifts(held[held["type"] != "temporal"]),
            "risk": patterns.risks(self.frame("risk")),
            "lead": patterns.leads(self.frame("lead")),
            "personas": patterns.personas(self.frame("personas")),
            "gaps": patterns.gaps(self.frame("gaps")),
            "week": patterns.week(self.frame("week")),
        }

    def verdict(self) -> str:
        scope = self.analysis_scope
        subject = scope.customer_name or scope.segment_name
        text = "; ".join(self._of_customer() if self.client_id else self._of_customers())
        return text if subject is None else f"{subject}: {text}"

    def _of_customer(self) -> list[str]:
        """How many signs it shows beside customers that were retained, which, and how likely churn is."""
        standing, parts = self.standing, []
        if standing is None:
            return ["too little is known of churned customers to say what precedes churn"]
        if self.is_new:
            return ["too new for patterns of its own"]
        shown = [each.behaviour for each in self.behaviours or [] if each.shown_by_customer]
        warned = [lower_first(name) for name in shown[: min(standing.warning_signs, NAMED)]]
        parts.append(counted(standing.warning_signs, "warning sign"))
        usual = standing.warning_signs_of_retained
        if usual is not None and standing.warning_signs < usual + 1 and not standing.gave_notice:
            parts[0] = (
                f"no more warning signs than retained customers ({standing.warning_signs}, on average {usual:.1f})"
            )
            warned = []
        elif usual is not None:
            parts[0] += f" ({usual:.1f} at retained customers)"
        if warned:
            parts[0] += f": {', '.join(warned)}"
        if standing.gave_notice:
            known = parts if standing.warning_signs else []
            return ["it gave notice", *known]
        if standing.churn_probability is not None:
            parts.append(f"churn in 90 days {percent(standing.churn_probability)}")
        return parts

    def _of_customers(self) -> list[str]:
        insights, parts = self.predictive_insights, []
        churning = insights.likely_churn_candidates if insights else 0
        if churning and self.risk_patterns:
            verb = "is" if churning == 1 else "are"
            parts.append(
                f"{counted(churning, 'customer')} {verb} at least twice as likely to churn as the average one"
            )
        if insights and insights.likely_expansion_candidates:
            ready = insights.likely_expansion_candidates
            verb = "is" if ready == 1 else "are"
            parts.append(f"{ready if parts else counted(ready, 'customer')} {verb} ready to expand")
        if self.risk_patterns:
            parts.append(
                f"the strongest sign of churn: {lower_first(self.risk_patterns[0].pattern)}"
            )
        channels = (
            self.communication_patterns.detail["channels"] if self.communication_patterns else []
        )
        if (
            len(channels) > 1
            and channels[0]["rate"] is not None
            and channels[-1]["rate"] is not None
        ):
            best, last = channels[0], channels[-1]
            parts.append(
                f"the {words(best['name'])} gets a response in {percent(best['rate'])} of contacts, "
                f"{words(last['name'])} in {percent(last['rate'])}"
            )
        if self.risk_patterns == []:
            parts.append("no sign of churn held when tested")
        return parts or ["no customer stands out, and too few churned to test signs of it"]

    def summary(self) -> dict[str, Any]:
        names = {
            "Patterns": [pattern.pattern_name for pattern in self.identified_patterns[:6]],
            "Signs of churn": [risk.pattern for risk in (self.risk_patterns or [])[:4]],
            "Personas": [persona.persona_name for persona in self.user_personas or []],
        }
        return {name: "; ".join(texts) or "none" for name, texts in names.items()}
