"""How long stays last and by which door they end: counted by hand, published examples, the law that was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.metrics.stages import history, stage_spells, time_in_stage
from tests.tools.lifecycle_portfolios import changes, customers, portfolio_of


def frame(days, exits, entry=0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"stage": "trial", "days": np.asarray(days, dtype=float), "entry": entry, "exit_to": exits}
    )


def test_competing_doors_share_what_one_minus_kaplan_meier_gives_to_each_of_them():
    # two doors of equal hazard, everybody leaves: half goes by each, where 1 - Kaplan-Meier of one door alone says
    # nearly all (Putter, Fiocco & Geskus 2007, section 3.2, make the point)
    days = np.arange(1, 201, dtype=float)
    trial = time_in_stage(frame(days, ["active", "churned"] * 100), 0.9)["trial"]
    assert trial.exit_shares() == {"active": pytest.approx(0.5), "churned": pytest.approx(0.5)}
    alone = time_in_stage(
        frame(days, [None if number % 2 else "active" for number in range(200)]), 0.9
    )["trial"]
    assert 1 - alone.still_in(199) > 0.9


def test_doors_and_those_still_in_add_up_to_all_on_every_day():
    rng = np.random.default_rng(7)
    entry = np.where(rng.random(300) < 0.3, rng.uniform(0, 20, 300), 0.0)
    exits = rng.choice(np.array(["active", "churned", None], dtype=object), 300)
    trial = time_in_stage(frame(entry + rng.exponential(30, 300) + 0.5, list(exits), entry), 0.9)[
        "trial"
    ]
    for day in (0, 5, 17.5, 60, trial.observed_until()):
        assert trial.still_in(day) + sum(trial.exit_shares(day).values()) == pytest.approx(
            1.0, abs=1e-12
        )


def test_stays_that_began_unwatched_are_no_survivors_of_days_that_nobody_watched():
    # by hand: at day 10 the first two are at risk (the third enters on day 20): 1/2 stay; at day 30 the last two: 1/4
    trial = time_in_stage(frame([10, 30, 40], ["active", "active", None], [0.0, 0.0, 20.0]), 0.9)[
        "trial"
    ]
    assert (trial.still_in(10), trial.still_in(30)) == (0.5, 0.25)
    naive = time_in_stage(frame([10, 30, 40], ["active", "active", None]), 0.9)["trial"]
    assert naive.still_in(10) == pytest.approx(2 / 3)


def test_late_entry_recovers_the_law_where_the_naive_curve_is_biased():
    rng = np.random.default_rng(11)
    start, length = rng.uniform(-400, 300, 6_000), rng.exponential(100, 6_000)
    seen = start + length > 0  # who had left before day 0 was never seen
    start, length = start[seen], length[seen]
    time, ended = np.minimum(length, 400 - start), length <= 400 - start
    exits = [("active" if has_ended else None) for has_ended in ended]
    late = time_in_stage(frame(time, exits, np.maximum(0, -start)), 0.9)["trial"]
    naive = time_in_stage(frame(time, exits), 0.9)["trial"]
    median = 100 * np.log(2)
    assert late.median.lower <= median <= late.median.upper
    assert naive.median.lower > median + 10


def test_the_share_of_those_still_here_that_left_by_a_day_is_conditional():
    trial = time_in_stage(frame([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], ["active"] * 10), 0.9)[
        "trial"
    ]
    assert trial.exited_by(40, 0.5) == 70.0  # of the six still here on day 40 three left by day 70
    assert trial.exited_by(100, 0.5) is None and trial.exited_by(95, 1.0) == 100.0


def test_a_portfolio_is_read_as_stays_with_their_ends_and_doors():
    who = customers(a="2024-06-01", b="2025-01-01", c="2025-01-01")
    who["churned_on"] = [None, None, "2025-05-01"]
    recorded = changes(
        ("a", "active", "2024-12-01"),
        ("a", "at_risk", "2025-02-01"),
        ("b", "trial", "2025-03-01"),
        ("c", "active", "2025-02-01"),
    )
    portfolio = portfolio_of(recorded, who=who)
    spells = stage_spells(portfolio, history(portfolio), portfolio.data_until).astype(object)
    rows = [
        (
            spell.client_id,
            spell.stage,
            spell.days,
            spell.entry,
            None if pd.isna(spell.exit_to) else spell.exit_to,
        )
        for spell in spells.itertuples()
    ]
    assert rows == [
        ("a", "active", 62.0, 31.0, "at_risk"),
        ("a", "at_risk", 149.0, 0.0, None),
        ("b", "trial", 121.0, 0.0, None),
        ("c", "active", 89.0, 0.0, "churned"),
    ]
