"""The first and last day of the data, days that are not whole in a zone, and tracking gaps: found, and not invented."""

from __future__ import annotations

import datetime as dt
import random

import pandas as pd
import pytest

from healthseg.data.extent import DAY, ActiveDay, extent, in_words, tracking_gaps
from healthseg.settings.data import DataSettings

FIRST = dt.date(2025, 2, 3)  # a Monday
SETTINGS = DataSettings()


def busy(customers: int = 12, days: int = 120, weekend: int = 12) -> dict[dt.date, ActiveDay]:
    """A portfolio in which every customer is active on every weekday, and some at weekends."""
    dates = [FIRST + k * DAY for k in range(days)]
    active = {day: customers if day.weekday() < 5 else weekend for day in dates}
    return {day: ActiveDay(3 * count, count, 23) for day, count in active.items() if count}


def ends(days: dict[dt.date, ActiveDay]) -> tuple[dt.date, dt.date]:
    known = extent(days, min(days), SETTINGS)
    return known.first_day, known.last_day


LAST = FIRST + 119 * DAY


@pytest.mark.parametrize("ahead", [1, 2, 6, 20, 29])
def test_a_device_with_a_wrong_clock_moves_no_end(ahead):
    days = busy()
    days[LAST + ahead * DAY] = ActiveDay(4, 1, 23)
    days[FIRST - (ahead + 7) * DAY] = ActiveDay(1, 1, 3)
    known = extent(days, min(days), SETTINGS)
    assert (known.first_day, known.last_day) == (FIRST, LAST)
    assert sorted(rows for rows, _ in known.beyond) == [1, 4]


def test_a_device_that_is_always_ahead_moves_no_end_either():
    days = busy()
    days |= {LAST + k * DAY: ActiveDay(2, 1, 23) for k in range(1, 15)}
    assert ends(days) == (FIRST, LAST)


@pytest.mark.parametrize("weekend", [0, 1, 12])
def test_the_last_day_is_that_of_the_portfolio_whatever_its_weekends(weekend):
    days = busy(weekend=weekend)
    assert ends(days) == (min(days), max(days))


def test_the_last_day_after_a_tracking_gap_counts():
    days = {day: value for day, value in busy().items() if not -11 < (day - LAST).days < 0}
    assert ends(days) == (FIRST, LAST)


def test_a_portfolio_that_grows_begins_with_its_first_customer():
    days = {FIRST + k * DAY: ActiveDay(1 + k // 10, 1 + k // 10, 23) for k in range(200)}
    assert ends(days) == (min(days), max(days))


def test_a_portfolio_that_grows_fast_begins_with_its_first_customers():
    customers = [11, 26, 47, 56, 65, 75, 89, 102, 108, 123, *range(128, 320, 4)]
    days = {FIRST + k * DAY: ActiveDay(3 * n, n, 23) for k, n in enumerate(customers)}
    assert ends(days) == (min(days), max(days))


@pytest.mark.parametrize("count", [3, 10, 27])
def test_a_late_event_moves_no_end_of_few_days_either(count):
    days = busy(days=count)
    last = max(days)
    assert ends({**days, last + 200 * DAY: ActiveDay(1, 1, 23)}) == (FIRST, last)
    assert ends({**days, last + DAY: ActiveDay(24, 8, 23)}) == (FIRST, last + DAY)


def test_few_customers_are_active_on_the_days_on_which_they_are():
    days = {FIRST: ActiveDay(6, 3, 23), FIRST + 40 * DAY: ActiveDay(1, 1, 23)}
    assert ends(days) == (min(days), max(days))


def test_a_day_is_whole_where_the_export_holds_its_evening():
    days = busy()
    days[LAST + DAY] = ActiveDay(30, 11, 4)  # the export was made at five in the morning, UTC
    known = extent(days, FIRST, SETTINGS)
    assert known.last_day == known.last_whole_day("Asia/Kathmandu") == LAST
    assert known.last_whole_day("America/New_York") == LAST  # until 04:00 UTC
    assert known.last_whole_day("America/Los_Angeles") == LAST - DAY  # until 07:00 UTC
    assert known.missing_days("America/Los_Angeles") == (LAST,)
    assert known.missing_days("Australia/Lord_Howe") == ()


def active(customers, days, share=1.0, weekdays=7, seed=1, without=()):
    rng = random.Random(seed)
    dates = [FIRST + k * DAY for k in range(days)]
    rows = [
        (f"c{n}", day)
        for day in dates
        for n in range(customers)
        if day not in without and day.weekday() < weekdays and rng.random() < share
    ]
    return pd.DataFrame(rows, columns=["client_id", "day"]), dates[0], dates[-1]


@pytest.mark.parametrize(("customers", "length"), [(12, 1), (9, 1), (5, 2), (30, 14)])
def test_a_gap_of_a_busy_portfolio_is_found_to_the_day(customers, length):
    gap = [FIRST + (70 + k) * DAY for k in range(length)]
    assert tracking_gaps(*active(customers, 100, without=gap), SETTINGS) == tuple(gap)


def test_weekends_around_a_gap_are_no_part_of_it_where_nobody_works_on_them():
    week = [FIRST + (70 + k) * DAY for k in range(5)]
    gaps = tracking_gaps(*active(12, 100, weekdays=5, without=week), SETTINGS)
    assert gaps == tuple(week)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("customers", "share", "weekdays"),
    [(40, 0.8, 5), (3, 0.5, 5), (2, 0.7, 7), (1, 0.9, 7), (6, 0.3, 7)],
)
def test_weekends_and_quiet_days_of_small_portfolios_are_no_gaps(customers, share, weekdays, seed):
    assert tracking_gaps(*active(customers, 360, share, weekdays, seed), SETTINGS) == ()


def test_what_comes_later_changes_no_gap():
    gap = [FIRST + (70 + k) * DAY for k in range(3)]
    rows, first, last = active(12, 160, without=gap)
    early = rows[rows["day"] <= FIRST + 80 * DAY]
    assert tracking_gaps(early, first, FIRST + 80 * DAY, SETTINGS) == tracking_gaps(
        rows, first, last, SETTINGS
    )


def test_days_in_words():
    days = [dt.date(2025, 12, 30) + k * DAY for k in range(4)]
    assert in_words(days) == ["30 Dec 2025 to 2 Jan 2026 (4 days)"]
