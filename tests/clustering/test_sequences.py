"""Sequences: PrefixSpan against counting by hand and by brute force; orders planted, and none where there is none."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.patterns_orders import first_uses, reported
from healthseg.clustering.patterns import PatternLimits, evaluate_patterns
from healthseg.clustering.sequences import (
    _OwnControls,
    contains,
    exposures,
    in_order,
    prefixspan,
    sequences,
)
from healthseg.settings import Settings

SEQUENCES = st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=1, max_size=8)


def frame(histories):
    return pd.DataFrame(
        [
            (unit, item, time)
            for unit, items in enumerate(histories)
            for time, item in enumerate(items)
        ],
        columns=["unit", "item", "time"],
    )


def has(sequence, pattern):
    rest = iter(sequence)
    return all(item in rest for item in pattern)


@settings(max_examples=60, deadline=None)
@given(histories=SEQUENCES, least=st.integers(1, 3))
def test_every_frequent_sequence_is_found_with_its_count_and_no_other(histories, least):
    every = [
        pattern for length in (1, 2, 3) for pattern in itertools.product("abcd", repeat=length)
    ]
    plain = {pattern: sum(has(history, pattern) for history in histories) for pattern in every}
    mined = prefixspan(frame(histories), least, 3)
    assert dict(zip(mined["items"], mined["support"], strict=True)) == {
        pattern: count for pattern, count in plain.items() if count >= least
    }


def test_the_kept_library_finds_the_same_sequences_and_counts():
    """PrefixSpan-py 0.5.2 on the example of its documentation, minimum support 2."""
    rows = frame([[0, 1, 2, 3, 4], [1, 1, 1, 3, 4], [2, 1, 2, 2, 0], [1, 1, 1, 2, 2]])
    published = {
        (0,): 2,
        (1,): 4,
        (1, 2): 3,
        (1, 2, 2): 2,
        (1, 3): 2,
        (1, 3, 4): 2,
        (1, 4): 2,
        (1, 1): 2,
        (1, 1, 1): 2,
        (2,): 3,
        (2, 2): 2,
        (3,): 2,
        (3, 4): 2,
        (4,): 2,
    }
    mined = prefixspan(rows, 2, 5)
    assert dict(zip(mined["items"], mined["support"], strict=True)) == published


def test_items_of_one_day_are_in_no_order():
    rows = pd.DataFrame({"unit": [1, 1], "item": ["a", "b"], "time": [3, 3]})
    assert prefixspan(rows, 1)["items"].tolist() == [("a",), ("b",)]


def test_sequences_are_made_of_the_steps_that_are_asked_for():
    mined = prefixspan(frame(["abc", "abc"]), 2, 3, frozenset([("a", "b"), ("b", "c")]))
    assert ("a", "b", "c") in set(mined["items"]) and ("a", "c") not in set(mined["items"])


def test_a_longer_sequence_holds_a_shorter_one_in_its_order():
    assert contains("abcd", "bd") and not contains("abcd", "db")


def test_steps_are_made_soon_or_not_at_all():
    assert in_order(
        np.array([[0.0, 60.0], [0.0, 61.0], [5.0, 5.0], [0.0, np.nan]]), 60
    ).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_takers_are_held_against_those_who_could_have_taken_it_then():
    end, took = np.array([10.0, 20.0, 30.0, 40.0]), np.array([True, True, False, False])
    share, had = exposures(end, took, np.array([5.0, np.inf, 15.0, np.inf]), 60)
    assert share.tolist() == [
        0.25,
        pytest.approx(1 / 3),
    ]  # of four one is exposed on day 10, of three on day 20
    assert had.tolist() == [True, False]


def lives(count, planted, seed):
    """First uses of four features after exponential waits; where planted, b comes 20 days after a."""
    random = np.random.default_rng(seed)
    waits = random.exponential([60, 90, 70, 110], (count, 4)).round()
    if planted:
        together = random.random(count) < 0.5
        waits[together, 1] = waits[together, 0] + random.normal(20, 4, together.sum()).round()
    used = waits < 300
    rows = [
        (
            f"c{client:03d}",
            name,
            0.0,
            300.0,
            waits[client, at] if used[client, at] else np.nan,
            True,
        )
        for client in range(count)
        for at, name in enumerate("abxy")
    ]
    return pd.DataFrame(
        rows, columns=["client_id", "feature", "from_day", "until_day", "first_use_day", "watched"]
    )


def test_a_planted_order_is_found_with_its_days_between():
    orders = sequences(lives(200, True, 1), PatternLimits(support=10), Settings())
    judged = evaluate_patterns([orders.family], Settings())
    assert judged.loc[judged["passes"], "key"].tolist() == ["a → b"]
    assert np.median(orders.gaps("a → b")) == pytest.approx(20, abs=3)
    assert judged.loc[judged["passes"], "confidence"].iloc[0] > 0.95


def test_features_taken_up_independently_show_no_order():
    shown = [
        evaluate_patterns(
            [sequences(lives(200, False, seed), PatternLimits(support=10), Settings()).family],
            Settings(),
        )["passes"].any()
        for seed in range(12)
    ]
    assert not any(shown)


@pytest.mark.parametrize("rising", [False, True])
def test_unequal_correlated_rates_show_no_order(rising):
    counts = [len(reported(first_uses(400, seed, rising=rising))) for seed in range(6)]
    assert sum(count > 0 for count in counts) <= 1


def test_an_order_among_unequal_correlated_rates_is_found():
    results = [reported(first_uses(400, seed, planted_share=0.6)) for seed in range(4)]
    assert sum("f0 → f1" in keys for keys in results) >= 3


def test_own_days_before_and_after_are_compared_as_shares_of_what_was_tracked():
    """Four customers use b 5 days after a, one 5 days before: 4 of 5 where half of the days lie after."""
    gaps = np.array([5.0, 5, 5, 5, -5])
    own = _OwnControls(gaps, before=np.full(5, 30.0), after=np.full(5, 30.0))
    assert own.p([(0, 30)]) == pytest.approx(6 / 32)
    cut = _OwnControls(gaps, before=np.full(5, 10.0), after=np.full(5, 30.0))
    assert cut.p([(0, 30)]) == pytest.approx(5 * 0.75**4 * 0.25 + 0.75**5)
    assert own.p([(0, 30), (0, 3)]) == pytest.approx(12 / 32)


def test_first_uses_before_tracking_began_are_in_no_order():
    rows = lives(100, True, 2).assign(watched=False)
    assert len(sequences(rows, PatternLimits(support=10), Settings()).family.tried) == 0


def test_row_order_changes_nothing():
    rows = lives(80, True, 3)
    mixed = rows.sample(frac=1, random_state=1)
    first, other = (
        sequences(some, PatternLimits(support=10), Settings()).family.tried
        for some in (rows, mixed)
    )
    pd.testing.assert_frame_equal(first, other)
