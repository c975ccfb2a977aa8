"""Why did a ``ml_predictive`` score change, and what is it made of? Parts that add up.

The score is a monotone function g of the model's log odds η, and η is a sum of parts. A change from η₀ to η₁ moves the
score by g(η₁) − g(η₀); a part that moves η by d is given d·(g(η₁) − g(η₀))/(η₁ − η₀), the secant, so that the parts
add up to the change. Where another model was in force then, what today's would have said of then's data is the first
step. Metrics that moved the score by less than a twentieth of a point are one part.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from healthseg.scoring.churn_model import ChurnModel
from healthseg.scoring.explain import Change, Part
from healthseg.scoring.predictive import HORIZON_DAYS, odds_ratio, points_of
from healthseg.statistics.rates import largest_remainder

RETRAINED = "The churn model was trained again"
LEAST = 1e-9
NAMED_FROM = 0.05


def score_of(model: ChurnModel, log_odds: np.ndarray | float) -> np.ndarray:
    """The score that goes with log odds of a step."""
    odds = np.atleast_1d(np.asarray(log_odds, dtype=float))
    return points_of(
        odds_ratio(
            model.calibration.probability(odds, HORIZON_DAYS), model.base_probability(HORIZON_DAYS)
        )
    )


def parts_of(model: ChurnModel, row: pd.DataFrame) -> pd.DataFrame:
    """``ChurnModel.explain`` of one row, with each part's points of the score against the average row's."""
    told = model.explain(row)
    total = float(told["log_odds"].sum())
    at, base = score_of(model, [model.base + total, model.base])
    return told.assign(points=told["log_odds"] * _secant(at - base, total))


def _secant(rise: float, run: float) -> float:
    return rise / run if abs(run) > LEAST else 0.0


def explain_predictive(
    before: tuple[ChurnModel, pd.DataFrame, float], after: tuple[ChurnModel, pd.DataFrame, float]
) -> Change:
    """The change between two (model in force, row of metrics with its families, score); rows by *after*'s model."""
    (old, then, score_then), (new, now, score_now) = before, after
    shown_then, shown_now = (int(np.floor(score + 0.5)) for score in (score_then, score_now))
    told_then, told_now = new.explain(then), new.explain(now)
    moved = told_now["log_odds"].to_numpy() - told_then["log_odds"].to_numpy()
    bridge = float(score_of(new, new.base + told_then["log_odds"].sum())[0])
    slope = _secant(score_now - bridge, float(moved.sum()))
    parts = (
        []
        if old.trained_until == new.trained_until
        else [_part("configuration", RETRAINED, bridge - score_then)]
    )
    for place, (first, last) in enumerate(
        zip(told_then.to_dict("records"), told_now.to_dict("records"), strict=True)
    ):
        parts.append(
            _part(
                "data",
                last["label"],
                float(moved[place] * slope),
                last["metric"],
                last["unit"],
                first["value"],
                last["value"],
            )
        )
    small = [part for part in parts if abs(part.points) < NAMED_FROM]
    parts = [part for part in parts if abs(part.points) >= NAMED_FROM]
    if any(part.points for part in small):
        parts.append(
            _part("data", "All other metrics", sum((part.points for part in small), Fraction(0)))
        )
    exact = sum((part.points for part in parts), Fraction(0))
    rounding = shown_now - shown_then - exact
    if rounding:
        parts.append(_part("rounding", "Rounding of the scores", rounding))
    tenths = largest_remainder([part.points * 10 for part in parts])
    parts = [
        Part(**{**vars(part), "displayed": tenth / 10})
        for part, tenth in zip(parts, tenths, strict=True)
    ]
    return Change(shown_then, shown_now, exact, tuple(parts), (), ())


def _part(
    kind: str,
    label: str,
    points: float | Fraction,
    metric: str | None = None,
    unit: str | None = None,
    then: float | None = None,
    now: float | None = None,
) -> Part:
    return Part(kind, None, metric, label, unit, then, now, Fraction(points))
