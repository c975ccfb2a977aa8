"""The results of calculate_health_score, for a customer and for the portfolio."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import Field, computed_field

from healthseg import rules
from healthseg.charts import formats
from healthseg.rules import counted
from healthseg.tools.base import Figure, Interval, Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction
from healthseg.tools.revenue import ScoresBeforeChurn

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture
    from healthseg.tools.context import CustomerContext

STEP_COLUMNS = [
    "kind",
    "label",
    "points",
    "start",
    "end",
    "value_then",
    "value_now",
    "unit",
    "metric",
]


# reasons that a verdict gives, and risks that it says in other words
REASONS_SAID = 2
SAID = ("notice_given", "renewal_near")


class ComponentScores(Part):
    """The components' scores, 0 to 100."""

    usage_score: int | None = Field(description="Usage, 0 to 100")
    engagement_score: int | None = Field(description="Engagement, 0 to 100")
    support_score: int | None = Field(description="Support, 0 to 100")
    satisfaction_score: int | None = Field(description="Satisfaction, 0 to 100")
    payment_score: int | None = Field(description="Payment, 0 to 100")


class MetricDetail(Part):
    """A metric of the scorecard with its points."""

    metric: str = Field(description="Name in the catalogue")
    label: str = Field(description="Label")
    value: float | None = Field(description="Value as scored, in its unit")
    unit: str = Field(description="Unit of the value")
    points: float | None = Field(description="Points, 0 to 100")
    weight: float = Field(description="Configured share of the whole score")
    effective_weight: float = Field(description="Share of this score, after missing inputs")
    target: float | None = Field(default=None, description="Value that reaches full points")
    missing_reason: str | None = Field(default=None, description="Why it is not measured")

    @computed_field(description="The same as metric: its name before 0.1.0")
    def measure(self) -> str:
        return self.metric


class ComponentDetail(Part):
    """A component of the score with its metrics."""

    component: str = Field(description="Name")
    score: int | None = Field(description="Score, 0 to 100")
    weight: float = Field(description="Configured share of the whole score")
    coverage: float = Field(description="Share of its weight that is measured")
    metrics: list[MetricDetail] = Field(description="Its metrics")


class HealthMetrics(Part):
    """The reference's raw figures beside the score."""

    weekly_active_users: int | None = Field(description="Distinct users of the last 7 days")
    feature_adoption_rate: float | None = Field(
        description="Share of entitled features adopted in 30 days"
    )
    support_ticket_count: int | None = Field(description="Tickets opened in the look-back")
    open_tickets: int | None = Field(description="Tickets open now")
    nps_score: int | None = Field(description="NPS of 365 days, −100 to 100")
    nps_respondents: int | None = Field(description="Respondents")
    payment_status: str | None = Field(description="current, due or overdue")
    days_overdue: int | None = Field(description="Days the oldest open invoice is overdue")


class Trend(Part):
    """The trend of the weekly scores."""

    slope_per_week: float | None = Field(description="Points a week (Theil–Sen)")
    interval: Interval | None = Field(description="Interval of the slope")
    interval_level: float = Field(description="Level of the interval")
    weeks: int = Field(description="Weekly scores in the window")
    window_days: int = Field(description="Days of the window")


class ChurnFactor(Part):
    """A driver of the odds of churn, against the average customer-month."""

    text: str = Field(description="The driver in words")
    label: str = Field(description="Label of the metric")
    metric: str = Field(description="Name in the catalogue")
    unit: str = Field(description="Unit of the value")
    value: float | None = Field(description="The customer's value")
    usual: float | None = Field(description="Median of the rows that the model learnt from")
    log_odds: float = Field(description="Change of the log odds of churn")
    sd: float = Field(description="Standard deviation of the change")
    odds_ratio: float = Field(description="Change of the odds, as a factor")
    metrics: list[str] = Field(description="Metrics that are too correlated to separate")


class ChurnGate(Part):
    """Whether the portfolio carries a model of single customers, and the held-out figures behind it."""

    eligible: bool = Field(description="Whether the model is used")
    reason: str = Field(description="Why, with figures")
    churned: int = Field(description="Churned customers learnt from")
    customer_months: int = Field(description="Customer-months learnt from")
    auc: float | None = Field(description="Held-out AUC")
    z: float | None = Field(description="AUC above one half, in standard errors")
    z_needed: float | None = Field(
        description="The z from which on there is a model, at any number of monthly looks"
    )
    skill: float | None = Field(description="1 − log score ÷ that of the base rate")
    median_interval_width: float | None = Field(description="Median width of the plausible ranges")
    trained_until: dt.date = Field(description="Last day the model knows")


class ChurnPrediction(Part):
    """How likely the customer churns."""

    churn_probability: float | None = Field(description="Probability within the horizon")
    churn_risk_level: str | None = Field(
        description="low, medium, high or critical, against the base rate"
    )
    confidence: float | None = Field(
        description="Probability that the outcome lies within the tolerance"
    )
    key_risk_factors: list[str] | None = Field(description="What raises the odds")
    protective_factors: list[str] | None = Field(description="What lowers the odds")
    method: str = Field(description="Model or base rate")
    reason: str = Field(description="What the probability rests on")
    horizon_days: int = Field(description="Days ahead")
    interval_level: float = Field(description="Level of the intervals")
    base_rate_interval: Interval | None = Field(description="Uncertainty of the base rate")
    plausible_range: Interval | None = Field(description="Range of a single customer's probability")
    by_horizon: list[dict[str, Any]] = Field(description="The same by horizon")
    customers_at_risk: int | None = Field(description="Customers behind the base rate")
    churned: int | None = Field(description="Churned customers behind the base rate")
    base_rate: float | None = Field(
        default=None, description="The tier's rate, beside a model's probability"
    )
    gate: ChurnGate | None = Field(default=None, description="What decided on the model")
    key_risk_factors_detail: list[ChurnFactor] | None = Field(
        default=None, description="Figures behind"
    )
    protective_factors_detail: list[ChurnFactor] | None = Field(
        default=None, description="Figures behind"
    )


class HistoricalScore(Part):
    """A past score by today's rules."""

    date: dt.date = Field(description="Day")
    score: int | None = Field(description="Score; null where withheld")
    coverage: float = Field(description="Share of the inputs that are measured")
    note: str | None = Field(default=None, description="Which inputs are today's")


class PredictedScore(Part):
    """The forecast score of a day."""

    date: dt.date = Field(description="Day")
    predicted_score: int = Field(description="Forecast score")
    confidence: float | None = Field(
        description="Probability of being off by at most 5 points, back-tested"
    )
    lower: int = Field(description="Lower end")
    upper: int = Field(description="Upper end")


class Forecast(Part):
    """How the score is forecast, and how well that did in the past."""

    method: str = Field(
        description="Method; no change where past forecasts were no better than that"
    )
    reason: str | None = Field(description="Why there is no forecast")
    interval_level: float = Field(description="Level of the intervals")
    origins: int = Field(description="Past forecasts behind the errors")
    mean_absolute_error: float | None = Field(description="Back-tested error, points")
    naive_mean_absolute_error: float | None = Field(description="The same of no change, points")
    interval_coverage: float | None = Field(description="Share of outcomes within the intervals")


class ChangePart(Part):
    """One part of the score's change."""

    kind: str = Field(
        description="configuration, newly_missing, data, newly_known, cap, ramp or rounding"
    )
    metric: str | None = Field(description="Metric; null where none")
    label: str = Field(description="Label")
    points: float = Field(description="Points of the score")
    value_then: float | None = Field(default=None, description="Value then")
    value_now: float | None = Field(default=None, description="Value now")
    unit: str | None = Field(default=None, description="Unit of the values")


class ChangeExplanation(Part):
    """Why the score changed: parts that add up to the change."""

    from_date: dt.date = Field(description="Then")
    to_date: dt.date = Field(description="Now")
    score_then: int | None = Field(description="Score then, by the rules in force then")
    score_now: int | None = Field(description="Score now")
    change: int | None = Field(description="Points")
    parts: list[ChangePart] = Field(description="Parts; their points add up to the change")
    reason: str | None = Field(default=None, description="Why there is no change to explain")

    def waterfall(self) -> pd.DataFrame:
        """The change as steps: from the score then, part by part, to the score now."""
        if self.change is None or self.score_then is None or self.score_now is None:
            return pd.DataFrame(columns=STEP_COLUMNS)
        first, last = float(self.score_then), float(self.score_now)
        ends = np.round(first + np.cumsum([part.points for part in self.parts]), 1)
        steps = [
            {**part.model_dump(), "start": round(end - part.points, 1), "end": end}
            for part, end in zip(self.parts, ends, strict=True)
        ]

        def edge(kind: str, date: dt.date, score: float) -> dict[str, Any]:
            return {"kind": kind, "label": str(date), "points": score, "start": 0.0, "end": score}

        rows = [edge("from", self.from_date, first), *steps, edge("to", self.to_date, last)]
        return pd.DataFrame(rows, columns=STEP_COLUMNS)


class Factor(Part):
    """A metric that holds the score up or pulls it down."""

    text: str = Field(description="In words")
    metric: str = Field(description="Name in the catalogue")
    value: float | None = Field(description="Value")
    unit: str = Field(description="Unit of the value")
    points: float | None = Field(description="Points, 0 to 100")
    effect: float = Field(description="Points of the score, against the reference in the text")


class Factors(Part):
    """What holds the score up and what pulls it down."""

    positive: list[str] = Field(description="In words, strongest first")
    negative: list[str] = Field(description="In words, strongest first")
    positive_detail: list[Factor] = Field(description="Figures behind")
    negative_detail: list[Factor] = Field(description="Figures behind")


class Opportunity(Part):
    """A step that peers show to be within reach."""

    area: str = Field(description="Area")
    current_state: str = Field(description="Where the customer is")
    target_state: str = Field(description="Where a quarter of the peers are")
    impact: str = Field(description="Points of the score, in words")
    effort: str | None = Field(description="low, medium or high")
    metric: str = Field(description="Name in the catalogue")
    current_value: float = Field(description="Value now")
    target_value: float = Field(description="Target")
    points: float = Field(description="Points of the score")


class ReportedArr(Part):
    """A customer's ARR as the portfolio adds it up: in its currency, where the contract has another."""

    arr: float = Field(description="ARR at the rates of as_of")
    currency: str | None = Field(description="The currency of the portfolio's amounts")

    @classmethod
    def of(cls, context: CustomerContext) -> Self | Figure:
        arr, currency = context.reported_arr
        why = "no ARR is known, or no rate to the portfolio's currency"
        return Figure(None, why) if arr is None else cls(arr=round(arr, 2), currency=currency)


class CustomerCard(Part):
    """Who the customer is."""

    name: str = Field(description="Name")
    industry: str | None = Field(description="Industry")
    region: str | None = Field(description="Region")
    tier: str | None = Field(description="Value tier")
    plan: str | None = Field(description="Plan")
    stage: str | None = Field(description="Lifecycle stage")
    arr: float | None = Field(description="Annual recurring revenue")
    currency: str | None = Field(description="Currency of the ARR")
    reported: ReportedArr | None = Field(
        default=None, description="The ARR in the portfolio's currency"
    )
    seats: int | None = Field(description="Seats")
    renewal_on: dt.date | None = Field(description="Day of renewal")
    days_to_renewal: int | None = Field(description="Days to renewal; null of a churned customer")
    tenure_days: int = Field(description="Days since signup")
    csm_id: str | None = Field(description="Manager")
    timezone: str = Field(description="IANA time zone")


class HistoryMark(Part):
    """An event on the time axis."""

    date: dt.date = Field(description="Day")
    kind: str = Field(description="calendar, configuration, stage or notice")
    label: str = Field(description="Label")


class HealthScore(Result):
    """calculate_health_score's result for one customer.

    Frames: history: date, score, shown, coverage, lower, upper, note; forecast: date, forecast,
    lower, upper, method; change: the waterfall's steps; metrics: a row a metric of the scorecard;
    churn: horizon_days, probability, lower, upper, kind; marks: date, kind, label.
    """

    tool: ClassVar[str] = "calculate_health_score"

    client_id: str = Field(description="Customer identifier")
    status: str = Field(description="live, or churned: the score is that of the last day")
    customer: CustomerCard = Field(description="Who the customer is")
    calculation_timestamp: str = Field(description="End of as_of as a UTC instant")
    scoring_model: str = Field(description="Which score")
    component_weights: dict[str, float] = Field(description="Weights in force; they sum to 1")
    current_health_score: int | None = Field(description="Score, 0 to 100; null where withheld")
    band: str | None = Field(description="critical, at_risk, healthy or champion")
    provisional: bool = Field(description="Whether the customer is too new for a score")
    band_edges: tuple[float, float, float] = Field(
        description="Lower ends of the upper three bands"
    )
    possible_range: Interval = Field(
        description="Lowest and highest score that missing inputs allow"
    )
    ramping: bool = Field(description="Whether anchors are still scaled to the customer's tenure")
    caps: list[str] = Field(description="What caps the score")
    uncapped_score: int | None = Field(description="The score without its caps")
    health_trend: str | None = Field(description="improving, declining or stable")
    trend: Trend = Field(description="Figures behind health_trend")
    score_change: int | None = Field(description="Points in the look-back")
    component_scores: ComponentScores = Field(description="The components' scores")
    components: list[ComponentDetail] = Field(description="Components with their metrics")
    health_metrics: HealthMetrics = Field(description="Raw figures beside the score")
    risk_level: str | None = Field(description="low, medium, high or critical")
    risk_threshold: float = Field(description="A score below it is a risk")
    risk_indicators: list[str] = Field(description="Risks, most severe first")
    risk_indicators_detail: list[TriggeredRule] = Field(description="The rules behind them")
    churn_prediction: ChurnPrediction | None = Field(description="How likely the customer churns")
    historical_scores: list[HistoricalScore] = Field(description="Weekly scores of the look-back")
    predicted_scores: list[PredictedScore] | None = Field(
        description="Scores in 30, 60 and 90 days"
    )
    forecast: Forecast | None = Field(description="How the score is forecast")
    change_explanation: ChangeExplanation = Field(description="Why the score changed")
    contributing_factors: Factors = Field(description="What holds it up, what pulls it down")
    improvement_opportunities: list[Opportunity] = Field(description="Steps within reach")
    recommended_actions: list[str] = Field(description="Recommendations, most severe first")
    recommended_actions_detail: list[TriggeredRule] = Field(description="The rules behind them")
    next_actions: list[NextAction] = Field(
        description="The same with owner, due date, reason, ARR and what the history says of them"
    )
    alerts: list[TriggeredRule] = Field(description="Alerts that hold")
    marks: list[HistoryMark] = Field(description="Events on the time axis")

    @property
    def gave_notice(self) -> bool:
        """Whether notice was given: the contract's end is known, and nothing of it is forecast."""
        return any(item.override == "notice_given" for item in self.overrides.held)

    @property
    def ends(self) -> bool:
        """Whether the customer has churned or gave notice: nothing is forecast of it."""
        return self.gave_notice or self.status == "churned"

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import health, timeline

        history, forecast, marks = (self.frame(name) for name in ("history", "forecast", "marks"))
        forecast = forecast.iloc[:0] if self.ends else forecast
        return {
            "history": timeline.history(history, forecast, marks, self.band_edges),
            "change": health.change(self.frame("change")),
            "components": health.components(self.frame("metrics"), self.band_edges),
            "outlook": health.outlook(self.frame("churn")),
        }

    def verdict(self) -> str:
        name, known = self.customer.name, round(100 * (self.coverage or 0))
        if self.provisional:
            text = f"{name}: new, {rules.counted(self.customer.tenure_days, 'day')} since signup, and without a score yet"
        elif self.current_health_score is None:
            reason = self.not_measured.get("$.current_health_score", "").partition("; ")[2]
            text = f"{name}: no score, {known}% of the inputs are known"
            text += f"; {reason}" if reason else ""
        else:
            band = (self.band or "").replace("_", " ")
            text = f"{name}: {self.current_health_score}, {band}, {self._moved()}"
        if self.status == "churned":
            last, free = self.current_health_score, self.uncapped_score
            text = f"{name}: churned; {'no score' if last is None else f'score {last}'} on its last day"
            return text if free in (None, last) else f"{text}, {free} without the notice"
        decisive = [item.text for item in self.overrides.held if item.decides_risk]
        if decisive:
            score = f"score {self.current_health_score or 'withheld'}"
            if self.uncapped_score != self.current_health_score:
                score += f", {self.uncapped_score} without it"
            text = f"{name}: {'; '.join(decisive)}; {score}"
        return rules.joined([text, *self._reasons(), *self._money(bool(decisive))])

    def _reasons(self) -> list[str]:
        """The first risks; below Champion also what costs the score most."""
        risks = [rule for rule in self.risk_indicators_detail if rule.rule not in SAID]
        texts, metrics = (
            [rule.text for rule in risks],
            {name for rule in risks for name in rule.figures},
        )
        if self.current_health_score is not None and self.band != "champion":
            costly = self.contributing_factors.negative_detail
            texts += [factor.text for factor in costly if factor.metric not in metrics]
        return texts[:REASONS_SAID]

    def _money(self, ends: bool) -> list[str]:
        """What is paid, and when it renews or, after a notice, ends."""
        days, on = self.customer.days_to_renewal, self.customer.renewal_on
        paid, money = "", self.customer.reported or self.customer
        if money.arr:
            paid = f"{formats.brief_money(money.arr, money.currency)} ARR"
        if days is None or days < 0 or on is None:
            return [paid] if paid else []
        when = f"on {formats.day(on)}, in {rules.counted(days, 'day')}"
        if not paid:
            return [f"renewal {when}"]
        return [f"{paid} {'ends' if ends and self.gave_notice else 'renews'} {when}"]

    def _moved(self) -> str:
        if self.score_change is None:
            return "no earlier score to compare with"
        window = (self.change_explanation.to_date - self.change_explanation.from_date).days
        direction = "up" if self.score_change > 0 else "down"
        moved = f"{direction} {abs(self.score_change)}" if self.score_change else "unchanged"
        return f"{moved} in {window} days"

    def summary(self) -> dict[str, Any]:
        possible, known = self.possible_range, round(100 * (self.coverage or 0))
        score = self.current_health_score
        return {
            "Score": "withheld" if score is None else f"{score} ({self.band})",
            "Possible range": f"{possible.lower:.0f} to {possible.upper:.0f}, {known}% of inputs known",
            "Trend": self.health_trend or "too few weeks to tell",
            "Risk level": self.risk_level or "unknown",
            "Recommendations": "; ".join(self.recommended_actions) or "none",
        }


class PortfolioHealth(Result):
    """The health of all live customers. Frames:

    customers: client_id, name, score, band, change, trend, risk_level, reason, arr, currency,
    at_stake, at_stake_basis, tier, stage, plan, industry, csm_id, renewal_on, days_to_renewal,
    coverage, lower, upper, status, (a row a live customer, largest expected loss first); movers:
    client_id, name, change, score, arr, currency, direction, reason; disagreements: client_id,
    name, score, arr, currency, arr_change, kind, reason; bands: date, band, customers, arr;
    distribution: low, high, band, customers, arr; coverage: component, metric, label, weight,
    measured_share, measured, customers; what_if: what other weights need, a row a customer;
    weights: component, weight, customers.
    """

    tool: ClassVar[str] = "calculate_health_score"

    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    scored_customers: int = Field(description="Customers with a score")
    provisional_customers: int = Field(default=0, description="Customers too new for a score")
    currency: str | None = Field(
        description="Currency of amounts; null where they can't be added up"
    )
    total_arr: float | None = Field(description="ARR of the live customers")
    total_arr_by_currency: dict[str, float] = Field(description="ARR by currency")
    average_score: float | None = Field(description="Mean score")
    average_change: float | None = Field(description="Mean change in the look-back, points")
    bands: dict[str, int] = Field(description="Customers by band")
    band_edges: tuple[float, float, float] = Field(
        description="Lower ends of the upper three bands"
    )
    arr_by_band: dict[str, float] = Field(description="ARR by band")
    at_risk_customers: int = Field(description="Customers below the threshold")
    at_risk_arr: float | None = Field(description="ARR below the threshold")
    at_stake: float | None = Field(description="Expected churned ARR (see at_stake_basis)")
    at_stake_basis: str = Field(description="How at_stake is computed")
    leaving_model: str | None = Field(default=None, description="What the churn model's gate said")
    lookback_period_days: int = Field(description="Days of the changes")
    risk_threshold: float = Field(description="A score below it is a risk")
    customers: list[dict[str, Any]] = Field(description="Each live customer")
    churned_lately: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Customers that churned in the look-back, the latest first",
    )
    movers_up: list[dict[str, Any]] = Field(description="Largest rises")
    movers_down: list[dict[str, Any]] = Field(description="Largest falls")
    disagreements: list[dict[str, Any]] = Field(description="Where score and money disagree")
    input_coverage: list[dict[str, Any]] = Field(description="Customers with each input known")
    next_actions: list[NextAction] = Field(default_factory=list, description="What is urgent")
    portfolio_actions: list[TriggeredRule] = Field(default_factory=list, description="For several")
    scores_before_churn: ScoresBeforeChurn | None = Field(
        default=None, description="How the year's churned customers scored a quarter before"
    )
    alerts: list[TriggeredRule] = Field(description="Alerts that hold, by customer")

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import health as charts

        edges = self.band_edges
        return {
            "attention": charts.attention(self.frame("customers")),
            "movers": charts.movers(self.frame("movers")),
            "distribution": charts.distribution(self.frame("distribution")),
            "bands": charts.bands_over_time(self.frame("bands")),
            "disagreements": charts.disagreements(self.frame("disagreements"), edges),
            "coverage": charts.coverage(self.frame("coverage")),
        }

    def verdict(self) -> str:
        from healthseg.tools.health.words import expected_loss, newly_below

        if not self.total_customers:
            return "The portfolio has no live customers"
        customers, average = counted(self.total_customers, "customer"), self.average_score
        if average is None:
            known = formats.amounts(self.total_arr_by_currency)
            return f"{customers}{f' with {known} ARR' if known else ''}, no score yet"
        below = f"{self.at_risk_customers} below {self.risk_threshold:.0f}"
        if self.at_risk_arr:
            below += f" with {formats.brief_money(self.at_risk_arr, self.currency)} ARR"
        after = newly_below(self.customers, self.risk_threshold, self.lookback_period_days)
        after += expected_loss(self.at_stake, self.currency, self.at_stake_basis)
        return f"{customers}, average score {average:.0f}; {below}{after}"

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.total_customers,
            "Scored": self.scored_customers,
            "Bands": self.bands,
            "Below the threshold": self.at_risk_customers,
            "ARR below it": self.at_risk_arr,
        }
