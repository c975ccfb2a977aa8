"""track_feature_adoption on simulated portfolios: what was planted is found, and nothing where nothing was."""

from __future__ import annotations

import datetime as dt
import inspect
import json

import pandas as pd
import pytest

import healthseg as hs
from healthseg.demo import make_demo
from healthseg.errors import ClientNotFound, InvalidClientId, InvalidParameters
from healthseg.scoring.adoption_effects import OVERALL, adoption_effects
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS, portfolio_adoption, track_feature_adoption
from healthseg.tools.adoption.features import FeatureUsage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(demo):
    return portfolio_adoption(demo)


def simulated(folder, scenario, **options):
    make_demo(folder, scenario=scenario, events="light", **options)
    portfolio = hs.Portfolio.open(folder)
    usage = FeatureUsage.of(portfolio, portfolio.as_of(), 30)
    return adoption_effects(portfolio, usage.as_of, 30, usage.messages_known)


def test_the_planted_days_of_first_use_and_adoption_are_found_to_the_day(demo, truth):
    known = truth("adoptions")
    lives = FeatureUsage.of(demo, demo.as_of(), 30).lives
    rows = known.merge(lives, on=["client_id", "feature"], how="outer", indicator=True)
    assert (rows["_merge"] == "both").all()
    detectable = rows[rows["detectable"].astype(bool)]
    for planted, column in (("adopted_on", "adopted_day"), ("first_event_on", "first_use_day")):
        assert (
            (pd.to_datetime(detectable[planted]) - pd.Timestamp(0)).dt.days == detectable[column]
        ).all()
    assert len(detectable) > 80 and rows.loc[rows["adopted_on"].isna(), "adopted_day"].isna().all()


def test_features_planted_in_order_are_first_used_in_that_order_with_the_planted_gaps(demo, truth):
    lives = FeatureUsage.of(demo, demo.as_of(), 30).lives
    first = lives[lives["watched"]].pivot(
        index="client_id", columns="feature", values="first_use_day"
    )
    planted = truth("sequences").query("detectable")
    assert len(planted)
    for row in planted.itertuples():
        steps = first[json.loads(row.features)].dropna()
        gaps = steps.diff(axis=1).iloc[:, 1:]
        assert (gaps > 0).all(axis=1).mean() > 0.75 and len(steps) >= 10  # by chance one of six
        assert (gaps.median() - json.loads(row.gap_median)).abs().max() <= 10


def test_the_plan_of_time_to_adopt_comes_back_in_order(demo):
    """The generator makes core features wait days, and premium ones months."""
    times = {
        name: summary.time_to_adopt
        for name, summary in track_feature_adoption(demo).feature_adoption_summary.items()
    }
    core, later = times["core_features"].days, times["advanced_features"].days
    assert core is not None and (later is None or later > 2 * core)


def test_in_a_portfolio_without_effects_none_is_spoken_of(tmp_path):
    effects = simulated(tmp_path, "null", seed=8).frame
    assert effects[["q", "odds_q"]].min().min() > 0.01 and effects["p"].notna().sum() >= 10


def test_a_measured_confounder_explains_away_what_large_customers_adopt(tmp_path):
    row = simulated(tmp_path, "confounded", seed=1).of("file_sharing")
    assert row["raw"] > 0 and row["raw_p"] < 0.05
    assert (
        row["adjusted_lower"] <= 0 <= row["adjusted_upper"]
        and row["odds_lower"] <= 1 <= row["odds_upper"]
    )


def test_a_feature_that_keeps_customers_is_found_with_its_odds(tmp_path):
    effects = simulated(tmp_path, "effects", seed=3, clients=500)  # planted: odds × 0.33
    row = effects.of("scheduled_exports")
    assert (
        row["odds_upper"] < 1
        and row["odds_lower"] < 0.33 < row["odds_upper"]
        and row["odds_p"] < 0.05
    )
    assert effects.of(OVERALL[1])["adjusted"] > 0


def test_the_response_has_every_key_of_the_reference(demo, conform, whole):
    for response in (
        track_feature_adoption(demo),
        whole,
        track_feature_adoption(demo, "cs_client_003"),
        track_feature_adoption(demo, "cs_client_003", "core", 90, False, False, "industry"),
    ):
        assert conform("track_feature_adoption", response.to_dict()) == []
        json.dumps(response.to_dict(), allow_nan=False)


def test_what_is_null_has_its_reason(whole):
    for feature in whole.feature_details:
        for key in (
            "average_time_to_first_use_days",
            "customer_satisfaction",
            "correlation_with_retention",
        ):
            assert (
                getattr(feature, key) is not None
                or f"$.feature_details[*].{key}" in whole.not_measured
            )
    assert (
        whole.adoption_patterns == []
        and not whole.pattern_evidence.stable
        and whole.pattern_evidence.reason
    )


def test_the_funnel_narrows_and_categories_add_up(whole):
    for funnel in (whole.adoption_funnel, *whole.category_funnels, *whole.feature_funnels):
        stages = [
            funnel.eligible,
            funnel.awareness,
            funnel.trial,
            funnel.first_use,
            funnel.regular_use,
            funnel.power_use,
        ]
        assert stages == sorted(stages, reverse=True)
    for stage in ("eligible", "trial", "first_use", "regular_use", "power_use"):
        assert getattr(whole.adoption_funnel, stage) == sum(
            getattr(category, stage) for category in whole.category_funnels
        )


def test_two_openings_give_the_same_bytes(demo_folder, demo):
    other = hs.Portfolio.open(demo_folder)
    for client in (None, "cs_client_003"):
        assert (
            track_feature_adoption(other, client).to_json()
            == track_feature_adoption(demo, client).to_json()
        )


def test_a_past_date_is_as_it_was_known_then(demo):
    early = track_feature_adoption(demo, as_of="2025-01-31")
    assert (
        early.as_of == dt.date(2025, 1, 31)
        and early.fingerprint != track_feature_adoption(demo).fingerprint
    )
    assert all(date <= dt.date(2024, 11, 2) for date in early.correlation_analysis.landmarks)


def test_every_customer_of_the_portfolio_gets_a_response(demo):
    for client in demo.table("customers")["client_id"].tolist()[::15]:
        response = track_feature_adoption(demo, client, include_correlation_analysis=False)
        assert response.total_customers == 1 and response.verdict() and response.charts()


@pytest.mark.parametrize(
    ("parameters", "parameter"),
    [
        ({"feature_category": "cor"}, "feature_category"),
        ({"time_period_days": 6}, "time_period_days"),
        ({"time_period_days": 366}, "time_period_days"),
        ({"time_period_days": "30"}, "time_period_days"),
        ({"benchmark_against": "peers"}, "benchmark_against"),
        ({"include_adoption_funnel": "yes"}, "include_adoption_funnel"),
        ({"as_of": "2030-01-01"}, "as_of"),
        ({"client_id": ["a"]}, "client_id"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_by_name(demo, parameters, parameter):
    with pytest.raises(InvalidParameters) as caught:
        track_feature_adoption(demo, **parameters)
    assert caught.value.to_dict()["details"]["parameter"] == parameter


def test_unknown_customers_and_categories_without_a_table_are_refused(demo):
    with pytest.raises(ClientNotFound):
        track_feature_adoption(demo, "cs_clent_003")
    with pytest.raises(InvalidClientId):
        track_feature_adoption(demo, "not an id")
    bare = tiny_portfolio(
        [("a", f"2025-03-{day:02d} 09:00:00", "u1", "search") for day in range(1, 31)]
    )
    with pytest.raises(InvalidParameters, match="no features table"):
        track_feature_adoption(bare, feature_category="core")


def test_the_registry_names_the_parameters_that_the_functions_take():
    tool = TOOLS["track_feature_adoption"]
    for model, function in (
        (tool.parameters, tool.function),
        (tool.portfolio_parameters, tool.portfolio),
    ):
        assert set(model.model_fields) == set(inspect.signature(function).parameters) - {
            "portfolio"
        }
