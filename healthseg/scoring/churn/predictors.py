"""From metrics to the columns of a hazard model.

A predictor is a metric in one form (value, logarithm, points of the scorecard, a word) with a prior
direction. It gives one standardised column (0 where missing) and hinges max(0, z − knot) at its
quartiles; what is missing has columns of its own, one for each set of rows, which belong to no metric.
All are centred on the training rows, so that a coefficient times a column is a difference from the
average row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, hint
from healthseg.metrics import catalog
from healthseg.scoring.churn import hazard
from healthseg.scoring.components import SILENCE_METRICS, score_metrics, weighted_metrics
from healthseg.settings import Settings

VALUE, LOG, POINTS, LEVEL, TIMING = "value", "log", "points", "level", "timing"
FAMILY = "feature_events_"
DIRECTION = 0.5  # a scored metric's direction: its value has one half, its points the other

LINEAR, MISSING, HINGE = "linear", "missing", "hinge"
MAX_Z = 4.0  # standard deviations: beyond it a row says no more
MIN_MISSING = 0.005  # a share of missing below it, or above its complement, is no column
KNOTS = (0.25, 0.5, 0.75)
CONSTANT = 1e300  # the scale of a metric that never varied: any later value is 0


@dataclass(frozen=True)
class Predictor:
    """One input of the model. ``direction`` is +: more of it, more churn.

    ``level`` is a word that makes it 1, or the column of what is known ahead (``timing``).
    """

    metric: str
    form: str
    label: str
    unit: str
    group: str
    direction: float = 0.0
    level: str | None = None

    @property
    def bent(self) -> bool:
        """Whether its effect may bend: the scorecard has bent a metric's points already."""
        return self.form in (VALUE, LOG) and self.direction != 0


@dataclass(frozen=True)
class StepAhead:
    """A step of ``days``, so many steps ahead, and the share of it that counts."""

    days: int
    ahead: int = 0
    share: float = 1.0


def predictors_of(rows: pd.DataFrame, settings: Settings, step: StepAhead) -> tuple[Predictor, ...]:
    """The inputs that vary in these rows, in a fixed order; a constant or unknown one is left out."""
    candidates = [*_scored(settings), *_unscored(rows, settings), *_tiers(rows), *_timed(rows)]
    columns = values_of(rows, candidates, settings, step).T
    return tuple(
        predictor
        for predictor, column in zip(candidates, columns, strict=True)
        if len(known := column[~np.isnan(column)]) and np.ptp(known) > 0
    )


def _scored(settings: Settings) -> list[Predictor]:
    """The scorecard's metrics, each as its value and as its points, with the scorecard's direction."""
    predictors = []
    for weighted in weighted_metrics(settings.scorecard):
        name, anchors = weighted.metric.metric, weighted.metric.anchors
        sign = -float(np.sign(anchors[-1][1] - anchors[0][1]))
        for form, direction in (
            (_form(name), DIRECTION * sign),
            (POINTS, -DIRECTION if sign else 0.0),
        ):
            label, unit = weighted.label, weighted.unit
            predictors.append(Predictor(name, form, label, unit, "directed", direction + 0.0))
    return predictors


def _form(name: str) -> str:
    """Whether the model reads a metric as it is, or its logarithm."""
    return LOG if (entry := catalog.entry(name)) and entry.logarithm else VALUE


def _unscored(rows: pd.DataFrame, settings: Settings) -> list[Predictor]:
    scored = {weighted.metric.metric for weighted in weighted_metrics(settings.scorecard)}
    plain = [
        Predictor(metric.name, _form(metric.name), metric.label, metric.unit, "metric")
        for metric in catalog.used_by("churn")
        if metric.name in rows and metric.name not in {*scored, *hazard.KNOWN_AHEAD}
    ]
    families = sorted(name for name in rows if name.startswith(FAMILY))
    return plain + [
        Predictor(name, LOG, _family_label(name), "events", "feature") for name in families
    ]


def _family_label(name: str) -> str:
    """``feature_events_28d[export]`` → Events of export in 28 days."""
    days, feature = name.removeprefix(FAMILY).removesuffix("]").split("d[", 1)
    return f"Events of {feature} in {days} days"


def _tiers(rows: pd.DataFrame) -> list[Predictor]:
    """Each tier: a coefficient shrunk to zero is a base rate shrunk to the portfolio's."""
    if "tier" not in rows:
        return []
    tiers = sorted(word for word in rows["tier"].dropna().unique() if isinstance(word, str))
    return [Predictor("tier", LEVEL, f"Tier {tier}", "word", "level", level=tier) for tier in tiers]


def _timed(rows: pd.DataFrame) -> list[Predictor]:
    """What is known ahead: the renewal's and the tenure's own terms."""
    predictors = []
    for name in hazard.timing_names(rows):
        subject = hazard.subject(name)
        metric = catalog.get(hazard.SUBJECTS[subject])
        group = f"{subject} edge" if name in hazard.EDGES else subject
        predictors.append(
            Predictor(metric.name, TIMING, metric.label, metric.unit, group, level=name)
        )
    return predictors


def values_of(
    rows: pd.DataFrame, predictors: Sequence[Predictor], settings: Settings, step: StepAhead
) -> np.ndarray:
    """Rows × predictors, NaN where missing. Raises CalculationError for a metric that the rows lack."""
    scored = _scored_values(rows, settings)
    values = np.empty((len(rows), len(predictors)))
    for at, predictor in enumerate(predictors):
        if predictor.form != TIMING:
            values[:, at] = _column(rows, predictor, scored)
    return values_ahead(rows, values, predictors, step)


def values_ahead(
    rows: pd.DataFrame, values: np.ndarray, predictors: Sequence[Predictor], step: StepAhead
) -> np.ndarray:
    """``values`` of the rows with what is known of the step in place of what is known of another."""
    timed = [at for at, predictor in enumerate(predictors) if predictor.form == TIMING]
    if not timed:
        return values
    names = [str(predictors[at].level) for at in timed]
    changed = values.copy()
    changed[:, timed] = hazard.timing_values(rows, names, step.days, step.ahead, step.share)
    return changed


def _column(
    rows: pd.DataFrame, predictor: Predictor, scored: dict[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    name = predictor.metric
    if predictor.form != LEVEL and name in scored:
        value, points = scored[name]
        if predictor.form == POINTS:
            return points
    elif name in rows or name.startswith(FAMILY):
        value = measured(rows, predictor)
    else:
        raise CalculationError(
            f"the rows lack the metric {name!r} that the model reads{hint(name, rows.columns)}",
            parameter="panel",
            value_provided=name,
        )
    return np.log1p(np.maximum(value, 0.0)) if predictor.form == LOG else value


def _scored_values(
    rows: pd.DataFrame, settings: Settings
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per metric of the scorecard the values and points that the score uses; absent columns are unmeasured."""
    metrics = weighted_metrics(settings.scorecard)
    names = {weighted.metric.metric for weighted in metrics} | set(SILENCE_METRICS)
    missing = np.full(len(rows), np.nan)
    columns = {name: _numbers(rows, name) if name in rows else missing for name in names}
    scored = score_metrics(columns, metrics, settings)
    return {
        weighted.metric.metric: (scored.values[:, at], scored.points[:, at])
        for at, weighted in enumerate(metrics)
    }


def _numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    values = rows[name].to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def measured(rows: pd.DataFrame, predictor: Predictor) -> np.ndarray:
    """The metric behind a predictor, in its own unit; 0 of a feature that nobody has used by then."""
    if predictor.form == LEVEL:
        return (rows[predictor.metric] == predictor.level).to_numpy(dtype=float)
    return _numbers(rows, predictor.metric) if predictor.metric in rows else np.zeros(len(rows))


@dataclass(frozen=True)
class DesignColumn:
    """One column: the position of its predictor, its form, and how it is centred and scaled."""

    metric: int
    form: str
    knot: float = 0.0
    center: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Design:
    """How rows of predictors become columns; ``centers`` and ``scales`` standardise each predictor."""

    centers: np.ndarray
    scales: np.ndarray
    columns: tuple[DesignColumn, ...]

    @property
    def source(self) -> np.ndarray:
        """The predictor whose values each column reads."""
        return np.array([column.metric for column in self.columns], dtype=int)

    @property
    def owner(self) -> np.ndarray:
        """The predictor that each column's effect belongs to; a position after the last of what is missing."""
        missing = np.array([column.form == MISSING for column in self.columns])
        return np.where(missing, len(self.centers), self.source)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Rows × columns, without an intercept."""
        unknown, owner = np.isnan(values), self.source
        center, scale, knot = (
            np.array([getattr(column, name) for column in self.columns])
            for name in ("center", "scale", "knot")
        )
        form = np.array([column.form for column in self.columns])
        hinge, missing = form == HINGE, form == MISSING
        matrix = self.standard(values)[:, owner]
        heights = np.maximum(matrix[:, hinge] - knot[hinge], 0.0)
        matrix[:, hinge] = np.where(unknown[:, owner[hinge]], center[hinge], heights)
        matrix[:, missing] = unknown[:, owner[missing]]
        return (matrix - center) / scale

    def standard(self, values: np.ndarray) -> np.ndarray:
        return np.clip(np.nan_to_num((values - self.centers) / self.scales), -MAX_Z, MAX_Z)

    def to_dict(self) -> dict[str, Any]:
        return {
            "centers": self.centers.tolist(),
            "scales": self.scales.tolist(),
            "columns": [asdict(column) for column in self.columns],
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Design:
        return cls(
            np.array(saved["centers"], dtype=float),
            np.array(saved["scales"], dtype=float),
            tuple(DesignColumn(**column) for column in saved["columns"]),
        )


def make_design(
    values: np.ndarray, bent: Sequence[bool] | np.ndarray, unscaled: np.ndarray | None = None
) -> Design:
    """The design for rows of predictors (NaN: missing); ``bent`` says which of them get hinges.

    ``unscaled`` ones are centred, and keep their unit. A constant or unknown predictor has a linear column of zeros: it
    keeps its position, and says nothing.
    """
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centers = np.where(known, values, 0.0).sum(axis=0) / counts
    spread = np.sqrt((np.where(known, values - centers, 0.0) ** 2).sum(axis=0) / counts)
    constant = spread <= 1e-9 * np.maximum(np.abs(centers), 1.0)
    if unscaled is not None:
        spread = np.where(unscaled, 1.0, spread)
    scales = np.where(constant, CONSTANT, spread)
    standard = Design(centers, scales, ()).standard(values)
    width = range(values.shape[1])
    columns = [DesignColumn(at, LINEAR, center=float(standard[:, at].mean())) for at in width]
    patterns = set()
    for at in width:
        missing, pattern = 1 - float(known[:, at].mean()), known[:, at].tobytes()
        if MIN_MISSING < missing < 1 - MIN_MISSING and pattern not in patterns:
            patterns.add(pattern)
            columns.append(DesignColumn(at, MISSING, center=missing))
        if bent[at] and not constant[at]:
            columns += _hinges(at, standard[known[:, at], at])
    return Design(centers, scales, tuple(columns))


def _hinges(at: int, standard: np.ndarray) -> list[DesignColumn]:
    """Hinges at the quartiles of the known values, each scaled to a standard deviation of 1."""
    columns = []
    for knot in np.unique(np.round(np.quantile(standard, KNOTS), 9)).tolist():
        height = np.maximum(standard - knot, 0.0)
        scale = float(height.std())
        if scale > 1e-3:
            columns.append(DesignColumn(at, HINGE, knot, float(height.mean()), scale))
    return columns
