from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.scoring import freeze, portfolio_by_date, score_panel, score_trend, trend_window_days
from healthseg.settings import Settings

AS_OF = dt.date(2025, 6, 2)


def weekly_scores(**series):
    """Scores.frame's columns for weekly series that end on AS_OF, the last value first given last."""
    rows = [
        {
            "client_id": name,
            "date": pd.Timestamp(AS_OF) - pd.Timedelta(weeks=len(values) - 1 - week),
            "live": True,
            "score": value,
        }
        for name, values in series.items()
        for week, value in enumerate(values)
    ]
    return pd.DataFrame(rows).astype({"date": "datetime64[us]", "score": float})


def test_a_steady_rise_is_improving_by_its_points_a_week():
    row = score_trend(weekly_scores(a=np.arange(50, 63)), AS_OF, 30, Settings()).iloc[0]
    assert (row["slope_per_week"], row["weeks"], row["trend"]) == (1.0, 13, "improving")
    fall = score_trend(weekly_scores(a=np.arange(63, 50, -1)), AS_OF, 30, Settings()).iloc[0]
    assert (fall["slope_per_week"], fall["trend"]) == (-1.0, "declining")


def test_an_interval_that_holds_zero_is_stable():
    swaying = weekly_scores(a=[60, 66, 59, 65, 60, 66, 61, 64, 60, 66, 60, 65, 61])
    row = score_trend(swaying, AS_OF, 30, Settings()).iloc[0]
    assert row["lower"] <= 0 <= row["upper"]
    assert row["trend"] == "stable"
    flat = score_trend(weekly_scores(a=[70.0] * 13), AS_OF, 30, Settings()).iloc[0]
    assert (flat["slope_per_week"], flat["lower"], flat["upper"], flat["trend"]) == (
        0,
        0,
        0,
        "stable",
    )


def test_one_odd_week_does_not_turn_a_trend():
    values = np.arange(50.0, 63)
    values[6] = 5
    assert (
        score_trend(weekly_scores(a=values), AS_OF, 30, Settings())["trend"].item() == "improving"
    )


def test_under_six_weeks_there_is_no_trend_and_withheld_weeks_do_not_count():
    short = score_trend(
        weekly_scores(a=[1, 2, 3, 4, 5], b=[1, 2, 3, np.nan, 4, 5, 6]), AS_OF, 30, Settings()
    )
    assert short["trend"].tolist() == [None, "improving"]
    assert short["weeks"].tolist() == [5, 6]
    assert np.isnan(short["slope_per_week"][0])


def test_the_trend_reads_the_look_back_and_at_least_twelve_weeks():
    assert (trend_window_days(30, Settings()), trend_window_days(180, Settings())) == (84, 180)
    values = [90.0] * 20 + list(np.arange(50.0, 63))  # the fall lies before the twelve weeks
    frame = weekly_scores(a=values)
    assert score_trend(frame, AS_OF, 30, Settings())["trend"].item() == "improving"
    assert score_trend(frame, AS_OF, 365, Settings())["weeks"].item() == 33


def test_days_between_the_weeks_and_after_as_of_are_not_read():
    frame = weekly_scores(a=np.arange(50, 63))
    odd = frame.assign(date=frame["date"] - pd.Timedelta(days=3), score=0.0)
    later = frame.assign(date=frame["date"] + pd.Timedelta(weeks=13), score=0.0)
    both = pd.concat([frame, odd, later], ignore_index=True)
    pd.testing.assert_frame_equal(
        score_trend(both, AS_OF, 30, Settings()), score_trend(frame, AS_OF, 30, Settings())
    )


def test_overlapping_windows_of_steady_behaviour_are_called_a_trend_about_one_time_in_ten():
    def trends(series):
        frame = weekly_scores(**{f"c{at}": row for at, row in enumerate(series)})
        return score_trend(frame, AS_OF, 30, Settings())["trend"]

    rng = np.random.default_rng(3)
    fast, slow = (
        np.stack([weeks[:, at : at + length].mean(axis=1) for at in range(13)], axis=1)
        for length, weeks in (
            (4, rng.normal(60, 10, (600, 16))),
            (13, rng.normal(60, 10, (600, 25))),
        )
    )
    windows = 0.8 * fast + 0.2 * slow  # of 28 and 91 days, week by week
    assert 0.03 < (trends(windows) != "stable").mean() < 0.13  # a 90 % interval
    assert (trends(windows + 2 * np.arange(13)) == "improving").mean() > 0.7


def test_a_churned_customers_score_freezes_at_its_last_live_date(panel):
    days = [dt.date(2025, 5, 19), dt.date(2025, 5, 26), dt.date(2025, 6, 2), dt.date(2025, 6, 9)]
    frame = panel(
        {"date": days[0], "live": False, "tenure_days": -4},
        {"date": days[1]},
        {"date": days[2], "live": False, "stickiness_30d": 0},
        {"date": days[3], "live": False},
    )
    frozen = freeze(score_panel(frame, Settings()).frame)
    assert frozen["status"].tolist() == ["not_started", "live", "churned", "churned"]
    assert frozen["score"].tolist()[1:] == [100.0, 100.0, 100.0]
    assert np.isnan(frozen["score"][0])
    assert frozen["band"].tolist() == [None, "champion", "champion", "champion"]
    assert frozen["frozen_on"].dt.date.tolist()[2:] == [days[1], days[1]]


def test_frozen_scores_are_no_weeks_of_a_trend(panel):
    days = [AS_OF - dt.timedelta(weeks=week) for week in range(13)]
    frame = panel(*({"date": day, "live": week > 7} for week, day in enumerate(days)))
    frozen = freeze(score_panel(frame, Settings()).frame)
    assert frozen["score"].notna().all()
    assert score_trend(frozen, AS_OF, 30, Settings())["weeks"].item() == 5


def test_freezing_knows_customers_apart(panel):
    frame = panel({"client_id": "a"}, {"client_id": "b", "live": False})
    assert freeze(score_panel(frame, Settings()).frame)["status"].tolist() == [
        "live",
        "not_started",
    ]


def test_churned_customers_are_out_of_live_averages(panel, nothing_known):
    frame = panel(
        {"client_id": "a"},
        {"client_id": "b", "worst_days_overdue": 60},
        {"client_id": "c", **nothing_known},
        {"client_id": "d", "live": False, "stickiness_30d": 0},
    )
    scores = score_panel(frame, Settings()).frame
    portfolio = portfolio_by_date(scores, pd.Series([10.0, 20.0, 40.0, 80.0])).iloc[0]
    assert (portfolio["live"], portfolio["scored"], portfolio["withheld"]) == (3, 2, 1)
    assert portfolio["mean_score"] == pytest.approx((100 + 59) / 2)
    assert (portfolio["champion"], portfolio["at_risk"], portfolio["healthy"]) == (1, 1, 0)
    assert (portfolio["arr_champion"], portfolio["arr_at_risk"], portfolio["arr_healthy"]) == (
        10.0,
        20.0,
        0.0,
    )
