"""The health score: scorecards, coverage, ramp, caps, bands, peers, trend; how it is held against churn."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

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
