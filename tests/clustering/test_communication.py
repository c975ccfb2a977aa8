"""How messages are answered: rates, and which differences are no chance."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.clustering.communication import (
    MessageHypothesis,
    communication,
    excess_table,
    frequencies,
)
from healthseg.clustering.patterns import evaluate_patterns
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio

START, END = dt.date(2025, 1, 6), dt.date(2025, 4, 7)
CLIENTS = [f"c{at:02d}" for at in range(40)]
BASE = {"email": 0.3, "in_app": 0.5}


def messages(chance, seed: int = 1, each: int = 45) -> pd.DataFrame:
    """``each`` messages a customer; opened within the hour with ``chance(channel, content, weekday)``."""
    random, rows = np.random.default_rng(seed), []
    for client in CLIENTS:
        for _ in range(each):
            day = START + dt.timedelta(days=int(random.integers(0, 80)))
            channel, content = (
                random.choice(["email", "in_app"]),
                random.choice(["news", "training", "tips"]),
            )
            opens = random.random() < chance(channel, content, day.weekday())
            clicks = opens and random.random() < 0.3
            rows.append(
                (
                    client,
                    channel,
                    content,
                    f"{day} 09:00",
                    f"{day} 10:00" if opens else None,
                    f"{day} 10:05" if clicks else None,
                )
            )
    return pd.DataFrame(
        rows, columns=["client_id", "channel", "content", "sent_at", "opened_at", "clicked_at"]
    )


def portfolio(frame: pd.DataFrame | None):
    events = [(client, f"{END} 09:00", "u1") for client in CLIENTS]
    return tiny_portfolio(events, **({} if frame is None else {"messages": frame}))


def passed(chance, seed: int = 1) -> set[str]:
    judged = evaluate_patterns(
        [communication(portfolio(messages(chance, seed)), CLIENTS, START, END).family], Settings()
    )
    return set(judged.loc[judged["passes"], "key"])


def test_a_content_that_is_opened_more_is_found_and_only_that():
    keys = passed(
        lambda channel, content, weekday: BASE[channel] * (1.7 if content == "training" else 1)
    )
    assert "opened:email/training" in keys
    assert not any("day" in key for key in keys)


def test_alike_contents_and_days_show_nothing_though_channels_differ():
    assert [
        passed(lambda channel, content, weekday: BASE[channel], seed) for seed in (1, 2, 3)
    ] == [set()] * 3


def test_mails_opened_are_no_engagement_and_stand_apart():
    result = communication(
        portfolio(messages(lambda channel, content, weekday: BASE[channel])), CLIENTS, START, END
    )
    rows = result.channels.set_index("name")
    assert (
        rows.loc["email", "engaged"] == rows.loc["email", "clicked"] < rows.loc["email", "opened"]
    )
    assert rows.loc["in_app", "engaged"] == rows.loc["in_app", "opened"]
    assert rows.loc["email", "opened_lower"] < 0.3 < rows.loc["email", "opened_upper"]


def test_messages_of_the_last_week_are_still_being_answered():
    frame = messages(lambda channel, content, weekday: 0.5)
    late = frame.assign(sent_at="2025-04-03 09:00", opened_at=None, clicked_at=None)
    alone, both = (
        communication(portfolio(part), CLIENTS, START, END)
        for part in (frame, pd.concat([frame, late]))
    )
    assert both.sent == alone.sent > 1_700


def test_no_table_or_too_few_messages_say_why():
    assert (
        communication(portfolio(None), CLIENTS, START, END).reason == "there is no messages table"
    )
    few = communication(portfolio(messages(lambda *_: 0.5, each=5)), CLIENTS[:2], START, END)
    assert few.reason == "10 messages, at least 30 are needed"


def test_the_excess_is_what_was_answered_beyond_the_others_of_the_stratum():
    rows = pd.DataFrame({"sent": [10, 10, 10, 10], "engaged": [5, 2, 6, 3], "opened": 0})
    hypothesis = MessageHypothesis(
        "x", "engaged", np.array([True, False, True, False]), np.array(["e"] * 4, dtype=object)
    )
    frame = excess_table(rows, [hypothesis], np.array([0, 0, 1, 1]), 2).compare(0.95)
    assert frame["lift"].iloc[0] == pytest.approx(11 / 5)
    assert frame[["support", "n", "sent", "answered"]].iloc[0].tolist() == [2, 2, 20, 11]


def sent_at(rates: dict[float, float], seed: int = 4, customers: int = 40) -> pd.DataFrame:
    """Customers sent a content at several rates a week over 20 weeks, engaged with the share given for each."""
    random, rows = np.random.default_rng(seed), []
    for a_week, share in rates.items():
        for at in range(customers):
            sent = int(a_week * 20)
            rows.append(
                (
                    f"{a_week}-{at}",
                    "in_app",
                    "news",
                    "Monday",
                    sent,
                    int(random.binomial(sent, share)),
                )
            )
    return pd.DataFrame(
        rows, columns=["client_id", "channel", "content", "weekday", "sent", "engaged"]
    )


def test_the_best_frequency_is_told_where_it_matters_and_only_there():
    frequency = frequencies(sent_at({1.0: 0.2, 0.5: 0.35, 0.25: 0.5}), 20, Settings())[0]
    assert (frequency.best, frequency.reason) == ("monthly", None)
    assert frequency.slope < 0 and frequency.q < 0.05
    same = [
        frequencies(sent_at({1.0: 0.3, 0.5: 0.3, 0.25: 0.3}, seed), 20, Settings())[0]
        for seed in range(40)
    ]
    assert sum(each.best is not None for each in same) <= 5  # at q = 0.05: two of forty
    assert any("makes no difference that shows" in (each.reason or "") for each in same)
    two = frequencies(sent_at({1.0: 0.2, 0.5: 0.5}), 20, Settings())[0]
    assert two.reason == "2 frequencies with 30 customers or more, 3 are needed"
