"""The churn model: horizon, leads, what it needs to be tried, how its gate decides."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


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
