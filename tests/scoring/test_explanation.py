from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.scoring import explain_change, score_panel
from healthseg.scoring.explanation import (
    KINDS,
    KnownMetric,
    added,
    mean,
    moved,
    removed,
    reweighted,
)
from healthseg.settings import DEFAULT_SCORECARD, Settings

NAN = np.nan
METRICS = [
    metric.metric for part in DEFAULT_SCORECARD.components.values() for metric in part.metrics
]


def row(frame):
    return frame.iloc[0]


def parts_of(change):
    return {(part.kind, part.metric): float(part.points) for part in change.parts}


def test_a_metric_that_moved_has_its_weight_times_its_points(panel):
    change = explain_change(
        row(panel()), row(panel({"stickiness_30d": 0.1})), Settings(), Settings()
    )
    # 60 points less on a metric of weight .25·.4 = .1
    assert parts_of(change) == {("data", "stickiness_30d"): -6.0}
    assert (change.shown_then, change.shown_now, change.shown) == (100, 94, -6)


def test_a_metric_that_went_missing_takes_its_distance_from_the_mean_with_it(panel):
    then, now = panel({"stickiness_30d": 0.0}), panel({"stickiness_30d": NAN})
    # engagement 60 of .25: taking 0 points of share .4 out raises it by .4·(60 − 0)/.6 = 40, the score by 10
    assert parts_of(explain_change(row(then), row(now), Settings(), Settings())) == {
        ("newly_missing", "stickiness_30d"): 10.0
    }
    assert parts_of(explain_change(row(now), row(then), Settings(), Settings())) == {
        ("newly_known", "stickiness_30d"): -10.0
    }


def test_a_component_that_went_missing_is_taken_out_of_the_mean_of_components(panel):
    then = panel({"nps_365d": 0, "csat_180d": 3})  # satisfaction .6·50 + .4·40 = 46, score 91.9
    now = panel({"nps_365d": NAN, "csat_180d": NAN})  # score 100
    change = explain_change(row(then), row(now), Settings(), Settings())
    # V_c·(u_m)·(S − p_m)/(V − V_c): .15·.6·(91.9 − 50)/.85 and .15·.4·(91.9 − 40)/.85
    assert parts_of(change) == {
        ("newly_missing", "nps_365d"): pytest.approx(0.09 * 41.9 / 0.85),
        ("newly_missing", "csat_180d"): pytest.approx(0.06 * 51.9 / 0.85),
        ("rounding", None): -0.1,
    }  # 91.9 is shown as 92
    assert float(change.exact) == pytest.approx(8.1)
    assert change.missing_now == ("nps_365d", "csat_180d")
    assert change.missing_then == ()


def test_another_weight_is_configuration_and_moves_by_the_distance_from_the_old_score(panel):
    frame = panel({"nps_365d": 0, "csat_180d": 3})
    weights = {"usage_weight": 0.5, "satisfaction_weight": 0.5}
    change = explain_change(row(frame), row(frame), Settings(), Settings(), None, weights)
    assert {part.kind for part in change.parts} == {"configuration", "rounding"}
    assert float(change.exact) == pytest.approx((0.5 * 100 + 0.5 * 46) - 91.9)
    assert parts_of(change)["configuration", "nps_365d"] == pytest.approx(
        (0.3 - 0.09) * (50 - 91.9)
    )


def test_other_anchors_are_configuration(panel):
    card = DEFAULT_SCORECARD.model_dump()
    card["components"]["engagement"]["metrics"][0]["anchors"] = ((0.0, 0.0), (0.8, 100.0))
    change = explain_change(row(panel()), row(panel()), Settings(), Settings(scorecard=card))
    assert parts_of(change) == {("configuration", "stickiness_30d"): -5.0}  # .4 earns 50 of 100 now


def test_a_scorecard_of_another_plan_is_configuration(panel):
    lean = {"usage": {"weight": 1.0, "metrics": [DEFAULT_SCORECARD.components["usage"].metrics[0]]}}
    config = Settings(
        scorecard_variants=[{"plan": ["free"], "only_these": True, "components": lean}]
    )
    then = panel({"plan": "free", "seat_utilisation": 0.5})
    now = panel({"plan": "pro", "seat_utilisation": 0.5})
    change = explain_change(row(then), row(now), config, config)
    assert {part.kind for part in change.parts} == {"configuration", "rounding"}
    assert float(change.exact) == pytest.approx(100 - 0.14 * 40 - 60)


def test_the_cap_is_a_part_of_its_own(panel):
    change = explain_change(
        row(panel()), row(panel({"worst_days_overdue": 60})), Settings(), Settings()
    )
    assert parts_of(change) == {("data", "worst_days_overdue"): -6.0, ("cap", None): -35.0}
    back = explain_change(
        row(panel({"worst_days_overdue": 60})), row(panel()), Settings(), Settings()
    )
    assert parts_of(back)["cap", None] == pytest.approx(35.0)


def test_a_cap_is_named_by_what_caps_the_score_and_by_what_no_longer_does(panel):
    """A notice was called an overdue invoice, where there are no invoices at all."""
    noticed, without = row(panel({"days_since_notice": 8})), row(panel())

    def label(then, now):
        parts = explain_change(then, now, Settings(), Settings()).parts
        return next(part.label for part in parts if part.kind == "cap")

    assert label(without, noticed) == "Notice given: capped at 39"
    assert label(noticed, without) == "No longer capped"
    overdue = row(panel({"worst_days_overdue": 60}))
    assert label(without, overdue) == "An invoice is 60 days overdue: capped at 59"


def test_a_cap_that_was_set_lower_is_configuration(panel):
    frame = panel({"worst_days_overdue": 70})
    change = explain_change(
        row(frame), row(frame), Settings(), Settings(overrides={"long_overdue": {"cap": 50}})
    )
    assert parts_of(change) == {("configuration", None): pytest.approx(-9.0)}


def test_the_end_of_the_ramp_is_a_part_of_its_own(panel):
    seats = {"seat_utilisation": 0.25, "usage_vs_own_baseline": 1.0}
    change = explain_change(
        row(panel({**seats, "tenure_days": 45})),
        row(panel({**seats, "tenure_days": 90})),
        Settings(overrides={"provisional": None}),
        Settings(overrides={"provisional": None}),
    )
    # then: usage (.4·60 + .2·100)/.6; now: .4·30 + .4·80 + .2·100; nothing but the ramp has changed
    assert parts_of(change)["ramp", None] == pytest.approx(0.35 * (64 - (24 + 20) / 0.6))
    assert {part.kind for part in change.parts} == {"ramp", "rounding"}


def test_where_nothing_is_common_the_new_is_held_against_the_old_score(panel, nothing_known):
    config = Settings(min_coverage=0.1)
    then = panel({**nothing_known, "seat_utilisation": 0.5})  # 60
    now = panel(
        {**nothing_known, "stickiness_30d": 0.2, "days_since_last_person_event": 7}
    )  # .4·70 + .3·80 over .7
    change = explain_change(row(then), row(now), config, config)
    assert {part.kind for part in change.parts} == {"newly_known", "rounding"}
    assert parts_of(change)["newly_known", "stickiness_30d"] == pytest.approx(4 / 7 * (70 - 60))
    assert float(change.exact) == pytest.approx((0.4 * 70 + 0.3 * 80) / 0.7 - 60)


def test_a_withheld_side_has_no_change_but_a_reason_and_what_is_missing(panel, nothing_known):
    change = explain_change(row(panel(nothing_known)), row(panel()), Settings(), Settings())
    assert (change.shown_then, change.shown_now, change.shown, change.exact) == (
        None,
        100,
        None,
        None,
    )
    assert change.parts == ()
    assert change.reason == "the score is withheld then"
    assert set(change.missing_then) == set(METRICS)
    assert len(change.frame()) == 0
    both = explain_change(
        row(panel(nothing_known)), row(panel(nothing_known)), Settings(), Settings()
    )
    assert both.reason == "the score is withheld then and now"


def test_nothing_changed_has_no_parts(panel):
    change = explain_change(row(panel()), row(panel()), Settings(), Settings())
    assert (change.shown, change.exact, change.parts) == (0, 0, ())


def test_displayed_parts_add_up_to_the_displayed_change_with_rounding_as_its_own_part(panel):
    change = explain_change(
        row(panel({"nps_365d": 3})),
        row(panel({"stickiness_30d": 0.13, "csat_180d": 3.1})),
        Settings(),
        Settings(),
    )
    frame = change.frame()
    assert frame["kind"].tolist()[-1] == "rounding"
    assert round(frame["displayed"].sum() * 10) == change.shown * 10
    assert (frame["displayed"] - frame["points"]).abs().max() < 0.1


TENTHS = st.integers(0, 1000).map(lambda points: Fraction(points, 10))
WEIGHTS = st.integers(1, 9).map(Fraction)


@st.composite
def cards(draw, keys=None):
    keys = keys or draw(
        st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), min_size=1)
    )
    outer = {name: draw(WEIGHTS) for name in sorted({name for name, _ in keys})}
    return {key: KnownMetric(outer[key[0]], draw(WEIGHTS), draw(TENTHS)) for key in sorted(keys)}


@given(card=cards(), data=st.data())
def test_taking_metrics_out_and_bringing_them_back_adds_up_exactly(card, data):
    out = data.draw(st.sets(st.sampled_from(sorted(card)), max_size=len(card) - 1))
    rest = {key: known for key, known in card.items() if key not in out}
    parts = removed(card, out)
    assert set(parts) == out
    assert sum(parts.values()) == mean(rest) - mean(card)
    assert sum(added(card, out, Fraction(0)).values()) == mean(card) - mean(rest)


@given(card=cards(), level=TENTHS)
def test_metrics_brought_into_nothing_add_up_to_the_distance_from_the_old_level(card, level):
    assert sum(added(card, set(card), level).values()) == mean(card) - level


@given(old=cards(), new=cards())
def test_a_change_of_rules_adds_up_exactly(old, new):
    assert sum(reweighted(old, new).values()) == mean(new) - mean(old)


@given(data=st.data(), card=cards())
def test_a_change_of_points_adds_up_exactly(data, card):
    new = {
        key: KnownMetric(known.outer, known.inner, data.draw(TENTHS)) for key, known in card.items()
    }
    assert sum(moved(card, new).values()) == mean(new) - mean(card)


VALUE = st.one_of(st.just(NAN), st.floats(-120, 200), st.floats(0, 2))
COUNTED = [*METRICS, "open_tickets", "tickets_90d", "monthly_active_users"]
ROWS = st.fixed_dictionaries(
    {
        **dict.fromkeys(COUNTED, VALUE),
        "tenure_days": st.integers(0, 120),
        "days_since_notice": st.sampled_from([float("nan"), 3.0]),
        "plan": st.sampled_from(["pro", "free", None]),
    }
)


@st.composite
def configs(draw):
    card = DEFAULT_SCORECARD.model_dump()
    for name in sorted(draw(st.sets(st.sampled_from(sorted(card["components"])), max_size=4))):
        card["components"][name]["weight"] = draw(st.sampled_from([0.0, 0.1, 2.5]))
    if draw(st.booleans()):
        card["components"]["usage"]["metrics"] = card["components"]["usage"]["metrics"][
            : draw(st.integers(1, 2))
        ]
    if not any(part["weight"] for part in card["components"].values()):
        card["components"]["usage"]["weight"] = 1.0
    variant = {
        "plan": ["free"],
        "components": {"engagement": card["components"]["engagement"] | {"weight": 1.0}},
    }
    return Settings(
        scorecard=card,
        scorecard_variants=draw(st.sampled_from([(), (variant,)])),
        min_coverage=draw(st.sampled_from([0.0, 0.3])),
        ramp_days=draw(st.sampled_from([0, 60, 90])),
        overrides={
            "long_overdue": {
                "at_least": draw(st.sampled_from([1, 60])),
                "cap": draw(st.sampled_from([0.0, 33.3, 59])),
            },
            "notice_given": {"cap": draw(st.sampled_from([None, 20, 39]))},
        },
    )


@pytest.mark.slow
@settings(max_examples=150)
@given(
    then=ROWS,
    now=ROWS,
    rules=st.tuples(configs(), configs()),
    weights=st.sampled_from(
        [None, {"usage_weight": 0.3, "support_weight": 0.1}, {"engagement_weight": 7}]
    ),
)
def test_the_parts_of_any_change_add_up_to_the_last_digit(panel, then, now, rules, weights):
    then, now = panel(then), panel(now)
    change = explain_change(row(then), row(now), *rules, None, weights)
    scores = (
        score_panel(then, rules[0]).frame.iloc[0],
        score_panel(now, rules[1], weights).frame.iloc[0],
    )
    if change.exact is None:
        assert any(np.isnan(score["score"]) for score in scores)
        assert change.reason and not change.parts
        return
    exact = [part.points for part in change.parts if part.kind != "rounding"]
    assert sum(exact) == change.exact
    assert sum(part.points for part in change.parts) == change.shown
    assert sum(round(part.displayed * 10) for part in change.parts) == change.shown * 10
    assert float(change.exact) == pytest.approx(scores[1]["score"] - scores[0]["score"], abs=1e-8)
    assert (change.shown_then, change.shown_now) == (scores[0]["shown"], scores[1]["shown"])
    assert {part.kind for part in change.parts} <= set(KINDS)
