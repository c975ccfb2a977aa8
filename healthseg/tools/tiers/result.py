"""What segment_by_value_tier answers with: the reference's keys, and what each rests on."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from healthseg.errors import ClientNotFound, hint
from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt

DETAILS = ("characteristics", "engagement_strategy", "expansion_pipeline", "retention", "at_risk")


class Range(Part):
    lower: float | None
    upper: float | None


class Fired(Part):
    """A rule that held, and the figures that made it."""

    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class TierCharacteristics(Part):
    avg_health_score: float | None
    avg_tenure_months: float | None
    avg_user_count: float | None
    user_count_basis: str
    feature_adoption_rate: float | None
    support_tier: str | None
    n: dict[str, int]
    intervals: dict[str, Range]


class Engagement(Part):
    """How the tier is looked after: as the settings say, and the accounts a manager can carry by its hours."""

    csm_ratio: str
    touch_frequency: str
    executive_engagement: str | None
    support_sla: str | None
    success_programs: list[str]
    automation_level: str
    source: str


class Pipeline(Part):
    """What customers of the tier could come to pay more, and who is ready to."""

    total_expansion_potential: float | None
    avg_expansion_potential: float | None
    potential_interval: Range
    high_probability_expansions: int
    unknown: int
    customers_with_potential: int
    from_seats: float | None
    from_premium_features: float | None
    from_customers_table: float | None
    contraction_exposure: float | None
    rules_met: dict[str, int]


class Revenue(Part):
    """Of the customers that were in the tier a year ago; ``new`` of those that are in it now."""

    nrr: float | None
    grr: float | None
    cohort: int
    lost: int
    start: float | None
    new: float | None
    expansion: float | None
    contraction: float | None
    churn: float | None
    end: float | None


class AtRiskPart(Part):
    """ARR that may be lost within the horizon, as a distribution."""

    horizon_days: int
    expected: float
    median: float
    lower: float
    upper: float
    level: float
    certain: float
    customers: int
    notices: int
    without_probability: int
    draws: int
    method: str


class ValueTier(Part):
    tier_name: str
    tier_description: str
    above: float | None
    up_to: float | None
    customer_count: int
    percentage_of_customers: float
    total_arr: float | None
    percentage_of_arr: float | None
    avg_arr_per_customer: float | None
    characteristics: TierCharacteristics | None
    engagement_strategy: Engagement | None
    expansion_pipeline: Pipeline | None
    retention: Revenue | None
    at_risk: AtRiskPart | None
    avg_strategic_value: float | None
    client_ids: list[str] | None


class TierPareto(Part):
    top_20_percent_customers: int | None
    top_20_percent_arr_contribution: str | None
    tier_distribution: str | None
    top_share: float | None
    gini: float | None
    n: int
    without_arr: int


class Allocation(Part):
    tier: str
    recommended_csm_count: int
    current_csm_count: int | None
    gap: int | None
    priority: str
    customers: int
    hours_per_customer: float
    hours_needed: float
    hours_available: float | None
    capacity_hours: float


class HealthSummary(Part):
    avg_health: float | None
    at_risk_count: int
    expansion_ready_count: int
    unknown_health: int
    unknown_readiness: int


class TierMove(Part):
    from_tier: str
    to_tier: str
    customers: int
    arr: float | None


class YearOnYear(Part):
    since: dt.date
    stayed: int
    up: int
    down: int
    new: int
    left: int
    moves: list[TierMove]


class Suggestion(Part):
    """Thresholds that the managers' hours would carry, beside the given ones."""

    thresholds: list[float] | None
    given: list[float]
    customers: list[int] | None
    reason: str


class Sensitivity(Part):
    weight: str
    from_weight: float
    to_weight: float
    customers_in_another_tier: int


class PremiumStep(Part):
    """What peers with a bundle of premium features pay more per seat than those without."""

    bundle: str
    tier: str
    peers: str
    per_seat: float
    lower: float
    upper: float
    with_it: int
    without: int
    stands: bool


class TierPlace(Part):
    """Where one customer stands by value."""

    client_id: str
    name: str
    tier: str
    reason: str | None
    arr: float | None
    classified_by: float | None
    rank: int | None
    of: int
    share_of_arr: float | None
    above: float | None
    up_to: float | None
    next_tier: str | None
    to_next: float | None
    lower_tier: str | None
    to_lower: float | None
    tier_a_year_ago: str | None
    arr_a_year_ago: float | None
    potential: float | None
    potential_interval: Range
    potential_source: str | None
    from_seats: float | None
    from_premium_features: float | None
    users_in_a_year: float | None
    seats: float | None
    users: float | None
    contraction_exposure: float | None
    ready: bool | None
    rules: dict[str, bool | None]
    score: int | None
    leaving_probability: float | None
    leaving_interval: Range
    gave_notice: bool
    expected_loss: float | None
    hours_per_month: float | None
    csm_id: str | None
    strategic_value: float | None


class ValueTiers(Result):
    """The response of segment_by_value_tier."""

    tool: ClassVar[str] = "segment_by_value_tier"

    total_customers: int
    excluded: dict[str, int]
    total_arr: float | None
    total_arr_by_currency: dict[str, float]
    currency: str | None
    segmentation_model: str
    arr_thresholds: list[float]
    output_detail_level: str
    interval_level: float
    value_tiers: list[ValueTier]
    unplaced: dict[str, int]
    pareto_analysis: TierPareto
    resource_allocation_recommendations: list[Allocation]
    tier_health_summary: dict[str, HealthSummary]
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]
    retention: Revenue | None
    retention_since: dt.date | None
    year_on_year: YearOnYear | None
    at_risk: AtRiskPart | None
    suggested_thresholds: Suggestion
    premium_steps: list[PremiumStep]
    strategic_weights: dict[str, float] | None
    sensitivity: list[Sensitivity] | None
    customer_standing: TierPlace | None

    _places: dict[str, TierPlace] = PrivateAttr(default_factory=dict)

    def with_places(self, places: dict[str, TierPlace]) -> ValueTiers:
        self._places.update(places)
        return self

    def customer(self, client_id: str) -> TierPlace:
        """Where a customer stands; raises ClientNotFound for one that is not live at as_of."""
        if client_id not in self._places:
            raise ClientNotFound(
                f"{client_id!r} is not among the live customers{hint(client_id, self._places)}",
                parameter="client_id",
                value_provided=str(client_id)[:200],
                validation_rule="a live customer at as_of",
            )
        return self._places[client_id]

    def tier(self, name: str) -> ValueTier:
        return next(one for one in self.value_tiers if one.tier_name == name)

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        if self.output_detail_level == "summary":
            found["value_tiers"] = [
                {key: value for key, value in tier.items() if key not in (*DETAILS, "client_ids")}
                for tier in found["value_tiers"]
            ]
        return found

    def verdict(self) -> str:
        from healthseg.tools.tiers.words import customer_verdict, verdict

        return verdict(self) if self.customer_standing is None else customer_verdict(self)

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import tiers

        drawn = {
            "sizes": tiers.sizes(self.frame("tiers"), self.currency, width),
            "lorenz": tiers.lorenz(self.frame("lorenz"), self.pareto_analysis.gini, width),
            "waterfall": tiers.waterfall(self.frame("waterfall"), self.currency, width),
            "retention": tiers.retention(self.frame("tiers"), width),
            "moves": tiers.moves(
                self.frame("moves"), width, [one.tier_name for one in self.value_tiers]
            ),
            "capacity": tiers.capacity(self.frame("capacity"), width),
            "at_risk": tiers.at_risk(
                self.frame("at_risk"), self.at_risk and self.at_risk.expected, self.currency, width
            ),
            "pipeline": tiers.pipeline(self.frame("tiers"), self.currency, width),
        }
        if self.customer_standing is not None:
            drawn["standing"] = tiers.standing(
                self.frame("customers"),
                self.customer_standing.model_dump(),
                self.arr_thresholds,
                self.currency,
                width,
            )
        return drawn

    def summary(self) -> dict[str, Any]:
        return {one.tier_name: f"{one.customer_count} customers" for one in self.value_tiers}
