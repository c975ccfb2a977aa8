"""What volume and popularity alone would bring together: margins kept on both sides, tails without permutations.

Customers that do much use everything more, and features that are popular are used by all: together they make features
look bundled that are not (of 190 independent pairs Fisher's test, which keeps one margin, calls 182). Here each cell of
customers × features has the probability that keeps both margins, and nothing else: the row sums (how many features a
customer uses) and the column sums (how many customers use a feature). It is the distribution of largest entropy under
them, Rasch's (1960). Sums over customers are then Poisson-binomial.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy

ROUNDS, SETTLED = 200, 1e-9
NEGLIGIBLE = 1e-18  # of a probability: the parts of a distribution that are left out


def margins_only(has: np.ndarray, could: np.ndarray) -> np.ndarray:
    """The probability of each cell where only the margins of the open cells (``could``) tell; 0 in closed cells.

    A row or column that has all or none of its open cells keeps them. Iterated: each side's log odds by Newton's step
    until the margins hold.

    >>> margins_only(np.array([[1, 0], [0, 1]], dtype=bool), np.ones((2, 2), dtype=bool)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    has, could = has & could, np.asarray(could, dtype=bool)
    fixed, free = np.zeros(has.shape), could.copy()
    while True:  # a full or empty row leaves the others, whose margins then change
        row, column = (_settled(has & free, free, axis) for axis in (1, 0))
        done = free & (row[:, None] | column[None, :])
        if not done.any():
            break
        fixed[done] = has[done]
        free &= ~done
    rows, columns = (has & free).sum(axis=1), (has & free).sum(axis=0)
    alpha, beta = np.zeros(has.shape[0]), np.zeros(has.shape[1])
    for _ in range(ROUNDS):
        alpha += _step(rows, scipy.special.expit(alpha[:, None] + beta) * free, 1)
        beta += _step(columns, scipy.special.expit(alpha[:, None] + beta) * free, 0)
        chance = scipy.special.expit(alpha[:, None] + beta) * free
        if np.abs(chance.sum(axis=1) - rows).max(initial=0) < SETTLED * max(free.shape):
            break
    return chance + fixed


def _settled(has: np.ndarray, free: np.ndarray, axis: int) -> np.ndarray:
    total = has.sum(axis=axis)
    return (total == 0) | (total == free.sum(axis=axis))


def _step(wanted: np.ndarray, chance: np.ndarray, axis: int) -> np.ndarray:
    spread = (chance * (1 - chance)).sum(axis=axis)
    return np.clip((wanted - chance.sum(axis=axis)) / np.maximum(spread, 1e-12), -2, 2) * (
        spread > 0
    )


def at_least(count: int, chances: np.ndarray) -> float:
    """P(at least ``count`` of independent yes-or-noes with these chances): the Poisson-binomial's tail.

    Exact but for what is negligible: equal chances are one binomial, and binomials are convolved.

    >>> round(at_least(2, np.array([0.5, 0.5, 0.5])), 6)
    0.5
    """
    values, sizes = np.unique(np.round(np.asarray(chances, dtype=float), 10), return_counts=True)
    mass, first = np.ones(1), 0
    for low, part in _binomials(values, sizes):
        mass = np.convolve(mass, part)
        kept = np.flatnonzero(mass > NEGLIGIBLE)
        first += low + int(kept[0])
        mass = mass[kept[0] : kept[-1] + 1]
    return float(
        np.clip(mass[max(count - first, 0) :].sum(), NEGLIGIBLE if count > first else 0, 1)
    )


def _binomials(chances: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Of each chance and size the binomial's mass within 10 spreads, and the count that it begins with."""
    reach = 10 * np.sqrt(sizes * chances * (1 - chances)) + 12
    low = np.maximum((sizes * chances - reach).astype(int), 0)
    lengths = np.minimum((sizes * chances + reach).astype(int) + 1, sizes) - low + 1
    begin = np.cumsum(lengths) - lengths
    n, chance = np.repeat(sizes, lengths), np.repeat(chances, lengths)
    k = np.arange(lengths.sum()) - np.repeat(begin - low, lengths)
    log = (
        scipy.special.gammaln(n + 1)
        - scipy.special.gammaln(k + 1)
        - scipy.special.gammaln(n - k + 1)
        + scipy.special.xlogy(k, chance)
        + scipy.special.xlog1py(n - k, -chance)
    )
    return zip(low.tolist(), np.split(np.exp(log), begin[1:]), strict=True)
