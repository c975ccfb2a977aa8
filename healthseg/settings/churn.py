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
    # too late to act on: losses within them teach nothing
    churn_lead_days: Annotated[int, Field(ge=0, le=90)] = 0
    # of a probability: "confidence" is the chance that the customer's own lies this close to the estimate
    churn_confidence_tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    # churned customers under which a model is not even tried
    churn_min_churned: Annotated[int, Field(ge=2)] = 10
    # of the held-out AUC: 1 % of portfolios without signal pass
    churn_gate_z: Annotated[float, Field(ge=0)] = 2.33
    # a boosted model has some hundred splits to choose: vendors of such models require 200 to 580 churned customers
    churn_boosting_min_churned: Annotated[int, Field(ge=50)] = 500
    # the later part of the dates, on which candidates are compared, and by how many standard errors of the
    # log score the more complex one must win
    churn_comparison_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    churn_comparison_z: Annotated[float, Field(ge=0)] = 1.0
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
