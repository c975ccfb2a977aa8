"""Groups of paths: found where they were planted, not found in one cloud, and named by nothing but what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from healthseg.clustering.personas import METRICS, path_metrics, stable_groups
from healthseg.settings import Settings


def cloud(seed, n=120):
    """One skewed, correlated cloud: no groups."""
    rng = np.random.default_rng(seed)
    drive = rng.normal(size=n)
    columns = [1 / (1 + np.exp(-(drive + rng.normal(size=n)))) for _ in METRICS]
    return pd.DataFrame(
        dict(zip(METRICS, columns, strict=True)), index=[f"c{k:03d}" for k in range(n)]
    )


def planted(seed, n=120):
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    centres = np.array([[0.9, 10, 0.9, 0.9], [0.4, 60, 0.5, 0.5], [0.9, 15, 0.2, 0.4]])
    points = centres[group] + rng.normal(size=(n, 4)) * [0.06, 5, 0.06, 0.06]
    return pd.DataFrame(points, columns=list(METRICS), index=[f"c{k:03d}" for k in range(n)]), group


@pytest.mark.parametrize("seed", range(3))
def test_planted_groups_are_found_again(seed):
    frame, group = planted(seed)
    groups = stable_groups(frame, Settings())
    assert groups.reason is None and adjusted_rand_score(group, groups.labels) > 0.95
    assert (
        groups.labels.value_counts().index[0] == 0
        and groups.silhouette_p <= 0.01
        and groups.stability >= 0.8
    )


def test_one_cloud_has_no_stable_patterns():
    results = [stable_groups(cloud(seed), Settings()) for seed in range(5)]
    assert sum(each.labels is not None for each in results) == 0
    assert all("no stable patterns" in each.reason for each in results)


def test_a_cloud_of_few_distinct_shares_has_no_patterns_either():
    coarse = [stable_groups((cloud(seed, n=300) * 4).round() / 4, Settings()) for seed in range(4)]
    assert sum(each.labels is not None for each in coarse) == 0


def test_few_customers_have_no_patterns_and_the_number_is_said():
    groups = stable_groups(cloud(1, n=39), Settings())
    assert (
        groups.labels is None
        and groups.reason.startswith("39 customers")
        and "40 are needed" in groups.reason
    )


def test_the_same_frame_and_seed_give_the_same_groups():
    frame, _ = planted(5)
    pd.testing.assert_series_equal(
        stable_groups(frame, Settings()).labels, stable_groups(frame.copy(), Settings()).labels
    )


def test_a_path_is_counted_by_hand():
    lives = pd.DataFrame(
        {
            "client_id": ["a"] * 4 + ["b"],
            "feature": ["x", "y", "z", "w", "x"],
            "from_day": [100, 100, 100, 250, 100],
            "until_day": [400.0] * 4 + [150.0],
            "first_use_day": [100, 110, 104, 260, 100],
            "second_use_day": [101, np.nan, 300, 261, 101],
            "recommended_position": [1, 2, 3, 4, 1],
        }
    )
    metrics = path_metrics(
        lives,
        pd.Series({"a": 100, "b": 100, "c": 50, "d": 350}),
        first_day=100,
        last_day=400,
        path_days=90,
    )
    assert metrics.index.tolist() == [
        "a"
    ]  # b left within its 90 days, c is older than tracking, d too young
    row = metrics.loc["a"]
    assert row["share_tried"] == 1.0  # w opened later than the 90 days
    assert row["median_first_use_days"] == 4.0 and row["share_returned_to"] == pytest.approx(1 / 3)
    assert row["share_in_order"] == pytest.approx(2 / 3)  # x before y, x before z, but z before y
