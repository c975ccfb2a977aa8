"""How long do spells last, and by which door do they end? Kaplan–Meier and Aalen–Johansen with delayed entry.

A spell is at risk on (entry, time]: those that began before tracking did enter late, and are not
counted as survivors of days on which nobody watched them (left truncation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.normal import standard_errors


def kaplan_meier(
    time: Sequence[float],
    event: Sequence[bool],
    entry: Sequence[float] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """What share lasts beyond each time?

    ``time`` is when a spell ended or was last seen, ``event`` whether it ended, ``entry`` when it came under
    observation (0 by default). Columns, one row per time at which something ended: time, at_risk, events, survival,
    std_error (Greenwood 1926), lower, upper (log-log transformed, which stays in 0..1; Kalbfleisch & Prentice 2002,
    §1.4).

    >>> kaplan_meier([1, 2, 3], [True, False, True])["survival"].round(4).tolist()
    [0.6667, 0.0]
    """
    spells = _spells(time, event, entry)
    table = _risk_table(spells)
    d, n = table["events"].to_numpy(), table["at_risk"].to_numpy()
    survival = np.cumprod(1 - d / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(d / (n * (n - d)))
        error = np.where(survival > 0, survival * np.sqrt(greenwood), np.nan)
        reach = standard_errors(level) * np.sqrt(greenwood) / np.abs(np.log(survival))
        inside = (survival > 0) & (survival < 1)
        lower, upper = (
            np.where(inside, survival ** np.exp(sign * reach), np.nan) for sign in (1, -1)
        )
    return table.assign(survival=survival, std_error=error, lower=lower, upper=upper)


def _spells(
    time: Sequence[float], event: Sequence[float], entry: Sequence[float] | None
) -> pd.DataFrame:
    ends = np.asarray(time, dtype=float)
    starts = np.zeros(len(ends)) if entry is None else np.asarray(entry, dtype=float)
    if np.isnan(ends).any() or np.isnan(starts).any() or (starts >= ends).any():
        raise ValueError("every spell needs entry < time, both known")
    return pd.DataFrame({"entry": starts, "time": ends, "event": np.asarray(event)})


def _risk_table(spells: pd.DataFrame) -> pd.DataFrame:
    """Per distinct time of an event: how many were at risk just before it, how many events fell on it."""
    happened = spells["event"].to_numpy() != 0
    times, events = np.unique(spells.loc[happened, "time"], return_counts=True)
    entered = np.searchsorted(np.sort(spells["entry"]), times, side="left")
    gone = np.searchsorted(np.sort(spells["time"]), times, side="left")
    return pd.DataFrame({"time": times, "at_risk": entered - gone, "events": events})


@dataclass(frozen=True)
class Median:
    """When half have ended, with its interval; None where the curve (or its bound) does not get there."""

    time: float | None
    lower: float | None
    upper: float | None


def quantile_time(curve: pd.DataFrame, share: float = 0.5) -> Median:
    """The first time by which ``share`` has ended, and the times at which the bounds of the curve say so.

    Brookmeyer & Crowley (1982). ``curve`` is kaplan_meier's.
    """

    def first(column: str) -> float | None:
        reached = curve.loc[curve[column] <= 1 - share + 1e-12, "time"]
        return float(reached.iloc[0]) if len(reached) else None

    return Median(first("survival"), first("lower"), first("upper"))


def median_times(time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kaplan–Meier's median of each weighting ``[draw, spell]`` of spells, all at risk from the beginning; infinite
    where half are never reached.

    >>> median_times(np.array([1.0, 2, 3]), np.array([True, True, True]), np.array([[1, 1, 1], [0, 0, 2]])).tolist()
    [2.0, 3.0]
    """
    order = np.argsort(time, kind="stable")
    time, weights = np.asarray(time, dtype=float)[order], weights[:, order]
    at, first = np.unique(time, return_index=True)
    events = np.add.reduceat(weights * np.asarray(event)[order], first, axis=1)
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1][:, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        survival = np.cumprod(
            np.where(at_risk > 0, 1 - events / np.maximum(at_risk, 1), 1.0), axis=1
        )
    reached = survival <= 0.5 + 1e-12
    return np.where(reached.any(axis=1), at[reached.argmax(axis=1)], np.inf)


def survival_at(curve: pd.DataFrame, times: Sequence[float]) -> np.ndarray:
    """The curve's value at given times: 1 before its first step."""
    place = np.searchsorted(curve["time"].to_numpy(), np.asarray(times, dtype=float), side="right")
    return np.concatenate([[1.0], curve["survival"].to_numpy()])[place]


def aalen_johansen(
    time: Sequence[float], cause: Sequence[str | None], entry: Sequence[float] | None = None
) -> pd.DataFrame:
    """By which time has what share left by which door, where the doors compete?

    ``cause`` names the door, None where the spell was still open at ``time``. Long frame, one row per cause and time
    at which something ended: cause, time, at_risk, events (of the cause), cumulative_incidence, std_error. The
    incidences of all causes and the survival sum to 1 at every time. Aalen & Johansen (1978); the variance is the
    delta-method one of Marubini & Valsecchi (1995), §10.2, in its binomial form.
    """
    causes = np.array([None if pd.isna(one) else str(one) for one in cause], dtype=object)
    spells = _spells(time, causes != None, entry)  # noqa: E711 - element-wise
    table = _risk_table(spells)
    n, d, at = (table[name].to_numpy(dtype=float) for name in ("at_risk", "events", "time"))
    before = np.concatenate([[1.0], np.cumprod(1 - d / n)])[:-1]
    parts = []
    for name in sorted({one for one in causes if one is not None}):
        ended = np.sort(spells.loc[causes == name, "time"])
        own = (
            np.searchsorted(ended, at, side="right") - np.searchsorted(ended, at, side="left")
        ).astype(float)
        incidence = np.cumsum(before * own / n)
        parts.append(
            pd.DataFrame(
                {
                    "cause": name,
                    "time": at,
                    "at_risk": table["at_risk"],
                    "events": own.astype(int),
                    "cumulative_incidence": incidence,
                    "std_error": np.sqrt(_incidence_variance(n, d, own, before, incidence)),
                }
            )
        )
    columns = ["cause", "time", "at_risk", "events", "cumulative_incidence", "std_error"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _incidence_variance(
    n: np.ndarray, d: np.ndarray, own: np.ndarray, before: np.ndarray, incidence: np.ndarray
) -> np.ndarray:
    """Per time t, over the event times up to t: with g = I(t) − I(t_j), the delta-method sum.

    Σ g²·d/(n(n−d)) + Σ S²·(n−own)·own/n³ − 2·Σ g·S·own/n².
    """
    hazard_term = np.where(n > d, d / np.where(n > d, n * (n - d), 1.0), 0.0)
    gap = incidence[:, None] - incidence[None, :]
    upto = np.tril(np.ones((len(n), len(n)), dtype=bool))
    terms = (
        gap**2 * hazard_term + before**2 * (n - own) * own / n**3 - 2 * gap * before * own / n**2
    )
    return np.maximum(np.where(upto, terms, 0.0).sum(axis=1), 0.0)
