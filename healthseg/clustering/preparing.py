"""Metrics as points: transformed where they are skewed, scaled by their middle half, so that no unit rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SKEWED = 1.0  # of the third standardised moment: beyond it a log or a root is tried
REACH = (
    5.0  # robust standard deviations: farther values are moved there, none is a segment by itself
)
LEAST_DISTINCT = 3
FORMS = {"none": lambda x: x, "root": np.sqrt, "log": np.log1p}


@dataclass(frozen=True)
class Scale:
    """How a metric's values become coordinates: ``form`` of (value − low) ÷ unit, less centre, over spread."""

    metric: str
    form: str
    low: float
    unit: float
    centre: float
    spread: float
    grain: float  # the width of a value's interval, in coordinates

    def of(self, values: np.ndarray) -> np.ndarray:
        """Coordinates, clipped to where customers were seen."""
        shifted = np.maximum((np.asarray(values, dtype=float) - self.low) / self.unit, 0)
        plain = (
            FORMS[self.form](shifted) if self.form != "none" else np.asarray(values, dtype=float)
        )
        return np.clip((plain - self.centre) / self.spread, -REACH, REACH)


def scale_of(metric: str, values: np.ndarray) -> Scale | None:
    """The scale of a metric's known values; None where they are too few to part anybody by.

    Of none, root and log the one with the least skewness is used where the plain values' exceeds 1; the spread is the
    interquartile range ÷ 1.349, the standard deviation where half of the customers have the same value.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    if len(distinct) < LEAST_DISTINCT:
        return None
    low = min(float(distinct[0]), 0.0) if distinct[0] >= 0 else float(distinct[0])
    unit = float(np.median(values - low)) or float((values - low).mean())
    form = "none"
    if abs(skewness(values)) > SKEWED:
        form = min(
            FORMS,
            key=lambda name: (
                abs(skewness(_formed(name, values, low, unit))),
                list(FORMS).index(name),
            ),
        )
    plain = _formed(form, values, low, unit)
    quarter, half, three = np.quantile(plain, [0.25, 0.5, 0.75])
    spread = (three - quarter) / 1.349 if three > quarter else float(plain.std())
    steps = np.diff(_formed(form, distinct, low, unit))
    return Scale(
        metric, form, low, unit, float(half), float(spread), float(np.median(steps) / spread)
    )


def _formed(form: str, values: np.ndarray, low: float, unit: float) -> np.ndarray:
    return values if form == "none" else FORMS[form](np.maximum((values - low) / unit, 0))


def skewness(values: np.ndarray) -> float:
    """The third standardised moment; 0 of values that don't vary."""
    away = values - values.mean()
    spread = float(np.sqrt((away**2).mean()))
    return float((away**3).mean()) / spread**3 if spread > 0 else 0.0
