"""What a churn model reads of the panel: each metric, its form, its prior direction, and how it is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, hint
from healthseg.metrics import catalog
from healthseg.scoring.components import judge, rules_of
from healthseg.settings import Settings

VALUE, LOG, POINTS, LEVEL = "value", "log", "points", "level"
FAMILY = "feature_events_"
HALF = 0.5  # of a metric's direction: its value has one half, its points the other


@dataclass(frozen=True)
class Predictor:
    """One input of the model. ``direction`` is +: more of it, more leaving; ``level`` a word that makes it 1."""

    metric: str
    form: str
    label: str
    unit: str
    group: str
    direction: float = 0.0
    level: str | None = None

    @property
    def bent(self) -> bool:
        """Whether its effect may bend: of a metric's points the scorecard has bent it already."""
        return self.form in (VALUE, LOG) and self.direction != 0


def predictors_of(rows: pd.DataFrame, config: Settings) -> tuple[Predictor, ...]:
    """The inputs that vary in these rows, in a fixed order; what is constant or never known is left out."""
    found = [*_scored_metrics(config), *_metrics(rows, config), *_levels(rows)]
    values = values_of(rows, found, config)
    return tuple(one for one, column in zip(found, values.T, strict=True) if _varies(column))


def _varies(column: np.ndarray) -> bool:
    known = column[~np.isnan(column)]
    return len(known) > 0 and bool(np.ptp(known) > 0)


def _scored_metrics(config: Settings) -> list[Predictor]:
    """The scorecard's metrics, each as its value and as its points, with the scorecard's direction."""
    found = []
    for rule in rules_of(config.scorecard):
        metric = rule.metric
        rises = metric.anchors[-1][1] - metric.anchors[0][1]
        sign = -float(np.sign(rises)) if rises else 0.0
        form = _form(metric.metric)
        shared = {
            "metric": metric.metric,
            "label": rule.label,
            "unit": rule.unit,
            "group": "directed",
        }
        found += [
            Predictor(**shared, form=form, direction=HALF * sign),
            Predictor(**shared, form=POINTS, direction=-HALF if sign else 0.0),
        ]
    return found


def _form(name: str) -> str:
    """Whether the model reads a metric as it is, or its logarithm."""
    return LOG if name in catalog.entries() and catalog.get(name).logarithm else VALUE


def _metrics(rows: pd.DataFrame, config: Settings) -> list[Predictor]:
    scored = {rule.metric.metric for rule in rules_of(config.scorecard)}
    plain = [
        Predictor(metric.name, _form(metric.name), metric.label, metric.unit, "metric")
        for metric in catalog.used_by("churn")
        if metric.name in rows and metric.name not in scored
    ]
    families = sorted(name for name in rows if name.startswith(FAMILY))
    return plain + [
        Predictor(name, LOG, _family_label(name), "events", "feature") for name in families
    ]


def _family_label(name: str) -> str:
    """``feature_events_28d[export]`` → Events of export in 28 days."""
    days, feature = name.removeprefix(FAMILY).removesuffix("]").split("d[", 1)
    return f"Events of {feature} in {days} days"


def _levels(rows: pd.DataFrame) -> list[Predictor]:
    """Each tier: a coefficient drawn towards none is a base rate drawn towards the portfolio's."""
    if "tier" not in rows:
        return []
    tiers = sorted(word for word in rows["tier"].dropna().unique() if isinstance(word, str))
    return [Predictor("tier", LEVEL, f"Tier {tier}", "word", "level", level=tier) for tier in tiers]


def values_of(rows: pd.DataFrame, predictors: Iterable[Predictor], config: Settings) -> np.ndarray:
    """Rows × predictors, NaN where missing. Raises CalculationError for a metric that the rows lack."""
    points = _points(rows, config)
    columns = [_column(rows, one, points) for one in predictors]
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _column(
    rows: pd.DataFrame, one: Predictor, points: dict[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    if one.form == LEVEL:
        return (rows[one.metric] == one.level).to_numpy(dtype=float)
    if one.metric in points:
        value, earned = points[one.metric]
    elif one.metric in rows:
        value, earned = _numbers(rows, one.metric), None
    elif one.metric.startswith(FAMILY):
        return np.zeros(len(rows))  # a feature that nobody has used by then
    else:
        raise CalculationError(
            f"the rows lack the metric {one.metric!r} that the model reads"
            f"{hint(one.metric, rows.columns)}",
            parameter="panel",
            value_provided=one.metric,
        )
    if one.form == POINTS:
        return earned
    return np.log1p(np.maximum(value, 0.0)) if one.form == LOG else value


def _points(rows: pd.DataFrame, config: Settings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per metric the values and points as the score judges them; metrics of absent columns are unmeasured."""
    rules = rules_of(config.scorecard)
    names = {rule.metric.metric for rule in rules} | {
        "tenure_days",
        "open_tickets",
        "tickets_90d",
        "monthly_active_users",
    }
    columns = {
        name: _numbers(rows, name) if name in rows else np.full(len(rows), np.nan) for name in names
    }
    judged = judge(columns, rules, config)
    return {
        rule.metric.metric: (judged.values[:, at], judged.points[:, at])
        for at, rule in enumerate(rules)
    }


def _numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    values = rows[name].to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def measured(rows: pd.DataFrame, one: Predictor) -> np.ndarray:
    """The metric behind a predictor, in its own unit."""
    if one.form == LEVEL:
        return (rows[one.metric] == one.level).to_numpy(dtype=float)
    return _numbers(rows, one.metric) if one.metric in rows else np.zeros(len(rows))


def to_dicts(predictors: Iterable[Predictor]) -> list[dict[str, Any]]:
    return [asdict(one) for one in predictors]
