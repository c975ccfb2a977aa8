"""Features are one whatever their case; names that are nearly a listed one's are named."""

import json

import pandas as pd
import pytest

import healthseg as hs
from healthseg import Portfolio

USES = [
    ("Reports", "ann", "2025-03-03"),
    ("reports", "ann", "2025-03-03"),
    ("REPORTS", "bob", "2025-03-04"),
]
OTHERS = [
    ("Dash board", "ann", "2025-03-05"),
    ("Reprots", "bob", "2025-03-05"),
    ("Login", "ann", "2025-03-05"),
]


@pytest.fixture(scope="module")
def portfolio():
    events = [
        {
            "client_id": "acme",
            "user_id": user,
            "feature": feature,
            "occurred_at": f"{day} 23:{minute:02d}:00",
        }
        for minute, (feature, user, day) in enumerate(USES + OTHERS)
    ]
    days = pd.date_range("2025-01-20", "2025-03-05").strftime("%Y-%m-%d 10:00:00")
    events += [{**events[-1], "feature": "Login", "occurred_at": day} for day in days]
    listed = [
        ("reports", "core"),
        ("Reports", "premium"),
        ("Dashboard", "core"),
        ("Alerts", "core"),
    ]
    when = json.dumps({"feature": "REPORTS", "users": 2})
    tables = {
        "customers": pd.DataFrame({"client_id": ["acme"], "signup_date": "2025-01-01"}),
        "events": pd.DataFrame(events),
        "features": pd.DataFrame(listed, columns=["feature", "category"]),
        "entitlements": pd.DataFrame({"client_id": "acme", "feature": ["rePorts", "ALERTS"]}),
        "milestones": pd.DataFrame(
            {
                "milestone_id": ["m"],
                "name": "M",
                "category": "adoption",
                "target_days": 90,
                "completes_when": when,
            }
        ),
    }
    return Portfolio.open(tables)


def test_a_feature_written_in_several_cases_is_one(portfolio):
    rows = (
        portfolio.connection().execute("SELECT * FROM feature_day ORDER BY feature, user_id").df()
    )
    reports = rows[rows["feature"] == "Reports"]
    assert reports[["user_id", "events"]].values.tolist() == [["ann", 2], ["bob", 1]]
    assert sorted(rows["feature"].unique()) == ["Dash board", "Login", "Reports", "Reprots"]
    used = portfolio.connection().execute("SELECT DISTINCT feature FROM events").df()
    assert set(used["feature"]) == {"Reports", *(name for name, _, _ in OTHERS)}


def test_entitlements_milestones_and_rates_follow_the_features_table(portfolio):
    usage = hs.track_usage_engagement(portfolio, "acme", "2025-03-01", "2025-03-06")
    assert usage.engagement_metrics.feature_adoption_rate == 0.5
    assert usage.usage_analytics.unlisted_features == 3
    milestone = hs.track_adoption_milestones(portfolio, "acme").frame("milestones").iloc[0]
    assert milestone.status == "completed"


def test_the_later_row_of_a_feature_in_another_case_is_used(portfolio):
    table = portfolio.table("features").set_index("feature")["category"]
    assert table.to_dict() == {"Alerts": "core", "Dashboard": "core", "Reports": "premium"}
    (issue,) = portfolio.reports["features"].issues
    assert (issue.kind, issue.count) == ("conflict", 1)


def test_check_and_responses_name_near_misses(portfolio):
    sentence = "2 features of events are not in the features table, which has a name near: Dash board (Dashboard), Reprots (Reports)"
    assert any(sentence in warning for warning in portfolio.check().warnings)
    summary = hs.segment_by_value_tier(portfolio).data_quality.summary
    assert any("Reprots (Reports)" in line for line in summary)


def test_without_a_features_table_the_spelling_that_was_used_first_is_the_name():
    events = pd.DataFrame(
        [
            {
                "client_id": "a",
                "user_id": "u",
                "feature": feature,
                "occurred_at": f"2025-03-0{day} 23:00:00",
            }
            for day, feature in ((1, "search"), (2, "Search"), (3, "SEARCH"))
        ]
    )
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": "2025-01-01"})
    opened = Portfolio.open({"customers": customers, "events": events})
    rows = opened.connection().execute("SELECT feature, first_day, last_day FROM feature_life").df()
    assert rows["feature"].tolist() == ["search"]
    assert rows["last_day"].iloc[0] - rows["first_day"].iloc[0] == pd.Timedelta(days=2)
