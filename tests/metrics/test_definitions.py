"""Each definition of docs/metrics.md on a frame small enough to be counted by hand: usage, sessions, features, people.

The day ``D`` is 2025-03-31: its 7 days begin on 25 March, its 28 on 4 March, its 30 on 2 March, the 84 days before
those 28 on 10 December, the champion's 90 on 4 December. A machine's call on 2024-10-01 is the first tracked day.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.metrics.panels import panel
from healthseg.testing import tiny_portfolio
from tests.metrics.plain import differences

D = dt.date(2025, 3, 31)
NAN = float("nan")
TRACKED = [
    ("z", day, None, None, "api")
    for day in ("2024-10-01", "2025-03-20", "2025-04-10", "2025-04-20", "2025-04-28")
]


def customers(**signups: str) -> pd.DataFrame:
    """Customers with ``signup[@zone]``, and the machine's."""
    rows = [("z", "2024-01-01", None)]
    rows += [
        (name, text.partition("@")[0], text.partition("@")[2] or None)
        for name, text in signups.items()
    ]
    return pd.DataFrame(rows, columns=["client_id", "signup_date", "timezone"])


def check(portfolio: Portfolio, client: str, day: dt.date = D, **expected: Any) -> None:
    rows = panel(portfolio, [day])
    row = rows[rows["client_id"] == client].iloc[0].to_dict()
    assert differences(row, expected) == {}


def days(first: str, count: int, step: int = 1) -> list[str]:
    return [str(dt.date.fromisoformat(first) + dt.timedelta(days=step * k)) for k in range(count)]


def uses(client: str, user: str, dates: list[str], *rest: Any) -> list[tuple]:
    return [(client, f"{day} 09:00", user, *rest) for day in dates]


@pytest.fixture(scope="module")
def usage() -> Portfolio:
    events = [
        *TRACKED,
        ("edge", "2025-03-01 23:59:59", "u4"),
        ("edge", "2025-03-02 00:00:00", "u5"),
        ("edge", "2025-03-03 12:00:00", "u1"),
        ("edge", "2025-03-04 00:00:00", "u2"),
        ("edge", "2025-03-31 23:59:59", "u3"),
        ("edge", "2025-04-01 00:00:00", "u9"),
        ("tokyo", "2025-03-03 14:59:59", "u"),
        ("tokyo", "2025-03-03 15:00:00", "u"),
        ("tokyo", "2025-03-31 14:59:59", "u"),
        ("tokyo", "2025-03-31 15:00:00", "u"),
        ("clock", "2025-03-09 04:59:00", "u"),
        ("clock", "2025-03-10 03:59:00", "u"),
        ("clock", "2025-03-10 04:00:00", "u"),
        ("dated", "2025-03-31", "u"),
        ("robot", "2025-03-10 09:00:00", "u1", None, "api", None, 5),
        ("robot", "2025-03-10 10:00:00", None, None, "ui", None, 3),
        ("young", "2025-03-22 09:00:00", "u1"),
        ("young", "2025-03-22 09:00:00", "u2"),
        ("young", "2025-03-31 09:00:00", "u1"),
        ("back", "2025-01-05 09:00:00", "u1"),
        ("back", "2025-03-30 09:00:00", "u1"),
        ("back", "2025-03-30 10:00:00", "u2"),
        ("base", "2024-12-09 09:00:00", "u", None, "ui", None, 100),
        ("base", "2024-12-10 09:00:00", "u", None, "ui", None, 6),
        ("base", "2025-03-03 09:00:00", "u", None, "ui", None, 6),
        ("base", "2025-03-04 09:00:00", "u", None, "ui", None, 6),
        ("short", "2025-02-10 09:00:00", "u"),
        ("short", "2025-03-10 09:00:00", "u"),
        ("enough", "2025-02-10 09:00:00", "u", None, "ui", None, 14),
        ("enough", "2025-03-10 09:00:00", "u", None, "ui", None, 7),
        ("woke", "2024-12-09 09:00:00", "u"),
        ("woke", "2025-03-10 09:00:00", "u"),
        ("sticky", "2025-03-30 09:00:00", "u1"),
        ("sticky", "2025-03-30 09:00:00", "u2"),
        ("sticky", "2025-03-31 09:00:00", "u1"),
        ("unnamed", "2025-03-30 09:00:00", "u1"),
        ("unnamed", "2025-03-30 09:00:00", "u2"),
        ("unnamed", "2025-03-31 09:00:00", "u1"),
        ("unnamed", "2025-03-31 12:00:00", None),
    ]
    old = "2024-01-01"
    return tiny_portfolio(
        events,
        customers(
            edge=old,
            tokyo=f"{old}@Asia/Tokyo",
            clock=f"{old}@America/New_York",
            dated=f"{old}@America/New_York",
            robot=old,
            young="2025-03-22",
            back=old,
            base=old,
            short="2025-02-05",
            enough="2025-02-04",
            woke=old,
            sticky=old,
            unnamed=old,
            never=old,
            fresh="2025-03-30",
        ),
    )


def test_a_windows_first_and_last_day_are_in_it_and_their_neighbours_are_not(usage):
    # 28 days: u2 at the first second, u3 at the last; 30 days: u5 and u1 as well, not u4; 7 days: u3
    check(
        usage,
        "edge",
        person_events_28d=2,
        active_days_28d=2,
        monthly_active_users=4,
        weekly_active_users=1,
        daily_active_users_30d=4 / 30,
        top_user_share_28d=0.5,
        days_since_last_person_event=0,
    )


def test_days_are_the_accounts_own(usage):
    check(usage, "tokyo", person_events_28d=2)  # 00:00 of 4 March to 23:59:59 of 31 March in Tokyo
    check(
        usage, "dated", person_events_28d=1, days_since_last_person_event=0
    )  # a calendar day has no zone


def test_a_day_that_the_clock_shortens_ends_at_its_own_midnight(usage):
    # 8 March 23:59 EST, 9 March 23:59 EDT, 10 March 00:00 EDT; with the winter's offset they would be two days
    check(usage, "clock", active_days_28d=3)


def test_api_calls_are_no_activity_and_events_without_a_user_are_nobodys(usage):
    check(
        usage,
        "robot",
        api_events_28d=5,
        person_events_28d=3,
        active_days_28d=1,
        monthly_active_users=NAN,
        sessions_28d=NAN,
        sessions_per_user_per_week_28d=NAN,
        top_user_share_28d=NAN,
        days_since_last_person_event=21,
        stickiness_30d=NAN,
    )


def test_a_customer_that_signed_up_within_the_window_is_measured_on_what_it_lived(usage):
    # 22 to 31 March are 10 days with 2 + 1 active users: 3 sessions; how often users come needs two weeks
    check(
        usage,
        "young",
        tenure_days=9,
        daily_active_users_30d=0.3,
        sessions_28d=3,
        sessions_per_user_per_week_28d=NAN,
        usage_vs_own_baseline=NAN,
        monthly_active_users=2,
    )


def test_a_user_who_comes_back_is_one_user(usage):
    check(
        usage, "back", monthly_active_users=2, weekly_active_users=2, days_since_last_person_event=1
    )
    check(
        usage, "back", dt.date(2025, 2, 4), monthly_active_users=0, days_since_last_person_event=30
    )


def test_where_nobody_ever_came_silence_counts_from_the_beginning(usage):
    check(
        usage,
        "never",
        person_events_28d=0,
        monthly_active_users=0,
        stickiness_30d=NAN,
        days_since_last_person_event=181,
    )  # since 1 October, the first tracked day
    check(usage, "fresh", days_since_last_person_event=1)  # since it signed up


def test_before_the_first_tracked_day_nothing_is_measured(usage):
    october = [dt.date(2024, 10, day) for day in (27, 28, 29, 30)]
    check(
        usage,
        "never",
        october[0],
        person_events_28d=NAN,
        unique_features_used_28d=NAN,
        days_since_last_person_event=26,
    )
    check(usage, "never", october[1], person_events_28d=0, monthly_active_users=NAN)
    check(usage, "never", october[2], monthly_active_users=NAN, stickiness_30d=NAN)
    # tracked, but no event has named a user by then
    check(usage, "never", october[3], monthly_active_users=NAN, champion_departed=NAN)


def test_usage_is_held_against_the_84_days_before(usage):
    check(
        usage, "base", usage_vs_own_baseline=6 / (12 / 84 * 28)
    )  # the 100 of 9 December lie before them
    check(usage, "short", usage_vs_own_baseline=NAN)  # 5 February to 3 March: 27 days
    check(
        usage, "enough", usage_vs_own_baseline=7 / (14 / 28 * 28)
    )  # 4 February to 3 March: 28 days
    check(usage, "woke", person_events_28d=1, usage_vs_own_baseline=NAN)  # no event in them


def test_an_event_without_a_user_may_be_another_users(usage):
    check(usage, "unnamed", monthly_active_users=2, stickiness_30d=(2 / 2 + 1 / (2 + 1)) / 2)
    check(usage, "unnamed", sessions_28d=3, sessions_per_user_per_week_28d=3 / (2 + 1) / 4)
    check(usage, "unnamed", dt.date(2025, 3, 30), stickiness_30d=1)


def test_days_without_a_monthly_user_are_left_out_of_stickiness(usage):
    check(usage, "sticky", stickiness_30d=(2 / 2 + 1 / 2) / 2)
    check(usage, "sticky", dt.date(2025, 4, 2), stickiness_30d=(1 + 1 / 2 + 0 + 0) / 4)


@pytest.fixture(scope="module")
def sessions() -> Portfolio:
    events = [
        *TRACKED,
        *(("gap", f"2025-03-10 {time}", "u") for time in ("09:00:00", "09:30:00", "10:00:01")),
        ("night", "2025-03-31 23:50:00", "u"),
        ("night", "2025-04-01 00:10:00", "u"),
        *(
            ("ids", f"2025-03-10 {time}", "u", None, "ui", session)
            for session, time in (
                ("s1", "09:00:00"),
                ("s1", "12:00:00"),
                ("s2", "09:00:00"),
                ("s2", "09:10:00"),
            )
        ),
        ("rest", "2025-03-10 09:00:00", "u", None, "ui", "s"),
        ("rest", "2025-03-11 09:00:00", "u", None, "ui", "s"),
        ("rest", "2025-03-12 09:00:01", "u", None, "ui", "s"),
        ("last", "2025-03-10 09:00:00", "u", None, "ui", None, None, 900),
        ("last", "2025-03-10 09:10:00", "u", None, "ui", None, None, 90.9),
        ("dated", "2025-03-10", "u"),
    ]
    return tiny_portfolio(events)


def test_a_gap_of_more_than_half_an_hour_begins_a_session(sessions):
    check(
        sessions, "gap", sessions_28d=2, average_session_minutes_28d=(30 + 0) / 2
    )  # a zero-length one counts


def test_a_session_belongs_to_the_day_it_began_and_is_as_long_as_known(sessions):
    check(sessions, "night", sessions_28d=1, average_session_minutes_28d=0)
    check(sessions, "night", dt.date(2025, 4, 1), sessions_28d=1, average_session_minutes_28d=20)
    check(sessions, "night", dt.date(2025, 4, 27), sessions_28d=1)
    check(
        sessions,
        "night",
        dt.date(2025, 4, 28),
        person_events_28d=1,
        sessions_28d=0,
        average_session_minutes_28d=NAN,
    )


def test_a_session_id_holds_a_session_together_and_two_may_begin_at_once(sessions):
    check(sessions, "ids", sessions_28d=2, average_session_minutes_28d=(180 + 10) / 2)
    check(
        sessions, "rest", sessions_28d=2, average_session_minutes_28d=(1440 + 0) / 2
    )  # after a day and a second: anew


def test_the_last_events_duration_is_part_of_the_session(sessions):
    check(sessions, "last", average_session_minutes_28d=(600 + 90) / 60)


def test_days_without_times_make_no_sessions(sessions):
    check(sessions, "dated", person_events_28d=1, sessions_28d=0)
    check(
        tiny_portfolio([*TRACKED, ("a", "2025-03-10", "u")]),
        "a",
        person_events_28d=1,
        sessions_28d=NAN,
        sessions_per_user_per_week_28d=NAN,
        average_session_minutes_28d=NAN,
    )


def test_features_are_released_entitled_and_adopted_by_the_day():
    events = [
        *TRACKED,
        *uses("a", "u", ["2025-03-02", "2025-03-31"], "search"),
        *uses("a", "u", ["2025-03-31"], "export"),
        *uses("a", "u", ["2025-03-01", "2025-03-30"], "old"),
        *uses("a", "u", ["2025-03-05", "2025-03-06"], "unlisted"),
    ]
    listed = pd.DataFrame(
        {
            "feature": ["search", "export", "old", "late"],
            "category": "core",
            "released_on": [None, "2025-03-31", None, "2025-04-01"],
        }
    )
    lent = pd.DataFrame(
        {
            "client_id": "a",
            "feature": ["search", "export", "old", "late", "unlisted"],
            "starts_on": [None, "2025-03-31", None, None, None],
            "ends_on": [None, None, "2025-03-31", None, None],
        }
    )
    portfolio = tiny_portfolio(events, features=listed, entitlements=lent)
    # on 31 March: search (2 days) and export (1 day); old ended, late is not out, unlisted is in no list
    check(
        portfolio,
        "a",
        features_entitled=2,
        features_adopted_30d=1,
        feature_adoption_rate_30d=0.5,
        unique_features_used_28d=4,
    )
    check(
        portfolio, "a", dt.date(2025, 3, 30), features_entitled=2, features_adopted_30d=1
    )  # search (1 day), old (2)
    everybody = tiny_portfolio(
        events, features=listed
    )  # without entitlements: all that is released
    check(
        everybody, "a", features_entitled=3, features_adopted_30d=1, feature_adoption_rate_30d=1 / 3
    )


def test_without_a_list_features_are_what_the_portfolio_used_so_far():
    events = [
        *TRACKED,
        *uses("a", "u", ["2025-03-05", "2025-03-06"], "x"),
        *uses("b", "u", ["2025-03-20"], "y"),
        *uses("b", "u", ["2025-04-01"], "z"),
    ]
    portfolio = tiny_portfolio(events)
    check(
        portfolio, "a", features_entitled=2, features_adopted_30d=1, feature_adoption_rate_30d=0.5
    )
    check(portfolio, "a", dt.date(2025, 3, 10), features_entitled=1, feature_adoption_rate_30d=1)
    check(
        portfolio, "a", dt.date(2025, 3, 4), features_entitled=NAN, unique_features_used_28d=NAN
    )  # none named so far


def test_adoption_can_ask_for_two_users():
    events = [
        *TRACKED,
        *uses("a", "u1", ["2025-03-05", "2025-03-06"], "solo"),
        *uses("a", "u1", ["2025-03-05"], "both"),
        *uses("a", "u2", ["2025-03-20"], "both"),
        *uses("a", "u1", ["2025-03-20"], "once"),
        *uses("a", "u2", ["2025-03-20"], "once"),
    ]
    check(tiny_portfolio(events), "a", features_adopted_30d=2)  # solo, both
    check(
        tiny_portfolio(events, settings={"adopted_min_users": 2}), "a", features_adopted_30d=1
    )  # both


def test_the_champion_is_the_one_who_used_it_most_in_the_90_days_before_the_last_28():
    twelve = [
        "2024-12-04",
        *days("2025-01-01", 10),
        "2025-03-03",
    ]  # the first and the last of the 90 days
    often = days("2024-12-10", 24, 3)
    events = [
        *TRACKED,
        *uses("tie", "b", [*often, "2025-03-20"]),
        *uses("tie", "a", often),
        *uses("edge", "u", [*twelve, "2025-03-04"]),
        *uses("few", "u", ["2024-12-03", *twelve[:11], "2025-03-04"]),
        *uses("spread", "u0", twelve),
        *(event for k in range(1, 6) for event in uses("spread", f"u{k}", twelve)),
        *uses("quiet", "u", twelve),
        *uses("silent", "u", often),
        *uses("left", "u", [*twelve, "2025-03-10"]),
        *uses("leaves", "u", [*twelve, "2025-03-10"]),
    ]
    users = pd.DataFrame(
        {
            "user_id": "u",
            "client_id": ["left", "leaves"],
            "deactivated_at": ["2025-03-31 10:00", "2025-04-01 10:00"],
        }
    )
    portfolio = tiny_portfolio(events, users=users)
    check(
        portfolio, "tie", champion_share=0.5, champion_departed=1, top_user_share_28d=1
    )  # a, the lower id; b still comes
    check(portfolio, "edge", champion_share=1, champion_departed=0)
    check(portfolio, "few", champion_share=NAN, champion_departed=0)  # 11 days
    check(portfolio, "spread", champion_share=NAN, champion_departed=0)  # a sixth is under a fifth
    check(
        portfolio, "quiet", champion_share=1, champion_departed=0
    )  # 12 days of 90: 28 days of silence can be chance
    check(
        portfolio, "silent", champion_share=1, champion_departed=1
    )  # 24 days of 90: they hardly can
    check(portfolio, "left", champion_departed=1)
    check(portfolio, "leaves", champion_departed=0)
