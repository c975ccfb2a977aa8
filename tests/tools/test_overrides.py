"""What overrides a score: notice given decides verdict, score, band, risk, segments and readiness; settings say how."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.settings import settings
from healthseg.testing import tiny_portfolio
from healthseg.tools.context import PortfolioContext

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
        "notice_on": ["2025-03-18", None],
        "seats": 2,
    }
)
AS_OF = dt.date(2025, 3, 28)


@pytest.fixture(scope="module")
def noticed():
    return tiny_portfolio(EVENTS, CUSTOMERS)


def test_notice_overrides_a_high_score(noticed) -> None:
    health = hs.calculate_health_score(noticed, "a")
    other = hs.calculate_health_score(noticed, "b")
    assert other.band == "champion" and other.current_health_score >= 80
    assert (health.current_health_score, health.band, health.risk_level) == (
        39,
        "critical",
        "critical",
    )
    assert health.uncapped_score == other.current_health_score
    assert health.caps == ["capped at 39: notice given 18\xa0Mar\xa02025"]
    assert health.verdict().startswith("Alder: Notice given 18\xa0Mar\xa02025; score 39, ")
    assert [item.since for item in health.overrides.held] == [dt.date(2025, 3, 18)]
    assert not other.overrides.held and other.risk_level == "low"


def test_before_the_notice_nothing_overrides_the_score(noticed) -> None:
    health = hs.calculate_health_score(noticed, "a", as_of="2025-03-17")
    assert (health.band, health.overrides.held) == ("champion", [])


def test_whatever_threshold_a_reader_has_notice_is_critical(noticed) -> None:
    health = hs.calculate_health_score(noticed, "a", risk_threshold=10)
    assert health.risk_level == "critical"
    row = hs.portfolio_health(noticed, risk_threshold=10).frame("customers").set_index("client_id")
    assert row["risk_level"].to_dict() == {"a": "critical", "b": "low"}
    assert row["override"].dropna().to_dict() == {"a": "Notice given 18\xa0Mar\xa02025"}


def test_every_response_names_who_gave_notice(noticed) -> None:
    for response in (hs.portfolio_usage(noticed), hs.portfolio_health(noticed)):
        assert response.overrides.summary == ["1 customer gave notice: Alder"]
    assert hs.track_usage_engagement(noticed, "a").overrides.summary == [
        "Notice given 18\xa0Mar\xa02025"
    ]
    assert hs.portfolio_usage(noticed, as_of="2025-03-01").overrides.held == []


def test_no_page_predicts_churn_or_a_score_after_the_notice(noticed) -> None:
    results = (
        hs.calculate_health_score(noticed, "a"),
        hs.segment_customers(noticed, {}, "health", min_segment_size=1, client_id="a"),
        hs.segment_by_value_tier(noticed, client_id="a"),
    )
    for result in results:
        page = ReportPage(page_spec(result.tool, portfolio=False), result, noticed)
        markup = page.opening().markup + page.footer().markup
        assert "Churn in" not in markup and "Probability of churn" not in markup
        assert "lies between" not in markup and "To the nearest border" not in markup
    health = ReportPage(page_spec(results[0].tool, portfolio=False), results[0], noticed)
    assert health.section("standing").lead.text.startswith("Capped at 39: notice given 18")
    assert health.section("churn").charts == {}


def test_a_customer_that_gave_notice_is_no_champion_and_not_ready_to_expand(noticed) -> None:
    segments = hs.segment_customers(noticed, {}, "health", min_segment_size=1)
    placed = segments.frame("customers").set_index("client_id")["segment_name"]
    assert placed["a"] != placed["b"]
    ready = PortfolioContext.of(noticed, AS_OF).expansion_readiness
    assert ready["no_notice"].to_dict() == {"a": False, "b": True}


def test_a_team_sets_its_own_cap_words_and_conditions() -> None:
    own = {
        "notice_given": {"cap": 20, "text": "They want to leave (since {on})"},
        "few_users": {
            "metric": "monthly_active_users",
            "below": 5,
            "risk_level": "high",
            "text": "Only {value:n user}",
        },
    }
    portfolio = tiny_portfolio(EVENTS, CUSTOMERS, settings={"overrides": own})
    health = hs.calculate_health_score(portfolio, "a")
    assert health.current_health_score == 20
    assert [item.text for item in health.overrides.held] == [
        "They want to leave (since 18\xa0Mar\xa02025)",
        "Only 2 users",
    ]
    assert hs.calculate_health_score(portfolio, "b").risk_level == "high"


def test_an_override_can_be_removed() -> None:
    portfolio = tiny_portfolio(EVENTS, CUSTOMERS, settings={"overrides": {"notice_given": None}})
    assert hs.calculate_health_score(portfolio, "a").band == "champion"


def test_an_override_has_one_condition() -> None:
    with pytest.raises(InvalidParameters, match="at_least or below"):
        settings({"overrides": {"notice_given": {"below": 5}}})
