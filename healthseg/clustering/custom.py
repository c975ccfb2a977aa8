"""Customers grouped by named metrics: prepared, parted by evidence, each placed with its certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.clustering.evidence import Evidence, evidence, sample_of
from healthseg.clustering.mixture import Mixture
from healthseg.clustering.preparing import Scale, scale_of

LEAST_FLOOR = 1e-3  # of the variance within groups, in robust standard deviations
LEAST_KNOWN = 0.5  # a metric that fewer know would leave most of the customers unplaced
PROFILE = ["group", "metric", "customers", "median", "others_median", "lower", "upper", "distance"]


@dataclass(frozen=True)
class Grouping:
    """What came of grouping. ``placed`` by client_id: group (0 the largest), certainty, next_group, border.

    ``border`` is the distance to the plane between its group and the next, in standard deviations within groups;
    certainty the probability of its group. ``dropped`` says of a metric why it parts nobody, ``reason`` why there are
    no groups.
    """

    metrics: tuple[str, ...]
    dropped: dict[str, str]
    method: str
    evidence: Evidence
    scales: tuple[Scale, ...]
    order: np.ndarray
    placed: pd.DataFrame

    @property
    def reason(self) -> str | None:
        return self.evidence.reason

    @property
    def groups(self) -> int:
        return 0 if self.evidence.mixture is None else self.evidence.mixture.groups

    def place(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Where other rows of the same metrics lie: as ``placed``, for rows with all of them."""
        known = frame[[scale.metric for scale in self.scales]].astype(float).dropna()
        return (
            _placed(known, self.evidence.mixture, self.scales, self.order)
            if len(known)
            else _nobody()
        )


def grouping(
    frame: pd.DataFrame, method: str, least: int, most: int, seed: int, given: int | None = None
) -> Grouping:
    """Groups of the rows of ``frame`` (indexed by client_id, a column a metric), as far as the evidence goes.

    Rows that lack a metric are left out. The evidence is gathered on a fixed sample, all rows are
    placed by its groups.
    """
    frame = frame.sort_index().astype(float)
    dropped, scales = _scales(frame)
    known = frame[[scale.metric for scale in scales]].dropna()
    if not scales or not len(known):
        found = evidence(np.empty((0, 1)), np.zeros(1), method, least, most, seed)
        return Grouping(tuple(frame.columns), dropped, method, found, (), np.array([]), _nobody())
    points, floor = _points(known, scales)
    sampled = sample_of(list(known.index))
    found = evidence(
        points[sampled], floor, method, _scaled(least, len(sampled), len(known)), most, seed, given
    )
    order = (
        np.array([])
        if found.mixture is None
        else _by_size(found.mixture.labels(points), found.mixture.groups)
    )
    placed = _nobody() if found.mixture is None else _placed(known, found.mixture, scales, order)
    return Grouping(tuple(frame.columns), dropped, method, found, scales, order, placed)


def _scaled(least: int, sampled: int, customers: int) -> int:
    return max(2, int(np.ceil(least * sampled / customers)))


def _scales(frame: pd.DataFrame) -> tuple[dict[str, str], tuple[Scale, ...]]:
    dropped, scales = {}, []
    for name in frame:
        known = frame[name].notna().mean() if len(frame) else 0.0
        scale = scale_of(name, frame[name].to_numpy()) if known >= LEAST_KNOWN else None
        if scale is not None:
            scales.append(scale)
        elif known < LEAST_KNOWN:
            dropped[name] = (
                f"known of {100 * known:.0f} % of the customers, {100 * LEAST_KNOWN:.0f} % are needed"
            )
        else:
            dropped[name] = "it has fewer than three distinct values"
    return dropped, tuple(scales)


def _points(known: pd.DataFrame, scales: Sequence[Scale]) -> tuple[np.ndarray, np.ndarray]:
    points = np.column_stack([scale.of(known[scale.metric].to_numpy()) for scale in scales])
    return points, np.array([max(scale.grain**2 / 12, LEAST_FLOOR) for scale in scales])


def _by_size(labels: np.ndarray, groups: int) -> np.ndarray:
    """The mixture's groups from the largest to the smallest; of equal ones the one whose first row comes first."""
    counts = np.bincount(labels, minlength=groups)
    first = [
        int(np.argmax(labels == group)) if counts[group] else len(labels) for group in range(groups)
    ]
    return np.array(sorted(range(groups), key=lambda group: (-counts[group], first[group])))


def _placed(
    known: pd.DataFrame, mixture: Mixture, scales: Sequence[Scale], order: np.ndarray
) -> pd.DataFrame:
    points, _ = _points(known, scales)
    member = mixture.memberships(points)[:, order]
    squared = mixture.distances(points)[:, order]
    if member.shape[1] == 1:
        member, squared = (
            np.c_[member, np.zeros(len(member))],
            np.c_[squared, np.full(len(squared), np.inf)],
        )
    ranked = np.argsort(-member, axis=1, kind="stable")
    own, other = ranked[:, 0], ranked[:, 1]
    centres = (mixture.centres @ mixture.whitener)[order]
    between = np.linalg.norm(centres[own] - centres[np.minimum(other, len(centres) - 1)], axis=1)
    rows = np.arange(len(known))
    border = np.divide(
        squared[rows, other] - squared[rows, own],
        2 * between,
        out=np.full(len(known), np.nan),
        where=between > 0,
    )
    return pd.DataFrame(
        {
            "group": own,
            "certainty": member[rows, own],
            "next_group": other,
            "border": border,
            "same_again": (member**2).sum(axis=1),
        },
        index=known.index,
    )


def _nobody() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "group": pd.Series(dtype=int),
            "certainty": pd.Series(dtype=float),
            "next_group": pd.Series(dtype=int),
            "border": pd.Series(dtype=float),
            "same_again": pd.Series(dtype=float),
        }
    )


def profile(frame: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """What sets each group apart: a row per group and metric, the most distant metric of each group first.

    ``distance`` is the difference between the group's median and the others', in the metric's robust standard
    deviation over all (interquartile range ÷ 1.349); lower and upper are the group's quartiles.
    """
    rows = []
    for number in sorted(group.unique()):
        inside, outside = (
            frame.loc[group.index[group == number]],
            frame.loc[group.index[group != number]],
        )
        for name in frame:
            known, rest = inside[name].dropna(), outside[name].dropna()
            if not len(known):
                continue
            spread = _spread(frame.loc[group.index, name].dropna())
            away = (known.median() - rest.median()) / spread if len(rest) and spread > 0 else 0.0
            rows.append(
                [
                    number,
                    name,
                    len(known),
                    float(known.median()),
                    float(rest.median()) if len(rest) else np.nan,
                    float(known.quantile(0.25)),
                    float(known.quantile(0.75)),
                    float(away),
                ]
            )
    found = pd.DataFrame(rows, columns=PROFILE)
    order = found.assign(size=-found["distance"].abs()).sort_values(
        ["group", "size"], kind="stable"
    )
    return found.loc[order.index].reset_index(drop=True)


def _spread(values: pd.Series) -> float:
    quarter = float(values.quantile(0.75) - values.quantile(0.25)) / 1.349
    return quarter if quarter > 0 else float(values.std(ddof=0))
