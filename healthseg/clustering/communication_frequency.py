"""How often should a content be sent? Told only where customers got it at different frequencies, and it mattered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.multiplicity import benjamini_hochberg

A_WEEK = {
    "daily": 5.0,
    "twice a week": 2.0,
    "weekly": 1.0,
    "bi-weekly": 0.5,
    "monthly": 12 / 52,
    "quarterly": 4 / 52,
}
LEAST_CUSTOMERS, LEAST_FREQUENCIES = 30, 3
MAX_Q = 0.05


@dataclass(frozen=True)
class Frequency:
    """A content: at which frequency it is answered best, None where ``reason`` says why it cannot be told.

    ``seen``: frequency, customers, sent, engaged, ratio (engaged over what the same channels and weekdays give for the
    content). ``slope`` is the change of that ratio with each doubling of the frequency.
    """

    content: str
    best: str | None
    reason: str | None
    seen: pd.DataFrame
    slope: float | None
    q: float | None


def frequencies(rows: pd.DataFrame, weeks: float) -> list[Frequency]:
    """For each content: customers by how often they were sent it, and whether that goes with answering.

    A customer's frequency is what it was sent over the weeks, by the nearest of the words on a scale of ratios. Answers
    are held against those that the content gets by the same channel on the same weekday; the trend of their excess with
    the log of the frequency is tested by Student's t with customers as units; q is over the contents asked.
    """
    asked = [
        (name, _customers(part, weeks))
        for name, part in rows.dropna(subset=["content"]).groupby("content")
    ]
    told = [(name, frame, _seen(frame)) for name, frame in asked]
    trends = [_trend(frame) if _enough(seen) else None for _, frame, seen in told]
    q = iter(benjamini_hochberg([trend[1] for trend in trends if trend is not None]))
    return [
        _answer(str(name), seen, trend, float(next(q)) if trend is not None else None)
        for (name, _, seen), trend in zip(told, trends, strict=True)
    ]


def _customers(rows: pd.DataFrame, weeks: float) -> pd.DataFrame:
    """A row a customer: sent, engaged, expected, a_week, frequency."""
    stratum = rows.groupby(["channel", "weekday"])[["sent", "engaged"]].transform("sum")
    rows = rows.assign(expected=rows["sent"] * stratum["engaged"] / stratum["sent"])
    frame = rows.groupby("client_id", sort=True)[["sent", "engaged", "expected"]].sum()
    a_week = frame["sent"].to_numpy(dtype=float) / weeks
    away = np.abs(np.log(a_week)[:, None] - np.log(list(A_WEEK.values()))[None, :])
    return frame.assign(
        a_week=a_week, frequency=np.array(list(A_WEEK), dtype=object)[away.argmin(axis=1)]
    )


def _seen(frame: pd.DataFrame) -> pd.DataFrame:
    found = frame.groupby("frequency").agg(
        customers=("sent", "size"),
        sent=("sent", "sum"),
        engaged=("engaged", "sum"),
        expected=("expected", "sum"),
    )
    found = found.reindex([name for name in A_WEEK if name in found.index])
    ratio = found["engaged"] / found["expected"].where(found["expected"] > 0)
    return found.assign(ratio=ratio).rename_axis("frequency").reset_index()


def _enough(seen: pd.DataFrame) -> bool:
    return int((seen["customers"] >= LEAST_CUSTOMERS).sum()) >= LEAST_FREQUENCIES


def _trend(frame: pd.DataFrame) -> tuple[float, float]:
    """The slope of engaged ÷ expected on log2 of the frequency, weighted by what was expected, and its p."""
    weight, x = (
        frame["expected"].to_numpy(dtype=float),
        np.log2(frame["a_week"].to_numpy(dtype=float)),
    )
    excess = frame["engaged"].to_numpy(dtype=float) - weight
    centred = x - np.average(x, weights=weight) if weight.sum() > 0 else x
    square = float((weight * centred**2).sum())
    if square <= 0 or len(x) < 3:
        return 0.0, 1.0
    slope = float((centred * excess).sum()) / square
    error = float(np.sqrt((centred**2 * (excess - slope * weight * centred) ** 2).sum())) / square
    return slope, 1.0 if error == 0 else float(
        2 * scipy.special.stdtr(len(x) - 2, -abs(slope) / error)
    )


def _answer(
    name: str, seen: pd.DataFrame, trend: tuple[float, float] | None, q: float | None
) -> Frequency:
    if trend is None:
        many = int((seen["customers"] >= LEAST_CUSTOMERS).sum())
        reason = f"{many} frequencies with {LEAST_CUSTOMERS} customers or more, {LEAST_FREQUENCIES} are needed"
        return Frequency(name, None, reason, seen, None, None)
    if q > MAX_Q:
        return Frequency(
            name,
            None,
            f"how often it comes makes no difference that shows (q = {q:.2f})",
            seen,
            trend[0],
            q,
        )
    enough = seen[seen["customers"] >= LEAST_CUSTOMERS]
    return Frequency(
        name, str(enough.loc[enough["ratio"].idxmax(), "frequency"]), None, seen, trend[0], q
    )
