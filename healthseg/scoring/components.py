"""Metrics to points: what one row of the panel earns on each metric of its scorecard.

A metric's points are linear between its anchors and clamped beyond them. Three
rules decide what counts as missing beside a missing metric: a new customer has
no baseline of its own, nothing is expected on the day of signup, and the silence
of support means something only where people are active.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.settings import COMPONENTS, Scorecard, ScorecardMetric, Settings

WEIGHT_KEYS = tuple(f"{name}_weight" for name in COMPONENTS)
TICKET_COUNTS = ("open_high_tickets", "open_tickets", "tickets_90d", "tickets_per_10_mau_90d")
TICKET_METRICS = (*TICKET_COUNTS, "median_resolution_hours_90d")
DECIMALS = (
    9  # of points and scores: figures that are equal but for the order of their additions are equal
)
PRESENT, UNMEASURED, RAMP, SILENCE = range(4)
MISSING_REASONS = (None, "unmeasured", "ramp", "silence")


@dataclass(frozen=True)
class Rule:
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
    def key(self) -> tuple[str, str]:
        return self.component, self.metric.metric


@dataclass(frozen=True)
class Judged:
    """Values as judged, points, and why a metric is missing; each of shape (rows, metrics)."""

    values: np.ndarray
    points: np.ndarray
    reasons: np.ndarray


def rules_of(card: Scorecard, weights: Mapping[str, float] | None = None) -> tuple[Rule, ...]:
    """The scorecard's metrics in order, with component weights replaced by ``weights`` where given.

    >>> from healthseg.settings import DEFAULT_SCORECARD
    >>> first = rules_of(DEFAULT_SCORECARD)[0]
    >>> first.metric.metric, round(first.weight, 3)
    ('seat_utilisation', 0.14)
    """
    given = {
        name: part.weight if weights is None else weights.get(f"{name}_weight", 0.0)
        for name, part in card.components.items()
    }
    total = sum(given.values())
    rules = []
    for name in (name for name in COMPONENTS if name in card.components):
        inside = sum(metric.weight for metric in card.components[name].metrics)
        rules += [
            Rule(name, given[name] / total if total else 0.0, metric.weight / inside, metric)
            for metric in card.components[name].metrics
        ]
    return tuple(rules)


def judge(
    columns: Mapping[str, np.ndarray],
    rules: tuple[Rule, ...],
    config: Settings,
    *,
    ramp: bool = True,
) -> Judged:
    """Values, points and reasons of every metric for rows of the panel given as columns.

    ``ramp=False`` judges a new customer as if it were an old one.
    """
    rows = len(columns["tenure_days"])
    shape = (rows, len(rules))
    values, points = np.full(shape, np.nan), np.full(shape, np.nan)
    reasons = np.zeros(shape, dtype=np.int8)
    silent, active = silence(columns)
    scale = ramp_scale(columns["tenure_days"], config) if ramp else np.ones(rows)
    for at, rule in enumerate(rules):
        value, why = _as_judged(columns, rule.metric, silent, active, scale)
        values[:, at], reasons[:, at] = value, why
        points[:, at] = points_at(value, rule.metric, scale)
    return Judged(values, points, reasons)


def silence(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Per row: is there a tickets table but no ticket open or opened in 90 days; was a person active in 30 days."""
    silent = (columns["tickets_90d"] == 0) & (columns["open_tickets"] == 0)
    return silent, columns["monthly_active_users"] >= 1


def ramp_scale(tenure_days: np.ndarray, config: Settings) -> np.ndarray:
    """tenure / ramp_days for a new customer, 1 for the others and where tenure is unknown."""
    tenure = np.asarray(tenure_days, dtype=float)
    if config.ramp_days == 0:
        return np.ones(len(tenure))
    return np.where(tenure < config.ramp_days, np.maximum(tenure, 0.0) / config.ramp_days, 1.0)


def _as_judged(
    columns, metric: ScorecardMetric, silent, active, scale
) -> tuple[np.ndarray, np.ndarray]:
    """The value a metric is judged by, and the code of why it is missing."""
    raw = np.asarray(columns[metric.metric], dtype=float)
    value = np.where(np.isfinite(raw), raw, np.nan)
    why = np.where(np.isnan(value), UNMEASURED, PRESENT)
    if metric.metric in TICKET_METRICS:
        counted = metric.metric in TICKET_COUNTS
        value = np.where(silent, np.where(active & counted, 0.0, np.nan), value)
        why = np.where(silent, np.where(active & counted, PRESENT, SILENCE), why)
    if metric.own_baseline or metric.per_tenure:
        # On the day of signup the anchors have shrunk to a point: nothing is expected, nothing is judged.
        gone = (scale < 1) if metric.own_baseline else (scale == 0)
        why = np.where(gone & (why == PRESENT), RAMP, why)
        value = np.where(gone, np.nan, value)
    return value, why


def points_at(
    value: np.ndarray, metric: ScorecardMetric, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """Points of values: linear between the anchors, clamped beyond, NaN where the value is.

    Of a ``per_tenure`` metric the anchors' values are multiplied by ``scale``.

    >>> from healthseg.settings import DEFAULT_SCORECARD
    >>> seats = DEFAULT_SCORECARD.components["usage"].metrics[0]
    >>> points_at(np.array([.25, .65, .9, np.nan]), seats).round(6).tolist()
    [30.0, 80.0, 100.0, nan]
    """
    knots, heights = (np.array(column) for column in zip(*metric.anchors, strict=True))
    stretched = value
    if metric.per_tenure:
        stretched = value / np.where(np.asarray(scale) > 0, scale, 1.0)
    return np.round(np.clip(np.interp(stretched, knots, heights), 0.0, 100.0), DECIMALS)


def custom_weights(given: Mapping[str, Any]) -> dict[str, float]:
    """The weights of a ``custom`` score, normalised to sum 1; what is left out weighs 0.

    Raises InvalidParameters for unknown names, what is no finite non-negative
    number, and weights that are all zero.

    >>> custom_weights({"usage_weight": 3, "payment_weight": 1})["usage_weight"]
    0.75
    """
    if not isinstance(given, Mapping):
        raise _refused("component_weights", given, "a mapping of " + ", ".join(WEIGHT_KEYS))
    for name, value in given.items():
        if name not in WEIGHT_KEYS:
            rule = "keys are " + ", ".join(WEIGHT_KEYS)
            raise _refused("component_weights", name, rule, hint(str(name), WEIGHT_KEYS))
        if not _is_weight(value):
            raise _refused(
                f"component_weights.{name}", value, "a finite number that is not negative"
            )
    highest = max(map(float, given.values()), default=0.0)
    if highest == 0:
        raise _refused("component_weights", dict(given), "at least one weight is above 0")
    scaled = {
        key: float(given.get(key, 0.0)) / highest for key in WEIGHT_KEYS
    }  # so that huge weights don't overflow
    total = sum(scaled.values())
    return {key: value / total for key, value in scaled.items()}


def _is_weight(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(
        value, bool
    )
    return number and 0 <= value <= sys.float_info.max


def model_weights(
    scoring_model: str, component_weights: Mapping[str, Any] | None
) -> dict[str, float] | None:
    """The weights that a call asks for: None where the scorecard's own stand.

    ``component_weights`` belong to ``custom`` alone; without them ``custom`` has the scorecard's.
    """
    models = ("weighted_composite", "ml_predictive", "custom")
    if scoring_model not in models:
        raise _refused(
            "scoring_model",
            scoring_model,
            "one of " + ", ".join(models),
            hint(str(scoring_model), models),
        )
    if component_weights is not None and scoring_model != "custom":
        raise _refused(
            "component_weights",
            component_weights,
            f"only with scoring_model custom, not {scoring_model}",
        )
    return None if component_weights is None else custom_weights(component_weights)


def _refused(parameter: str, value: Any, rule: str, ending: str = "") -> InvalidParameters:
    return InvalidParameters(
        f"{parameter} {value!r} is refused: {rule}{ending}",
        parameter=parameter,
        value_provided=str(value)[:200],
        validation_rule=rule,
    )
