"""Peaks are found where they were put, and none where every hour of the week is alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.clustering.rhythms import WEEK_HOURS, hour_ranges, rhythms
from healthseg.settings import Settings

WEEKS = 13
FIRST = 20_003  # a Monday: 20,003 + 3 is a multiple of 7


def visits(rows):
    return pd.DataFrame(rows, columns=["user", "day", "hour"])


def flat(seed, users=12, a_week=4):
    """Each user comes at random hours of the week, each visit lasting two hours."""
    random, rows = np.random.default_rng(seed), []
    for user in range(users):
        for week in range(WEEKS):
            for start in random.integers(0, WEEK_HOURS - 1, a_week):
                rows += [
                    (user, FIRST + 7 * week + hour_of_week // 24, hour_of_week % 24)
                    for hour_of_week in (start, start + 1)
                ]
    return visits(rows)


def office(seed, hours, weights, days=range(5), users=12, a_week=4):
    """Each user comes on working days at hours drawn by their weights."""
    random, rows = np.random.default_rng(seed), []
    share = np.array(weights, float) / sum(weights)
    for user in range(users):
        for week in range(WEEKS):
            rows += [
                (user, FIRST + 7 * week + day, hour)
                for day, hour in zip(
                    random.choice(list(days), a_week),
                    random.choice(hours, a_week, p=share),
                    strict=True,
                )
            ]
    return visits(rows)


def rhythms_of(rows, **settings):
    return rhythms(rows, FIRST, FIRST + 7 * WEEKS, Settings(**settings))


def test_an_hour_with_thrice_the_visits_of_the_others_is_the_peak():
    answer = rhythms_of(office(1, range(8, 18), [1, 1, 3, 1, 1, 1, 1, 1, 1, 1]))["hour"]
    assert answer.peaks == [10] and answer.p < 1e-5
    assert answer.cells.loc[10, "ratio"] == pytest.approx(2.5, abs=0.5)


def test_flat_office_hours_have_a_rhythm_and_no_peak():
    answer = rhythms_of(office(2, range(8, 18), [1] * 10))["hour"]
    assert answer.p < 1e-5 and answer.peaks == []
    assert answer.cells.loc[answer.cells["in_use"], "place"].tolist() == list(range(8, 18))


def test_the_weekday_that_most_come_on_is_the_peak():
    rows = pd.concat(
        [
            office(3, range(24), [1] * 24, days=[1], a_week=3),
            office(4, range(24), [1] * 24, a_week=3),
        ]
    )
    assert rhythms_of(rows)["day"].peaks == [1]


def test_a_flat_week_has_no_peak_in_any_of_forty_portfolios():
    assert not [
        seed for seed in range(40) for answer in rhythms_of(flat(seed)).values() if answer.peaks
    ]


def test_a_single_user_who_always_comes_at_nine_has_a_peak_at_nine():
    rows = visits(
        [("u", day, 9) for day in range(FIRST, FIRST + 7 * WEEKS) if (day + 3) % 7 < 5]
        + [("u", day, 10 + day % 4) for day in range(FIRST, FIRST + 7 * WEEKS) if (day + 3) % 7 < 5]
    )
    assert rhythms_of(rows)["hour"].peaks == [9]


def test_rows_in_any_order_and_a_second_call_give_the_same_figures():
    rows = office(5, range(8, 18), [2, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    first, other, again = (
        rhythms_of(rows),
        rhythms_of(rows.sample(frac=1, random_state=3)),
        rhythms_of(rows),
    )
    for kind in first:
        pd.testing.assert_frame_equal(first[kind].cells, other[kind].cells)
        pd.testing.assert_frame_equal(first[kind].cells, again[kind].cells)


def test_a_busy_session_counts_its_hour_once():
    rows = office(6, range(8, 18), [1] * 10)
    twice = pd.concat([rows, rows[rows["hour"] == 9]])
    assert (
        rhythms_of(twice)["hour"].cells["user_hours"].tolist()
        == rhythms_of(rows)["hour"].cells["user_hours"].tolist()
    )


def test_only_whole_weeks_that_end_with_the_period_are_counted():
    rows = visits([("u", FIRST + day, 9) for day in range(45)])
    answer = rhythms(rows, FIRST, FIRST + 45, Settings())["day"]
    assert answer.cells["user_hours"].tolist() == [6] * 7  # 42 of 45 days


@pytest.mark.parametrize(
    ("days", "many", "reason"), [(13, 50, "1 whole week,"), (28, 1, "4 active user-hours")]
)
def test_too_little_is_said_and_not_guessed(days, many, reason):
    rows = visits([(user, FIRST + day, 9) for user in range(many) for day in range(0, days, 7)])
    answer = rhythms(rows, FIRST, FIRST + days, Settings())
    assert all(reason in part.reason and part.peaks == [] for part in answer.values())


def test_a_day_outside_of_use_is_never_a_peak():
    rows = office(7, range(8, 18), [1] * 10)
    cells = rhythms_of(rows)["day"].cells
    assert not cells.loc[5:, "in_use"].any() and cells.loc[5:, "ratio"].isna().all()
    assert Settings().rhythm_day_in_use_share == 0.05
    assert Settings().rhythm_hour_in_use_share == 0.02


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ([], []),
        ([9, 10], ["9-11am"]),
        ([14, 15], ["2-4pm"]),
        ([11, 12], ["11am-1pm"]),
        ([0], ["12-1am"]),
        ([23], ["11pm-12am"]),
        ([10, 8], ["8-9am", "10-11am"]),
    ],
)
def test_contiguous_hours_are_said_as_a_range(hours, words):
    assert hour_ranges(hours) == words
