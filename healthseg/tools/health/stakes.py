"""What is at stake at each customer: its ARR times the chance to lose it, or a stand-in where no model tells that."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.scoring import training

BY_SCORE = "(100 − score) / 100 × ARR"
BY_NOTICE = "the whole ARR: notice was given"


def by_model(days: int) -> str:
    return f"probability of leaving in {days} days × ARR"


def basis(portfolio: Any, as_of: dt.date) -> str:
    """How the portfolio's amounts at stake are made, in words."""
    if training.churn_model(portfolio, as_of).eligible:
        return f"{by_model(portfolio.settings.churn_horizon_days)} (where notice was given, the whole ARR)"
    return f"{BY_SCORE}, as no account has a probability of its own"


def of_rows(portfolio: Any, as_of: dt.date, rows: pd.DataFrame) -> pd.DataFrame:
    """at_stake and basis of live customers' scored rows (by client_id) at ``as_of``."""
    by_score = pd.DataFrame(
        {"at_stake": (100 - rows["score"]) / 100 * rows["arr"], "basis": BY_SCORE}
    )
    if not training.churn_model(portfolio, as_of).eligible or not len(rows):
        return by_score
    horizon = portfolio.settings.churn_horizon_days
    told = training.predictions(portfolio, as_of, rows.index.tolist())
    chance = (
        told[told["horizon_days"] == horizon]
        .set_index("client_id")["probability"]
        .reindex(rows.index)
    )
    noticed = rows["days_since_notice"].notna()
    return pd.DataFrame(
        {
            "at_stake": np.where(noticed, 1.0, chance) * rows["arr"],
            "basis": np.where(noticed, BY_NOTICE, by_model(horizon)),
        },
        index=rows.index,
    )
