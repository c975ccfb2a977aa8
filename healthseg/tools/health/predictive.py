"""What a response has of its own where the score is the churn model's: refusal, change, factors."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError
from healthseg.metrics import panel as panels
from healthseg.scoring import training
from healthseg.scoring.churn_model import ChurnModel
from healthseg.scoring.explain import Change
from healthseg.scoring.predictive_change import explain_predictive, parts_of
from healthseg.tools.health import words
from healthseg.tools.health.figures import PREDICTIVE
from healthseg.tools.health.result import Factor, Factors
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import number, rounded

WITHHELD = "no churn model was in force on that day, or notice had been given"
NO_OPPORTUNITIES = "the model's score promises nothing: what predicts leaving need not cause it"
NAMED = 6


def refuse_without_model(portfolio: Any, as_of: dt.date, scoring_model: str) -> None:
    """CalculationError, with the gate's reason, where the portfolio cannot carry the model that is asked for."""
    if scoring_model != PREDICTIVE:
        return
    model = training.churn_model(portfolio, as_of)
    if not model.eligible:
        raise CalculationError(
            f"scoring_model 'ml_predictive' is refused: {model.gate.reason}. Use weighted_composite or custom",
            parameter="scoring_model",
            value_provided=PREDICTIVE,
            validation_rule="a portfolio that carries a churn model",
        )


def change(subject: Subject) -> Change:
    """Why the model's score is another than at the beginning of the look-back."""
    return change_of(
        subject.portfolio,
        subject.client_id,
        (subject.start, subject.then),
        (subject.day, subject.now),
    )


def change_of(
    portfolio: Any, client_id: str, then: tuple[dt.date, Any], now: tuple[dt.date, Any]
) -> Change:
    """The same for a customer's scored rows (mappings with score and shown) on two days."""
    shown = [None if pd.isna(row["shown"]) else int(row["shown"]) for _, row in (then, now)]
    if None in shown:
        which = " and ".join(
            word for word, one in zip(("then", "now"), shown, strict=True) if one is None
        )
        return Change(shown[0], shown[1], None, (), (), (), f"{WITHHELD} ({which})")
    old, new = (training.churn_model(portfolio, day) for day, _ in (then, now))
    return explain_predictive(
        (old, _row(portfolio, client_id, then[0], new), float(then[1]["score"])),
        (new, _row(portfolio, client_id, now[0], new), float(now[1]["score"])),
    )


def _row(portfolio: Any, client_id: str, day: dt.date, model: ChurnModel) -> pd.DataFrame:
    return training.with_families(portfolio, panels.build(portfolio, [day], [client_id]), model)


def factors(subject: Subject) -> Factors:
    """What holds the model's score up and what pulls it down, against the average customer-month, in points."""
    if pd.isna(subject.now["score"]):
        return Factors(positive=[], negative=[], positive_detail=[], negative_detail=[])
    model = training.churn_model(subject.portfolio, subject.day)
    rows = parts_of(model, _row(subject.portfolio, subject.client_id, subject.day, model))
    rows = rows.assign(size=-rows["points"].abs()).sort_values(["size", "kin"], kind="stable")
    told = [_factor(row) for row in rows.to_dict("records") if np.abs(row["points"]) >= 0.5]
    up, down = ([one for one in told if sign * one.effect > 0][:NAMED] for sign in (1, -1))
    return Factors(
        positive=[one.text for one in up],
        negative=[one.text for one in down],
        positive_detail=up,
        negative_detail=down,
    )


def _factor(row: dict[str, Any]) -> Factor:
    return Factor(
        text=words.measured(row["metric"], row["label"], row["value"], row["usual"]),
        metric=row["metric"],
        unit=row["unit"],
        value=rounded(number(row["value"])),
        points=None,
        effect=round(row["points"], 2),
    )
