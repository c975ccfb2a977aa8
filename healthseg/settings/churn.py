"""The churn model: horizon, leads, what it needs to be tried, how its gate decides."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class ChurnSettings(Frozen):
    """The churn model: horizon, leads, what it needs to be tried, how its gate decides."""

    churn_horizon_days: Annotated[int, Field(ge=1, le=365)] = 90
    # sd of the log odds of leaving between customers of one tier, where no model estimates it: a perfect model of such
    # a spread has an AUC of 0.76, what churn models of subscriptions commonly reach
    churn_spread_log_odds: Annotated[float, Field(gt=0, le=3)] = 1.0
    churn_lead_days: Annotated[int, Field(ge=0, le=90)] = (
        0  # too late to act on: losses within them teach nothing
    )
    churn_min_leavers: Annotated[int, Field(ge=2)] = 10  # under it a model is not even tried
    churn_gate_z: Annotated[float, Field(ge=0)] = (
        2.33  # of the held-out AUC: 1 % of portfolios without signal pass
    )
    # a boosted model has some hundred splits to place: vendors of such models ask for 200 to 580 leavers
    churn_boosting_min_leavers: Annotated[int, Field(ge=50)] = 500
