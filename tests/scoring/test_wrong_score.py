"""A portfolio whose score points the wrong way: the report card says so, other weights repair it, the model beats it."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.demo import make_demo
from healthseg.scoring import report_card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("wrong") / "portfolio"
    make_demo(out, clients=200, seed=7, scenario="wrong_score", events="light")
    return out


@pytest.fixture(scope="module")
def card(folder):
    return report_card(hs.Portfolio.open(folder), draws=20)


def test_two_metrics_go_with_churn_that_the_scorecard_rewards_and_a_third_is_noise(folder):
    terms = pd.read_parquet(folder / "truth" / "hazard_terms.parquet").set_index("driver")
    assert (terms.loc[["seats", "habit"], "coefficient"] > 0).all()  # more of them, more churn
    assert terms.loc["promoters", "coefficient"] == 0


def test_the_report_card_says_that_the_score_does_not_separate(card):
    accuracy = card.frame("accuracy").set_index("score")
    assert accuracy.loc["weighted_composite", "auc_lower"] < 0.6
    assert accuracy.loc["usage_alone", "auc_upper"] < 0.5


def test_weights_from_outcomes_repair_the_score(card):
    weights = card.suggestion.frame.set_index("component")
    change = weights["weight_suggested"] - weights["weight_now"]
    assert change["payment"] > 0.1
    assert (change[["usage", "engagement"]] < -0.05).all()
    assert card.suggestion.gain_lower > 0


def test_the_model_beats_the_score(card):
    accuracy = card.frame("accuracy").set_index("score")
    assert (
        accuracy.loc["ml_predictive", "auc_lower"] > accuracy.loc["weighted_composite", "auc_upper"]
    )
