"""The frames of the portfolio's stages: stages, their past, moves, times in a stage, returns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from healthseg.metrics.stages import CHURNED, SAME_DAY, TimeInStage
from healthseg.settings.lifecycle import Lifecycle
from healthseg.statistics.rates import wilson

NO_STAGE = "none"
EARLY = ("prospect", "trial", "onboarding")
MOVES = ["client_id", "kind", "source", "target", "on", "visit"]


def stages_frame(
    stage_of: pd.Series,
    arr: pd.Series | None,
    curves: Mapping[str, TimeInStage],
    stuck: pd.Series,
    rules: Lifecycle,
) -> pd.DataFrame:
    """stage, customers, arr, typical_days with lower and upper, n (times behind the curve), stuck."""
    named, rows = stage_of.astype(object).where(stage_of.notna(), NO_STAGE), []
    for stage in (*rules.stages, NO_STAGE):
        members, curve = named == stage, curves.get(stage)
        if stage == CHURNED or (not members.any() and curve is None):
            continue
        median = curve.median if curve is not None and curve.n >= rules.min_spells else None
        rows.append(
            {
                "stage": stage,
                "customers": int(members.sum()),
                "arr": np.nan if arr is None else float(arr[members].sum()),
                "typical_days": median.time if median else None,
                "lower": median.lower if median else None,
                "upper": median.upper if median else None,
                "n": 0 if curve is None else curve.n,
                "stuck": int((stuck == stage).sum()),
            }
        )
    columns = ["stage", "customers", "arr", "typical_days", "lower", "upper", "n", "stuck"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"typical_days": float, "lower": float, "upper": float}
    )


def over_time_frame(
    rows: pd.DataFrame, times: pd.DataFrame, addable: bool, stages: Sequence[str]
) -> pd.DataFrame:
    """date, stage, customers, arr, and the largest customer by name with its ARR: of each live row (client_id, date, arr,
    name) the stage that it was in on that date."""
    left = rows.assign(date=rows["date"].astype("datetime64[s]")).sort_values(
        ["date", "client_id"], kind="stable"
    )
    right = times[["client_id", "start", "stage"]].assign(
        client_id=times["client_id"].astype(left["client_id"].dtype)
    )
    right = right.sort_values("start", kind="stable")
    joined = pd.merge_asof(left, right, left_on="date", right_on="start", by="client_id")
    joined["stage"] = joined["stage"].astype(object).where(joined["stage"].notna(), NO_STAGE)
    by = (
        joined.sort_values("arr", kind="stable", na_position="first")
        .groupby(["date", "stage"])
        .agg(
            customers=("client_id", "size"),
            arr=("arr", "sum"),
            largest=("name", "last"),
            largest_arr=("arr", "last"),
        )
        .reset_index()
    )
    position = by["stage"].map({stage: at for at, stage in enumerate((*stages, NO_STAGE))})
    by = (
        by.assign(place=position)
        .sort_values(["date", "place"], ignore_index=True)
        .drop(columns="place")
    )
    return by if addable else by.assign(arr=np.nan, largest=None, largest_arr=np.nan)


def matrix_frame(
    times: pd.DataFrame, level: float, stages: Sequence[str], arr: pd.Series | None = None
) -> pd.DataFrame:
    """source, target, n, of (stays that ended, as far as they were watched), share with its interval, customers, arr.

    ``arr`` is that of the live customers by client_id: of those that made the move, each once; NaN where it cannot be
    added up or none of them is live with a known ARR.
    """
    ended = times[
        times["exit_to"].notna()
        & (times["entry"] < np.maximum(times["days"], SAME_DAY))
        & (times["stage"] != CHURNED)
    ]
    columns = ["source", "target", "n", "of", "share", "lower", "upper", "customers", "arr"]
    if not len(ended):
        return pd.DataFrame(columns=columns)
    pairs = ["stage", "exit_to"]
    counts = ended.groupby(pairs).size().rename("n").reset_index()
    movers = ended.drop_duplicates([*pairs, "client_id"])
    paid = np.nan if arr is None else movers["client_id"].map(arr).astype(float)
    of_pair = movers.assign(arr=paid).groupby(pairs)["arr"]
    counts["customers"] = of_pair.size().to_numpy()
    counts["arr"] = of_pair.sum(min_count=1).to_numpy()
    counts["of"] = counts.groupby("stage")["n"].transform("sum")
    lower, upper = wilson(counts["n"].to_numpy(), counts["of"].to_numpy(), level)
    counts = counts.rename(columns={"stage": "source", "exit_to": "target"})
    counts = counts.assign(share=counts["n"] / counts["of"], lower=lower, upper=upper)
    order = {stage: at for at, stage in enumerate((*stages, CHURNED))}
    counts = counts.assign(a=counts["source"].map(order), b=counts["target"].map(order))
    return counts.sort_values(["a", "b"], ignore_index=True)[columns]


def curves_frame(
    by_stage: Mapping[str, TimeInStage], least: int, stages: Sequence[str]
) -> pd.DataFrame:
    """stage, days, share (still in it), lower, upper, n; from day 0, of stages with enough stays."""
    parts = []
    for stage in stages:
        curve = by_stage.get(stage)
        if curve is None or curve.n < least or not len(curve.curve):
            continue
        rows = curve.curve[["time", "survival", "lower", "upper"]]
        rows = rows.set_axis(["days", "share", "lower", "upper"], axis=1)
        start = pd.DataFrame({"days": [0.0], "share": [1.0], "lower": [1.0], "upper": [1.0]})
        parts.append(pd.concat([start, rows], ignore_index=True).assign(stage=stage, n=curve.n))
    columns = ["stage", "days", "share", "lower", "upper", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def durations_frame(by_stage: Mapping[str, TimeInStage], rules: Lifecycle) -> pd.DataFrame:
    """stage, q25, median, q75, stuck_from (days by which a quarter, half, three quarters, nearly all had left), n."""
    shares = {"q25": 0.25, "median": 0.5, "q75": 0.75, "stuck_from": 1 - rules.stuck_share}
    rows = [
        {
            "stage": stage,
            **{name: by_stage[stage].exited_by(-1, share) for name, share in shares.items()},
            "n": by_stage[stage].n,
        }
        for stage in rules.stages
        if stage in by_stage and by_stage[stage].n >= rules.min_spells
    ]
    return pd.DataFrame(rows, columns=["stage", *shares, "n"]).astype(dict.fromkeys(shares, float))


def returns_frame(times: pd.DataFrame, stages: Sequence[str]) -> pd.DataFrame:
    """stage, stays, returns (a customer's second and later ones), share of returns."""
    by = (
        times[times["stage"] != CHURNED]
        .groupby("stage")["visit"]
        .agg(["size", lambda visit: int((visit > 1).sum())])
    )
    by = by.set_axis(["stays", "returns"], axis=1).reindex(
        [stage for stage in stages if stage in by.index]
    )
    return by.assign(share=by["returns"] / by["stays"]).rename_axis("stage").reset_index()


def moves_frame(times: pd.DataFrame, since: dt.date, lifecycle: Lifecycle) -> pd.DataFrame:
    """Moves after ``since`` that a reader asks about: setback (to at risk, from engaged to active, or back to a
    beginning; of another lifecycle to an earlier stage), win-back (from churned), return (to a stage that it was in before); the newest first."""
    before = times.groupby("client_id")["stage"].shift()
    rows = times.assign(source=before)[before.notna() & (times["start"] > pd.Timestamp(since))]
    back = (
        (rows["stage"] == "at_risk")
        | ((rows["source"] == "engaged") & (rows["stage"] == "active"))
        | (rows["stage"].isin(EARLY) & ~rows["source"].isin([*EARLY, CHURNED]))
    )
    if lifecycle.name:
        order = {stage: at for at, stage in enumerate(lifecycle.stages)}
        back = rows["stage"].map(order) < rows["source"].map(order)
    kind = np.select(
        [rows["source"] == CHURNED, back, rows["visit"] > 1], ["win-back", "setback", "return"], ""
    )
    rows = rows.assign(kind=kind, target=rows["stage"], on=rows["start"])[kind != ""]
    return rows.sort_values(
        ["on", "client_id"], ascending=[False, True], kind="stable", ignore_index=True
    )[MOVES]
