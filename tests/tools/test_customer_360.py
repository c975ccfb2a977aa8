"""Customer 360: the figures are those of the other responses, whatever tables there are, churned customers included."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import ClientNotFound
from healthseg.testing import tiny_portfolio
from healthseg.tools.overview.tool import customer_360, portfolio_board

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
    assert [
        (event.date, event.text) for event in events if event.kind == "ticket" and event.notable
    ] == [(dt.date(2025, 3, 20), "High ticket: export")]
    assert [event.text for event in events if not event.notable] == ["Low ticket: login"]


def test_the_timeline_holds_what_changed_and_daily_business_by_the_month() -> None:
    """a: a contract renewed, expanded, and another beside it; notice; 5 tickets of March, 3 answers of February."""
    signed = pd.DataFrame(
        [
            ("c1", "2024-02-01", "2025-01-31", 10_000),
            ("c1", "2025-02-01", "2026-01-31", 10_000),
            ("c1", "2025-03-05", "2026-01-31", 14_000),
            ("c2", "2025-03-08", "2026-03-07", 3_000),
        ],
        columns=["contract_id", "starts_on", "ends_on", "arr"],
    ).assign(client_id="a", currency="EUR")
    topics = ["login", "export", "export", "login", "export"]
    tickets = pd.DataFrame(
        [
            (f"t{day}", "a", f"2025-03-{day:02d} 10:00", topic, "high" if day < 3 else "low")
            for day, topic in enumerate(topics, 1)
        ],
        columns=["ticket_id", "client_id", "opened_at", "topic", "severity"],
    )
    surveys = pd.DataFrame(
        {
            "client_id": "a",
            "kind": ["nps", "nps", "csat"],
            "score": [9, 2, 5],
            "responded_at": ["2025-02-03", "2025-02-20", "2025-02-21"],
        }
    )
    customers = CUSTOMERS.assign(notice_on=["2025-03-20", None])
    page = customer_360(
        tiny_portfolio(EVENTS, customers, contracts=signed, tickets=tickets, surveys=surveys), "a"
    )
    events = [
        (event.date.isoformat()[5:], event.text.replace("\xa0", " "), event.records)
        for event in page.timeline
        if event.notable and event.kind != "score"
    ]
    assert events == [
        ("03-20", "Notice given", 1),
        ("03-08", "Another contract: EUR 3,000 ARR", 1),
        ("03-05", "Expansion: EUR 10k to EUR 14k ARR", 1),
        ("03-02", "2 high or critical tickets in March: export, login", 2),
        ("02-20", "NPS 2 to 9, 5.5 on average (2 answers)", 2),
        ("02-01", "Contract renewed: EUR 10k ARR", 1),
    ]
    assert ("notice", "notice given") in [(mark.kind, mark.label) for mark in page.health.marks]
    assert "forecast" not in page.charts()["history"].usermeta["subtitle"], "nothing ahead"
    daily = [(event.text, event.records) for event in page.timeline if not event.notable]
    assert daily == [("3 other tickets in March: export 2, login", 3), ("CSAT 5", 1)]


def test_a_low_csat_is_no_detractor_and_says_what_the_ticket_was_about() -> None:
    """Of NPS 9 and 6 one is a detractor's; CSAT 2 is a low rating; who answered both low is one person."""
    surveys = pd.DataFrame(
        [("s1", "a", "a1", "nps", 6), ("s2", "a", "a2", "nps", 9)],
        columns=["survey_id", "client_id", "user_id", "kind", "score"],
    ).assign(responded_at="2025-03-10 10:00")
    page = customer_360(tiny_portfolio(EVENTS, CUSTOMERS, tickets=TICKETS, surveys=surveys), "a")
    low = [(row.user_id, row.kind, row.text, row.topic) for row in page.contacts]
    assert low[-2:] == [
        ("a1", "low_rating", "CSAT 2", "export"),
        ("a1", "detractor", "NPS 6", None),
    ]
    people = page.people
    assert (people.unhappy, people.low_ratings, people.detractors) == (1, 1, 1)
    assert (people.topic, people.of_topic, people.since) == ("export", 1, dt.date(2025, 3, 10))


def test_a_fact_is_a_risk_or_holds_the_score_up_never_both() -> None:
    """Of a new customer 7 users of 19 seats are many for its age, and few for what it pays for."""
    days = [f"2025-03-{day:02d} 09:00" for day in (17, 18, 20, 21, 22, 25, 26, 27, 28)]
    events = [("n", day, f"n{user}") for day in days for user in range(7)]
    customers = pd.DataFrame(
        {
            "client_id": ["n", "a"],
            "signup_date": ["2025-03-17", "2024-06-01"],
            "seats": [19, 2],
        }
    )
    portfolio = tiny_portfolio([*events, *EVENTS[:56]], customers)
    health = hs.calculate_health_score(portfolio, "n")
    points = {item.metric: item.points for part in health.components for item in part.metrics}
    assert points["seat_utilisation"] == 100
    risks = {name for rule in health.risk_indicators_detail for name in rule.figures}
    assert "seat_utilisation" in risks
    good = {factor.metric for factor in health.contributing_factors.positive_detail}
    assert good == {"days_since_last_person_event"} and not good & risks


def test_amounts_are_in_the_portfolio_s_currency_and_the_contract_s() -> None:
    customers = CUSTOMERS.assign(
        currency=["USD", "EUR"], churned_on=None, arr=[110_000.0, 50_000.0]
    )
    fx = pd.DataFrame({"currency": ["USD"], "on": ["2025-01-01"], "rate_to_book": [0.9]})
    portfolio = tiny_portfolio(EVENTS, customers, {"reporting_currency": "EUR"}, fx=fx)
    page = customer_360(portfolio, "a")
    card = page.health.customer
    assert (card.arr, card.currency) == (110_000, "USD")
    assert card.reported is not None
    assert (card.reported.arr, card.reported.currency) == (99_000, "EUR")
    assert portfolio_board(portfolio).total_arr == 149_000
    assert "EUR" in page.verdict() and "USD" not in page.verdict()


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
    assert page.readiness == [] and "Critical ticket: outage" in {
        event.text for event in page.timeline
    }


def test_a_churned_customer_s_page_is_about_its_loss() -> None:
    """Notice on 10 March, churned on 20 March; the score is the board's."""
    customers = CUSTOMERS.assign(notice_on=[None, "2025-03-10"], currency="EUR")
    stages = pd.DataFrame(
        {
            "client_id": ["b", "b"],
            "stage": ["active", "churned"],
            "effective_at": ["2024-01-02 09:00", "2025-03-20 09:00"],
            "reason": ["contract", "low_usage"],
        }
    )
    changes = pd.DataFrame({"client_id": ["a", "b"], "effective_on": "2024-01-01", "arr": 50_000.0})
    portfolio = tiny_portfolio(EVENTS, customers, arr_changes=changes, stage_changes=stages)
    page, (lost,) = customer_360(portfolio, "b"), portfolio_board(portfolio).churned
    loss = page.loss
    assert loss is not None and customer_360(portfolio, "a").loss is None
    assert (loss.churned_on, loss.notice_on, loss.notice_days) == (
        dt.date(2025, 3, 20),
        dt.date(2025, 3, 10),
        10,
    )
    assert (loss.reason, loss.arr, loss.score) == ("low_usage", lost.arr, lost.score)
    assert page.health.customer.days_to_renewal is None
    verdict = page.verdict().replace("\xa0", " ")
    assert verdict.startswith("Birch: Churned on 20 Mar 2025 with EUR 50k ARR; reason: low usage")
    earlier = customer_360(portfolio, "b", as_of="2025-03-15")
    assert earlier.loss is None


def test_without_other_tables_it_says_what_is_not_known(portfolio) -> None:
    page = customer_360(tiny_portfolio(EVENTS), "a")
    assert page.milestones is None and page.not_measured["$.milestones"]
    assert page.timeline == []
    with pytest.raises(ClientNotFound):
        customer_360(portfolio, "nobody")
