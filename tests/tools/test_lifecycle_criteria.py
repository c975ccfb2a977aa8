"""The criteria of the next stage, and what contradicts the stage in force."""

from __future__ import annotations

import datetime as dt

import pandas as pd

import healthseg as hs
from healthseg import settings
from healthseg.settings.lifecycle import Lifecycle
from healthseg.tools import portfolio_lifecycle
from healthseg.tools.lifecycle.criteria import disagreements
from tests.tools.lifecycle_portfolios import changes, customers, portfolio_of, used

manage = hs.manage_lifecycle_stages


def test_criteria_say_what_holds_since_when():
    contracts = pd.DataFrame(
        {"client_id": ["a"], "starts_on": "2025-02-10", "ends_on": "2026-02-10", "arr": 1200}
    )
    opened = portfolio_of(changes(("a", "trial", "2025-02-01")), "a", contracts=contracts)
    early = manage(opened, "a", "get_stage", as_of="2025-02-09").next_stage_criteria
    assert (early.target_stage, early.progress.criteria_met, early.criteria_detail[0].met) == (
        "onboarding",
        0,
        None,
    )
    later = manage(opened, "a", "get_stage", as_of="2025-02-20").next_stage_criteria
    first = later.criteria_detail[0]
    assert (first.met, first.value, str(first.since), first.held_days, first.since_or_earlier) == (
        True,
        1.0,
        "2025-02-10",
        11,
        False,
    )
    assert later.progress.estimated_days_to_transition == 0


def test_a_setback_is_no_next_stage_and_who_stays_engaged_is_not_stuck():
    others = [("engaged", "2025-01-02"), ("active", "2025-01-20")]
    clients = [f"c{number}" for number in range(30)]
    opened = portfolio_of(
        changes(
            ("a", "engaged", "2025-01-02"),
            *((client, *step) for client in clients for step in others),
        ),
        "a",
        *clients,
    )
    response = manage(opened, "a", "get_stage")
    assert (
        response.position.share_still_in < opened.settings.lifecycle.stuck_share
        and not response.position.stuck
    )
    assert (
        response.next_stage_criteria.target_stage is None
        and "at_risk" in response.next_stage_criteria.allowed_stages
    )
    assert portfolio_lifecycle(opened).stuck_customers == []
    assert (
        Lifecycle().forward("active").target == "engaged"
        and Lifecycle().forward("expanded").target == "engaged"
    )


def test_a_criterion_over_days_has_to_hold_on_each_of_them():
    rules = {
        "lifecycle": {
            "edges": [
                {
                    "source": "active",
                    "target": "engaged",
                    "criteria": [
                        {
                            "text": "Used in 28 days",
                            "when": "person_events_28d >= 1",
                            "figure": "person_events_28d",
                            "days": 30,
                        }
                    ],
                }
            ]
        }
    }
    start = portfolio_of(
        changes(("a", "active", "2025-02-01")),
        "a",
        "b",
        settings=rules,
        events=[*used("a", start="2025-06-10"), *used("b")],
    )
    criteria = manage(start, "a", "get_stage").next_stage_criteria
    assert (criteria.criteria_detail[0].met, criteria.criteria_detail[0].held_days) == (False, 21)
    assert (str(criteria.criteria_detail[0].since), criteria.progress.criteria_met) == (
        "2025-06-10",
        0,
    )


def test_contracts_leaving_and_silence_that_contradict_a_stage_are_shown():
    contracts = pd.DataFrame(
        {
            "client_id": ["a", "c"],
            "starts_on": ["2025-01-01", "2025-05-15"],
            "ends_on": ["2025-06-01", "2026-01-01"],
            "arr": [100, 100],
        }
    )
    who = customers(a="2025-01-01", b="2025-01-01", c="2025-01-01", d="2025-01-01")
    who["churned_on"] = [None, "2025-05-05", None, None]
    opened = portfolio_of(
        changes(
            ("a", "active", "2025-02-01"),
            ("b", "active", "2025-02-01"),
            ("c", "churned", "2025-04-01"),
            ("d", "engaged", "2025-02-01"),
        ),
        who=who,
        contracts=contracts,
        events=[*used("a", "c"), *used("b", end="2025-05-04"), *used("d", end="2025-05-20")],
    )
    by_client = {}
    for client in "abcd":
        disagreements = manage(opened, client, "get_stage").disagreements
        by_client[client] = [(each.kind, each.suggests, str(each.since)) for each in disagreements]
    assert by_client == {
        "a": [("contract", "churned", "2025-06-01")],
        "b": [("leaving", "churned", "2025-05-05")],
        "c": [("contract", "active", "2025-05-15")],
        "d": [("usage", "at_risk", "2025-05-20")],
    }


def test_a_contract_that_renews_by_itself_has_not_ended():
    contracts = pd.DataFrame(
        {"client_id": ["a", "b"], "starts_on": "2024-01-10", "ends_on": "2025-01-10", "arr": 1200}
    ).assign(auto_renews=[True, False])
    stages = changes(("a", "active", "2024-02-01"), ("b", "active", "2024-02-01"))
    table = portfolio_lifecycle(portfolio_of(stages, "a", "b", contracts=contracts)).frame(
        "disagreements"
    )
    assert table.loc[table["kind"] == "contract", "client_id"].tolist() == ["b"]


def test_a_notice_contradicts_an_expanded_stage_and_no_active_one():
    who = customers(a="2025-01-01", b="2025-01-01", c="2025-01-01")
    who["notice_on"] = ["2025-06-10", "2025-06-10", None]
    stages = changes(
        ("a", "expanded", "2025-06-13"),
        ("b", "active", "2025-02-01"),
        ("c", "expanded", "2025-06-13"),
    )
    opened = portfolio_of(stages, who=who)
    texts = {
        client: [part.text for part in manage(opened, client, "get_stage").disagreements]
        for client in "abc"
    }
    said = "recorded expanded, but notice was given on 10 Jun 2025"
    assert texts == {"a": [said], "b": [], "c": []}
    table = portfolio_lifecycle(opened).frame("disagreements")
    assert table[["client_id", "kind", "reason"]].to_numpy().tolist() == [["a", "notice", said]]


def test_a_stage_at_risk_that_was_set_lately_is_newer_than_a_healthy_score():
    figures, day, config = {"health_score": 88.0}, dt.date(2025, 10, 10), settings.Settings()
    for set_on, known in ((dt.date(2025, 10, 8), []), (dt.date(2025, 9, 12), ["score"])):
        parts = disagreements("at_risk", set_on, None, figures, day, config)
        assert [part.kind for part in parts] == known
