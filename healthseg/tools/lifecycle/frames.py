"""The portfolio's frames of stays: by stage, over time, from stage to stage, who fell back, who came again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np
import pandas as pd

from healthseg.metrics.stages import CHURNED, SAME_DAY, TimeInStage
from healthseg.settings.lifecycle import STAGES, Lifecycle
from healthseg.statistics.rates import wilson

NO_STAGE = "none"
EARLY = ("prospect", "trial", "onboarding")
MOVES = ["client_id", "kind", "source", "target", "on", "visit"]


def stages(
    stage_of: pd.Series,
    arr: pd.Series | None,
    curves: Mapping[str, TimeInStage],
    stuck: pd.Series,
    least: int,
) -> pd.DataFrame:
    """stage, customers, arr, typical_days with lower and upper, n (stays of the curve), stuck."""
    named, found = stage_of.astype(object).where(stage_of.notna(), NO_STAGE), []
    for stage in (*STAGES, NO_STAGE):
        mine, stay = named == stage, curves.get(stage)
        if stage == CHURNED or (not mine.any() and stay is None):
            continue
        told = stay is not None and stay.n >= least
        found.append(
            {
                "stage": stage,
                "customers": int(mine.sum()),
                "arr": np.nan if arr is None else float(arr[mine].sum()),
                "typical_days": stay.median.time if told else None,
                "lower": stay.median.lower if told else None,
                "upper": stay.median.upper if told else None,
                "n": 0 if stay is None else stay.n,
                "stuck": int((stuck == stage).sum()),
            }
        )
    columns = ["stage", "customers", "arr", "typical_days", "lower", "upper", "n", "stuck"]
    return pd.DataFrame(found, columns=columns).astype(
        {"typical_days": float, "lower": float, "upper": float}
    )


def over_time(rows: pd.DataFrame, stays: pd.DataFrame, addable: bool) -> pd.DataFrame:
    """date, stage, customers, arr: of each live row (client_id, date, arr) the stage that it was in on that date."""
    left = rows.assign(date=rows["date"].astype("datetime64[s]")).sort_values(
        ["date", "client_id"], kind="stable"
    )
    right = stays[["client_id", "start", "stage"]].assign(
        client_id=stays["client_id"].astype(left["client_id"].dtype)
    )
    right = right.sort_values("start", kind="stable")
    found = pd.merge_asof(left, right, left_on="date", right_on="start", by="client_id")
    found["stage"] = found["stage"].astype(object).where(found["stage"].notna(), NO_STAGE)
    by = (
        found.groupby(["date", "stage"])
        .agg(customers=("client_id", "size"), arr=("arr", "sum"))
        .reset_index()
    )
    place = by["stage"].map({stage: at for at, stage in enumerate((*STAGES, NO_STAGE))})
    by = (
        by.assign(place=place)
        .sort_values(["date", "place"], ignore_index=True)
        .drop(columns="place")
    )
    return by if addable else by.assign(arr=np.nan)


def matrix(stays: pd.DataFrame, level: float) -> pd.DataFrame:
    """source, target, n, of (stays that ended, as far as they were watched), share with its interval."""
    seen = stays[
        stays["exit_to"].notna()
        & (stays["entry"] < np.maximum(stays["days"], SAME_DAY))
        & (stays["stage"] != CHURNED)
    ]
    columns = ["source", "target", "n", "of", "share", "lower", "upper"]
    if not len(seen):
        return pd.DataFrame(columns=columns)
    counts = seen.groupby(["stage", "exit_to"]).size().rename("n").reset_index()
    counts["of"] = counts.groupby("stage")["n"].transform("sum")
    lower, upper = wilson(counts["n"].to_numpy(), counts["of"].to_numpy(), level)
    counts = counts.rename(columns={"stage": "source", "exit_to": "target"})
    counts = counts.assign(share=counts["n"] / counts["of"], lower=lower, upper=upper)
    order = {stage: at for at, stage in enumerate(STAGES)}
    counts = counts.assign(a=counts["source"].map(order), b=counts["target"].map(order))
    return counts.sort_values(["a", "b"], ignore_index=True)[columns]


def curves(found: Mapping[str, TimeInStage], least: int) -> pd.DataFrame:
    """stage, days, share (still in it), lower, upper, n; from day 0, of stages with enough stays."""
    parts = []
    for stage in STAGES:
        stay = found.get(stage)
        if stay is None or stay.n < least or not len(stay.curve):
            continue
        rows = stay.curve[["time", "survival", "lower", "upper"]]
        rows = rows.set_axis(["days", "share", "lower", "upper"], axis=1)
        start = pd.DataFrame({"days": [0.0], "share": [1.0], "lower": [1.0], "upper": [1.0]})
        parts.append(pd.concat([start, rows], ignore_index=True).assign(stage=stage, n=stay.n))
    columns = ["stage", "days", "share", "lower", "upper", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def durations(found: Mapping[str, TimeInStage], rules: Lifecycle) -> pd.DataFrame:
    """stage, q25, median, q75, stuck_from (days by which a quarter, half, three quarters, nearly all had left), n."""
    shares = {"q25": 0.25, "median": 0.5, "q75": 0.75, "stuck_from": 1 - rules.stuck_share}
    rows = [
        {
            "stage": stage,
            **{name: found[stage].exited_by(-1, share) for name, share in shares.items()},
            "n": found[stage].n,
        }
        for stage in STAGES
        if stage in found and found[stage].n >= rules.min_spells
    ]
    return pd.DataFrame(rows, columns=["stage", *shares, "n"]).astype(dict.fromkeys(shares, float))


def returns(stays: pd.DataFrame) -> pd.DataFrame:
    """stage, stays, returns (a customer's second and later ones), share of returns."""
    by = (
        stays[stays["stage"] != CHURNED]
        .groupby("stage")["visit"]
        .agg(["size", lambda visit: int((visit > 1).sum())])
    )
    by = by.set_axis(["stays", "returns"], axis=1).reindex(
        [stage for stage in STAGES if stage in by.index]
    )
    return by.assign(share=by["returns"] / by["stays"]).rename_axis("stage").reset_index()


def moves(stays: pd.DataFrame, since: dt.date) -> pd.DataFrame:
    """Moves after ``since`` that a reader asks about: setback (to at risk, from engaged to active, or back to a
    beginning), win-back (from churned), return (to a stage that it was in before); the newest first."""
    before = stays.groupby("client_id")["stage"].shift()
    rows = stays.assign(source=before)[before.notna() & (stays["start"] > pd.Timestamp(since))]
    back = (
        (rows["stage"] == "at_risk")
        | ((rows["source"] == "engaged") & (rows["stage"] == "active"))
        | (rows["stage"].isin(EARLY) & ~rows["source"].isin([*EARLY, CHURNED]))
    )
    kind = np.select(
        [rows["source"] == CHURNED, back, rows["visit"] > 1], ["win-back", "setback", "return"], ""
    )
    rows = rows.assign(kind=kind, target=rows["stage"], on=rows["start"])[kind != ""]
    return rows.sort_values(
        ["on", "client_id"], ascending=[False, True], kind="stable", ignore_index=True
    )[MOVES]
