"""calculate_health_score: how healthy is a customer, how sure is that, why did it move, what to do?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound
from healthseg.metrics.leaving import customer_as_of
from healthseg.tools.health import answer as health_answer
from healthseg.tools.health import portfolio as health_portfolio
from healthseg.tools.health.predictive import refuse_without_model
from healthseg.tools.health.result import HealthScore, PortfolioHealth
from healthseg.tools.parameters import Parameters, validated

Model = Literal["weighted_composite", "ml_predictive", "custom"]
Lookback = Field(default=30, ge=7, le=365, description="Days for trend analysis")
Weights = Field(default=None, description="Weights of the components (custom only)")
Threshold = Field(default=60.0, ge=0, le=100, description="Threshold for risk alerts")
Preferences = Field(
    default=None,
    description="Alerts: {thresholds: {rule: number}, minimum_severity, cooldown_days}",
)


class CustomerParameters(Parameters):
    """Parameters of calculate_health_score."""

    client_id: str = Field(description="Customer identifier")
    scoring_model: Model = Field(default="weighted_composite", description="Scoring model")
    component_weights: dict[str, Any] | None = Weights
    lookback_period_days: int = Lookback
    include_predictions: bool = Field(
        default=True, description="Include future health and churn predictions"
    )
    risk_threshold: float = Threshold
    alert_preferences: dict[str, Any] | None = Preferences
    as_of: str | dt.date | None = Field(
        default=None, description="Date, read to its end; default the portfolio's last day"
    )


class PortfolioParameters(Parameters):
    """Parameters of portfolio_health."""

    scoring_model: Model = Field(default="weighted_composite", description="Scoring model")
    component_weights: dict[str, Any] | None = Weights
    lookback_period_days: int = Lookback
    risk_threshold: float = Threshold
    alert_preferences: dict[str, Any] | None = Preferences
    as_of: str | dt.date | None = Field(
        default=None, description="Date, read to its end; default the portfolio's last day"
    )


def calculate_health_score(
    portfolio: Portfolio,
    client_id: str,
    scoring_model: str = "weighted_composite",
    component_weights: Mapping[str, float] | None = None,
    lookback_period_days: int = 30,
    include_predictions: bool = True,
    risk_threshold: float = 60.0,
    alert_preferences: Mapping[str, Any] | None = None,
    *,
    as_of: str | dt.date | None = None,
) -> HealthScore:
    """How healthy is this customer, how sure is that, why did it move, and what is to be done?

    The score (0–100) is Σ w·c / Σ w over the components that can be measured; each is a weighted mean of metrics
    that the scorecard maps to points. ``coverage`` says which share of the configured weight was measured,
    ``possible_range`` what the missing inputs allow. Everything is as of the end of ``as_of`` (default: the portfolio's
    last whole day). Raises InvalidClientId, ClientNotFound, InvalidParameters, CalculationError (``ml_predictive``),
    DataRetrievalError. Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio(events=[("a", f"2025-0{m}-{d:02d} 09:00", "u1") for m in (1, 2, 3) for d in range(1, 29)])
    >>> health = calculate_health_score(portfolio, "a", as_of="2025-03-28")
    >>> health.current_health_score, health.coverage
    (91, 0.39)
    """
    asked = validated(
        CustomerParameters,
        {
            "client_id": client_id,
            "scoring_model": scoring_model,
            "component_weights": _plain(component_weights),
            "lookback_period_days": lookback_period_days,
            "include_predictions": include_predictions,
            "risk_threshold": risk_threshold,
            "alert_preferences": _plain(alert_preferences),
            "as_of": as_of,
        },
    )
    customer = portfolio.client(client_id)
    date = portfolio.as_of(asked.as_of)
    if pd.Timestamp(customer["signup_date"]) > pd.Timestamp(date):
        raise ClientNotFound(
            f"{client_id} signs up on {customer['signup_date']}, after {date}",
            parameter="client_id",
            value_provided=client_id,
            signup_date=str(customer["signup_date"]),
            validation_rule="signed up by as_of",
        )
    refuse_without_model(portfolio, date, asked.scoring_model)
    return health_answer.answer(portfolio, customer_as_of(portfolio, client_id, date), date, asked)


def portfolio_health(
    portfolio: Portfolio,
    *,
    scoring_model: str = "weighted_composite",
    component_weights: Mapping[str, float] | None = None,
    lookback_period_days: int = 30,
    risk_threshold: float = 60.0,
    alert_preferences: Mapping[str, Any] | None = None,
    as_of: str | dt.date | None = None,
) -> PortfolioHealth:
    """Who in the portfolio needs attention today, who moved, and where do score and money disagree?

    Live customers only; those that left, have not begun or are prospects are counted apart. ``alerts`` are all that
    hold, whatever ``cooldown_days``. Raises InvalidParameters and DataRetrievalError.
    """
    asked = validated(
        PortfolioParameters,
        {
            "scoring_model": scoring_model,
            "component_weights": _plain(component_weights),
            "lookback_period_days": lookback_period_days,
            "risk_threshold": risk_threshold,
            "alert_preferences": _plain(alert_preferences),
            "as_of": as_of,
        },
    )
    date = portfolio.as_of(asked.as_of)
    refuse_without_model(portfolio, date, asked.scoring_model)
    return health_portfolio.answer(portfolio, date, asked)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
