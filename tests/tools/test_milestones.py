"""track_adoption_milestones, counted by hand: every key, every parameter, what is missing and why."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import ClientNotFound, InvalidClientId, InvalidParameters
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_milestones
from healthseg.tools.milestones.milestone_day import MilestoneDay

PLAN = pd.DataFrame(
    [
        ("admin", "Admin account setup", "onboarding", 1, True, None, None, None),
        ("import", "Data imported", "onboarding", 20, True, "admin", None, None),
        (
            "team",
            "Team in search",
            "adoption",
            30,
            True,
            None,
            '{"feature": "search", "users": 4}',
            None,
        ),
        ("api", "API integration active", "adoption", 45, True, "import", None, None),
        ("extra", "Second product", "expansion", 90, False, "api", None, None),
    ],
    columns=[
        "milestone_id",
        "name",
        "category",
        "target_days",
        "required",
        "depends_on",
        "completes_when",
        "marks",
    ],
)
DONE = pd.DataFrame(
    [
        ("a", "admin", "2025-04-01", "2025-04-01 12:00:00", None, None, None, "ann"),
        ("a", "import", "2025-04-03", "2025-04-21 00:00:00", None, None, None, "ann"),
        ("a", "api", "2025-04-22", None, "legal review", "2025-05-01", None, "bob"),
        ("b", "admin", "2025-04-01", "2025-04-05", None, None, None, None),
        ("b", "extra", None, None, None, None, "2025-04-30", None),
    ],
    columns=[
        "client_id",
        "milestone_id",
        "started_at",
        "completed_at",
        "blocker",
        "blocked_since",
        "skipped_at",
        "owner",
    ],
)
WHO = pd.DataFrame(
    {
        "client_id": ["a", "b", "old"],
        "name": ["Acme", "Beta", "Old"],
        "signup_date": ["2025-04-01", "2025-04-01", "2024-01-01"],
        "churned_on": [None, "2025-05-11", None],
    }
)
STATUSES = ("completed", "in_progress", "overdue", "not_started", "skipped")


def used():
    weekly = pd.date_range("2025-03-01", "2025-05-31", freq="7D").strftime("%Y-%m-%d 09:00:00")
    return [
        *(("old", at, "o1", "plan") for at in weekly),
        *(("a", at, "a1", "search") for at in weekly[5:]),
        ("a", "2025-04-10 09:00:00", "a2", "search"),
        ("a", "2025-05-20 09:00:00", "a3", "search"),
    ]


@pytest.fixture(scope="module")
def portfolio():
    return tiny_portfolio(
        used(), WHO, {"data_until": "2025-05-31"}, milestones=PLAN, milestone_progress=DONE
    )


@pytest.fixture(scope="module")
def response(portfolio):
    return hs.track_adoption_milestones(portfolio, "a")


def milestone(response, name):
    return next(part for part in response.milestone_details if part.milestone_id == name)


def test_the_five_statuses_partition_the_total(portfolio):
    for client in ("a", "b"):
        done = hs.track_adoption_milestones(portfolio, client).overall_progress
        assert (
            sum(getattr(done, f"{name}_milestones") for name in STATUSES)
            == done.total_milestones
            == 5
        )
    assert done.completion_rate == 0.25 and done.skipped_milestones == 1 and done.on_track is False


def test_a_milestone_done_half_a_day_early_is_ahead_by_it(response):
    """The reference's own example: a target of one day, done after half a day."""
    admin = milestone(response, "admin")
    assert (admin.actual_completion_days, admin.ahead_behind, admin.days_ahead) == (
        0.5,
        "ahead",
        0.5,
    )
    assert admin.completion_date == "2025-04-01T12:00:00Z" and admin.status == "completed"


def test_a_milestone_completed_on_its_due_day_is_on_time(response):
    imported = milestone(response, "import")
    assert (imported.target_date, imported.actual_completion_days) == (dt.date(2025, 4, 21), 20.0)
    assert (imported.ahead_behind, imported.days_ahead) == ("on_time", 0.0)


def test_an_overdue_milestone_has_no_completion_and_says_by_how_much(response):
    api = milestone(response, "api")
    assert (api.status, api.actual_completion_days, api.completion_date) == ("overdue", None, None)
    assert (api.days_overdue, api.days_remaining, api.elapsed_days) == (15.0, None, 60.0)
    assert api.expected_completion_date == dt.date(2025, 5, 16) and api.blocker == "legal review"


def test_progress_is_users_reached_of_users_required_and_only_where_use_completes_it(response):
    team = milestone(response, "team")
    assert (team.status, team.users_reached, team.users_asked, team.progress_percentage) == (
        "overdue",
        3,
        4,
        0.75,
    )
    assert milestone(response, "api").progress_percentage is None
    assert "$.milestone_details[*].progress_percentage" in response.not_measured


def test_a_waiting_milestone_names_what_it_waits_for(response):
    extra = milestone(response, "extra")
    assert extra.status == "not_started" and extra.waits_for == ["API integration active"]
    assert extra.days_remaining == 30.0


def test_a_blocker_has_its_age_owner_severity_and_what_it_delays(response):
    (blocker,) = response.blockers
    assert (blocker.milestone_id, blocker.age_days, blocker.owner) == ("api", 30, "bob")
    assert (blocker.severity, blocker.holds_up) == ("high", ["Second product"])
    assert blocker.recommended_action and blocker.rules


def test_the_severity_follows_from_necessity_and_dependants():
    optional = PLAN.assign(required=[True, True, True, False, False])
    alone = PLAN.assign(depends_on=[None, "admin", None, "import", None])
    for plan, severity in ((optional, "low"), (alone, "medium")):
        portfolio = tiny_portfolio(
            used(), WHO, {"data_until": "2025-05-31"}, milestones=plan, milestone_progress=DONE
        )
        assert [
            part.severity for part in hs.track_adoption_milestones(portfolio, "a").blockers
        ] == [severity]


def test_times_to_value_are_days_from_the_beginning_against_their_targets(response):
    value = response.time_to_value
    assert (value.first_value_days, value.activation_days, value.full_adoption_days) == (
        None,
        20.0,
        None,
    )
    assert value.vs_target.model_dump() == {
        "first_value": "overdue",
        "activation": "on_target",
        "full_adoption": "overdue",
    }
    assert response.not_measured["$.time_to_value.first_value_days"] == "not reached yet"


def test_categories_filter_everything(portfolio):
    result = hs.track_adoption_milestones(portfolio, "a", "adoption")
    assert {part.milestone_category for part in result.milestone_details} == {"adoption"}
    assert result.overall_progress.total_milestones == 2 and list(result.category_progress) == [
        "adoption"
    ]
    assert [
        part.milestone_id
        for part in hs.track_adoption_milestones(portfolio, "a", "onboarding").blockers
    ] == []


def test_the_mean_days_of_a_category_come_with_their_number(response):
    onboarding = response.category_progress["onboarding"]
    assert (onboarding.avg_days_to_complete, onboarding.n, onboarding.completion_rate) == (
        10.2,
        2,
        1.0,
    )
    assert response.category_progress["expansion"].avg_days_to_complete is None


def test_without_overdue_milestones_details_and_blockers_lack_them_and_counts_stay(
    portfolio, response
):
    result = hs.track_adoption_milestones(portfolio, "a", include_overdue=False)
    assert [part.milestone_id for part in result.milestone_details] == ["admin", "import", "extra"]
    assert result.blockers == [] and result.overall_progress == response.overall_progress


def test_without_recommendations_there_is_null_and_the_reason(portfolio):
    result = hs.track_adoption_milestones(portfolio, "a", include_recommendations=False)
    assert (
        result.recommendations is None
        and result.not_measured["$.recommendations"] == "not requested"
    )


def test_recommendations_name_their_rules_and_the_overdue_come_first(response):
    names = [part.milestone_id for part in response.recommendations]
    assert names == ["team", "api", "extra"]
    assert all(part.recommended_actions and part.rules for part in response.recommendations)
    assert "1 more user" in response.recommendations[0].recommended_actions[0]
    assert response.recommendations[1].estimated_acceleration is None
    assert "$.recommendations[*].estimated_acceleration" in response.not_measured


def test_a_likelihood_needs_thirty_past_customers(response):
    success = response.success_probability
    assert success.overall_success_likelihood is None and success.by_date == dt.date(
        2025, 6, 15
    )  # 45 + 30 days
    assert (
        "it needs 30 and 10"
        in response.not_measured["$.success_probability.overall_success_likelihood"]
    )
    assert any("overdue required" in text for text in success.risk_factors)


def test_a_churned_customer_is_shown_as_of_its_last_day(portfolio):
    result = hs.track_adoption_milestones(portfolio, "b")
    assert "churned on 2025-05-11: shown as of 2025-05-10" in result.warnings
    assert (
        milestone(result, "api").status == "not_started"
        and milestone(result, "extra").status == "skipped"
    )
    assert result.recommendations == [] and milestone(result, "api").forecast_completion is None


def test_an_earlier_date_knows_nothing_of_what_came_after(portfolio):
    early = hs.track_adoption_milestones(portfolio, "a", as_of="2025-04-20")
    assert [milestone(early, name).status for name in ("admin", "import", "team", "api")] == [
        "completed",
        "in_progress",
        "in_progress",
        "not_started",
    ]
    assert early.blockers == [] and milestone(early, "team").users_reached == 2
    assert milestone(early, "import").owner is None  # owners are known as of today
    assert "$.milestone_details[*].owner" in early.not_measured


def test_a_portfolio_without_milestones_says_so_everywhere():
    plain = tiny_portfolio(used(), WHO, {"data_until": "2025-05-31"})
    result = hs.track_adoption_milestones(plain, "a")
    assert (
        result.milestone_details is None
        and result.blockers is None
        and result.overall_progress.on_track is None
    )
    assert result.not_measured["$.milestone_details"] == "the portfolio has no milestones table"
    overall = portfolio_milestones(plain)
    assert (
        overall.funnel == []
        and overall.tracked_customers == 0
        and "No milestones are recorded" in overall.verdict()
    )
    json.dumps([result.to_dict(), overall.to_dict()], allow_nan=False)


def test_a_customer_from_before_anything_was_entered_is_not_called_late(portfolio):
    result = hs.track_adoption_milestones(portfolio, "old")
    assert [part.milestone_id for part in result.milestone_details] == ["team"]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"client_id": "a b"}, InvalidClientId, "not valid"),
        ({"client_id": "acme"}, ClientNotFound, "acme"),
        ({"client_id": "a", "milestone_category": "adoptoin"}, InvalidParameters, "adoption"),
        ({"client_id": "a", "include_overdue": "yes"}, InvalidParameters, "boolean"),
        ({"client_id": "a", "include_recommendations": 1}, InvalidParameters, "boolean"),
        ({"client_id": "a", "as_of": "2025-13-01"}, InvalidParameters, "YYYY-MM-DD"),
        ({"client_id": "a", "as_of": "2026-01-01"}, InvalidParameters, "after the data"),
        ({"client_id": "a", "as_of": "2025-03-10"}, ClientNotFound, "2025-04-01"),
    ],
)
def test_an_invalid_parameter_is_refused_with_the_way_out(portfolio, parameters, error, message):
    with pytest.raises(error, match=message) as caught:
        hs.track_adoption_milestones(portfolio, **parameters)
    assert caught.value.to_dict()["status"] == "error"


def test_a_client_id_is_needed(portfolio):
    with pytest.raises(InvalidParameters, match="client_id"):
        hs.track_adoption_milestones(portfolio, None)


# -- what past customers saved ---------------------------------------------------------------


def blocked_portfolio(saves):
    """Sixty customers that were blocked by the same for 10 to 60 days and done soon after, and one still blocked."""
    rng, rows = np.random.default_rng(1), []
    for number in range(60):
        start, stood = dt.date(2025, 1, 2), int(rng.integers(10, 61))
        after = 2 if saves else 60 + int(rng.integers(0, 40))
        rows.append(
            (
                f"c{number:02d}",
                start,
                "legal review",
                start,
                start + dt.timedelta(days=stood),
                start + dt.timedelta(days=stood + after),
            )
        )
    rows.append(("now", dt.date(2025, 5, 20), "legal review", dt.date(2025, 5, 20), None, None))
    done = pd.DataFrame(
        rows,
        columns=[
            "client_id",
            "started_at",
            "blocker",
            "blocked_since",
            "blocker_cleared_at",
            "completed_at",
        ],
    ).assign(milestone_id="api")
    who = pd.DataFrame({"client_id": done["client_id"], "signup_date": "2025-01-01"})
    who.loc[60, "signup_date"] = "2025-05-01"
    days = pd.date_range("2025-01-01", "2025-05-31", freq="7D").strftime("%Y-%m-%d 09:00:00")
    return tiny_portfolio(
        [("c00", at, "u") for at in days],
        who,
        {"data_until": "2025-05-31"},
        milestones=PLAN[PLAN["milestone_id"] == "api"].assign(depends_on=None),
        milestone_progress=done,
    )


def test_acceleration_is_what_those_who_got_past_the_same_blocker_saved():
    result = hs.track_adoption_milestones(blocked_portfolio(saves=True), "now")
    detail = result.recommendations[0].estimated_acceleration_detail
    # after 11 days blocked the median of what remains is about 25 + 2 days; once past it, 2 days
    assert (
        detail.n == 60 and detail.lower_days > 10 and detail.lower_days < 25 < detail.upper_days + 5
    )
    assert result.recommendations[0].estimated_acceleration.startswith(
        f"{detail.lower_days:.0f} to "
    )


def test_there_is_no_acceleration_where_getting_past_it_saved_nothing():
    result = hs.track_adoption_milestones(blocked_portfolio(saves=False), "now")
    detail = result.recommendations[0].estimated_acceleration_detail
    assert detail is None or detail.lower_days > 0
    assert (
        hs.track_adoption_milestones(
            blocked_portfolio(saves=True), "now", as_of="2025-05-19"
        ).blockers
        == []
    )


def test_a_forecast_is_derived_from_milestones_open_as_long_and_has_its_n():
    api = milestone(hs.track_adoption_milestones(blocked_portfolio(saves=True), "now"), "api")
    coming = api.forecast_completion
    assert coming.among == "with the same blocker as long" and 50 <= coming.n <= 60
    assert (
        dt.date(2025, 6, 1) <= coming.lower <= coming.median <= coming.upper <= dt.date(2025, 7, 25)
    )
    assert coming.interval_level == 0.90


# -- the likelihood of success -------------------------------------------------------------------


def onboarding_portfolio(watched_from="2025-01-01"):
    """Customers that begin three a week from May 2024 on and need two milestones within 75 days: a third is slow with
    the first, and then mostly fails; events and churn are tracked from ``watched_from`` on."""
    rng, who, done = np.random.default_rng(5), [], []
    for number in range(150):
        began = dt.date(2024, 5, 6) + dt.timedelta(days=7 * (number // 3))
        slow = rng.random() < 0.35
        first = int(rng.integers(25, 50)) if slow else int(rng.integers(2, 15))
        second = first + int(rng.integers(30, 120)) if slow else first + int(rng.integers(5, 30))
        leaves = began + dt.timedelta(days=45) if slow and rng.random() < 0.4 else None
        who.append(
            (
                f"c{number:03d}",
                began,
                leaves if leaves is None or str(leaves) >= watched_from else None,
            )
        )
        if leaves is not None and str(leaves) < watched_from:
            who.pop()  # churned before tracking began: not in the portfolio
            continue
        ends = [began + dt.timedelta(days=days) for days in (first, second)]
        done += [
            (f"c{number:03d}", name, end)
            for name, end in zip(("one", "two"), ends, strict=True)
            if leaves is None or end < leaves
        ]
    plan = pd.DataFrame(
        {
            "milestone_id": ["one", "two"],
            "name": ["One", "Two"],
            "category": ["onboarding", "adoption"],
            "target_days": [20, 45],
        }
    )
    days = pd.date_range(watched_from, "2025-05-31", freq="7D").strftime("%Y-%m-%d 09:00:00")
    customers = pd.DataFrame(who, columns=["client_id", "signup_date", "churned_on"])
    progress = pd.DataFrame(done, columns=["client_id", "milestone_id", "completed_at"])
    return tiny_portfolio(
        [("c100", at, "u") for at in days],
        customers,
        {"data_until": "2025-05-31"},
        milestones=plan,
        milestone_progress=progress,
    )


@pytest.mark.slow
def test_the_likelihood_follows_from_the_progress_of_past_customers():
    portfolio = onboarding_portfolio()
    date = "2025-04-20"
    responses = {}
    for client in portfolio.table("customers")["client_id"].tolist()[-60:]:
        if str(portfolio.client(client)["signup_date"]) <= date:
            responses[client] = hs.track_adoption_milestones(
                portfolio, client, as_of=date
            ).success_probability
    modelled = [success for success in responses.values() if success.basis == "model"]
    assert len(modelled) >= 10 and all(
        success.lower <= success.overall_success_likelihood <= success.upper for success in modelled
    )
    first = modelled[0]
    assert first.past_customers >= 30 and first.past_failures >= 10
    assert (
        first.calibration.brier < first.calibration.brier_of_share
        and 0.5 < first.calibration.slope < 2
    )
    late = [
        success.overall_success_likelihood
        for success in modelled
        if "overdue" in " ".join(success.risk_factors)
    ]
    calm = [success.overall_success_likelihood for success in modelled if not success.risk_factors]
    assert late and calm and max(late) < max(calm) and np.mean(late) < np.mean(calm) - 0.2


def test_a_known_outcome_is_observed_and_not_forecast():
    portfolio = onboarding_portfolio()
    known = portfolio.table("customers")
    for client in known.loc[known["churned_on"].isna(), "client_id"].tolist()[40:90:9]:
        success = hs.track_adoption_milestones(portfolio, client).success_probability
        assert success.basis == "observed" and success.succeeded in (False, True)
        assert success.overall_success_likelihood is None
        assert success.lower is None and success.calibration is None


def test_customers_retained_until_tracking_began_are_no_proof_of_success():
    """Of customers that began before tracking, only the retained ones are in the portfolio: what they had completed by
    then does not count."""
    models = [
        MilestoneDay.of(portfolio, portfolio.as_of()).success_model
        for portfolio in (onboarding_portfolio("2024-05-01"), onboarding_portfolio())
    ]
    whole, cut = models
    naive = cut.succeeded[(cut.began + cut.horizon <= cut.began.max()) & cut.known].mean()
    assert cut.past < whole.past and abs(cut.share - whole.share) < 0.08 < naive - whole.share + 0.1
