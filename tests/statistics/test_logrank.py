from __future__ import annotations

import numpy as np
import pytest
from statsmodels.duration.survfunc import survdiff

from healthseg.statistics.survival import log_rank, time_factor
from tests.statistics.test_survival import AML, AML_ENDED, MP6, MP6_ENDED

# The placebo group of Freireich et al. (1963): all relapsed
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
# The group of R's survival::aml that was not maintained
NOT_MAINTAINED = [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45]
NOT_MAINTAINED_ENDED = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]


def test_freireichs_groups_have_the_published_log_rank_statistic():
    # Kleinbaum & Klein (2012), Survival Analysis, chapter 2: 16.79 on one degree of freedom
    result = log_rank(MP6 + PLACEBO, MP6_ENDED + [1] * 21, ["6-MP"] * 21 + ["placebo"] * 21)
    assert round(result.statistic, 2) == 16.79 and result.freedom == 1 and result.p < 0.0001
    assert result.groups["observed"].tolist() == [9, 21]
    assert result.groups["expected"].round(2).tolist() == [19.25, 10.75]


def test_the_leukaemia_groups_have_rs_values():
    # survdiff(Surv(time, status) ~ x, aml): 7 and 11 observed, 10.69 and 7.31 expected, chisq 3.4, p = 0.0653
    groups = ["maintained"] * 11 + ["not"] * 12
    result = log_rank(AML + NOT_MAINTAINED, AML_ENDED + NOT_MAINTAINED_ENDED, groups)
    assert result.groups["observed"].tolist() == [7, 11]
    assert result.groups["expected"].round(2).tolist() == [10.69, 7.31]
    assert round(result.statistic, 1) == 3.4 and round(result.p, 4) == 0.0653


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_several_groups_with_late_entries_or_strata_agree_with_statsmodels(seed):
    rng = np.random.default_rng(seed)
    entry = np.round(rng.exponential(3, 120))
    time, event = entry + 1 + np.round(rng.exponential(8, 120)), rng.integers(0, 2, 120)
    group, stratum = rng.integers(0, 3, 120), rng.integers(0, 2, 120)
    for options in ({"entry": entry}, {"strata": stratum}):
        result = log_rank(time, event, group, options.get("entry"), options.get("strata"))
        statistic, p = survdiff(time, event, group, **options)
        assert (
            result.statistic == pytest.approx(statistic)
            and result.p == pytest.approx(p)
            and result.freedom == 2
        )


def test_one_group_and_groups_that_nothing_tells_apart_have_no_test():
    assert log_rank([1, 2], [1, 1], ["a", "a"]) is None
    assert log_rank([1, 2], [0, 0], ["a", "b"]) is None


# -- by what factor --------------------------------------------------------------------------


def blocked(seed, log_factor, onset_days=3.0, spells=500):
    """Spells of five kinds of milestone, over a quarter of them blocked: from then on what remains is longer; a
    twentieth never ends; follow-up of any length."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 5, spells)
    natural = np.array([6, 12, 14, 34, 40])[kind] * np.exp(0.45 * rng.standard_normal(spells))
    onset = rng.uniform(0, onset_days, spells)
    onset[(rng.random(spells) > 0.28) | (onset >= natural)] = np.nan
    time = np.where(np.isfinite(onset), onset + (natural - onset) * np.exp(log_factor), natural)
    time[rng.random(spells) < 0.05] = np.inf
    seen = rng.uniform(5, 400, spells)
    ended, time = time <= seen, np.minimum(time, seen)
    return (
        time,
        ended,
        np.where(onset < time, onset, np.nan),
        kind,
        rng.integers(0, spells // 4, spells),
    )


def test_a_planted_factor_lies_in_its_interval_in_nearly_all_samples():
    effects = [time_factor(*blocked(seed, 0.7)) for seed in range(20)]
    assert sum(each.lower <= np.exp(0.7) <= each.upper for each in effects) >= 18
    assert abs(np.mean([np.log(each.factor) for each in effects]) - 0.7) < 0.05 and all(
        each.p < 0.001 for each in effects
    )


def test_where_a_blocker_changes_nothing_none_is_found():
    effects = [time_factor(*blocked(seed, 0.0)) for seed in range(20)]
    assert sum(each.p < 0.05 for each in effects) <= 2
    assert sum(each.lower <= 1 <= each.upper for each in effects) >= 18


def test_long_spells_meet_more_blockers_and_are_not_blamed_on_them():
    """Blockers that come late find only what was still open: comparing ever against never would call them slow."""
    samples = [blocked(seed, 0.0, onset_days=60.0) for seed in range(20)]
    ever = [np.isfinite(onset) for _, _, onset, _, _ in samples]
    naive = [
        time[mask].mean() / time[~mask].mean()
        for (time, *_), mask in zip(samples, ever, strict=True)
    ]
    effects = [time_factor(*sample) for sample in samples]
    assert np.mean(naive) > 1.2
    assert (
        sum(each.lower <= 1 and (each.upper is None or each.upper >= 1) for each in effects) >= 18
    )


def test_the_factor_is_the_same_in_days_and_in_hours():
    time, ended, onset, kind, customer = blocked(4, 0.5)
    days = time_factor(time, ended, onset, kind, customer)
    hours = time_factor(24 * time, ended, 24 * onset, kind, customer)
    assert hours.factor == pytest.approx(days.factor) and hours.p == pytest.approx(days.p)


def test_nothing_is_said_where_nothing_was_blocked_or_nothing_ended():
    time, ended, onset, kind, customer = blocked(5, 0.5)
    assert time_factor(time, ended, np.full(len(time), np.nan), kind, customer) is None
    assert time_factor(time, np.zeros(len(time), dtype=bool), onset, kind, customer) is None
