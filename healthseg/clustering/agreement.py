"""How alike are two partitions, and how far apart do the parts of one stand?"""

from __future__ import annotations

import numpy as np
import scipy


def adjusted_rand(one: np.ndarray, other: np.ndarray) -> float:
    """How far do two partitions of the same things agree beyond chance? 1 where they are the same, 0 by chance.

    ``one`` and ``other`` are group numbers from 0. Hubert & Arabie (1985), Journal of Classification 2.

    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    both, rows, columns = (
        float((counts * (counts - 1) / 2).sum())
        for counts in (table, table.sum(axis=1), table.sum(axis=0))
    )
    chance = rows * columns / (len(one) * (len(one) - 1) / 2)
    most = (rows + columns) / 2
    return (both - chance) / (most - chance) if most > chance else 1.0


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """How much nearer is a point to its own group than to the next? The mean over all, from −1 to 1.

    ``points`` is n × metrics, ``labels`` are group numbers from 0, each with at least one point. Rousseeuw (1987),
    Journal of Computational and Applied Mathematics 20.

    >>> silhouette(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 1, 1])) > 0.9
    True
    """
    distances, sizes = scipy.spatial.distance.cdist(points, points), np.bincount(labels)
    sums = distances @ (labels[:, None] == np.arange(len(sizes))).astype(float)
    own = np.arange(len(points)), labels
    inside = sums[own] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    nearest = means.min(axis=1)
    return float(((nearest - inside) / np.maximum(np.maximum(nearest, inside), 1e-300)).mean())
