"""The health score: scorecards, coverage, ramp, caps, bands, peers, trend; how it is held against churn.

The churn model, and the next actions that follow from a score.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from healthseg import rules as engine
from healthseg.settings.base import Frozen
from healthseg.settings.scorecard import (
    COMPONENTS,
    DEFAULT_SCORECARD,
    Component,
    Scorecard,
    Variant,
    merged_card,
)

RiskLevel = Literal["low", "medium", "high", "critical"]


class Override(Frozen):
    """A condition on a metric of the panel (``at_least`` or ``below``), and what it does where it holds.

    ``text`` is the verdict in words over ``{value}`` and ``{on}`` (the day that lies ``value`` days back).
    """

    metric: str
    at_least: float | None = None
    below: float | None = None
    # the score is at most this
    cap: Annotated[float, Field(ge=0, le=100)] | None = None
    # a customer below the limit is too new: it has no score, and its possible range narrows on the way to the limit
    provisional: bool = False
    # the risk level, whatever the score
    risk_level: RiskLevel | None = None
    text: str
    # what portfolio pages say of the customers, after their number; without it they say nothing
    of_many: str | None = None
    # a missing value may hide that it holds, so the lowest possible score allows for the cap
    unknown_may_hold: bool = False

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if (self.at_least is None) == (self.below is None):
            raise ValueError("an override has at_least or below, one of them")
        if self.provisional and not (self.below or 0) > 0:
            raise ValueError("a provisional override has a limit below, above 0")
        return self


# the first that holds is the verdict
DEFAULT_OVERRIDES: Mapping[str, Override] = MappingProxyType(
    {
        # notice is a decision: no usage makes up for it, so the score ends just below the band At Risk
        "notice_given": Override(
            metric="days_since_notice",
            at_least=0,
            cap=39,
            risk_level="critical",
            text="Notice given {on}",
            of_many="gave notice",
        ),
        # two months late is a decision, so the score ends just below the band Healthy
        "long_overdue": Override(
            metric="worst_days_overdue",
            at_least=60,
            cap=59,
            text="An invoice is {value:n day} overdue",
            unknown_may_hold=True,
        ),
        # since signup: the windows of 28 and 30 days fill twice, and the days of setting up leave them
        "provisional": Override(
            metric="tenure_days",
            below=60,
            provisional=True,
            text="Provisional: {value:n day} since signup",
            of_many="too new for a score",
        ),
    }
)


def merged_overrides(stated: Any) -> Any:
    """A team's overrides over the usual ones: fields by name, None removes one, a new name comes last."""
    if not isinstance(stated, Mapping):
        return stated
    usual = {name: override.model_dump() for name, override in DEFAULT_OVERRIDES.items()}
    for name, value in stated.items():
        fields = value.model_dump() if isinstance(value, Override) else value
        known = isinstance(fields, Mapping) and name in usual
        usual[name] = {**usual[name], **fields} if known else fields
    return {name: fields for name, fields in usual.items() if fields is not None}


Share = Annotated[float, Field(gt=0, lt=1)]


class ScoringSettings(Frozen):
    """The health score: scorecards, coverage, ramp, caps, bands, peers, trend; how it is held against churn."""

    scorecard: Scorecard = DEFAULT_SCORECARD
    scorecard_variants: tuple[Variant, ...] = ()
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.30
    ramp_days: Annotated[int, Field(ge=0)] = 90
    overrides: dict[str, Override] = Field(default_factory=lambda: dict(DEFAULT_OVERRIDES))
    # customers that a sentence about overrides names
    overrides_named: Annotated[int, Field(ge=1)] = 5
    band_edges: tuple[float, float, float] = (40.0, 60.0, 80.0)
    peers_min: Annotated[int, Field(ge=2)] = 8
    # a step that earns more points than three quarters of the peers have is out of reach
    opportunity_peers_share: Share = 0.75
    # twelve weeks: under it weekly scores cannot tell a drift from their noise
    trend_min_days: Annotated[int, Field(ge=7)] = 84
    trend_min_scores: Annotated[int, Field(ge=3)] = 6
    # windows of 28 and 30 days share data for four weeks, those of 90 and more for longer
    trend_overlap_weeks: Annotated[int, Field(ge=1)] = 5
    # weekly scores of a year's look-back and of the day itself: 53
    score_history_days: Annotated[int, Field(ge=7)] = 371
    # the change of a score that no response names a look-back for: a month's
    score_lookback_days: Annotated[int, Field(ge=7)] = 30
    # half the width of a band within a month is an event in a customer's year; less is the noise of its weeks
    notable_score_change: Annotated[float, Field(gt=0)] = 10.0
    # an invoice as late is past any term of payment
    notable_days_late: Annotated[int, Field(ge=1)] = 30
    # ARR is compared with that of a quarter ago
    arr_comparison_days: Annotated[int, Field(ge=1)] = 90
    # a smaller change of ARR is a rounding or an index, not a customer's decision
    min_arr_change_share: Share = 0.01
    # between the levels of risk, as wide as the band below the highest
    risk_step_points: Annotated[float, Field(gt=0, lt=100)] = 20
    # forecasts of scores: the farthest is 90 days ahead; off by a quarter of a band's width is close enough
    score_forecast_weeks: Annotated[int, Field(ge=13)] = 13
    score_forecast_tolerance_points: Annotated[float, Field(gt=0)] = 5.0
    # past forecasts are checked on a fixed sample of customers, each with as many weeks as a forecast learns from
    score_backtest_customers: Annotated[int, Field(ge=1)] = 40
    score_backtest_min_weeks: Annotated[int, Field(ge=2)] = 30
    # ml_predictive: points by the odds of churn relative to the portfolio's base rate, linear in their log
    predictive_horizon_days: Annotated[int, Field(ge=1, le=365)] = 90
    predictive_odds_ratios: tuple[float, float, float, float] = (0.5, 1.0, 3.0, 10.0)
    predictive_points: tuple[float, float, float, float] = (82.0, 70.0, 45.0, 20.0)
    # an explanation names metrics that moved the ml_predictive score by a twentieth of a point
    predictive_min_points: Annotated[float, Field(ge=0)] = 0.05
    # factors of the model's score: less is not seen in the shown score, and more of a kind are not read
    score_factor_min_points: Annotated[float, Field(ge=0)] = 0.5
    score_max_factors: Annotated[int, Field(ge=1)] = 6
    # customers whose scores rose, and fell, the most
    score_max_movers: Annotated[int, Field(ge=1)] = 10
    # the report card: bootstrap draws, accounts that a team can look after at once, the score of an alarm
    report_card_draws: Annotated[int, Field(ge=20, le=10_000)] = 200
    report_card_accounts: Annotated[int, Field(ge=1)] = 20
    report_card_threshold: Annotated[float, Field(ge=0, le=100)] = 60.0
    # churned customers under which a rate of them says nothing
    report_card_min_churned: Annotated[int, Field(ge=1)] = 5
    # hours for nearly all customers select nobody
    report_card_max_reach: Share = 0.9
    # hours a month of a tier that tier_hours_per_month does not name
    report_card_other_hours: Annotated[float, Field(gt=0)] = 4.0
    # weights are learnt on the earlier dates and judged on the rest; today's count as so many churned customers
    weights_training_share: Share = 0.6
    weights_prior_churned: Annotated[float, Field(gt=0)] = 20.0
    # ranks under other settings: each weight and each anchor is multiplied by up to 1 ± this
    ranks_weight_change: Share = 0.5
    ranks_anchor_change: Share = 0.2
    # share of the draws among the riskiest from which on that is "always", "sometimes"
    ranks_always_share: Share = 0.9
    ranks_sometimes_share: Share = 0.1

    @model_validator(mode="before")
    @classmethod
    def _over_the_usual_scorecard(cls, values: Any) -> Any:
        """What is stated of the scorecard over the usual one, and of each variant over the scorecard."""
        if not isinstance(values, Mapping):
            return values
        merged = dict(values)
        card = values.get("scorecard", DEFAULT_SCORECARD)
        if isinstance(card, Mapping) and not card.get("only_these"):
            card = merged["scorecard"] = merged_card(DEFAULT_SCORECARD.model_dump(), card)
        usual = card.model_dump() if isinstance(card, BaseModel) else card
        variants = values.get("scorecard_variants", ())
        if isinstance(variants, list | tuple) and isinstance(usual, Mapping):
            merged["scorecard_variants"] = tuple(
                merged_card(usual, variant)
                if isinstance(variant, Mapping) and not variant.get("only_these")
                else variant
                for variant in variants
            )
        return merged

    @field_validator("overrides", mode="before")
    @classmethod
    def _beside_the_usual(cls, value: Any) -> Any:
        return merged_overrides(value)

    @field_validator("band_edges")
    @classmethod
    def _bands(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 < values[0] < values[1] < values[2] < 100:
            raise ValueError("band_edges must rise between 0 and 100")
        return values

    @property
    def component_names(self) -> tuple[str, ...]:
        """The components: those of the reference, then a team's own in the order of its scorecards."""
        cards = [self.scorecard.components, *(each.components for each in self.scorecard_variants)]
        return tuple(dict.fromkeys([*COMPONENTS, *(name for card in cards for name in card)]))

    def without_metric(self, metric: str) -> Self:
        """The settings with scorecards that leave out one metric."""

        def stripped(components: dict[str, Component]) -> dict[str, Component]:
            left = {
                name: tuple(scored for scored in component.metrics if scored.metric != metric)
                for name, component in components.items()
            }
            return {
                name: components[name].model_copy(update={"metrics": metrics})
                for name, metrics in left.items()
                if metrics
            }

        card = Scorecard(components=stripped(self.scorecard.components))
        variants = tuple(
            variant.model_copy(update={"components": stripped(variant.components)})
            for variant in self.scorecard_variants
        )
        return self.model_copy(update={"scorecard": card, "scorecard_variants": variants})


class ChurnSettings(Frozen):
    """The churn model: horizon, leads, what it needs to be tried, how its gate decides."""

    churn_horizon_days: Annotated[int, Field(ge=1, le=365)] = 90
    # sd of the log odds of churn between customers of one tier, where no model estimates it: a perfect model of such
    # a spread has an AUC of 0.76, what churn models of subscriptions commonly reach
    churn_spread_log_odds: Annotated[float, Field(gt=0, le=3)] = 1.0
    # sd of the log odds between customers that a model cannot tell apart: what nothing measured shows
    churn_unobserved_log_odds: Annotated[float, Field(ge=0, le=3)] = 0.45
    # too late to act on: losses within them teach nothing
    churn_lead_days: Annotated[int, Field(ge=0, le=90)] = 0
    # without a model, "confidence" is the chance that the customer's own probability lies within this factor of the
    # tier's base rate
    churn_confidence_factor: Annotated[float, Field(gt=1, le=10)] = 2.0
    # churned customers under which a model is not even tried
    churn_min_churned: Annotated[int, Field(ge=2)] = 10
    # likelihood ratio against no signal that the gate requires. It bounds the share of portfolios without signal whose
    # gate ever says yes by 4 %; on 24 monthly looks it was 1.0 to 1.6 %, on 48 1.8 % (docs/evidence.md)
    churn_gate_evidence: Annotated[float, Field(gt=1)] = 25.0
    # held-out losses around which the gate requires the least
    churn_gate_tuned_losses: Annotated[float, Field(gt=0)] = 10.0
    # losses from which on a logistic regression without directions and boosted trees are fitted too: fewer teach
    # neither, and their held-out predictions would be noise
    churn_rivals_min_churned: Annotated[int, Field(ge=10)] = 30
    # revenue that is expected of a customer: over a stated time, since hazards that were watched for a year or two say
    # little of later years; discounted at what capital costs a software company
    lifetime_years: Annotated[int, Field(ge=1, le=10)] = 3
    discount_rate: Annotated[float, Field(ge=0, lt=1)] = 0.10
    # a team's own classifier in place of all candidates, by its name: an entry point of the group healthseg.models that
    # is installed, or one that ChurnModel.register made known; empty: the package's candidates
    churn_estimator: str = ""
    # the prior of the directed hazard's share of the log odds is this power of it
    churn_directed_prior: Annotated[float, Field(ge=0)] = 3.0
    # what teaches the model of a held-out date: dates before it, and customers that churned on them
    churn_origin_min_dates: Annotated[int, Field(ge=1)] = 3
    churn_origin_min_churned: Annotated[int, Field(ge=1)] = 5
    churn_max_origins: Annotated[int, Field(ge=1)] = 24  # the last two years of held-out dates
    # held-out losses and dates from which on a longer horizon is no extrapolation
    churn_horizon_min_churned: Annotated[int, Field(ge=1)] = 20
    churn_horizon_min_dates: Annotated[int, Field(ge=1)] = 6
    # a driver is named where 9 of 10 draws have its sign, and where it moves the odds at least so far
    churn_driver_min_sds: Annotated[float, Field(ge=0)] = 1.28
    churn_driver_min_odds_ratio: Annotated[float, Field(ge=1)] = 1.05
    churn_max_drivers: Annotated[int, Field(ge=1)] = 5
    # churn_risk_level is low, medium, high below so many times the portfolio's base rate, else critical
    churn_risk_base_rates: tuple[float, float, float] = (1.0, 2.0, 4.0)
    # absolute correlation from which on metrics are explained as one: apart, their signs are artefacts of each other
    churn_kindred_correlation: Annotated[float, Field(gt=0, lt=1)] = 0.7


Days = Annotated[int, Field(ge=1)]


class ActionSettings(Frozen):
    """Next actions: reviews, records to close, how many a page shows, a team's own rules."""

    # a team's own rules by name, over those of rules/actions.toml: fields by name, false removes one
    next_actions: dict[str, dict[str, Any] | bool] = {}
    # a team's own rules of the tools, over those of rules/<tool>.toml: by tool, kind and name, as in health.alert.few_users
    rules: dict[str, dict[str, dict[str, dict[str, Any] | bool]]] = {}
    # what a manager reads and does on a day
    next_actions_shown: Annotated[int, Field(ge=1)] = 5
    # what is left to do with a customer that gave notice: the answer, the end, and what is open between the two
    topics_after_notice: tuple[str, ...] = ("notice", "exit", "export", "invoice", "tickets")
    # who waits for an urgent ticket is not shown features, and is not asked to buy more
    topics_after_tickets: tuple[str, ...] = ("features", "expansion")
    # renewals so near are closed together: a signature takes two weeks
    closing_days: Days = 14
    # nobody came for half a year: either the users are not linked, or it is no customer any more
    doubtful_days: Days = 180
    # losing a tenth of all ARR with one customer misses any target of retention
    large_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    # what the team decides over many customers: within a week where money is leaving, else with the month's planning
    decision_days: dict[str, Days] = {"critical": 7, "high": 14, "medium": 30, "low": 60}
    # a business review a quarter where a manager has few customers, one a year where many
    review_days: dict[str, Days] = {
        "Enterprise": 90,
        "Corporate": 90,
        "Mid-Market": 180,
        "SMB": 365,
        "Micro": 365,
    }
    # tiers of other names: twice a year
    review_days_otherwise: Days = 180
    review_kinds: tuple[str, ...] = ("executive_review", "business_review", "review", "qbr")
    # an open record half a year late of a customer that did nearly everything (7 of 8) was not maintained
    stale_record_days: Days = 180
    stale_record_completed_share: Annotated[float, Field(gt=0, le=1)] = 0.875
    # the board: targets of net and gross revenue retention over 12 months, as good B2B subscriptions reach them
    nrr_target: Annotated[float, Field(gt=0)] = 1.1
    grr_target: Annotated[float, Field(gt=0)] = 0.9
    # names beside each bar of the ARR bridge, and accounts that a board can follow
    bridge_names: Annotated[int, Field(ge=1)] = 5
    accounts_to_save: Annotated[int, Field(ge=1)] = 10
    # a churned customer's score is shown as it was a quarter before, when it could have been saved
    churned_score_days: Days = 90
    # a year's expected churn is too high, or too low, where it is off by this factor: less is chance, since
    # a few large customers decide the sum
    prediction_off_ratio: Annotated[float, Field(gt=1)] = 1.25

    def decide_by(self, as_of: dt.date) -> dict[str, dt.date]:
        """By when the team decides on an action over many customers, by its severity."""
        return {
            severity: as_of + dt.timedelta(days=days)
            for severity, days in self.decision_days.items()
        }

    @field_validator("rules")
    @classmethod
    def _checked(cls, rules: engine.OwnRules) -> engine.OwnRules:
        return engine.checked(rules)
