"""Into how many groups does a portfolio fall, if into any? Three tests, and a reference that has no groups.

A number of groups is spoken of only where resampled customers fall into the same groups again, all together and each
group by itself; where the groups describe the portfolio better than one cloud for their price (BIC); and where both that
gain and the silhouette exceed what clouds with this portfolio's own values and rank correlations give. The silhouette
chooses between numbers that pass. Without the reference up to three of four structureless clouds would pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from healthseg.clustering.agreement import adjusted_rand, silhouette
from healthseg.clustering.mixture import Mixture, fit
from healthseg.clustering.reference import references

LEAST_CUSTOMERS = 40
SAMPLE = 600  # customers that the evidence is gathered on; all are placed by what is found
RESAMPLES, STARTS = 25, 10
LOOK, HOPELESS = 8, 0.65  # after so many resamples a number that agrees less is given up
LEAST_STABILITY = 0.8  # mean adjusted Rand index over resamples
LEAST_JACCARD = (
    0.75  # of each group with its like in a resample (Hennig 2007: below it no group is "stable")
)
DRAWS, MOST_P = 99, 0.01


@dataclass(frozen=True)
class Evidence:
    """What was tried and what came of it. ``tried`` has a row per number of groups: groups, bic, silhouette, stability,
    least_jaccard, smallest, passes. ``groups`` is None where ``reason`` says why there are none."""

    groups: int | None
    reason: str | None
    tried: pd.DataFrame
    mixture: Mixture | None
    p: float | None
    draws: int
    sampled: int

    @property
    def row(self) -> dict[str, float]:
        """The chosen number's row, or of those tried the one with the best silhouette; empty where none was tried."""
        rows = (
            self.tried[self.tried["groups"] == self.groups]
            if self.groups
            else self.tried[self.tried["groups"] > 1]
        )
        rows = rows.sort_values("silhouette", ascending=False, kind="stable")
        return rows.iloc[0].to_dict() if len(rows) else {}


def sample_of(names: Sequence[str], size: int = SAMPLE) -> np.ndarray:
    """Positions of a fixed sample: by the hash of the name, whatever the order of rows."""
    if len(names) <= size:
        return np.arange(len(names))
    order = sorted(
        range(len(names)), key=lambda at: hashlib.sha256(str(names[at]).encode()).digest()
    )
    return np.array(sorted(order[:size]))


def evidence(
    points: np.ndarray,
    floor: np.ndarray,
    method: str,
    least: int,
    most: int,
    seed: int,
    given: int | None = None,
) -> Evidence:
    """The number of groups that stands, from 2 to ``most`` of at least ``least`` points each.

    ``given`` is a number that the caller wants: only it is tried, and its groups are in the response also where they don't
    stand (``reason`` then says why not).
    """
    if len(points) < LEAST_CUSTOMERS:
        return _none(
            f"{len(points)} customers with all metrics, {LEAST_CUSTOMERS} are needed", len(points)
        )
    with threadpool_limits(
        1
    ):  # the same bits whatever the machine, and small matrices are slower on more
        return _gathered(points, floor, method, least, most, seed, given)


def _gathered(
    points: np.ndarray,
    floor: np.ndarray,
    method: str,
    least: int,
    most: int,
    seed: int,
    given: int | None,
) -> Evidence:
    one = fit(points, 1, method, floor, seed)
    numbers = [given] if given else list(range(2, most + 1))
    fits = {
        k: found
        for k in numbers
        if (found := fit(points, k, method, floor, seed, STARTS)) is not None
    }
    tried = pd.DataFrame(
        [_row(one, points, np.nan, np.nan)]
        + [
            _row(found, points, *_stability(points, found, one.bic, floor, seed))
            for found in fits.values()
        ]
    )
    tried["passes"] = (
        (tried["groups"] > 1)
        & (tried["bic"] > one.bic)
        & (tried["smallest"] >= least)
        & (tried["stability"] >= LEAST_STABILITY)
        & (tried["least_jaccard"] >= LEAST_JACCARD)
    )
    good = tried[tried["passes"]].sort_values(
        ["silhouette", "groups"], ascending=[False, True], kind="stable"
    )
    if not len(good):
        forced = fits.get(given)
        return Evidence(None, _why_not(tried, one.bic, least), tried, forced, None, 0, len(points))
    best = fits[int(good["groups"].iloc[0])]
    p, draws = _reference_p(points, best, one.bic, floor, seed, max(most, best.groups))
    if p > MOST_P:
        return Evidence(
            None,
            "customers can be parted, but no better than a portfolio without groups that has the same "
            "values and correlations",
            tried,
            best if given else None,
            p,
            draws,
            len(points),
        )
    return Evidence(best.groups, None, tried, best, p, draws, len(points))


def _none(reason: str, customers: int) -> Evidence:
    columns = ["groups", "bic", "silhouette", "stability", "least_jaccard", "smallest", "passes"]
    return Evidence(None, reason, pd.DataFrame(columns=columns), None, None, 0, customers)


def _row(found: Mixture, points: np.ndarray, stability: float, jaccard: float) -> dict[str, float]:
    labels = found.labels(points)
    return {
        "groups": found.groups,
        "bic": found.bic,
        "silhouette": _silhouette(found, points, labels),
        "stability": stability,
        "least_jaccard": jaccard,
        "smallest": int(np.bincount(labels, minlength=found.groups).min()),
    }


def _silhouette(found: Mixture, points: np.ndarray, labels: np.ndarray) -> float:
    """In units of the spread within groups; 0 of one group."""
    used = np.unique(labels, return_inverse=True)[1]
    return silhouette(found.whitened(points), used) if used.max() > 0 else 0.0


def _why_not(tried: pd.DataFrame, one_bic: float, least: int) -> str:
    parted = tried[tried["groups"] > 1]
    if not (parted["bic"] > one_bic).any():
        return "one cloud describes the customers as well as any parts of it"
    if not (parted["smallest"] >= least).any():
        return f"every parting has a segment of fewer than {least} customers"
    return "resampled customers fall into other segments each time"


def _stability(
    points: np.ndarray, found: Mixture, one_bic: float, floor: np.ndarray, seed: int
) -> tuple[float, float]:
    """Mean adjusted Rand index with the groups of resampled customers, and the worst group's mean Jaccard index.

    Not looked at (NaN) where one cloud describes the customers as well.
    """
    if found.bic <= one_bic:
        return np.nan, np.nan
    labels, rng = found.labels(points), np.random.default_rng([seed, 3])
    agreed, kept = [], np.zeros(found.groups)
    for draw in range(RESAMPLES):
        if draw == LOOK and np.mean(agreed) < HOPELESS:
            break
        drawn = points[rng.integers(0, len(points), len(points))]
        again = fit(drawn, found.groups, found.method, floor, seed + draw + 1, 3)
        if again is None:
            agreed.append(0.0)
            continue
        other = again.labels(points)
        agreed.append(adjusted_rand(labels, other))
        kept += _jaccard(labels, other, found.groups)
    return float(np.mean(agreed)), float(kept.min() / len(agreed))


def _jaccard(labels: np.ndarray, other: np.ndarray, groups: int) -> np.ndarray:
    """Per group the Jaccard index with its likest group in the other partition."""
    both = np.zeros((groups, groups))
    np.add.at(both, (labels, other), 1)
    either = both.sum(axis=1)[:, None] + both.sum(axis=0) - both
    return (both / np.maximum(either, 1)).max(axis=1)


def _reference_p(
    points: np.ndarray, best: Mixture, one_bic: float, floor: np.ndarray, seed: int, most: int
) -> tuple[float, int]:
    """How often does a portfolio without groups gain as much, or part as clearly? And how many such portfolios were drawn.

    A reference reaches the portfolio where its best gain of BIC, over any number of groups, is as large, or the silhouette
    of as many groups. Drawing ends at the first draws that put the answer beyond doubt.
    """
    gain, apart = best.bic - one_bic, _silhouette(best, points, best.labels(points))
    reached = [0, 0]
    for draw, cloud in enumerate(references(points, DRAWS, seed), start=1):
        single = fit(cloud, 1, best.method, floor, seed)
        fits = {
            k: fit(cloud, k, best.method, floor, seed + draw, 3 if k == best.groups else 1)
            for k in range(2, most + 1)
        }
        gains = [found.bic - single.bic for found in fits.values() if found is not None]
        like = fits.get(best.groups)
        reached[0] += max(gains, default=-np.inf) >= gain
        reached[1] += like is not None and _silhouette(like, cloud, like.labels(cloud)) >= apart
        if (1 + max(reached)) / (1 + DRAWS) > MOST_P:
            return (1 + max(reached)) / (1 + draw), draw
    return (1 + max(reached)) / (1 + DRAWS), DRAWS
