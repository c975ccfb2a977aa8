"""Which alerts are raised: thresholds, severities, and a cooldown that needs no memory."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg import rules
from healthseg.settings import SEVERITIES
from healthseg.testing import tiny_portfolio

BEGAN = dt.date(2025, 4, 15)  # the first day on which nobody has been there for 14 days


@pytest.fixture(scope="module")
def silent(daily_events):
    """A customer used daily until 2025-04-01, and another until today."""
    return tiny_portfolio(
        [
            *daily_events("a", "2025-01-01", "2025-04-01", "u1"),
            *daily_events("b", "2025-01-01", "2025-06-30", "u1"),
        ]
    )


def raised(portfolio, on, **wishes):
    """The rules of the alerts that are raised on a day."""
    health = hs.calculate_health_score(
        portfolio, "a", as_of=on, include_predictions=False, alert_preferences=wishes
    )
    return [alert.rule for alert in health.alerts]


def test_an_alert_is_raised_from_the_day_on_which_its_rule_holds(silent):
    assert "inactive" not in raised(silent, BEGAN - dt.timedelta(days=1))
    assert "inactive" in raised(silent, BEGAN)


@pytest.mark.parametrize(
    ("days", "heard"), [(0, True), (1, False), (6, False), (7, False), (8, True), (9, False)]
)
def test_an_alert_is_quiet_for_the_cooldown_after_it_was_raised(silent, days, heard):
    assert ("inactive" in raised(silent, BEGAN + dt.timedelta(days=days), cooldown_days=7)) is heard
    assert "inactive" in raised(silent, BEGAN + dt.timedelta(days=days))


@pytest.mark.parametrize(
    ("days", "heard"), [(5, False), (6, True), (8, False), (13, False), (14, True)]
)
def test_the_cooldown_knows_the_threshold_that_was_asked_for(silent, days, heard):
    """With 20 days instead of 14 the rule begins to hold six days later, and is heard again 7 + 1 days after that."""
    on = BEGAN + dt.timedelta(days=days)
    assert ("inactive" in raised(silent, on, cooldown_days=7, thresholds={"inactive": 20})) is heard


def test_a_threshold_moves_its_own_rule_only(silent):
    on = BEGAN - dt.timedelta(days=4)
    plain = raised(silent, on)
    assert "inactive" not in plain
    assert sorted([*plain, "inactive"]) == sorted(raised(silent, on, thresholds={"inactive": 10}))
    assert raised(silent, on, thresholds={"inactive": 11}) == plain
    health = hs.calculate_health_score(
        silent, "a", as_of=on, alert_preferences={"thresholds": {"inactive": 10}}
    )
    alert = next(each for each in health.alerts if each.rule == "inactive")
    assert (alert.figures["threshold"], alert.figures["days_since_last_person_event"]) == (10, 10)
    assert alert.text == "No active user for 10 days"


@pytest.mark.parametrize("least", SEVERITIES)
def test_alerts_below_the_minimum_severity_are_left_out(silent, least):
    severity = {
        rule.name: rule.severity for rule in rules.rules("calculate_health_score", "alert", {})
    }
    on = BEGAN + dt.timedelta(days=3)
    everything = raised(silent, on)
    assert {severity[name] for name in everything} >= {"critical", "medium"}
    wanted = [
        name for name in everything if SEVERITIES.index(severity[name]) >= SEVERITIES.index(least)
    ]
    assert raised(silent, on, minimum_severity=least) == wanted


def test_the_most_severe_alert_comes_first(silent):
    health = hs.calculate_health_score(silent, "a", as_of=BEGAN)
    places = [SEVERITIES.index(alert.severity) for alert in health.alerts]
    assert len(places) > 1 and places == sorted(places, reverse=True)


def test_the_risk_threshold_is_that_of_the_renewal_alert():
    days = pd.date_range("2025-01-01", "2025-04-30").strftime("%Y-%m-%d 09:00:00")
    contracts = pd.DataFrame(
        {
            "client_id": ["a"],
            "starts_on": ["2024-06-01"],
            "ends_on": ["2025-06-01"],
            "arr": [9000],
            "seats": [5],
        }
    )
    portfolio = tiny_portfolio([("a", day, "u1", "plan") for day in days], contracts=contracts)
    score = hs.calculate_health_score(portfolio, "a").current_health_score

    def rules(threshold):
        return [
            alert.rule
            for alert in hs.calculate_health_score(portfolio, "a", risk_threshold=threshold).alerts
        ]

    assert "renewal_at_risk" in rules(score + 1) and "renewal_at_risk" not in rules(score)


def test_a_customer_whose_rules_do_not_hold_is_not_spoken_of(kinds):
    assert hs.calculate_health_score(kinds["healthy"], "a").alerts == []
