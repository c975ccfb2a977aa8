"""Do customers take to the features in distinct ways? Groups of adoption paths, if there are any.

A path is what a customer did in its first 90 days: how much of what it could use it tried, how soon, in which order,
and how much it came back to. Groups are spoken of only where they are found again in resampled customers and stand
further apart than k-means parts one cloud of the same covariance.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.agreement import adjusted_rand, silhouette

PATH_DAYS = 90
METRICS = ("share_tried", "median_first_use_days", "share_in_order", "share_returned_to")
LEAST_CUSTOMERS = 40
LEAST_GROUP = 8
MOST_GROUPS = 5
STARTS, ROUNDS = 4, 25
STABILITY, DRAWS = 0.8, 40
NULL_DRAWS, NULL_P = 99, 0.01
LEAST_KNOWN, LEAST_DISTINCT, MOST_ALIKE = 0.8, 10, 1 / 3


def path_metrics(
    lives: pd.DataFrame, signup_day: pd.Series, first_day: int, last_day: int
) -> pd.DataFrame:
    """One row per customer whose first 90 days were watched to their end, and that stayed through them.

    ``lives`` is ``feature_lives``; ``signup_day`` by client_id, days since 1970. Columns, by client_id: ``METRICS`` —
    shares of features open within the 90 days and tried (first used) in them; days from signup to the median first use;
    pairs of tried features whose first uses follow the recommended positions, ties half; tried features with a second
    day of use.
    """
    begun = signup_day[(signup_day >= first_day) & (signup_day + PATH_DAYS - 1 <= last_day)]
    rows = lives[lives["client_id"].isin(begun.index)]
    start = _of(rows, begun)
    stayed = rows.groupby("client_id")["until_day"].max() >= begun + PATH_DAYS
    rows = rows[(rows["from_day"] < start + PATH_DAYS) & (_of(rows, stayed) == 1)]
    start = _of(rows, begun)
    rows = rows.assign(
        day=(rows["first_use_day"] - start).where(rows["first_use_day"] < start + PATH_DAYS),
        again=rows["second_use_day"] < start + PATH_DAYS,
    )
    found = [
        {"client_id": client, **_path(path)}
        for client, path in rows.groupby("client_id", sort=True)
    ]
    return pd.DataFrame(found, columns=["client_id", *METRICS]).set_index("client_id")


def _of(rows: pd.DataFrame, by_client: pd.Series) -> np.ndarray:
    return by_client.astype(float).reindex(rows["client_id"]).to_numpy()


def _path(rows: pd.DataFrame) -> dict[str, float]:
    tried = rows[rows["day"].notna()]
    if not len(tried):
        return {
            "share_tried": 0.0,
            "median_first_use_days": float(PATH_DAYS),
            "share_in_order": np.nan,
            "share_returned_to": 0.0,
        }
    return {
        "share_tried": len(tried) / len(rows),
        "median_first_use_days": float(tried["day"].median()),
        "share_in_order": _in_order(
            tried["day"].to_numpy(), tried["recommended_position"].to_numpy(dtype=float)
        ),
        "share_returned_to": float(tried["again"].mean()),
    }


def _in_order(day: np.ndarray, position: np.ndarray) -> float:
    """Of pairs of features with different positions: the share first used in that order, the same day a half."""
    first, second = np.triu_indices(len(day), 1)
    steps, places = np.sign(day[second] - day[first]), np.sign(position[second] - position[first])
    told = np.isfinite(places) & (places != 0)
    return float(((steps * places)[told] + 1).mean() / 2) if told.any() else np.nan


@dataclass(frozen=True)
class Groups:
    """``labels`` by client_id, 0 for the largest group, None where ``reason`` says why there are no stable groups."""

    labels: pd.Series | None
    reason: str | None
    customers: int
    used: list[str]
    silhouette: float | None = None
    silhouette_p: float | None = None
    stability: float | None = None


def groups(frame: pd.DataFrame, seed: int, one_unit: bool = False) -> Groups:
    """The stable groups of a frame of metrics (a row a customer), or the reason why there are none.

    k-means on standardised metrics for 2 to 5 groups of at least 8; of those whose mean adjusted Rand index over
    resampled customers is at least 0.8 the one with the largest silhouette, if it exceeds that of 99 simulated portfolios in
    which all customers come from one normal cloud (p ≤ 0.01). Metrics of ``one_unit`` are not standardised: those that
    differ little shall count little.
    """
    used = [name for name in frame.columns if _graded(frame[name])]
    if len(frame) >= LEAST_CUSTOMERS and not used:
        return Groups(
            None, "no stable patterns: too many customers do exactly the same", len(frame), used
        )
    if len(frame) < LEAST_CUSTOMERS:
        return Groups(
            None,
            f"{len(frame)} customers whose first {PATH_DAYS} days were watched, {LEAST_CUSTOMERS} are "
            "needed",
            len(frame),
            used,
        )
    points = frame[used].to_numpy(dtype=float) if one_unit else _standardised(frame[used])
    parted = {
        k: labels
        for k in range(2, MOST_GROUPS + 1)
        if (labels := _parted(points, k, seed)) is not None
    }
    steady = {k: _stability(points, labels, k, seed) for k, labels in parted.items()}
    good = [k for k, stability in steady.items() if stability >= STABILITY]
    if not good:
        best = max(steady.values(), default=None)
        return Groups(
            None,
            "no stable patterns: resampled customers fall into other groups each time",
            len(frame),
            used,
            stability=best,
        )
    apart = {k: silhouette(points, parted[k]) for k in good}
    k = max(good, key=lambda one: (apart[one], -one))
    p = _null_p(points, apart[k], seed)
    evidence = {"silhouette": apart[k], "silhouette_p": p, "stability": steady[k]}
    if p > NULL_P:
        return Groups(
            None,
            "no stable patterns: the groups stand no further apart than parts of one cloud",
            len(frame),
            used,
            **evidence,
        )
    return Groups(
        _by_size(pd.Series(parted[k], index=frame.index)), None, len(frame), used, **evidence
    )


def _graded(values: pd.Series) -> bool:
    """Whether a metric is known of most and fine enough to group by: k-means finds "groups" in any few values."""
    known = values.dropna()
    return (
        len(known) >= LEAST_KNOWN * len(values)
        and known.nunique() >= LEAST_DISTINCT
        and known.value_counts(normalize=True).iloc[0] <= MOST_ALIKE
    )


def _standardised(frame: pd.DataFrame) -> np.ndarray:
    values = frame.fillna(frame.median()).to_numpy(dtype=float)
    return (values - values.mean(axis=0)) / np.where(values.std(axis=0) > 0, values.std(axis=0), 1)


def _centres(points: np.ndarray, k: int, seed: int, starts: int) -> np.ndarray | None:
    """k-means' centres, the tightest of several starts; None where no start keeps k groups."""
    found = []
    for start in range(starts):
        with contextlib.suppress(scipy.cluster.vq.ClusterError):
            centres, labels = scipy.cluster.vq.kmeans2(
                points, k, iter=ROUNDS, minit="++", missing="raise", rng=seed + start
            )
            found.append((float(((points - centres[labels]) ** 2).sum()), start, centres))
    return min(found, key=lambda one: one[:2])[2] if found else None


def _parted(points: np.ndarray, k: int, seed: int, starts: int = STARTS) -> np.ndarray | None:
    """The labels of k groups, None where one is too small."""
    centres = _centres(points, k, seed, starts)
    if centres is None:
        return None
    labels = scipy.cluster.vq.vq(points, centres)[0]
    return labels if np.bincount(labels, minlength=k).min() >= LEAST_GROUP else None


def _stability(points: np.ndarray, labels: np.ndarray, k: int, seed: int) -> float:
    """The mean adjusted Rand index (Hubert & Arabie 1985) between the groups and those of resampled customers."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        centres = _centres(points[rng.integers(0, len(points), len(points))], k, seed, STARTS)
        found.append(
            0.0
            if centres is None
            else adjusted_rand(labels, scipy.cluster.vq.vq(points, centres)[0])
        )
    return float(np.mean(found))


def _null_p(points: np.ndarray, parted_as: float, seed: int) -> float:
    """How often one normal cloud of the same covariance is parted as well as this, by the best number of groups.

    Each of its values is moved to the nearest that was seen: shares of few features clump by themselves.
    """
    rng = np.random.default_rng(seed)
    spread = np.linalg.cholesky(
        np.cov(points.T).reshape(points.shape[1], -1) + 1e-9 * np.eye(points.shape[1])
    )
    reached = 0
    for _ in range(NULL_DRAWS):
        cloud = _snapped(rng.standard_normal(points.shape) @ spread.T, points)
        best = max(
            (
                silhouette(cloud, labels)
                for k in range(2, MOST_GROUPS + 1)
                if (labels := _parted(cloud, k, seed, 1)) is not None
            ),
            default=-1.0,
        )
        reached += best >= parted_as
    return (1 + reached) / (1 + NULL_DRAWS)


def _snapped(cloud: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each column's values moved to the nearest value that the column of ``points`` has."""
    out = np.empty_like(cloud)
    for column, known in enumerate(np.unique(values) for values in points.T):
        place = np.clip(np.searchsorted(known, cloud[:, column]), 1, max(len(known) - 1, 1))
        low, high = known[place - 1], known[np.minimum(place, len(known) - 1)]
        out[:, column] = np.where(cloud[:, column] - low < high - cloud[:, column], low, high)
    return out


def _by_size(labels: pd.Series) -> pd.Series:
    """Numbers from the largest group to the smallest."""
    sizes = labels.value_counts()
    order = sorted(
        sizes.index, key=lambda one: (-sizes[one], int(np.flatnonzero(labels.to_numpy() == one)[0]))
    )
    return labels.map({one: place for place, one in enumerate(order)})
