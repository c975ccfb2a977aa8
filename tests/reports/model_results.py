"""Results of models on a small portfolio, for the tests of their pages."""

from __future__ import annotations

from healthseg.clustering.groups import grouping
from healthseg.data.portfolio import Portfolio
from healthseg.forecasting import backtest
from healthseg.metrics.panels import live_metrics
from healthseg.reports.pages import churn_model, forecasts, score_report_card, segment_models
from healthseg.reports.pages.models import ModelResult
from healthseg.scoring import report_card
from healthseg.scoring.churn import training
from healthseg.settings import Settings
from healthseg.tools.score_forecasts import sample_series

METRICS = ["seat_utilisation", "stickiness_30d"]


def of(portfolio: Portfolio) -> dict[str, ModelResult]:
    """The result of each model, by the name of its page."""
    day = portfolio.as_of(None)
    rows = live_metrics(portfolio, day, METRICS)
    groups = grouping(rows, "kmeans", 8, 3, Settings(seed=7))
    tested = backtest(
        sample_series(portfolio, day, 6),
        4,
        portfolio.settings.interval_level,
        origins=2,
        refit_every=2,
        season_length=1,
        spacing="weekly",
    )
    return {
        "churn_model": churn_model.result(portfolio, training.churn_model(portfolio, day)),
        "forecasts": forecasts.result(portfolio, tested, "weekly scores", {"as_of": day}),
        "score_report_card": score_report_card.result(report_card(portfolio, draws=20)),
        "segments": segment_models.result(portfolio, groups, rows, {"metrics": METRICS}),
    }
