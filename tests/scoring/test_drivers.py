from __future__ import annotations

import numpy as np
import pytest

from healthseg.scoring import factors, opportunities, risk_indicators, score_panel
from healthseg.scoring.drivers import costliest
from healthseg.settings import Settings

NAN = np.nan
EVERYWHERE = {
    "seat_utilisation": np.linspace(0.1, 1.0, 10),
    "stickiness_30d": np.linspace(0.05, 0.5, 10),
    "worst_days_overdue": np.zeros(10),
    "nps_365d": np.linspace(0, 90, 10),
}


def opportunities_of(frame, peers=EVERYWHERE):
    scores = score_panel(frame, Settings())
    return opportunities(scores.points(), scores.frame.iloc[0], peers, Settings()).set_index(
        "metric"
    )


def test_the_next_anchor_that_peers_reach_is_the_target_and_its_points_the_impact(panel):
    rows = opportunities_of(panel({"seat_utilisation": 0.3, "stickiness_30d": 0.15}))
    # seats: .3 earns 36, the next anchor is .5 → 60: .35·.4·24; stickiness .15 earns 55, next .2 → 70: .25·.4·15
    assert rows.loc["seat_utilisation", ["target", "target_points"]].tolist() == [0.5, 60.0]
    assert rows.at["seat_utilisation", "impact"] == pytest.approx(0.14 * 24)
    assert rows.at["stickiness_30d", "impact"] == pytest.approx(0.10 * 15)
    assert rows.index.tolist() == ["seat_utilisation", "stickiness_30d"]
    assert rows["peers"].tolist() == [10, 10]


def test_an_anchor_that_three_quarters_of_the_peers_do_not_reach_is_no_target(panel):
    frame = panel({"seat_utilisation": 0.55})  # next anchor .8
    reached, short = (
        np.linspace(0.1, 1.0, 10),
        np.linspace(0.1, 0.9, 10),
    )  # their 75th percentiles: .8 and .72
    assert opportunities_of(frame, {"seat_utilisation": reached})["target"].tolist() == [0.8]
    assert opportunities_of(frame, {"seat_utilisation": short}).empty


def test_the_impact_is_what_the_recomputed_score_gains(panel):
    before = panel(
        {"seat_utilisation": 0.3, "nps_365d": 10, "usage_vs_own_baseline": NAN, "csat_180d": NAN}
    )
    for metric, target in opportunities_of(before)["target"].items():
        gained = (
            score_panel(panel({**before.iloc[0].to_dict(), metric: target}), Settings())
            .frame["score"]
            .item()
        )
        impact = gained - score_panel(before, Settings()).frame["score"].item()
        assert opportunities_of(before).at[metric, "impact"] == pytest.approx(impact)


def test_under_a_cap_only_the_invoice_helps(panel):
    rows = opportunities_of(panel({"worst_days_overdue": 60, "seat_utilisation": 0.3}))
    assert rows.index.tolist() == ["worst_days_overdue"]
    # uncapped 100 − .14·64 − .06·100 = 85.04; at 30 days overdue the cap is gone and half the points are back
    assert rows.at["worst_days_overdue", "impact"] == pytest.approx(85.04 + 0.06 * 50 - 59)
    assert rows.at["worst_days_overdue", "target"] == 30.0


def test_an_invoice_paid_too_late_to_lift_the_cap_brings_nothing(panel):
    config = Settings(overrides={"long_overdue": {"at_least": 20}})
    scores = score_panel(
        panel({"worst_days_overdue": 40}), config
    )  # the next anchor, 30 days, is still capped
    assert opportunities(scores.points(), scores.frame.iloc[0], EVERYWHERE, config).empty


def test_a_missing_metric_or_one_without_peers_is_no_opportunity(panel):
    assert opportunities_of(panel({"seat_utilisation": NAN})).empty
    assert opportunities_of(panel({"csat_180d": 2})).empty
    assert opportunities_of(
        panel({"seat_utilisation": 0.3}), {"seat_utilisation": np.array([NAN, NAN])}
    ).empty


def test_a_new_customers_target_is_what_its_tenure_can_show(panel):
    rows = opportunities_of(panel({"seat_utilisation": 0.1, "tenure_days": 72}))
    assert rows.at["seat_utilisation", "target"] == pytest.approx(0.4)


def test_factors_say_what_each_metric_brings_and_costs(panel):
    scores = score_panel(
        panel({"stickiness_30d": 0.1, "nps_365d": 20, "csat_180d": NAN}), Settings()
    )
    rows = factors(scores.points(), Settings()).set_index("metric")
    # stickiness: 40 points of .1; nps: 64 points of all satisfaction, .15
    effects = ["contribution", "lost", "lost_in_component"]
    assert rows.loc["stickiness_30d", effects].tolist() == pytest.approx([4, 6, 24])
    assert rows.loc["nps_365d", effects].tolist() == pytest.approx([9.6, 5.4, 36])
    assert rows.loc[["stickiness_30d", "nps_365d"], "side"].tolist() == ["negative", "neutral"]
    assert "csat_180d" not in rows.index
    assert rows["contribution"].sum() == pytest.approx(scores.frame["score"].item())
    assert rows.index.tolist()[0] in ("seat_utilisation", "usage_vs_own_baseline")
    assert rows.index.tolist()[-2:] == ["stickiness_30d", "nps_365d"]


def test_risk_indicators_are_vetoes_falling_trends_and_low_metrics(panel):
    scores = score_panel(panel({"worst_days_overdue": 75, "stickiness_30d": 0.05}), Settings())
    falling = {"trend": "declining", "slope_per_week": -1.5}
    rows = risk_indicators(scores.points(), scores.frame.iloc[0], Settings(), falling)
    assert rows["kind"].tolist() == ["cap", "trend", "metric", "metric"]
    assert rows["metric"].tolist() == [
        "worst_days_overdue",
        "score",
        "stickiness_30d",
        "worst_days_overdue",
    ]
    assert rows["value"].tolist() == [75.0, -1.5, 0.05, 75.0]
    assert rows["lost"].iloc[0] == pytest.approx(100 - 0.1 * 80 - 6 - 59)
    assert rows["severity"].tolist() == ["critical", "high", "critical", "critical"]


def test_a_customer_in_full_health_has_no_risk_indicators(panel):
    scores = score_panel(panel(), Settings())
    stable = {"trend": "stable", "slope_per_week": 0.0}
    assert risk_indicators(scores.points(), scores.frame.iloc[0], Settings(), stable).empty
    assert (factors(scores.points(), Settings())["side"] == "positive").all()


def test_the_costliest_metric_of_each_customer_is_the_first_factor_that_is_not_positive(panel):
    changes = ({"stickiness_30d": 0.1, "nps_365d": 20}, {}, {"nps_365d": 0, "csat_180d": NAN})
    rows = panel(*({**change, "client_id": str(n)} for n, change in enumerate(changes)))
    points = score_panel(rows, Settings()).points()
    first = {}
    for client, own in points.groupby("client_id"):
        costly = factors(own, Settings()).query("side != 'positive'")
        first |= {client: costly["metric"].iloc[0]} if len(costly) else {}
    assert costliest(points, Settings())["metric"].to_dict() == first
    assert first == {"0": "stickiness_30d", "2": "nps_365d"}
