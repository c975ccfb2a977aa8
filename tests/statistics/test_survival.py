from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from healthseg.statistics.survival import (
    aalen_johansen,
    kaplan_meier,
    quantile_time,
    survival_at,
)

# Remission of leukaemia under 6-mercaptopurine, weeks (Freireich et al. 1963, Blood 21, 699-716)
MP6 = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
MP6_ENDED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
# Acute myelogenous leukaemia, maintained group, weeks (Miller 1981, Survival Analysis; R's survival::aml)
AML = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
AML_ENDED = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]


def test_freireichs_remission_curve_has_its_published_values():
    # Kleinbaum & Klein (2012), Survival Analysis, table 2.1; standard errors as R's survfit prints them
    curve = kaplan_meier(MP6, MP6_ENDED)
    assert curve["time"].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve["at_risk"].tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve["survival"].round(4).tolist() == [
        0.8571,
        0.8067,
        0.7529,
        0.6902,
        0.6275,
        0.5378,
        0.4482,
    ]
    assert curve["std_error"].round(4).tolist() == [
        0.0764,
        0.0869,
        0.0963,
        0.1068,
        0.1141,
        0.1282,
        0.1346,
    ]
    assert quantile_time(curve).time == 23.0
    assert quantile_time(curve).upper is None


def test_the_maintained_leukaemia_group_has_rs_values():
    # summary(survfit(Surv(time, status) ~ x, aml)), x = Maintained
    curve = kaplan_meier(AML, AML_ENDED)
    assert curve["survival"].round(3).tolist() == [0.909, 0.818, 0.716, 0.614, 0.491, 0.368, 0.184]
    assert curve["std_error"].round(4).tolist() == [
        0.0867,
        0.1163,
        0.1397,
        0.1526,
        0.1642,
        0.1627,
        0.1535,
    ]
    assert quantile_time(curve).time == 31.0


def test_a_curve_that_never_falls_to_half_has_no_median():
    assert quantile_time(kaplan_meier([1, 2, 3, 4], [1, 0, 0, 0])).time is None


def test_bounds_lie_around_the_curve_within_0_and_1():
    curve = kaplan_meier(AML, AML_ENDED)
    assert ((curve["lower"] < curve["survival"]) & (curve["survival"] < curve["upper"])).all()
    assert curve[["lower", "upper"]].stack().between(0, 1).all()


def test_the_curve_is_1_before_its_first_step_and_drops_at_it():
    curve = kaplan_meier([2, 4], [1, 1])
    assert survival_at(curve, [0, 1.9, 2, 3.9, 4, 9]).tolist() == [1, 1, 0.5, 0.5, 0, 0]


def test_late_entries_are_at_risk_only_from_their_entry():
    # by hand: at 2 the spells (0,2] and (0,5] are at risk, that of (3,6] not yet; at 5 (0,5] and (3,6]; at 6 one
    curve = kaplan_meier([2, 5, 6], [1, 1, 1], entry=[0, 0, 3])
    assert curve["at_risk"].tolist() == [2, 2, 1]
    assert curve["survival"].tolist() == [0.5, 0.25, 0.0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_delayed_entry_agrees_with_statsmodels(seed):
    rng = np.random.default_rng(seed)
    entry = np.round(rng.exponential(3, 80))
    time = entry + 1 + np.round(rng.exponential(8, 80))
    entry[0] = 0
    event = rng.integers(0, 2, 80)
    reference = SurvfuncRight(time, event, entry=entry)
    curve = kaplan_meier(time, event, entry)
    steps = reference.n_events > 0
    assert curve["time"].tolist() == reference.surv_times[steps].tolist()
    assert np.allclose(curve["survival"], reference.surv_prob[steps])
    assert np.allclose(curve["std_error"].fillna(0), np.nan_to_num(reference.surv_prob_se[steps]))


def test_spells_without_length_are_refused():
    with pytest.raises(ValueError, match="entry < time"):
        kaplan_meier([3], [1], entry=[3])


def test_a_published_competing_risk_table_is_reproduced():
    # Satagopan et al. (2004), British Journal of Cancer 91, 1229-1235, table 2: 305 patients, the first nine by name;
    # the overall survival as printed, and each death of breast cancer adding its printed 0.3 per cent
    time = [7, 10, 14, 16, 18, 23, 24, 26, 27] + [100] * 296
    cause = [None, "bc", None, "bc", "other", "bc", None, "other", "bc"] + [None] * 296
    table = aalen_johansen(time, cause)
    own = table[(table["cause"] == "bc") & (table["events"] > 0)]
    assert own["time"].tolist() == [10, 16, 23, 27]
    assert own["at_risk"].tolist() == [304, 302, 300, 297]
    assert (100 * own["cumulative_incidence"].diff().fillna(own["cumulative_incidence"])).round(
        1
    ).tolist() == [0.3] * 4
    overall = kaplan_meier(time, [each is not None for each in cause])
    assert (100 * overall["survival"]).round(1).tolist() == [99.7, 99.3, 99.0, 98.7, 98.3, 98.0]


def test_the_curves_of_rs_fine_gray_example_are_reproduced():
    # R survival, tests/finegray.R, data set 1: by Geskus (2011) the Aalen-Johansen incidence of type 1 is one minus a
    # Kaplan-Meier in which those that left by type 2 stay at risk with the weights that file derives by hand
    time = [1, 2, 3, 4, 4, 4, 5, 5, 6, 8, 8, 9, 10, 12]
    status = [1, 2, 0, 1, 0, 0, 2, 1, 0, 0, 2, 0, 1, 0]
    table = aalen_johansen(time, [None if code == 0 else f"type{code}" for code in status])
    own = table[(table["cause"] == "type1") & (table["events"] > 0)]
    after_4, after_5 = 11 / 12, 11 / 12 * 8 / 10  # the weight of the one that left at 2
    after_9 = after_5 * 5 / 6 * 3 / 4 * 2 / 3
    at_risk = np.array([14, 11 + after_4, 8 + after_5, 2 + after_9 + 5 / 12 + 1 / 2])
    assert own["time"].tolist() == [1, 4, 5, 10]
    assert own["cumulative_incidence"].tolist() == pytest.approx(
        (1 - np.cumprod(1 - 1 / at_risk)).tolist()
    )


def test_competing_exits_with_delayed_entry_counted_by_hand():
    # (0,2] a; (0,4] b; (1,5] a; (3,6] open. Just before 2: 3 at risk, before 4: 3, before 5: 2
    table = aalen_johansen([2, 4, 5, 6], ["a", "b", "a", None], entry=[0, 0, 1, 3])
    a, b = (
        table[table["cause"] == name].set_index("time")["cumulative_incidence"] for name in "ab"
    )
    assert a.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3 + 2 / 3 * 2 / 3 * 1 / 2])
    assert b.tolist() == pytest.approx([0, 2 / 3 * 1 / 3, 2 / 9])


def test_without_censoring_the_error_of_an_incidence_is_the_binomial_one():
    time = np.arange(1, 21)
    cause = ["a" if at % 3 else "b" for at in time]
    table = aalen_johansen(time, cause)
    share = table["cumulative_incidence"]
    assert np.allclose(table["std_error"], np.sqrt(share * (1 - share) / 20))


def test_one_door_alone_is_one_minus_kaplan_meier():
    table = aalen_johansen(MP6, ["end" if ended else None for ended in MP6_ENDED])
    curve = kaplan_meier(MP6, MP6_ENDED)
    assert np.allclose(table["cumulative_incidence"], 1 - curve["survival"])
    assert np.allclose(table["std_error"], curve["std_error"])


def test_no_exit_has_no_rows():
    assert aalen_johansen([1, 2], [None, None]).empty


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 6), st.sampled_from(["a", "b", "c", None])),
        min_size=1,
        max_size=25,
    )
)
def test_survival_and_the_incidences_of_all_doors_sum_to_one(spells):
    entry, length, cause = (list(column) for column in zip(*spells, strict=True))
    time = [start + more for start, more in zip(entry, length, strict=True)]
    table = aalen_johansen(time, cause, entry)
    curve = kaplan_meier(time, [each is not None for each in cause], entry)
    total = (
        table.groupby("time")["cumulative_incidence"].sum()
        if len(table)
        else pd.Series(dtype=float)
    )
    assert np.allclose(total.to_numpy() + curve["survival"].to_numpy(), 1)
    assert curve["survival"].is_monotonic_decreasing
