"""Some customers alone: lists and sums are theirs, scores those of the whole portfolio."""

from __future__ import annotations

import pandas as pd
import papermill
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.reports.batches.plan import notebook
from healthseg.reports.registry import check_report_parameters
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS

CUSTOMERS = pd.DataFrame(
    {
        "client_id": ["a", "b", "c", "d"],
        "signup_date": "2025-01-01",
        "csm_id": ["eve", "eve", "max", None],
        "plan": ["pro", "basic", "pro", "pro"],
        "churned_on": [None, None, None, "2025-05-01"],
    }
)
CONTRACTS = pd.DataFrame(
    {
        "client_id": ["a", "b", "c"],
        "starts_on": "2024-06-01",
        "ends_on": ["2025-12-31", "2025-12-31", "2025-05-31"],
        "arr": [900, 40, 100],
    }
)
MILESTONES = pd.DataFrame(
    {
        "milestone_id": ["kick", "plan"],
        "name": ["Kick-off", "Plan"],
        "category": "onboarding",
        "target_days": [10, 30],
    }
)
DONE = pd.DataFrame(
    {
        "client_id": ["a", "b", "c"],
        "milestone_id": "kick",
        "started_at": "2025-01-03",
        "completed_at": ["2025-01-05", None, "2025-01-05"],
    }
)
ENDS = {"a": "2025-06-30", "b": "2025-06-30", "c": "2025-06-30", "d": "2025-04-30"}
EVENTS = [
    (client, f"{day:%Y-%m-%d} 09:00", f"{client}-{user}", "plan")
    for client, end in ENDS.items()
    for day in pd.date_range("2025-01-01", end)
    for user in range(1 + (client == "a"))
]
ACTIVE = {"a": "2025-02-02", "b": "2025-03-02", "c": "2025-02-04", "d": "2025-02-03"}
STAGES = pd.DataFrame(
    [
        (client, stage, f"{day} 12:00", f"{day} 12:00", "seen", False, "csm")
        for client in "abcd"
        for stage, day in (
            ("onboarding", "2025-01-02"),
            ("active", ACTIVE[client]),
        )
    ],
    columns=["client_id", "stage", "effective_at", "recorded_at", "reason", "automated", "actor"],
)


@pytest.fixture(scope="module")
def portfolio():
    return tiny_portfolio(
        EVENTS,
        CUSTOMERS,
        {"lifecycle": {"min_spells": 3}},
        stage_changes=STAGES,
        contracts=CONTRACTS,
        milestones=MILESTONES,
        milestone_progress=DONE,
    )


def test_health_of_a_managers_customers_has_their_scores_of_the_whole_portfolio(portfolio):
    whole, eves = (hs.portfolio_health(portfolio, only=only) for only in (None, "csm_id == 'eve'"))
    scores = whole.frame("customers").set_index("client_id")["score"]
    shown = eves.frame("customers").set_index("client_id")["score"]
    assert sorted(shown.index) == ["a", "b"] and whole.total_customers == 3
    assert shown.to_dict() == scores[shown.index].to_dict()
    assert eves.warnings[0] == "only the customers with csm_id == 'eve'"
    assert eves.warnings[1].startswith("past scores of 2 customers")
    assert whole.uncontracted.client_ids == ["c"] and eves.uncontracted.customers == 0
    weekly = eves.frame("bands").groupby("date")["customers"].sum()
    assert set(weekly) == {2}


def test_usage_counts_the_users_of_the_chosen_customers(portfolio):
    eves = hs.portfolio_usage(portfolio, only="csm_id == 'eve'")
    assert eves.total_customers == 2 and eves.monthly_active_users == 3
    assert hs.portfolio_usage(portfolio, only="csm_id == 'max'").monthly_active_users == 1


def test_time_in_stage_by_plan_counts_churned_customers_too(portfolio):
    """Of a, c and d on plan pro: onboarding of d, who churned later, took 32 days, those of the others 31 and 33."""
    pro = hs.portfolio_lifecycle(portfolio, only="plan == 'pro'")
    assert pro.total_customers == 2 and pro.excluded["churned"] == 1
    curve = pro.frame("curves").query("stage == 'onboarding'").set_index("days")["share"]
    assert curve.round(3).to_dict() == {0: 1.0, 31: 0.667, 32: 0.333, 33: 0.0}
    moves = pro.frame("matrix").set_index(["source", "target"])
    assert moves.loc[("onboarding", "active"), "n"] == 3


def test_milestones_and_tiers_add_up_those_of_the_chosen_customers(portfolio):
    eves = hs.portfolio_milestones(portfolio, only="csm_id == 'eve'")
    kick = eves.frame("funnel").set_index("milestone_id").loc["kick"]
    assert (eves.total_customers, kick["customers"], kick["completed"]) == (2, 2, 1)
    assert set(eves.frame("late")["client_id"]) == {"a", "b"}
    tiers = hs.portfolio_tiers(portfolio, arr_thresholds=[50], only="csm_id == 'eve'")
    assert [(tier.customer_count, tier.total_arr) for tier in tiers.value_tiers] == [
        (1, 900.0),
        (1, 40.0),
    ]
    assert tiers.total_arr == 940.0 and tiers.excluded["churned"] == 0
    by_rank = hs.portfolio_tiers(
        portfolio,
        arr_thresholds=[50],
        segmentation_model="strategic_value",
        only="csm_id == 'max'",
    )
    assert by_rank.total_customers == 1


def test_segments_of_chosen_customers_can_be_looked_up(portfolio):
    rules = {"rules": [{"name": "Two users", "when": "monthly_active_users > 1"}]}
    segments = hs.portfolio_segments(
        portfolio,
        segmentation_criteria=rules,
        segment_type="custom",
        min_segment_size=1,
        only="csm_id == 'eve'",
    )
    clients_of = {segment.segment_name: segment.client_ids for segment in segments.segments}
    assert clients_of["Two users"] == ["a"]
    assert sorted(client for clients in clients_of.values() for client in clients) == ["a", "b"]
    named = next(part for part in segments.segments if part.segment_name == "Two users")
    patterns = hs.analyze_engagement_patterns(
        portfolio, "segment", segment_id=named.segment_id, analysis_period_days=14
    )
    assert patterns.customers_analyzed == 1 and patterns.analysis_scope.segment_name == "Two users"


def test_adoption_and_patterns_of_chosen_customers(portfolio):
    adoption = hs.portfolio_adoption(portfolio, only="csm_id == 'eve'")
    assert adoption.total_customers == 2
    assert set(adoption.frame("customers")["client_id"]) == {"a", "b"}
    whole = hs.portfolio_adoption(portfolio)
    assert adoption.frame("curves").equals(whole.frame("curves"))
    patterns = hs.portfolio_patterns(portfolio, analysis_period_days=14, only="csm_id == 'eve'")
    assert patterns.customers_analyzed == 2
    assert "the customers with csm_id == 'eve'" in str(patterns)


TAKES_ONLY = [
    hs.portfolio_health,
    hs.portfolio_usage,
    hs.portfolio_lifecycle,
    hs.portfolio_adoption,
    hs.portfolio_milestones,
    hs.portfolio_tiers,
    hs.portfolio_patterns,
]


@pytest.mark.parametrize("tool", TAKES_ONLY)
@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("csm == 'eve'", "did you mean csm_id"),
        ("csm_id == 'eva'", "no customer with csm_id == 'eva'"),
        ("monthly_active_users > 1", "not a known figure"),
        ("csm_id ==", "cannot be parsed"),
    ],
)
def test_a_condition_that_nobody_meets_or_that_is_none_is_refused(portfolio, tool, only, said):
    with pytest.raises(InvalidParameters, match=said) as refused:
        tool(portfolio, only=only)
    assert refused.value.details["parameter"] == "only"


@pytest.mark.parametrize("tool", TOOLS)
def test_papermill_reads_every_parameter_of_a_portfolios_notebook(tool):
    declared = papermill.inspect_notebook(str(notebook(tool, None)))
    assert {"portfolio", *TOOLS[tool].portfolio_parameters.model_fields} == set(declared)


def test_a_customers_report_refuses_what_only_the_portfolios_takes():
    only = {"only": "plan == 'pro'"}
    check_report_parameters("calculate_health_score", {"client_id": "a", **only}, overview=True)
    with pytest.raises(InvalidParameters, match="unknown parameter 'only'"):
        check_report_parameters("calculate_health_score", {"client_id": "a", **only})
    with pytest.raises(InvalidParameters, match="only"):
        check_report_parameters("calculate_health_score", {"only": 5}, overview=True)
