"""How long do milestones take, what delays them, when will open ones be completed?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_day
from healthseg.metrics.milestone_plan import MARKS, DayCount, MilestonePlan, date_of, plan_of
from healthseg.metrics.milestones import states
from healthseg.metrics.panels import tiers_at
from healthseg.metrics.spells import spells_as_of
from healthseg.statistics.effects import adjusted_difference, benjamini_hochberg, labels, resamples
from healthseg.statistics.rates import wilson
from healthseg.statistics.survival import TimeFactor, kaplan_meier, quantile_time, time_factor

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


BEFORE = -1.0  # a spell of length 0 (done on the very first day) was at risk too
LEAST_AT_RISK = (
    2  # the last step of a curve is not read: it is one spell's, and takes the curve to 0
)
SPELLS = ["client_id", "milestone_id", "time", "happened"]


def spells(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """A row per customer and milestone: ``time`` from its anchor until completed or last seen open, ``happened``.

    Skipped ones, and those of churned customers, are open until then. Those whose days cannot be known are left out:
    completed by use that may lie before tracking began, or waiting for a dependency that is open.
    """

    def build() -> pd.DataFrame:
        rows = states(portfolio, as_of)
        if not len(rows):
            return pd.DataFrame(columns=SPELLS)
        rows = rows[rows["watched"] & rows["anchor_day"].notna()]
        end = rows["completed_day"].fillna(rows["skipped_day"]).fillna(rows["day"])
        time = np.maximum(DayCount.of(portfolio).between(rows["anchor_day"], end), 0)
        return pd.DataFrame(
            {
                "client_id": rows["client_id"],
                "milestone_id": rows["milestone_id"],
                "time": time,
                "happened": rows["completed_day"].notna(),
            }
        ).reset_index(drop=True)

    return portfolio.cache.get("milestone_spells", as_of, build, disk=False)


# -- value ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MilestoneMark:
    """What counts as a customer's value: the first, or all, of some milestones."""

    name: str
    ids: tuple[str, ...]
    first: bool
    text: str


def marks(plan: MilestonePlan) -> dict[str, MilestoneMark]:
    """First value, activation and full adoption: the milestones marked so, else by category and necessity."""
    rows = plan.frame
    needed = rows[rows["required"]]
    onboarding, adoption = (needed["category"] == name for name in ("onboarding", "adoption"))
    default = {
        "first_value": (
            rows[rows["category"] == "adoption"],
            "the first completed adoption milestone",
        ),
        "activation": (needed[onboarding], "all required onboarding milestones"),
        "full_adoption": (
            needed[onboarding | adoption],
            "all required onboarding and adoption milestones",
        ),
    }
    by_name = {}
    for name in MARKS:
        marked = rows[rows["mark"] == name]
        chosen, text = (marked, " and ".join(marked["name"])) if len(marked) else default[name]
        by_name[name] = MilestoneMark(
            name, tuple(chosen["milestone_id"]), name == "first_value", text
        )
    return by_name


def values(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """A row per customer and mark: when it was reached, or that it was not yet.

    Columns: client_id, mark, began_day, quarter (in which it began), target_day, ``reached_day`` and ``days`` (from
    began_day; NaN where not reached), ``time`` and ``happened`` (a spell for Kaplan–Meier), ``known`` (the days can be
    known). Skipped milestones don't count; of a customer that skipped all there is no row.
    """
    return portfolio.cache.get(
        "milestone_values",
        as_of,
        lambda: _values(portfolio, as_of, plan_of(portfolio)),
        disk=False,
    )


def _values(portfolio: Portfolio, as_of: dt.date, plan: MilestonePlan | None) -> pd.DataFrame:
    rows = states(portfolio, as_of)
    parts = (
        [_value(rows, mark) for mark in marks(plan).values()]
        if plan is not None and len(rows)
        else []
    )
    columns = [
        "client_id",
        "mark",
        "began_day",
        "quarter",
        "target_day",
        "reached_day",
        "days",
        "time",
        "happened",
        "known",
    ]
    if not parts:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(parts, ignore_index=True)
    end = frame["reached_day"].fillna(frame["day"])
    time = np.maximum(DayCount.of(portfolio).between(frame["began_day"], end), 0)
    began = pd.to_datetime(frame["began_day"], unit="D")
    quarter = began.dt.year.astype(str) + " Q" + began.dt.quarter.astype(str)
    return frame.assign(time=time, happened=frame["reached_day"].notna(), quarter=quarter)[columns]


def _value(rows: pd.DataFrame, mark: MilestoneMark) -> pd.DataFrame:
    chosen = rows[rows["milestone_id"].isin(mark.ids) & (rows["status"] != "skipped")]
    groups = chosen.assign(open=chosen["completed_day"].isna()).groupby("client_id", sort=True)
    pick = "min" if mark.first else "max"
    out = groups.agg(
        began_day=("began_day", "first"),
        day=("day", "first"),
        target_day=("target_day", pick),
        reached_day=("completed_day", pick),
        days=("since_began", pick),
        known=("watched", "all"),
        open=("open", "any"),
    )
    if not mark.first:
        out.loc[out["open"], ["reached_day", "days"]] = np.nan
    out.loc[~out["known"], "days"] = np.nan
    return out.drop(columns="open").assign(mark=mark.name).reset_index()


def value_median(
    portfolio: Portfolio, as_of: dt.date, mark: str, clients: Iterable[str], least: int
) -> float | None:
    """The days by which half of some customers had reached a mark, those not there yet included (Kaplan–Meier).

    None of fewer than ``least`` whose days can be known, and where fewer than half got there.
    """
    rows = values(portfolio, as_of)
    rows = rows[
        (rows["mark"] == mark) & rows["known"].astype(bool) & rows["client_id"].isin(list(clients))
    ]
    if len(rows) < least:
        return None
    entry = np.full(len(rows), BEFORE).tolist()
    return quantile_time(kaplan_meier(rows["time"], rows["happened"], entry)).time


# -- what is to come --------------------------------------------------------------------------


@dataclass(frozen=True)
class Ahead:
    """In how many days from the beginning, given that so many have passed; None where the curve does not get there."""

    median: float | None
    lower: float | None
    upper: float | None
    n: int  # spells that were at risk by then
    of: str = ""


def ahead(rows: pd.DataFrame, elapsed: float, level: float) -> Ahead:
    """When will a spell end that has lasted ``elapsed``? The quantiles of Kaplan–Meier's curve of those that did too.

    ``rows`` has time, happened and perhaps entry. The interval is of the single spell, not of its median: its shares
    are those of one spell more (Vovk et al. 2005, conformal). The last spell is not read.

    >>> rows = pd.DataFrame({"time": [2, *range(5, 25)], "happened": True})
    >>> ahead(rows, 4, 0.4)
    Ahead(median=14.0, lower=10.0, upper=19.0, n=20, of='')
    """
    entry = rows["entry"].to_numpy(dtype=float) if "entry" in rows else np.full(len(rows), BEFORE)
    time = rows["time"].to_numpy(dtype=float)
    at_risk = (time > elapsed) & (entry <= elapsed)
    later = time > np.maximum(elapsed, entry)
    if not later.any():
        return Ahead(None, None, None, 0)
    curve = kaplan_meier(
        time[later], rows["happened"].to_numpy()[later], np.maximum(entry, elapsed)[later]
    )
    curve, n = curve[curve["at_risk"] >= LEAST_AT_RISK], int(at_risk.sum())
    tail, one_more = (1 - level) / 2, (n + 1) / max(n, 1)

    def reached(share: float) -> float | None:
        times = curve.loc[curve["survival"] <= 1 - share + 1e-12, "time"]
        return float(times.iloc[0]) if len(times) and share > 0 else None

    lower = reached(tail * one_more - 1 / max(n, 1))
    soonest = float(curve["time"].iloc[0]) if len(curve) else None
    return Ahead(
        reached(0.5), soonest if lower is None else lower, reached((1 - tail) * one_more), n
    )


def from_start(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """A row per milestone that was started by hand: ``time`` from its start, ``happened``; the ``blocker`` with its
    ``onset`` (NaN without one) and ``cleared`` in the same days; ``status``, the customer."""

    def build() -> pd.DataFrame:
        rows = states(portfolio, as_of)
        if not len(rows):
            return pd.DataFrame(columns=[*SPELLS, "blocker", "onset", "cleared", "status"])
        rows = rows[rows["started_day"].notna() & rows["feature"].isna()]
        count = DayCount.of(portfolio)
        end = rows["completed_day"].fillna(rows["skipped_day"]).fillna(rows["day"])
        time = np.maximum(count.between(rows["started_day"], end), 0)
        onset = np.maximum(count.between(rows["started_day"], rows["blocked_day"]), 0)
        onset = np.where(onset < time, onset, np.nan)
        return pd.DataFrame(
            {
                "client_id": rows["client_id"],
                "milestone_id": rows["milestone_id"],
                "time": time,
                "happened": rows["completed_day"].notna(),
                "blocker": rows["blocker"],
                "onset": onset,
                "cleared": count.between(rows["started_day"], rows["cleared_day"]),
                "status": rows["status"],
            }
        ).reset_index(drop=True)

    return portfolio.cache.get("milestones_from_start", as_of, build, disk=False)


def forecast(portfolio: Portfolio, as_of: dt.date, row: Any, least: int, level: float) -> Ahead:
    """When will an open milestone be completed, in days since 1970? From the customers whose was open as long.

    A started one is held against those started as long ago: with the same blocker, with any, or all, the first with
    ``least`` of them; others against those that were due as long ago. Nothing where there are fewer.
    """
    count = DayCount.of(portfolio)
    for begin, rows, of in _alike(portfolio, as_of, row):
        elapsed = float(count.between(begin, row["day"]))
        if int((rows["time"] > elapsed).sum()) >= least:
            coming = ahead(rows, elapsed, level)
            median, lower, upper = (
                None if days is None else float(count.after(begin, days))
                for days in (coming.median, coming.lower, coming.upper)
            )
            return Ahead(median, lower, upper, coming.n, of)
    return Ahead(None, None, None, 0)


def _alike(
    portfolio: Portfolio, as_of: dt.date, row: Any
) -> Iterator[tuple[float, pd.DataFrame, str]]:
    """The spells to hold an open milestone against, the most alike first, and when its own began."""
    name = row["milestone_id"]
    if row["feature"] is None and np.isfinite(row["started_day"]):
        started = _of_milestone(portfolio, as_of, "started", from_start).get(name)
        if started is not None:
            if row["blocked"]:
                blocked = started[started["onset"].notna()].assign(entry=lambda rows: rows["onset"])
                yield (
                    row["started_day"],
                    blocked[blocked["blocker"] == row["blocker"]],
                    "with the same blocker as long",
                )
                yield row["started_day"], blocked, "with a blocker as long"
            yield row["started_day"], started, "started as long ago"
    if np.isfinite(row["anchor_day"]):
        every = _of_milestone(portfolio, as_of, "due", spells)
        yield (
            row["anchor_day"],
            every.get(name, spells(portfolio, as_of).iloc[:0]),
            "still open after as long",
        )


def _of_milestone(
    portfolio: Portfolio, as_of: dt.date, what: str, build: Callable[[Any, dt.date], pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    return portfolio.cache.get(
        "milestone_groups",
        (as_of, what),
        lambda: {str(name): rows for name, rows in build(portfolio, as_of).groupby("milestone_id")},
        disk=False,
    )


# -- blockers ---------------------------------------------------------------------------------


def blocker_effects(portfolio: Portfolio, as_of: dt.date, level: float) -> pd.DataFrame:
    """By what factor does each blocker lengthen what remains of a milestone, the milestone being equal?

    A row per blocker of at least 10 spells: blocker, factor, lower, upper (None where not ruled out up to e³), p, q (of
    all blockers of the portfolio), n, events. A spell with another blocker counts as unblocked until then.
    """
    settings = portfolio.settings
    return portfolio.cache.get(
        "milestone_blockers",
        [as_of, level, portfolio.content(as_of), settings.fingerprint],
        lambda: _effects(from_start(portfolio, as_of), level, settings.blocker_min_spells),
    )


def _effects(rows: pd.DataFrame, level: float, min_spells: int) -> pd.DataFrame:
    counts = rows.loc[rows["onset"].notna(), "blocker"].value_counts()
    names = sorted(counts[counts >= min_spells].index)
    effects = [(name, _effect(rows, name, level)) for name in names]
    known = [(name, effect) for name, effect in effects if effect is not None]
    columns = ["blocker", "factor", "lower", "upper", "p", "n", "events"]
    frame = pd.DataFrame(
        [
            (name, effect.factor, effect.lower, effect.upper, effect.p, effect.n, effect.events)
            for name, effect in known
        ],
        columns=columns,
    ).astype({"lower": float, "upper": float, "p": float})
    return frame.assign(q=benjamini_hochberg(frame["p"].to_numpy()) if len(frame) else frame["p"])


def _effect(rows: pd.DataFrame, name: str, level: float) -> TimeFactor | None:
    otherwise_blocked = rows["onset"].notna() & (rows["blocker"] != name)
    time = rows["time"].where(~otherwise_blocked, rows["onset"]).to_numpy(dtype=float)
    event = (rows["happened"] & ~otherwise_blocked).to_numpy(dtype=bool)
    onset = rows["onset"].where(~otherwise_blocked).to_numpy(dtype=float)
    stratum, cluster = (
        pd.factorize(rows[key], sort=True)[0] for key in ("milestone_id", "client_id")
    )
    return time_factor(time, event, onset, stratum, cluster, level)


# -- what follows -----------------------------------------------------------------------------

RETENTION_SEED = 20_121
RETENTION = [
    *("milestone_id", "n", "churned", "done", "done_retained", "done_lower", "done_upper"),
    *("others", "others_retained", "others_lower", "others_upper"),
    *("raw", "difference", "lower", "upper", "p", "q"),
]


def retention_after(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """Were customers that had completed a milestone by its due day retained more often than those that had not?

    A landmark analysis (Anderson, Cain & Gelber 1983): only customers that were live and had not given notice on the
    due day are compared, by what was done on that day, and retention counts from it (``milestone_retention_days``); who
    completes later stays with the others, so that nobody is retained because completing took time. A row a milestone:
    ``n``, ``churned``, customers of both sides with their retained share and Wilson's interval; ``raw``, the difference of the shares;
    ``difference``, adjusted by least squares for the tier at the beginning and the quarter in which the customer
    began, with an interval over customers, its p and q (of all milestones); NaN with too few customers.
    """
    return portfolio.cache.get(
        "milestone_retention", as_of, lambda: _retention(portfolio, as_of), disk=False
    )


def _retention(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    rows = states(portfolio, as_of)
    due = rows["target_day"].to_numpy(dtype=float)
    rows = rows[
        (due >= epoch_day(portfolio.first_event_day))
        & (due <= rows["day"].to_numpy(dtype=float))
        & ~(rows["skipped_day"].to_numpy(dtype=float) <= due)
        & rows["watched"].to_numpy(dtype=bool)
    ]
    if not len(rows):
        return pd.DataFrame(columns=RETENTION)
    rows = rows.assign(date=[pd.Timestamp(date_of(day)) for day in rows["target_day"]])
    days = portfolio.settings.milestone_retention_days
    rows = labels(rows, spells_as_of(portfolio, as_of), as_of, days)
    rows = rows[rows["status"] == "labelled"]
    began = rows.drop_duplicates("client_id").set_index("client_id")["began_day"].map(date_of)
    tier = tiers_at(portfolio, began.to_dict())
    rows["tier"] = [str(tier[client]) for client in rows["client_id"]]  # also those unknown
    rows["quarter"] = pd.to_datetime(rows["began_day"], unit="D").dt.to_period("Q").astype(str)
    parts = [
        {"milestone_id": name, **_retained(group, portfolio)}
        for name, group in rows.groupby("milestone_id", sort=False)
    ]
    frame = pd.DataFrame(parts, columns=RETENTION)
    tested = frame["p"].notna()
    frame.loc[tested, "q"] = benjamini_hochberg(frame.loc[tested, "p"].to_numpy(dtype=float))
    return frame


def _retained(rows: pd.DataFrame, portfolio: Portfolio) -> dict[str, Any]:
    """Both sides of one milestone, and their difference."""
    settings, retained = portfolio.settings, 1 - rows["outcome"].to_numpy(dtype=float)
    done = (rows["completed_day"] <= rows["target_day"]).to_numpy(dtype=float)
    level, churned = settings.effects_interval_level, int((retained == 0).sum())
    figures: dict[str, Any] = {"n": len(rows), "churned": churned}
    for name, side in (("done", retained[done == 1]), ("others", retained[done == 0])):
        lower, upper = wilson(side.sum(), len(side), level)
        share = side.mean() if len(side) else np.nan
        figures |= {name: len(side), f"{name}_retained": share}
        figures |= {f"{name}_lower": float(lower), f"{name}_upper": float(upper)}
    figures["raw"] = figures["done_retained"] - figures["others_retained"]
    least = settings.milestone_retention_min_churned
    if min(churned, len(rows) - churned, figures["done"], figures["others"]) < least:
        return figures
    words = pd.get_dummies(rows[["tier", "quarter"]], drop_first=True, dtype=float).to_numpy()
    draws = resamples(len(rows), RETENTION_SEED)
    difference = adjusted_difference(done, retained, words, np.arange(len(rows)), draws, level)
    if difference is not None:
        figures |= {
            "difference": difference.value,
            "lower": difference.lower,
            "upper": difference.upper,
        }
        figures["p"] = difference.p
    return figures
