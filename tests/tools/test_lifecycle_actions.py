"""What a move of stage triggers, and whom it tells."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pytest

import healthseg as hs
from tests.tools.lifecycle_portfolios import (
    Clock,
    actions,
    at,
    changes,
    customers,
    portfolio_of,
)

manage = hs.manage_lifecycle_stages

OUT = {
    "outbox": {
        "handlers": {
            "crm": {"kind": "file", "path": "crm.jsonl"},
            "mail": {"kind": "smtp", "host": "127.0.0.1", "sender": "cs@vendor.example"},
        },
        "routes": {"update_crm_stage": "crm", "notify_csm": "mail", "send_welcome_email": "mail"},
        "customers": {"a": ["ann@acme.example"]},
    }
}


def test_actions_are_scheduled_at_once_or_for_nine_of_the_next_business_day_by_the_customers_clock():
    who = customers(a="2025-01-01").assign(timezone="Europe/Berlin", csm_id="m1")
    managers = pd.DataFrame({"csm_id": ["m1"], "contact": ["max@vendor.example"]})
    friday = Clock(dt.datetime(2025, 7, 4, 15, tzinfo=dt.UTC))
    opened = portfolio_of(
        changes(("a", "onboarding", "2025-05-01")),
        who=who,
        clock=friday,
        settings=OUT,
        csms=managers,
    )
    assert actions(manage(opened, "a", "transition", "active")) == [
        ("send_welcome_email", "scheduled", "2025-07-07T07:00:00Z"),
        ("update_crm_stage", "scheduled", "2025-07-04T15:00:00Z"),
        ("notify_csm", "scheduled", "2025-07-04T15:00:00Z"),
    ]
    from healthseg.data import outbox

    messages = {entry.message.action: entry.message for entry in outbox.everything(opened.ledger())}
    assert messages["notify_csm"].payload["recipients"] == ["max@vendor.example"]
    assert messages["send_welcome_email"].payload["recipients"] == ["ann@acme.example"]
    assert (
        messages["notify_csm"].payload["text"] == "Customer a (a) moved from onboarding to active."
    )


@pytest.mark.parametrize(
    ("moved", "due"), [(4, "2025-07-08"), (5, "2025-07-08"), (7, "2025-07-08"), (8, "2025-07-09")]
)
def test_a_delayed_action_waits_for_the_first_day_after_it_on_which_somebody_works(moved, due):
    """July 4 is a Friday; Monday the 7th is a holiday, that of the day after somewhere else is none."""
    calendar = pd.DataFrame(
        {"starts_on": ["2025-07-07", "2025-07-08"], "label": ["holiday: Founders' Day", "launch"]}
    )
    opened = portfolio_of(
        changes(("a", "onboarding", "2025-05-01")),
        "a",
        clock=Clock(at(7, moved)),
        settings=OUT,
        calendar=calendar,
    )
    assert actions(manage(opened, "a", "transition", "active"))[0] == (
        "send_welcome_email",
        "scheduled",
        f"{due}T09:00:00Z",
    )


def test_a_mail_without_anybody_to_send_it_to_is_not_configured():
    opened = portfolio_of(changes(("a", "active", "2025-05-01")), "a", settings=OUT)
    assert actions(manage(opened, "a", "transition", "engaged"))[1] == (
        "notify_csm",
        "not_configured",
        None,
    )


def test_who_is_not_to_be_notified_is_not_and_a_welcome_comes_once():
    opened = portfolio_of(
        changes(("a", "active", "2025-05-01"), ("a", "at_risk", "2025-06-01")), "a", settings=OUT
    )
    response = manage(opened, "a", "transition", "active", notify_team=False)
    assert [name for name, *_ in actions(response)] == ["update_crm_stage"]


def test_the_status_of_an_action_is_what_happened(tmp_path):
    from healthseg.data import outbox

    opened = portfolio_of(changes(("a", "active", "2025-05-01")), "a", settings=OUT)
    manage(opened, "a", "transition", "engaged")
    report = outbox.run(opened.ledger(), opened.settings.outbox, opened.folder)
    assert report["delivered"] == 1
    after = manage(opened, "a", "get_stage")
    assert [(action.action, action.status) for action in after.last_transition_actions] == [
        ("update_crm_stage", "completed"),
        ("notify_csm", "not_configured"),
    ]
    assert after.automated_actions_triggered == []
    assert json.loads((opened.folder / "crm.jsonl").read_text())["stage"] == "engaged"
