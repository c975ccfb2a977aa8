"""Milestones counted by hand: who has completed what, when, and what is in the way; as it was known on each date."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import pandas as pd
import pytest

from healthseg.metrics.milestone_plan import BUSINESS, CALENDAR, DayCount, holidays, plan_of
from healthseg.metrics.milestones import STATUSES, states
from healthseg.testing import tiny_portfolio

SIGNUP = "2025-03-03"  # a Monday
WEEKS = pd.date_range("2025-01-01", "2025-06-25", freq="7D").strftime("%Y-%m-%d 09:00:00")
EVENTS = [
    ("a", "2025-03-03 09:00:00", "u0", "search"),
    *(("z", at, "z1", "search") for at in WEEKS),
]
WHO = pd.DataFrame(
    {
        "client_id": ["a", "z"],
        "signup_date": [SIGNUP, "2024-12-01"],
        "timezone": [None, None],
        "churned_on": [None, None],
    }
)


def milestones(*rows):
    """Each (id, target_days, category, required, depends_on, completes_when)."""
    columns = [
        "milestone_id",
        "target_days",
        "category",
        "required",
        "depends_on",
        "completes_when",
    ]
    frame = pd.DataFrame([(*row, *(None,) * (6 - len(row))) for row in rows], columns=columns)
    frame["category"] = frame["category"].fillna("onboarding")
    return frame.assign(
        name=frame["milestone_id"].str.title(), required=frame["required"].fillna(True).astype(bool)
    )


def progress(*rows):
    return pd.DataFrame([{"client_id": "a", **row} for row in rows])


def portfolio(plan, done=None, events=(), who=WHO, settings=None, **tables):
    """The plan, with what was entered for customer a; the portfolio's first entry ever is of the 2nd of December."""
    first = progress({"milestone_id": "earlier", "started_at": "2024-12-02"})
    done = first if done is None else pd.concat([first, done])
    return tiny_portfolio(
        [*EVENTS, *events], who, settings, milestones=plan, milestone_progress=done, **tables
    )


def row(opened, milestone="m", date="2025-04-30", client="a"):
    rows = states(opened, dt.date.fromisoformat(date))
    chosen = rows[(rows["client_id"] == client) & (rows["milestone_id"] == milestone)]
    return chosen.iloc[0] if len(chosen) else None


def day(text):
    return (pd.Timestamp(text) - pd.Timestamp(0)).days


def search(*days):
    return [("a", f"{on} 09:00:00", user, "search") for user, on in days]


TWO_USERS = '{"feature": "search", "users": 2}'


def test_an_open_milestone_is_overdue_on_the_day_after_its_target_and_not_on_it():
    opened = portfolio(
        milestones(("m", 10)), progress({"milestone_id": "m", "started_at": "2025-03-05"})
    )
    assert row(opened, date="2025-03-04")["status"] == "not_started"
    assert row(opened, date="2025-03-13")["status"] == "in_progress"
    assert row(opened, date="2025-03-14")["status"] == "overdue"
    assert row(opened)["target_day"] == day("2025-03-13")


def test_completed_stands_before_skipped_and_skipped_before_overdue():
    both = progress({"milestone_id": "m", "completed_at": "2025-03-20", "skipped_at": "2025-03-18"})
    opened = portfolio(milestones(("m", 10)), both)
    assert [
        row(opened, date=date)["status"] for date in ("2025-03-17", "2025-03-19", "2025-03-20")
    ] == ["overdue", "skipped", "completed"]


def test_use_completes_a_milestone_on_the_day_of_the_second_user():
    opened = portfolio(
        milestones(("m", 10, None, None, None, TWO_USERS)),
        None,
        search(("u1", "2025-03-05"), ("u0", "2025-03-06"), ("u2", "2025-03-08")),
    )
    assert (
        row(opened, date="2025-03-04")["reached"] == 1
        and row(opened, date="2025-03-04")["status"] == "in_progress"
    )
    state = row(opened)
    assert (state["status"], state["completed_by"], state["completed_day"]) == (
        "completed",
        "data",
        day("2025-03-05"),
    )
    assert (
        state["progress"] == 1 and state["days"] == 2 and state["started_day"] == day("2025-03-03")
    )


def test_whichever_was_first_of_hand_and_use_completes_it():
    plan, use = milestones(("m", 10, None, None, None, TWO_USERS)), search(("u1", "2025-03-05"))
    for entered, by, on in (
        ("2025-03-04", "hand", "2025-03-04"),
        ("2025-03-05 18:00:00", "hand", "2025-03-05"),
        ("2025-03-09", "data", "2025-03-05"),
    ):
        state = row(portfolio(plan, progress({"milestone_id": "m", "completed_at": entered}), use))
        assert (state["completed_by"], state["completed_day"]) == (by, day(on))


def test_calls_of_an_api_and_events_without_a_user_complete_nothing():
    events = [
        ("a", "2025-03-05 09:00:00", "u1", "search", "api"),
        ("a", "2025-03-06 09:00:00", None, "search", "ui"),
    ]
    state = row(portfolio(milestones(("m", 10, None, None, None, TWO_USERS)), None, events))
    assert state["status"] == "overdue" and state["reached"] == 1


def test_days_to_completion_have_the_share_of_the_day_that_had_passed_in_the_accounts_zone():
    who = WHO.assign(timezone=["America/New_York", None])
    done = progress(
        {"milestone_id": "m", "completed_at": "2025-03-05T04:00:00Z"}
    )  # 23:00 on the 4th in New York
    state = row(portfolio(milestones(("m", 10)), done, who=who))
    assert state["completed_day"] == day("2025-03-04") and state["days"] == pytest.approx(
        1 + 23 / 24
    )
    assert (
        row(
            portfolio(
                milestones(("m", 10)), progress({"milestone_id": "m", "completed_at": "2025-03-05"})
            )
        )["days"]
        == 2
    )


def test_a_blocker_stands_from_its_day_until_it_is_cleared_or_the_milestone_done():
    done = progress(
        {
            "milestone_id": "m",
            "started_at": "2025-03-04",
            "blocker": "no owner",
            "blocked_since": "2025-03-06",
            "blocker_cleared_at": "2025-03-20",
            "completed_at": "2025-03-25",
        }
    )
    opened = portfolio(milestones(("m", 10)), done)
    dates = ("2025-03-05", "2025-03-06", "2025-03-19", "2025-03-20")
    assert [bool(row(opened, date=date)["blocked"]) for date in dates] == [False, True, True, False]
    assert row(opened, date="2025-03-05")["blocker"] is None  # nobody knew of it yet
    never = portfolio(milestones(("m", 10)), done.assign(blocker_cleared_at=None))
    assert row(never, date="2025-03-24")["blocked"] and not row(never, date="2025-03-25")["blocked"]


def test_what_waits_names_the_open_dependencies():
    plan = milestones(("first", 5), ("second", 5), ("m", 20, None, None, "first, second"))
    done = progress(
        {"milestone_id": "first", "completed_at": "2025-03-10"},
        {"milestone_id": "second", "skipped_at": "2025-03-12"},
    )
    opened = portfolio(plan, done)
    assert row(opened, date="2025-03-09")["waits_for"] == ("first", "second")
    assert row(opened, date="2025-03-11")["waits_for"] == ("second",)
    assert row(opened, date="2025-03-12")["waits_for"] == ()
    assert row(opened, date="2025-03-12")["target_day"] == day(
        "2025-03-23"
    )  # of the signup, not of the dependency


def test_days_can_begin_with_the_last_dependency():
    plan = milestones(("first", 5), ("m", 10, None, None, "first"))
    opened = portfolio(
        plan,
        progress({"milestone_id": "first", "completed_at": "2025-04-10"}),
        settings={"milestone_anchor": "dependency"},
    )
    before, after = row(opened, date="2025-04-09"), row(opened, date="2025-04-21")
    assert np.isnan(before["target_day"]) and before["status"] == "not_started"
    assert after["target_day"] == day("2025-04-20") and after["status"] == "overdue"


def test_business_days_leave_out_weekends_and_holidays_also_those_to_come():
    calendar = pd.DataFrame(
        {
            "starts_on": ["2025-03-10", "2025-03-11", "2025-03-11"],
            "label": ["holiday: Founders' Day", "launch", "launch: holiday offers"],
        }
    )
    opened = portfolio(
        milestones(("m", 6)),
        progress({"milestone_id": "m", "completed_at": "2025-03-12"}),
        calendar=calendar,
        settings={"milestone_days": "business"},
    )
    assert row(opened, date="2025-03-09")["target_day"] == day("2025-03-12"), (
        "a holiday is known before it comes"
    )
    assert row(opened)["target_day"] == day("2025-03-12") and row(opened)["days"] == 6
    by_calendar = portfolio(milestones(("m", 6)), None, calendar=calendar)
    state = row(by_calendar)
    assert state["target_day"] == state["began_day"] + 6, "all days count where the settings say so"


def test_holidays_are_all_days_of_the_rows_that_say_so():
    rows = pd.DataFrame(
        {
            "starts_on": ["2025-05-01", "2025-12-24", "2025-06-01", "2025-06-02"],
            "ends_on": [None, "2025-12-26", None, None],
            "label": ["Public Holiday", "holidays", "incident: holiday rota", "launch"],
        }
    )
    opened = portfolio(milestones(("m", 6)), None, calendar=rows)
    assert [date.isoformat() for date in holidays(opened)] == [
        "2025-05-01",
        "2025-12-24",
        "2025-12-25",
        "2025-12-26",
    ]
    assert holidays(portfolio(milestones(("m", 6)), None)) == []


def test_business_days_go_forth_and_back():
    count = DayCount(BUSINESS, [dt.date(2025, 3, 10)])
    start = np.arange(day("2025-03-01"), day("2025-03-20"))
    for days in (0, 1, 4, 11):
        assert (count.between(start, count.after(start, np.array(float(days)))) == days).all()
    assert np.isnan(count.after(np.array([np.nan]), np.array([2.0]))).all()
    friday = day("2025-03-07")
    assert [count.nth(start, 1) for start in range(friday, friday + 4)] == [
        day("2025-03-11")
    ] * 4, "Monday is off"
    assert DayCount(CALENDAR, []).nth(friday, 3) == friday + 3


def test_a_customer_that_came_back_begins_anew():
    who = WHO.assign(churned_on=["2025-04-01", None])
    contracts = pd.DataFrame(
        {
            "client_id": "a",
            "starts_on": [SIGNUP, "2025-05-05"],
            "ends_on": ["2025-04-01", "2026-05-05"],
            "arr": 1000,
        }
    )
    done = progress({"milestone_id": "m", "completed_at": "2025-03-08"})
    plan = milestones(("m", 10), ("use", 10, None, None, None, '{"feature": "search", "users": 1}'))
    opened = portfolio(plan, done, search(("u0", "2025-05-09")), who, contracts=contracts)
    assert row(opened, date="2025-03-31")["status"] == "completed"
    left = row(opened, date="2025-04-20")
    assert not left["live"] and left["day"] == day("2025-03-31")
    again, used = row(opened, date="2025-05-10"), row(opened, "use", "2025-05-10")
    assert (again["status"], again["began_day"]) == ("not_started", day("2025-05-05"))
    assert (used["status"], used["days"]) == ("completed", 4)


def test_one_plan_is_asked_only_of_its_customers():
    contracts = pd.DataFrame(
        {
            "client_id": ["a", "z"],
            "starts_on": "2024-12-01",
            "ends_on": "2026-01-01",
            "arr": 1000,
            "plan": ["basic", "pro"],
        }
    )
    plan = milestones(("m", 10, None, None, None, TWO_USERS)).assign(plans="pro; enterprise")
    opened = portfolio(plan, contracts=contracts)
    assert row(opened) is None and row(opened, client="z") is not None


@pytest.mark.slow
def test_a_condition_says_to_whom_a_milestone_applies_churned_customers_by_their_last_day():
    contracts = pd.DataFrame(
        {
            "client_id": ["a", "z"],
            "starts_on": "2024-12-01",
            "arr": [1000, 90_000],
            "seats": [5, 80],
        }
    )
    plan = milestones(
        ("large", 10, None, None, None, TWO_USERS), ("all", 10, None, None, None, TWO_USERS)
    )
    large = plan.assign(applies_when=["seats >= 50 and arr > 50000", None])
    opened = portfolio(large, contracts=contracts)
    assert row(opened, "large") is None and row(opened, "all") is not None
    assert row(opened, "large", client="z") is not None
    churned = WHO.assign(
        churned_on=["2025-03-20" if name == "z" else None for name in WHO["client_id"]]
    )
    assert row(portfolio(large, contracts=contracts, who=churned), "large", client="z") is not None
    wrong = portfolio(plan.assign(applies_when=["seets >= 50", None]), contracts=contracts)
    assert row(wrong, "large") is not None
    assert (
        "large applies to all" in plan_of(wrong).warnings[0]
        and "seats" in plan_of(wrong).warnings[0]
    )


def test_what_nobody_could_have_entered_is_not_overdue():
    plan = milestones(("m", 10), ("use", 10, None, None, None, TWO_USERS))
    nobody = tiny_portfolio(EVENTS, WHO, milestones=plan)
    assert row(nobody) is None and row(nobody, "use")["status"] == "overdue"
    later = portfolio(plan, progress({"milestone_id": "m", "completed_at": "2025-03-05"}))
    assert (
        row(later, client="z") is None and row(later)["status"] == "completed"
    )  # z began before any entry


def test_use_before_tracking_began_leaves_the_days_unknown():
    state = row(
        portfolio(milestones(("m", 10, None, None, None, '{"feature": "search", "users": 1}'))),
        client="z",
    )
    assert state["status"] == "completed" and np.isnan(state["days"]) and not state["watched"]


def test_a_plan_that_cannot_be_read_says_so():
    plan = milestones(
        ("x", 5, None, None, "y"), ("y", 5, None, None, "x"), ("m", 5, None, None, "gone", "soon")
    )
    parsed = plan_of(portfolio(plan))
    assert [line for line in parsed.warnings if "x depends on itself" in line]
    assert [line for line in parsed.warnings if "gone, which is not a milestone" in line]
    assert [line for line in parsed.warnings if "completes_when 'soon' is not read" in line]
    assert row(portfolio(plan))["feature"] is None


def test_a_portfolio_without_milestones_has_no_states():
    opened = tiny_portfolio(EVENTS, WHO)
    assert plan_of(opened) is None and not len(states(opened, opened.as_of()))


# -- what was known on a date ----------------------------------------------------------------------


def random_progress(roll):
    moments = ("started_at", "blocked_since", "blocker_cleared_at", "completed_at", "skipped_at")
    rows = []
    for client in "abcde":
        for milestone in ("one", "two", "three"):
            days = sorted(roll.sample(range(1, 100), 5))
            entered = {
                name: dt.date(2025, 1, 5) + dt.timedelta(days=at)
                for name, at in zip(moments, days, strict=True)
                if roll.random() < 0.6
            }
            if "blocked_since" in entered:
                entered["blocker"] = roll.choice(["legal", "data"])
            else:
                entered.pop("blocker_cleared_at", None)
            rows.append({"client_id": client, "milestone_id": milestone, **entered})
    return pd.DataFrame(rows, columns=["client_id", "milestone_id", *moments, "blocker"])


@pytest.mark.parametrize("seed", range(4))
def test_what_was_so_on_a_date_never_changes(seed):
    roll = random.Random(seed)
    done, date = random_progress(roll), dt.date(2025, 2, 20)
    plan = milestones(
        ("one", 20),
        ("two", 40, None, None, "one"),
        ("three", 60, "adoption", None, None, TWO_USERS),
    )
    signups = [f"2025-01-{roll.randint(1, 28):02d}" for _ in range(5)]
    who = pd.DataFrame({"client_id": list("abcde"), "signup_date": signups})
    events = [
        (
            roll.choice("abcde"),
            f"2025-0{roll.randint(1, 4)}-{roll.randint(1, 28):02d} 09:00:00",
            f"u{roll.randint(1, 3)}",
            "search",
        )
        for _ in range(60)
    ] + [("a", at, "u1", "plan") for at in WEEKS]
    cut = done.copy()
    for name in done.columns[2:7]:
        cut[name] = [
            value if not pd.isna(value) and value <= date else None for value in done[name]
        ]
    cut.loc[cut["blocked_since"].isna(), "blocker"] = None
    early = [event for event in events if event[1][:10] <= str(date)]
    whole, then = (
        tiny_portfolio(
            known, who, {"data_until": str(until)}, milestones=plan, milestone_progress=rows
        )
        for known, rows, until in ((events, done, "2025-04-30"), (early, cut, date))
    )
    shown = [
        "client_id",
        "milestone_id",
        "status",
        "started_day",
        "completed_day",
        "skipped_day",
        "blocked",
        "blocker",
        "waits_for",
        "reached",
        "target_day",
    ]
    left, right = (states(each, date)[shown].astype(object) for each in (whole, then))
    pd.testing.assert_frame_equal(left.where(left.notna(), None), right.where(right.notna(), None))
    assert set(left["status"]) <= set(STATUSES) and left["status"].nunique() >= 3
