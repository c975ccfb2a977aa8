"""Our own statistics where a library has them too: does it agree, and what does it cost?

python benchmarks/libraries.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from healthseg.statistics.effects import fit_logistic
from healthseg.statistics.robust import theil_sen
from healthseg.statistics.survival import kaplan_meier, log_rank


def milliseconds(call: Callable[[], object], times: int = 5) -> float:
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e3


def line(name: str, gap: float, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    print(
        f"{name:34} difference {gap:.0e}  ours {milliseconds(ours):7.2f} ms"
        f"  theirs {milliseconds(theirs):7.2f} ms"
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

    theirs = sm.Logit(outcome, design).fit(disp=0, tol=1e-12).params
    flat = np.zeros(design.shape[1])
    line(
        "logistic without a prior",
        float(np.abs(fit_logistic(design, outcome, flat, flat) - theirs).max()),
        lambda: fit_logistic(design, outcome, flat, flat),
        lambda: sm.Logit(outcome, design).fit(disp=0),
    )


if __name__ == "__main__":
    main()
