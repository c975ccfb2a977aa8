"""Which features are used together, beyond what volume and popularity alone bring together?

The unit is a customer (of a single customer a user), the cell whether it used an available feature.
A set of more than two is as strong as its weakest pair: its p is the largest of its own and its
pairs'. Customers with much activity use more of everything, popular features are used by all: of
190 independent pairs Fisher's test calls 182 significant. Here each cell has the probability that
keeps both margins and nothing else, the distribution of largest entropy (Rasch 1960); sums over
customers are then Poisson-binomial.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.patterns import COLUMNS, HELD_OUT, PatternFamily, PatternLimits, Resample
from healthseg.settings import Settings
from healthseg.statistics.rates import wilson

KIND = "bundle"
PLUS = " + "
NEVER = 1e-9  # expected count of what chance never brings together
MAX_ROUNDS, SETTLED = 200, 1e-9
NEGLIGIBLE = 1e-18  # probability below which parts of a distribution are left out

Items = tuple[str, ...]


@dataclass(frozen=True)
class Bundles:
    """``family`` to be evaluated; ``used`` is units × features, NaN where a feature is not available."""

    family: PatternFamily
    used: pd.DataFrame

    def co_usage(self, key: str, excluded: list[str] | None = None) -> tuple[int, int]:
        """Units that use all features of a bundle, and those that use any, of those with access to all.

        ``excluded`` units count for chance, not for today (customers that churned before the window).
        """
        cells = self.used.drop(index=excluded or [])[key.split(PLUS)].dropna().to_numpy()
        return int(cells.all(axis=1).sum()), int(cells.any(axis=1).sum())


def bundles(
    used: pd.DataFrame, later: pd.DataFrame | None, limits: PatternLimits, settings: Settings
) -> Bundles:
    """Every set of features that enough units use together, each compared with chance.

    ``used`` is units × features: 1 used, 0 not, NaN where not available; ``later`` the same over the later part of the
    window. The family's keys are features joined by pluses.
    """
    table, least = _UsageTable(used), int(limits.support)
    pairs = [items for items in frequent_itemsets(table.has, table.names, least, 2)["items"]]
    results = {pair: table.compare(pair) for pair in pairs if len(pair) == 2}
    promising = {
        pair
        for pair, result in results.items()
        if result["p"] <= settings.pattern_promising_max_p and result["lift"] >= limits.lift
    }
    for items in _larger(table, promising, least, settings.bundle_max_features):
        result = table.compare(items)
        result["p"] = max(result["p"], *(results[pair]["p"] for pair in _pairs(items)))
        results[items] = result
    level = settings.interval_level
    tried = pd.DataFrame(
        [_row(items, result, level) for items, result in results.items()], columns=COLUMNS
    )
    tested_later = [items for items in results if len(items) > 2 or items in promising]
    held_out = None if later is None else _held_out(_UsageTable(later), tested_later)
    units = [str(unit) for unit in used.index]
    resample = _resampler(table, list(results))
    return Bundles(PatternFamily(KIND, tried, units, resample, held_out, limits), used)


def _pairs(items: Items) -> list[Items]:
    return list(itertools.combinations(items, 2))


class _UsageTable:
    def __init__(self, used: pd.DataFrame) -> None:
        self.names = [str(name) for name in used.columns]
        self.available = used.notna().to_numpy()
        self.has = used.fillna(0).to_numpy() > 0
        self.chance = margins_only(self.has, self.available)

    def cells(self, items: Items) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By unit: whether all are available, whether it uses all, and the chance that it does."""
        at = [self.names.index(item) for item in items]
        available = self.available[:, at].all(axis=1)
        uses_all = self.has[:, at].all(axis=1) & available
        return available, uses_all, np.where(available, self.chance[:, at].prod(axis=1), 0.0)

    def compare(self, items: Items) -> dict[str, float]:
        available, uses_all, chance = self.cells(items)
        count, expected = int(uses_all.sum()), float(chance.sum())
        return {
            "support": count,
            "n": int(available.sum()),
            "expected": expected,
            "p": at_least(count, chance[available]),
            "lift": count / max(expected, NEVER),
        }


def _larger(table: _UsageTable, promising: set[Items], least: int, largest: int) -> list[Items]:
    """Frequent sets of three and more, all of whose pairs are promising."""
    names = sorted({name for pair in promising for name in pair})
    columns = [table.names.index(name) for name in names]
    sets = frequent_itemsets(table.has[:, columns], names, least, largest)["items"]
    return [items for items in sets if len(items) > 2 and promising.issuperset(_pairs(items))]


def _row(items: Items, result: dict[str, float], level: float) -> tuple[Any, ...]:
    support, n, expected = result["support"], result["n"], max(result["expected"], NEVER)
    low, high = (float(end) * n / expected for end in wilson(support, n, level))
    key, rates = PLUS.join(items), (support / n, expected / n)
    return (key, support, n, *rates, result["lift"], low, high, result["p"])


def _held_out(table: _UsageTable, tested: list[Items]) -> pd.DataFrame:
    rows = []
    for items in tested:
        parts = [table.compare(part) for part in {items, *_pairs(items)}]
        lift, p = min(part["lift"] for part in parts), max(part["p"] for part in parts)
        rows.append((PLUS.join(items), lift, p))
    return pd.DataFrame(rows, columns=HELD_OUT)


def _resampler(table: _UsageTable, sets: list[Items]) -> Resample:
    def resample(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = [table.cells(sets[row]) for row in rows]
        support = np.stack([weights @ uses_all for _, uses_all, _ in cells], axis=1)
        expected = np.stack([weights @ chance for _, _, chance in cells], axis=1)
        return support, support / np.maximum(expected, NEVER)

    return resample


def frequent_itemsets(
    has: np.ndarray, items: Sequence[str], least: int, longest: int = 4
) -> pd.DataFrame:
    """Which sets of items do at least ``least`` units have all of?

    ``has`` is units × items, yes or no. Columns: items (a sorted tuple), support (units); sorted by size, then items.
    Depth first over the units that have the set so far (Eclat; Zaki 2000).

    >>> frequent_itemsets(np.array([[1, 1, 0], [1, 1, 1]], dtype=bool), "abc", least=2)["items"].tolist()
    [('a',), ('b',), ('a', 'b')]
    """
    order = sorted(range(len(items)), key=lambda at: items[at])
    columns = np.asarray(has, dtype=bool)[:, order]
    names = [items[at] for at in order]
    frequent: list[tuple[Items, int]] = []

    def extend(prefix: Items, rows: np.ndarray, start: int) -> None:
        support = rows[:, start:].sum(axis=0)
        for at in (np.flatnonzero(support >= least) + start).tolist():
            longer = (*prefix, names[at])
            frequent.append((longer, int(support[at - start])))
            if len(longer) < longest:
                extend(longer, rows[rows[:, at]], at + 1)

    if columns.shape[1]:
        extend((), columns, 0)
    frequent.sort(key=lambda entry: (len(entry[0]), entry[0]))
    return pd.DataFrame(frequent, columns=["items", "support"]).astype({"support": int})


def margins_only(has: np.ndarray, available: np.ndarray) -> np.ndarray:
    """The probability of each cell where only the margins of the ``available`` cells count; 0 in closed cells.

    A row or column that has all or none of its open cells keeps them. Iterated: each side's log odds by Newton's step
    until the margins hold.

    >>> margins_only(np.array([[1, 0], [0, 1]], dtype=bool), np.ones((2, 2), dtype=bool)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    has, available = has & available, np.asarray(available, dtype=bool)
    fixed, free = np.zeros(has.shape), available.copy()
    while True:  # fixing a full or empty row changes the margins of the others
        row, column = (_is_fixed(has & free, free, axis) for axis in (1, 0))
        settled = free & (row[:, None] | column[None, :])
        if not settled.any():
            break
        fixed[settled] = has[settled]
        free &= ~settled
    rows, columns = (has & free).sum(axis=1), (has & free).sum(axis=0)
    alpha, beta = np.zeros(has.shape[0]), np.zeros(has.shape[1])
    for _ in range(MAX_ROUNDS):
        alpha += _newton_step(rows, scipy.special.expit(alpha[:, None] + beta) * free, 1)
        beta += _newton_step(columns, scipy.special.expit(alpha[:, None] + beta) * free, 0)
        chance = scipy.special.expit(alpha[:, None] + beta) * free
        if np.abs(chance.sum(axis=1) - rows).max(initial=0) < SETTLED * max(free.shape):
            break
    return chance + fixed


def _is_fixed(has: np.ndarray, free: np.ndarray, axis: int) -> np.ndarray:
    total = has.sum(axis=axis)
    return (total == 0) | (total == free.sum(axis=axis))


def _newton_step(target: np.ndarray, chance: np.ndarray, axis: int) -> np.ndarray:
    spread = (chance * (1 - chance)).sum(axis=axis)
    step = (target - chance.sum(axis=axis)) / np.maximum(spread, 1e-12)
    return np.clip(step, -2, 2) * (spread > 0)


def at_least(count: int, chances: np.ndarray) -> float:
    """P(at least ``count`` successes of independent trials with these chances): the Poisson-binomial's tail.

    Exact but for what is negligible: equal chances are one binomial, and binomials are convolved.

    >>> round(at_least(2, np.array([0.5, 0.5, 0.5])), 6)
    0.5
    """
    values, sizes = np.unique(np.round(np.asarray(chances, dtype=float), 10), return_counts=True)
    mass, first = np.ones(1), 0
    for low, part in _binomials(values, sizes):
        mass = np.convolve(mass, part)
        used = np.flatnonzero(mass > NEGLIGIBLE)
        first += low + int(used[0])
        mass = mass[used[0] : used[-1] + 1]
    tail = mass[max(count - first, 0) :].sum()
    return float(np.clip(tail, NEGLIGIBLE if count > first else 0, 1))


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
