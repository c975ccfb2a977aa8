from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from healthseg.scoring import base_rates
from healthseg.scoring.churn.base_rates import STEP_DAYS, OwnProbability, exposure
from healthseg.scoring.churn.expected import simulate_churn, simulate_horizons
from healthseg.settings import Settings

AS_OF, START = dt.date(2025, 6, 30), dt.date(2024, 1, 1)
FIGURES = [
    "probability",
    "base_rate_lower",
    "base_rate_upper",
    "plausible_lower",
    "plausible_upper",
    "confidence",
]


def customers(*rows):
    columns = ["client_id", "signup_date", "churned_on", "notice_on", "tier"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"churned_on": "datetime64[us]", "notice_on": "datetime64[us]"}
    )


def simulated(seed, monthly, size=100, spread=0.0):
    """Customers of tiers with given monthly rates; with ``spread`` their own log odds scatter about the tier's."""
    rng = np.random.default_rng(seed)
    frames = []
    for tier, rate in monthly.items():
        own = rate * np.exp(spread * rng.standard_normal(size) - spread**2 / 2)
        signup = pd.Timestamp(START) + pd.to_timedelta(rng.integers(0, 300, size), "D")
        left = signup + pd.to_timedelta(
            np.ceil(rng.exponential(STEP_DAYS / own)).clip(max=20_000).astype(int), "D"
        )
        frames.append(
            pd.DataFrame(
                {
                    "client_id": [f"{tier}{at}" for at in range(size)],
                    "signup_date": signup,
                    "churned_on": left,
                    "tier": tier,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def at_90(rates, tier):
    return rates.frame[(rates.frame["tier"] == tier) & (rates.frame["horizon_days"] == 90)].iloc[0]


def test_exposure_counts_days_at_risk_from_entry_to_the_first_of_notice_leaving_and_as_of():
    rows = exposure(
        customers(
            ("late", "2025-06-01", None, None, "SMB"),  # 1 to 30 June: 30 days
            (
                "early",
                "2023-05-01",
                "2024-01-30",
                None,
                "SMB",
            ),  # tracked from 1 January, leaves on the 30th
            ("notice", "2024-01-01", "2024-05-01", "2024-02-29", "SMB"),  # notice after 60 days
            ("before", "2023-01-01", "2023-12-31", None, "SMB"),  # left before tracking began
            (
                "future",
                "2025-06-16",
                "2025-08-01",
                "2025-07-01",
                "SMB",
            ),  # 15 days; what happens later is not known yet
            ("unborn", "2025-07-15", None, None, "SMB"),
        ),
        AS_OF,
        START,
    ).set_index("client_id")
    order = ["late", "early", "notice", "before", "future", "unborn"]
    assert rows.loc[order, "steps"].tolist() == [1.0, 1.0, 2.0, 0.0, 0.5, 0.0]
    assert rows.loc[order, "events"].tolist() == [0, 1, 1, 0, 0, 0]
    assert rows.index[rows["lost"]].tolist() == ["before", "early", "notice"]


def test_nothing_after_as_of_is_read():
    portfolio = simulated(1, {"SMB": 0.05, "Enterprise": 0.02})
    blind = portfolio.assign(
        churned_on=portfolio["churned_on"].where(portfolio["churned_on"] <= pd.Timestamp(AS_OF))
    )
    blind = blind[blind["signup_date"] <= pd.Timestamp(AS_OF)]
    pd.testing.assert_frame_equal(
        base_rates(portfolio, AS_OF, START, Settings()).frame,
        base_rates(blind, AS_OF, START, Settings()).frame,
        check_exact=True,
    )


def test_the_portfolios_own_rate_is_the_gamma_posterior():
    row = at_90(
        base_rates(simulated(2, {"SMB": 0.05, "Enterprise": 0.03}), AS_OF, START, Settings()),
        "the portfolio",
    )
    posterior = stats.gamma(row["events"] + 0.5, scale=1 / row["steps"])
    edges = 1 - np.exp(-3 * posterior.ppf([0.05, 0.95]))
    assert [row["base_rate_lower"], row["base_rate_upper"]] == pytest.approx(
        edges.tolist(), rel=2e-3
    )
    mean = posterior.expect(lambda rate: 1 - np.exp(-3 * rate))
    assert row["probability"] == pytest.approx(mean, rel=1e-6)


def test_a_tiers_probability_is_the_mean_over_all_rates_and_scatters_that_its_counts_allow():
    # events of a tier given the portfolio's mean m and the scatter τ are negative binomial; both integrated by brute force
    rates = base_rates(
        simulated(11, {"SMB": 0.06, "Enterprise": 0.02}, 60), AS_OF, START, Settings()
    )
    rows = [at_90(rates, tier) for tier in ("SMB", "Enterprise")]
    tau, log_m = np.meshgrid(
        np.linspace(0.05, 1.5, 120), np.linspace(np.log(0.002), np.log(0.6), 400)
    )
    shape, beta = 1 / tau**2, 1 / (tau**2 * np.exp(log_m))
    weight = np.exp(log_m / 2)
    for row in rows:
        weight = weight * stats.nbinom.pmf(row["events"], shape, beta / (beta + row["steps"]))
    for row in rows:
        survival = ((beta + row["steps"]) / (beta + row["steps"] + 3)) ** (shape + row["events"])
        assert row["probability"] == pytest.approx(
            1 - (weight * survival).sum() / weight.sum(), rel=0.01
        )


def test_a_small_tier_is_pulled_to_the_portfolio_and_a_large_one_keeps_its_rate():
    portfolio = pd.concat([simulated(3, {"SMB": 0.05}, 400), simulated(4, {"Enterprise": 0.05}, 4)])
    rates = base_rates(portfolio, AS_OF, START, Settings())
    large, small, whole = (at_90(rates, tier) for tier in ("SMB", "Enterprise", "the portfolio"))
    crude = {row["tier"]: 1 - np.exp(-3 * row["events"] / row["steps"]) for row in (large, small)}
    assert large["probability"] == pytest.approx(crude["SMB"], rel=0.03)
    assert abs(small["probability"] - whole["probability"]) < abs(
        crude["Enterprise"] - whole["probability"]
    )
    assert (
        small["base_rate_upper"] - small["base_rate_lower"]
        > large["base_rate_upper"] - large["base_rate_lower"]
    )


def test_tiers_that_truly_differ_are_told_apart():
    rates = base_rates(
        simulated(5, {"SMB": 0.10, "Enterprise": 0.01}, 200), AS_OF, START, Settings()
    )
    assert at_90(rates, "Enterprise")["base_rate_upper"] < at_90(rates, "SMB")["base_rate_lower"]


def test_the_interval_covers_the_tiers_rate_as_often_as_it_says():
    truth = {"Micro": 0.06, "SMB": 0.04, "Enterprise": 0.02}
    inside = [
        row["base_rate_lower"] <= 1 - np.exp(-3 * truth[row["tier"]]) <= row["base_rate_upper"]
        for seed in range(40)
        for _, row in base_rates(
            simulated(seed, truth, 40), AS_OF, START, Settings(), [90]
        ).frame.iterrows()
        if row["tier"] in truth
    ]
    assert len(inside) == 120
    assert 0.84 <= np.mean(inside) <= 0.97  # 90 % of 120, within two and a half binomial errors


def test_the_plausible_range_covers_single_customers_where_the_rates_interval_does_not():
    rng = np.random.default_rng(0)
    row = at_90(base_rates(simulated(6, {"SMB": 0.04}, 400), AS_OF, START, Settings()), "SMB")
    log_odds = OwnProbability(np.array([row["probability"]]), 1.0).centre[0] + rng.standard_normal(
        20_000
    )
    own = special.expit(log_odds)
    assert own.mean() == pytest.approx(row["probability"], abs=0.003)
    plausible = (own >= row["plausible_lower"]) & (own <= row["plausible_upper"])
    rate_only = (own >= row["base_rate_lower"]) & (own <= row["base_rate_upper"])
    assert 0.88 < plausible.mean() < 0.93
    assert rate_only.mean() < 0.35
    assert row["confidence"] == pytest.approx(
        (abs(np.log2(own / row["probability"])) <= 1).mean(), abs=0.02
    )


def test_a_customer_of_unknown_tier_has_the_portfolios_rate():
    portfolio = simulated(7, {"SMB": 0.05, "Enterprise": 0.03})
    rates = base_rates(portfolio, AS_OF, START, Settings())
    live = portfolio.loc[portfolio["churned_on"] > pd.Timestamp(AS_OF), "client_id"].iloc[0]
    for tier in (None, np.nan, "never seen"):
        assert rates.of(live, tier)["tier"].unique().tolist() == ["the portfolio"]
    assert rates.of(live, "SMB")["tier"].unique().tolist() == ["SMB"]
    assert rates.of(live, "SMB")["horizon_days"].tolist() == [30, 90, 180, 365]


def test_a_customer_that_left_or_gave_notice_has_no_probability():
    portfolio = customers(
        ("a", "2024-01-01", None, None, "SMB"), ("b", "2024-01-01", None, "2025-06-01", "SMB")
    )
    rates = base_rates(portfolio, AS_OF, START, Settings())
    assert rates.of("b", "SMB") is None
    assert rates.of("a", "SMB") is not None
    assert at_90(rates, "SMB")[["customers", "at_risk_now", "events"]].tolist() == [2, 1, 1]


def test_a_portfolio_without_churn_dates_says_so():
    portfolio = simulated(8, {"SMB": 0.05}).drop(columns="churned_on")
    rates = base_rates(portfolio, AS_OF, START, Settings())
    assert rates.frame is None
    assert "neither churned_on nor notice_on" in rates.reason
    assert rates.of("SMB1", "SMB") is None


def test_a_portfolio_nobody_was_watched_in_says_so():
    rates = base_rates(customers(("a", "2026-01-01", None, None, "SMB")), AS_OF, START, Settings())
    assert rates.frame is None
    assert "no customer was watched for long enough" in rates.reason


def test_a_portfolio_in_which_nobody_left_still_has_an_upper_bound():
    row = at_90(
        base_rates(
            customers(*((f"c{at}", "2024-01-01", None, None, "SMB") for at in range(30))),
            AS_OF,
            START,
            Settings(),
        ),
        "the portfolio",
    )
    assert row["events"] == 0
    assert 0 < row["probability"] < 0.01
    assert row["base_rate_lower"] < 0.001 < row["base_rate_upper"] < 0.02


def test_longer_horizons_are_likelier_and_ranges_hold_the_mean():
    frame = base_rates(
        simulated(9, {"SMB": 0.05, "Enterprise": 0.03}), AS_OF, START, Settings()
    ).frame
    for _, tier in frame.groupby("tier"):
        assert tier["probability"].is_monotonic_increasing
    assert (
        (frame["base_rate_lower"] < frame["probability"])
        & (frame["probability"] < frame["base_rate_upper"])
    ).all()
    assert (
        (frame["plausible_lower"] < frame["base_rate_lower"])
        & (frame["base_rate_upper"] < frame["plausible_upper"])
    ).all()
    assert frame[FIGURES].stack().between(0, 1).all()


def test_row_order_and_repetition_change_nothing():
    portfolio = simulated(10, {"SMB": 0.05, "Enterprise": 0.03})
    once = base_rates(portfolio, AS_OF, START, Settings()).frame
    again = base_rates(portfolio.sample(frac=1, random_state=1), AS_OF, START, Settings()).frame
    pd.testing.assert_frame_equal(once, again, check_exact=True)


def test_the_simulated_arr_that_churns_has_the_expected_mean():
    """Also where probabilities are small and their logarithms are widely spread."""
    table = pd.DataFrame(
        {"probability": [0.002, 0.01, 0.2], "shared_sd": 0.3, "own_sd": 1.5, "gave_notice": False},
        index=["a", "b", "c"],
    )
    arr = pd.Series([9_000.0, 3_000.0, 100.0], index=table.index)
    draws = simulate_churn(table, pd.Series("SMB", index=table.index), 400_000, 1)
    drawn = draws.arr(arr)
    assert drawn.draws.mean() == pytest.approx(drawn.expected, rel=0.06)
    parts = [draws.arr(arr[["c"]]), draws.arr(arr[["b", "a"]])]
    assert sum(part.draws for part in parts).tolist() == drawn.draws.tolist()


def test_who_churns_within_a_horizon_churns_within_a_longer_one():
    table = pd.DataFrame(
        {"probability": [0.02, 0.1, 0.3], "shared_sd": 0.3, "own_sd": 0.8, "gave_notice": False},
        index=["a", "b", "c"],
    )
    tiers, ones = pd.Series("SMB", index=table.index), pd.Series(1.0, index=table.index)
    month = table.loc[["b"]]
    later = table.assign(probability=1 - (1 - table["probability"]) ** 6)
    drawn = simulate_horizons([month, table, later], tiers, 5_000, 3)
    counts = [draws.arr(ones[draws.probabilities.index]).draws for draws in drawn]
    assert (counts[0] <= counts[1]).all() and (counts[1] <= counts[2]).all()
    assert [count.mean() for count in counts] == pytest.approx([0.1, 0.42, 1.4656], abs=0.02)
    alone = simulate_churn(table, tiers, 5_000, 3)
    assert counts[1].tolist() == alone.arr(ones).draws.tolist()


def test_customers_of_a_tier_churn_together_and_those_of_others_do_not():
    """σ = 2 of a rate that both share, around 0.5: P(both) is E[expit(2z)²] = 0.349 (quadrature); 0.25 apart."""
    table = pd.DataFrame(
        {
            "probability": [0.5, 0.5, 0.5, np.nan, 1.0],
            "shared_sd": [2.0, 2.0, 2.0, np.nan, 0.0],
            "own_sd": 0.0,
            "gave_notice": [False] * 4 + [True],
        },
        index=list("abcde"),
    )
    tiers = pd.Series(["SMB", "SMB", "Micro", "SMB", "SMB"], index=table.index)
    draws = simulate_churn(table, tiers, 100_001, 2)

    def both(*clients):
        return (draws.arr(pd.Series(1.0, index=list(clients))).draws == 2).mean()

    assert both("a", "b") == pytest.approx(0.349, abs=0.006)
    assert both("a", "c") == pytest.approx(0.25, abs=0.006)
    assert both("a", "e") == pytest.approx(0.5, abs=0.006)
    unknown = draws.arr(pd.Series(100.0, index=["d", "e", "of another portfolio"]))
    assert (unknown.customers, unknown.without_probability) == (1, 2)
    assert (set(unknown.draws), unknown.certain, unknown.expected) == ({100.0}, 100.0, 100.0)
