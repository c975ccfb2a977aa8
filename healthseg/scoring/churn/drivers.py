"""Which metrics move a customer's probability of churn, and by how much?

Each metric's part of the log odds is exact; collinear metrics are explained together. What is not measured has a part of
its own, which speaks of no metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.scoring.churn.candidates import FittedHazard, known_means
from healthseg.scoring.churn.predictors import (
    LEVEL,
    TIMING,
    StepAhead,
    measured,
    values_ahead,
)
from healthseg.scoring.components import DECIMALS

if TYPE_CHECKING:
    from healthseg.scoring.churn.model import ChurnModel

QUARTILES = [0.25, 0.75]
UNMEASURED = "Not measured"
OWN_ROWS = 400
EXPLAINED = [
    *("client_id", "date", "kin", "label", "metric", "unit", "value", "usual"),
    *("log_odds", "own", "sd", "members"),
]
EFFECTS = ["label", "metric", "members", "low", "high", "log_odds", "sd"]


@dataclass(frozen=True)
class KindredMetrics:
    """Positions of predictors that move together; ``lead`` is the one that moves the log odds most."""

    lead: int
    members: tuple[int, ...]


def explain(model: ChurnModel, rows: pd.DataFrame, horizon_days: float) -> pd.DataFrame:
    """The drivers of each customer's log odds: one row per customer and group of kindred metrics.

    Collinear metrics are one group: alone, their signs are an artefact of each other. It is named after the metric
    that moves it most for this customer, whose own effect is ``own``. The renewal, the tenure, and what is not
    measured (metric "missing") are groups of their own. ``log_odds`` are against the average training row; with
    ``base`` they add up to the row's calibrated log odds of the next step; over ``horizon_days`` they are means over its
    steps, weighted by where the risk lies, of what is known of the customer: what a later step adds for a change that
    nobody knows yet (``calibration``) is nobody's. ``sd`` is their standard deviation, ``usual`` the median of the metric.
    """
    steps, weights = model.steps(rows, horizon_days)
    risk = weights * scipy.special.expit(steps)
    risk = risk / risk.sum(axis=1, keepdims=True)
    fitted = model.ready()[0]
    values = fitted.values(rows, model.config)
    parts = np.zeros((len(rows), len(fitted.predictors) + 1))
    variance = np.zeros((len(rows), len(model.kin)))
    for ahead in range(steps.shape[1]):
        step = StepAhead(model.step_days, ahead)
        values = values_ahead(rows, values, fitted.predictors, step)
        part, sds = _parts(model, values, ahead)
        parts = parts + risk[:, ahead, None] * part
        variance = variance + risk[:, ahead, None] * sds**2
    return _drivers(model, rows, parts, np.sqrt(variance))


def _parts(model: ChurnModel, values: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows × (predictors, what is missing): calibrated parts of a step; rows × groups: their deviations."""
    fitted, calibration = model.ready()
    fade = calibration.fade**ahead
    timed = np.array([item.form == TIMING for item in fitted.predictors] + [False])
    parts, sds = fitted.parts_and_sds(values, [list(kin.members) for kin in model.kin])
    raw = parts * calibration.slope * fade
    known = fitted.directed.parts(values)[:, timed]
    raw[:, timed] += (calibration.timing_slope - calibration.slope * fade) * known
    ahead_is_known = [bool(timed[kin.lead]) for kin in model.kin]
    return raw, sds * np.where(ahead_is_known, calibration.timing_slope, calibration.slope * fade)


def _drivers(
    model: ChurnModel, rows: pd.DataFrame, parts: np.ndarray, sds: np.ndarray
) -> pd.DataFrame:
    predictors = model.ready()[0].predictors
    order = np.argsort(rows["client_id"].to_numpy(dtype=str), kind="stable")
    frames = []
    for at, kin in enumerate(model.kin):
        total = parts[:, list(kin.members)].sum(axis=1)
        frame = rows[["client_id", "date"]].assign(
            kin=at, log_odds=total, sd=sds[:, at], members=_labels(model, kin)
        )
        if kin.lead < 0:
            missing = dict(label=UNMEASURED, metric="missing", unit="", value=np.nan, usual=np.nan)
            frames.append(frame.assign(**missing, own=total))
            continue
        names = list(dict.fromkeys(predictors[member].metric for member in kin.members))
        leads = [next(m for m in kin.members if predictors[m].metric == name) for name in names]
        own = np.stack(
            [
                parts[:, [m for m in kin.members if predictors[m].metric == name]].sum(axis=1)
                for name in names
            ]
        )
        shown = np.stack([measured(rows, predictors[lead]) for lead in leads])
        usable = np.where(np.isnan(shown), -np.inf, own * np.sign(total))
        chosen, row = np.argmax(usable, axis=0), np.arange(len(rows))
        lead = np.array(leads)[chosen]
        frames.append(
            frame.assign(
                **{
                    name: np.array([getattr(item, name) for item in predictors])[lead]
                    for name in ("label", "metric", "unit")
                },
                value=shown[chosen, row],
                usual=np.array(model.usual)[lead],
                own=own[chosen, row],
            )
        )
    table = pd.concat([frame.iloc[order] for frame in frames], ignore_index=True)
    table["row"] = np.tile(np.arange(len(rows)), len(frames))
    table = table.sort_values(["row", "kin"], kind="stable", ignore_index=True)
    table[["log_odds", "own", "sd"]] = table[["log_odds", "own", "sd"]].round(DECIMALS)
    return table[EXPLAINED]


def _labels(model: ChurnModel, kin: KindredMetrics) -> str:
    if kin.lead < 0:
        return UNMEASURED
    predictors = model.ready()[0].predictors
    return ", ".join(dict.fromkeys(predictors[at].label for at in kin.members))


def effects(model: ChurnModel, rows: pd.DataFrame) -> pd.DataFrame:
    """By how much do the log odds of churn change when a metric goes from its first to its
    third quartile?

    A group of kindred metrics moves together: every member from the rows in the lead's lowest
    quarter to those in its highest. Columns: label, metric, members, low, high (of
    the lead), log_odds, sd, lower, upper, direction (1 more churn, −1 less, 0 where the
    interval holds zero); the largest first. CalculationError where the gate refuses a model.
    """
    fitted, calibration = model.ready()
    values = fitted.values(rows, model.config)
    table = []
    for kin in model.kin:
        if kin.lead < 0:
            continue
        lead = fitted.predictors[kin.lead]
        shown = measured(rows, lead)
        ends = _ends(shown, lead.form == LEVEL)
        if ends is None:
            continue
        quarters = values[shown <= ends[0]], values[shown >= ends[1]]
        part, sd = fitted.contrast(*quarters, list(kin.members))
        slope, change = calibration.slope, calibration.slope * part
        if lead.form == TIMING:
            pair = np.stack([known_means(quarter) for quarter in quarters])
            known = fitted.directed.contrast(pair, list(kin.members))[0]
            slope, change = (
                calibration.timing_slope,
                change + (calibration.timing_slope - slope) * known,
            )
        scaled = (change, sd * slope)
        table.append((lead.label, lead.metric, _labels(model, kin), *ends, *scaled))
    frame = pd.DataFrame(table, columns=EFFECTS)
    reach = scipy.special.ndtri((1 + model.config.interval_level) / 2) * frame["sd"]
    frame = frame.assign(lower=frame["log_odds"] - reach, upper=frame["log_odds"] + reach)
    frame["direction"] = np.select([frame["lower"] > 0, frame["upper"] < 0], [1, -1], 0)
    order = frame["log_odds"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def kindred_metrics(
    fitted: FittedHazard, values: np.ndarray, min_correlation: float
) -> tuple[KindredMetrics, ...]:
    """Groups of predictors: forms of one metric, and metrics whose absolute correlation is at least so large.

    Average linkage on 1 − |r| of the standardised values, missing ones at the mean. What is known ahead is a group by
    subject, and what is missing the last (``lead`` −1).
    """
    standard = fitted.directed.design_.standard(values)
    names = np.array([predictor.metric for predictor in fitted.predictors])
    timed = np.array([predictor.form == TIMING for predictor in fitted.predictors], dtype=bool)
    # a team's own classifier predicts twice for each predictor
    every = len(values) // OWN_ROWS + 1 if fitted.kind == "own" else 1
    moved = fitted.parts(values[::every]).std(axis=0)
    groups = [
        *_correlated(standard, names, np.flatnonzero(~timed), min_correlation),
        *(np.flatnonzero(timed & (names == name)) for name in dict.fromkeys(names[timed].tolist())),
    ]
    kin = [
        KindredMetrics(int(group[np.argmax(moved[group])]), tuple(group.tolist()))
        for group in groups
    ]
    return (*kin, KindredMetrics(-1, (len(names),)))


def _correlated(
    standard: np.ndarray, names: np.ndarray, which: np.ndarray, min_correlation: float
) -> list[np.ndarray]:
    """Groups of the columns ``which``."""
    if len(which) < 2:
        return [which] if len(which) else []
    chosen = standard[:, which]
    sd = chosen.std(axis=0)
    centred = np.where(sd > 0, (chosen - chosen.mean(axis=0)) / np.where(sd > 0, sd, 1.0), 0.0)
    distance = 1 - np.abs(centred.T @ centred / max(len(centred), 1))
    distance[names[which][:, None] == names[which]] = 0.0
    np.fill_diagonal(distance, 0.0)
    pairs = scipy.spatial.distance.squareform(np.clip(distance, 0, None), checks=False)
    tree = scipy.cluster.hierarchy.linkage(pairs, "average")
    label = scipy.cluster.hierarchy.fcluster(tree, 1 - min_correlation, "distance")
    return [which[label == number] for number in dict.fromkeys(label.tolist())]


def _ends(values: np.ndarray, level: bool) -> tuple[float, float] | None:
    """The quartiles; the extremes where they are the same; None of a constant."""
    known = values[~np.isnan(values)]
    if not len(known) or np.ptp(known) == 0:
        return None
    low, high = (0.0, 1.0) if level else np.quantile(known, QUARTILES)
    return (float(low), float(high)) if low < high else (float(known.min()), float(known.max()))
