"""score_report_card: how well did every score predict who would churn, and would other weights do better?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.scoring import report_card
from healthseg.scoring.report_card.card import RANGES
from healthseg.tools.base import AsOf, Figure, tool
from healthseg.tools.report_card import result as parts
from healthseg.tools.report_card.result import ScoreReportCard
from healthseg.tools.values import rounded

Horizon = Annotated[
    int | None,
    Field(
        ge=RANGES["horizon_days"][0],
        le=RANGES["horizon_days"][1],
        description="Days within which churn counts; default: the setting churn_horizon_days",
    ),
]
Threshold = Annotated[
    float | None,
    Field(
        ge=RANGES["threshold"][0],
        le=RANGES["threshold"][1],
        description="A score below it is an alarm; default: the settings'",
    ),
]
Accounts = Annotated[
    int | None,
    Field(
        ge=RANGES["accounts"][0],
        le=RANGES["accounts"][1],
        description="Accounts the team can look after; default: the settings'",
    ),
]
Weights = Annotated[
    dict[str, float] | None,
    Field(description="Weights of the components of a custom score, compared with the others"),
]
ROWS: dict[str, type[parts.ResultRow]] = {
    "accuracy": parts.Accuracy,
    "against": parts.Against,
    "capture": parts.Capture,
    "lead_times": parts.LeadTime,
    "predictions": parts.PredictionsOfDay,
    "weights": parts.ComponentWeight,
    "ranks": parts.Rank,
}


@tool
def score_report_card(
    portfolio: Portfolio,
    horizon_days: Horizon = None,
    *,
    threshold: Threshold = None,
    accounts: Accounts = None,
    component_weights: Weights = None,
    as_of: AsOf = None,
) -> ScoreReportCard:
    """How well did every score predict who would churn, as it would have been shown on past dates?

    The response of ``healthseg.report_card``: accuracy of the scores and simple rivals, what the
    team's capacity reaches, how early the score warned, what was predicted against what happened,
    the weights that outcomes suggest, and who is among the riskiest whatever the weights. Raises
    CalculationError where the portfolio records no churn, InvalidParameters for bad parameters.
    Formulas: docs/methods.md.
    """
    card = report_card(
        portfolio,
        as_of,
        horizon_days,
        component_weights,
        threshold=threshold,
        accounts=accounts,
    )
    suggestion = card.suggestion
    return ScoreReportCard(
        as_of=card.as_of,
        data_until=card.data_until,
        fingerprint=card.fingerprint,
        not_measured={f"$.{name}": reason for name, reason in card.not_measured.items()},
        conclusion=card.verdict(),
        in_plain_words=card.in_plain_words(),
        horizon_days=card.horizon_days,
        threshold=card.threshold,
        accounts=card.accounts,
        interval_level=card.interval_level,
        weights_verdict=suggestion.verdict,
        weights_gain=Figure(rounded(suggestion.gain), suggestion.verdict),
        **{name: row.of(card.frame(name)) for name, row in ROWS.items()},
    ).with_frames(**card.frames)
