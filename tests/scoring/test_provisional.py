"""New customers are provisional: no score, band, forecast or segment, and a range as wide as the days to come."""

import pandas as pd
import pytest

import healthseg as hs
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.scoring import score_panel
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio
from healthseg.tools.overview.tool import customer_360

NEW = "Provisional: 11 days since signup"


def test_a_new_customer_has_a_possible_range_and_no_score(panel):
    frame = score_panel(panel({"tenure_days": 15}), Settings()).frame
    assert frame["provisional"].all() and frame["withheld"].all()
    assert frame["shown"].isna().all() and frame["band"].isna().all()
    # all of its metrics earn 100 points but the own baseline, 14 of 100, which is not known yet; a quarter of the 60
    # days is lived, and the rest can bring anything from 0 to 100
    assert frame["lowest"].iloc[0] == pytest.approx(86 / 4)
    assert frame["highest"].iloc[0] == pytest.approx(100 / 4 + 75)


def test_on_the_sixtieth_day_the_score_is_what_it_was(panel):
    days = score_panel(
        panel({"tenure_days": 59}, {"client_id": "b", "tenure_days": 60}), Settings()
    ).frame
    assert days["provisional"].tolist() == [True, False]
    assert days["score"].isna().tolist() == [True, False]
    assert (days["lowest"] <= days["highest"]).all()


@pytest.fixture(scope="module")
def portfolio():
    """A customer of eleven days in daily use, beside one of more than a year."""
    customers = pd.DataFrame(
        {
            "client_id": ["new", "old"],
            "signup_date": ["2025-05-20", "2024-01-01"],
            "arr": [1000, 2000],
            "seats": [2, 2],
        }
    )
    days = pd.date_range("2025-03-01", "2025-05-31")
    events = [
        (client, f"{day:%Y-%m-%d} {hour}:00:00", user, "f")
        for client, first in (("new", "2025-05-20"), ("old", "2025-03-01"))
        for day in days[days >= first]
        for hour, user in ((10, "u1"), (11, "u2"))
    ]
    return tiny_portfolio(events, customers)


def test_its_response_says_provisional_wherever_a_score_would_be(portfolio):
    health = hs.calculate_health_score(portfolio, "new")
    assert health.provisional and health.overrides.summary == [NEW]
    assert health.current_health_score is health.band is health.risk_level is None
    assert health.predicted_scores is None and "champion" not in health.verdict()
    for key in ("current_health_score", "band", "risk_level", "predicted_scores"):
        assert health.not_measured[f"$.{key}"] == NEW
    assert health.possible_range.lower < 40 and health.possible_range.upper > 80
    old = hs.calculate_health_score(portfolio, "old")
    assert not old.provisional and old.current_health_score is not None


def test_averages_segments_and_readiness_leave_it_out(portfolio):
    health = hs.portfolio_health(portfolio)
    by_client = {row["client_id"]: row for row in health.customers}
    assert by_client["new"]["score"] is None and by_client["new"]["override"] == NEW
    assert by_client["new"]["reason"].startswith(NEW)
    assert health.overrides.summary == ["1 customer too new for a score: Customer new"]
    assert health.average_score == by_client["old"]["score"]
    assert (health.scored_customers, health.provisional_customers) == (1, 1)
    assert health.frame("what_if")["client_id"].tolist() == ["old"]
    segment = hs.segment_customers(portfolio, {}, "health", 1, client_id="new").customer_standing
    assert segment is not None and not segment.placed
    assert segment.reason == "too new for a segment; it gets one on 19 Jul 2025"
    tier = hs.segment_by_value_tier(portfolio, client_id="new").customer_standing
    assert tier is not None and tier.ready is not True and tier.score is None


def test_how_often_users_come_needs_two_weeks(portfolio):
    usage = hs.track_usage_engagement(portfolio, "new").engagement_metrics
    old = hs.track_usage_engagement(portfolio, "old").engagement_metrics
    assert usage.stickiness is None and usage.sessions_per_user_per_week is None
    assert usage.figure_of("stickiness").reason.startswith("11")
    assert old.stickiness == 1.0 and usage.weekly_active_users == 2


def test_its_pages_say_how_far_it_has_come_and_predict_nothing(portfolio):
    """Neither points of a few days nor a probability of churn that is that of others."""
    health, tier = (
        hs.calculate_health_score(portfolio, "new"),
        hs.segment_by_value_tier(portfolio, client_id="new"),
    )
    assert health.verdict().startswith("Customer new: new, 11 days since signup")
    page = ReportPage(page_spec("calculate_health_score", portfolio=False), health, portfolio)
    assert page.section("components").charts == page.section("outlook").charts == {}
    assert "likely to churn" not in tier.verdict()
    assert customer_360(portfolio, "new").verdict() == (
        "Customer new: New, 11 days since signup; 2 users active on 2 seats"
    )


def test_its_usage_page_has_no_card_of_what_cannot_be_known_yet(portfolio):
    for client, known in (("new", False), ("old", True)):
        usage = hs.track_usage_engagement(portfolio, client)
        page = ReportPage(page_spec("track_usage_engagement", portfolio=False), usage, portfolio)
        opening = page.opening().markup
        assert "Seats in use" in opening and ("Stickiness" in opening) == known
        assert bool(page.section("comparison").charts) == known


def test_a_customer_that_never_used_the_product_has_no_points_for_usage_nor_engagement():
    customers = pd.DataFrame(
        {
            "client_id": ["never", "old"],
            "signup_date": "2024-01-01",
            "arr": [1000, 2000],
            "seats": 2,
        }
    )
    opened = ["2025-05-01 10:00", "2025-05-02 10:00", "2025-05-03 10:00"]
    tickets = pd.DataFrame(
        {"ticket_id": ["s", "t", "u"], "client_id": "never", "opened_at": opened, "csat": 5}
    ).assign(resolved_at=[f"{day[:10]} 12:00" for day in opened])
    days = pd.date_range("2025-03-01", "2025-05-31")
    portfolio = tiny_portfolio(
        [("old", f"{day:%Y-%m-%d} 10:00", "u1", "f") for day in days], customers, tickets=tickets
    )
    health = hs.calculate_health_score(portfolio, "never")
    scores = {part.component: part.score for part in health.components}
    assert (scores["usage"], scores["engagement"]) == (0, 0)
    assert (scores["support"], scores["satisfaction"]) == (100, 100)  # praise of an unused product
    assert health.band == "critical" and health.current_health_score < 50
