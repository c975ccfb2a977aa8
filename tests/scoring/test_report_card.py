"""The report card: figures that can be counted by hand, planted truth, refusals; boosting aside."""

from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

import healthseg as hs
from healthseg.demo import make_demo
from healthseg.errors import CalculationError, InvalidParameters
from healthseg.reports import registry
from healthseg.reports.portfolios import record_predictions
from healthseg.scoring import report_card
from healthseg.scoring.churn.expected import portfolio_base_rates
from healthseg.scoring.report_card.accuracy import (
    Bootstrap,
    TeamCapacity,
    by_group,
    calibration,
    captured,
    churned_customers,
    false_alarms,
    flagged,
    lead_times,
    share_interval,
    with_q,
)
from healthseg.scoring.report_card.card import alarms_in_words
from healthseg.scoring.report_card.predictions import predictions_of
from healthseg.scoring.report_card.weights import NO_BETTER, ranks, suggest
from healthseg.settings import Settings
from healthseg.statistics.separation import auc, average_precision
from healthseg.testing import tiny_portfolio


def rows(*records, names=("client_id", "date", "weighted_composite", "outcome", "event_on")):
    frame = pd.DataFrame(records, columns=list(names))
    frame["date"], frame["event_on"] = (
        pd.to_datetime(frame["date"]),
        pd.to_datetime(frame["event_on"]),
    )
    return frame.assign(
        risk_weighted_composite=-frame["weighted_composite"], tier="SMB", stage="active"
    )


FOUR = rows(
    ("a", "2025-01-01", 30, 0, "2025-03-05"),
    ("b", "2025-01-01", 80, 0, None),
    ("a", "2025-01-31", 50, 1, "2025-03-05"),
    ("b", "2025-01-31", 90, 0, None),
)


def test_auc_and_precision_are_sklearns_with_ties_and_weights():
    rng = np.random.default_rng(0)
    outcome, risk = (rng.random(300) < 0.2).astype(float), rng.integers(0, 12, 300).astype(float)
    weight, one_date = rng.integers(0, 3, 300).astype(float), np.zeros(300)
    assert auc(outcome, risk, one_date, weight) == pytest.approx(
        roc_auc_score(outcome, risk, sample_weight=weight)
    )
    assert average_precision(outcome, risk, weight) == pytest.approx(
        average_precision_score(outcome, risk, sample_weight=weight)
    )


def test_each_date_is_ranked_within_itself():
    outcome, date = np.array([1.0, 0, 0, 1, 1, 0]), np.repeat([1, 2], 3)
    risk = np.array(
        [2.0, 1, 0, 9, 7, 8]
    )  # the second date is riskier, and its customers are in disorder
    assert auc(outcome, risk, date, np.ones(6)) == pytest.approx((2 + 1) / (2 + 2))
    weight = np.array([1.0, 1, 1, 0, 0, 0])
    assert auc(outcome, risk, date, weight) == 1.0
    assert np.isnan(auc(np.ones(6), risk, date, np.ones(6)))


def test_the_rows_of_a_customer_tell_no_more_than_they_are_worth():
    rng = np.random.default_rng(3)
    own = (rng.random(60) < 0.3).astype(float)
    once = pd.DataFrame({"client_id": [f"c{at}" for at in range(60)], "outcome": own})
    often = pd.concat([once] * 8, ignore_index=True)
    assert share_interval(often, 0.9) == pytest.approx(share_interval(once, 0.9))
    apart = share_interval(often.assign(client_id=[f"c{at}" for at in range(480)]), 0.9)
    clumped = once.sort_values("outcome").assign(client_id=[f"c{at // 8}" for at in range(60)])
    widths = [high - low for _, low, high in (apart, share_interval(once, 0.9))]
    assert widths[0] == pytest.approx(widths[1] / np.sqrt(8), rel=0.1)
    share, low, high = share_interval(clumped, 0.9)
    assert share == own.mean() and high - low > 1.5 * widths[1]
    nobody = share_interval(often.assign(outcome=0.0), 0.9)
    assert nobody == pytest.approx(share_interval(once.assign(outcome=0.0), 0.9))
    assert nobody[0] == nobody[1] == 0.0 < nobody[2]


def test_customers_are_drawn_with_all_their_rows():
    frame = pd.DataFrame(
        {"client_id": np.repeat(["a", "b"], 50), "value": np.repeat([0.0, 1.0], 50)}
    )
    figure, low, high = Bootstrap(200, 0.9, 1).interval(
        lambda value, weight: float((value * weight).sum() / weight.sum()), frame, ("value",)
    )
    assert figure == 0.5 and (low, high) == (0.0, 1.0)  # two customers: all draws are 0, ½ or 1


def test_the_capacity_takes_the_riskiest_of_each_date():
    row = captured(FOUR, ["weighted_composite"], TeamCapacity(1, None, {}, 4.0, 0.9)).iloc[0]
    assert (row["caught"], row["churned"], row["taken"], row["lift"]) == (1, 1, 1.0, 2.0)
    hours = captured(FOUR, ["weighted_composite"], TeamCapacity(1, 2.0, {"SMB": 1.5}, 4.0, 0.9))
    assert hours["capacity"].tolist() == ["top 1 accounts", "2 hours a month"] and hours[
        "taken"
    ].tolist() == [1.0, 1.0]


def test_a_warning_counts_from_where_it_stood_without_a_break():
    flags = {"weighted_composite": np.array([True, False, True, False])}
    leads = lead_times(FOUR, flags).set_index("lead_days")
    assert leads["warned"].to_dict() | {} == {0: 1, 30: 1, 60: 1, 90: 0, 120: 0, 150: 0, 180: 0}
    assert leads.loc[60, "churned"] == 1 and leads.loc[90, "churned"] == 0
    broken = lead_times(
        FOUR, {"weighted_composite": np.array([True, False, False, False])}
    ).set_index("lead_days")
    assert broken["warned"].sum() == 0


def test_alarms_are_right_or_false_and_rivals_raise_as_many():
    flags = flagged(
        FOUR.assign(risk_usage_alone=[0.0, 1.0, 2.0, 3.0]),
        ["weighted_composite", "usage_alone"],
        60,
    )
    assert flags["weighted_composite"].tolist() == [True, False, True, False]
    assert flags["usage_alone"].tolist() == [False, True, False, True]  # one on each date
    alarms = false_alarms(FOUR, flags, 2).set_index("score")
    assert alarms.loc["weighted_composite", ["alarms", "right", "false"]].tolist() == [2, 1, 1]
    assert alarms.loc["weighted_composite", "false_a_manager_and_month"] == 0.25


def test_among_equal_risks_neither_early_dates_nor_names_are_flagged_first():
    dates = pd.date_range("2025-01-01", periods=10, freq="30D")
    many = rows(*[(f"c{at:02d}", day, at, 0, None) for day in dates for at in range(40)])
    many = many.assign(risk_base_rate=0.1)
    flag = flagged(many, ["weighted_composite", "base_rate"], 12)["base_rate"]
    assert many[flag].groupby("date").size().tolist() == [12] * 10
    chosen = many.loc[flag, "client_id"]
    assert chosen.nunique() == 12 and chosen.str[1:].astype(int).mean() > 12
    unknown = many.assign(risk_base_rate=np.nan)
    assert not flagged(unknown, ["weighted_composite", "base_rate"], 12)["base_rate"].any()


def test_a_gain_is_significant_by_its_q_among_all_comparisons():
    gains = pd.DataFrame({"gain": [0.08] + [0.026] * 3 + [0.0, np.nan]})
    gains["lower"], gains["upper"] = gains["gain"] - 0.025, gains["gain"] + 0.025
    table = with_q(gains, 0.9, 0.05)
    z = 0.026 / (0.025 / special.ndtri(0.95))
    assert table["p"].iloc[1] == pytest.approx(2 * special.ndtr(-z))
    assert (table["lower"] > 0).tolist()[:4] == [True] * 4  # the intervals alone would count four
    assert table["significant"].tolist() == [True] + [False] * 5
    assert np.isnan(table["q"].iloc[-1])


def test_tenths_hold_all_rows_once_and_groups_need_five_leavers():
    rng = np.random.default_rng(1)
    many = rows(
        *[
            (f"c{at}", "2025-01-01", at, float(rng.random() < 0.5 - at / 250), None)
            for at in range(100)
        ]
    )
    tenths = calibration(many, ["weighted_composite"], 0.9)
    assert tenths["rows"].sum() == 100 and tenths["churned"].sum() == many["outcome"].sum()
    twice = pd.concat([many, many.assign(date=pd.Timestamp("2025-01-31"))], ignore_index=True)
    assert churned_customers(twice) == churned_customers(many) == many["outcome"].sum()
    assert (
        tenths["mean_score"].is_monotonic_decreasing and (tenths["lower"] <= tenths["rate"]).all()
    )
    assert by_group(FOUR, ["weighted_composite"], 5)["auc"].isna().all()
    assert by_group(many, ["weighted_composite"], 5)["auc"].notna().all()


def test_a_customer_far_below_the_rest_is_riskiest_under_all_weights(panel):
    today = panel(
        *[{"client_id": f"c{at:02d}"} for at in range(12)],
        {
            "client_id": "low",
            "seat_utilisation": 0.1,
            "usage_vs_own_baseline": 0.3,
            "stickiness_30d": 0.02,
            "nps_365d": -80.0,
            "worst_days_overdue": 40.0,
        },
    )
    ranked = ranks(today, Settings(), 1, 50, 3).set_index("client_id")
    assert ranked.loc["low", "verdict"] == "always" and ranked.loc["low", "share"] == 1.0
    assert ranked["share"].sum() == pytest.approx(1.0)


def components(seed, effect):
    rng = np.random.default_rng(seed)
    frames = []
    for month in range(12):
        values = rng.uniform(20, 100, (250, 5))
        odds = -2.5 + effect * (60 - values[:, 4]) / 15
        outcome = rng.random(250) < 1 / (1 + np.exp(-odds))
        frame = pd.DataFrame(
            values, columns=["usage", "engagement", "support", "satisfaction", "payment"]
        )
        frames.append(
            frame.assign(
                client_id=[f"c{at}" for at in range(250)],
                outcome=outcome.astype(float),
                date=pd.Timestamp("2025-01-01") + pd.Timedelta(days=30 * month),
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    weights = np.array([0.35, 0.25, 0.15, 0.15, 0.10])
    return frame.assign(weighted_composite=frame[frame.columns[:5]].to_numpy() @ weights)


def test_weights_are_suggested_only_where_later_time_proves_them():
    suggestion = suggest(components(1, 1.0), Settings(), 30, Bootstrap(60, 0.9, 1))
    weights = suggestion.frame.set_index("component")["weight_suggested"]
    assert (
        suggestion.gain_lower > 0 and weights["payment"] > 0.3 and weights.sum() == pytest.approx(1)
    )
    nothing = suggest(components(2, 0.0), Settings(), 30, Bootstrap(60, 0.9, 1))
    assert nothing.verdict == NO_BETTER


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    make_demo(folder, clients=70, events="light", scenario="plain", seed=11)
    return hs.Portfolio.open(folder)


@pytest.fixture(scope="module")
def card(portfolio):
    return report_card(portfolio, draws=40)


@pytest.mark.slow
def test_the_card_of_a_portfolio_holds_scores_against_what_happened(card):
    accuracy = card.frame("accuracy").set_index("score")
    assert accuracy.loc["weighted_composite", "auc"] > 0.65 > accuracy.loc["base_rate", "auc"]
    assert (accuracy["auc_lower"] <= accuracy["auc"]).all() and "AUC" in card.verdict()
    judged = card.frame("rows")
    assert not (judged["event_on"] <= judged["date"]).any()  # frozen at notice
    late = judged["date"] + pd.Timedelta(days=card.horizon_days) > pd.Timestamp(card.as_of)
    assert judged.loc[late, "outcome"].isna().all() and judged.loc[~late, "outcome"].notna().all()
    assert card.figures()["auc weighted_composite"] == round(
        accuracy.loc["weighted_composite", "auc"], 4
    )
    with pytest.raises(InvalidParameters, match="no frame"):
        card.frame("moon")


@pytest.mark.slow
def test_leavers_are_distinct_customers_on_every_frame(card):
    rows = card.frame("rows")
    lost = rows.loc[rows["outcome"] == 1, "client_id"].nunique()
    assert lost < (rows["outcome"] == 1).sum()
    for row in card.frame("accuracy").to_dict("records"):
        known = rows[rows[f"risk_{row['score']}"].notna() & (rows["outcome"] == 1)]
        assert row["churned"] == known["client_id"].nunique()
    capture = card.frame("capture").set_index("score").loc["weighted_composite"]
    known = rows[rows["risk_weighted_composite"].notna() & rows["outcome"].notna()]
    risky = known.sort_values("risk_weighted_composite", ascending=False)
    top = risky.groupby("date").head(card.accounts)
    assert capture["churned"] == known.loc[known["outcome"] == 1, "client_id"].nunique()
    assert capture["caught"] == top.loc[top["outcome"] == 1, "client_id"].nunique()


@pytest.mark.slow
def test_the_base_rate_is_that_of_the_tier_which_every_response_shows(portfolio, card):
    rows = card.frame("rows")
    day = rows["date"].iloc[-1]
    rates = portfolio_base_rates(portfolio, day.date()).frame
    rates = rates[rates["horizon_days"] == card.horizon_days].set_index("tier")["probability"]
    of_day = rows[(rows["date"] == day) & rows["tier"].isin(rates.index)]
    assert of_day["tier"].nunique() > 1
    assert of_day["probability_base_rate"].tolist() == of_day["tier"].map(rates).tolist()


@pytest.mark.slow
def test_the_card_in_plain_words_counts_distinct_customers_and_alarms(card):
    rows = card.frame("rows").sort_values("date")
    lost = rows[rows["event_on"].notna() & rows["weighted_composite"].notna()]
    days = (lost["event_on"] - lost["date"]).dt.days
    able = lost[days >= 30]["client_id"].unique()
    below = lost["weighted_composite"] < card.threshold
    warned = 0
    for client in able:
        own = lost["client_id"] == client
        warned += bool(below[own & (days <= days[own & (days >= 30)].min())].all())
    alarms = rows[(rows["weighted_composite"] < card.threshold) & rows["outcome"].notna()]
    assert card.in_plain_words() == (
        f"Of {len(able)} customers that churned, the score flagged {100 * warned / len(able):.0f}% at least 30 days "
        f"ahead; {alarms_in_words(alarms['outcome'].mean())}"
    )


@pytest.mark.slow
def test_what_was_predicted_is_held_against_what_happened(card):
    table = card.frame("predictions")
    rows, horizon = card.frame("rows"), pd.Timedelta(days=card.horizon_days)
    assert len(table) and (table["source"] == "rebuilt").all()
    assert (pd.to_datetime(table["until"]) <= pd.Timestamp(card.as_of)).all()
    assert (pd.to_datetime(table["predicted_on"]).diff().dropna() >= horizon).all()
    for line in table.to_dict("records"):
        of_day = rows[
            (rows["date"] == pd.Timestamp(line["predicted_on"])) & rows["outcome"].notna()
        ]
        p, y = of_day["probability_ml_predictive"], of_day["outcome"]
        p = p.fillna(of_day["probability_base_rate"])
        assert (line["customers"], line["churned"]) == (len(p), y.sum())
        assert line["expected"] == pytest.approx(p.sum())
        assert line["brier"] == pytest.approx(brier_score_loss(y, p))
        sd = np.sqrt((p * (1 - p)).sum())
        assert line["upper"] - line["lower"] == pytest.approx(2 * 1.645 * sd, abs=2)
        assert line["as_expected"] == (line["lower"] <= line["churned"] <= line["upper"])
        if 0 < y.sum() < len(y):
            assert line["auc"] == pytest.approx(roc_auc_score(y, p))
    assert (pd.to_datetime(table["model"]) <= pd.to_datetime(table["predicted_on"])).all()


@pytest.mark.slow
def test_recorded_predictions_are_judged_beside_the_rebuilt_ones(portfolio, card, tmp_path):
    folder = tmp_path / "copy"  # with the models that the card has fitted
    shutil.copytree(portfolio.root, folder)
    portfolio = hs.Portfolio.open(folder)
    day = portfolio.data_until - dt.timedelta(days=120)
    prediction = predictions_of(portfolio, day)
    assert prediction and all(0 < p < 1 for p in prediction.probabilities.values())
    clock = lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # noqa: E731
    assert record_predictions(portfolio, day, clock)
    assert not record_predictions(portfolio, day, clock)
    again = hs.Portfolio.open(folder)
    table = report_card(again, draws=20).frame("predictions")
    recorded = table[table["source"] == "recorded"].iloc[0]
    assert recorded["predicted_on"].date() == day and recorded["customers"] <= len(
        prediction.probabilities
    )
    assert recorded["expected"] == pytest.approx(sum(prediction.probabilities.values()), rel=0.1)
    known = again.table("customers").set_index("client_id")
    event = known[["churned_on", "notice_on"]].apply(pd.to_datetime).min(axis=1)
    event = event[list(prediction.probabilities)]
    start, end = pd.Timestamp(day), pd.Timestamp(day) + pd.Timedelta(days=90)
    assert recorded["churned"] == ((event > start) & (event <= end)).sum()


def test_a_portfolio_of_which_nobody_left_and_bad_parameters_are_refused():
    daily = [
        ("a", f"2025-{month:02d}-{day:02d} 09:00", "u")
        for month in range(1, 8)
        for day in range(1, 29)
    ]
    portfolio = tiny_portfolio(daily)
    with pytest.raises(CalculationError, match="recorded churn"):
        report_card(portfolio)
    with pytest.raises(CalculationError, match="no month of scores"):
        report_card(portfolio, as_of="2025-02-20")
    with pytest.raises(InvalidParameters, match="horizon_days 0"):
        report_card(portfolio, horizon_days=0)
    with pytest.raises(InvalidParameters, match="usage_weight"):
        report_card(portfolio, component_weights={"moon": 1})


@pytest.mark.slow
def test_the_card_its_weights_and_ranks_are_a_response_of_the_interfaces(portfolio, card):
    response = registry.response("score_report_card", portfolio, {"accounts": 10})
    reply = response.to_dict()
    assert reply["accuracy"][0]["churned"] == card.frame("accuracy")["churned"].iloc[0]
    assert len(reply["ranks"]) == len(card.frame("ranks")) and len(reply["weights"]) == 5
    assert len(reply["predictions"]) == len(card.frame("predictions"))
    assert reply["in_plain_words"] == card.in_plain_words()
    assert reply["not_measured"]["$.accuracy[*].brier"] and str(response) == reply["conclusion"]
    assert "score_report_card" in registry.served() and "score_report_card" not in registry.names()
    with pytest.raises(InvalidParameters, match="horizon_days"):
        registry.response("score_report_card", portfolio, {"horizon_days": 0})
