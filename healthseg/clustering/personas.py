"""Who are the users, by what they do? Groups of users by the features that they turn to more than others would.

A user is described by the log-ratio of its shares of feature-days to what the portfolio's users would spread over the same
features: those that anybody of its customer used in the window. Shares are drawn towards that by a few days, so that
the zeros of a seldom user say little. The directions along which users differ more than an average feature does are
grouped as adoption paths are (``paths.groups``), in the unit that log-ratios share: were all directions given the same
spread, the least telling one would cut groups in two. They are spoken of where resampled users fall into the same
groups, and stand further apart than one cloud is parted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.clustering.evidence import sample_of
from healthseg.clustering.paths import groups
from healthseg.statistics.shares import percentages

PRIOR_DAYS = 5.0  # feature-days as the portfolio has them, that each user's are drawn towards
SAMPLE = 400  # users that the groups are found in; all are placed by them
TELLING = 0.25  # of a log-ratio, from which on a feature sets a persona apart: a quarter more often


@dataclass(frozen=True)
class Personas:
    """``labels`` by (client_id, user_id): 0 for the largest; None where ``reason`` says why there are no personas.

    ``profile`` is personas × features: the mean log-ratio. ``shares`` are whole-per-mille percentages that sum to 100.
    """

    labels: pd.Series | None
    reason: str | None
    users: int
    profile: pd.DataFrame | None = None
    shares: tuple[float, ...] = ()
    silhouette: float | None = None
    silhouette_p: float | None = None
    stability: float | None = None

    def set_apart_by(self, persona: int, most: int = 3) -> list[tuple[str, float]]:
        """The features that a persona uses more often than others do, and by what factor."""
        row = self.profile.loc[persona].sort_values(ascending=False, kind="stable")
        return [
            (feature, float(np.exp(value)))
            for feature, value in row.head(most).items()
            if value >= TELLING
        ]


def personas(feature_days: pd.DataFrame, seed: int) -> Personas:
    """Personas of the users of a frame of feature-days: client_id, user_id, feature, days (in the window)."""
    table = feature_days.pivot_table(
        index=["client_id", "user_id"],
        columns="feature",
        values="days",
        aggfunc="sum",
        fill_value=0,
        sort=True,
    )
    if table.shape[1] < 3:
        return Personas(None, f"{table.shape[1]} features in use, 3 are needed", len(table))
    ratios = log_ratios(table)
    points = _directions(ratios)
    names = [f"{client}|{user}" for client, user in table.index]
    at = sample_of(names, SAMPLE)
    found = groups(pd.DataFrame(points[at]), seed, one_unit=True)
    evidence = {
        "silhouette": found.silhouette,
        "silhouette_p": found.silhouette_p,
        "stability": found.stability,
    }
    if found.labels is None:
        return Personas(None, _of_users(found.reason), len(table), **evidence)
    labels = _placed(points, at, found.labels.to_numpy())
    profile = pd.DataFrame(ratios, index=table.index, columns=table.columns).groupby(labels).mean()
    return Personas(
        pd.Series(labels, index=table.index),
        None,
        len(table),
        profile,
        tuple(percentages(np.bincount(labels).tolist())),
        **evidence,
    )


def log_ratios(table: pd.DataFrame) -> np.ndarray:
    """Users × features: the log of the user's share over the share that the portfolio's users would give the feature.

    ``table`` is users (client_id, user_id) × features, days. A feature that nobody of the customer used is at 0.

    >>> index = pd.MultiIndex.from_tuples([("a", "u1"), ("a", "u2")])
    >>> log_ratios(pd.DataFrame({"x": [9, 1], "y": [1, 9]}, index=index)).round(2).tolist()
    [[0.43, -0.76], [-0.76, 0.43]]
    """
    days, portfolio = table.to_numpy(dtype=float), table.to_numpy(dtype=float).sum(axis=0)
    client, _ = pd.factorize(table.index.get_level_values(0), sort=True)
    open_to = np.zeros((client.max() + 1, days.shape[1]), dtype=bool)
    np.logical_or.at(open_to, client, days > 0)
    expected = open_to[client] * (portfolio / portfolio.sum())
    expected /= expected.sum(axis=1, keepdims=True)
    share = (days + PRIOR_DAYS * expected) / (days.sum(axis=1, keepdims=True) + PRIOR_DAYS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, np.log(share / expected), 0.0)


def _directions(ratios: np.ndarray) -> np.ndarray:
    """The principal directions along which users differ more than along an average feature; signs fixed."""
    centred = ratios - ratios.mean(axis=0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    kept = max(int((size**2 > (size**2).mean()).sum()), 1)
    sign = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(axis=1)])
    return left[:, :kept] * size[:kept] * sign


def _placed(points: np.ndarray, at: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """All users by the nearest centre of the sampled ones' groups, numbered from the largest."""
    centres = np.stack([points[at[labels == one]].mean(axis=0) for one in range(labels.max() + 1)])
    away = ((points[:, None, :] - centres) ** 2).sum(axis=2)
    nearest = away.argmin(axis=1)
    nearest[at] = labels
    order = np.argsort(-np.bincount(nearest, minlength=len(centres)), kind="stable")
    return np.argsort(order)[nearest]


def _of_users(reason: str | None) -> str | None:
    """The reason in words of users: customers' paths were asked the same way."""
    if reason is None:
        return None
    if "were watched" in reason:
        return f"{reason.split()[0]} users with enough events, 40 are needed"
    return reason.replace("customers", "users").replace("patterns", "personas")
