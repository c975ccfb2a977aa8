"""manage_lifecycle_stages on portfolios that can be followed by hand: stays, what was known when, moves, their messages."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import healthseg as hs
from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound, InvalidClientId, InvalidParameters
from healthseg.settings.lifecycle import STAGES, TRANSITIONS, Lifecycle
from healthseg.tools import portfolio_lifecycle
from tests.tools.lifecycle_portfolios import (
    Clock,
    actions,
    at,
    changes,
    customers,
    portfolio_of,
)

manage = hs.manage_lifecycle_stages
WAY = (
    ("trial", "2025-01-10"),
    ("onboarding", "2025-01-24"),
    ("active", "2025-03-01"),
    ("at_risk", "2025-04-01"),
    ("active", "2025-05-01", "2025-05-20"),
)
MOVERS = [f"w{number:02d}" for number in range(12)]  # who have come the same way as a
LEADERS = [f"from_{stage}" for stage in TRANSITIONS]  # who are in that stage
JOURNEYS = [(client, *step) for client in ("a", *MOVERS) for step in WAY]
IN_STAGE = [(client, client.removeprefix("from_"), "2025-02-01") for client in LEADERS]


@pytest.fixture(scope="module")
def portfolio() -> Portfolio:
    """Many customers, so that each test that moves one has its own; none has enough stays for a curve."""
    everybody = ["a", "b", *MOVERS, *LEADERS]
    own = {"lifecycle": {"min_spells": 40}}
    return portfolio_of(
        changes(*JOURNEYS, *IN_STAGE), *everybody, clock=Clock(at(7, 1)), settings=own
    )


@pytest.fixture(scope="module")
def _movers():
    return iter(MOVERS)


@pytest.fixture
def who(_movers) -> str:
    """A customer that no other test moves."""
    return next(_movers)


@pytest.fixture
def clock() -> Clock:
    return Clock(at(7, 1))


@pytest.fixture
def own(clock: Clock) -> Portfolio:
    """A portfolio for a test that sets the clock."""
    return portfolio_of(changes(*(("a", *step) for step in WAY)), "a", clock=clock)


def stays(response) -> list[tuple]:
    return [
        (
            stay.stage,
            str(stay.start_date),
            stay.end_date and str(stay.end_date),
            stay.duration_days,
            stay.visit,
        )
        for stay in response.stage_progression
    ]


# -- reading -------------------------------------------------------------------------------------------------


def test_stays_run_to_the_next_change_and_a_return_is_a_stay_of_its_own(portfolio):
    response = manage(portfolio, "a", "get_stage")
    assert stays(response) == [
        ("trial", "2025-01-10", "2025-01-24", 14, 1),
        ("onboarding", "2025-01-24", "2025-03-01", 36, 1),
        ("active", "2025-03-01", "2025-04-01", 31, 1),
        ("at_risk", "2025-04-01", "2025-05-01", 30, 1),
        ("active", "2025-05-01", None, 60, 2),
    ]
    assert (response.previous_stage, response.current_stage, response.days_in_previous_stage) == (
        "at_risk",
        "active",
        30,
    )
    assert (response.transition_date, response.transition_reason, response.automated) == (
        "2025-05-01T12:00:00Z",
        "seen",
        False,
    )
    assert (response.stage_source, response.changed, response.automated_actions_triggered) == (
        "imported",
        False,
        [],
    )


def test_a_customer_without_history_has_no_stage_but_a_suggestion_beside(portfolio):
    response = manage(portfolio, "b", "get_history")
    assert (
        response.current_stage,
        response.stage_source,
        response.stage_progression,
        response.history,
    ) == (
        None,
        "none",
        [],
        [],
    )
    assert response.suggestion.stage is not None and "$.current_stage" in response.not_measured
    assert (
        response.next_stage_criteria.target_stage is None
        and response.next_stage_criteria.allowed_stages == list(STAGES)
    )


def test_days_are_those_of_the_customers_own_clock():
    who = customers(a="2025-01-01").assign(timezone="America/Los_Angeles")
    late = pd.DataFrame(
        {
            "client_id": "a",
            "stage": ["trial", "active"],
            "effective_at": ["2025-03-01 03:00:00", "2025-03-10 20:00:00"],
        }
    )
    response = manage(portfolio_of(late, who=who), "a", "get_stage")
    assert [(stay.stage, str(stay.start_date)) for stay in response.stage_progression] == [
        ("trial", "2025-02-28"),
        ("active", "2025-03-10"),
    ]


def test_at_an_earlier_date_the_stage_is_that_of_the_date(portfolio):
    response = manage(portfolio, "a", "get_stage", as_of="2025-04-10")
    assert (response.current_stage, response.days_in_current_stage, str(response.as_of)) == (
        "at_risk",
        9,
        "2025-04-10",
    )
    assert (
        manage(portfolio, "a", "get_stage", as_of="2025-04-01T11:59:59Z").current_stage == "active"
    )
    assert (
        manage(portfolio, "a", "get_stage", as_of="2025-04-01T12:00:00Z").current_stage == "at_risk"
    )


def test_what_was_known_earlier_is_what_was_reported_earlier(portfolio):
    assert manage(portfolio, "a", "get_stage", as_of="2025-05-10").current_stage == "active"
    believed = manage(portfolio, "a", "get_stage", as_of="2025-05-10", known_at="2025-05-10")
    assert (believed.current_stage, believed.known_at) == ("at_risk", "2025-05-10T23:59:59.999999Z")
    assert any("more has been recorded since" in text for text in believed.warnings)


def test_a_back_dated_correction_keeps_what_was_believed_before(own, clock):
    before = manage(own, "a", "get_stage", known_at="2025-06-30")
    clock.now = at(7, 5)
    fixed = manage(
        own, "a", "update_stage", "onboarding", "not live yet", effective_at="2025-03-01T12:00Z"
    )
    assert fixed.changed and stays(fixed)[1] == ("onboarding", "2025-01-24", "2025-04-01", 67, 1)
    later = manage(own, "a", "get_stage", known_at="2025-06-30")
    assert later.stage_progression == before.stage_progression
    assert stays(manage(own, "a", "get_history")) == stays(fixed)
    entries = [
        (entry.stage, entry.kind, entry.in_force)
        for entry in fixed.history
        if entry.effective_at[:10] == "2025-03-01"
    ]
    assert entries == [("active", "transition", False), ("onboarding", "correction", False)]


def test_a_correction_sets_off_nothing_and_may_leave_the_graph(portfolio, who):
    response = manage(portfolio, who, "update_stage", "trial", effective_at="2025-06-01")
    assert (response.current_stage, response.correction, response.automated_actions_triggered) == (
        "trial",
        True,
        [],
    )
    assert response.last_transition_actions == []


def test_get_update_transition_and_history_have_the_same_keys(portfolio, who, conform):
    responses = [
        manage(portfolio, "a", "get_stage"),
        manage(portfolio, "b", "get_history"),
        manage(portfolio, who, "update_stage", "engaged"),
        manage(portfolio, who, "transition", "at_risk", "silence"),
    ]
    for response in responses:
        reply = response.to_dict()
        assert set(reply) == set(responses[0].to_dict())
        assert conform("manage_lifecycle_stages", reply) == []
        json.dumps(reply)


# -- moving --------------------------------------------------------------------------------------------------


def test_a_transition_takes_effect_now_and_is_seen_by_the_next_call(portfolio, who):
    response = manage(portfolio, who, "transition", "engaged", "uses it daily")
    assert (response.changed, response.previous_stage, response.current_stage) == (
        True,
        "active",
        "engaged",
    )
    assert (response.transition_date, response.recorded_at) == (
        "2025-07-01T12:00:00Z",
        "2025-07-01T12:00:00Z",
    )
    assert (
        response.days_in_previous_stage,
        response.days_in_current_stage,
        str(response.as_of),
    ) == (
        61,
        0,
        "2025-07-01",
    )
    assert (response.stage_source, response.actor, response.transition_reason) == (
        "recorded",
        "unknown",
        "uses it daily",
    )
    assert manage(portfolio, who, "get_stage").current_stage == "engaged"
    assert manage(portfolio, who, "get_stage", as_of="2025-06-30").current_stage == "active"
    assert any("data end on 2025-06-30" in text for text in response.warnings)


@pytest.mark.slow
def test_a_transition_is_seen_by_the_portfolios_page_too_that_was_open_before(own):
    def shown(**options) -> tuple:
        response = portfolio_lifecycle(own, **options)
        counts = {stage: count for stage, count in response.stage_counts.items() if count}
        return (
            str(response.as_of),
            counts,
            [row["target"] for row in response.setbacks],
            response.excluded["churned"],
        )

    before = ("2025-06-30", {"active": 1}, [], 0)
    assert shown() == before
    manage(own, "a", "transition", "at_risk")
    assert shown() == ("2025-07-01", {"at_risk": 1}, ["at_risk"], 0)
    assert shown(as_of="2025-07-01") == shown() and shown(as_of="2025-06-30") == before
    assert shown(known_at="2025-06-30T12:00:00Z") == before
    manage(own, "a", "transition", "churned")
    assert shown() == ("2025-07-01", {}, [], 1)
    response = portfolio_lifecycle(own)
    assert response.total_customers == 0 and "2025-06-30" in response.warnings[0]
    with pytest.raises(InvalidParameters, match="after the data"):
        portfolio_lifecycle(own, as_of="2025-07-02")


def test_a_transition_within_the_data_is_seen_by_whatever_reads_a_stage(clock):
    clock.now = at(6, 20)
    portfolio = portfolio_of(
        changes(("a", "active", "2025-02-01"), ("b", "active", "2025-02-01")), "a", "b", clock=clock
    )

    def members() -> dict[str, list[str]]:
        segments = hs.segment_customers(portfolio, {}, "lifecycle", min_segment_size=1).segments
        return {segment.segment_name: sorted(segment.client_ids) for segment in segments}

    (before,) = members().values()
    assert before == ["a", "b"]
    manage(portfolio, "a", "transition", "at_risk")
    assert sorted(members().values()) == [["a"], ["b"]]


def test_the_same_transition_again_changes_nothing_and_says_so(portfolio, who):
    first = manage(portfolio, who, "transition", "engaged")
    again = manage(portfolio, who, "transition", "engaged")
    assert (first.changed, again.changed) == (True, False)
    assert again.history == first.history and len(portfolio.ledger().stage_events(who)) == 1


def test_a_request_id_records_once_and_answers_the_same_later(own, clock):
    first = manage(own, "a", "transition", "engaged", request_id="call-1")
    clock.now = at(7, 3)
    manage(own, "a", "transition", "at_risk")
    again = manage(own, "a", "transition", "engaged", request_id="call-1")
    assert (first.changed, again.changed, again.current_stage) == (True, False, "at_risk")
    assert [action.action for action in again.automated_actions_triggered] == [
        "update_crm_stage",
        "notify_csm",
    ]
    with pytest.raises(InvalidParameters, match="'call-1' was used before, for a to engaged"):
        manage(own, "a", "transition", "renewing", request_id="call-1")
    assert len(own.ledger().stage_events("a")) == 2


@pytest.mark.parametrize("source", [*TRANSITIONS])
def test_every_stage_leads_where_the_graph_says_and_nowhere_else(portfolio, source):
    client = f"from_{source}"
    allowed = {*TRANSITIONS[source], *(() if source == "churned" else ("churned",))}
    assert set(manage(portfolio, client, "get_stage").next_stage_criteria.allowed_stages) == allowed
    for target in sorted(set(STAGES) - allowed - {source}):
        with pytest.raises(
            InvalidParameters, match=f"{client} is {source}: from there it can go to "
        ) as refused:
            manage(portfolio, client, "transition", target)
        assert target in refused.value.details["value_provided"]
    assert portfolio.ledger().stage_events(client) == []
    assert manage(portfolio, client, "transition", sorted(allowed)[0]).changed


def test_a_graph_of_the_settings_is_the_one_that_counts():
    own = {"lifecycle": {"transitions": {"trial": ["engaged"]}, "edges": []}}
    opened = portfolio_of(changes(("a", "trial", "2025-02-01")), "a", settings=own)
    assert manage(opened, "a", "transition", "engaged").current_stage == "engaged"
    with pytest.raises(InvalidParameters, match="it can go to churned, not to active"):
        manage(opened, "a", "transition", "active")
    with pytest.raises(ValueError, match="not an allowed transition"):
        Lifecycle(transitions={"trial": ["engaged"]})


def test_a_back_dated_transition_must_fit_what_came_after_it(portfolio, who):
    response = manage(portfolio, who, "transition", "renewing", effective_at="2025-05-10")
    assert (
        response.current_stage == "renewing"
        and str(response.stage_progression[-1].start_date) == "2025-05-10"
    )
    with pytest.raises(
        InvalidParameters, match="became at_risk on 2025-04-01, which cannot follow churned"
    ):
        manage(portfolio, who, "transition", "churned", effective_at="2025-03-15")
    between = manage(portfolio, who, "transition", "engaged", effective_at="2025-03-15")
    assert [stay.stage for stay in between.stage_progression] == [
        "trial",
        "onboarding",
        "active",
        "engaged",
        "at_risk",
        "active",
        "renewing",
    ]


def test_an_earlier_beginning_of_the_same_stage_lengthens_its_stay(portfolio, who):
    response = manage(portfolio, who, "update_stage", "active", effective_at="2025-02-20T12:00Z")
    assert stays(response)[2] == ("active", "2025-02-20", "2025-04-01", 40, 1)


def test_the_clock_of_a_second_machine_that_runs_behind_leaves_the_order_alone(own, clock):
    manage(own, "a", "transition", "engaged")
    clock.now = at(6, 30)
    response = manage(own, "a", "transition", "at_risk")
    assert [stay.stage for stay in response.stage_progression][-2:] == ["engaged", "at_risk"]
    assert response.recorded_at == "2025-07-01T12:00:00Z"


def test_who_left_can_be_won_back_and_begins_a_new_stay():
    opened = portfolio_of(
        changes(("a", "active", "2025-02-01"), ("a", "churned", "2025-04-01")), "a"
    )
    response = manage(opened, "a", "transition", "onboarding", "came back")
    assert [(stay.stage, stay.visit) for stay in response.stage_progression] == [
        ("active", 1),
        ("churned", 1),
        ("onboarding", 1),
    ]


# -- bad input -----------------------------------------------------------------------------------------------

BAD = [
    ({"new_stage": "happy"}, "'prospect', 'trial'"),
    ({"new_stage": None}, "needs new_stage"),
    ({"new_stage": "engagd"}, "did you mean engaged"),
    ({"effective_at": "2024-12-31"}, "before a signed up, on 2025-01-01"),
    ({"effective_at": "2025-07-02"}, "in the future"),
    ({"effective_at": "soon"}, "is not a moment"),
    ({"effective_at": 20250701}, "effective_at"),
    ({"transition_reason": "x" * 1_000_000}, "1,000,000 characters; it may have 2,000"),
    ({"transition_reason": "a\x00b"}, r"control character U\+0000"),
    ({"transition_reason": "a\nb"}, r"U\+000A"),
    ({"transition_reason": "a\u202eb"}, r"U\+202E"),
    ({"transition_reason": "\ud800"}, r"U\+D800"),
    ({"request_id": "a b"}, "request_id 'a b' is not valid"),
    ({"request_id": "x" * 101}, "is not valid"),
    ({"actor": "x" * 101}, "100 characters"),
    ({"actor": "a\x07"}, "control character"),
    ({"as_of": "2025-06-01"}, "as_of is for reading"),
    ({"known_at": "2025-06-01"}, "known_at is for reading"),
    ({"automated": "yes"}, "automated"),
    ({"notify_team": 1}, "notify_team"),
    ({"action": "move"}, "'get_stage'"),
]


@pytest.mark.parametrize(("parameters", "reason"), BAD)
def test_bad_input_is_the_error_object_and_records_nothing(portfolio, parameters, reason):
    arguments = {"action": "transition", "new_stage": "engaged", **parameters}
    with pytest.raises(InvalidParameters, match=reason) as refused:
        manage(portfolio, "a", **arguments)
    error = refused.value.to_dict()
    assert error["error_code"] == "INVALID_PARAMETERS" and len(json.dumps(error)) < 3_000
    assert portfolio.ledger().stage_events("a") == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"new_stage": "active"},
        {"transition_reason": "x"},
        {"effective_at": "2025-02-01"},
        {"request_id": "x"},
        {"actor": "x"},
    ],
)
def test_what_only_changes_take_is_refused_where_is_read(portfolio, parameters):
    with pytest.raises(InvalidParameters, match="get_stage only reads"):
        manage(portfolio, "a", "get_stage", **parameters)


def test_unknown_customers_and_dates_outside_are_refused(own):
    with pytest.raises(ClientNotFound):
        manage(own, "nobody", "transition", "active")
    with pytest.raises(InvalidClientId):
        manage(own, "a b", "get_stage")
    with pytest.raises(ClientNotFound, match="signs up on 2025-01-01"):
        manage(own, "a", "get_stage", as_of="2024-12-31")
    with pytest.raises(InvalidParameters, match="after"):
        manage(own, "a", "get_stage", as_of="2025-07-01")
    manage(own, "a", "transition", "engaged")
    assert manage(own, "a", "get_stage", as_of="2025-07-01").current_stage == "engaged"


# -- what a move sets off --------------------------------------------------------------------------------------


def test_without_handlers_actions_are_not_configured(portfolio, who):
    assert actions(manage(portfolio, who, "transition", "engaged")) == [
        ("update_crm_stage", "not_configured", None),
        ("notify_csm", "not_configured", None),
    ]


# -- figures ---------------------------------------------------------------------------------------------------


def test_the_score_fits_the_stage_or_not_or_none_is_asked(portfolio):
    health = manage(portfolio, "a", "get_stage").stage_health
    assert health.health_score is not None and health.minimum_health == 60
    assert health.stage_appropriate_health is (health.health_score >= 60)
    risky = manage(portfolio, "a", "get_stage", as_of="2025-04-10")
    assert risky.stage_health.stage_appropriate_health is None
    assert "$.stage_health.stage_appropriate_health" in risky.not_measured


def test_no_typical_duration_under_so_many_stays(portfolio):
    response = manage(portfolio, "a", "get_stage")
    assert (
        response.stage_health.current_stage_typical_duration_days is None
        and response.position is None
    )
    why = response.not_measured["$.stage_health.current_stage_typical_duration_days"]
    assert "times in this stage were watched, at least 40 are needed" in why


def test_responses_are_the_same_bytes_and_their_fingerprint_follows_the_ledger(portfolio, who):
    first, again = (manage(portfolio, "a", "get_stage") for _ in range(2))
    assert first.to_json() == again.to_json()
    manage(portfolio, who, "transition", "churned")
    assert manage(portfolio, "a", "get_stage").fingerprint != first.fingerprint


def test_a_ledger_that_was_put_back_from_a_backup_is_read_anew(own, clock):
    manage(own, "a", "transition", "engaged")
    backup = (own.folder / "healthseg.sqlite").read_bytes()
    clock.now = at(7, 3)
    manage(own, "a", "transition", "at_risk")
    (own.folder / "healthseg.sqlite").write_bytes(backup)
    assert manage(own, "a", "get_stage").current_stage == "engaged"
    (own.folder / "healthseg.sqlite").unlink()
    assert manage(own, "a", "get_stage").current_stage == "active"
