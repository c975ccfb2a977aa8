"""segment_by_value_tier on portfolios that can be counted by hand, and its identities on a lively one."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import healthseg as hs
from healthseg import rules
from healthseg.charts import formats
from healthseg.errors import ClientNotFound, InvalidParameters
from healthseg.metrics.communication import rates
from healthseg.metrics.money import movements, retention, waterfall
from healthseg.statistics.rates import gini, lorenz, top_fifth
from healthseg.statistics.robust import dominance, hodges_lehmann
from healthseg.testing import tiny_portfolio
from healthseg.tools.tiers.allocation import by_sizes, composite, suggested_thresholds

DAYS = [f"2025-03-{day:02d} 09:00:00" for day in range(1, 31)]


def portfolio_of(arr, settings=None, tables=None, **more):
    ids = [f"c{at:02d}" for at in range(len(arr))]
    customers = pd.DataFrame({"client_id": ids, "signup_date": "2024-01-01", "arr": arr, **more})
    return tiny_portfolio(
        [(client, day, "u1") for client in ids for day in DAYS],
        customers,
        settings,
        **(tables or {}),
    )


@pytest.fixture(scope="module")
def year():
    """Two years: a grows from 60 to 90 thousand, b falls from 60 to 30, c leaves, d is new, e stays at 5."""
    events = [
        (client, f"{date:%Y-%m-%d} 09:00:00", "u1")
        for client in "abcde"
        for date in pd.date_range("2024-01-02", "2025-03-30", freq="7D")
        if (client, date >= pd.Timestamp("2024-06-01")) != ("c", True)
        and (client, date < pd.Timestamp("2024-10-01")) != ("d", True)
    ]
    customers = pd.DataFrame(
        {
            "client_id": list("abcde"),
            "churned_on": [None, None, "2024-06-01", None, None],
            "signup_date": ["2023-01-01"] * 3 + ["2024-10-01", "2023-01-01"],
            "currency": "EUR",
        }
    )
    changes = pd.DataFrame(
        [
            ("a", "2023-01-01", 60_000),
            ("a", "2024-09-01", 90_000),
            ("b", "2023-01-01", 60_000),
            ("b", "2024-08-01", 30_000),
            ("c", "2023-01-01", 20_000),
            ("d", "2024-10-01", 12_000),
            ("e", "2023-01-01", 5_000),
        ],
        columns=["client_id", "effective_on", "arr"],
    )
    return tiny_portfolio(events, customers, {"data_until": "2025-03-30"}, arr_changes=changes)


@pytest.mark.parametrize(("percent", "named"), [(0.9, False), (1, True), (100, True)])
def test_a_notice_on_a_small_part_of_the_arr_is_no_decision_of_the_team(percent, named):
    figures = {"tier": "SMB", "notices": 1, "notice_names": "Acme", "certain_words": ""}
    figures |= {"certain_percent": percent, "notice_min_percent": 1}
    texts = rules.triggered("segment_by_value_tier", "portfolio_action", figures, {})
    assert [rule.text for rule in texts] == ["SMB: win back Acme, who gave notice"] * named


def sizes(response):
    return {tier.tier_name: tier.customer_count for tier in response.value_tiers}


def test_any_number_of_thresholds_makes_one_tier_more_and_an_upper_limit_belongs_to_its_tier():
    portfolio = portfolio_of([10, 20, 30, 40])
    assert sizes(hs.segment_by_value_tier(portfolio, arr_thresholds=[20])) == {
        "Enterprise": 2,
        "SMB": 2,
    }
    assert list(sizes(hs.segment_by_value_tier(portfolio, arr_thresholds=[10, 20]))) == [
        "Enterprise",
        "Mid-Market",
        "SMB",
    ]
    assert sizes(hs.segment_by_value_tier(portfolio, arr_thresholds=[5, 10, 15, 20, 25])) == {
        "Tier 6": 2,
        "Tier 5": 0,
        "Tier 4": 1,
        "Tier 3": 0,
        "Tier 2": 1,
        "Tier 1": 0,
    }
    named = hs.segment_by_value_tier(portfolio, arr_thresholds=[20], names=["Small", "Large"])
    assert sizes(named) == {"Large": 2, "Small": 2}
    assert named.value_tiers[0].tier_description == "ARR > 20"


def test_net_and_gross_retention_and_the_waterfall_can_be_counted_by_hand(year):
    result = hs.segment_by_value_tier(year, arr_thresholds=[10_000, 50_000])
    whole = result.retention
    assert str(result.retention_since) == "2024-03-30" and (whole.cohort, whole.churned) == (4, 1)
    assert (whole.start, whole.new, whole.expansion, whole.contraction, whole.churn, whole.end) == (
        145_000,
        12_000,
        30_000,
        -30_000,
        -20_000,
        137_000,
    )
    assert whole.nrr == round(125 / 145, 4) and whole.grr == round(95 / 145, 4)
    top = result.tier("Enterprise").retention
    assert (top.start, top.new, top.end, top.nrr, top.grr) == (120_000, 0, 120_000, 1.0, 0.75)
    moved = result.year_on_year
    assert (moved.unchanged, moved.up, moved.down, moved.new, moved.churned) == (2, 0, 1, 1, 1)


def test_the_waterfalls_of_the_tiers_add_up_to_the_portfolios(demo):
    result = hs.segment_by_value_tier(demo)
    for part in ("start", "new", "expansion", "contraction", "churn", "end"):
        assert sum(
            getattr(tier.retention, part) for tier in result.value_tiers if tier.retention
        ) == pytest.approx(getattr(result.retention, part), abs=1)
    waterfall = result.retention
    assert (
        waterfall.start
        + waterfall.new
        + waterfall.expansion
        + waterfall.contraction
        + waterfall.churn
        == pytest.approx(waterfall.end, abs=1)
    )
    assert waterfall.grr <= min(1, waterfall.nrr)


def test_the_waterfall_is_the_planted_one(demo, truth):
    moves = truth("arr_moves")
    until, since = (
        pd.Timestamp(demo.data_until),
        pd.Timestamp(demo.data_until) - pd.DateOffset(years=1),
    )
    days = pd.to_datetime(moves["on"])

    def standing(day):
        known = moves[days <= day].assign(on=days).sort_values(["client_id", "on"], kind="stable")
        return known.groupby("client_id")["to"].last()

    then, now = standing(since), standing(until)
    result = hs.segment_by_value_tier(demo).retention
    assert result.start == pytest.approx(then[then > 0].sum(), abs=1)
    assert result.end == pytest.approx(now[now > 0].sum(), abs=1)


@pytest.mark.slow
def test_unknown_arr_zero_one_customer_and_ties_have_a_defined_response():
    none = hs.segment_by_value_tier(portfolio_of([None, None]))
    assert (
        none.unplaced == {"no ARR is known": 2}
        and none.total_arr is None
        and none.not_measured["$.total_arr"]
    )
    single = hs.segment_by_value_tier(portfolio_of([500]))
    assert sizes(single)["Micro"] == 1 and single.pareto_analysis.top_20_percent_customers == 1
    zero = hs.segment_by_value_tier(portfolio_of([0, 0]))
    assert zero.total_arr == 0 and zero.pareto_analysis.top_share is None
    tied = hs.segment_by_value_tier(portfolio_of([100] * 7), arr_thresholds=[100])
    assert sizes(tied) == {"Enterprise": 0, "SMB": 7}
    assert tied.value_tiers[0].avg_arr_per_customer is None


def test_currencies_without_rates_are_never_added_up():
    result = hs.segment_by_value_tier(portfolio_of([20_000, 30_000], currency=["EUR", "USD"]))
    assert result.total_arr is None and result.total_arr_by_currency == {
        "EUR": 20_000,
        "USD": 30_000,
    }
    assert result.at_risk is None and sizes(result)["SMB"] == 2


@pytest.mark.slow
def test_managers_needed_are_the_hours_over_a_managers_hours():
    csms = pd.DataFrame(
        {"csm_id": ["m1", "m2"], "tier": ["SMB", "Enterprise"], "capacity_hours": [2.0, 100.0]}
    )
    portfolio = portfolio_of([20_000] * 5 + [300_000] * 2, tables={"csms": csms})
    rows = {
        advice.tier: advice
        for advice in hs.segment_by_value_tier(portfolio).resource_allocation_recommendations
    }
    assert (rows["SMB"].hours_needed, rows["SMB"].recommended_csm_count, rows["SMB"].gap) == (
        5,
        3,
        2,
    )
    assert (
        rows["Enterprise"].recommended_csm_count,
        rows["Enterprise"].gap,
        rows["Enterprise"].priority,
    ) == (1, 0, "none")
    assert rows["Micro"].current_csm_count == 0
    alone = hs.segment_by_value_tier(portfolio_of([20_000])).resource_allocation_recommendations
    assert all(each.current_csm_count is None and each.priority == "unknown" for each in alone)


def test_suggested_thresholds_give_each_tier_as_many_customers_as_its_hours_allow():
    arr = pd.Series([100.0, 90, 80, 70, 60, 50])
    assert suggested_thresholds(arr, [10, 20], [1, 1, 2], [9, 3, 4]) == [
        50,
        80,
    ]  # two, then three of them
    assert suggested_thresholds(arr, [10, 20], [1, 1, 2], [9, np.nan, 4]) is None
    assert suggested_thresholds(arr, [10, 20], [1, 1, 2], [9, 99, 4]) == [
        10,
        80,
    ]  # the rest: the given one stays


def test_potential_comes_from_needed_seats_or_from_the_customers_table():
    users = [f"u{at}" for at in range(10)]
    events = [
        ("a", f"{day:%Y-%m-%d} 09:00:00", user)
        for day in pd.date_range("2024-01-01", "2025-03-30", freq="3D")
        for at, user in enumerate(users)
        if day >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=40 * at)
    ]
    events += [("b", day, "u1") for day in DAYS]
    customers = pd.DataFrame(
        {
            "client_id": ["a", "b"],
            "signup_date": "2023-01-01",
            "arr": [10_000, 5_000],
            "seats": [10, 10],
            "potential_arr": [None, 777],
        }
    )
    portfolio = tiny_portfolio(events, customers)
    result = hs.segment_by_value_tier(portfolio)
    a, b = result.customer("a"), result.customer("b")
    assert a.from_seats > 0 and a.potential is None  # no comparable customers of a year ago
    assert a.from_seats == pytest.approx((a.users_in_a_year - 10) * 1_000, abs=60)
    assert (b.potential, b.potential_source, b.contraction_exposure) == (
        777,
        "customers table",
        4_500,
    )
    again = hs.segment_by_value_tier(
        hs.Portfolio.open(portfolio.path, portfolio.settings)
    )  # the forecast is not made again,
    assert again.to_json() == result.to_json()
    other = portfolio.settings.model_copy(update={"interval_level": 0.8})
    hs.segment_by_value_tier(hs.Portfolio.open(portfolio.path, other))  # for other settings it is
    assert len(list(portfolio.cache.folder.glob("users_ahead*"))) == 2


def test_strategic_tiers_have_the_sizes_of_the_arr_tiers_and_show_how_they_depend_on_the_weights():
    portfolio = portfolio_of([10, 20, 30, 40], strategic_value=[9, 1, 1, 1])
    plain, ranked = (
        hs.segment_by_value_tier(portfolio, model, [25])
        for model in ("arr_based", "strategic_value")
    )
    assert sizes(plain) == sizes(ranked) == {"Enterprise": 2, "SMB": 2}
    assert ranked.strategic_weights == {"arr": 0.5, "potential": 0.3, "strategic_value": 0.2}
    assert len(ranked.sensitivity) == 6 and plain.sensitivity is None
    assert composite(pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, None]}), (1, 1)).tolist() == [
        0.375,
        0.75,
    ]
    assert by_sizes(pd.Series({"a": 0.5, "b": 0.5, "c": np.nan}), [1, 1]).tolist() == [0, 1, -1]


def test_potential_based_tiers_add_the_potential():
    portfolio = portfolio_of([10_000, 10_000], potential_arr=[None, 90_000])
    assert sizes(hs.segment_by_value_tier(portfolio, "potential_based")) == {
        "Enterprise": 0,
        "Corporate": 0,
        "Mid-Market": 1,
        "SMB": 0,
        "Micro": 1,
    }


def test_the_arr_at_risk_is_a_distribution_around_its_expectation(demo):
    result = hs.segment_by_value_tier(demo).at_risk
    assert result.draws == 10_000 and result.lower <= result.median <= result.upper
    assert result.expected >= result.certain and result.lower >= result.certain
    portfolio = hs.segment_by_value_tier(demo)
    assert sum(tier.at_risk.expected for tier in portfolio.value_tiers) == pytest.approx(
        result.expected, abs=1
    )
    mean = (
        portfolio.frame("at_risk").eval("(low + high) / 2 * share").sum()
        / portfolio.frame("at_risk")["share"].sum()
    )
    assert mean == pytest.approx(result.expected, rel=0.15)


def test_a_missing_figure_is_unknown_and_not_ready():
    result = hs.segment_by_value_tier(portfolio_of([20_000])).customer("c00")
    assert result.rules["seats_in_use"] is None and result.ready is not True


@pytest.mark.parametrize("level", ["summary", "detailed", "full"])
def test_each_level_of_detail_has_its_keys(demo, conform, level):
    result = json.loads(hs.segment_by_value_tier(demo, output_detail_level=level).to_json())
    first = result["value_tiers"][0]
    if level == "summary":
        assert "characteristics" not in first and first["customer_count"] is not None
    else:
        assert conform("segment_by_value_tier", result) == []
        assert (first["client_ids"] is not None) == (level == "full")


def test_a_customer_has_its_tier_and_the_amount_to_the_next():
    portfolio = portfolio_of([20_000, 60_000], currency="EUR")
    standing = hs.segment_by_value_tier(portfolio, client_id="c00").customer_standing
    assert (standing.tier, standing.rank, standing.of, standing.next_tier, standing.to_next) == (
        "SMB",
        2,
        2,
        "Mid-Market",
        30_000,
    )
    assert (standing.lower_tier, standing.to_lower, standing.share_of_arr) == (
        "Micro",
        10_000,
        0.25,
    )
    with pytest.raises(ClientNotFound):
        hs.segment_by_value_tier(portfolio, client_id="c09")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 400_000), min_size=1, max_size=8, unique=True).map(sorted),
    st.sampled_from(["arr_based", "potential_based", "strategic_value"]),
)
def test_every_customer_is_in_one_tier_and_all_sums_add_up(demo, limits, model):
    result = hs.segment_by_value_tier(demo, model, limits, output_detail_level="full")
    everybody = [client for tier in result.value_tiers for client in tier.client_ids]
    assert len(everybody) == len(set(everybody)) == result.total_customers
    assert sum(round(10 * tier.percentage_of_customers) for tier in result.value_tiers) == 1000
    assert sum(round(10 * tier.percentage_of_arr) for tier in result.value_tiers) == 1000
    assert sum(tier.total_arr or 0 for tier in result.value_tiers) == pytest.approx(
        result.total_arr, abs=0.5
    )
    arr = result.frame("customers")["arr"].dropna().sort_values(ascending=False).to_numpy()
    count = result.pareto_analysis.top_20_percent_customers
    assert result.pareto_analysis.top_share == pytest.approx(
        arr[:count].sum() / arr.sum(), abs=1e-4
    )


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([50, 10], "don't rise"),
        ([10, 10], "repeated"),
        ([-1], "negative"),
        (["10"], "finite"),
        ([float("inf")], "finite"),
        ([], "not such a list"),
        ([True], "finite"),
        ("10", ""),
        ([None], "finite"),
    ],
)
def test_invalid_thresholds_are_refused(limits, words):
    with pytest.raises(InvalidParameters) as caught:
        hs.segment_by_value_tier(portfolio_of([1]), arr_thresholds=limits)
    assert caught.value.details["parameter"] == "arr_thresholds" and words in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"segmentation_model": "arrbased"},
        {"output_detail_level": "all"},
        {"names": ["a"]},
        {"include_strategic_value": 1},
        {"names": ["a", "a", "b", "c", "d"]},
    ],
)
def test_parameters_outside_their_range_are_refused(parameters):
    with pytest.raises(InvalidParameters) as caught:
        hs.segment_by_value_tier(portfolio_of([1]), **parameters)
    assert caught.value.details["parameter"] == next(iter(parameters))


# -- what they are made of -------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6), max_size=6),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6), max_size=6),
)
def test_a_waterfall_ends_where_its_parts_lead(then, now):
    rows = movements(pd.Series(then, dtype=float), pd.Series(now, dtype=float))
    parts = waterfall(rows)
    assert sum(
        parts[name] for name in ("start", "new", "expansion", "contraction", "churn")
    ) == pytest.approx(parts["end"], abs=1e-3)
    shares = retention(rows)
    assert shares.grr is None or (shares.grr <= 1 + 1e-12 and shares.grr <= shares.nrr + 1e-12)


def test_an_unknown_movement_of_arr_is_left_out():
    assert movements(
        pd.Series({"a": np.nan, "b": 1.0}), pd.Series({"a": 5.0, "b": 1.0})
    ).index.tolist() == ["b"]


def test_concentration_equals_the_sorted_sum_and_the_area():
    arr = np.array([1.0, 2, 3, 4, 90, np.nan])
    top = top_fifth(arr, np.array(list("abcdef")))
    assert (top.count, top.total, top.share) == (1, 90, 0.9)
    curve = lorenz(arr)
    area = np.trapezoid(curve["share_of_total"], curve["share_of_customers"])
    assert gini(arr) == pytest.approx(1 - 2 * area)
    assert gini(np.zeros(3)) is None and lorenz(np.zeros(3)).empty


def test_effects_have_published_values():
    # Hollander & Wolfe (1999), example 4.1 (R's documentation of wilcox.test): one-sided p = 0.1272, shift 0.305
    at_term = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
    early = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
    assert hodges_lehmann(at_term, early).median == pytest.approx(0.305)
    result = dominance(at_term, early)
    assert result.delta == pytest.approx((2 * 35 - 50) / 50)  # W = 35 of 50 pairs
    assert result.lower < result.delta < result.upper and 0.2 < result.p < 0.25


def test_answers_have_their_denominator_and_their_interval():
    rows = pd.DataFrame(
        {
            "channel": ["mail", "mail", "call"],
            "sent": [30, 30, 5],
            "opened": [3, 3, 5],
            "clicked": [3, 3, 5],
            "engaged": [3, 3, 5],
        }
    )
    result = rates(rows, "channel", 30, 0.9)
    assert result[["channel", "sent", "engaged", "rate"]].values.tolist() == [["mail", 60, 6, 0.1]]
    assert result["lower"].iloc[0] < 0.1 < result["upper"].iloc[0]


def test_tiers_whose_names_differ_in_punctuation_alone_keep_their_own_health():
    result = hs.segment_by_value_tier(
        portfolio_of([10, 20, 30]), arr_thresholds=[15], names=["Tier A", "Tier-A"]
    )
    assert list(result.tier_health_summary) == ["tier_a", "tier_a_2"]
    assert sizes(result) == {"Tier-A": 2, "Tier A": 1}


def test_the_chart_of_arr_that_may_churn_names_the_expected_amount_of_the_response(demo):
    result = hs.segment_by_value_tier(demo)
    expected = formats.brief_money(result.at_risk.expected, result.currency)
    assert f"expected {expected}" in result.charts()["at_risk"].to_json()


def test_concentration_by_hand():
    """50, 30 and 20 of 100: Σ share² = 0.25 + 0.09 + 0.04; one has a half. Alike, the index is 1/n."""
    pareto = hs.segment_by_value_tier(portfolio_of([50, 30, 20])).pareto_analysis
    assert pareto.hhi == pytest.approx(0.38)
    assert [(part.customers, part.share) for part in pareto.largest] == [(1, 0.5)]
    alike = hs.segment_by_value_tier(portfolio_of([10.0] * 8)).pareto_analysis
    assert alike.hhi == pytest.approx(1 / 8)
    assert [(part.customers, part.share) for part in alike.largest] == [(1, 0.125), (5, 0.625)]
    nobody = hs.segment_by_value_tier(portfolio_of([0.0, 0.0])).pareto_analysis
    assert nobody.hhi is None and nobody.largest is None


def test_lifetime_value_follows_from_arr_and_the_tiers_rate(year):
    """Twice the ARR at one rate is twice the value; at most three years of ARR, less where more churn."""
    frame = hs.segment_by_value_tier(year, as_of="2025-03-30").frame("customers")
    known = frame.dropna(subset=["lifetime_value"])
    assert len(known) == 4
    ratio = known["lifetime_value"] / known["arr"]
    assert ratio.between(0.5, 3).all()
    assert (
        known["lifetime_value"]
        .between(known["lifetime_value_lower"], known["lifetime_value_upper"])
        .all()
    )
    plain = {"lifetime_years": 1, "discount_rate": 0.0}
    result = hs.segment_by_value_tier(year.with_settings(plain), as_of="2025-03-30")
    shorter = result.frame("customers").set_index("client_id")["lifetime_value"]
    assert (shorter < known.set_index("client_id")["lifetime_value"]).all()
    assert (shorter <= known.set_index("client_id")["arr"]).all()


@pytest.mark.parametrize(("enterprise", "verb"), [(1, "add 2 managers"), (3, "move 2 managers")])
def test_managers_are_moved_where_another_tier_has_too_many(enterprise, verb):
    names = [f"m{number}" for number in range(1 + enterprise)]
    tiers, hours = ["SMB"] + ["Enterprise"] * enterprise, [2.0] + [100.0] * enterprise
    csms = pd.DataFrame({"csm_id": names, "tier": tiers, "capacity_hours": hours})
    portfolio = portfolio_of([20_000] * 5 + [300_000] * 2, tables={"csms": csms})
    actions = hs.segment_by_value_tier(portfolio).recommended_actions_detail
    assert any(f"SMB: {verb}" in rule.text for rule in actions)
