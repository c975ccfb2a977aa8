"""analyze_engagement_patterns on the demo portfolio: its shape, its scopes, its evidence, what it refuses."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pytest

import healthseg as hs
from healthseg.clustering.churn_signs import BY_NAME, SIGNS
from healthseg.demo import make_demo
from healthseg.errors import ClientNotFound, InvalidClientId, InvalidParameters
from healthseg.metrics.profile import customers_as_of
from healthseg.settings import Settings
from healthseg.testing import tiny_portfolio
from healthseg.tools import (
    analyze_engagement_patterns,
    portfolio_patterns,
    segment_customers,
)
from healthseg.tools.patterns.study import Study, all_customers, pattern_id

pytestmark = pytest.mark.slow

TOOL = "analyze_engagement_patterns"


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory):
    """250 customers, enough churned customers to learn from."""
    folder = tmp_path_factory.mktemp("patterns")
    make_demo(folder, clients=250, seed=1, events="light", scenario="plain")
    return hs.Portfolio.open(folder)


@pytest.fixture(scope="module")
def of_portfolio(portfolio):
    return analyze_engagement_patterns(portfolio, "all_customers")


@pytest.fixture(scope="module")
def live(portfolio):
    rows = portfolio.table("customers")
    return rows.loc[rows["churned_on"].isna(), "client_id"].tolist()


@pytest.fixture(scope="module")
def of_customer(portfolio, live):
    return analyze_engagement_patterns(portfolio, "single_customer", client_id=live[0])


@pytest.fixture(scope="module")
def segment(portfolio):
    run = segment_customers(portfolio, {}, "health")
    return max((part for part in run.segments if part.placed), key=lambda part: part.customer_count)


@pytest.fixture(scope="module")
def of_segment(portfolio, segment):
    return analyze_engagement_patterns(portfolio, "segment", segment_id=segment.segment_id)


def test_the_response_of_each_scope_has_the_shape_of_the_reference(
    of_portfolio, of_customer, of_segment, conform
):
    for response in (of_portfolio, of_customer, of_segment):
        assert conform(TOOL, json.loads(response.to_json())) == []


def test_a_customers_response_is_the_same_when_the_portfolio_is_cached(
    portfolio, of_portfolio, of_customer, live
):
    again = hs.Portfolio.open(portfolio.path)
    assert (
        analyze_engagement_patterns(again, "single_customer", client_id=live[0]).to_json()
        == of_customer.to_json()
    )
    again.close()


def test_churned_customers_count_with_their_last_days_before_churn(portfolio):
    scope = all_customers(portfolio, portfolio.as_of(), 90)
    study = Study.of(portfolio, scope, frozenset({"feature_usage"}))
    left = customers_as_of(portfolio, portfolio.as_of())["churned_on"].dropna()
    recent = left[
        (left <= pd.Timestamp(scope.start)) & (left > pd.Timestamp(portfolio.first_event_day))
    ]
    assert len(recent) > 20 and set(study.bundles.used.index) <= set(scope.clients) | set(
        recent.index
    )
    client, day = next(
        (name, day.date()) for name, day in recent.items() if name in study.bundles.used.index
    )
    events = portfolio.table("events")
    own = events[
        (events["client_id"] == client) & events["user_id"].notna() & (events["source"] != "api")
    ]
    day_of = (
        own["occurred_at"]
        .dt.tz_localize("UTC")
        .dt.tz_convert(portfolio.client(client)["timezone"])
        .dt.date
    )
    used = set(
        own.loc[(day_of >= day - dt.timedelta(days=90)) & (day_of < day), "feature"].dropna()
    )
    row = study.bundles.used.loc[client].dropna()
    assert {name for name, value in row.items() if value} == used & set(row.index) != set()
    assert set(study.churned_before) == set(study.used.index) - set(scope.clients)


def test_the_users_of_a_bundle_are_counted_within_the_window(portfolio, of_portfolio):
    shown = of_portfolio.feature_usage_patterns.feature_bundles
    scope = all_customers(portfolio, portfolio.as_of(), 90)
    used = Study.of(portfolio, scope, frozenset({"feature_usage"})).used.reindex(scope.clients)
    assert shown
    for bundle in shown:
        cells = used[bundle.bundle].dropna()
        assert (bundle.support, bundle.users_of_any) == (
            cells.all(axis=1).sum(),
            cells.any(axis=1).sum(),
        )


def test_each_null_section_of_the_reference_has_its_reason(of_portfolio, of_customer, of_segment):
    for response in (of_portfolio, of_customer, of_segment):
        for key in (
            "temporal_patterns",
            "feature_usage_patterns",
            "communication_patterns",
            "support_patterns",
            "user_personas",
            "success_patterns",
            "risk_patterns",
            "anomalies",
            "predictive_insights",
        ):
            if getattr(response, key) is None:
                assert response.not_measured[f"$.{key}"]


def test_every_reported_pattern_has_evidence_that_reaches_the_limits(of_portfolio):
    assert of_portfolio.identified_patterns
    for pattern in of_portfolio.identified_patterns:
        evidence = pattern.evidence
        assert (
            evidence.q <= of_portfolio.testing.max_q
            and evidence.found_again
            and evidence.confidence >= 0.7
        )
        assert evidence.support <= evidence.n and evidence.prevalence == pytest.approx(
            evidence.support / evidence.n, abs=1e-4
        )
        assert max(evidence.lift, 1 / evidence.lift) >= 1.25


def test_all_hypotheses_are_counted_as_one_family(of_portfolio):
    rows = of_portfolio.frame("patterns")
    assert (
        len(rows) == of_portfolio.testing.hypotheses == sum(of_portfolio.testing.by_type.values())
    )
    assert (rows["q"] >= rows["p"] - 1e-12).all()


def test_a_risk_pattern_has_the_rates_of_churned_and_retained_customers(of_portfolio):
    assert of_portfolio.risk_patterns
    for risk in of_portfolio.risk_patterns:
        assert risk.outcome.lower > 1 and risk.outcome.hazard_ratio > 1
        assert risk.among_leavers is not None and risk.among_stayers is not None
        if risk.n < 20:
            assert risk.probability_of_churn is None
        else:
            assert risk.probability_lower <= risk.probability_of_churn <= risk.probability_upper


def test_most_significant_signs_are_those_that_drive_the_demos_churn(of_portfolio):
    """The demo's hazard is made of these metrics; usage by users and of features falls with them, and so do others
    that have a cause in common with them."""
    planted = {
        "usage_vs_own_baseline",
        "seat_utilisation",
        "stickiness_30d",
        "nps_365d",
        "feature_adoption_rate_30d",
        "open_high_tickets",
        "worst_days_overdue",
        "days_since_last_person_event",
        "users_change",
        "features_change",
        "champion_departed",
        "top_user_share_28d",
        "tickets_per_10_mau_90d",
    }
    keys = [pattern.key for pattern in of_portfolio.identified_patterns if pattern.key in BY_NAME]
    right = [key for key in keys if {metric for metric, _, _ in BY_NAME[key].parts} & planted]
    # detractors are no longer among them: an NPS needs three answers, which few customers have
    assert len(right) >= 3 and len(right) >= 0.8 * len(keys)


def test_the_percentages_of_the_personas_add_up_to_100(of_portfolio):
    if of_portfolio.user_personas:
        assert sum(persona.percentage for persona in of_portfolio.user_personas) == pytest.approx(
            100
        )


def test_a_higher_confidence_leaves_fewer_patterns(portfolio, of_portfolio):
    strict = analyze_engagement_patterns(portfolio, "all_customers", min_pattern_confidence=1.0)
    assert {pattern.key for pattern in strict.identified_patterns} <= {
        pattern.key for pattern in of_portfolio.identified_patterns
    }
    assert all(pattern.confidence == 1.0 for pattern in strict.identified_patterns)


def test_the_portfolio_function_returns_the_response_of_all_customers(portfolio, of_portfolio):
    assert portfolio_patterns(portfolio).to_json() == of_portfolio.to_json()


def test_a_category_that_is_not_requested_is_null_with_its_reason(portfolio):
    response = analyze_engagement_patterns(
        portfolio, "all_customers", pattern_categories=["support"], include_predictions=False
    )
    assert (
        response.temporal_patterns is None
        and response.anomalies is None
        and response.user_personas is None
    )
    assert response.not_measured["$.feature_usage_patterns"] == "not requested"
    assert (
        response.predictive_insights is None
        and response.not_measured["$.predictive_insights"] == "not requested"
    )


def test_one_customers_churn_patterns_are_patterns_of_the_portfolio(of_customer, of_portfolio):
    assert of_customer.customers_analyzed == 1 and of_customer.analysis_scope.client_id
    learned = {pattern.key for pattern in of_portfolio.identified_patterns}
    assert all(
        pattern.key in learned
        for pattern in of_customer.identified_patterns
        if pattern.pattern_type in ("risk", "success")
    )
    assert all(risk.shown_by_customer for risk in of_customer.risk_patterns or [])


def test_a_customer_stands_beside_retained_customers(of_customer, of_portfolio, live, portfolio):
    shown = [each for each in of_customer.behaviours if each.shown_by_customer]
    standing, warned = of_customer.standing, [each for each in shown if each.kind == "risk"]
    assert of_customer.behaviours[: len(shown)] == shown  # its own come first
    assert (standing.warning_signs, standing.strengths) == (len(warned), len(shown) - len(warned))
    assert {each.sign for each in of_customer.behaviours} == {sign.name for sign in SIGNS}
    # the mean number of warning signs is the sum of their shares, where each is always measured
    shares = sum(each.among_retained for each in of_portfolio.behaviours if each.kind == "risk")
    assert 0 < standing.warning_signs_of_retained <= shares + 0.05
    idle = next(each for each in of_customer.behaviours if each.sign == "idle_seats")
    assert idle.figure.endswith("%") and idle.among_churned > idle.among_retained
    actions = of_customer.next_actions
    assert actions and {action.client_id for action in actions} == {live[0]}
    assert of_portfolio.standing is None
    named = of_portfolio.predictive_insights
    likely = {*(named.churn_candidates or []), *(named.expansion_candidates or [])}
    assert {action.client_id for action in of_portfolio.next_actions} <= likely
    signs = [each for each in of_portfolio.behaviours if each.kind == "risk"]
    assert all(len(each.shown_by) <= each.shown_now for each in signs)
    assert all(each.lead_days is None or 0 < each.lead_days <= 90 for each in signs)


def test_a_segment_is_analyzed_by_its_id(of_segment, segment):
    assert of_segment.analysis_scope.segment_name == segment.segment_name
    assert of_segment.customers_analyzed == segment.customer_count


def test_an_unknown_segment_is_refused_with_the_known_ones(portfolio, segment):
    with pytest.raises(InvalidParameters) as problem:
        analyze_engagement_patterns(portfolio, "segment", segment_id="seg_nothing_0")
    assert segment.segment_id in problem.value.details["known_segments"]


def test_an_outdated_segment_is_refused(portfolio, segment):
    with pytest.raises(InvalidParameters, match="days from 2025-06-01"):
        analyze_engagement_patterns(
            portfolio, "segment", segment_id=segment.segment_id, as_of="2025-06-01"
        )


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"analysis_scope": "single_customer"}, InvalidParameters, "needs a client_id"),
        ({"analysis_scope": "segment"}, InvalidParameters, "needs a segment_id"),
        (
            {"analysis_scope": "all_customers", "client_id": "a"},
            InvalidParameters,
            "goes with analysis_scope",
        ),
        ({"analysis_scope": "everyone"}, InvalidParameters, "analysis_scope"),
        (
            {"analysis_scope": "single_customer", "client_id": "nobody"},
            ClientNotFound,
            "no customer",
        ),
        ({"analysis_scope": "single_customer", "client_id": "a b"}, InvalidClientId, "not valid"),
        (
            {"analysis_scope": "all_customers", "analysis_period_days": 366},
            InvalidParameters,
            "365",
        ),
        (
            {"analysis_scope": "all_customers", "min_pattern_confidence": 1.1},
            InvalidParameters,
            "less than or equal to 1",
        ),
        (
            {"analysis_scope": "all_customers", "pattern_categories": ["tempral"]},
            InvalidParameters,
            "temporal",
        ),
        (
            {"analysis_scope": "all_customers", "pattern_categories": []},
            InvalidParameters,
            "at least 1",
        ),
    ],
)
def test_invalid_parameters_are_refused_with_their_rule(portfolio, parameters, kind, message):
    with pytest.raises(kind, match=message) as problem:
        analyze_engagement_patterns(portfolio, **parameters)
    assert problem.value.to_dict()["details"]["validation_rule"]


def test_a_window_longer_than_the_data_is_shortened_with_a_warning():
    short = tiny_portfolio(
        [("a", f"2025-03-{day:02d} 09:00", "u1", "search") for day in range(1, 29)]
    )
    response = analyze_engagement_patterns(short, "all_customers", analysis_period_days=90)
    assert (
        response.analysis_period.days == 28 and "shortened to the 28 days" in response.warnings[0]
    )
    assert response.identified_patterns == [] and response.risk_patterns is None
    assert "20 are needed" in response.not_measured["$.risk_patterns"]


def test_a_churned_customer_is_shown_as_of_its_last_day(portfolio):
    rows = portfolio.table("customers").dropna(subset=["churned_on"])
    later = pd.Timestamp(portfolio.first_event_day) + pd.Timedelta(days=120)
    churned = rows[pd.to_datetime(rows["churned_on"]) > later].iloc[0]
    response = analyze_engagement_patterns(
        portfolio, "single_customer", client_id=churned["client_id"]
    )
    assert response.analysis_period.end_date == pd.Timestamp(churned["churned_on"]).date()
    assert response.warnings[0].startswith("churned on") and response.next_actions == []


def test_a_pattern_has_the_same_id_in_every_call(of_portfolio, of_customer):
    shared = [
        pattern
        for pattern in [*of_portfolio.identified_patterns, *of_customer.identified_patterns]
        if pattern.pattern_type == "risk"
    ]
    assert shared and all(
        pattern.pattern_id == pattern_id("risk", pattern.key) for pattern in shared
    )


def test_a_sign_is_unknown_where_a_metric_is_unknown():
    rows = pd.DataFrame(
        {"seat_utilisation": [0.5, 0.5, 0.7, None], "open_high_tickets": [1, None, 1, 1]}
    )
    shown = BY_NAME["idle_and_broken"].shown(rows, Settings())
    assert shown[[0, 2]].tolist() == [1, 0] and pd.isna(shown[[1, 3]]).all()


def test_every_sign_has_a_label_and_advice():
    assert all(sign.label and sign.advice for sign in SIGNS)


def test_patterns_of_behaviour_are_counted_without_hours(of_portfolio):
    patterns, by_type = of_portfolio.identified_patterns, of_portfolio.testing.by_type
    behaviours = [pattern for pattern in patterns if pattern.pattern_type != "temporal"]
    assert of_portfolio.testing.behaviours == sum(by_type.values()) - by_type["temporal"]
    assert len(behaviours) < len(patterns)  # this portfolio has working hours
    assert of_portfolio.testing.behaviours_held == len(behaviours)
