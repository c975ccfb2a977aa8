"""The sync of Mixpanel's events: whatever the server does, each event is there once, or its day is known not to be."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter

import pytest

from healthseg.data import sync_state as states
from healthseg.data.portfolio import Portfolio
from healthseg.errors import (
    CalculationError,
    HealthsegError,
    IntegrationError,
    InvalidParameters,
)
from healthseg.integrations.mixpanel.sync import Sync
from healthseg.settings.operator import MixpanelSettings
from tests.data.mixpanel_server import (
    ACCOUNT,
    ACCOUNT_SECRET,
    DAY,
    FIRST,
    LAST,
    PROJECT,
    SECRET,
    Handler,
    happened,
    rows,
    there,
    truth,
)

FAULTS = sorted(name.removeprefix("fault_") for name in vars(Handler) if name.startswith("fault_"))
HARMLESS = {"split", "split_many", "blank_lines", "chunked", "gzip_members", "twice", "seconds"}
FINAL = {
    "400_auth",
    "400_bad",
    "401",
    "402",
    "403",
    "404",
    "redirect",
}  # asking again would not help


# -- faults ------------------------------------------------------------------------------------------------------


def test_thirty_faults_are_tried():
    assert len(set(FAULTS) - HARMLESS) >= 30


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_loses_and_repeats_nothing(tmp_path, project, sync, fault):
    if fault == "seconds":  # as the interface answers unless it is asked for milliseconds
        project.events = [event for event in project.events if event["at"].microsecond == 0]
    project.faults = [fault]
    try:
        sync()
    except IntegrationError:
        assert fault in FINAL
        sync()
    if fault == "400_today":  # the last day of the first window was put off, and is wanted still
        sync()
    if (
        fault == "empty"
    ):  # an answer without events is one: seen only where there were events before
        states.write(tmp_path, states.SyncState())
        sync()
    assert there(tmp_path) == truth(project.events)
    assert states.read(tmp_path).last["ok"] and not states.read(tmp_path).incomplete


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - HARMLESS))
def test_a_fault_that_stays_changes_no_count_and_is_made_up_for(tmp_path, project, sync, fault):
    sync(lookback_days=30)
    before = there(tmp_path)
    late = [happened(12, 10, "late"), happened(13, 11, "late")]  # what would be missed
    project.events += late
    project.faults, project.forever = [fault], True
    failed = None
    try:
        outcome = sync(lookback_days=30)
    except HealthsegError as problem:
        failed = problem
    assert there(tmp_path) == before
    state = states.read(tmp_path)
    assert not state.last["ok"] and (
        failed or set(outcome.incomplete) == {f"2025-03-{day}" for day in range(10, 14)}
    )
    assert SECRET not in json.dumps(failed.to_dict() if failed else outcome.to_dict()) + json.dumps(
        vars(state)
    )
    project.faults, project.forever = [], False
    sync(lookback_days=30)
    assert there(tmp_path) == before + truth(late)
    assert states.read(tmp_path).last["ok"] and not states.read(tmp_path).incomplete


def test_what_a_refusal_says_leads_to_the_way_out(project, sync):
    for fault, words in {
        "401": "project token",
        "402": "plan",
        "403": "role",
        "404": "region",
        "400_auth": "region",
    }.items():
        project.faults = [fault]
        with pytest.raises(IntegrationError, match=words) as refused:
            sync()
        assert SECRET not in refused.value.message


def test_a_server_that_is_down_is_an_integration_error(tmp_path, clock):
    settings = MixpanelSettings(
        api_url="http://127.0.0.1:9", account_key="company", event_timezone="UTC", attempts=2
    )
    with pytest.raises(IntegrationError, match="response is invalid"):
        Sync(tmp_path, settings, {"api_secret": SECRET}, now=clock, sleep=clock.sleep).run(
            FIRST, LAST
        )
    assert len(clock.slept) >= 1 and there(tmp_path) == Counter()


def test_a_window_that_is_too_much_is_asked_for_in_halves(tmp_path, project, sync):
    project.faults = ["400_timeout", "400_timeout"]
    sync(window_days=4)
    assert project.requests[:3] == [("2025-03-10", "2025-03-13")] * 2 + [
        ("2025-03-10", "2025-03-11")
    ]
    assert there(tmp_path) == truth(project.events)


# -- limits ------------------------------------------------------------------------------------------------------


def test_sixty_queries_an_hour_are_kept_across_calls(tmp_path, project, sync, clock):
    project.limit = 60
    project.events = [happened(day, 9) for day in range(1, 20)]
    for _ in range(4):
        sync(dt.date(2025, 3, 1), dt.date(2025, 3, 19), window_days=1, lookback_days=90)
    assert len(project.requests) == 76 and there(tmp_path) == truth(project.events)
    assert max(clock.slept) > 3500 and len(states.read(tmp_path).queries) <= 60


def test_a_limit_that_others_use_up_is_waited_for_without_a_word_of_how_long(
    tmp_path, project, sync, clock
):
    project.limit, project.times = 60, [clock().timestamp() - 60 * k for k in range(60)]
    sync(window_days=4)
    assert there(tmp_path) == truth(project.events) and 60 < sum(clock.slept) < 4000


def test_pauses_double_to_a_minute_with_jitter(project, sync, clock):
    project.faults, project.forever = ["500"], True
    with pytest.raises(IntegrationError):
        sync(attempts=8)
    pauses = [pause for pause in clock.slept if pause > 1]
    doubled = [2, 4, 8, 16, 32, 60, 60]
    assert all(1 <= pause - base <= 5 for pause, base in zip(pauses, doubled, strict=True))


# -- which days --------------------------------------------------------------------------------------------------


def test_days_that_are_final_are_not_fetched_again_and_the_last_five_are(tmp_path, project, sync):
    sync(dt.date(2025, 3, 10), dt.date(2025, 3, 19), window_days=30)
    assert project.requests == [("2025-03-10", "2025-03-19")]
    project.events.append(happened(17, 9, "late"))
    outcome = sync(dt.date(2025, 3, 10), dt.date(2025, 3, 19), window_days=30)
    assert project.requests[1:] == [("2025-03-15", "2025-03-19")] and outcome.already_there == 5
    assert there(tmp_path) == truth(project.events)


def test_no_day_is_asked_for_that_has_not_begun_where_the_project_is(project, sync, clock):
    clock.at = dt.datetime(2025, 3, 14, 2, tzinfo=dt.UTC)  # still the 13th in New York
    project.zone = "America/New_York"
    sync(FIRST, dt.date(2025, 3, 30), event_timezone="America/New_York", window_days=30)
    assert project.requests == [("2025-03-10", "2025-03-13")]


def test_a_window_that_broke_off_leaves_what_was_there_and_the_next_call_goes_on(
    tmp_path, project, sync
):
    project.faults, project.forever = ["", "500"], True
    with pytest.raises(IntegrationError, match="remain"):
        sync(window_days=2)
    assert set(states.read(tmp_path).days) == {"2025-03-10", "2025-03-11"}
    project.faults = []
    count = len(project.requests)
    sync(window_days=2)
    assert project.requests[count:] == [("2025-03-12", "2025-03-13")] and there(tmp_path) == truth(
        project.events
    )


def test_other_rules_for_events_fetch_every_day_again(tmp_path, project, sync):
    sync()
    count = len(project.requests)
    sync(exclude_events=("opened",))
    assert len(project.requests) == 2 * count and there(tmp_path) == Counter()


def test_two_syncs_at_once_are_refused(tmp_path, sync):
    with states.alone(tmp_path), pytest.raises(CalculationError, match="another sync"):
        sync()


# -- what an event is --------------------------------------------------------------------------------------------


def test_of_repeats_the_one_that_came_last_counts_and_two_of_one_instant_are_two(
    tmp_path, project, sync
):
    once = happened(10, 9, "u1", "a", "sent", number=7, plan="old")
    again = happened(10, 9, "u1", "a", "sent", number=7, after=900, plan="new")
    other = [happened(11, 9, "u1", "a", "sent", number=number) for number in (1, 2)]
    nameless = [happened(12, 9, "u1", "a", "sent", **{"$insert_id": ...}) for _ in range(3)]
    project.events = [again, once, *other, *nameless]
    outcome = sync(feature_key="plan")
    frame = rows(tmp_path)
    assert (len(frame), outcome.repeats, outcome.events) == (6, 1, 6)
    assert frame.loc[frame["occurred_at"].dt.day == 10, "feature"].tolist() == ["new"]
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    portfolio = Portfolio.open(tmp_path, {"data_until": "2025-03-13"})
    assert portfolio.reports["events"].kept == 6


def test_identity_events_junk_users_and_devices_are_no_usage_of_anybody(tmp_path, project, sync):
    project.events = [
        *(
            happened(10, hour, event=event)
            for hour, event in enumerate(("$identify", "$create_alias", "$merge"))
        ),
        *(
            happened(11, hour, user)
            for hour, user in enumerate(("anon", "undefined", "", "0", "$device:9f"))
        ),
        happened(12, 9, "u1"),
        happened(13, 9, "u1", event="noise"),
    ]
    outcome = sync(exclude_events=("noise",))
    assert outcome.left_out == {"identity": 3, "excluded": 1} and outcome.received == 10
    frame = rows(tmp_path)
    assert frame["user_id"].isna().sum() == 5 and frame["user_id"].dropna().tolist() == ["u1"]


def test_accounts_are_numbers_texts_or_lists_and_what_is_none_is_counted(tmp_path, project, sync):
    project.events = [
        happened(10, 1, company=12),
        happened(10, 2, company="12"),
        happened(10, 3, company=12.0),
        happened(10, 4, company=["x", "y", "x"]),
        happened(10, 5, company=None),
        happened(10, 6, company="Acme Inc."),
        happened(10, 7, company=..., org="z"),
        happened(10, 8, company=[]),
    ]
    outcome = sync(account_key=("company", "org"))
    assert Counter(rows(tmp_path)["client_id"]) == {"12": 3, "x": 1, "y": 1, "z": 1}
    assert outcome.left_out == {"no account": 3} and outcome.no_account_example == "Acme Inc."


def test_breaks_within_a_record_end_no_line(tmp_path, project, sync):
    project.events = [happened(10, 9, user="a\u2028b\x85c\x0bd"), happened(11, 9)]
    sync()
    assert there(tmp_path) == truth(project.events)


def test_an_old_project_s_wall_clock_becomes_utc_and_its_days_are_its_own(
    tmp_path, project, sync, clock
):
    """Also in the hour that comes twice, and around the one that never does (New York, 9 March; Berlin, 26 October)."""
    clock.at = dt.datetime(2025, 11, 20, tzinfo=dt.UTC)
    for zone, start in (("America/New_York", 8), ("Europe/Berlin", 238), ("Asia/Kolkata", 238)):
        project.zone = zone
        project.events = [
            happened(start + hour // 24, hour % 24 + 0.25, number=hour) for hour in range(72)
        ]
        first, last = (event["at"].date() for event in (project.events[0], project.events[-1]))
        sync(first - DAY, last + DAY, event_timezone=zone, window_days=30)
        assert there(tmp_path) == truth(project.events), zone
        for file in (tmp_path / "events" / "mixpanel").glob("*"):
            file.unlink()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/New_York"])
def test_a_zone_that_the_times_of_arrival_contradict_is_refused(tmp_path, project, sync, zone):
    project.zone = zone
    project.events = [happened(10 + k // 40, 6 + 0.4 * (k % 40), number=k) for k in range(120)]
    with pytest.raises(IntegrationError, match="event_timezone is wrong"):
        sync()
    assert there(tmp_path) == Counter() and not states.read(tmp_path).last["ok"]
    sync(event_timezone=zone)
    assert there(tmp_path) == truth(project.events)


def test_events_that_are_sent_in_batches_do_not_contradict_a_zone_when_told_so(
    tmp_path, project, sync
):
    project.events = [
        happened(10 + k // 40, 0.5 * (k % 40), number=k, after=30_000) for k in range(120)
    ]
    with pytest.raises(IntegrationError, match="check_timezone = false"):
        sync()
    sync(check_timezone=False)
    assert there(tmp_path) == truth(project.events)


# -- settings and credentials ------------------------------------------------------------------------------------


def test_a_service_account_signs_with_its_project(tmp_path, project, sync):
    secrets = {"service_account_secret": ACCOUNT_SECRET}
    with pytest.raises(InvalidParameters, match="MIXPANEL_PROJECT_ID"):
        sync(secrets=secrets, service_account=ACCOUNT)
    sync(secrets=secrets, service_account=ACCOUNT, project_id=PROJECT)
    assert there(tmp_path) == truth(project.events)


def test_the_token_alone_is_said_to_authorise_nothing(sync):
    with pytest.raises(InvalidParameters, match="authorises no export"):
        sync(secrets={"project_token": "t"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"account_key": ()}, "which property names the customer"),
        ({"event_timezone": None}, "in which time zone"),
    ],
)
def test_what_events_mean_must_be_said(sync, settings, words):
    with pytest.raises(InvalidParameters, match=words):
        sync(**settings)


def test_a_portfolio_with_events_in_one_file_is_told_how_to_have_both(tmp_path, sync):
    (tmp_path / "events.csv").write_text("client_id,occurred_at\n")
    with pytest.raises(InvalidParameters, match="move it to events"):
        sync()
