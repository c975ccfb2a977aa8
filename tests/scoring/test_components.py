from __future__ import annotations

import numpy as np
import pytest

from healthseg.errors import InvalidParameters
from healthseg.scoring import custom_weights, model_weights, score_panel
from healthseg.scoring.components import points_at, weighted_metrics
from healthseg.settings import DEFAULT_SCORECARD, Settings, settings

METRICS = {
    metric.metric: metric
    for part in DEFAULT_SCORECARD.components.values()
    for metric in part.metrics
}


def points_of(frame, metric, config=None):
    long = score_panel(frame, config or Settings()).points()
    row = long[long["metric"] == metric].iloc[0]
    return None if row["missing"] else row["points"], row["missing_reason"]


@pytest.mark.parametrize(
    ("metric", "value", "points"),
    [
        ("seat_utilisation", 0.25, 30.0),  # half way from 0 to .5: half of 60
        ("seat_utilisation", 0.65, 80.0),  # half way from .5 to .8: half way from 60 to 100
        ("seat_utilisation", 1.4, 100.0),  # clamped
        ("usage_vs_own_baseline", 0.9, 65.0),  # half way from .8 to 1: half way from 50 to 80
        ("days_since_last_person_event", 22.0, 20.0),  # half way from 14 to 30: half of 40
        ("days_since_last_person_event", 90.0, 0.0),
        ("open_high_tickets", 2.0, 25.0),
        ("nps_365d", -200.0, 0.0),
        ("csat_180d", 3.5, 57.5),
        ("worst_days_overdue", 15.0, 75.0),
    ],
)
def test_points_are_linear_between_anchors_and_clamped_beyond(metric, value, points):
    assert points_at(np.array([value]), METRICS[metric])[0] == pytest.approx(points, abs=1e-9)


def test_the_silence_of_an_active_customer_is_good_and_its_resolution_time_unmeasured(panel):
    silent = panel(
        {
            "tickets_90d": 0,
            "open_tickets": 0,
            "monthly_active_users": 1,
            "median_resolution_hours_90d": 100,
        }
    )
    assert points_of(silent, "open_high_tickets") == (100.0, None)
    assert points_of(silent, "tickets_per_10_mau_90d") == (100.0, None)
    assert points_of(silent, "median_resolution_hours_90d") == (None, "silence")
    assert score_panel(silent, Settings()).frame["support_score"].item() == 100.0


@pytest.mark.parametrize("users", [0.0, np.nan])
def test_the_silence_of_an_inactive_customer_is_unmeasured(panel, users):
    silent = panel({"tickets_90d": 0, "open_tickets": 0, "monthly_active_users": users})
    assert points_of(silent, "open_high_tickets") == (None, "silence")
    assert np.isnan(score_panel(silent, Settings()).frame["support_score"].item())


def test_an_old_ticket_that_is_still_open_is_no_silence(panel):
    waiting = panel(
        {"tickets_90d": 0, "open_tickets": 1, "open_high_tickets": 1, "monthly_active_users": 0}
    )
    assert points_of(waiting, "open_high_tickets") == (50.0, None)


def test_without_a_tickets_table_support_is_missing_not_silent(panel):
    nothing = dict.fromkeys(
        [
            "tickets_90d",
            "open_tickets",
            "open_high_tickets",
            "tickets_per_10_mau_90d",
            "median_resolution_hours_90d",
        ],
        np.nan,
    )
    frame = panel(nothing)
    assert points_of(frame, "open_high_tickets") == (None, "unmeasured")
    assert np.isnan(score_panel(frame, Settings()).frame["support_score"].item())


def test_a_new_customer_is_held_to_what_its_tenure_can_show(panel):
    new = panel({"tenure_days": 45, "seat_utilisation": 0.25, "usage_vs_own_baseline": 1.0})
    # 45 of 90 days: the anchors .5 → 60 and .8 → 100 stand at .25 and .4
    assert points_of(new, "seat_utilisation") == (60.0, None)
    assert points_of(new, "usage_vs_own_baseline") == (None, "ramp")
    assert points_of(new, "stickiness_30d")[0] == 100.0
    scores = score_panel(new, Settings())
    assert scores.frame["ramping"].item()
    seats = scores.points().iloc[0]
    assert seats["anchors"] == ((0.0, 0.0), (0.25, 60.0), (0.4, 100.0))
    assert seats["target"] == pytest.approx(0.4)


def test_the_ramp_ends_at_its_day(panel):
    frame = score_panel(
        panel({"tenure_days": 89}, {"client_id": "b", "tenure_days": 90}), Settings()
    ).frame
    assert frame["ramping"].tolist() == [True, False]


def test_on_the_day_of_signup_nothing_is_expected_so_nothing_is_judged(panel):
    first = panel({"tenure_days": 0, "seat_utilisation": 0.0})
    assert points_of(first, "seat_utilisation") == (None, "ramp")
    assert points_of(first, "feature_adoption_rate_30d") == (None, "ramp")


def test_an_infinite_metric_is_a_missing_one(panel):
    assert points_of(panel({"tickets_per_10_mau_90d": np.inf}), "tickets_per_10_mau_90d") == (
        None,
        "unmeasured",
    )


def test_the_configured_weights_sum_to_one():
    assert sum(rule.weight for rule in weighted_metrics(DEFAULT_SCORECARD)) == pytest.approx(1)


def test_a_teams_own_component_can_be_weighed_too():
    names = ("usage", "growth")
    assert custom_weights({"usage_weight": 1, "growth_weight": 3}, names) == {
        "usage_weight": 0.25,
        "growth_weight": 0.75,
    }
    with pytest.raises(InvalidParameters, match="did you mean growth_weight"):
        custom_weights({"grwoth_weight": 1}, names)


def test_custom_weights_are_normalised_and_what_is_left_out_weighs_nothing():
    assert custom_weights({"usage_weight": 2, "support_weight": 6}) == {
        "usage_weight": 0.25,
        "engagement_weight": 0.0,
        "support_weight": 0.75,
        "satisfaction_weight": 0.0,
        "payment_weight": 0.0,
    }


@pytest.mark.parametrize(
    "weights",
    [
        {"usage_wieght": 1},
        {"usage": 1},
        {3: 1},
        {"usage_weight": -1},
        {"usage_weight": 0},
        {},
        {"usage_weight": True},
        {"usage_weight": float("nan")},
        {"usage_weight": float("inf")},
        {"usage_weight": "1"},
        {"usage_weight": None},
        {"usage_weight": 10**400},
        [("usage_weight", 1)],
        "usage_weight",
    ],
)
def test_bad_weights_are_refused_with_the_rule(weights):
    with pytest.raises(InvalidParameters) as problem:
        custom_weights(weights)
    assert problem.value.details["validation_rule"]
    assert problem.value.details["parameter"].startswith("component_weights")


def test_a_misspelt_weight_gets_the_near_match():
    with pytest.raises(InvalidParameters, match="did you mean usage_weight"):
        custom_weights({"usage_wieght": 1})


def test_huge_weights_do_not_overflow():
    assert (
        custom_weights({"usage_weight": 1.7e308, "support_weight": 1.7e308})["usage_weight"] == 0.5
    )


def test_weights_belong_to_the_custom_model_alone():
    with pytest.raises(InvalidParameters, match="only with scoring_model custom"):
        model_weights("weighted_composite", {"usage_weight": 1})
    with pytest.raises(InvalidParameters, match="only with scoring_model custom"):
        model_weights("weighted_composite", {})
    assert model_weights("weighted_composite", None) is None
    assert model_weights("custom", None) is None
    assert model_weights("custom", {"usage_weight": 1})["usage_weight"] == 1.0


def test_a_model_that_there_is_not_is_refused_with_the_nearest():
    assert model_weights("ml_predictive", None) is None
    with pytest.raises(InvalidParameters, match="did you mean weighted_composite"):
        model_weights("weighted_composit", None)


def test_a_component_that_lists_a_metric_twice_is_refused():
    card = DEFAULT_SCORECARD.model_dump()
    card["components"]["usage"]["metrics"] = card["components"]["usage"]["metrics"][:1] * 2
    with pytest.raises(InvalidParameters, match="lists each metric once"):
        settings({"scorecard": card})
