"""Customer 360: the figures are those of the other responses, whatever tables there are, churned customers included."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import ClientNotFound
from healthseg.testing import tiny_portfolio
from healthseg.tools.overview.tool import customer_360

EVENTS = [
    (client, f"2025-{month:02d}-{day:02d} 09:00", f"{client}{user}")
    for client in ("a", "b")
    for month in (1, 2, 3)
    for day in range(1, 29)
    for user in (1, 2)
]
CUSTOMERS = pd.DataFrame(
    {
        "client_id": ["a", "b"],
        "name": ["Alder", "Birch"],
        "signup_date": "2024-01-01",
        "churned_on": [None, "2025-03-20"],
        "seats": 2,
    }
)
TICKETS = pd.DataFrame(
    [
        ("t1", "a", "2025-03-20 10:00", "high", "export"),
        ("t2", "a", "2025-03-21 10:00", "low", "login"),
        ("t3", "b", "2025-03-10 10:00", "critical", "outage"),
    ],
    columns=["ticket_id", "client_id", "opened_at", "severity", "topic"],
).assign(resolved_at="2025-03-25 10:00", csat=[2, 5, 1], user_id=["a1", "a2", "b1"])


@pytest.fixture(scope="module")
def portfolio():
    return tiny_portfolio(EVENTS, CUSTOMERS, tickets=TICKETS)


def test_the_figures_are_those_of_the_other_responses(portfolio) -> None:
    page, health = customer_360(portfolio, "a"), hs.calculate_health_score(portfolio, "a")
    assert page.health.current_health_score == health.current_health_score
    assert page.verdict() == health.verdict()
    assert page.service["open_tickets"] == health.health_metrics.open_tickets
    assert page.usage["monthly_active_users"] == 2
    assert [action.action for action in page.health.next_actions]


def test_the_timeline_holds_severe_tickets_newest_first(portfolio) -> None:
    events = customer_360(portfolio, "a").timeline
    assert [(event.date, event.text) for event in events] == [
        (dt.date(2025, 3, 20), "High ticket: export")
    ]


def test_who_rated_a_ticket_low_is_a_detractor(portfolio) -> None:
    people = customer_360(portfolio, "a").contacts
    low = [(person.user_id, person.text) for person in people if person.kind == "detractor"]
    assert low == [("a1", "CSAT 2")]


def test_the_verdict_says_why_and_what_is_paid() -> None:
    signed = {
        "contract_id": "c1",
        "client_id": "a",
        "starts_on": "2024-05-01",
        "ends_on": "2025-04-30",
    }
    contracts = pd.DataFrame([signed | {"arr": 9_000, "seats": 8, "currency": "EUR"}])
    portfolio = tiny_portfolio(EVENTS, CUSTOMERS, contracts=contracts)
    verdict = hs.calculate_health_score(portfolio, "a").verdict().replace("\xa0", " ")
    assert "; 2 of 8 seats were used in 30 days; " in verdict
    assert verdict.endswith("; EUR 9,000 ARR renews on 30 Apr 2025, in 33 days")


def test_a_churned_customer_is_shown_as_of_its_last_day_without_actions(portfolio) -> None:
    page = customer_360(portfolio, "b")
    assert page.health.status == "churned" and page.health.next_actions == []
    assert page.readiness == [] and page.timeline[0].text == "Critical ticket: outage"


def test_without_other_tables_it_says_what_is_not_known(portfolio) -> None:
    page = customer_360(tiny_portfolio(EVENTS), "a")
    assert page.milestones is None and page.not_measured["$.milestones"]
    assert page.timeline == []
    with pytest.raises(ClientNotFound):
        customer_360(portfolio, "nobody")
