"""From metrics to points: what one row of the panel earns on each metric of its scorecard.

A metric's points are linear between its anchors and clamped beyond them. Three rules decide what is missing besides a
missing metric: a new customer has no baseline of its own, nothing is expected on the day of signup, and the silence of
support means something only where people are active.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.settings import COMPONENTS, Scorecard, ScorecardMetric, Settings

SCORE_MODELS = ("weighted_composite", "ml_predictive", "custom")
TICKET_COUNTS = ("open_high_tickets", "open_tickets", "tickets_90d", "tickets_per_10_mau_90d")
TICKET_METRICS = (*TICKET_COUNTS, "median_resolution_hours_90d")
# what every row needs, to tell silence of support and the ramp
SILENCE_METRICS = ("tenure_days", "open_tickets", "tickets_90d", "monthly_active_users")
# of points and scores: figures that are equal but for the order of their additions are equal
DECIMALS = 9
# of a missing metric whose scorecard says so
NEUTRAL = 50.0
PRESENT, UNMEASURED, RAMP, SILENCE = range(4)
MISSING_REASONS = (None, "unmeasured", "ramp", "silence")

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class WeightedMetric:
    """A metric with its weights in force: of its component, and within it (each sums to 1)."""

    component: str
    component_weight: float
    share: float
    metric: ScorecardMetric

    @property
    def weight(self) -> float:
        """The configured weight in the score, where nothing is missing."""
        return self.component_weight * self.share

    @property
    def label(self) -> str:
        """The scorecard's own label, else the catalogue's."""
        return self.metric.label or catalog.get(self.metric.metric).label

    @property
    def unit(self) -> str:
        return self.metric.unit or catalog.get(self.metric.metric).unit

    @property
    def logarithm(self) -> bool:
        return self.metric.logarithm

    @property
    def key(self) -> tuple[str, str]:
        return self.component, self.metric.metric


@dataclass(frozen=True)
class ScoredMetrics:
    """Values as scored, points, and why a metric is missing; each of shape (rows, metrics)."""

    values: np.ndarray
    points: np.ndarray
    reasons: np.ndarray


def weighted_metrics(
    card: Scorecard, weights: Mapping[str, float] | None = None
) -> tuple[WeightedMetric, ...]:
    """The scorecard's metrics in order, with component weights replaced by ``weights``.

    >>> from healthseg.settings import DEFAULT_SCORECARD
    >>> first = weighted_metrics(DEFAULT_SCORECARD)[0]
    >>> first.metric.metric, round(first.weight, 3)
    ('seat_utilisation', 0.14)
    """
    outer = {
        name: part.weight if weights is None else weights.get(f"{name}_weight", 0.0)
        for name, part in card.components.items()
    }
    total = sum(outer.values())
    metrics: list[WeightedMetric] = []
    own = [name for name in card.components if name not in COMPONENTS]
    for name in (name for name in (*COMPONENTS, *own) if name in card.components):
        inner = sum(metric.weight for metric in card.components[name].metrics)
        weight = outer[name] / total if total else 0.0
        metrics += [
            WeightedMetric(name, weight, metric.weight / inner, metric)
            for metric in card.components[name].metrics
        ]
    return tuple(metrics)


def score_metrics(
    columns: Columns,
    metrics: tuple[WeightedMetric, ...],
    settings: Settings,
    *,
    ramp: bool = True,
) -> ScoredMetrics:
    """Values, points and reasons of every metric, for rows of the panel as columns.

    ``ramp=False`` scores a new customer as if it were an old one.
    """
    rows = len(columns["tenure_days"])
    values, points = (np.full((rows, len(metrics)), np.nan) for _ in range(2))
    reasons = np.zeros((rows, len(metrics)), dtype=np.int8)
    silent = (columns["tickets_90d"] == 0) & (columns["open_tickets"] == 0)
    active = columns["monthly_active_users"] >= 1
    scale = ramp_scale(columns["tenure_days"], settings) if ramp else np.ones(rows)
    for at, weighted in enumerate(metrics):
        metric = weighted.metric
        value, why = _as_scored(columns[metric.metric], metric, silent, active, scale)
        values[:, at], reasons[:, at] = value, why
        policy = {"neutral": NEUTRAL, "worst": min(height for _, height in metric.anchors)}
        instead = np.where(why == UNMEASURED, policy.get(metric.missing, np.nan), np.nan)
        points[:, at] = np.where(np.isnan(value), instead, points_at(value, metric, scale))
    return ScoredMetrics(values, points, reasons)


def ramp_scale(tenure_days: np.ndarray, settings: Settings) -> np.ndarray:
    """tenure / ramp_days for a new customer, 1 for the others and where tenure is unknown."""
    tenure = np.asarray(tenure_days, dtype=float)
    if settings.ramp_days == 0:
        return np.ones(len(tenure))
    return np.where(tenure < settings.ramp_days, np.maximum(tenure, 0.0) / settings.ramp_days, 1.0)


def _as_scored(
    column: np.ndarray,
    metric: ScorecardMetric,
    silent: np.ndarray,
    active: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The value that a metric is scored by, and the code of why it is missing."""
    raw = np.asarray(column, dtype=float)
    value = np.where(np.isfinite(raw), raw, np.nan)
    why = np.where(np.isnan(value), UNMEASURED, PRESENT)
    if metric.metric in TICKET_METRICS:
        is_good = active & (metric.metric in TICKET_COUNTS)
        value = np.where(silent, np.where(is_good, 0.0, np.nan), value)
        why = np.where(silent, np.where(is_good, PRESENT, SILENCE), why)
    if metric.own_baseline or metric.per_tenure:
        # on the day of signup the anchors have shrunk to a point: nothing is expected
        unexpected = (scale < 1) if metric.own_baseline else (scale == 0)
        why = np.where(unexpected & (why == PRESENT), RAMP, why)
        value = np.where(unexpected, np.nan, value)
    return value, why


def points_at(
    value: np.ndarray, metric: ScorecardMetric, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """Points of values: linear (or in their log) between the anchors, clamped beyond, NaN where the value is.

    Of a ``per_tenure`` metric the anchors' values are multiplied by ``scale``.

    >>> from healthseg.settings import DEFAULT_SCORECARD
    >>> seats = DEFAULT_SCORECARD.components["usage"].metrics[0]
    >>> points_at(np.array([.25, .65, .9, np.nan]), seats).round(6).tolist()
    [30.0, 80.0, 100.0, nan]
    """
    knots, heights = (np.array(column) for column in zip(*metric.anchors, strict=True))
    if metric.per_tenure:
        value = value / np.where(np.asarray(scale) > 0, scale, 1.0)
    if metric.logarithm:
        value, knots = np.log(np.maximum(value, knots[0])), np.log(knots)
    return np.round(np.clip(np.interp(value, knots, heights), 0.0, 100.0), DECIMALS)


def custom_weights(
    weights: Mapping[str, Any], components: Sequence[str] = COMPONENTS
) -> dict[str, float]:
    """The weights of a ``custom`` score, normalised to sum 1; a missing one is 0.

    ``components`` are those of the scorecards, a team's own among them: each has a key ``<component>_weight``.
    Raises InvalidParameters for unknown names, anything but finite non-negative numbers, and weights that are all zero.

    >>> custom_weights({"usage_weight": 3, "payment_weight": 1})["usage_weight"]
    0.75
    """
    keys = [f"{name}_weight" for name in components]
    if not isinstance(weights, Mapping):
        raise _invalid("component_weights", weights, "a mapping of " + ", ".join(keys))
    for name, value in weights.items():
        if name not in keys:
            rule = "keys are " + ", ".join(keys)
            raise _invalid("component_weights", name, rule, hint(str(name), keys))
        if not _is_weight(value):
            rule = "a finite number that is not negative"
            raise _invalid(f"component_weights.{name}", value, rule)
    highest = max(map(float, weights.values()), default=0.0)
    if highest == 0:
        raise _invalid("component_weights", dict(weights), "at least one weight is above 0")
    # scaled first, so that huge weights don't overflow
    scaled = {key: float(weights.get(key, 0.0)) / highest for key in keys}
    total = sum(scaled.values())
    return {key: value / total for key, value in scaled.items()}


def _is_weight(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    return is_number and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def model_weights(
    scoring_model: str,
    component_weights: Mapping[str, Any] | None,
    components: Sequence[str] = COMPONENTS,
) -> dict[str, float] | None:
    """The weights of a request: None for the scorecard's own.

    ``component_weights`` belong to ``custom`` alone; without them ``custom`` has the scorecard's.
    """
    if scoring_model not in SCORE_MODELS:
        rule, ending = "one of " + ", ".join(SCORE_MODELS), hint(str(scoring_model), SCORE_MODELS)
        raise _invalid("scoring_model", scoring_model, rule, ending)
    if component_weights is not None and scoring_model != "custom":
        rule = f"only with scoring_model custom, not {scoring_model}"
        raise _invalid("component_weights", component_weights, rule)
    return None if component_weights is None else custom_weights(component_weights, components)


def _invalid(parameter: str, value: Any, rule: str, ending: str = "") -> InvalidParameters:
    return InvalidParameters(
        f"{parameter} {value!r} is refused: {rule}{ending}",
        parameter=parameter,
        value_provided=str(value)[:200],
        validation_rule=rule,
    )
