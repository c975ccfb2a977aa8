"""Portfolios of one customer, whose id is a number, or of none."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs

CUSTOMERS = pd.DataFrame(
    {"client_id": [7], "name": "Solo", "signup_date": "2025-01-01", "seats": 4}
)
CRITERIA = {"segment_type": "health", "segmentation_criteria": {}}
OF_ONE = {
    hs.calculate_health_score: {},
    hs.track_usage_engagement: {},
    hs.track_feature_adoption: {},
    hs.track_adoption_milestones: {},
    hs.segment_customers: CRITERIA,
    hs.segment_by_value_tier: {},
    hs.manage_lifecycle_stages: {"action": "get_stage"},
    hs.analyze_engagement_patterns: {"analysis_scope": "single_customer"},
}
OF_ALL = {
    hs.portfolio_health: {},
    hs.portfolio_usage: {},
    hs.portfolio_adoption: {},
    hs.portfolio_milestones: {},
    hs.portfolio_segments: CRITERIA,
    hs.portfolio_tiers: {},
    hs.portfolio_lifecycle: {},
    hs.portfolio_patterns: {},
    hs.next_actions: {},
}


@pytest.fixture(scope="module")
def solo() -> hs.Portfolio:
    days = pd.date_range("2025-01-01 09:00", periods=120)
    events = pd.DataFrame({"client_id": 7, "user_id": "u", "occurred_at": days, "feature": "login"})
    return hs.Portfolio.open({"customers": CUSTOMERS, "events": events})


@pytest.mark.parametrize("tool", OF_ONE, ids=lambda tool: tool.__name__)
def test_every_tool_takes_a_number_as_a_client_id(solo, tool):
    assert "Solo" in tool(solo, client_id=7, **OF_ONE[tool]).verdict()


@pytest.mark.parametrize("written", [7, 7.0, "7.0", "7"])
def test_ids_are_accepted_as_numbers_wherever_an_id_is(solo, written):
    assert hs.track_usage_engagement(solo, client_id=written).client_id == "7"
    tiers = hs.segment_by_value_tier(solo).customer(written)
    assert tiers.client_id == "7"
    assert hs.segment_customers(solo, {}, "usage").customer(written).client_id == "7"


def test_adoption_without_any_feature_has_a_response(solo):
    """Events that name no feature, and no features table: nothing to list."""
    events = solo.table("events").drop(columns="feature")
    plain = hs.Portfolio.open({"customers": CUSTOMERS, "events": events})
    assert hs.portfolio_adoption(plain).feature_details == []


@pytest.mark.parametrize("tool", OF_ALL, ids=lambda tool: tool.__name__)
def test_one_customer_is_spoken_of_in_the_singular(solo, tool):
    assert "1 customers" not in tool(solo, **OF_ALL[tool]).verdict()


@pytest.mark.parametrize("tool", OF_ALL, ids=lambda tool: tool.__name__)
def test_a_portfolio_without_customers_has_an_answer_or_an_error_in_words(tool):
    nobody = hs.Portfolio.open({"customers": CUSTOMERS[:0]})
    try:
        assert tool(nobody, **OF_ALL[tool]).verdict()
    except hs.HealthsegError as error:
        assert str(error)
