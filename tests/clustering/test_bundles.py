"""Bundles: itemsets against brute force and a kept library; margins; the tail; planted sets found, volume alone not."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.frequent_patterns import fpgrowth
from scipy import stats

from healthseg.clustering.bundles import (
    at_least,
    bundles,
    frequent_itemsets,
    margins_only,
)
from healthseg.clustering.patterns import PatternLimits, evaluate_patterns
from healthseg.settings import Settings

TABLES = st.integers(1, 12).flatmap(
    lambda rows: st.lists(
        st.lists(st.booleans(), min_size=5, max_size=5), min_size=rows, max_size=rows
    )
)


@settings(max_examples=60, deadline=None)
@given(table=TABLES, least=st.integers(1, 4))
def test_every_frequent_set_is_found_with_its_count_and_no_other(table, least):
    has = np.array(table, dtype=bool)
    plain = {
        tuple("abcde"[at] for at in some): int(has[:, list(some)].all(axis=1).sum())
        for size in (1, 2, 3)
        for some in itertools.combinations(range(5), size)
    }
    itemsets = frequent_itemsets(has, "abcde", least, 3)
    assert dict(zip(itemsets["items"], itemsets["support"], strict=True)) == {
        items: count for items, count in plain.items() if count >= least
    }


def test_a_kept_library_finds_the_same_sets_and_counts():
    has = np.random.default_rng(3).random((300, 9)) < np.linspace(0.2, 0.8, 9)
    frame = pd.DataFrame(has, columns=list("abcdefghi"))
    reference = fpgrowth(frame, min_support=30 / 300, use_colnames=True, max_len=4)
    itemsets = frequent_itemsets(has, list("abcdefghi"), 30, 4)
    assert {
        frozenset(items): count
        for items, count in zip(itemsets["items"], itemsets["support"], strict=True)
    } == {frozenset(row.itemsets): round(row.support * 300) for row in reference.itertuples()}


def test_both_margins_are_kept_and_closed_cells_stay_empty():
    random = np.random.default_rng(1)
    could = random.random((60, 8)) < 0.8
    has = could & (random.random((60, 8)) < random.random((60, 1)))
    chance = margins_only(has, could)
    assert np.allclose(chance.sum(axis=0), has.sum(axis=0), atol=1e-5)
    assert np.allclose(chance.sum(axis=1), has.sum(axis=1), atol=1e-5)
    assert (chance[~could] == 0).all()


def test_the_tail_of_equal_chances_is_the_binomials():
    assert at_least(7, np.full(10, 0.3)) == pytest.approx(stats.binom.sf(6, 10, 0.3))


@settings(max_examples=40, deadline=None)
@given(chances=st.lists(st.floats(0, 1), min_size=1, max_size=8), count=st.integers(0, 9))
def test_the_tail_of_unequal_chances_is_the_sum_over_all_outcomes(chances, count):
    total = sum(
        np.prod([p if hit else 1 - p for p, hit in zip(chances, hits, strict=True)])
        for hits in itertools.product((0, 1), repeat=len(chances))
        if sum(hits) >= count
    )
    assert at_least(count, np.array(chances)) == pytest.approx(total, abs=1e-8)


def table(count, seed, planted=False):
    """Customers of very unequal volume and features of unequal popularity; planted: a and b with half of the others."""
    random = np.random.default_rng(seed)
    odds = random.normal(0, 1.5, (count, 1)) + np.linspace(-1.5, 1.5, 12)
    has = random.random((2, count, 12)) < 1 / (1 + np.exp(-odds))
    if planted:
        both = random.random(count) < 0.5
        has[:, :, 2] = both & (random.random((2, count)) < 0.95)
        has[:, :, 5] = both & (random.random((2, count)) < 0.95)
    return [
        pd.DataFrame(matrix.astype(float), columns=[f"f{at:02d}" for at in range(12)])
        for matrix in has
    ]


def test_volume_and_popularity_alone_bundle_nothing():
    shown = [
        evaluate_patterns(
            [bundles(*table(250, seed), PatternLimits(), Settings()).family], Settings()
        )["passes"].any()
        for seed in range(12)
    ]
    assert not any(shown)


def test_a_planted_bundle_is_found():
    used, later = table(250, 4, planted=True)
    result = bundles(used, later, PatternLimits(), Settings())
    judged = evaluate_patterns([result.family], Settings())
    assert judged.loc[judged["passes"], "key"].tolist() == ["f02 + f05"]
    all_of, any_of = result.co_usage("f02 + f05")
    assert all_of / any_of > 0.8


def test_who_could_not_use_a_feature_is_not_counted():
    used, later = table(250, 4, planted=True)
    used.loc[:99, "f02"] = np.nan
    tried = bundles(used, later, PatternLimits(), Settings()).family.tried.set_index("key")
    assert tried.loc["f02 + f05", "n"] == 150
