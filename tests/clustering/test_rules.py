"""Thresholds, the merge rule and holding a place, on cases that can be followed by eye and under properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthseg.clustering.rules import bounds, joined_name, merged, places, range_names, settled


def test_a_lower_edge_belongs_to_the_range_above_and_an_upper_edge_of_money_to_the_range_below():
    assert places(np.array([39.9, 40, 60]), [40, 60]).tolist() == [0, 1, 2]
    assert places(np.array([40.0, 40.01]), [40, 60], lower_included=False).tolist() == [0, 1]


def test_a_missing_value_lies_nowhere():
    assert places(np.array([np.nan]), [40]).tolist() == [-1]


def test_ranges_are_named_and_bounded():
    assert range_names([40, 60]) == ["below 40", "40–60", "60 and above"]
    assert [bounds([40, 60], at) for at in range(3)] == [(None, 40), (40, 60), (60, None)]


@pytest.mark.parametrize(
    ("counts", "least", "most", "groups"),
    [
        ([3, 20, 9, 40], 5, 10, [[0, 1], [2], [3]]),  # the smallest joins its only neighbour
        ([20, 3, 9, 40], 5, 10, [[0], [1, 2], [3]]),  # the smaller one of two
        ([9, 3, 9], 5, 10, [[0, 1], [2]]),  # of two equal ones the lower
        ([20, 0, 3, 9], 5, 10, [[0], [2, 3]]),  # one that nobody is in is none
        ([8, 7, 9, 40], 5, 2, [[0, 1, 2], [3]]),  # too many: the smallest goes first
        ([1, 1, 1], 5, 10, [[0, 1, 2]]),  # a portfolio below the minimum is one segment
        ([], 5, 10, []),
        ([4], 5, 10, [[0]]),
    ],
)
def test_the_merge_rule_in_order(counts, least, most, groups):
    assert merged(counts, least, most, ordered=True) == groups


@pytest.mark.parametrize(
    ("counts", "least", "most", "groups"),
    [
        ([2, 3, 50], 5, 10, [[2], [0, 1]]),
        ([2, 30, 50], 5, 10, [[2], [0, 1]]),  # a rest that is too small takes the next smallest
        ([10, 9, 8, 7], 5, 3, [[0], [1], [2, 3]]),
        ([10, 9], 5, 10, [[0], [1]]),
        ([4], 5, 10, [[0]]),
    ],
)
def test_the_merge_rule_without_order(counts, least, most, groups):
    assert merged(counts, least, most, ordered=False) == groups


@given(
    st.lists(st.integers(0, 60), max_size=20), st.integers(1, 30), st.integers(1, 12), st.booleans()
)
def test_merging_parts_everybody_once_into_segments_that_are_large_and_few_enough(
    counts, least, most, ordered
):
    groups = merged(counts, least, most, ordered)
    assert sorted(at for group in groups for at in group) == [
        at for at, count in enumerate(counts) if count
    ]
    sizes = [sum(counts[at] for at in group) for group in groups]
    assert len(groups) <= most
    assert all(size >= least for size in sizes) or len(groups) == 1
    if ordered:
        assert all(
            group == list(filter(lambda at: counts[at], range(group[0], group[-1] + 1)))
            for group in groups
        )


def test_merged_segments_are_called_by_their_parts_or_the_rest():
    assert joined_name(["Critical"], True) == "Critical"
    assert joined_name(["Critical", "At Risk"], True) == "Critical + At Risk"
    assert joined_name(["Energy", "Media"], False) == "Other"
    assert joined_name(["Energy", "Media"], False, whole=True) == "All customers"


def test_a_border_is_crossed_only_by_more_than_the_margin():
    history = np.array(
        [[62, 59, 61, 59], [62, 59, 56, 61], [62, 59, 56, 64.0], [50, np.nan, 62, np.nan]]
    )
    assert settled(history, [60], 3).tolist() == [1, 0, 1, -1]


@given(st.lists(st.lists(st.floats(0, 100), min_size=4, max_size=4), min_size=1, max_size=20))
def test_without_a_margin_the_last_value_decides(rows):
    history = np.array(rows)
    assert (
        settled(history, [40, 60, 80], 0).tolist() == places(history[:, -1], [40, 60, 80]).tolist()
    )
