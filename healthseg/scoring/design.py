"""From metrics to the columns of a hazard model: standardised, bent at quartiles, missing as missing.

Every metric gives one standardised column (0 where it is missing: the mean), a column that says that it is missing,
where that varies, and hinges max(0, z − knot) at its quartiles, which let its effect bend. All are centred on the
rows that they were made from, so that a coefficient times a column is a difference from the average row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CLIPPED = 4.0  # standard deviations: beyond it a row says no more
MISSING_FROM = 0.005  # a share of missing below it, or above its complement, is no column
KNOTS = (0.25, 0.5, 0.75)
FLAT = 1e300  # the scale of a metric that never varied: whatever comes later is 0
LINEAR, MISSING, HINGE = "linear", "missing", "hinge"


@dataclass(frozen=True)
class Column:
    """One column: of which metric (its place), in which form, and how it is centred and scaled."""

    metric: int
    form: str
    knot: float = 0.0
    center: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Design:
    """How rows of metrics become columns; ``centers`` and ``scales`` standardise each metric."""

    centers: np.ndarray
    scales: np.ndarray
    columns: tuple[Column, ...]

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Rows × columns, without an intercept."""
        standard, gone = self.standard(values), np.isnan(values)
        owner = np.array([column.metric for column in self.columns], dtype=int)
        center, scale, knot = (
            np.array([getattr(column, name) for column in self.columns])
            for name in ("center", "scale", "knot")
        )
        hinge, missing = (
            np.array([column.form == form for column in self.columns]) for form in (HINGE, MISSING)
        )
        out = standard[:, owner]
        out[:, hinge] = np.maximum(out[:, hinge] - knot[hinge], 0.0)
        out[:, hinge] = np.where(gone[:, owner[hinge]], center[hinge], out[:, hinge])
        out[:, missing] = gone[:, owner[missing]]
        return (out - center) / scale

    def standard(self, values: np.ndarray) -> np.ndarray:
        return np.clip(np.nan_to_num((values - self.centers) / self.scales), -CLIPPED, CLIPPED)

    def to_dict(self) -> dict[str, Any]:
        return {
            "centers": self.centers.tolist(),
            "scales": self.scales.tolist(),
            "columns": [asdict(column) for column in self.columns],
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Design:
        return cls(
            np.array(kept["centers"], dtype=float),
            np.array(kept["scales"], dtype=float),
            tuple(Column(**column) for column in kept["columns"]),
        )


def make_design(values: np.ndarray, bent: Sequence[bool]) -> Design:
    """The design for rows of metrics (NaN: missing); ``bent`` says which metrics get hinges.

    A metric that is constant or never known has a linear column of zeros: it keeps its place, and says nothing.
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    centers = filled.sum(axis=0) / np.maximum(counts, 1)
    spread = np.sqrt(
        (np.where(known, values - centers, 0.0) ** 2).sum(axis=0) / np.maximum(counts, 1)
    )
    flat = spread <= 1e-9 * np.maximum(np.abs(centers), 1.0)
    plain = Design(centers, np.where(flat, FLAT, spread), ())
    standard = plain.standard(values)
    columns = [
        Column(place, LINEAR, center=float(standard[:, place].mean()))
        for place in range(values.shape[1])
    ]
    for place in range(values.shape[1]):
        columns += _missing(place, known[:, place])
        if bent[place] and not flat[place]:
            columns += _hinges(place, standard[:, place], known[:, place])
    return Design(plain.centers, plain.scales, tuple(columns))


def _missing(place: int, known: np.ndarray) -> list[Column]:
    share = 1 - float(known.mean())
    return [Column(place, MISSING, center=share)] if MISSING_FROM < share < 1 - MISSING_FROM else []


def _hinges(place: int, standard: np.ndarray, known: np.ndarray) -> list[Column]:
    """Hinges at the quartiles of the known values, each scaled to a standard deviation of 1."""
    found = []
    for knot in np.unique(np.round(np.quantile(standard[known], KNOTS), 9)).tolist():
        height = np.maximum(standard[known] - knot, 0.0)
        scale = float(height.std())
        if scale > 1e-3:
            found.append(Column(place, HINGE, knot, float(height.mean()), scale))
    return found
