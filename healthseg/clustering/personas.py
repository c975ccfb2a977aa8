"""Personas of users and adoption paths of customers: groups by k-means, where they are stable.

A path is what a customer did in its first 90 days. A persona is a group of users by the log-ratio
of their shares of feature-days to the portfolio's over the same features, shrunk by a few days.
Groups are reported only where resampled rows fall into them again, and where they are further apart
than k-means separates one normal cloud of the same covariance.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.groups import sample_of
from healthseg.clustering.mixture import by_size, silhouette
from healthseg.settings import Settings
from healthseg.statistics.rates import percentages

METRICS = ("share_tried", "median_first_use_days", "share_in_order", "share_returned_to")
STARTS, ROUNDS = 4, 25


def path_metrics(
    lives: pd.DataFrame, signup_day: pd.Series, first_day: int, last_day: int, path_days: int
) -> pd.DataFrame:
    """One row per customer whose first ``path_days`` were tracked to their end, and that stayed through them.

    ``lives`` is ``feature_lives``; ``signup_day`` by client_id, days since 1970. Columns, by client_id: ``METRICS`` —
    the share of features available in those days that were tried (first used); days from signup to the median first
    use; the share of pairs of tried features whose first uses follow the recommended positions, ties half; the share
    of tried features with a second day of use.
    """
    started = signup_day[(signup_day >= first_day) & (signup_day + path_days - 1 <= last_day)]
    rows = lives[lives["client_id"].isin(started.index)]
    end = rows["client_id"].map(started).astype(float) + path_days
    stayed = rows.groupby("client_id")["until_day"].transform("max") >= end
    inside = stayed & (rows["from_day"] < end)
    rows, end = rows[inside], end[inside]
    rows = rows.assign(
        day=(rows["first_use_day"] - (end - path_days)).where(rows["first_use_day"] < end),
        again=rows["second_use_day"] < end,
    )
    paths = {
        client: _path(path, path_days) for client, path in rows.groupby("client_id", sort=True)
    }
    index = pd.Index(list(paths), name="client_id")
    return pd.DataFrame(list(paths.values()), index=index, columns=list(METRICS))


def _path(rows: pd.DataFrame, path_days: int) -> tuple[float, float, float, float]:
    tried = rows[rows["day"].notna()]
    if not len(tried):
        return 0.0, float(path_days), np.nan, 0.0
    day, position = tried["day"].to_numpy(), tried["recommended_position"].to_numpy(dtype=float)
    again = float(tried["again"].mean())
    return len(tried) / len(rows), float(np.median(day)), _share_in_order(day, position), again


def _share_in_order(day: np.ndarray, position: np.ndarray) -> float:
    """Of pairs of features with different positions: the share first used in that order, the same day a half."""
    first, second = np.triu_indices(len(day), 1)
    steps, wanted = np.sign(day[second] - day[first]), np.sign(position[second] - position[first])
    ordered = np.isfinite(wanted) & (wanted != 0)
    return float(((steps * wanted)[ordered] + 1).mean() / 2) if ordered.any() else np.nan


@dataclass(frozen=True)
class StableGroups:
    """``labels`` by row, 0 for the largest group; None where ``reason`` says why there are no stable groups."""

    labels: pd.Series | None
    reason: str | None
    customers: int
    used: list[str]
    silhouette: float | None = None
    silhouette_p: float | None = None
    stability: float | None = None


def stable_groups(
    frame: pd.DataFrame, settings: Settings, standardise: bool = True
) -> StableGroups:
    """The stable groups of a frame of metrics (a row per customer), or the reason why there are
    none.

    k-means for 2 to ``paths_max_groups`` groups; of the stable ones (mean adjusted Rand index over
    resampled rows) that with the largest silhouette, if it exceeds that of simulated portfolios
    from one normal cloud. Metrics in one unit are not standardised.
    """
    used = [name for name in frame.columns if _is_graded(frame[name], settings)]

    def none(reason: str, **evidence: float | None) -> StableGroups:
        return StableGroups(None, reason, len(frame), used, **evidence)

    needed = settings.groups_min_customers
    if len(frame) < needed:
        days = settings.paths_days
        return none(
            f"{len(frame)} customers whose first {days} days were tracked, {needed} are needed"
        )
    if not used:
        return none("no stable patterns: too many customers do exactly the same")
    points = _standardised(frame[used]) if standardise else frame[used].to_numpy(dtype=float)
    means = _KMeans(points, settings)
    partitions = means.partitions(points)
    stability = {k: means.stability(labels, k) for k, labels in partitions.items()}
    stable = [k for k, share in stability.items() if share >= settings.groups_min_stability]
    if not stable:
        best = max(stability.values(), default=None)
        reason = "no stable patterns: resampled customers fall into other groups each time"
        return none(reason, stability=best)
    apart = {k: silhouette(points, partitions[k]) for k in stable}
    k = max(stable, key=lambda k: (apart[k], -k))
    p = means.null_p(apart[k])
    evidence = {"silhouette": apart[k], "silhouette_p": p, "stability": stability[k]}
    if p > settings.groups_reference_max_p:
        reason = "no stable patterns: the groups are no further apart than parts of one cloud"
        return none(reason, **evidence)
    rank = np.argsort(by_size(partitions[k], k))
    labels = pd.Series(rank[partitions[k]], index=frame.index)
    return StableGroups(labels, None, len(frame), used, **evidence)


def _is_graded(values: pd.Series, settings: Settings) -> bool:
    """Whether a metric is known of most rows and fine enough to group by."""
    known = values.dropna()
    return (
        len(known) >= settings.graded_min_known_share * len(values)
        and known.nunique() >= settings.graded_min_distinct_values
        and known.value_counts(normalize=True).iloc[0] <= settings.graded_max_alike_share
    )


def _standardised(frame: pd.DataFrame) -> np.ndarray:
    values = frame.fillna(frame.median()).to_numpy(dtype=float)
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)


@dataclass(frozen=True)
class _KMeans:
    points: np.ndarray
    settings: Settings

    def centres(self, points: np.ndarray, k: int, starts: int = STARTS) -> np.ndarray | None:
        """The tightest of several starts; None where no start keeps k groups."""
        candidates = []
        for start in range(starts):
            with contextlib.suppress(scipy.cluster.vq.ClusterError):
                rng = self.settings.seed + start
                centres, labels = scipy.cluster.vq.kmeans2(
                    points, k, iter=ROUNDS, minit="++", missing="raise", rng=rng
                )
                spread = float(((points - centres[labels]) ** 2).sum())
                candidates.append((spread, start, centres))
        return min(candidates, key=lambda candidate: candidate[:2])[2] if candidates else None

    def partitions(self, points: np.ndarray, starts: int = STARTS) -> dict[int, np.ndarray]:
        """Labels by number of groups, but for numbers with a group that is too small."""
        partitions = {}
        for k in range(2, self.settings.paths_max_groups + 1):
            centres = self.centres(points, k, starts)
            if centres is not None:
                labels = scipy.cluster.vq.vq(points, centres)[0]
                if np.bincount(labels, minlength=k).min() >= self.settings.paths_min_group:
                    partitions[k] = labels
        return partitions

    def stability(self, labels: np.ndarray, k: int) -> float:
        """The mean adjusted Rand index (Hubert & Arabie 1985) between the groups and those of resampled rows."""
        from sklearn.metrics import adjusted_rand_score  # here: scikit-learn takes long to load

        rng, agreement = np.random.default_rng(self.settings.seed), []
        count = len(self.points)
        for _ in range(self.settings.paths_resamples):
            centres = self.centres(self.points[rng.integers(0, count, count)], k)
            again = None if centres is None else scipy.cluster.vq.vq(self.points, centres)[0]
            agreement.append(0.0 if again is None else float(adjusted_rand_score(labels, again)))
        return float(np.mean(agreement))

    def null_p(self, apart: float) -> float:
        """How often is one normal cloud of the same covariance separated as well, by the best number of groups?

        Each of its values is moved to the nearest actual value: shares of few features clump by themselves.
        """
        rng, points = np.random.default_rng(self.settings.seed), self.points
        covariance = np.cov(points.T).reshape(points.shape[1], -1)
        spread = np.linalg.cholesky(covariance + 1e-9 * np.eye(points.shape[1]))
        draws, reached = self.settings.groups_reference_draws, 0
        for _ in range(draws):
            cloud = _snapped(rng.standard_normal(points.shape) @ spread.T, points)
            partitions = self.partitions(cloud, starts=1).values()
            reached += max((silhouette(cloud, some) for some in partitions), default=-1.0) >= apart
        return (1 + reached) / (1 + draws)


def _snapped(cloud: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each column's values moved to the nearest value in the same column of ``points``."""
    snapped = np.empty_like(cloud)
    for column, known in enumerate(np.unique(values) for values in points.T):
        position = np.clip(np.searchsorted(known, cloud[:, column]), 1, max(len(known) - 1, 1))
        low, high = known[position - 1], known[np.minimum(position, len(known) - 1)]
        nearer_low = cloud[:, column] - low < high - cloud[:, column]
        snapped[:, column] = np.where(nearer_low, low, high)
    return snapped


@dataclass(frozen=True)
class Personas:
    """``labels`` by (client_id, user_id): 0 for the largest; None where ``reason`` says why there are no personas.

    ``profile`` is personas × features: the mean log-ratio. ``shares`` are percentages in tenths that sum to 100.
    """

    labels: pd.Series | None
    reason: str | None
    users: int
    min_log_ratio: float
    profile: pd.DataFrame | None = None
    shares: tuple[float, ...] = ()
    silhouette: float | None = None
    silhouette_p: float | None = None
    stability: float | None = None

    def set_apart_by(self, persona: int, most: int = 3) -> list[tuple[str, float]]:
        """The features that a persona uses more often than others do, and by what factor."""
        if self.profile is None:
            return []
        row = self.profile.loc[persona].sort_values(ascending=False, kind="stable").head(most)
        return [(name, float(np.exp(v))) for name, v in row.items() if v >= self.min_log_ratio]


def personas(feature_days: pd.DataFrame, settings: Settings) -> Personas:
    """Personas of the users of a frame of feature-days: client_id, user_id, feature, days (in the window)."""
    table = feature_days.pivot_table(
        index=["client_id", "user_id"],
        columns="feature",
        values="days",
        aggfunc="sum",
        fill_value=0,
        sort=True,
    )
    users, min_log_ratio = len(table), settings.persona_min_log_ratio
    if table.shape[1] < settings.personas_min_features:
        reason = f"{table.shape[1]} features in use, {settings.personas_min_features} are needed"
        return Personas(None, reason, users, min_log_ratio)
    ratios = log_ratios(table, settings.persona_prior_days)
    points = _directions(ratios)
    names = [f"{client}|{user}" for client, user in table.index]
    sampled = sample_of(names, settings.persona_sample_users)
    groups = stable_groups(pd.DataFrame(points[sampled]), settings, standardise=False)
    evidence = {name: getattr(groups, name) for name in ("silhouette", "silhouette_p", "stability")}
    if groups.labels is None:
        reason = _reason_of_users(groups.reason or "", settings.groups_min_customers)
        return Personas(None, reason, users, min_log_ratio, **evidence)
    numbers = _assigned_users(points, sampled, groups.labels.to_numpy())
    profile = pd.DataFrame(ratios, index=table.index, columns=table.columns).groupby(numbers).mean()
    shares = tuple(percentages(np.bincount(numbers).tolist()))
    labels = pd.Series(numbers, index=table.index)
    return Personas(labels, None, users, min_log_ratio, profile, shares, **evidence)


def log_ratios(table: pd.DataFrame, prior_days: float) -> np.ndarray:
    """Users × features: the log of the user's share over the share that the portfolio's users give the feature.

    ``table`` is users (client_id, user_id) × features, days. A feature that nobody of the customer used is at 0.

    >>> index = pd.MultiIndex.from_tuples([("a", "u1"), ("a", "u2")])
    >>> log_ratios(pd.DataFrame({"x": [9, 1], "y": [1, 9]}, index=index), 5.0).round(2).tolist()
    [[0.43, -0.76], [-0.76, 0.43]]
    """
    days = table.to_numpy(dtype=float)
    portfolio = days.sum(axis=0)
    client, _ = pd.factorize(table.index.get_level_values(0), sort=True)
    in_use = np.zeros((client.max() + 1, days.shape[1]), dtype=bool)
    np.logical_or.at(in_use, client, days > 0)
    expected = in_use[client] * (portfolio / portfolio.sum())
    expected /= expected.sum(axis=1, keepdims=True)
    share = (days + prior_days * expected) / (days.sum(axis=1, keepdims=True) + prior_days)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, np.log(share / expected), 0.0)


def _directions(ratios: np.ndarray) -> np.ndarray:
    """The principal directions along which users differ more than along an average feature; signs fixed."""
    left, size, right = np.linalg.svd(ratios - ratios.mean(axis=0), full_matrices=False)
    count = max(int((size**2 > (size**2).mean()).sum()), 1)
    sign = np.sign(right[np.arange(count), np.abs(right[:count]).argmax(axis=1)])
    return left[:, :count] * size[:count] * sign


def _assigned_users(points: np.ndarray, sampled: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """All users by the nearest centre of the sample's groups, numbered from the largest."""
    centres = np.stack(
        [points[sampled[labels == group]].mean(axis=0) for group in range(labels.max() + 1)]
    )
    nearest = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    nearest[sampled] = labels
    order = np.argsort(-np.bincount(nearest, minlength=len(centres)), kind="stable")
    return np.argsort(order)[nearest]


def _reason_of_users(reason: str, needed: int) -> str:
    """The reason in words of users: customers' paths are grouped the same way."""
    if "were tracked" in reason:
        return f"{reason.split()[0]} users with enough events, {needed} are needed"
    return reason.replace("customers", "users").replace("patterns", "personas")
