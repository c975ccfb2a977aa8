"""What a churn model has learnt: the effect of each metric, with its kin, and how sure its sign is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from healthseg.scoring.churn_model import ChurnModel
from healthseg.scoring.predictors import LEVEL, measured

LOW, HIGH = 0.25, 0.75


def effects(model: ChurnModel, rows: pd.DataFrame) -> pd.DataFrame:
    """By how much do the log odds of leaving change when a metric goes from its first to its third quartile?

    ``rows`` are rows at risk with the model's metrics. A group of kindred metrics moves together: every member goes
    from the mean of the rows in the lead's lowest quarter to that of its highest. Columns: label, metric, members,
    low, high (of the lead), log_odds, sd, lower, upper (at the interval level), direction (1 leaves, −1 stays, 0 where
    the interval holds zero); the largest first. CalculationError where the gate said no.
    """
    fitted, calibration = model.ready()
    values = fitted.values(rows, model.config)
    found = []
    for kin in model.kin:
        lead, shown = fitted.predictors[kin.lead], measured(rows, fitted.predictors[kin.lead])
        low, high = _ends(shown, lead.form == LEVEL)
        if low is None:
            continue
        pair = np.stack([_mean(values, shown <= low), _mean(values, shown >= high)])
        part, sd = fitted.classifier.contrast(pair, list(kin.members))
        found.append(
            {
                "label": lead.label,
                "metric": lead.metric,
                "low": low,
                "high": high,
                "members": ", ".join(
                    dict.fromkeys(fitted.predictors[one].label for one in kin.members)
                ),
                "log_odds": part * calibration.slope,
                "sd": sd * calibration.slope,
            }
        )
    frame = pd.DataFrame(
        found, columns=["label", "metric", "members", "low", "high", "log_odds", "sd"]
    )
    reach = scipy.special.ndtri((1 + model.config.interval_level) / 2) * frame["sd"]
    frame = frame.assign(lower=frame["log_odds"] - reach, upper=frame["log_odds"] + reach)
    frame["direction"] = np.select([frame["lower"] > 0, frame["upper"] < 0], [1, -1], 0)
    order = frame["log_odds"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _ends(values: np.ndarray, level: bool) -> tuple[float | None, float | None]:
    """The quartiles; the extremes where they are the same."""
    known = values[~np.isnan(values)]
    if not len(known) or np.ptp(known) == 0:
        return None, None
    low, high = (0.0, 1.0) if level else np.quantile(known, [LOW, HIGH])
    return (float(low), float(high)) if low < high else (float(known.min()), float(known.max()))


def _mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    some = values[chosen]
    known = ~np.isnan(some)
    return np.where(
        known.any(axis=0),
        np.nan_to_num(some).sum(axis=0) / np.maximum(known.sum(axis=0), 1),
        np.nan,
    )
