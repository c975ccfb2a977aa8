"""Next actions: every live customer has one, renewals are prepared whatever the score, records are closed apart."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.rules import action_rules
from healthseg.testing import tiny_portfolio
from healthseg.tools.next_actions import NextActions

CLIENTS = [f"c{number}" for number in range(8)]
EVENTS = [
    (client, f"2025-{month:02d}-{day:02d} 09:00", f"{client}{user}")
    for client in CLIENTS
    for month in (1, 2, 3)
    for day in range(1, 29)
    for user in (1, 2, 3)
]
# c0 to c4 renew in 118, 88, 58, 28 and 300 days; c5 gave notice; c6 has churned; c7 has no contract any more
ENDS = ["2025-07-24", "2025-06-24", "2025-05-25", "2025-04-25", "2026-01-22", "2025-05-25"]
AS_OF = dt.date(2025, 3, 28)


def _customers() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "client_id": CLIENTS,
            "name": [f"Customer {client}" for client in CLIENTS],
            "signup_date": "2023-01-01",
            "csm_id": "csm_1",
            "seats": 3,
            "notice_on": [None] * 5 + ["2025-03-20", None, None],
            "churned_on": [None] * 6 + ["2025-03-10", None],
        }
    )


def _contracts() -> pd.DataFrame:
    ends = [*ENDS, "2025-12-31", "2025-02-28"]
    starts = [str(pd.Timestamp(end).date() - dt.timedelta(days=364)) for end in ends]
    return pd.DataFrame({"client_id": CLIENTS, "starts_on": starts, "ends_on": ends, "arr": 12_000})


def _portfolio(settings: dict | None = None):
    return tiny_portfolio(EVENTS, _customers(), settings=settings, contracts=_contracts())


@pytest.fixture(scope="module")
def portfolio():
    return _portfolio()


@pytest.fixture(scope="module")
def actions(portfolio):
    return hs.next_actions(portfolio)


def _first(actions, client: str) -> str:
    return next(action.action for action in actions.actions if action.client_id == client)


def test_each_live_customer_has_a_next_action_and_no_other_has_one(actions) -> None:
    frame = actions.frame("actions")
    assert set(frame["client_id"]) == set(CLIENTS) - {"c6"}
    assert actions.customers == 7 == len(actions.actions)
    assert frame.groupby("client_id")["rank"].min().eq(1).all()


@pytest.mark.parametrize(
    ("client", "action", "due"),
    [
        ("c0", "open_renewal", "2025-04-25"),
        ("c1", "review_value", "2025-04-25"),
        ("c2", "offer_renewal", "2025-04-25"),
        ("c3", "close_renewal", "2025-04-11"),
    ],
)
def test_a_renewal_is_prepared_whatever_the_score(actions, client, action, due) -> None:
    rows = actions.frame("actions").query("client_id == @client and topic == 'renewal'")
    assert rows["action"].tolist() == [action]
    assert str(rows["due_on"].iloc[0].date()) == due and rows["arr"].iloc[0] == 12_000
    assert rows["owner"].tolist() == ["csm_1"] and "Renewal" in rows["why"].iloc[0]


def test_a_customer_that_gave_notice_is_answered_and_not_asked_to_grow_or_renew(actions) -> None:
    rows = actions.frame("actions").query("client_id == 'c5'")
    assert rows["action"].iloc[0] == "answer_notice" and rows["severity"].iloc[0] == "critical"
    assert "Notice given 20\xa0Mar\xa02025" in rows["why"].iloc[0]
    assert set(rows["topic"]) == {"notice", "exit"}
    assert rows["due_on"].max() < pd.Timestamp(ENDS[5])


def test_more_seats_are_discussed_before_the_renewal_and_not_while_a_ticket_is_urgent(portfolio):
    """c3 renews in 28 days."""
    own = {"score": 90, "seat_utilisation": 1, "seat_percent": 100, "worst_days_overdue": 0}
    own |= {"open_high_tickets": 0, "feature_adoption_rate_30d": 0.2, "features_adopted_30d": 1}
    own |= {"features_entitled": 5, "provisional": 0}
    known = NextActions.of(portfolio, AS_OF)
    calm = {action.action: action for action in known.customer("c3", own)}
    assert calm["grow_with_renewal"].severity == "high"
    assert calm["grow_with_renewal"].due_on == AS_OF + dt.timedelta(days=14)
    assert "adopt_features" in calm and "discuss_growth" not in calm
    urgent = {action.topic for action in known.customer("c3", own | {"open_high_tickets": 1})}
    assert "tickets" in urgent and not urgent & {"features", "expansion"}


def test_nothing_is_due_so_far_ahead_that_nobody_plans_it(actions) -> None:
    assert actions.frame("actions")["due_on"].max() <= pd.Timestamp(AS_OF + dt.timedelta(days=90))


def test_new_customers_contracts_that_renew_themselves_and_a_large_one() -> None:
    """c0 began 19 days ago, c3's contract renews by itself in 28 days, c4 pays nine tenths of all ARR."""
    customers, contracts = _customers(), _contracts()
    customers.loc[0, "signup_date"] = "2025-03-10"
    contracts["auto_renews"] = contracts["client_id"] == "c3"
    contracts.loc[0, "starts_on"] = "2025-03-10"
    contracts.loc[4, ["arr", "ends_on"]] = [600_000, "2025-07-24"]
    rows = hs.next_actions(tiny_portfolio(EVENTS, customers, contracts=contracts)).frame("actions")
    of = rows.groupby("client_id")["action"].agg(list)
    assert "begin_well" in of["c0"] and not {"plan_review", "right_size"} & set(of["c0"])
    assert "confirm_renewal" in of["c3"] and "close_renewal" not in of["c3"]
    assert [client for client in of.index if "sponsor_account" in of[client]] == ["c4"]


def test_an_ended_contract_is_an_action(actions) -> None:
    assert _first(actions, "c7") == "sign_contract"


def test_health_shows_the_same_actions_at_most_five(portfolio, actions) -> None:
    for client in ("c0", "c5", "c7"):
        health = hs.calculate_health_score(portfolio, client)
        own = actions.frame("actions").query("client_id == @client")["action"].tolist()
        assert [action.action for action in health.next_actions] == own[:5]
        assert health.recommended_actions == [action.text for action in health.next_actions]


def test_churned_customers_have_no_actions(portfolio) -> None:
    health = hs.calculate_health_score(portfolio, "c6")
    assert (health.next_actions, health.recommended_actions, health.alerts) == ([], [], [])


def test_a_team_adds_changes_and_removes_rules() -> None:
    own = {
        "keep_in_touch": False,
        "open_renewal": {"text": "Call the buyer", "due": 5},
        "send_a_card": {"when": "tenure_days >= 365", "text": "Send a card", "due": 1},
    }
    actions = hs.next_actions(_portfolio({"next_actions": own})).frame("actions")
    assert "keep_in_touch" not in set(actions["action"]) and "send_a_card" in set(actions["action"])
    called = actions.query("action == 'open_renewal'").iloc[0]
    assert called["text"] == "Call the buyer"
    assert called["due_on"].date() == AS_OF + dt.timedelta(days=5)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"text": "Call", "due": 1}, "a rule with when"),
        ({"when": "score < 1", "text": "Call", "due": 1, "severity": "huge"}, "one of low"),
        ({"when": "score < 1", "text": "Call", "due": 1, "whem": 1}, "did you mean when"),
    ],
)
def test_a_rule_that_is_not_whole_is_refused(fields, match) -> None:
    with pytest.raises(InvalidParameters, match=match):
        action_rules({"own": fields})


def test_records_that_nobody_closed_are_no_actions() -> None:
    ids = [f"m{number}" for number in range(8)]
    plan = pd.DataFrame(
        {"milestone_id": ids, "name": ids, "category": "onboarding", "target_days": 30}
    )
    done = pd.DataFrame(
        [
            {"client_id": client, "milestone_id": name, "completed_at": "2023-01-20"}
            for client, count in (("c0", 7), ("c1", 5))
            for name in ids[:count]
        ]
    )
    portfolio = tiny_portfolio(
        EVENTS, _customers(), contracts=_contracts(), milestones=plan, milestone_progress=done
    )
    actions = hs.next_actions(portfolio)
    assert actions.frame("records")["client_id"].tolist() == ["c0"]
    assert (actions.records[0].milestone_id, actions.records[0].completed) == ("m7", 7)
    late = actions.frame("actions").query("action == 'finish_milestone'")["client_id"]
    assert "c1" in set(late) and "c0" not in set(late)


def test_a_notice_and_money_that_is_late_are_named_with_their_figures_before_the_end() -> None:
    """c0 owes 500 of two invoices and renews in 5 days; c4 was never sent one."""
    contracts = _contracts()
    contracts.loc[0, "ends_on"] = "2025-04-02"
    invoices = pd.DataFrame(
        {
            "invoice_id": [f"i{number}" for number in range(8)],
            "client_id": ["c0", "c0", "c1", "c2", "c3", "c5", "c6", "c7"],
            "issued_on": "2025-01-01",
            "due_on": ["2025-01-31", "2025-02-10", *["2025-01-31"] * 6],
            "paid_on": [None, None, *["2025-01-20"] * 6],
            "amount": [200.0, 300.0, *[100.0] * 6],
        }
    )
    known = tiny_portfolio(EVENTS, _customers(), contracts=contracts, invoices=invoices)
    rows = hs.next_actions(known).frame("actions").set_index(["client_id", "action"])
    assert rows.loc["c0", "due_on"].max() <= pd.Timestamp("2025-04-02")
    assert rows.loc[("c0", "settle_invoice"), "why"].startswith("500 is 56 days overdue")
    assert "first_invoice" in rows.loc["c4"].index
    assert "first_invoice" not in rows.loc["c0"].index


def test_renewals_that_are_near_are_one_action_of_the_portfolio_largest_first(portfolio) -> None:
    """c3 renews in 28 days and c2 in 58, and c5 gave notice: within 60 days two are to close."""
    assert hs.portfolio_health(portfolio).portfolio_actions == []
    later = _portfolio({"closing_days": 60})
    (action,) = hs.portfolio_health(later).portfolio_actions
    assert action.figures["client_ids"] == ["c2", "c3"]
    assert action.figures["renewing_arr"] == 24_000
    assert action.figures["first_on"] == AS_OF + dt.timedelta(days=28)
    assert "Close the 2 renewals of the next 60 days" in action.text


def test_what_is_signed_or_renews_by_itself_each_month_is_not_to_close() -> None:
    """Of c2 the next contract is signed; c3 renews month by month and by itself; c1, in another month, is left."""
    contracts = _contracts().assign(signed_on=None, auto_renews=False)
    contracts.loc[1, "ends_on"] = "2025-04-20"
    contracts.loc[3, ["starts_on", "ends_on", "renews_on", "auto_renews"]] = [
        "2025-03-25",
        "2025-04-25",
        "2025-04-25",
        True,
    ]
    end = contracts.loc[2, "ends_on"]
    after = str(pd.Timestamp(end).date() + dt.timedelta(days=1))
    following = {"client_id": "c2", "starts_on": after, "ends_on": "2026-05-25", "arr": 12_000}
    rows = pd.concat([contracts, pd.DataFrame([following | {"signed_on": "2025-03-20"}])])
    rows = rows.assign(contract_id=[f"k{at}" for at in range(len(rows))])
    known = tiny_portfolio(EVENTS, _customers(), settings={"closing_days": 60}, contracts=rows)
    (action,) = hs.portfolio_health(known).portfolio_actions
    assert action.figures["client_ids"] == ["c1"]
    of_each = hs.next_actions(known).frame("actions").groupby("client_id")["action"].agg(set)
    assert "close_renewal" in of_each["c1"]
    assert not {"close_renewal", "offer_renewal"} & of_each["c2"]


def test_tickets_of_a_customer_that_nobody_uses_for_half_a_year_are_looked_into() -> None:
    (rule,) = (item for item in action_rules({}) if item.rule.name == "check_account")
    figures = {"days_since_last_person_event": 545, "open_tickets": 91, "doubtful_days": 180}
    assert rule.rule.condition.holds(figures)
    assert not rule.rule.condition.holds({**figures, "open_tickets": 0})
    assert rule.reason(figures) == "91 tickets open, but no active user for 545 days"


def test_after_a_notice_there_is_no_renewal_with_a_score(portfolio) -> None:
    health = hs.calculate_health_score(portfolio, "c5")
    texts = [each.text for each in health.risk_indicators_detail]
    assert health.current_health_score < 60 and "Notice was given 8 days ago" in texts
    assert not any("Renewal" in text for text in [*texts, *(a.text for a in health.alerts)])
