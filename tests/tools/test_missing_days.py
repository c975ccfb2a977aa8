"""A tracking gap is no decline, absent users are no zero, and programs alone are a use: in all tools."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import HealthsegError
from healthseg.metrics.panels import panel

FIRST, LAST = dt.date(2025, 3, 1), dt.date(2025, 8, 31)
GAP = [dt.date(2025, 8, 11) + dt.timedelta(days=k) for k in range(9)]
CLIENTS = [f"acme_{n}" for n in range(12)]


def events(skip=()) -> pd.DataFrame:
    days = [FIRST + dt.timedelta(days=k) for k in range((LAST - FIRST).days + 1)]
    rows = [
        (client, f"{day} 23:{10 + number}:00", f"{client}-u{number}", "report")
        for day in days
        if day not in skip
        for client in CLIENTS
        for number in range(3)
    ]
    return pd.DataFrame(rows, columns=["client_id", "occurred_at", "user_id", "feature"])


def opened(rows: pd.DataFrame, settings=None, **tables: pd.DataFrame) -> hs.Portfolio:
    extra = ["fresh", "later", "idle"]
    customers = pd.DataFrame(
        {
            "client_id": [*CLIENTS, *extra],
            "signup_date": [
                *["2024-01-01"] * 12,
                str(LAST),
                str(LAST - dt.timedelta(days=89)),
                "2025-03-05",
            ],
            "seats": [*[4] * 12, None, 4, None],
        }
    )
    return hs.Portfolio.open({"customers": customers, "events": rows, **tables}, settings)


@pytest.fixture(scope="module")
def whole():
    return opened(events())


@pytest.fixture(scope="module")
def interrupted():
    return opened(events(skip=GAP))


def test_a_gap_changes_no_metric_of_customers_who_did_as_before(whole, interrupted):
    assert interrupted.extent.gaps == tuple(GAP) and whole.extent.gaps == ()
    names = [
        "person_events_28d",
        "active_days_28d",
        "daily_active_users_30d",
        "weekly_active_users",
        "stickiness_30d",
    ]
    names += [
        "usage_vs_own_baseline",
        "days_since_last_person_event",
        "sessions_per_user_per_week_28d",
    ]
    names += ["features_adopted_30d", "champion_departed"]
    for day in (LAST, GAP[-1], GAP[0] + dt.timedelta(days=3)):
        before, after = (
            panel(portfolio, [day], CLIENTS)[names] for portfolio in (whole, interrupted)
        )
        pd.testing.assert_frame_equal(after, before, rtol=1e-9)


def test_the_response_marks_the_gap_and_leaves_it_out(interrupted):
    usage = hs.track_usage_engagement(interrupted, "acme_4", "2025-08-01", "2025-09-01").to_dict()
    missing = [row for row in usage["series"] if row["person_events"] is None]
    assert [row["start"] for row in missing] == [str(day) for day in GAP]
    assert not any(row["complete"] for row in missing)
    assert "tracking gap" in usage["not_measured"]["$.series[*].person_events"]
    assert usage["engagement_metrics"]["daily_active_users"] == 3
    assert usage["usage_trends"]["trend_direction"] == "stable"
    health = hs.calculate_health_score(interrupted, "acme_4")
    for text in (str(usage["warnings"]), str(health.warnings)):
        assert "11 to 19 Aug 2025 (9 days)" in text


def test_silence_counts_observed_days_alone(interrupted):
    quiet = events(skip=GAP)
    alone = (quiet["client_id"] == "acme_0") & (quiet["occurred_at"] >= "2025-08-09")
    portfolio = opened(quiet[~alone])
    row = panel(portfolio, [LAST], ["acme_0"]).iloc[0]
    assert row["days_since_last_person_event"] == (LAST - dt.date(2025, 8, 8)).days - len(GAP)
    assert portfolio.extent.gaps == tuple(GAP)  # its own silence is none


# -- users absent ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nameless():
    return opened(events().drop(columns="user_id"))


@pytest.fixture(scope="module")
def mixed():
    rows = events()
    first_half = rows["client_id"].isin(CLIENTS[:6])
    users = rows["user_id"].mask(first_half)
    return opened(rows.assign(user_id=users.mask(~first_half & rows["user_id"].str.endswith("u2"))))


def test_without_users_activity_is_measured_and_users_are_not(nameless):
    usage = hs.track_usage_engagement(nameless, "acme_1").to_dict()
    assert (
        usage["usage_analytics"]["person_events"] == 90
        and usage["usage_analytics"]["active_days"] == 30
    )
    figures = usage["engagement_metrics"]
    for name in (
        "weekly_active_users",
        "monthly_active_users",
        "daily_active_users",
        "stickiness",
        "seat_utilisation",
    ):
        assert (
            figures[name] is None
            and "names a user" in usage["not_measured"][f"$.engagement_metrics.{name}"]
        )
    adoption = hs.track_feature_adoption(nameless, "acme_1").to_dict()
    (feature,) = adoption["feature_details"]
    assert (
        feature["adopted"] is True and feature["users"] is None and feature["adoption_rate"] is None
    )
    assert (
        hs.calculate_health_score(nameless, "acme_1").to_dict()["health_metrics"][
            "weekly_active_users"
        ]
        is None
    )


def test_customers_and_rows_without_users_stand_beside_others(mixed):
    nobody, somebody = (
        hs.track_usage_engagement(mixed, client).to_dict() for client in ("acme_1", "acme_9")
    )
    assert nobody["engagement_metrics"]["monthly_active_users"] is None
    assert somebody["engagement_metrics"]["monthly_active_users"] == 2
    assert "no event of the customer names a user" in str(nobody["warnings"])
    assert "33% of the person events name no user" in str(somebody["warnings"])


@pytest.mark.parametrize("kind", ["nameless", "mixed", "interrupted"])
@pytest.mark.parametrize("client", ["acme_1", "fresh", "later", "idle"])
def test_no_tool_breaks_where_users_events_or_history_are_missing(request, kind, client):
    portfolio = request.getfixturevalue(kind)
    for call in (
        lambda: hs.calculate_health_score(portfolio, client),
        lambda: hs.track_usage_engagement(portfolio, client),
        lambda: hs.track_usage_engagement(portfolio, client, granularity="hourly"),
        lambda: hs.track_feature_adoption(
            portfolio, client, time_period_days=90, benchmark_against="tier"
        ),
        lambda: hs.manage_lifecycle_stages(portfolio, client, "get_stage"),
        lambda: hs.track_adoption_milestones(portfolio, client),
        lambda: hs.analyze_engagement_patterns(portfolio, "single_customer", client_id=client),
    ):
        try:
            assert call().to_json()
        except HealthsegError as refusal:
            assert str(refusal)


# -- the API alone -----------------------------------------------------------------------


def test_a_customer_of_the_api_alone_is_judged_by_its_api_events():
    days = pd.date_range(FIRST, LAST)
    calls = pd.DataFrame(
        {"client_id": "acme_0", "occurred_at": [f"{day:%Y-%m-%d} 03:00:00" for day in days]}
    )
    rows = events()
    rows = pd.concat([rows[rows["client_id"] != "acme_0"], calls.assign(source="api", count=280)])
    row = panel(opened(rows), [LAST], ["acme_0"]).iloc[0]
    assert (
        row["api_only"] == 1
        and row["days_since_last_person_event"] == 0
        and row["active_days_28d"] == 28
    )
    assert row["usage_vs_own_baseline"] == 1 and pd.isna(row["monthly_active_users"])
    health = hs.calculate_health_score(opened(rows), "acme_0")
    assert "works through the API alone (280 API events a day" in str(health.warnings)
    fallen = rows[(rows["client_id"] != "acme_0") | (rows["occurred_at"] < "2025-08-10")]
    assert panel(opened(fallen), [LAST], ["acme_0"])["days_since_last_person_event"].iloc[0] == 22


@pytest.mark.parametrize(("visits", "judged_by_api"), [(1, 1), (2, 1), (3, 0)])
def test_somebody_who_looks_in_now_and_then_does_not_end_it(visits, judged_by_api):
    days = pd.date_range(FIRST, LAST)
    calls = pd.DataFrame(
        {"client_id": "acme_0", "occurred_at": [f"{day:%Y-%m-%d} 03:00:00" for day in days]}
    ).assign(source="api", count=280)
    looks = calls.iloc[-visits - 5 : -5].assign(source="ui", count=1, user_id="admin")
    rows = events()
    rows = pd.concat([rows[rows["client_id"] != "acme_0"], calls, looks])
    assert panel(opened(rows), [LAST], ["acme_0"])["api_only"].iloc[0] == judged_by_api


def test_a_setting_declares_customers_of_the_api():
    portfolio = opened(events(), {"api_only_customers": ["acme_2"]})
    rows = panel(portfolio, [LAST], CLIENTS).set_index("client_id")
    assert rows["api_only"].sum() == 1 and rows.loc["acme_2", "days_since_last_person_event"] > 100
