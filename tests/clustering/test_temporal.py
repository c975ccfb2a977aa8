"""Rhythms of the week on the account's own clock, trend and seasons; nothing where nothing is."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.clustering.patterns import evaluate_patterns
from healthseg.clustering.rhythms import cells_of, compare_cells, user_hours
from healthseg.clustering.temporal import peaks_and_lows, seasons, temporal
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio

START = dt.date(2025, 1, 6)  # a Monday
WEEKS = 12
END = START + dt.timedelta(days=7 * WEEKS)


def simulated(
    rate, seed: int = 5, users: int = 12, client: str = "a", zone: str | None = None, **tables
):
    """One customer; each user begins a session in an hour (UTC) with the chance ``rate(weekday, hour)``."""
    random, events = np.random.default_rng(seed), []
    for at in range(7 * WEEKS):
        day = START + dt.timedelta(days=at)
        chance = np.array([rate(at % 7, hour) for hour in range(24)])
        for user in range(users):
            for hour in np.flatnonzero(random.random(24) < chance):
                events.append((client, f"{day} {hour:02d}:05", f"u{user}", "search"))
    customers = pd.DataFrame(
        {"client_id": [client], "signup_date": "2024-01-01", "timezone": zone or "UTC"}
    )
    return tiny_portfolio(events, customers)


def peaks_of(portfolio, client: str = "a"):
    result = temporal(portfolio, [client], START, END)
    return peaks_and_lows(evaluate_patterns([result.family], Settings(pattern_resamples=50)), 0.7)


def office(weekday: int, hour: int) -> float:
    return 0.08 if weekday < 5 and 8 <= hour < 18 else 0.0


def test_a_peak_of_a_weekday_and_of_an_hour_and_quiet_weekends_are_told():
    rhythm = peaks_of(
        simulated(
            lambda day, hour: (
                office(day, hour) * (1.8 if day == 1 else 1) * (2.2 if hour == 10 else 1)
            )
        )
    )
    assert rhythm.peak_days == ["Tuesday"]
    assert rhythm.peak_hours == ["10-11am"]
    assert rhythm.low_periods == ["Weekends"]


FRIDAY = (1.9, 0.1)  # as many people in all, nearly all of them before noon


def test_a_quiet_friday_afternoon_is_a_low_of_its_own():
    rhythm = peaks_of(
        simulated(lambda day, hour: office(day, hour) * FRIDAY[hour >= 12] ** (day == 4), users=25)
    )
    assert "Friday afternoon" in rhythm.low_periods
    assert rhythm.peak_days == []


def test_hours_are_those_of_the_accounts_own_clock():
    portfolio = simulated(
        lambda day, hour: office(day, hour) * (3 if hour == 10 else 1), zone="Asia/Kolkata"
    )
    rows = user_hours(portfolio, ["a"], START, END)
    assert set(rows.loc[rows["weekday"] < 5, "hour"]) == set(range(13, 23 + 1)) - {
        23
    }  # 8:05 UTC is 13:35
    assert peaks_of(portfolio).peak_hours == ["3-4pm"]


def test_a_users_hour_counts_once_however_many_events_it_has():
    events = [("a", f"2025-01-07 10:{minute:02d}", "u1", "search") for minute in range(30)]
    rows = user_hours(tiny_portfolio(events), ["a"], START, END)
    assert rows[["weekday", "hour"]].values.tolist() == [[1, 10]]


def test_flat_weeks_of_unequal_users_show_nothing():
    shown = 0
    for seed in range(6):
        rhythm = peaks_of(simulated(lambda day, hour: 0.03, seed=seed))
        shown += bool(rhythm.peak_days or rhythm.peak_hours or rhythm.low_periods)
    assert shown <= 1  # 1 of 30 at a false-discovery rate of 5%


def test_one_users_busy_hour_in_one_week_is_no_rhythm():
    week = np.zeros((30, 168))
    week[:, 9::24] = 1
    week[0, 33] = 100  # Tuesday at nine, once
    frame = compare_cells(week, cells_of(week.sum(axis=0), Settings())).set_index("key")
    assert frame.loc["day:Tuesday", "lift"] > 2
    assert frame.loc["day:Tuesday", "p"] > 0.1


def test_a_single_week_says_nothing_of_chance():
    week = np.zeros((1, 168))
    week[0, [9, 33, 34]] = 1, 1, 5
    assert (compare_cells(week, cells_of(week.sum(axis=0), Settings()))["p"] == 1).all()


def test_lift_is_the_user_hours_over_the_mean_of_the_days_in_use():
    week = np.zeros((4, 168))
    week[:, [9, 33, 57]] = 2  # Monday, Tuesday, Wednesday at nine
    week[:, 33] = 5
    frame = compare_cells(week, cells_of(week.sum(axis=0), Settings())).set_index("key")
    assert frame.loc["day:Tuesday", "lift"] == pytest.approx(5 / 3)
    assert frame.loc["day:Sunday", "lift"] == 0


def test_too_few_weeks_or_user_hours_say_why():
    portfolio = simulated(office)
    short = temporal(portfolio, ["a"], END - dt.timedelta(days=20), END)
    assert short.family is None
    assert short.reason == "2 whole weeks, at least 4 are needed"
    empty = temporal(
        tiny_portfolio([("a", "2025-03-03", "u1"), ("a", "2025-03-10", "u1")]), ["a"], START, END
    )
    assert "0 active user-hours" in empty.reason


def test_a_rising_series_has_a_trend():
    def trend(events_of):
        events = [
            ("a", f"{START + dt.timedelta(days=at)} 10:{minute:02d}", "u1")
            for at in range(84)
            for minute in range(events_of(at))
        ]
        return temporal(tiny_portfolio(events), ["a"], START, END).trend

    assert trend(lambda at: 20 + at * 7 % 5).direction == "stable"
    rising = trend(lambda at: 2 + at // 3)
    assert rising.direction == "increasing"
    assert rising.lower < rising.weekly_growth_rate < rising.upper


def daily(days: int, factor) -> pd.DataFrame:
    day = np.arange(days) + 19_723  # 2024-01-01, a Monday
    random = np.random.default_rng(2)
    return pd.DataFrame(
        {"day": day, "person_events": random.poisson(200 * factor(day - 19_723)).astype(float)}
    )


def test_a_fourth_quarter_is_told_after_two_years_and_not_after_one():
    def winter(at):
        return np.where(at % 364 >= 273, 1.4, 1.0)

    _, quarter, year = seasons(daily(364 * 3, winter), Settings())
    assert year.significant and year.strength > 0.64
    assert year.high[0] >= 38 and year.high[1] == pytest.approx(1.3, abs=0.12)
    assert not quarter.significant
    once = seasons(daily(300, winter), Settings())[2]
    assert once.reason == "0.8 cycles seen, two full ones are needed"
    assert once.effect is None


def test_noise_has_no_season():
    assert not any(
        season.significant
        for season in seasons(daily(364 * 3, lambda at: np.ones(len(at))), Settings())
    )
