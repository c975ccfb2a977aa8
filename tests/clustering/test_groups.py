"""Groups are found where there are some, and nothing is found in clouds, however skewed, counted or correlated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture

from benchmarks.segments_truth import KINDS, cloud
from healthseg.clustering.groups import grouping, profile, sample_of
from healthseg.clustering.mixture import (
    METHODS,
    fit,
    references,
    scale_of,
    silhouette,
    skewness,
)
from healthseg.settings import Settings

NAMES = list("abcd")
CORNERS = np.array([[1, 1, 1, 1], [-1, -1, -1, 1], [1, -1, -1, -1], [-1, 1, 1, -1]]) * 3.2


def four(seed, n=160):
    """Four groups far apart, correlated within; labels beside."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, n)
    within = np.linalg.cholesky(0.4 * np.eye(4) + 0.6) @ rng.standard_normal((4, n))
    ids = [f"c{at:03d}" for at in range(n)]
    return pd.DataFrame(CORNERS[label] + within.T, index=ids, columns=NAMES), label


@pytest.mark.parametrize("method", METHODS)
def test_planted_groups_are_found_again_with_their_number(method):
    frame, label = four(1)
    result = grouping(frame, method, 5, 8, Settings())
    assert result.reason is None and result.groups == 4
    assert adjusted_rand_score(label, result.placed["group"].to_numpy()) >= 0.9
    assert result.evidence.p <= 0.01 and result.evidence.draws == 99
    assert (
        result.placed["certainty"].between(0.25, 1).all()
        and result.placed["certainty"].median() > 0.99
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_has_no_stable_segments(kind):
    for seed in (1, 2):
        result = grouping(cloud(kind, seed, 160), "gaussian_mixture", 5, 6, Settings())
        assert result.reason is not None, result.evidence.tried


def test_the_same_customers_in_another_order_are_grouped_alike():
    frame, _ = four(2, 120)
    mixed = frame.sample(frac=1, random_state=3)
    first, other = (
        grouping(rows, "kmeans", 5, 5, Settings()).placed for rows in (frame, mixed[NAMES])
    )
    pd.testing.assert_frame_equal(first, other.loc[first.index])


def test_a_number_that_is_asked_for_is_given_and_judged():
    result = grouping(cloud("independent", 4, 160), "kmeans", 5, 8, Settings(), groups=3)
    assert result.groups == 3 and result.reason is not None and result.evidence.groups is None


def test_few_customers_one_value_and_missing_metrics_have_their_reasons():
    frame, _ = four(3)
    assert "40 are needed" in grouping(frame.head(20), "kmeans", 5, 8, Settings()).reason
    same = grouping(frame.assign(a=1.0), "kmeans", 5, 4, Settings())
    assert same.dropped == {"a": "it has fewer than three distinct values"}
    rare = grouping(
        frame.assign(b=frame["b"].where(np.arange(len(frame)) < 30)), "kmeans", 5, 4, Settings()
    )
    assert "known of 19%" in rare.dropped["b"]
    nothing = grouping(frame[["a"]].assign(a=1.0), "kmeans", 5, 4, Settings())
    assert nothing.reason and nothing.placed.empty


def test_other_rows_are_placed_by_the_groups_that_were_found():
    frame, _ = four(5, 120)
    result = grouping(frame, "gaussian_mixture", 5, 5, Settings())
    again = result.place(frame)
    pd.testing.assert_series_equal(again["group"], result.placed["group"])
    assert result.place(frame.iloc[:3].assign(a=np.nan)).empty


def test_the_border_lies_where_two_groups_are_equally_near():
    frame, _ = four(6, 120)
    result = grouping(frame, "kmeans", 5, 5, Settings())
    mixture = result.evidence.mixture
    away = np.sqrt(mixture.distances(mixture.centres)) + 99 * np.eye(4)
    first, other = np.unravel_index(away.argmin(), away.shape)
    middle = (mixture.centres[first] + mixture.centres[other]) / 2
    values = [
        scale.centre + scale.spread * value
        for scale, value in zip(result.scales, middle, strict=True)
    ]
    raw = pd.DataFrame([values], columns=NAMES, index=["m"])
    assert result.place(raw)["border"].iloc[0] == pytest.approx(0, abs=1e-6)


def test_the_profile_names_the_metric_that_is_farthest_from_the_others_first():
    frame = pd.DataFrame(
        {"a": [0.0, 0, 1, 1, 9, 9], "b": [1.0, 2, 1, 2, 1, 2]}, index=list("uvwxyz")
    )
    rows = profile(frame, pd.Series([0, 0, 0, 0, 1, 1], index=frame.index))
    assert rows.groupby("group").first()["metric"].tolist() == ["a", "a"]
    assert rows[rows["group"] == 1].iloc[0]["median"] == 9


def test_the_silhouette_is_scikit_learns():
    frame, label = four(7, 90)
    points = frame.to_numpy()
    assert silhouette(points, label) == pytest.approx(silhouette_score(points, label))


def test_the_mixture_is_scikit_learns_with_a_tied_covariance():
    frame, _ = four(8, 200)
    points = frame.to_numpy()
    fitted = fit(points, 4, "gaussian_mixture", np.zeros(4), seed=1, starts=6)
    reference = GaussianMixture(
        4, covariance_type="tied", n_init=6, random_state=1, tol=1e-6, reg_covar=0
    ).fit(points)
    assert fitted.log_likelihood == pytest.approx(reference.score(points) * 200, abs=0.5)
    assert fitted.bic == pytest.approx(-reference.bic(points), abs=1)
    assert fitted.memberships(points).sum(axis=1) == pytest.approx(1)


def test_a_reference_has_the_portfolios_own_values_and_its_rank_correlations():
    points = cloud("correlated skewed", 5, 400).to_numpy()
    drawn = list(references(points, 20, seed=1))
    assert all(np.array_equal(np.sort(sample, axis=0), np.sort(points, axis=0)) for sample in drawn)
    wanted = stats.spearmanr(points).statistic
    got = np.mean([stats.spearmanr(sample).statistic for sample in drawn], axis=0)
    assert np.abs(got - wanted).max() < 0.08


def test_skewed_metrics_are_transformed_and_others_are_not():
    rng = np.random.default_rng(1)
    assert scale_of("x", np.exp(rng.normal(0, 1.2, 300))).form == "log"
    assert scale_of("x", rng.normal(50, 5, 300)).form == "none"
    assert scale_of("x", np.array([1.0, 1.0, 2.0])) is None
    assert skewness(np.ones(4)) == 0


def test_an_outlier_is_moved_to_where_customers_were_seen():
    values = np.r_[np.linspace(0, 1, 100), 1000.0]
    assert scale_of("x", values).of(np.array([1000.0]))[0] <= 5


def test_the_sample_of_a_large_portfolio_is_the_same_whatever_the_order():
    names = [f"c{at}" for at in range(1000)]
    picked = {names[at] for at in sample_of(names, 100)}
    back = names[::-1]
    assert picked == {back[at] for at in sample_of(back, 100)} and len(picked) == 100
