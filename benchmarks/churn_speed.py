"""How long does a churn model take, from counted rows to probabilities?

    python benchmarks/churn_speed.py

A portfolio of 250 customers × 18 months: hold out every date, fit, calibrate (reach 10 s). 10,000 customers (the rows of
5,000 twice, under other names; reach 60 s), and a prediction for all of them (reach 1 s), one step's worth of rows.
Times are of the processor, so that a busy machine tells the same; beside them scikit-learn's logistic regression on
the same matrix, as what one fit costs at least.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from _churn_portfolios import rows_of
from sklearn.linear_model import LogisticRegression

from healthseg.scoring.churn.candidates import outcomes
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings


def timed(rows: pd.DataFrame, title: str, reach: float) -> tuple[ChurnModel, bool]:
    until = rows["date"].max().date()
    started, wall = time.process_time(), time.monotonic()
    model = ChurnModel.fit(rows, until, Settings())
    spent = time.process_time() - started
    outcome = outcomes(rows, until, 30, 0)
    known = ~np.isnan(outcome)
    fitted = model.fitted
    matrix = np.nan_to_num(fitted.directed.design_.matrix(fitted.values(rows[known], model.config)))
    begun = time.process_time()
    LogisticRegression(max_iter=200).fit(matrix, outcome[known])
    plain = time.process_time() - begun
    print(
        f"{title}: hold out, fit and calibrate {spent:.1f} s of the processor (reach {reach:g}; on the wall "
        f"{time.monotonic() - wall:.1f} s)"
    )
    print(
        f"  {known.sum():,} rows, {matrix.shape[1]} columns; one plain logistic regression {plain:.2f} s",
        flush=True,
    )
    return model, spent <= reach


def main() -> int:
    small = rows_of("default", 250, 1)
    _, ok = timed(small, "250 customers", 10.0)
    half = rows_of("default", 5000, 101)
    large = pd.concat(
        [half, half.assign(client_id=half["client_id"] + "_again")], ignore_index=True
    )
    model, fine = timed(large, "10,000 customers", 60.0)
    today = large[large["date"] == large["date"].max()]
    started = time.process_time()
    model.predict(today, [30, 90])
    spent = time.process_time() - started
    print(f"a prediction for {len(today):,} customers at risk: {spent:.2f} s (reach 1)")
    return int(not (ok and fine and spent <= 1))


if __name__ == "__main__":
    sys.exit(main())
