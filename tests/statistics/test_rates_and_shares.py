from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from healthseg.statistics.effects import Hypotheses, benjamini_hochberg
from healthseg.statistics.rates import (
    largest_remainder,
    percentages,
    standard_errors,
    student_errors,
    two_sided_p,
    wilson,
)
from healthseg.statistics.robust import dominance, ranks


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3 (score without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_its_published_values(successes, trials, lower, upper):
    low, high = wilson(successes, trials, 0.95)
    assert (round(float(low), 4), round(float(high), 4)) == (lower, upper)


def test_wilsons_interval_touches_its_ends_exactly_and_is_nan_of_nothing():
    low, high = wilson(np.array([0.0, 7.0, 0.0]), np.array([7.0, 7.0, 0.0]))
    assert low[0] == 0.0
    assert high[1] == 1.0
    assert np.isnan([low[2], high[2]]).all()


@given(successes=st.integers(0, 40), failures=st.integers(0, 40), level=st.floats(0.5, 0.99))
def test_a_rate_lies_in_its_interval_and_more_trials_narrow_it(successes, failures, level):
    trials = successes + failures
    if trials == 0:
        return
    low, high = wilson(successes, trials, level)
    assert 0 <= low <= successes / trials <= high <= 1
    wide, narrow = high - low, np.subtract(*wilson(10 * successes, 10 * trials, level)[::-1])
    assert narrow < wide


def test_benjamini_and_hochbergs_own_example_rejects_four():
    # Benjamini & Hochberg (1995), JRSS B 57, 289-300, section 3.2: 15 hypotheses on thrombolysis
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.000,
    ]
    q = benjamini_hochberg(p)
    assert (q <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert q[3] == pytest.approx(0.0095 * 15 / 4)
    assert q[-1] == 1.0


def test_q_does_not_depend_on_the_order_tried():
    p = np.random.default_rng(1).uniform(size=40) ** 3
    order = np.random.default_rng(2).permutation(40)
    assert benjamini_hochberg(p[order]).tolist() == benjamini_hochberg(p)[order].tolist()
    assert np.allclose(benjamini_hochberg(p), stats.false_discovery_control(p))


def test_the_list_of_hypotheses_counts_everything_tried_whatever_its_family():
    tried = Hypotheses()
    tried.add("pairs", "a", 0.01, lift=2.0)
    tried.add("rhythms", "b", 0.5)
    assert len(tried) == 2
    assert tried.frame()["q"].tolist() == [0.02, 0.5]
    assert tried.significant(0.02)["name"].tolist() == ["a"]
    assert len(Hypotheses().frame()) == 0


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="p-values"):
        benjamini_hochberg([p])
    with pytest.raises(ValueError, match="p-values"):
        Hypotheses().add("family", "name", p)


def test_seats_go_to_the_largest_remainders():
    # Hamilton's method, the textbook election of 100,000 votes and 10 seats
    votes = [47_000, 16_000, 15_900, 12_000, 6_000, 3_100]
    assert largest_remainder([Fraction(vote * 10, 100_000) for vote in votes], 10) == [
        5,
        2,
        1,
        1,
        1,
        0,
    ]


@given(st.lists(st.fractions(-1000, 1000, max_denominator=97), max_size=20))
def test_rounded_figures_add_up_and_stay_within_one(figures):
    rounded = largest_remainder(figures)
    assert abs(sum(rounded) - sum(figures)) <= Fraction(1, 2)
    assert all(abs(number - figure) < 1 for number, figure in zip(rounded, figures, strict=True))


def test_a_total_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="cannot be rounded to a total of 9"):
        largest_remainder([1.5, 2.5], 9)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any))
def test_percentages_add_up_to_one_hundred(counts):
    assert sum(round(share * 10) for share in percentages(counts)) == 1000


def test_percentages_of_nothing_are_nothing():
    assert percentages([0, 0]) == [0.0, 0.0]


@given(st.floats(0.05, 0.999), st.integers(1, 3_000))
def test_students_errors_are_those_of_scipy(level, degrees):
    assert student_errors(level, degrees) == pytest.approx(
        float(stats.t.ppf((1 + level) / 2, degrees)), rel=1e-9
    )


def test_what_is_computed_without_scipys_slow_modules_is_what_they_compute():
    """Half a second of a process' first call is their loading alone."""
    rng = np.random.default_rng(5)
    for size in (1, 2, 7, 40):
        p, digits = rng.random(size).round(2), int(rng.integers(0, 3))
        assert benjamini_hochberg(p).tolist() == stats.false_discovery_control(p).tolist()
        first, second = rng.normal(size=size).round(digits), rng.normal(0.5, 1, 9).round(digits)
        expected = stats.mannwhitneyu(first, second, use_continuity=False, method="asymptotic")
        assert dominance(first, second).p == pytest.approx(expected.pvalue, rel=1e-12)
        assert ranks(first).tolist() == stats.rankdata(first).tolist()
    for level in (0.5, 0.9, 0.999):
        assert standard_errors(level) == pytest.approx(stats.norm.ppf((1 + level) / 2), rel=1e-14)
        z = standard_errors(level)
        assert two_sided_p(-z) == pytest.approx(2 * stats.norm.sf(z), rel=1e-14)
