"""score_report_card: how well did every score predict who would churn, and would other weights do better?"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.scoring import report_card
from healthseg.scoring.report_card.card import RANGES
from healthseg.tools.base import AsOf, Figure, Part, Result, tool
from healthseg.tools.revenue import PredictedAndHappened
from healthseg.tools.values import records, rounded

TOO_FEW = "too few customers churned, or the score was not known"
NO_PROBABILITY = "the score is no probability"
R = TypeVar("R", bound="ResultRow")


class ResultRow(Part):
    """A row of a frame; ``missing`` says why a column may be null."""

    missing: ClassVar[dict[str, str]] = {}

    @classmethod
    def of(cls: type[R], frame: pd.DataFrame) -> list[R]:
        return [cls(**cls._figures_of(row)) for row in records(frame)]

    @classmethod
    def _figures_of(cls, row: dict[str, Any]) -> dict[str, Any]:
        known = {name: row[name] for name in cls.model_fields}
        empty = {name: Figure(None, cls.missing.get(name, TOO_FEW)) for name in known}
        return {name: empty[name] if value is None else value for name, value in known.items()}


class Accuracy(ResultRow):
    """How well a score or a rival separates churned from retained customers."""

    missing: ClassVar[dict[str, str]] = {"brier": NO_PROBABILITY}
    score: str = Field(description="Key of the score or rival")
    name: str = Field(description="Its name")
    rows: int = Field(description="Customer-months with a known outcome")
    customers: int = Field(description="Distinct customers")
    churned: int = Field(description="Distinct customers that churned within the horizon")
    auc: float | None = Field(description="AUC, each date ranked within itself")
    auc_lower: float | None = Field(description="Lower end of its interval")
    auc_upper: float | None = Field(description="Upper end of its interval")
    average_precision: float | None = Field(description="Mean precision over churned customers")
    brier: float | None = Field(description="Mean squared error of a probability")


class Against(ResultRow):
    """A score against a rival, on the rows that both know."""

    score: str = Field(description="Key of the score")
    rival: str = Field(description="Key of the rival")
    gain: float | None = Field(description="AUC of the score above the rival's")
    lower: float | None = Field(description="Lower end of its interval")
    upper: float | None = Field(description="Upper end of its interval")
    q: float | None = Field(description="False-discovery rate of the gain among all comparisons")
    significant: bool = Field(description="Whether q is small enough")


class Capture(ResultRow):
    """How much churn the team's capacity reaches."""

    score: str = Field(description="Key of the score or rival")
    capacity: str = Field(description="What the team can look after")
    churned: int = Field(description="Distinct customers that churned")
    caught: int = Field(description="Those looked after within the horizon before")
    share: float | None = Field(description="Share of churned customers that was caught")
    lift: float | None = Field(description="Times as much as at random")


class LeadTime(ResultRow):
    """How early a score warned."""

    score: str = Field(description="Key of the score or rival")
    lead_days: int = Field(description="Days before notice or churn")
    churned: int = Field(description="Churned customers that were tracked so long")
    warned: int = Field(description="Those below the threshold from then on")
    share: float | None = Field(description="Share that was warned")


class PredictionsOfDay(ResultRow, PredictedAndHappened):
    """How good a day's predictions were, by the model that made them."""

    model: str = Field(description="Version: the last day that the model knew")
    method: str = Field(description="Churn model, or base rate of the tier")
    source: str = Field(description="recorded in the ledger then, or rebuilt")
    customers: int = Field(description="Customers with a prediction")
    lower: float = Field(description="Lower end of the interval, were the probabilities true")
    upper: float = Field(description="Upper end of the interval")
    as_expected: bool = Field(description="Whether that lies inside the interval")
    auc: float | None = Field(description="AUC of the day")
    brier: float = Field(description="Mean squared error")


class ComponentWeight(ResultRow):
    """The weight of a component, and the one that outcomes suggest."""

    component: str = Field(description="Component of the score")
    weight_now: float = Field(description="Today's weight")
    weight_suggested: float | None = Field(description="Weight learnt from outcomes")


class Rank(ResultRow):
    """How often a customer is among the lowest scores under other weights and thresholds."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="Customer's name")
    score: float = Field(description="Score today")
    rank: float = Field(description="Rank today, 1 the lowest")
    share: float = Field(description="Share of scorecards under which it is among the lowest")
    rank_low: float = Field(description="5th percentile of its rank")
    rank_high: float = Field(description="95th percentile of its rank")
    verdict: str = Field(description="always, sometimes or never among the lowest")


class ScoreReportCard(Result):
    """Every score on past dates, held against who churned."""

    tool: ClassVar[str] = "score_report_card"

    conclusion: str = Field(description="The report card in a sentence")
    in_plain_words: str = Field(
        description="How early the score warned, and alarms that were right"
    )
    horizon_days: int = Field(description="Days within which churn counts")
    threshold: float = Field(description="A score below it is an alarm")
    accounts: int = Field(description="Accounts that the team can look after at once")
    interval_level: float = Field(description="Level of the intervals")
    accuracy: list[Accuracy] = Field(description="Scores and rivals")
    against: list[Against] = Field(description="Scores against scores and rivals")
    capture: list[Capture] = Field(description="Churn within the team's capacity")
    lead_times: list[LeadTime] = Field(description="Warnings by days before churn")
    predictions: list[PredictionsOfDay] = Field(
        description="What was predicted against what happened, by day and model version"
    )
    weights: list[ComponentWeight] = Field(description="Weights of the components")
    weights_verdict: str = Field(description="Whether other weights were better on later dates")
    weights_gain: float | None = Field(description="AUC that they gain on later dates")
    ranks: list[Rank] = Field(description="Riskiest customers under other weights and thresholds")

    def verdict(self) -> str:
        return self.conclusion


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
ROWS: dict[str, type[ResultRow]] = {
    "accuracy": Accuracy,
    "against": Against,
    "capture": Capture,
    "lead_times": LeadTime,
    "predictions": PredictionsOfDay,
    "weights": ComponentWeight,
    "ranks": Rank,
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
