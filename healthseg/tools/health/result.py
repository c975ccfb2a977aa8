"""The shape of calculate_health_score's response: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class Range(Part):
    """The lowest and the highest figure that the missing inputs allow."""

    lower: float | None
    upper: float | None


class ComponentScores(Part):
    usage_score: int | None
    engagement_score: int | None
    support_score: int | None
    satisfaction_score: int | None
    payment_score: int | None


class MetricDetail(Part):
    metric: str
    label: str
    value: float | None
    unit: str
    points: float | None
    weight: float  # configured share of the whole score
    effective_weight: float  # share of this score, after missing inputs were left out
    target: float | None = None  # the value at which the metric reaches full points
    missing_reason: str | None = None


class ComponentDetail(Part):
    component: str
    score: int | None
    weight: float
    coverage: float
    metrics: list[MetricDetail]


class HealthMetrics(Part):
    weekly_active_users: int | None
    feature_adoption_rate: float | None
    support_ticket_count: int | None
    open_tickets: int | None
    nps_score: int | None
    nps_respondents: int | None
    payment_status: str | None
    days_overdue: int | None


class Trend(Part):
    slope_per_week: float | None
    interval: Range | None
    interval_level: float
    weeks: int
    window_days: int


class ChurnFactor(Part):
    """What puts a customer's odds of leaving above or below the average customer-month's, with its figures."""

    text: str
    label: str
    metric: str
    unit: str
    value: float | None
    usual: float | None  # the median of the rows that the model learnt from
    log_odds: float
    sd: float
    odds_ratio: float
    metrics: list[str]  # those that move together, and cannot be told apart


class ChurnGate(Part):
    """Whether the portfolio carries a model of single customers, and the held-out figures that decided it."""

    eligible: bool
    reason: str
    leavers: int
    customer_months: int
    auc: float | None
    z: float | None
    skill: float | None  # 1 − log score ÷ that of the base rate
    median_interval_width: float | None
    trained_until: dt.date


class ChurnPrediction(Part):
    churn_probability: float | None
    churn_risk_level: str | None
    confidence: float | None
    key_risk_factors: list[str] | None
    protective_factors: list[str] | None
    method: str
    reason: str
    horizon_days: int
    interval_level: float
    base_rate_interval: Range | None
    plausible_range: Range | None
    by_horizon: list[dict[str, Any]]
    customers_at_risk: int | None
    leavers: int | None
    base_rate: float | None = None  # the tier's, beside a model's own probability
    gate: ChurnGate | None = None
    key_risk_factors_detail: list[ChurnFactor] | None = None
    protective_factors_detail: list[ChurnFactor] | None = None


class HistoricalScore(Part):
    date: dt.date
    score: int | None
    coverage: float
    note: str | None = None


class PredictedScore(Part):
    date: dt.date
    predicted_score: int
    confidence: float | None
    lower: int
    upper: int


class Forecast(Part):
    method: str
    reason: str | None
    interval_level: float
    origins: int
    mean_absolute_error: float | None
    naive_mean_absolute_error: float | None
    interval_coverage: float | None


class ChangePart(Part):
    kind: str  # configuration, newly_missing, data, newly_known, cap, ramp, rounding
    metric: str | None
    label: str
    points: float
    value_then: float | None = None
    value_now: float | None = None
    unit: str | None = None


class ChangeExplanation(Part):
    from_date: dt.date
    to_date: dt.date
    score_then: int | None  # under the rules in force then
    score_now: int | None
    change: int | None
    parts: list[ChangePart]  # points add up to change
    reason: str | None = None


class Factor(Part):
    text: str
    metric: str
    value: float | None
    unit: str
    points: float | None
    effect: float  # points of the score, against the reference named in the text


class Factors(Part):
    positive: list[str]
    negative: list[str]
    positive_detail: list[Factor]
    negative_detail: list[Factor]


class Opportunity(Part):
    area: str
    current_state: str
    target_state: str
    impact: str
    effort: str | None
    metric: str
    current_value: float
    target_value: float
    points: float


class Fired(Part):
    """A rule that fired, with the figures that made it."""

    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class CustomerCard(Part):
    name: str
    industry: str | None
    region: str | None
    tier: str | None
    plan: str | None
    stage: str | None
    arr: float | None
    currency: str | None
    seats: int | None
    renewal_on: dt.date | None
    days_to_renewal: int | None
    tenure_days: int
    csm_id: str | None
    timezone: str


class Mark(Part):
    """What a chart marks on its time axis: an event of the calendar, a change of settings or of stage."""

    date: dt.date
    kind: str  # calendar, configuration, stage
    label: str


class HealthScore(Result):
    """calculate_health_score's response for one customer."""

    tool: ClassVar[str] = "calculate_health_score"

    client_id: str
    status: str  # live or churned (the score is frozen at the last day)
    customer: CustomerCard
    calculation_timestamp: str
    scoring_model: str
    component_weights: dict[str, float]
    current_health_score: int | None
    band: str | None
    band_edges: tuple[float, float, float]
    possible_range: Range
    ramping: bool
    caps: list[str]
    health_trend: str | None
    trend: Trend
    score_change: int | None
    component_scores: ComponentScores
    components: list[ComponentDetail]
    health_metrics: HealthMetrics
    risk_level: str | None
    risk_threshold: float
    risk_indicators: list[str]
    risk_indicators_detail: list[Fired]
    churn_prediction: ChurnPrediction | None
    historical_scores: list[HistoricalScore]
    predicted_scores: list[PredictedScore] | None
    forecast: Forecast | None
    change_explanation: ChangeExplanation
    contributing_factors: Factors
    improvement_opportunities: list[Opportunity]
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]
    alerts: list[Fired]
    marks: list[Mark]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import health

        return {
            "history": health.history(
                self.frame("history"),
                self.frame("forecast"),
                self.frame("marks"),
                width,
                self.band_edges,
            ),
            "change": health.change(self.frame("change"), width),
            "components": health.components(self.frame("metrics"), width, self.band_edges),
            "outlook": health.outlook(self.frame("churn"), width),
        }

    def verdict(self) -> str:
        if self.current_health_score is None:
            return f"{self.customer.name}: no score, {round(100 * (self.coverage or 0))} % of the inputs are known"
        text = (
            f"{self.customer.name}: {self.current_health_score}, {(self.band or '').replace('_', ' ')}, "
            + self._moved()
        )
        if self.status == "churned":
            return text + "; churned, frozen at its last day"
        if self.customer.days_to_renewal is not None and self.customer.days_to_renewal >= 0:
            text += f"; renewal in {self.customer.days_to_renewal} days"
        todo = len(self.recommended_actions)
        return text + (f"; {todo} thing{'s' if todo > 1 else ''} to do" if todo else "")

    def _moved(self) -> str:
        if self.score_change is None:
            return "no earlier score to compare with"
        window = (self.change_explanation.to_date - self.change_explanation.from_date).days
        direction = "up" if self.score_change > 0 else "down"
        moved = f"{direction} {abs(self.score_change)}" if self.score_change else "unchanged"
        return f"{moved} in {window} days"

    def summary(self) -> dict[str, Any]:
        spread, known = self.possible_range, round(100 * (self.coverage or 0))
        return {
            "Score": "withheld"
            if self.current_health_score is None
            else f"{self.current_health_score} ({self.band})",
            "Possible range": f"{spread.lower:.0f} to {spread.upper:.0f}, {known} % of inputs known",
            "Trend": self.health_trend or "too few weeks to tell",
            "Risk level": self.risk_level or "unknown",
            "Things to do": "; ".join(self.recommended_actions) or "none",
        }


class PortfolioHealth(Result):
    """What the portfolio report of calculate_health_score needs; its frames are:

    customers: client_id, name, score, band, change, trend, risk_level, reason, arr, currency, at_stake,
    at_stake_basis, tier, stage, plan, industry, csm_id, renewal_on, days_to_renewal, coverage, lower, upper, status
    (a row a live customer, most at stake first); movers: client_id, name, change, score, arr, currency, direction,
    reason; disagreements: client_id, name, score, arr, currency, arr_change, kind, reason; bands: date, band,
    customers, arr; distribution: low, high, band, customers, arr; coverage: component, metric, label, weight,
    measured_share, measured, customers.
    """

    tool: ClassVar[str] = "calculate_health_score"

    total_customers: int
    excluded: dict[str, int]
    scored_customers: int
    currency: str | None
    total_arr: float | None
    total_arr_by_currency: dict[str, float]
    average_score: float | None
    average_change: float | None
    bands: dict[str, int]
    band_edges: tuple[float, float, float]
    arr_by_band: dict[str, float]
    at_risk_customers: int
    at_risk_arr: float | None
    at_stake: float | None
    at_stake_basis: str
    leaving_model: str | None = None  # what the gate of the churn model said
    lookback_period_days: int
    risk_threshold: float
    customers: list[dict[str, Any]]
    movers_up: list[dict[str, Any]]
    movers_down: list[dict[str, Any]]
    disagreements: list[dict[str, Any]]
    input_coverage: list[dict[str, Any]]
    alerts: list[Fired]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import health_portfolio as charts

        return {
            "attention": charts.attention(self.frame("customers"), width),
            "movers": charts.movers(self.frame("movers"), width),
            "distribution": charts.distribution(self.frame("distribution"), width),
            "bands": charts.bands_over_time(self.frame("bands"), width),
            "disagreements": charts.disagreements(
                self.frame("disagreements"), width, self.band_edges
            ),
            "coverage": charts.coverage(self.frame("coverage"), width),
        }

    def verdict(self) -> str:
        if not self.total_customers:
            return "The portfolio has no live customers"
        score = (
            "no score yet"
            if self.average_score is None
            else f"average score {self.average_score:.0f}"
        )
        return (
            f"{self.total_customers} customers, {score}; {self.at_risk_customers} below {self.risk_threshold:.0f}"
            + (
                f" with {self.currency or ''} {self.at_risk_arr:,.0f} ARR"
                if self.at_risk_arr
                else ""
            )
        )

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.total_customers,
            "Scored": self.scored_customers,
            "Bands": self.bands,
            "Below the threshold": self.at_risk_customers,
            "ARR below it": self.at_risk_arr,
        }
