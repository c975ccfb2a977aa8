"""Boosted trees compete with the additive model where there are enough leavers; the simpler one wins ties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from healthseg.scoring.boosting import boost
from healthseg.scoring.rolling import Fitted, fit_classifier
from healthseg.settings import Settings

LATER = 0.25  # of the dates: what both are judged on
STANDARD_ERRORS = 1.0  # by which the trees must be better on later time


def challenged(
    fitted: Fitted, rows: pd.DataFrame, outcome: np.ndarray, complete_days: int, config: Settings
) -> Fitted:
    """The fitted model, with trees where those of the earlier dates were better on the later ones.

    Both are fitted to rows whose outcome was complete (``complete_days``) before the later quarter of the dates began,
    and are held against it by their log scores; the difference must exceed one standard error, by customer.
    """
    dates = np.unique(rows["date"].to_numpy())
    begin = dates[int((1 - LATER) * len(dates))]
    early = (rows["date"].to_numpy() + np.timedelta64(complete_days, "D")) <= begin
    late = rows["date"].to_numpy() >= begin
    if not 0 < outcome[early].sum() < early.sum():
        return fitted
    plain = fit_classifier(rows[early], outcome[early], config, integrate=False)
    better = _boosted(plain, rows[early], outcome[early], config)
    values = plain.values(rows[late], config)
    gained = _loss(plain.log_odds(values), outcome[late]) - _loss(
        better.log_odds(values), outcome[late]
    )
    by = pd.Series(gained).groupby(rows.loc[late, "client_id"].to_numpy()).sum().to_numpy()
    if not by.sum() > STANDARD_ERRORS * np.sqrt(len(by)) * by.std():
        return fitted
    return _boosted(fitted, rows, outcome, config)


def _boosted(fitted: Fitted, rows: pd.DataFrame, outcome: np.ndarray, config: Settings) -> Fitted:
    values = fitted.values(rows, config)
    return replace(
        fitted,
        boosted=boost(values, outcome, fitted.classifier.decision_function(values), config.seed),
    )


def _loss(odds: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, odds) - outcome * odds
