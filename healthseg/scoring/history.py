"""Scores over time: a churned customer's frozen score, and the portfolio's bands by date."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.scoring.health import SCORE_COLUMNS
from healthseg.settings import BANDS


def freeze(scores: pd.DataFrame) -> pd.DataFrame:
    """What is shown of customers that have left: the score of their last live date, from then on.

    ``scores`` is ``Scores.frame`` (sorted by client_id, date). Added columns: status (live, churned,
    not_started) and frozen_on (the date whose score is shown, of churned rows). A panel that holds the day before
    ``churned_on`` freezes there exactly.
    """
    live = scores["live"].to_numpy()
    last = (
        pd.Series(np.where(live, np.arange(len(scores)), np.nan))
        .groupby(scores["client_id"].to_numpy())
        .ffill()
    )
    churned = ~live & last.notna().to_numpy()
    source = last.to_numpy()[churned].astype(int)
    frozen = scores.reset_index(drop=True)
    for name in SCORE_COLUMNS:
        frozen.loc[churned, name] = frozen[name].to_numpy()[source]
    on = np.full(len(scores), np.datetime64("NaT"), dtype="datetime64[us]")
    on[churned] = frozen["date"].to_numpy()[source]
    return frozen.assign(
        status=np.select([live, churned], ["live", "churned"], "not_started"), frozen_on=on
    )


def portfolio_by_date(scores: pd.DataFrame, arr: pd.Series | None = None) -> pd.DataFrame:
    """How is the health of the live portfolio spread on each date?

    Columns: date, live, scored, withheld, mean_score, and per band its customers; with ``arr`` (aligned with
    ``scores``) per band arr_<band>. Customers that are not live are out.
    """
    live = scores[scores["live"]]
    by = live.groupby("date", sort=True)
    frame = pd.DataFrame({"live": by.size(), "scored": by["score"].count()})
    frame["withheld"] = frame["live"] - frame["scored"]
    frame["mean_score"] = by["score"].mean()
    for band in BANDS:
        inside = live["band"] == band
        frame[band] = inside.groupby(live["date"]).sum()
        if arr is not None:
            frame[f"arr_{band}"] = arr.loc[live.index].where(inside).groupby(live["date"]).sum()
    return frame.reset_index()
