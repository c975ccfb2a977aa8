"""When did a customer get value, beside its target, those who began in the same quarter, and the portfolio?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.milestone_plan import MARKS, date_of
from healthseg.metrics.milestone_times import Ahead, Mark, ahead
from healthseg.statistics.multiplicity import benjamini_hochberg
from healthseg.statistics.survival import Median, quantile_time, survival_at
from healthseg.tools.milestones.details import ON_TIME_DAYS, told
from healthseg.tools.milestones.figures import Figures, kaplan
from healthseg.tools.milestones.result import Forecast, TimeToValue, Value, VsTarget
from healthseg.tools.rounding import number, rounded

NOBODY = Median(None, None, None)


def time_to_value(figures: Figures, client_id: str) -> TimeToValue:
    found = {
        name: one
        for name, mark in figures.marks.items()
        if (one := _value(figures, client_id, mark)) is not None
    }
    differ = beyond_chance(figures, {name: one.log_rank_p for name, one in found.items()})
    found = {
        name: one.model_copy(update={"pace_differs": differ[name]}) for name, one in found.items()
    }
    days = {f"{name}_days": found[name].days if name in found else None for name in MARKS}
    words = {name: found[name].word if name in found else None for name in MARKS}
    return TimeToValue(**days, vs_target=VsTarget(**words), detail=list(found.values()))


def _value(figures: Figures, client_id: str, mark: Mark) -> Value | None:
    row = figures.value_of(client_id, mark.name)
    if row is None:
        return None
    everyone = figures.cohort(mark.name)
    peers = figures.cohort(mark.name, row["quarter"])
    peers = peers[peers["client_id"] != client_id]
    median, share = _cohort(figures, peers, row)
    portfolio = figures.median(mark.name) if len(everyone) else NOBODY
    rank = figures.against_others(mark.name, row["quarter"])
    target = float(figures.count.between(row["began_day"], row["target_day"]))
    return Value(
        mark=mark.name,
        definition=mark.text,
        days=rounded(row["days"], 1),
        reached_on=date_of(row["reached_day"]),
        target_days=number(target),
        target_date=date_of(row["target_day"]),
        word=_word(figures, row, target),
        quarter=row["quarter"],
        cohort_n=len(peers),
        cohort_reached=int(peers["happened"].sum()),
        cohort_median_days=median.time,
        cohort_lower=median.lower,
        cohort_upper=median.upper,
        cohort_share_by_then=share,
        portfolio_n=len(everyone),
        portfolio_median_days=portfolio.time,
        portfolio_lower=portfolio.lower,
        portfolio_upper=portfolio.upper,
        log_rank_p=None if rank is None else rounded(rank.p),
        pace_differs=None,
        interval_level=figures.level,
        forecast=_forecast(figures, row, everyone),
    )


def beyond_chance(figures: Figures, p: dict[str, float | None]) -> dict[str, bool | None]:
    """Whether each p, all of them tried together, is more than chance gives; None where there is none."""
    known = {name: one for name, one in p.items() if one is not None}
    q = dict(zip(known, benjamini_hochberg(list(known.values())), strict=True))
    return {
        name: bool(q[name] <= figures.settings.effects_max_q) if name in q else None for name in p
    }


def _cohort(
    figures: Figures, peers: pd.DataFrame, row: dict[str, Any]
) -> tuple[Median, float | None]:
    """The peers' median, and the share of them that had got there by this customer's day."""
    if len(peers) < figures.settings.peers_min:
        return NOBODY, None
    curve = kaplan(peers, figures.level)
    by_then = 1 - float(survival_at(curve, [row["time"]])[0])
    return quantile_time(curve), rounded(by_then)


def _word(figures: Figures, row: dict[str, Any], target: float) -> str | None:
    if np.isnan(row["target_day"]):
        return None
    if not row["happened"]:
        late = row["target_day"] < figures.present_spells.loc[row["client_id"], "day"]
        return "overdue" if late else "in_progress"
    if np.isnan(row["days"]):
        return None
    early = round(target - round(row["days"], 1), 1)
    if row["reached_day"] == row["target_day"] or abs(early) < ON_TIME_DAYS:
        return "on_target"
    return "ahead" if early > 0 else "behind"


def _forecast(figures: Figures, row: dict[str, Any], everyone: pd.DataFrame) -> Forecast | None:
    """For a customer that is not there yet and has not left."""
    if row["happened"] or not figures.present_spells.loc[row["client_id"], "live"]:
        return None
    others = everyone[everyone["client_id"] != row["client_id"]]
    found = ahead(others, row["time"], figures.level)
    if found.n < figures.settings.peers_min:
        return None
    days = [
        None if one is None else float(figures.count.after(row["began_day"], one))
        for one in (found.median, found.lower, found.upper)
    ]
    return told(Ahead(*days, found.n, "not there yet after as long"), figures.level)


def curves(figures: Figures, quarters: list[str]) -> pd.DataFrame:
    """The portfolio's curves, and those of quarters, as shares that got there: mark, name, days, share, lower, upper, n."""
    return figures.made(("curves", tuple(quarters)), lambda: _curves(figures, quarters)).copy()


def _curves(figures: Figures, quarters: list[str]) -> pd.DataFrame:
    parts = [
        _points(figures, mark, name or "portfolio", name)
        for mark in figures.marks
        for name in (None, *quarters)
    ]
    columns = ["mark", "name", "days", "share", "lower", "upper", "n"]
    known = [part for part in parts if len(part)]
    return pd.concat(known, ignore_index=True)[columns] if known else pd.DataFrame(columns=columns)


def _points(figures: Figures, mark: str, name: str, quarter: str | None) -> pd.DataFrame:
    rows = figures.cohort(mark, quarter)
    if len(rows) < figures.settings.peers_min:
        return rows.iloc[:0]
    curve = figures.curve(mark, quarter)
    body = pd.DataFrame(
        {
            "days": curve["time"],
            "share": 1 - curve["survival"],
            "lower": 1 - curve["upper"],
            "upper": 1 - curve["lower"],
        }
    )
    start = pd.DataFrame({"days": [0.0], "share": [0.0], "lower": [0.0], "upper": [0.0]})
    last = (
        body.iloc[[-1]].assign(days=float(rows["time"].max()))
        if len(body)
        else start.assign(days=float(rows["time"].max()))
    )
    parts = [part for part in (start, body, last) if len(part)]
    return pd.concat(parts, ignore_index=True).assign(mark=mark, name=name, n=len(rows))
