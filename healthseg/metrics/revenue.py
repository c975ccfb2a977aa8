"""What became of last year's ARR? Net and gross retention of a closed cohort, and the waterfall from then to now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

PARTS = ("start", "new", "expansion", "contraction", "churn", "end")


def movements(then: pd.Series, now: pd.Series) -> pd.DataFrame:
    """Per customer the net change over the window, by what it was: start, new, expansion, contraction, churn, end.

    ``then`` and ``now`` are ARR by client_id: of customers that were live then, and that are live now. One that is not
    among the latter is lost, one that was lost within the window and is back is none. A customer whose ARR is missing
    at an end where it was live is left out: its movement is not known. start + new + expansion + contraction + churn =
    end, of each customer and of any sum of them.

    >>> movements(pd.Series({"a": 10.0, "b": 5.0}), pd.Series({"a": 12.0, "c": 3.0}))["expansion"].tolist()
    [2.0, 0.0, 0.0]
    """
    everyone = then.index.union(now.index).sort_values()
    unknown = everyone.isin(then.index[then.isna()]) | everyone.isin(now.index[now.isna()])
    before, after = (
        given.reindex(everyone).fillna(0.0).to_numpy(dtype=float) for given in (then, now)
    )
    change = after - before
    frame = pd.DataFrame(
        {
            "start": before,
            "new": np.where(before == 0, change, 0.0),
            "expansion": np.where((before > 0) & (change > 0), change, 0.0),
            "contraction": np.where((before > 0) & (after > 0) & (change < 0), change, 0.0),
            "churn": np.where((before > 0) & (after == 0), change, 0.0),
            "end": after,
        },
        index=everyone,
    )
    return frame[~unknown]


@dataclass(frozen=True)
class Retention:
    """Net and gross revenue retention of a cohort of ``customers`` with an ARR at the window's start."""

    nrr: float | None
    grr: float | None
    customers: int
    lost: int


def retention(rows: pd.DataFrame) -> Retention:
    """NRR = Σ now ÷ Σ then, GRR = Σ min(now, then) ÷ Σ then, over those with an ARR then (SaaS Metrics
    Standards Board).

    ``rows`` are ``movements``; both rates are None where nobody had an ARR.

    >>> retention(movements(pd.Series({"a": 10.0, "b": 10.0}), pd.Series({"a": 12.0, "c": 3.0})))
    Retention(nrr=0.6, grr=0.5, customers=2, lost=1)
    """
    cohort = rows[rows["start"] > 0]
    start = float(cohort["start"].sum())
    if not start > 0:
        return Retention(None, None, 0, 0)
    kept = np.minimum(cohort["start"], cohort["end"])
    return Retention(
        float(cohort["end"].sum()) / start,
        float(kept.sum()) / start,
        len(cohort),
        int((cohort["end"] == 0).sum()),
    )


def waterfall(rows: pd.DataFrame) -> dict[str, float]:
    """The sums of the parts, in order.

    >>> waterfall(movements(pd.Series({"a": 10.0}), pd.Series({"a": 8.0})))["contraction"]
    -2.0
    """
    return {name: float(rows[name].sum()) for name in PARTS}
