"""Our own statistics and models where a library has them too: does it agree, and what does it cost?

python benchmarks/libraries.py
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from mlxtend.frequent_patterns import fpgrowth
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, silhouette_score
from sklearn.mixture import GaussianMixture
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from threadpoolctl import threadpool_limits

from healthseg.clustering.bundles import at_least, frequent_itemsets
from healthseg.clustering.mixture import fit, silhouette
from healthseg.scoring.report_card import accuracy
from healthseg.statistics.effects import fit_logistic
from healthseg.statistics.robust import theil_sen
from healthseg.statistics.separation import average_precision
from healthseg.statistics.survival import kaplan_meier, log_rank


def milliseconds(call: Callable[[], object], times: int = 5) -> float:
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e3


def line(name: str, gap: float, own: Callable[[], object], rival: Callable[[], object]) -> None:
    print(
        f"{name:34} difference {gap:.0e}  ours {milliseconds(own):7.2f} ms"
        f"  theirs {milliseconds(rival):7.2f} ms"
    )


def models() -> None:
    rng = np.random.default_rng(7)
    has = rng.random((2000, 40)) < 0.6 * rng.random(40)
    frame = pd.DataFrame(has, columns=[f"f{at:02d}" for at in range(40)])
    names, least = list(frame), 20
    sets = frequent_itemsets(has, names, least, 2)
    expected = fpgrowth(frame, min_support=least / 2000, use_colnames=True, max_len=2)
    line(
        "pairs of 40 items, 2,000 units",
        float(len(sets) - len(expected)),
        lambda: frequent_itemsets(has, names, least, 2),
        lambda: fpgrowth(frame, min_support=least / 2000, use_colnames=True, max_len=2),
    )
    chances = rng.random(2000) * 0.3
    count = int(chances.sum() + 11 * np.sqrt(chances.sum()))
    line(
        "Poisson-binomial tail at 11 sd",
        abs(at_least(count, chances) - stats.poisson_binom.sf(count - 1, chances)),
        lambda: at_least(count, chances),
        lambda: stats.poisson_binom.sf(count - 1, chances),
    )
    points, label = rng.normal(size=(600, 5)), rng.integers(0, 4, 600)
    line(
        "silhouette, 600 points",
        abs(silhouette(points, label) - silhouette_score(points, label)),
        lambda: silhouette(points, label),
        lambda: silhouette_score(points, label),
    )
    groups = np.concatenate([rng.normal(size=(80, 5)) + at for at in (0, 2, 4)])
    mixture = GaussianMixture(3, covariance_type="tied", n_init=3, random_state=1, tol=1e-4)
    fitted = fit(groups, 3, "gaussian_mixture", np.zeros(5), 1, 3)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        line(
            "tied mixture of 3, 240 points",
            abs(fitted.log_likelihood / 240 - mixture.fit(groups).score(groups))
            if fitted
            else np.nan,
            lambda: fit(groups, 3, "gaussian_mixture", np.zeros(5), 1, 3),
            lambda: mixture.fit(groups),
        )
    outcome = (rng.random(4000) < 0.05).astype(float)
    risk, weight = rng.normal(size=4000).round(2) + outcome, rng.poisson(1, 4000).astype(float)

    def auc(outcome: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
        return accuracy.auc(outcome, risk, np.zeros(len(outcome)), weight)

    pairs = {"AUC": (auc, roc_auc_score), "precision": (average_precision, average_precision_score)}
    for name, (own, library) in pairs.items():
        line(
            f"weighted {name}, 4,000 rows",
            abs(own(outcome, risk, weight) - library(outcome, risk, sample_weight=weight)),
            lambda own=own: own(outcome, risk, weight),
            lambda library=library: library(outcome, risk, sample_weight=weight),
        )


def main() -> None:
    rng = np.random.default_rng(7)
    x, series = np.arange(53.0), np.cumsum(rng.normal(size=(500, 53)), axis=1)
    slopes = np.array([stats.theilslopes(row, x, 0.9)[0] for row in series])
    line(
        "Theil-Sen, 500 series of 53",
        float(np.abs(theil_sen(x, series, 0.9).slope - slopes).max()),
        lambda: theil_sen(x, series, 0.9),
        lambda: [stats.theilslopes(row, x, 0.9) for row in series],
    )
    entry = rng.integers(0, 30, 2000).astype(float)
    end, ended = entry + 1 + rng.integers(0, 300, 2000), rng.random(2000) < 0.6
    group = rng.choice(["a", "b", "c"], 2000)
    curve = SurvfuncRight(end, ended.astype(int), entry=entry)
    line(
        "Kaplan-Meier, 2,000 late entries",
        float(np.abs(kaplan_meier(end, ended, entry)["survival"] - curve.surv_prob).max()),
        lambda: kaplan_meier(end, ended, entry),
        lambda: SurvfuncRight(end, ended.astype(int), entry=entry),
    )
    once = SurvfuncRight(np.array([1.0, 2, 2]), np.array([1, 1, 0]), entry=np.array([0.0, 1, 1]))
    print(f"statsmodels' curve once it has reached 0: {once.surv_prob.tolist()}")
    tested = log_rank(end, ended, group, entry)
    line(
        "log-rank, 2,000 late entries",
        abs(tested.statistic - float(survdiff(end, ended.astype(int), group, entry=entry)[0])),
        lambda: log_rank(end, ended, group, entry),
        lambda: survdiff(end, ended.astype(int), group, entry=entry),
    )
    design = np.column_stack([np.ones(2000), rng.normal(size=(2000, 5))])
    outcome = (rng.random(2000) < 0.2).astype(float)
    import statsmodels.api as sm

    reference = sm.Logit(outcome, design).fit(disp=0, tol=1e-12).params
    flat = np.zeros(design.shape[1])
    line(
        "logistic without a prior",
        float(np.abs(fit_logistic(design, outcome, flat, flat) - reference).max()),
        lambda: fit_logistic(design, outcome, flat, flat),
        lambda: sm.Logit(outcome, design).fit(disp=0),
    )
    models()


if __name__ == "__main__":
    main()
