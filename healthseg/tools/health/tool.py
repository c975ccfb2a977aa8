"""calculate_health_score: how healthy is a customer, how sure is that, why did it change, what to do?"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.rules import alerts
from healthseg.scoring.scored_panel import ScoreModel
from healthseg.tools.base import AsOf, ClientId, Only, tool
from healthseg.tools.context import CustomerContext
from healthseg.tools.health.customer import CustomerHealth
from healthseg.tools.health.outlook import refuse_without_model
from healthseg.tools.health.portfolio import HealthOfPortfolio
from healthseg.tools.health.result import HealthScore, PortfolioHealth

Model = Annotated[
    Literal["weighted_composite", "ml_predictive", "custom"], Field(description="Scoring model")
]
Weights = Annotated[
    dict[str, Any] | None, Field(description="Weights of the components (custom only)")
]
Lookback = Annotated[int, Field(ge=7, le=365, description="Days for trend analysis")]
Threshold = Annotated[float, Field(ge=0, le=100, description="Threshold for risk alerts")]
Preferences = Annotated[
    dict[str, Any] | None,
    Field(description="Alerts: {thresholds: {rule: number}, minimum_severity, cooldown_days}"),
]


@tool
def calculate_health_score(
    portfolio: Portfolio,
    client_id: ClientId,
    scoring_model: Model = "weighted_composite",
    component_weights: Weights = None,
    lookback_period_days: Lookback = 30,
    include_predictions: Annotated[
        bool, Field(description="Include future health and churn predictions")
    ] = True,
    risk_threshold: Threshold = 60.0,
    alert_preferences: Preferences = None,
    *,
    as_of: AsOf = None,
) -> HealthScore:
    """How healthy is this customer, how sure is that, why did it change, and what is to be done?

    The score (0–100) is Σ w·c / Σ w over the components that can be measured; each is a weighted
    mean of metrics that the scorecard maps to points. ``coverage`` is the share of the configured
    weight that was measured, ``possible_range`` what the missing inputs allow. Everything is as of
    the end of ``as_of`` (default: the portfolio's last whole day). Raises InvalidClientId,
    ClientNotFound, InvalidParameters, CalculationError (``ml_predictive``) and DataRetrievalError.
    Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [f"2025-0{month}-{day:02d} 09:00" for month in (1, 2, 3) for day in range(1, 29)]
    >>> portfolio = tiny_portfolio(events=[("a", day, "u1") for day in days])
    >>> health = calculate_health_score(portfolio, "a", as_of="2025-03-28")
    >>> health.current_health_score, health.coverage
    (91, 0.39)
    """
    preferences = alerts.preferences(alert_preferences, portfolio.settings.rules)
    date = portfolio.as_of(as_of)
    context = CustomerContext.of(portfolio, client_id, date)
    refuse_without_model(portfolio, date, scoring_model)
    model = ScoreModel.of(scoring_model, component_weights, portfolio.settings)
    health = CustomerHealth(context, model, lookback_period_days, risk_threshold)
    return health.result(scoring_model, include_predictions, preferences)


@tool
def portfolio_health(
    portfolio: Portfolio,
    *,
    scoring_model: Model = "weighted_composite",
    component_weights: Weights = None,
    lookback_period_days: Lookback = 30,
    risk_threshold: Threshold = 60.0,
    alert_preferences: Preferences = None,
    only: Only = None,
    as_of: AsOf = None,
) -> PortfolioHealth:
    """Who in the portfolio needs attention today, who moved, and where do score and money disagree?

    Live customers only; churned ones, those that have not begun and prospects are counted apart.
    ``alerts`` are all that hold, whatever ``cooldown_days``. ``only`` shows some customers alone: their scores and
    probabilities are those of the whole portfolio. Raises InvalidParameters,
    CalculationError (``ml_predictive``) and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_health(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    date = portfolio.as_of(as_of)
    refuse_without_model(portfolio, date, scoring_model)
    model = ScoreModel.of(scoring_model, component_weights, portfolio.settings)
    health = HealthOfPortfolio(portfolio, date, model, lookback_period_days, risk_threshold, only)
    return health.result(alerts.preferences(alert_preferences, portfolio.settings.rules))
