"""Sequences of topics, times to resolution with open tickets censored, self-service where it is measured."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.clustering.patterns import evaluate_patterns
from healthseg.clustering.support import support
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio

START, END = dt.date(2025, 1, 6), dt.date(2025, 5, 5)
CLIENTS = [f"c{at:02d}" for at in range(80)]
TOPICS = ("billing", "import", "login", "slow")


def tickets(
    follows: dict[str, str], seed: int = 1, each: int = 12, hours=lambda day: 10.0
) -> pd.DataFrame:
    """Each customer's topics at random, but that a topic is followed by ``follows[topic]`` half of the time."""
    random, rows = np.random.default_rng(seed), []
    for client in CLIENTS:
        topic = random.choice(TOPICS)
        for day in sorted(random.choice(118, each, replace=False)):
            opened = pd.Timestamp(START) + pd.Timedelta(days=int(day), hours=9)
            closed = opened + pd.Timedelta(hours=float(hours(day) * random.exponential()))
            resolved = closed if closed < pd.Timestamp(END) else None
            rows.append((f"{client}-{day}", client, opened, topic, resolved, "u1"))
            topic = (
                follows[topic]
                if topic in follows and random.random() < 0.5
                else random.choice(TOPICS)
            )
    return pd.DataFrame(
        rows, columns=["ticket_id", "client_id", "opened_at", "topic", "resolved_at", "user_id"]
    )


def portfolio(frame: pd.DataFrame | None, settings=None, feature: str = "search"):
    events = [(client, f"{END} 09:00", "u2", feature) for client in CLIENTS]
    events += [
        ("c00", "2025-03-03 09:00", "u2", feature),
        ("c01", "2025-03-03 09:00", "u1", feature),
    ]
    return tiny_portfolio(
        events, settings=settings, **({} if frame is None else {"tickets": frame})
    )


def passed(frame: pd.DataFrame) -> dict[str, float]:
    judged = evaluate_patterns([support(portfolio(frame), CLIENTS, START, END).family], Settings())
    return judged[judged["passes"]].set_index("key")["lift"].to_dict()


def test_a_topic_that_follows_another_is_found_with_its_lift():
    lifts = passed(tickets({"import": "slow"}))
    assert lifts["import → slow"] > 1.5
    assert "slow → import" not in lifts or lifts["slow → import"] < 1


def test_topics_in_random_order_show_no_sequence():
    assert [passed(tickets({}, seed)) for seed in (1, 2, 3)] == [{}] * 3


def test_customers_that_ask_about_one_thing_only_make_no_sequence():
    frame = tickets({})
    frame["topic"] = frame["client_id"].map(
        {client: TOPICS[at % 4] for at, client in enumerate(CLIENTS)}
    )
    assert passed(frame) == {}


def test_a_sequence_of_three_needs_its_pairs():
    lifts = passed(tickets({"import": "slow", "slow": "billing"}, each=16))
    assert lifts["import → slow → billing"] > 2
    assert {"import → slow", "slow → billing"} <= set(lifts)


def test_faster_resolution_is_improving_and_alike_halves_are_stable():
    faster = support(
        portfolio(tickets({}, hours=lambda day: 40 if day < 60 else 15)), CLIENTS, START, END
    ).resolution
    assert faster.direction == "improving"
    assert faster.upper < 1 and faster.lower < faster.ratio < faster.upper
    assert faster.first_hours == pytest.approx(40 * np.log(2), rel=0.2)
    assert support(portfolio(tickets({})), CLIENTS, START, END).resolution.direction == "stable"


def test_open_tickets_are_censored_not_left_out():
    frame = tickets({}, hours=lambda day: 60 * 24)
    resolution = support(portfolio(frame), CLIENTS, START, END).resolution
    closed = frame.dropna(subset=["resolved_at"])
    plain = (closed["resolved_at"] - closed["opened_at"]).dt.total_seconds().median() / 3600
    assert resolution.open_tickets == int(frame["resolved_at"].isna().sum()) > 100
    assert resolution.first_hours > 1.3 * plain


def test_too_few_tickets_or_no_table_say_why():
    assert (
        support(portfolio(None), CLIENTS, START, END).sequences_reason
        == "there is no tickets table"
    )
    few = support(portfolio(tickets({})), CLIENTS[:3], START, END)
    assert few.family is None
    assert few.sequences_reason.startswith("3 customers with two tickets or more")


def test_self_service_is_measured_only_where_its_features_are_named():
    frame = tickets({}).query("client_id == 'c01' or client_id == 'c02'")
    assert support(portfolio(frame), CLIENTS, START, END).self_service.share is None
    named = support(
        portfolio(frame, {"self_service_features": ("help",)}, "help"), CLIENTS, START, END
    ).self_service
    assert (named.helped_themselves, named.users) == (
        2,
        3,
    )  # c00/u2 and c01/u1 read; c02/u1 has tickets only
    assert named.share == pytest.approx(2 / 3)
