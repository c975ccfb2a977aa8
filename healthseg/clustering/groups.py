"""Customers grouped by metrics: how many groups there are, if any, and which customer belongs to
which.

A number of groups is reported only where resampled customers fall into the same groups again,
together and each group by itself; where the groups beat one cloud (BIC); and where that gain and
the silhouette exceed those of clouds with the portfolio's own values and rank correlations: without
this reference three of four structureless clouds would pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from healthseg.clustering.mixture import (
    QUARTILES_TO_SD,
    MetricScale,
    Mixture,
    by_size,
    fit,
    references,
    scale_of,
    silhouette,
)
from healthseg.settings import Settings

FLOOR = 1e-3  # least variance within groups, in robust standard deviations
STARTS = 10
TRIED = ["groups", "bic", "silhouette", "stability", "least_jaccard", "smallest", "passes"]
PROFILE = ["group", "metric", "customers", "median", "others_median", "lower", "upper", "distance"]
ASSIGNED = {
    "group": int,
    "certainty": float,
    "next_group": int,
    "border": float,
    "same_again": float,
}
# after so many resamples a number of groups with less agreement is given up
LOOK, HOPELESS = 8, 0.65


@dataclass(frozen=True)
class GroupEvidence:
    """The evidence for a number of groups. ``tried`` has a row per number of groups (``TRIED``).

    ``groups`` is None where ``reason`` says why there are none; ``p`` is the reference's, from ``draws`` clouds;
    ``sampled`` the customers that it rests on.
    """

    groups: int | None
    reason: str | None
    tried: pd.DataFrame
    mixture: Mixture | None
    p: float | None
    draws: int
    sampled: int

    @property
    def row(self) -> dict[Any, Any]:
        """The chosen number's row, else that with the best silhouette; empty where none was tried."""
        chosen = self.tried["groups"] == self.groups if self.groups else self.tried["groups"] > 1
        rows = self.tried[chosen].sort_values("silhouette", ascending=False, kind="stable")
        return rows.iloc[0].to_dict() if len(rows) else {}


@dataclass(frozen=True)
class Grouping:
    """The groups of some customers. ``placed`` by client_id: group (0 the largest), certainty, next_group, border.

    ``border`` is the distance to the plane between the group and the next, in standard deviations within groups;
    ``certainty`` the probability of the group, ``same_again`` that of the same group in a second draw. ``dropped`` says
    of a metric why it separates nobody, ``reason`` why there are no groups.
    """

    metrics: tuple[str, ...]
    dropped: dict[str, str]
    method: str
    evidence: GroupEvidence
    scales: tuple[MetricScale, ...]
    order: np.ndarray
    placed: pd.DataFrame

    @property
    def reason(self) -> str | None:
        return self.evidence.reason

    @property
    def groups(self) -> int:
        return 0 if self.evidence.mixture is None else self.evidence.mixture.groups

    def profile(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What distinguishes the groups (``profile``), by metrics of their customers; without rows where there are none."""
        return profile(frame.loc[self.placed.index], self.placed["group"])

    def place(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The groups of other rows of the same metrics: as ``placed``, for rows with all of them."""
        complete = frame[[scale.metric for scale in self.scales]].astype(float).dropna()
        return _assigned(complete, self.evidence.mixture, self.scales, self.order)


def grouping(
    frame: pd.DataFrame,
    method: str,
    least: int,
    most: int,
    settings: Settings,
    groups: int | None = None,
) -> Grouping:
    """Groups of the rows of ``frame`` (by client_id, a column per metric), as far as the evidence goes.

    There are 2 to ``most`` groups of at least ``least`` customers; ``groups`` is a number that the caller wants: only
    it is tried, and its groups are assigned also where the evidence is against them. Rows that lack a metric are left
    out. The evidence rests on a fixed sample; all rows are assigned.
    """
    frame = frame.sort_index().astype(float)
    dropped, scales = _scales(frame, settings.groups_min_known_share)
    complete = frame[[scale.metric for scale in scales]].dropna()
    if not scales:
        complete = complete.iloc[:0]
    points, floor = _points(complete, scales)
    sampled = sample_of(list(complete.index), settings.groups_sample_customers)
    least = max(2, int(np.ceil(least * len(sampled) / max(len(complete), 1))))
    evidence = group_evidence(points[sampled], floor, method, least, most, settings, groups)
    mixture = evidence.mixture
    order = np.array([]) if mixture is None else by_size(mixture.labels(points), mixture.groups)
    assigned = _assigned(complete, mixture, scales, order)
    return Grouping(tuple(frame.columns), dropped, method, evidence, scales, order, assigned)


def _scales(
    frame: pd.DataFrame, min_known_share: float
) -> tuple[dict[str, str], tuple[MetricScale, ...]]:
    dropped, scales = {}, []
    for name in frame:
        share = frame[name].notna().mean() if len(frame) else 0.0
        if share < min_known_share:
            needed = f"{100 * min_known_share:.0f}% are needed"
            dropped[name] = f"known of {100 * share:.0f}% of the customers, {needed}"
        elif scale := scale_of(name, frame[name].to_numpy()):
            scales.append(scale)
        else:
            dropped[name] = "it has fewer than three distinct values"
    return dropped, tuple(scales)


def _points(complete: pd.DataFrame, scales: Sequence[MetricScale]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates, and the least variance within groups by metric."""
    if not scales:
        return np.empty((0, 1)), np.zeros(1)
    points = np.column_stack([scale.of(complete[scale.metric].to_numpy()) for scale in scales])
    return points, np.array([max(scale.grain**2 / 12, FLOOR) for scale in scales])


def _assigned(
    complete: pd.DataFrame,
    mixture: Mixture | None,
    scales: Sequence[MetricScale],
    order: np.ndarray,
) -> pd.DataFrame:
    if mixture is None or not len(complete):
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in ASSIGNED.items()})
    points, _ = _points(complete, scales)
    member = mixture.memberships(points)[:, order]
    squared = mixture.distances(points)[:, order]
    if member.shape[1] == 1:
        member = np.c_[member, np.zeros(len(member))]
        squared = np.c_[squared, np.full(len(squared), np.inf)]
    ranked = np.argsort(-member, axis=1, kind="stable")
    own, other, rows = ranked[:, 0], ranked[:, 1], np.arange(len(complete))
    centres = mixture.whitened(mixture.centres)[order]
    between = np.linalg.norm(centres[own] - centres[np.minimum(other, len(centres) - 1)], axis=1)
    border = np.full(len(complete), np.nan)
    np.divide(squared[rows, other] - squared[rows, own], 2 * between, border, where=between > 0)
    columns = (own, member[rows, own], other, border, (member**2).sum(axis=1))
    return pd.DataFrame(dict(zip(ASSIGNED, columns, strict=True)), index=complete.index)


def sample_of(names: Sequence[str], size: int) -> np.ndarray:
    """Positions of a fixed sample: by the hash of the name, whatever the order of rows."""
    if len(names) <= size:
        return np.arange(len(names))
    digests = [hashlib.sha256(str(name).encode()).digest() for name in names]
    return np.array(sorted(sorted(range(len(names)), key=digests.__getitem__)[:size]))


def group_evidence(
    points: np.ndarray,
    floor: np.ndarray,
    method: str,
    least: int,
    most: int,
    settings: Settings,
    groups: int | None = None,
) -> GroupEvidence:
    """The number of groups that the evidence supports, as ``grouping`` describes it."""
    needed = settings.groups_min_customers
    if len(points) < needed:
        reason = f"{len(points)} customers with all metrics, {needed} are needed"
        return GroupEvidence(None, reason, pd.DataFrame(columns=TRIED), None, None, 0, len(points))
    # the same bits whatever the machine, and small matrices are slower on more threads
    with threadpool_limits(1):
        return _Trial(points, floor, method, settings).evidence(least, most, groups)


@dataclass(frozen=True)
class _Trial:
    """One sample of customers, on which numbers of groups are tried."""

    points: np.ndarray
    floor: np.ndarray
    method: str
    settings: Settings

    def fit(self, points: np.ndarray, groups: int, seed: int, starts: int = 4) -> Mixture | None:
        return fit(points, groups, self.method, self.floor, seed, starts)

    def _single(self, points: np.ndarray) -> Mixture:
        """One cloud, which always has a fit."""
        mixture = self.fit(points, 1, self.settings.seed)
        assert mixture is not None
        return mixture

    def evidence(self, least: int, most: int, wanted: int | None) -> GroupEvidence:
        seed = self.settings.seed
        single = self._single(self.points)
        fitted = {
            k: mixture
            for k in ([wanted] if wanted else range(2, most + 1))
            if (mixture := self.fit(self.points, k, seed, STARTS)) is not None
        }
        tried = pd.DataFrame(
            [self._row(single, np.nan, np.nan)]
            + [
                self._row(mixture, *self._stability(mixture, single.bic))
                for mixture in fitted.values()
            ]
        )
        tried["passes"] = (
            (tried["groups"] > 1)
            & (tried["bic"] > single.bic)
            & (tried["smallest"] >= least)
            & (tried["stability"] >= self.settings.groups_min_stability)
            & (tried["least_jaccard"] >= self.settings.groups_min_jaccard)
        )
        order, ascending = ["silhouette", "groups"], [False, True]
        good = tried[tried["passes"]].sort_values(order, ascending=ascending, kind="stable")
        customers = len(self.points)
        if not len(good):
            reason = _why_none(tried, single.bic, least)
            mixture = fitted.get(wanted) if wanted else None
            return GroupEvidence(None, reason, tried, mixture, None, 0, customers)
        best = fitted[int(good["groups"].iloc[0])]
        p, draws = self._reference_p(best, single.bic, max(most, best.groups))
        if p <= self.settings.groups_reference_max_p:
            return GroupEvidence(best.groups, None, tried, best, p, draws, customers)
        reason = (
            "customers can be parted, but no better than a portfolio without groups that has the same "
            "values and correlations"
        )
        return GroupEvidence(None, reason, tried, best if wanted else None, p, draws, customers)

    def _row(self, mixture: Mixture, stability: float, jaccard: float) -> dict[str, float]:
        labels = mixture.labels(self.points)
        return {
            "groups": mixture.groups,
            "bic": mixture.bic,
            "silhouette": _silhouette(mixture, self.points),
            "stability": stability,
            "least_jaccard": jaccard,
            "smallest": int(np.bincount(labels, minlength=mixture.groups).min()),
        }

    def _stability(self, mixture: Mixture, single_bic: float) -> tuple[float, float]:
        """Mean adjusted Rand index with the groups of resampled customers, and the worst group's mean Jaccard index.

        NaN where one cloud describes the customers as well.
        """
        from sklearn.metrics import adjusted_rand_score  # here: scikit-learn takes long to load

        if mixture.bic <= single_bic:
            return np.nan, np.nan
        points, seed = self.points, self.settings.seed
        labels, rng = mixture.labels(points), np.random.default_rng([seed, 3])
        agreement: list[float] = []
        jaccard = np.zeros(mixture.groups)
        for draw in range(self.settings.groups_resamples):
            if draw == LOOK and np.mean(agreement) < HOPELESS:
                break
            drawn = points[rng.integers(0, len(points), len(points))]
            again = self.fit(drawn, mixture.groups, seed + draw + 1, 3)
            if again is None:
                agreement.append(0.0)
                continue
            other = again.labels(points)
            agreement.append(float(adjusted_rand_score(labels, other)))
            jaccard += _jaccard(labels, other, mixture.groups)
        return float(np.mean(agreement)), float(jaccard.min() / len(agreement))

    def _reference_p(self, best: Mixture, single_bic: float, most: int) -> tuple[float, int]:
        """How often does a portfolio without groups reach this one, and how many such portfolios were drawn?

        A reference reaches it where its best gain of BIC, over any number of groups, is as large, or the silhouette of
        as many groups. Drawing ends as soon as the answer is certain.
        """
        seed, draws = self.settings.seed, self.settings.groups_reference_draws
        gain, apart = best.bic - single_bic, _silhouette(best, self.points)
        reached = [0, 0]
        for draw, cloud in enumerate(references(self.points, draws, seed), start=1):
            single = self._single(cloud)
            fitted = {
                k: self.fit(cloud, k, seed + draw, 3 if k == best.groups else 1)
                for k in range(2, most + 1)
            }
            gains = [mixture.bic - single.bic for mixture in fitted.values() if mixture is not None]
            like = fitted.get(best.groups)
            reached[0] += max(gains, default=-np.inf) >= gain
            reached[1] += like is not None and _silhouette(like, cloud) >= apart
            if (1 + max(reached)) / (1 + draws) > self.settings.groups_reference_max_p:
                return (1 + max(reached)) / (1 + draw), draw
        return (1 + max(reached)) / (1 + draws), draws


def _silhouette(mixture: Mixture, points: np.ndarray) -> float:
    """In units of the spread within groups; 0 of one group."""
    used = np.unique(mixture.labels(points), return_inverse=True)[1]
    return silhouette(mixture.whitened(points), used) if used.max() > 0 else 0.0


def _jaccard(labels: np.ndarray, other: np.ndarray, groups: int) -> np.ndarray:
    """Per group the Jaccard index with its likest group in the other partition."""
    both = np.zeros((groups, groups))
    np.add.at(both, (labels, other), 1)
    either = both.sum(axis=1)[:, None] + both.sum(axis=0) - both
    return (both / np.maximum(either, 1)).max(axis=1)


def _why_none(tried: pd.DataFrame, single_bic: float, least: int) -> str:
    separated = tried[tried["groups"] > 1]
    if not (separated["bic"] > single_bic).any():
        return "one cloud describes the customers as well as any parts of it"
    if not (separated["smallest"] >= least).any():
        return f"every parting has a segment of fewer than {least} customers"
    return "resampled customers fall into other segments each time"


def profile(frame: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """What distinguishes each group: a row per group and metric, the most distant metric of each group first.

    ``distance`` is the difference between the group's median and the others', in the metric's robust standard
    deviation over all (interquartile range ÷ 1.349); lower and upper are the group's quartiles.
    """
    rows = []
    for number in sorted(group.unique()):
        inside = frame.loc[group.index[group == number]]
        outside = frame.loc[group.index[group != number]]
        for name in frame:
            known, rest = inside[name].dropna(), outside[name].dropna()
            if not len(known):
                continue
            lower, median, upper = known.quantile([0.25, 0.5, 0.75])
            others = float(rest.median()) if len(rest) else np.nan
            width = spread(frame.loc[group.index, name].dropna())
            distance = float((median - others) / width) if len(rest) and width > 0 else 0.0
            rows.append([number, name, len(known), median, others, lower, upper, distance])
    table = pd.DataFrame(rows, columns=PROFILE)
    size = -table["distance"].abs()
    return (
        table.assign(size=size)
        .sort_values(["group", "size"], kind="stable", ignore_index=True)
        .drop(columns="size")
    )


def spread(values: pd.Series) -> float:
    """The interquartile range as a standard deviation, else the standard deviation."""
    quartiles = float(values.quantile(0.75) - values.quantile(0.25)) / QUARTILES_TO_SD
    return quartiles if quartiles > 0 else float(values.std(ddof=0))
