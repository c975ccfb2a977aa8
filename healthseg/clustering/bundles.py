"""Which features are used together, beyond what volume and popularity alone bring together?

The unit is a customer (of a single customer a user), the cell whether it used the feature in the window; cells of
features that it could not use are open to nothing. Chance keeps both margins (``bundles_chance``). A set of more than
two is as strong as its weakest pair: its p is the largest of its own and its pairs', and it is looked at only where
all its pairs are promising.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.clustering.bundles_chance import at_least, margins_only
from healthseg.clustering.bundles_itemsets import frequent_itemsets
from healthseg.clustering.judging import COLUMNS, Family, Limits
from healthseg.statistics.rates import wilson

KIND = "bundle"
PLUS = " + "
LARGEST = 4
PROMISING = 0.05


@dataclass(frozen=True)
class Bundles:
    """``family`` for judging; ``used`` is units × features, NaN where a feature could not be used."""

    family: Family
    used: pd.DataFrame

    def co_usage(self, key: str, beside: list[str] | None = None) -> tuple[int, int]:
        """Units that use all features of a bundle, and those that use any, of those that could use all.

        Without those ``beside`` the window, who tell of chance and not of today.
        """
        cells = self.used.drop(index=beside or [])[key.split(PLUS)].dropna().to_numpy()
        return int(cells.all(axis=1).sum()), int(cells.any(axis=1).sum())


def bundles(
    used: pd.DataFrame, later: pd.DataFrame | None, limits: Limits, level: float = 0.9
) -> Bundles:
    """Every set of features that enough units use together, each against chance.

    ``used`` is units × features: 1 used, 0 not, NaN where it could not be; ``later`` the same over the later part of
    the window. The family's keys are features joined by pluses.
    """
    now = _Table(used)
    pairs = frequent_itemsets(now.has, now.names, int(limits.support), 2)
    pairs = pairs.loc[pairs["items"].str.len() == 2, "items"].tolist()
    told = {pair: now.told(pair) for pair in pairs}
    good = {
        pair for pair, one in told.items() if one["p"] <= PROMISING and one["lift"] >= limits.lift
    }
    for items in _larger(now, good, int(limits.support)):
        own = now.told(items)
        told[items] = {
            **own,
            "p": max(own["p"], *(told[pair]["p"] for pair in itertools.combinations(items, 2))),
        }
    rows = [_row(items, one, level) for items, one in told.items()]
    tried = pd.DataFrame(rows, columns=COLUMNS)
    held = _held_out(later, [items for items in told if len(items) > 2 or items in good])
    units = [str(one) for one in used.index]
    return Bundles(Family(KIND, tried, units, _again(now, list(told)), held, limits), used)


class _Table:
    def __init__(self, used: pd.DataFrame) -> None:
        self.names = [str(name) for name in used.columns]
        self.could = used.notna().to_numpy()
        self.has = used.fillna(0).to_numpy() > 0
        self.chance = margins_only(self.has, self.could)

    def cells(self, items: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Units that could use all, that do, and the chance that they do."""
        at = [self.names.index(item) for item in items]
        could = self.could[:, at].all(axis=1)
        return (
            could,
            self.has[:, at].all(axis=1) & could,
            np.where(could, self.chance[:, at].prod(axis=1), 0.0),
        )

    def told(self, items: tuple[str, ...]) -> dict[str, float]:
        could, both, chance = self.cells(items)
        count, expected = int(both.sum()), float(chance.sum())
        return {
            "support": count,
            "n": int(could.sum()),
            "expected": expected,
            "p": at_least(count, chance[could]),
            "lift": count / max(expected, 1e-9),
        }


def _larger(table: _Table, good: set[tuple[str, ...]], least: int) -> list[tuple[str, ...]]:
    """Frequent sets of three and more, all of whose pairs are promising."""
    names = sorted({name for pair in good for name in pair})
    columns = [table.names.index(name) for name in names]
    found = frequent_itemsets(table.has[:, columns], names, least, LARGEST)["items"]
    return [
        items
        for items in found
        if len(items) > 2 and all(pair in good for pair in itertools.combinations(items, 2))
    ]


def _row(items: tuple[str, ...], one: dict[str, float], level: float) -> tuple:
    n, expected = one["n"], max(one["expected"], 1e-9)
    low, high = wilson(one["support"], n, level)
    return (
        PLUS.join(items),
        one["support"],
        n,
        one["support"] / n,
        expected / n,
        one["lift"],
        float(low) * n / expected,
        float(high) * n / expected,
        one["p"],
    )


def _held_out(later: pd.DataFrame | None, promising: list[tuple[str, ...]]) -> pd.DataFrame | None:
    if later is None:
        return None
    table = _Table(later)
    found = []
    for items in promising:
        parts = [table.told(some) for some in {items, *itertools.combinations(items, 2)}]
        found.append(
            (PLUS.join(items), min(one["lift"] for one in parts), max(one["p"] for one in parts))
        )
    return pd.DataFrame(found, columns=["key", "lift", "p"])


def _again(table: _Table, sets: list[tuple[str, ...]]):
    def again(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = [table.cells(sets[row]) for row in rows]
        support = np.stack([weights @ both for _, both, _ in cells], axis=1)
        expected = np.stack([weights @ chance for _, _, chance in cells], axis=1)
        return support, support / np.maximum(expected, 1e-9)

    return again
