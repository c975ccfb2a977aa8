"""How long milestones take, as spells: published curves through the door of a portfolio, value, forecasts, blockers."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from healthseg.metrics.milestone_plan import plan_of
from healthseg.metrics.milestone_times import (
    ahead,
    blocker_effects,
    marks,
    retention_after,
    spells,
    value_median,
    values,
)
from healthseg.statistics.survival import kaplan_meier, log_rank, quantile_time
from healthseg.testing import tiny_portfolio
from tests.statistics.test_logrank import NOT_MAINTAINED, NOT_MAINTAINED_ENDED
from tests.statistics.test_survival import AML, AML_ENDED


def weekly(client, first, last):
    return [
        (client, str(day), "u")
        for day in pd.date_range(first, last, freq="7D") + pd.Timedelta(hours=9)
    ]


PLAN = pd.DataFrame(
    {
        "milestone_id": ["go", "grow"],
        "name": ["Go", "Grow"],
        "category": ["adoption", "expansion"],
        "target_days": [30, 300],
    }
)


def leukaemia():
    """R's survival::aml as a portfolio: a patient is a customer, the groups began in two quarters, remission ended is the
    milestone completed; who was censored left on the day after."""
    groups = [
        ("m", "2024-01-10", AML, AML_ENDED),
        ("n", "2024-04-10", NOT_MAINTAINED, NOT_MAINTAINED_ENDED),
    ]
    who, done = [], []
    for name, signup, times, ended in groups:
        for number, (time, event) in enumerate(zip(times, ended, strict=True)):
            client, began = f"{name}{number:02d}", dt.date.fromisoformat(signup)
            last = began + dt.timedelta(days=time)
            who.append((client, signup, None if event else last + dt.timedelta(days=1)))
            done += [(client, "go", last)] if event else []
    customers = pd.DataFrame(who, columns=["client_id", "signup_date", "churned_on"])
    progress = pd.DataFrame(
        [*done, ("m00", "grow", None)], columns=["client_id", "milestone_id", "completed_at"]
    )
    started = np.where(progress["milestone_id"] == "grow", "2024-01-10", None)
    return tiny_portfolio(
        weekly("m00", "2024-01-10", "2025-03-31"),
        customers,
        milestones=PLAN,
        milestone_progress=progress.assign(started_at=started),
    )


@pytest.fixture(scope="module")
def aml():
    return leukaemia()


def test_a_portfolios_curves_are_rs_curves_of_the_same_spells(aml):
    # survfit(Surv(time, status) ~ x, aml): medians 31 and 23; survdiff: chisq 3.4, p = 0.0653
    rows = values(aml, aml.as_of())
    rows = rows[rows["mark"] == "first_value"]
    medians = {}
    for quarter, part in rows.groupby("quarter"):
        curve = kaplan_meier(part["time"], part["happened"])
        medians[quarter] = quantile_time(curve).time
        if quarter == "2024 Q1":
            assert curve["survival"].round(3).tolist() == [
                0.909,
                0.818,
                0.716,
                0.614,
                0.491,
                0.368,
                0.184,
            ]
    assert medians == {"2024 Q1": 31.0, "2024 Q2": 23.0}
    result = log_rank(rows["time"], rows["happened"], rows["quarter"])
    assert round(result.statistic, 1) == 3.4 and round(result.p, 4) == 0.0653


def test_spells_end_with_completion_with_leaving_or_with_today(aml):
    rows = spells(aml, aml.as_of()).set_index(["milestone_id", "client_id"])
    assert rows.loc[("go", "m00")].tolist() == [9, True] and rows.loc[("go", "m02")].tolist() == [
        13,
        False,
    ]
    assert rows.loc[("grow", "m00"), "time"] == (aml.as_of() - dt.date(2024, 1, 10)).days


def test_the_median_of_chosen_customers_needs_enough_of_them(aml):
    first = [f"m{number:02d}" for number in range(11)]
    assert value_median(aml, aml.as_of(), "first_value", first, 8) == 31
    assert value_median(aml, aml.as_of(), "first_value", first[:7], 8) is None


def test_value_is_what_is_marked_else_what_the_category_says():
    plan = pd.DataFrame(
        {
            "milestone_id": ["a", "b", "c", "d"],
            "name": list("ABCD"),
            "target_days": [5, 10, 20, 30],
            "category": ["onboarding", "onboarding", "adoption", "adoption"],
            "required": [True, False, True, False],
        }
    )
    events = weekly("x", "2025-03-01", "2025-04-30")
    marked = marks(plan_of(tiny_portfolio(events, milestones=plan)))
    assert {name: mark.ids for name, mark in marked.items()} == {
        "first_value": ("c", "d"),
        "activation": ("a",),
        "full_adoption": ("a", "c"),
    }
    plan = plan.assign(marks=["first_value", None, "activation", None])
    marked = marks(plan_of(tiny_portfolio(events, milestones=plan)))
    assert marked["first_value"].ids == ("a",) and marked["activation"].ids == ("c",)


def test_first_value_is_the_earliest_and_full_adoption_the_last_of_what_was_not_skipped():
    plan = pd.DataFrame(
        {
            "milestone_id": ["a", "c", "d"],
            "name": list("ACD"),
            "target_days": [5, 20, 30],
            "category": ["onboarding", "adoption", "adoption"],
        }
    )
    done = pd.DataFrame(
        {
            "client_id": "x",
            "milestone_id": ["a", "c", "d"],
            "completed_at": ["2025-03-20", "2025-03-11", None],
            "skipped_at": [None, None, "2025-03-15"],
        }
    )
    who = pd.DataFrame({"client_id": ["x"], "signup_date": ["2025-03-01"]})
    portfolio = tiny_portfolio(
        weekly("x", "2025-03-01", "2025-04-30"), who, milestones=plan, milestone_progress=done
    )
    rows = values(portfolio, portfolio.as_of()).set_index("mark")
    assert rows["days"].to_dict() == {"first_value": 10, "activation": 19, "full_adoption": 19}
    early = values(portfolio, dt.date(2025, 3, 12)).set_index("mark")
    assert early["happened"].to_dict() == {
        "first_value": True,
        "activation": False,
        "full_adoption": False,
    }


def test_a_forecast_looks_only_at_spells_that_lasted_as_long():
    rows = pd.DataFrame({"time": [1, 2, 3, *range(20, 40)], "happened": True})
    forecast = ahead(rows, 10, 0.5)
    # of 20 that lasted as long: the 10th, the 5th and the 16th, as of 21
    assert (forecast.median, forecast.lower, forecast.upper, forecast.n) == (29, 24, 35, 20)
    assert ahead(rows, 39, 0.5).n == 0 and ahead(rows, 39, 0.5).median is None


def test_a_forecasts_interval_holds_a_new_spell_as_often_as_it_says():
    inside = []
    for seed in range(300):
        lasts = np.ceil(30 * np.exp(0.5 * np.random.default_rng(seed).standard_normal(41)))
        forecast = ahead(pd.DataFrame({"time": lasts[:40], "happened": True}), 0, 0.80)
        inside.append(forecast.lower <= lasts[40] <= (forecast.upper or np.inf))
    assert 0.75 <= np.mean(inside) <= 0.88


def test_a_forecast_that_most_never_reach_has_no_median():
    rows = pd.DataFrame({"time": [20.0, 25, *[90] * 10], "happened": [True, True, *[False] * 10]})
    forecast = ahead(rows, 10, 0.5)
    assert (forecast.median, forecast.lower, forecast.upper) == (None, 20, None)


def test_the_last_step_of_a_curve_is_not_read():
    rows = pd.DataFrame({"time": [20.0, *[30] * 8, 40], "happened": [True, *[False] * 8, True]})
    assert ahead(rows, 10, 0.5).median is None


def test_the_cost_of_a_blocker_is_told_of_those_that_were_met_often_enough():
    rng = np.random.default_rng(3)
    rows = []
    for number in range(120):
        blocker = ["legal", "rare", None, None][number % 4] if number < 100 else None
        blocker = None if blocker == "rare" and number > 20 else blocker
        days = int(
            np.ceil(12 * np.exp(0.3 * rng.standard_normal()) * (3 if blocker == "legal" else 1))
        )
        start = dt.date(2025, 1, 2)
        rows.append(
            {
                "client_id": f"c{number:03d}",
                "milestone_id": "go",
                "started_at": start,
                "blocker": blocker,
                "blocked_since": start if blocker else None,
                "completed_at": start + dt.timedelta(days=days),
            }
        )
    done = pd.DataFrame(rows)
    who = pd.DataFrame({"client_id": done["client_id"], "signup_date": "2025-01-01"})
    portfolio = tiny_portfolio(
        weekly("c000", "2025-01-01", "2025-12-31"), who, milestones=PLAN, milestone_progress=done
    )
    effects = blocker_effects(portfolio, portfolio.as_of(), 0.95)
    assert effects["blocker"].tolist() == ["legal"] and effects["q"].iloc[0] < 1e-6
    assert effects["lower"].iloc[0] < 3 < effects["upper"].iloc[0] and effects["n"].iloc[0] == 25


# -- retention after the due day --------------------------------------------------------------


def of_two_sides(customers):
    """A portfolio in which each customer, all of them signed up on one day, is ``(done on day, churned on day)``."""
    began = pd.Timestamp("2024-01-01")
    who, done = [], []
    for number, (day, churned) in enumerate(customers):
        client = f"c{number:03d}"
        left = None if churned is None else (began + pd.Timedelta(days=churned)).date()
        who.append((client, "2024-01-01", left))
        at = None if day is None else (began + pd.Timedelta(days=day)).date()
        done.append((client, "go", "2024-01-01", at))
    return tiny_portfolio(
        weekly("c000", "2024-01-01", "2025-06-30"),
        pd.DataFrame(who, columns=["client_id", "signup_date", "churned_on"]),
        milestones=PLAN,
        milestone_progress=pd.DataFrame(
            done, columns=["client_id", "milestone_id", "started_at", "completed_at"]
        ),
    )


def test_retention_counts_from_the_due_day_and_by_what_was_done_on_it():
    """Due on day 30: of five that were live then two had it done, and one of them churned within 180 days; one more had it
    done on day 90, is one of the others for all that, and churned, as one of these two did."""
    portfolio = of_two_sides(
        [(10, None), (30, 200), (90, 150), (None, None), (None, 215), (5, 20), (None, 25)]
    )
    row = retention_after(portfolio, portfolio.as_of()).set_index("milestone_id").loc["go"]
    assert (row["n"], row["churned"], row["done"], row["others"]) == (5, 2, 2, 3)
    assert row["done_retained"] == 0.5 and row["others_retained"] == pytest.approx(2 / 3)
    assert np.isnan(row["difference"])  # too few churned


def test_late_completion_by_those_that_stayed_longer_is_no_effect():
    """Everybody churns on a day of its own, and completes on another if it is still there: who ever completed stayed longer by
    that alone, whereas of those live on the due day both sides churn alike."""
    rng = np.random.default_rng(5)
    churn, done = rng.exponential(250, 400) + 1, rng.uniform(1, 300, 400)
    both = [
        (int(d) if d < c else None, int(c) if c < 500 else None)
        for d, c in zip(done, churn, strict=True)
    ]
    ever = np.array([day is not None for day, _ in both])
    gone = np.array([left is not None and left <= 210 for _, left in both])
    assert gone[~ever].mean() - gone[ever].mean() > 0.3
    portfolio = of_two_sides(both)
    row = retention_after(portfolio, portfolio.as_of()).set_index("milestone_id").loc["go"]
    assert row["lower"] < 0 < row["upper"]


def test_a_planted_effect_of_completing_in_time_shows_as_large_as_it_is():
    both = [(10, 100) if n % 10 == 0 else (10, None) for n in range(100)]
    both += [(None, 100) if n % 2 == 0 else (None, None) for n in range(100)]
    portfolio = of_two_sides(both)
    row = retention_after(portfolio, portfolio.as_of()).set_index("milestone_id").loc["go"]
    assert (row["done_retained"], row["others_retained"]) == (0.9, 0.5)
    assert row["difference"] == pytest.approx(0.4) and row["lower"] > 0.25 and row["q"] < 0.001
