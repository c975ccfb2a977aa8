"""The result of segment_by_value_tier: the reference's keys, and what each figure rests on."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from healthseg.charts.formats import amounts, brief_money, percent
from healthseg.data.tables import id_text
from healthseg.errors import ClientNotFound, hint
from healthseg.tools.base import Interval, Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction
from healthseg.tools.renewals import RenewalRisk

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

# a fifth of fewer customers is none
LEAST_OF_A_FIFTH = 5
DETAILS = ("characteristics", "engagement_strategy", "expansion_pipeline", "retention", "at_risk")


class TierCharacteristics(Part):
    """Unweighted means over the customers of a tier whose figure is known."""

    avg_health_score: float | None = Field(description="Mean health score")
    avg_tenure_months: float | None = Field(description="Mean months since signup")
    avg_user_count: float | None = Field(description="Mean number of users")
    user_count_basis: str = Field(description="Which users: provisioned, or active in 30 days")
    feature_adoption_rate: float | None = Field(description="Mean share of features adopted")
    support_tier: str | None = Field(description="Support of most members' plans (support_tiers)")
    n: dict[str, int] = Field(description="Customers whose figure is known, by key")
    intervals: dict[str, Interval] = Field(description="Student's interval of each mean, by key")


class TierEngagement(Part):
    """How a tier is looked after: by the settings, and by what a manager's hours allow."""

    csm_ratio: str = Field(description="Customers a manager's hours allow")
    touch_frequency: str = Field(description="How often a manager is in touch")
    executive_engagement: str | None = Field(description="Executive reviews")
    support_sla: str | None = Field(description="Promised response time of support")
    success_programs: list[str] = Field(description="Success programmes")
    automation_level: str = Field(description="low, medium or high")
    source: str = Field(description="Where the strategy comes from")


class ExpansionPipeline(Part):
    """What customers of a tier could come to pay more a year, and how many are ready to."""

    total_expansion_potential: float | None = Field(description="Sum of the potential, ARR")
    avg_expansion_potential: float | None = Field(description="Mean potential, ARR")
    potential_interval: Interval = Field(description="Sum of the ends of the potential, ARR")
    high_probability_expansions: int = Field(description="Customers that meet all readiness rules")
    unknown: int = Field(description="Customers that fail no rule and miss a figure")
    customers_with_potential: int = Field(description="Customers with a potential above 0")
    from_seats: float | None = Field(description="Potential from seats, ARR")
    from_customers_table: float | None = Field(description="Potential that the table names, ARR")
    contraction_exposure: float | None = Field(description="ARR of seats that nobody uses")
    rules_met: dict[str, int] = Field(description="Customers that meet each readiness rule")


class RevenueMovement(Part):
    """ARR of a year ago and now: retention of the customers of then, and how the sum moved."""

    nrr: float | None = Field(description="Net retention: their ARR now ÷ then")
    grr: float | None = Field(description="Gross retention: the same without expansion")
    cohort: int = Field(description="Customers with an ARR a year ago")
    churned: int = Field(description="Customers of the cohort without an ARR now")
    start: float | None = Field(description="ARR a year ago")
    new: float | None = Field(description="ARR of new customers")
    expansion: float | None = Field(description="ARR added by customers of then")
    contraction: float | None = Field(description="ARR given up by customers that remain (≤ 0)")
    churn: float | None = Field(description="ARR of churned customers (≤ 0)")
    end: float | None = Field(description="ARR now")


class TierChurnRisk(Part):
    """ARR that churns within the horizon, as a simulated distribution."""

    horizon_days: int = Field(description="Days ahead")
    expected: float = Field(description="Σ probability × ARR")
    median: float = Field(description="Median of the draws, ARR")
    lower: float = Field(description="Lower end of the interval, ARR")
    upper: float = Field(description="Upper end of the interval, ARR")
    any_share: float = Field(description="Share of the draws in which any of it churns")
    level: float = Field(description="Level of the interval")
    certain: float = Field(description="ARR of customers that gave notice")
    customers: int = Field(description="Customers with an ARR and a probability")
    notices: int = Field(description="Customers that gave notice")
    without_probability: int = Field(description="Customers with an ARR and no probability")
    draws: int = Field(description="Simulated totals")
    method: str = Field(description="Where the probabilities come from")


class ValueTier(Part):
    """A tier with its customers' figures."""

    tier_name: str = Field(description="Name of the tier")
    tier_description: str = Field(description="Its limits in words")
    above: float | None = Field(description="Lower limit, excluded")
    up_to: float | None = Field(description="Upper limit, included")
    customer_count: int = Field(description="Customers")
    percentage_of_customers: float = Field(description="Per cent of the live customers")
    total_arr: float | None = Field(description="Sum of the ARR")
    percentage_of_arr: float | None = Field(description="Per cent of the portfolio's ARR")
    avg_arr_per_customer: float | None = Field(description="Mean ARR")
    characteristics: TierCharacteristics | None = Field(description="Means over its customers")
    engagement_strategy: TierEngagement | None = Field(description="How it is looked after")
    expansion_pipeline: ExpansionPipeline | None = Field(description="Expansion potential")
    retention: RevenueMovement | None = Field(description="ARR of a year ago and now")
    at_risk: TierChurnRisk | None = Field(description="ARR that may churn")
    avg_strategic_value: float | None = Field(description="Mean strategic value")
    client_ids: list[str] | None = Field(description="Its customers")


class ArrShare(Part):
    """What the customers that pay most have of the ARR."""

    customers: int = Field(description="How many of them")
    share: float = Field(description="Their share of the ARR, 0 to 1")


class LargestCustomer(Part):
    """The customer that pays most, and what depends on it."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    arr: float = Field(description="ARR")
    share: float = Field(description="Its share of the ARR")
    renewal_on: dt.date | None = Field(description="Day of its renewal")


class TierPareto(Part):
    """How concentrated the ARR is."""

    top_20_percent_customers: int | None = Field(description="Customers in the top fifth by ARR")
    top_20_percent_arr_contribution: str | None = Field(description="Their share, in words")
    tier_distribution: str | None = Field(description="Which tiers they are in")
    top_share: float | None = Field(description="Their share of the ARR")
    gini: float | None = Field(description="Gini coefficient of the ARR: 0 equal, near 1 unequal")
    hhi: float | None = Field(
        description="Herfindahl-Hirschman index of the ARR, Σ share²: from 1/n where all pay the same to 1 where one pays all"
    )
    largest: list[ArrShare] | None = Field(
        description="Share of the ARR of the 1, 5, 10 and 20 customers that pay most"
    )
    largest_customer: LargestCustomer | None = Field(description="The customer that pays most")
    n: int = Field(description="Customers with a known ARR")
    without_arr: int = Field(description="Customers without a known ARR")


class Growth(Part):
    """Who is ready to expand, and which ARR is that of seats that nobody uses."""

    ready: int = Field(description="Customers that meet all readiness rules")
    ready_with_potential: int = Field(description="Those of them with a known potential above 0")
    ready_potential: float | None = Field(description="ARR that they may come to pay more")
    idle_arr: float | None = Field(description="ARR of seats that nobody uses")
    idle_share: float | None = Field(description="That ARR as a share of all ARR")
    idle_arr_renewing: float | None = Field(description="The same of customers that renew soon")
    renewing: int = Field(description="Customers with idle seats that renew soon")
    renewal_days: int = Field(description="Within how many days that is")


class TierStaffing(Part):
    """The managers that a tier needs and has."""

    tier: str = Field(description="Name of the tier")
    recommended_csm_count: int = Field(description="Managers needed")
    current_csm_count: int | None = Field(description="Managers it has")
    gap: int | None = Field(description="Managers missing (negative: more than needed)")
    priority: str = Field(description="none, high, critical or unknown")
    customers: int = Field(description="Customers")
    hours_per_customer: float = Field(description="Hours a month and customer")
    hours_needed: float = Field(description="Hours a month")
    hours_available: float | None = Field(description="Hours a month of its managers")
    capacity_hours: float = Field(description="Hours a month of one manager")


class TierHealth(Part):
    """Health and readiness of a tier's customers."""

    avg_health: float | None = Field(description="Mean health score")
    at_risk_count: int = Field(description="Customers with a score below the band Healthy")
    expansion_ready_count: int = Field(description="Customers that meet all readiness rules")
    unknown_health: int = Field(description="Customers without a score")
    unknown_readiness: int = Field(description="Customers that fail no rule and miss a figure")


class TierMove(Part):
    """Customers by their tier a year ago and now."""

    from_tier: str = Field(description="Tier a year ago, or New")
    to_tier: str = Field(description="Tier now, or Churned")
    customers: int = Field(description="Customers")
    arr: float | None = Field(description="Their ARR now; of churned customers, then")


class TierMoves(Part):
    """Which customers are in another tier than a year ago?"""

    since: dt.date = Field(description="The day a year ago")
    unchanged: int = Field(description="Customers in the same tier")
    up: int = Field(description="Customers in a higher tier")
    down: int = Field(description="Customers in a lower tier")
    new: int = Field(description="Customers without an ARR then")
    churned: int = Field(description="Customers without an ARR now")
    moves: list[TierMove] = Field(description="Customers by both tiers")


class SuggestedThresholds(Part):
    """Thresholds that would give each tier as many customers as its managers' hours allow."""

    thresholds: list[float] | None = Field(description="Suggested thresholds, ARR")
    given: list[float] = Field(description="Thresholds in use, ARR")
    customers: list[int] | None = Field(description="Customers by tier under the suggestion")
    reason: str = Field(description="What they follow from, or why there are none")


class WeightSensitivity(Part):
    """How many customers change tier when a weight of the strategic rank is moved."""

    weight: str = Field(description="Which weight")
    from_weight: float = Field(description="Its value")
    to_weight: float = Field(description="Its value after the move")
    customers_in_another_tier: int = Field(description="Customers whose tier changes")


class PremiumStep(Part):
    """What peers with a bundle of premium features pay more per seat than those without."""

    bundle: str = Field(description="Features that the same customers have")
    tier: str = Field(description="Tier whose customers it is used for")
    plan: str = Field(description="Plan whose customers it is used for")
    peers: str = Field(description="Customers compared: of one tier and plan")
    per_seat: float = Field(description="Hodges–Lehmann difference in ARR per seat")
    lower: float = Field(description="Lower end of its interval")
    upper: float = Field(description="Upper end of its interval")
    with_it: int = Field(description="Peers with the bundle")
    without: int = Field(description="Peers without it")
    significant: bool = Field(description="Whether the interval lies above 0")


class CustomerValue(Part):
    """One customer's tier, its way to the next, its potential and its risk."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="Name")
    tier: str = Field(description="Name of the tier")
    reason: str | None = Field(description="Why it is in no tier")
    arr: float | None = Field(description="ARR")
    classified_by: float | None = Field(description="ARR, ARR and potential, or weighted rank")
    rank: int | None = Field(description="Rank by ARR, 1 is the largest")
    of: int = Field(description="Customers with a known ARR")
    share_of_arr: float | None = Field(description="Share of the portfolio's ARR")
    above: float | None = Field(description="Lower limit of its tier, excluded")
    up_to: float | None = Field(description="Upper limit of its tier, included")
    next_tier: str | None = Field(description="The next higher tier")
    to_next: float | None = Field(description="Amount to its limit")
    lower_tier: str | None = Field(description="The next lower tier")
    to_lower: float | None = Field(description="Amount to its limit")
    tier_a_year_ago: str | None = Field(description="Tier a year ago")
    arr_a_year_ago: float | None = Field(description="ARR a year ago")
    arr_change: float | None = Field(description="ARR now ÷ ARR a year ago − 1")
    potential: float | None = Field(description="Expansion potential, ARR")
    potential_interval: Interval = Field(description="Interval of the potential, ARR")
    potential_source: str | None = Field(description="usage and peers, or customers table")
    potential_cap: float | None = Field(
        description="The highest rise in a year that comparable customers show, ARR"
    )
    from_seats: float | None = Field(description="Potential from seats, ARR")
    users_in_a_year: float | None = Field(description="Monthly active users forecast in a year")
    seats: float | None = Field(description="Licensed seats")
    users: float | None = Field(description="Monthly active users")
    contraction_exposure: float | None = Field(description="ARR of seats that nobody uses")
    ready: bool | None = Field(description="Whether all readiness rules are met; null: unknown")
    rules: dict[str, bool | None] = Field(description="Each readiness rule; null: unknown")
    score: int | None = Field(description="Health score")
    churn_probability: float | None = Field(description="Probability of churn in the horizon")
    churn_interval: Interval = Field(description="Interval of the probability")
    renewal_risk: RenewalRisk | None = Field(
        default=None,
        description="What may churn through a renewal beyond the horizon; null otherwise, or untested",
    )
    gave_notice: bool = Field(description="Whether it gave notice")
    renewal_on: dt.date | None = Field(description="Day of its renewal")
    expected_churned_arr: float | None = Field(description="Probability × ARR")
    lifetime_value: float | None = Field(
        description="Revenue expected over lifetime_years: today's ARR, the tier's rate of churn, discounted"
    )
    lifetime_interval: Interval = Field(description="By the interval of the tier's rate of churn")
    hours_per_month: float | None = Field(description="A manager's hours a month by its tier")
    csm_id: str | None = Field(description="Its manager")
    strategic_value: float | None = Field(description="Strategic value of the customers table")
    next_actions: list[NextAction] = Field(description="The customer's own next actions")


class ValueTiers(Result):
    """The result of segment_by_value_tier."""

    tool: ClassVar[str] = "segment_by_value_tier"

    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    total_arr: float | None = Field(description="Sum of the ARR")
    total_arr_by_currency: dict[str, float] = Field(description="Sum of the ARR by currency")
    currency: str | None = Field(description="Currency of all amounts")
    segmentation_model: str = Field(description="What decides the tier")
    arr_thresholds: list[float] = Field(description="Limits between the tiers, ARR")
    tier_names: list[str] = Field(description="Names of the tiers from the lowest up")
    output_detail_level: str = Field(description="Level of detail")
    interval_level: float = Field(description="Level of the intervals")
    value_tiers: list[ValueTier] = Field(description="The tiers, the highest first")
    unplaced: dict[str, int] = Field(description="Customers in no tier, by reason")
    pareto_analysis: TierPareto = Field(description="Concentration of the ARR")
    resource_allocation_recommendations: list[TierStaffing] = Field(description="Managers by tier")
    tier_health_summary: dict[str, TierHealth] = Field(description="Health by tier")
    recommended_actions: list[str] = Field(description="Actions, the most severe first")
    recommended_actions_detail: list[TriggeredRule] = Field(description="Their rules and figures")
    decide_by: dict[str, dt.date] = Field(description="By when, by the severity of an action")
    retention: RevenueMovement | None = Field(description="ARR of a year ago and now")
    retention_since: dt.date | None = Field(description="The day a year ago")
    year_on_year: TierMoves | None = Field(description="Moves between tiers in a year")
    at_risk: TierChurnRisk | None = Field(description="ARR that may churn")
    growth: Growth = Field(description="Readiness to expand and idle seats over the tiers")
    suggested_thresholds: SuggestedThresholds = Field(description="Thresholds by capacity")
    premium_steps: list[PremiumStep] = Field(description="Prices of premium features")
    strategic_weights: dict[str, float] | None = Field(description="Weights of the strategic rank")
    sensitivity: list[WeightSensitivity] | None = Field(description="What the weights decide")
    began: int = Field(description="Customers that began in the months of the cohorts")
    began_live: int = Field(description="Those of them that are live")
    nrr_target: float = Field(description="The target of net retention, a setting")
    grr_target: float = Field(description="The target of gross retention, a setting")
    cohorts: list[dict[str, Any]] = Field(
        description="Customers by the month in which they began: how many are live so many months later, and their ARR"
    )
    customer_standing: CustomerValue | None = Field(description="The customer's tier and value")

    def customer(self, client_id: str) -> CustomerValue:
        """A customer's tier and value; raises ClientNotFound for one that is not live at as_of."""
        from healthseg.tools.tiers.customer import customer_value

        client_id, customers = id_text(client_id), self._frames["customers"]
        rows = customers[customers["client_id"] == client_id]
        if rows.empty:
            raise ClientNotFound(
                f"{client_id!r} is not among the live customers"
                f"{hint(client_id, customers['client_id'])}",
                parameter="client_id",
                value_provided=str(client_id)[:200],
                validation_rule="a live customer at as_of",
            )
        return customer_value(self, rows.to_dict("records")[0])

    def tier(self, name: str) -> ValueTier:
        return next(tier for tier in self.value_tiers if tier.tier_name == name)

    def to_dict(self) -> dict[str, Any]:
        response = super().to_dict()
        if self.output_detail_level == "summary":
            for tier in response["value_tiers"]:
                for key in (*DETAILS, "client_ids"):
                    del tier[key]
        return response

    def verdict(self) -> str:
        if self.customer_standing is not None:
            return self._customer_verdict(self.customer_standing)
        if not self.total_customers:
            return "The portfolio has no live customers"
        plural = "" if self.total_customers == 1 else "s"
        parts = [f"{self.total_customers} customer{plural}"]
        if self.total_arr is not None:
            parts[0] += f" with {brief_money(self.total_arr, self.currency)} ARR"
        elif self.total_arr_by_currency:
            parts[0] += f" with {amounts(self.total_arr_by_currency)} ARR"
        largest, idle = self.pareto_analysis.largest_customer, self.growth.idle_share
        if largest is not None and self.pareto_analysis.n >= LEAST_OF_A_FIFTH:
            parts.append(f"{largest.name} alone pays {percent(largest.share)} of it")
        if idle:
            parts.append(f"{percent(idle)} is paid for seats that nobody uses")
        risk = self.at_risk
        if risk is not None and risk.customers:
            expected = brief_money(risk.expected, self.currency)
            parts.append(f"{expected} is expected to churn in {risk.horizon_days} days")
        return "; ".join(parts)

    def _customer_verdict(self, customer: CustomerValue) -> str:
        if customer.reason:
            return f"{customer.name}: in no tier, because {customer.reason}"
        arr = brief_money(customer.arr, self.currency)
        parts = [f"{customer.name}: {customer.tier}, {arr} ARR"]
        if customer.gave_notice:
            return f"{parts[0]}; it gave notice, and the ARR churns unless it is won back"
        chance, expected = customer.churn_probability, customer.expected_churned_arr
        if chance is not None and expected is not None and not self.is_new:
            loss = brief_money(expected, self.currency)
            parts.append(f"{percent(chance)} likely to churn in 90 days, {loss} expected")
            if (risk := customer.renewal_risk) is not None and risk.arr is not None:
                by_then = f"{percent(risk.churn_probability)} in {risk.horizon_days} days, through its renewal"
                parts[-1] += f"; {by_then}, {brief_money(risk.arr, risk.currency)} expected"
        if customer.contraction_exposure:
            idle = brief_money(customer.contraction_exposure, self.currency)
            parts.append(f"{idle} of the ARR for idle seats")
        if customer.ready and customer.potential:
            parts.append(f"ready to pay {brief_money(customer.potential, self.currency)} more")
        return "; ".join(parts)

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import tiers as draw

        frame, money = self.frame, self.currency
        names = [tier.tier_name for tier in self.value_tiers]
        charts = {
            "sizes": draw.sizes(frame("tiers"), money),
            "lorenz": draw.lorenz(frame("lorenz")),
            "waterfall": draw.waterfall(frame("waterfall"), money),
            "retention": draw.retention(frame("tiers")),
            "moves": draw.moves(frame("moves"), names),
            "cohorts": draw.cohorts(frame("cohorts")),
            "capacity": draw.capacity(frame("capacity")),
            "at_risk": draw.at_risk(
                frame("at_risk"), self.at_risk.expected if self.at_risk else None, money
            ),
            "pipeline": draw.pipeline(frame("tiers"), money),
        }
        if self.customer_standing is not None:
            standing = self.customer_standing.model_dump()
            charts["standing"] = draw.standing(
                frame("customers"), standing, self.arr_thresholds, money
            )
        return charts

    def summary(self) -> dict[str, Any]:
        return {tier.tier_name: f"{tier.customer_count} customers" for tier in self.value_tiers}
