from __future__ import annotations

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.scoring import bands_of, risk_level, score_panel, shown
from healthseg.settings import COMPONENTS, DEFAULT_SCORECARD, Settings, settings

NAN = np.nan
METRICS = [
    metric.metric for part in DEFAULT_SCORECARD.components.values() for metric in part.metrics
]


def row_of(frame, config=None, weights=None):
    return score_panel(frame, config or Settings(), weights).frame.iloc[0]


def test_full_points_everywhere_are_a_score_of_100_with_full_coverage(panel):
    row = row_of(panel())
    assert (row["score"], row["coverage"], row["lowest"], row["highest"]) == (
        100.0,
        1.0,
        100.0,
        100.0,
    )
    assert row["band"] == "champion"


def test_a_score_counted_by_hand(panel):
    row = row_of(
        panel(
            {
                "seat_utilisation": 0.5,
                "usage_vs_own_baseline": 0.8,
                "feature_adoption_rate_30d": 0.4,  # 60, 50, 50
                "stickiness_30d": 0.1,
                "sessions_per_user_per_week_28d": 3,
                "days_since_last_person_event": 7,  # 40, 80, 80
                "open_high_tickets": 1,
                "tickets_per_10_mau_90d": 2,
                "median_resolution_hours_90d": 48,  # 50, 60, 60
                "nps_365d": 0,
                "csat_180d": 4,
                "worst_days_overdue": 30,
                "paid_on_time_share_365d": 0.9,
            }
        )
    )  # 50, 75; 50, 80
    assert row["usage_score"] == pytest.approx(0.4 * 60 + 0.4 * 50 + 0.2 * 50)  # 54
    assert row["engagement_score"] == pytest.approx(0.4 * 40 + 0.3 * 80 + 0.3 * 80)  # 64
    assert row["support_score"] == pytest.approx(0.4 * 50 + 0.3 * 60 + 0.3 * 60)  # 56
    assert row["satisfaction_score"] == pytest.approx(0.6 * 50 + 0.4 * 75)  # 60
    assert row["payment_score"] == pytest.approx(0.6 * 50 + 0.4 * 80)  # 62
    assert row["score"] == pytest.approx(
        0.35 * 54 + 0.25 * 64 + 0.15 * 56 + 0.15 * 60 + 0.10 * 62
    )  # 58.5
    assert row["shown"] == 59.0
    assert row["band"] == "at_risk"


def test_missing_inputs_are_left_out_and_bound_what_the_score_can_be(panel, nothing_known):
    row = row_of(
        panel(
            {
                **nothing_known,
                "seat_utilisation": 0.5,
                "stickiness_30d": 0.2,
                "worst_days_overdue": 0,
                "paid_on_time_share_365d": 1,
            }
        )
    )
    # usage 60 of weight .35, engagement 70 of .25, payment 100 of .10; coverage .35·.4 + .25·.4 + .10
    assert row["score"] == pytest.approx((0.35 * 60 + 0.25 * 70 + 0.10 * 100) / 0.70)
    assert row["coverage"] == pytest.approx(0.34)
    assert row["lowest"] == pytest.approx(0.14 * 60 + 0.10 * 70 + 0.10 * 100)
    assert row["highest"] == pytest.approx(0.14 * 60 + 0.10 * 70 + 0.10 * 100 + 66)
    assert np.isnan(row["support_score"])


def test_a_score_is_withheld_without_usage_or_engagement(panel, nothing_known):
    row = row_of(
        panel(
            {
                **nothing_known,
                "open_high_tickets": 0,
                "open_tickets": 1,
                "tickets_90d": 1,
                "tickets_per_10_mau_90d": 0,
                "median_resolution_hours_90d": 8,
                "nps_365d": 50,
                "csat_180d": 4,
                "worst_days_overdue": 0,
                "paid_on_time_share_365d": 1,
            }
        )
    )
    assert row["coverage"] == pytest.approx(0.40)
    assert row["withheld"]
    assert np.isnan(row["score"])
    assert row["band"] is None
    assert row["support_score"] == 100.0
    assert row["lowest"] < row["highest"]


def test_a_score_is_withheld_below_the_least_coverage_and_given_at_it(panel, nothing_known):
    frame = panel({**nothing_known, "stickiness_30d": 0.2, "sessions_per_user_per_week_28d": 3})
    assert row_of(frame)["coverage"] == pytest.approx(0.25 * 0.7)
    assert row_of(frame)["withheld"]
    assert row_of(frame, Settings(min_coverage=0.175))["score"] == pytest.approx(
        (0.4 * 70 + 0.3 * 80) / 0.7
    )


def test_a_portfolio_of_events_alone_reaches_the_coverage_that_a_score_needs(panel, nothing_known):
    # baseline .14, features .07, stickiness .1, days since .075
    daily = {
        **nothing_known,
        "usage_vs_own_baseline": 1,
        "feature_adoption_rate_30d": 0.4,
        "stickiness_30d": 0.2,
        "days_since_last_person_event": 0,
    }
    assert row_of(panel(daily))["coverage"] == pytest.approx(0.385)
    assert row_of(panel({**daily, "sessions_per_user_per_week_28d": 3}))[
        "coverage"
    ] == pytest.approx(0.46)
    assert not row_of(panel(daily))["withheld"]


def test_an_invoice_sixty_days_overdue_caps_the_score(panel):
    row = row_of(panel({"worst_days_overdue": 60}))
    # all else at 100: payment 40, so 94 before the cap
    assert (row["uncapped"], row["cap"], row["score"], row["capped"]) == (
        pytest.approx(94),
        59.0,
        59.0,
        True,
    )
    assert row["band"] == "at_risk"
    assert (row["lowest"], row["highest"]) == (59.0, 59.0)
    assert not row_of(panel({"worst_days_overdue": 59.9}))["capped"]


def test_a_cap_above_the_score_is_recorded_but_changes_nothing(panel):
    row = row_of(
        panel(
            {
                "worst_days_overdue": 80,
                "seat_utilisation": 0,
                "usage_vs_own_baseline": 0,
                "stickiness_30d": 0,
                "feature_adoption_rate_30d": 0,
                "days_since_last_person_event": 60,
            }
        )
    )
    assert row["cap"] == 59.0
    assert not row["capped"]
    assert row["score"] == row["uncapped"] < 59


def test_an_unknown_overdue_invoice_could_hold_the_veto(panel):
    row = row_of(panel({"worst_days_overdue": NAN}))
    assert (row["score"], row["lowest"], row["highest"]) == (100.0, 59.0, 100.0)


def test_custom_weights_replace_those_of_the_components(panel):
    weights = {"engagement_weight": 1, "payment_weight": 3}
    row = row_of(
        panel({"stickiness_30d": 0, "worst_days_overdue": 30}), weights=weights
    )  # engagement 60, payment 70
    assert row["score"] == pytest.approx(0.25 * 60 + 0.75 * 70)
    assert row["usage_score"] == 100.0


def test_a_scorecard_can_differ_by_plan_tier_and_stage(panel):
    metric = {
        "metric": "stickiness_30d",
        "label": "s",
        "unit": "share",
        "weight": 1,
        "anchors": [[0, 0], [1, 100]],
    }
    lean = {"usage": {"weight": 1.0, "metrics": [metric]}}
    config = settings(
        {
            "scorecard_variants": [
                {"plan": ["free"], "only_these": True, "components": lean},
                {"tier": ["SMB"], "stage": ["trial"], "only_these": True, "components": lean},
            ]
        }
    )
    frame = panel(
        {"client_id": "a", "plan": "pro"},
        {"client_id": "b", "plan": "free"},
        {"client_id": "c", "stage": "trial"},
        {"client_id": "d", "plan": None, "tier": None, "stage": None},
        {"client_id": "e", "stage": "trial", "tier": None},
    )
    scores = score_panel(frame, config)
    assert scores.frame["score"].round(6).tolist() == [100.0, 40.0, 40.0, 100.0, 100.0]
    assert scores.points("b")["metric"].tolist() == ["stickiness_30d"]
    assert len(scores.points("a")) == len(METRICS)


def test_only_live_customers_are_scored(panel):
    row = row_of(panel({"live": False}))
    assert np.isnan(row["score"])
    assert row["band"] is None
    assert not row["withheld"]


def test_scores_are_shown_rounded_half_up_and_bands_follow_what_is_shown():
    assert shown(np.array([0.0, 0.5, 59.5, 79.499999, 100.0])).tolist() == [0, 1, 60, 79, 100]
    assert shown(59.49999999999) == 60  # 59.5 but for the order of additions
    bands = bands_of(np.array([0, 39, 40, 59, 60, 79, 80, 100, NAN]), Settings())
    assert bands.tolist() == [
        *["critical"] * 2,
        *["at_risk"] * 2,
        *["healthy"] * 2,
        *["champion"] * 2,
        None,
    ]


@pytest.mark.parametrize(
    ("threshold", "levels"),
    [
        (60, {39: "critical", 40: "high", 59: "high", 60: "medium", 79: "medium", 80: "low"}),
        (90, {69: "critical", 70: "high", 89: "high", 90: "medium", 99: "medium", 100: "low"}),
        (0, {0: "medium", 19: "medium", 20: "low"}),
        (100, {79: "critical", 80: "high", 99: "high", 100: "low"}),
    ],
)
def test_the_risk_level_follows_the_threshold(threshold, levels):
    assert {score: risk_level(score, threshold, 20) for score in levels} == levels


def test_the_risk_of_a_withheld_score_is_unknown():
    assert risk_level(None, 60, 20) is None
    assert risk_level(NAN, 60, 20) is None


def test_the_long_form_gives_each_metrics_share_of_the_score(panel):
    long = score_panel(
        panel({"worst_days_overdue": NAN, "seat_utilisation": NAN}), Settings()
    ).points()
    assert long["effective_weight"].sum() == pytest.approx(1)
    by = long.set_index("metric")
    assert by.at["paid_on_time_share_365d", "effective_weight"] == pytest.approx(0.10)
    assert by.at["usage_vs_own_baseline", "effective_weight"] == pytest.approx(0.35 * 0.4 / 0.6)
    assert by.at["usage_vs_own_baseline", "weight"] == pytest.approx(0.35 * 0.4)
    assert by.at["seat_utilisation", "missing_reason"] == "unmeasured"
    assert by.at["median_resolution_hours_90d", "target"] == 8.0


def test_a_panel_with_two_rows_of_one_customer_and_date_is_refused(panel):
    with pytest.raises(CalculationError, match="two rows of 'a' on 2025-06-02"):
        score_panel(panel({}, {}), Settings())


def test_a_scorecard_that_names_an_unknown_metric_is_refused_with_the_near_match(panel):
    with pytest.raises(
        InvalidParameters, match=r"'stickiness_30d' is not a number .*; did you mean stickiness_3d"
    ):
        score_panel(panel().rename(columns={"stickiness_30d": "stickiness_3d"}), Settings())
    with pytest.raises(CalculationError, match="lacks the column 'open_tickets'"):
        score_panel(panel().drop(columns="open_tickets"), Settings())


def test_an_empty_panel_has_no_scores(panel):
    scores = score_panel(panel().iloc[:0], Settings())
    assert len(scores.frame) == 0
    assert len(scores.points()) == 0


VALUE = st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 60.0]), st.floats(-150, 400))
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys([*METRICS, "open_tickets", "tickets_90d", "monthly_active_users"], VALUE),
        "tenure_days": st.integers(0, 200),
        "live": st.just(True),
    }
)


@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_whatever_is_missing_scores_lie_in_their_possible_range(panel, rows):
    frame = score_panel(
        panel(*({**row, "client_id": str(at)} for at, row in enumerate(rows))), Settings()
    ).frame
    given_ones = frame[frame["score"].notna()]
    assert (given_ones["lowest"] <= given_ones["score"] + 1e-8).all()
    assert (given_ones["score"] <= given_ones["highest"] + 1e-8).all()
    assert frame[["lowest", "highest"]].stack().between(0, 100).all()
    assert frame["coverage"].between(0, 1).all()
    assert (frame["withheld"] == frame["score"].isna()).all()
    for name in COMPONENTS:
        assert frame[f"{name}_score"].dropna().between(0, 100).all()


@hypothesis.settings(max_examples=30)
@given(
    rows=st.lists(ROW, min_size=2, max_size=6), picked=st.integers(0, 5), seed=st.integers(0, 99)
)
def test_a_subset_of_rows_in_any_order_has_the_same_bits(panel, rows, picked, seed):
    frame = panel(
        *(
            {**row, "client_id": str(at), "tier": "SMB" if at % 2 else None}
            for at, row in enumerate(rows)
        )
    )
    whole = score_panel(frame, Settings())
    shuffled = score_panel(frame.sample(frac=1, random_state=seed), Settings())
    pd.testing.assert_frame_equal(whole.frame, shuffled.frame, check_exact=True)
    pd.testing.assert_frame_equal(whole.points(), shuffled.points(), check_exact=True)
    client = str(picked % len(rows))
    alone = score_panel(frame[frame["client_id"] == client], Settings())
    together = whole.frame[whole.frame["client_id"] == client].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.frame, together, check_exact=True)


@given(row=ROW, metric=st.sampled_from(METRICS), better=st.floats(0, 1))
def test_more_points_on_a_metric_never_lower_the_score(panel, row, metric, better):
    scored = next(
        m
        for part in DEFAULT_SCORECARD.components.values()
        for m in part.metrics
        if m.metric == metric
    )
    first, last = scored.anchors[0], scored.anchors[-1]
    best = last[0] if last[1] > first[1] else first[0]
    value = row[metric]
    improved = value + better * (best - value) if not np.isnan(value) else value
    both = panel({**row, "client_id": "a"}, {**row, metric: improved, "client_id": "b"})
    before, after = score_panel(both, Settings()).frame["score"]
    if not np.isnan(before):
        assert after >= before - 1e-8


def test_rows_that_are_scored_in_parts_have_the_figures_of_all_at_once(
    panel, nothing_known, monkeypatch
):
    changes = [
        {"client_id": f"c{at:02}", "stickiness_30d": at / 40, "tenure_days": 20 * at}
        | (nothing_known if at % 5 == 0 else {"worst_days_overdue": 9.0 * at})
        for at in range(17)
    ]
    frame = panel(*changes)
    frame["lost_share_invoices"] = np.where(frame.index % 8 == 1, 0.3, 0.0)
    whole = score_panel(frame, Settings())
    monkeypatch.setattr("healthseg.scoring.health.ROWS_AT_ONCE", 3)
    parts = score_panel(frame, Settings())
    pd.testing.assert_frame_equal(parts.frame, whole.frame, check_exact=True)
    pd.testing.assert_frame_equal(parts.points(), whole.points(), check_exact=True)
    alone = score_panel(frame[4:5], Settings()).points()
    pd.testing.assert_frame_equal(whole.points("c04"), alone, check_exact=True)
