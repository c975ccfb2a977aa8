"""track_usage_engagement on portfolios that can be counted by hand: figures, periods, refusals, zero and missing."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import ClientNotFound, InvalidClientId, InvalidParameters
from healthseg.metrics import panels as panel
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS, portfolio_usage
from tests.tools.usage_events import at, range_of

START, END = "2025-03-03", "2025-03-31"  # four whole weeks, Monday to Sunday


@pytest.fixture(scope="module")
def small():
    """Three users of four seats: u1 daily, u2 on Mondays, u3 never; u4 until February. 100 API calls a week."""
    events = [
        *range_of("2025-01-01", "2025-03-30", user="u1", feature="plan"),
        *[
            at(day.date(), user="u2", hour=14, feature="report")
            for day in pd.date_range("2025-01-06", "2025-03-24", freq="7D")
        ],
        *range_of("2025-02-01", "2025-02-10", user="u4", feature="plan"),
        *[
            (*at(day.date(), user=None, source="api"), None, 100)
            for day in pd.date_range("2025-01-06", "2025-03-24", freq="7D")
        ],
    ]
    users = pd.DataFrame(
        {
            "client_id": "a",
            "user_id": ["u1", "u2", "u3", "u4"],
            "created_at": "2025-01-01",
            "deactivated_at": [None, None, None, "2025-02-20"],
        }
    )
    contracts = pd.DataFrame(
        {
            "client_id": ["a"],
            "starts_on": ["2025-01-01"],
            "ends_on": ["2026-01-01"],
            "arr": [1200],
            "seats": [4],
        }
    )
    features = pd.DataFrame({"feature": ["plan", "report", "export", "share"], "category": "core"})
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["2025-01-01"]})
    return tiny_portfolio(events, customers, users=users, contracts=contracts, features=features)


@pytest.fixture(scope="module")
def usage(small):
    return hs.track_usage_engagement(small, "a", START, END)


def test_active_users_are_those_that_can_be_counted(usage):
    figures = usage.engagement_metrics
    assert (figures.weekly_active_users, figures.monthly_active_users, figures.active_users) == (
        2,
        2,
        2,
    )
    assert usage.frame("metrics")["daily_active_users"].iloc[0] == pytest.approx((28 + 4) / 28)
    assert figures.active_days_per_user == (28 + 4) / 2
    with_u4 = 2 * 2 / 3 + 7 * 1 / 3  # to 11 March its last day is within the month
    assert figures.stickiness == round((with_u4 + 2 * 1 + 17 * 1 / 2) / 28, 4)


def test_seats_activation_and_adoption_have_their_denominators(usage):
    figures = usage.engagement_metrics
    assert (figures.licensed_seats, figures.seat_utilisation) == (4, 0.5)
    assert (figures.provisioned_users, figures.activated_users, figures.user_activation_rate) == (
        3,
        2,
        0.6667,
    )
    assert figures.feature_adoption_rate == 0.5  # plan and report of four


def test_calls_of_the_api_are_events_and_no_activity(usage):
    counted = usage.usage_analytics
    assert (counted.total_events, counted.person_events, counted.api_calls_count) == (
        28 + 4 + 400,
        32,
        400,
    )
    assert (counted.total_sessions, counted.unique_features_used, counted.unlisted_features) == (
        32,
        2,
        0,
    )
    assert usage.engagement_metrics.sessions_per_user_per_week == 32 / 2 / 4


def test_cohorts_are_a_partition_of_those_who_could_have_been_active(usage):
    cohorts = usage.user_cohorts
    assert (
        cohorts.power_users,
        cohorts.regular_users,
        cohorts.at_risk_users,
        cohorts.inactive_users,
    ) == (1, 1, 0, 1)
    assert cohorts.users == 3 == sum(cohorts.active_days_histogram)
    assert [at for at, users in enumerate(cohorts.active_days_histogram) if users] == [0, 4, 28]


def test_growth_accounting_adds_up(usage):
    period = usage.growth_accounting.period  # against 3 February to 2 March
    assert (
        period.active_users,
        period.new_users,
        period.returning_users,
        period.resurrected_users,
    ) == (2, 0, 2, 0)
    assert (period.dormant_users, period.pulse_ratio) == (1, 0.0)
    weeks = usage.growth_accounting.weeks
    assert len(weeks) == 12
    assert all(
        week.active_users == week.new_users + week.returning_users + week.resurrected_users
        for week in weeks
        if week.new_users is not None
    )


def test_the_champion_and_the_top_user_are_named_only_where_that_is_asked(small, usage):
    assert usage.dependence.top_user_share == 0.875 and usage.users is None
    response = hs.track_usage_engagement(small, "a", START, END, include_users=True)
    assert [user["user_id"] for user in response.users] == ["u1", "u2", "u3"]
    assert (
        "u1" not in json.dumps(usage.to_dict()) and usage.not_measured["$.users"] == "not requested"
    )


def test_each_feature_has_its_first_use_and_its_users(usage):
    plan, report = usage.feature_adoption_timeline
    assert (plan.feature, plan.first_use_date) == ("plan", dt.date(2025, 1, 1))
    assert (plan.weekly_usage, plan.adoption_rate) == (7, 0.5)
    assert (plan.users_ever, report.feature, report.first_use_date, report.active_users) == (
        2,
        "report",
        dt.date(2025, 1, 6),
        1,
    )
    adopters = usage.frame("adopters").query("feature == 'plan'")["users"].tolist()
    assert adopters[0] == 1 and adopters[-1] == 2 and adopters == sorted(adopters)


def test_retention_has_blanks_and_no_zeros_where_a_week_is_not_over(small):
    response = hs.track_usage_engagement(small, "a", "2025-01-27", "2025-02-24")
    cohorts = {cohort.cohort_start: cohort for cohort in response.user_retention}
    assert all(
        cohort.retained[0] in (1.0, None) and cohort.retained[-1] is None
        for cohort in cohorts.values()
    )
    joined = next(
        cohort for start, cohort in cohorts.items() if 0 <= (dt.date(2025, 2, 1) - start).days < 7
    )
    assert joined.users == 1 and joined.retained[:2] == [1.0, 1.0]


def test_the_panel_and_the_period_of_the_same_days_agree(demo):
    end = demo.data_until + dt.timedelta(days=1)
    rows = panel.panel(demo, [demo.data_until]).set_index("client_id")
    for client in rows.index[rows["live"]][:5]:
        counted = (
            hs.track_usage_engagement(demo, client, end - dt.timedelta(days=28), end)
            .frame("metrics")
            .iloc[0]
        )
        for name, column in (
            ("person_events", "person_events_28d"),
            ("sessions", "sessions_28d"),
            ("average_session_minutes", "average_session_minutes_28d"),
            ("unique_features_used", "unique_features_used_28d"),
            ("active_days", "active_days_28d"),
        ):
            assert counted[name] == pytest.approx(rows.loc[client, column], nan_ok=True), (
                client,
                name,
            )


# -- periods ------------------------------------------------------------------------------------------------------


def test_the_part_before_signup_and_after_the_data_is_left_out_and_said(small):
    response = hs.track_usage_engagement(small, "a", "2024-12-01", "2025-06-01")
    period = response.analysis_period
    assert (period.effective_start, period.effective_end) == (
        dt.date(2025, 1, 1),
        dt.date(2025, 3, 31),
    )
    assert period.start_date == dt.date(2024, 12, 1)
    assert any("counted from 2025-01-01" in note for note in response.warnings)


def test_nothing_after_as_of_is_read(small):
    early = hs.track_usage_engagement(small, "a", "2025-02-01", "2025-03-31", as_of="2025-02-28")
    assert early.analysis_period.effective_end == dt.date(2025, 3, 1)
    whole = hs.track_usage_engagement(small, "a", "2025-02-01", "2025-03-01")
    same = (
        "engagement_metrics",
        "usage_analytics",
        "usage_trends",
        "user_cohorts",
        "growth_accounting",
        "series",
    )
    assert {name: early.to_dict()[name] for name in same} == {
        name: whole.to_dict()[name] for name in same
    }


def test_without_a_period_it_is_the_thirty_days_that_end_with_as_of(small):
    period = hs.track_usage_engagement(small, "a", as_of="2025-03-15").analysis_period
    assert (period.effective_start, period.effective_end) == (
        dt.date(2025, 2, 14),
        dt.date(2025, 3, 16),
    )


def test_an_instant_at_midnight_is_its_date(small, usage):
    response = hs.track_usage_engagement(small, "a", f"{START}T00:00:00Z", f"{END}T00:00:00Z")
    assert response.to_dict() == usage.to_dict()


REFUSED = [
    ({"period_start": "2025-03-10", "period_end": "2025-03-10"}, "not after"),
    ({"period_start": "2025-03-10", "period_end": "2025-03-01"}, "not after"),
    ({"period_start": "2024-01-01", "period_end": "2024-02-01"}, "before a signed up"),
    ({"period_start": "2025-06-01", "period_end": "2025-07-01"}, "after the data"),
    ({"period_start": "2025-03-01T09:00", "period_end": "2025-03-31"}, "is not a date"),
    ({"period_start": "March", "period_end": "2025-03-31"}, "is not a date"),
    (
        {"period_start": "2025-03-01T09:30", "period_end": "2025-03-31", "granularity": "hourly"},
        "whole hour",
    ),
    ({"period_start": START, "period_end": END, "granularity": "dialy"}, "daily"),
    ({"period_start": START, "period_end": END, "include_feature_breakdown": "yes"}, "boolean"),
    ({"period_start": START, "period_end": END, "as_of": "2030-01-01"}, "after the data"),
]


@pytest.mark.parametrize(("parameters", "words"), REFUSED)
def test_a_period_that_cannot_be_is_refused_with_the_way_out(small, parameters, words):
    with pytest.raises(InvalidParameters, match=words) as error:
        hs.track_usage_engagement(small, "a", **parameters)
    assert error.value.to_dict()["error_code"] == "INVALID_PARAMETERS"


def test_a_customer_that_is_not_there_is_refused(small):
    with pytest.raises(ClientNotFound):
        hs.track_usage_engagement(small, "b", START, END)
    with pytest.raises(InvalidClientId):
        hs.track_usage_engagement(small, "a b", START, END)


def test_a_period_after_leaving_is_refused_and_one_across_it_is_cut():
    customers = pd.DataFrame(
        {"client_id": ["a"], "signup_date": ["2025-01-01"], "churned_on": ["2025-02-15"]}
    )
    portfolio = tiny_portfolio(range_of("2025-01-01", "2025-03-31"), customers)
    response = hs.track_usage_engagement(portfolio, "a", "2025-02-01", "2025-03-01")
    assert (
        response.analysis_period.effective_end == dt.date(2025, 2, 15)
        and response.status == "churned"
    )
    assert response.alerts == [] and response.recommendations == []
    with pytest.raises(InvalidParameters, match="churned on 2025-02-15"):
        hs.track_usage_engagement(portfolio, "a", "2025-02-15", "2025-03-01")


# -- zero and missing ---------------------------------------------------------------------------------------------


def test_no_events_in_a_tracked_period_are_zeros_and_said():
    portfolio = tiny_portfolio(
        [*range_of("2025-01-01", "2025-03-31", client="b"), at("2025-01-02")]
    )
    response = hs.track_usage_engagement(portfolio, "a", "2025-03-01", "2025-04-01")
    counted = response.usage_analytics
    assert (counted.total_events, counted.total_sessions, counted.unique_features_used) == (
        0,
        0,
        None,
    )
    assert (
        response.engagement_metrics.monthly_active_users == 0
        and response.feature_adoption_timeline == []
    )
    assert any("no events in this period" in note for note in response.warnings)
    assert (
        response.activity_heatmap.peak_days is None
        and "$.activity_heatmap.peak_days" in response.not_measured
    )
    assert [alert.type for alert in response.alerts] == ["no_usage"]


def test_events_without_times_have_days_and_neither_hours_nor_sessions():
    portfolio = tiny_portfolio(
        [("a", str(day.date()), "u1") for day in pd.date_range("2025-01-01", "2025-03-31")]
    )
    response = hs.track_usage_engagement(portfolio, "a", "2025-03-01", "2025-04-01")
    assert (
        response.usage_analytics.total_sessions is None
        and response.usage_analytics.active_days == 31
    )
    assert (
        response.not_measured["$.usage_analytics.total_sessions"]
        == "the portfolio's events have no times"
    )
    assert response.activity_heatmap.user_hours == 0


def test_what_is_not_requested_is_null_and_says_so(small):
    response = hs.track_usage_engagement(
        small,
        "a",
        START,
        END,
        include_feature_breakdown=False,
        include_user_segmentation=False,
        benchmark_comparison=False,
    )
    for name in (
        "feature_adoption_timeline",
        "user_cohorts",
        "user_retention",
        "benchmark_insights",
    ):
        assert (
            getattr(response, name) is None
            and response.not_measured[f"$.{name}"] == "not requested"
        )


def test_every_null_of_the_references_keys_has_its_reason(small, demo):
    live = demo.table("customers").query("churned_on.isna()")["client_id"]
    responses = [
        hs.track_usage_engagement(small, "a", START, END),
        hs.track_usage_engagement(small, "a", "2025-01-01", "2025-01-08"),
        *[hs.track_usage_engagement(demo, client) for client in live[:8]],
    ]
    for response in responses:
        reply = response.to_dict()
        for part in (
            "engagement_metrics",
            "usage_analytics",
            "usage_trends",
            "user_cohorts",
            "benchmark_insights",
            "own_baseline",
            "dependence",
        ):
            for key, value in (reply[part] or {}).items():
                if value is None and key not in DERIVED:
                    assert f"$.{part}.{key}" in response.not_measured, (
                        response.client_id,
                        part,
                        key,
                    )


DERIVED = {
    "percentile_interval",
    "metric",
    "value",
    "industry_median",
    "source",
    "peer_median",
    "peer_group",
    "declining_users",
}


# -- the series ---------------------------------------------------------------------------------------------------


def test_weeks_are_iso_weeks_and_the_cut_ones_are_marked(small):
    rows = hs.track_usage_engagement(small, "a", "2025-03-05", "2025-03-26", "weekly").series
    assert [(row["start"], row["complete"]) for row in rows] == [
        ("2025-03-05", False),
        ("2025-03-10", True),
        ("2025-03-17", True),
        ("2025-03-24", False),
    ]
    assert [row["active_users"] for row in rows] == [1, 2, 2, 2]


def test_the_unfinished_month_is_marked(small):
    rows = hs.track_usage_engagement(small, "a", "2025-02-01", "2025-04-15", "monthly").series
    assert [(row["start"], row["end"], row["complete"]) for row in rows] == [
        ("2025-02-01", "2025-03-01", True),
        ("2025-03-01", "2025-03-31", False),
    ]


# -- trend, alerts, peers -----------------------------------------------------------------------------------------


def test_too_few_weeks_have_no_trend(small):
    response = hs.track_usage_engagement(small, "a", "2025-01-01", "2025-02-01")
    assert response.usage_trends.trend_direction is None
    assert "4 whole weeks" in response.not_measured["$.usage_trends.trend_direction"]


def test_peers_are_withheld_under_eight_and_stand_with_their_number(small, demo):
    assert (
        hs.track_usage_engagement(small, "a", START, END).benchmark_insights.percentile_rank is None
    )
    client = demo.table("customers").query("churned_on.isna()")["client_id"].iloc[0]
    part = hs.track_usage_engagement(demo, client).benchmark_insights
    spread = part.percentile_interval
    assert part.peers >= 8 and 0 <= spread.lower <= part.percentile_rank <= spread.upper <= 100
    assert f"{part.peers} peers" in part.vs_peers


def test_the_industry_is_compared_only_with_a_source(demo):
    rows = demo.table("benchmarks").query("percentile == 50")
    for client in demo.table("customers").query("churned_on.isna()").to_dict("records")[:6]:
        part = hs.track_usage_engagement(demo, client["client_id"]).benchmark_insights
        known = rows[(rows["industry"] == client["industry"]) & (rows["metric"] == part.metric)]
        if part.value is not None and len(known):
            change = 100 * (part.value / known["value"].iloc[0] - 1)
            assert abs(float(part.vs_industry_average.split("%")[0]) - change) < 1.5
            assert part.source in part.vs_industry_average


# -- the response ----------------------------------------------------------------------------------------------------


def test_the_response_has_the_references_shape(conform, small, demo):
    clients = demo.table("customers")["client_id"]
    responses = [
        hs.track_usage_engagement(small, "a", START, END),
        hs.track_usage_engagement(demo, clients.iloc[0], "2024-06-01", "2024-08-01"),
        hs.track_usage_engagement(small, "a", START, END, "hourly", False, False, False),
    ]
    assert [conform("track_usage_engagement", response.to_dict()) for response in responses] == [
        [],
        [],
        [],
    ]


def test_the_same_call_gives_the_same_bytes_in_a_fresh_process(small, demo_folder, demo):
    client = demo.table("customers").query("churned_on.isna()")["client_id"].iloc[3]
    again = hs.Portfolio.open(demo_folder)
    assert (
        hs.track_usage_engagement(again, client).to_json()
        == hs.track_usage_engagement(demo, client).to_json()
    )
    assert portfolio_usage(again).to_json() == portfolio_usage(demo).to_json()


def test_the_tool_is_registered_with_its_parameters():
    tool = TOOLS["track_usage_engagement"]
    assert set(tool.parameters.model_fields) >= {
        "client_id",
        "period_start",
        "period_end",
        "granularity",
        "include_feature_breakdown",
        "include_user_segmentation",
        "benchmark_comparison",
        "as_of",
    }
    assert tool.portfolio is portfolio_usage and tool.summary.startswith("Who uses it")


def test_no_advice_is_worded_with_an_unknown_figure(demo, small, usage):
    live = demo.table("customers").query("churned_on.isna()")["client_id"]
    rules = [
        rule
        for response in (
            usage,
            *map(lambda client: hs.track_usage_engagement(demo, client), live[:10]),
        )
        for rule in response.recommendations_detail
    ]
    portfolio = portfolio_usage(demo)
    assert rules
    assert all(
        "unknown" not in rule.text and None not in rule.figures.values()
        for rule in (*rules, *portfolio.recommendations_detail)
    )
