"""Settings of a scorecard merge deeply; own components, bands, logarithms, conditions, and values that are missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from healthseg.errors import InvalidParameters
from healthseg.scoring import explain_change, score_panel
from healthseg.scoring.components import points_at
from healthseg.settings import (
    COMPONENTS,
    DEFAULT_SCORECARD,
    Component,
    Scorecard,
    ScorecardMetric,
    Settings,
    settings,
)


def card(components, **rest):
    return settings({"scorecard": {"components": components, **rest}})


def test_one_weight_is_one_line_and_the_others_stay():
    changed = card({"usage": {"weight": 0.5}}).scorecard.components
    usual = DEFAULT_SCORECARD.components
    assert changed["usage"].weight == 0.5 and changed["usage"].metrics == usual["usage"].metrics
    assert {name: changed[name] for name in COMPONENTS[1:]} == {
        name: usual[name] for name in COMPONENTS[1:]
    }


def test_metrics_merge_by_name_and_false_leaves_one_out():
    metrics = {
        "seat_utilisation": {"weight": 0.9},
        "usage_vs_own_baseline": False,
        "active_days_28d": {"weight": 0.1, "anchors": [[0, 0], [20, 100]]},
    }
    usage = card({"usage": {"metrics": metrics}, "payment": False}).scorecard.components
    assert "payment" not in usage
    assert [(each.metric, each.weight) for each in usage["usage"].metrics] == [
        ("seat_utilisation", 0.9),
        ("feature_adoption_rate_30d", 0.2),
        ("active_days_28d", 0.1),
    ]
    assert (
        usage["usage"].metrics[0].anchors
        == DEFAULT_SCORECARD.components["usage"].metrics[0].anchors
    )


def test_a_card_of_these_alone_has_no_others_and_settings_survive_their_json():
    part = {
        "weight": 1,
        "metrics": [{"metric": "seats", "weight": 1, "anchors": [[0, 0], [9, 100]]}],
    }
    alone = card({"usage": part}, only_these=True)
    assert list(alone.scorecard.components) == ["usage"]
    assert settings(alone.model_dump(mode="json")) == alone


def test_a_variant_changes_what_it_names():
    config = settings(
        {
            "scorecard": {"components": {"support": {"weight": 0.4}}},
            "scorecard_variants": [{"plan": ["free"], "components": {"payment": {"weight": 0}}}],
        }
    )
    variant = config.scorecard_variants[0].components
    assert variant["payment"].weight == 0 and variant["support"].weight == 0.4


METRIC = {"weight": 1, "metrics": [{"metric": "seats", "weight": 1, "anchors": [[0, 0], [9, 100]]}]}


@pytest.mark.parametrize(
    ("components", "problem"),
    [
        ({"usage": {"weight": -1}}, "greater than or equal to 0"),
        ({name: {"weight": 0} for name in COMPONENTS}, "above 0"),
        ({"my value": METRIC}, "letters, digits"),
        ({"value": {"weight": 1}}, "at least 1 item"),
        ({"usage": {"wieght": 1}}, "wieght"),
    ],
)
def test_what_cannot_be_is_refused_in_words(components, problem):
    with pytest.raises(InvalidParameters, match=problem):
        card(components)


def test_an_own_component_weighs_beside_the_five(panel):
    value = {
        "weight": 1,
        "metrics": [{"metric": "seats", "weight": 1, "anchors": [[0, 0], [10, 100]]}],
    }
    config = card({"value": value})
    frame = panel({"client_id": "a", "seats": 5})
    plain = score_panel(frame, Settings()).frame["score"].iloc[0]
    scores = score_panel(frame, config)
    assert scores.frame["value_score"].tolist() == [50]
    assert scores.frame["score"].iloc[0] == pytest.approx((plain + 50) / 2)
    assert config.component_names == (*COMPONENTS, "value")


# -- how a value becomes points --------------------------------------------------------------


def test_bands_are_steps_and_a_value_below_the_first_has_its_points():
    metric = ScorecardMetric(metric="seats", weight=1, bands=[[0, 10], [5, 60], [9, 100]])
    values = np.array([-3, 0, 4.999, 5, 8.9, 9, 50])
    assert points_at(values, metric).tolist() == [10, 10, 10, 60, 60, 100, 100]


def test_with_a_logarithm_each_doubling_earns_the_same():
    metric = ScorecardMetric(metric="seats", weight=1, logarithm=True, anchors=[[1, 0], [16, 100]])
    assert points_at(np.array([0, 1, 2, 4, 16, 99]), metric).tolist() == [0, 0, 25, 50, 100, 100]
    with pytest.raises(ValueError, match="above 0"):
        ScorecardMetric(metric="seats", weight=1, logarithm=True, anchors=[[0, 0], [16, 100]])


# -- values that are missing -----------------------------------------------------------------


def satisfaction(policy: str) -> Settings:
    part = DEFAULT_SCORECARD.components["satisfaction"]
    nps, csat = part.metrics
    metrics = (nps.model_copy(update={"missing": policy}), csat)
    components = {"satisfaction": Component(weight=part.weight, metrics=metrics)}
    return Settings(scorecard=Scorecard(components={**DEFAULT_SCORECARD.components, **components}))


@pytest.mark.parametrize(("policy", "expected"), [("skip", 40), ("neutral", 46), ("worst", 16)])
def test_a_missing_value_is_left_out_or_neutral_or_the_worst(panel, policy, expected):
    frame = panel({"client_id": "a", "nps_365d": math.nan, "csat_180d": 3})
    scores = score_panel(frame, satisfaction(policy))
    assert scores.frame["satisfaction_score"].tolist() == [expected]
    plain = score_panel(frame, Settings()).frame.iloc[0]
    assert scores.frame["coverage"].iloc[0] == plain["coverage"] < 1
    assert scores.frame["lowest"].iloc[0] == plain["lowest"]


def test_the_change_adds_up_where_a_missing_value_counts_as_the_worst(panel):
    config = satisfaction("worst")
    then = panel({"client_id": "a", "nps_365d": 50, "csat_180d": 3}).iloc[0]
    now = panel({"client_id": "a", "nps_365d": math.nan, "csat_180d": 3}).iloc[0]
    change = explain_change(then, now, config, config)
    assert sum(part.points for part in change.parts) == change.shown < 0


# -- scorecards by any condition -------------------------------------------------------------


def test_a_variant_applies_where_its_condition_holds(panel):
    lean = {"payment": False, "support": False}
    when = "tenure_days < 180 and industry == 'retail'"
    config = settings({"scorecard_variants": [{"when": when, "components": lean}]})
    rows = [("a", 100, "retail"), ("b", 100, "media"), ("c", 900, "retail"), ("d", 100, None)]
    frame = panel(*({"client_id": client, "tenure_days": days} for client, days, _ in rows))
    frame = frame.assign(industry=[industry for *_, industry in rows])
    scores = score_panel(frame, config).frame
    assert scores["payment_score"].isna().tolist() == [True, False, False, False]


def test_a_condition_that_cannot_be_is_refused_with_the_nearest_name(panel):
    with pytest.raises(InvalidParameters, match="cannot be parsed"):
        settings({"scorecard_variants": [{"when": "tenure_days <", "components": {}}]})
    config = settings({"scorecard_variants": [{"when": "tenure_day < 3", "components": {}}]})
    with pytest.raises(InvalidParameters, match="tenure_days"):
        score_panel(panel({"client_id": "a"}), config)
