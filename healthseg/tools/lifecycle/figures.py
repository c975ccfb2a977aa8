"""The figures that criteria are held against: the panel's of each day, the score, contracts and milestones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import panels
from healthseg.metrics.counting import epoch_day
from healthseg.metrics.milestones import states
from healthseg.scoring import score_panel
from healthseg.scoring.scored_panel import with_todays_values
from healthseg.tools.rounding import number

LOOK_BACK_DAYS = 60  # the longest that a criterion may ask for, and what "since when" looks at
CONTRACT = ("contract_in_force", "contract_ended", "contract_began_in_stage")
MILESTONES = "required_onboarding_open"
Day = dict[str, Any]


def days_before(day: dt.date, count: int = LOOK_BACK_DAYS) -> list[dt.date]:
    """The ``count`` days that end with ``day``, oldest first."""
    return [day - dt.timedelta(days=back) for back in range(count - 1, -1, -1)]


def daily(
    portfolio: Any, day: dt.date, client_id: str, needed: Iterable[str], since: dt.date
) -> list[Day]:
    """One customer's figures on each of the last days on which it lived, oldest first.

    ``needed`` are the figures that will be read (contracts and milestones cost a look at their tables); ``since`` is
    the day on which its stage began.
    """
    rows = panels.panel(portfolio, days_before(day), [client_id])
    return _figures(
        portfolio,
        scored(portfolio, rows[rows["live"].astype(bool)]),
        day,
        set(needed),
        {client_id: since},
    )


def scored(portfolio: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the panel with ``health_score``, as it is shown."""
    rows, _ = with_todays_values(rows)
    if not len(rows):
        return rows.assign(health_score=np.nan)
    return rows.assign(
        health_score=score_panel(rows, portfolio.settings, None).frame["shown"].to_numpy()
    )


def of_portfolio(
    portfolio: Any, day: dt.date, needed: Iterable[str], since: Mapping[str, dt.date]
) -> dict[str, list[Day]]:
    """``daily`` for all customers that live on ``day`` and have a stage (``since``), by client_id."""
    rows = panels.panel(portfolio, days_before(day))
    rows = rows[rows["live"].astype(bool) & rows["client_id"].isin(since)]
    found: dict[str, list[Day]] = {}
    for one in _figures(portfolio, scored(portfolio, rows), day, set(needed), since):
        found.setdefault(one["client_id"], []).append(one)
    last = pd.Timestamp(day)
    return {
        client: days for client, days in found.items() if pd.Timestamp(days[-1]["date"]) == last
    }


def _figures(
    portfolio: Any, rows: pd.DataFrame, day: dt.date, needed: set[str], since: Mapping[str, dt.date]
) -> list[Day]:
    names = [name for name in rows if name in needed]
    out = [
        {"client_id": client, "date": date}
        for client, date in zip(
            rows["client_id"].tolist(), rows["date"].dt.date.tolist(), strict=True
        )
    ]
    for name in names:
        for one, value in zip(out, rows[name].tolist(), strict=True):
            one[name] = value if isinstance(value, str) else number(value)
    if needed & set(CONTRACT):
        known = contracts(portfolio)
        for one in out:
            one |= contract_figures(known, one["client_id"], one["date"], since[one["client_id"]])
    if MILESTONES in needed:
        _with_milestones(portfolio, out, day)
    return out


def contracts(portfolio: Any) -> dict[str, list[tuple]] | None:
    """Each customer's contracts as (starts_on, ends_on, signed_on), in order; None where there is no such table."""

    def make() -> dict[str, list[tuple]] | None:
        if not portfolio.has("contracts"):
            return None
        rows = portfolio.table("contracts")
        dates = [
            [None if pd.isna(value) else value.date() for value in pd.to_datetime(rows[name])]
            for name in ("starts_on", "ends_on", "signed_on")
        ]
        found: dict[str, list[tuple]] = {}
        for client, *one in zip(rows["client_id"], *dates, strict=True):
            found.setdefault(client, []).append(tuple(one))
        return {client: sorted(rows, key=lambda row: row[0]) for client, rows in found.items()}

    return remember(portfolio, "contracts of customers", make)


def contract_figures(
    known: Mapping[str, list[tuple]] | None, client: str, day: dt.date, since: dt.date
) -> Day:
    """Whether a contract is in force (and began in the stage), or all that were have ended, and since when."""
    rows = [
        row
        for row in (known or {}).get(client, [])
        if row[0] <= day and (row[2] is None or row[2] <= day)
    ]
    if not rows:
        return dict.fromkeys(CONTRACT) | {"contract_ended_on": None, "contract_began_on": None}
    running = [row for row in rows if row[1] is None or row[1] > day]
    began = max((row[0] for row in running), default=None)
    ended = None if running else max(row[1] for row in rows)
    return {
        "contract_in_force": float(bool(running)),
        "contract_ended": float(not running),
        "contract_began_in_stage": float(began is not None and began >= since),
        "contract_ended_on": ended,
        "contract_began_on": began,
    }


def _with_milestones(portfolio: Any, days: list[Day], day: dt.date) -> None:
    """How many required milestones of the onboarding were open on each day; None where the customer has none."""
    waiting = remember(portfolio, ("required onboarding", day), lambda: _onboarding(portfolio, day))
    for one in days:
        theirs = waiting.get(one["client_id"])
        at = epoch_day(one["date"])
        one[MILESTONES] = None if theirs is None else float(sum(done > at for done in theirs))


def _onboarding(portfolio: Any, day: dt.date) -> dict[str, list[float]]:
    rows = states(portfolio, day)
    if not len(rows):
        return {}
    rows = rows[rows["required"].astype(bool) & (rows["category"] == "onboarding")]
    done = np.fmin(rows["completed_day"].astype(float), rows["skipped_day"].astype(float)).fillna(
        np.inf
    )
    return done.groupby(rows["client_id"]).agg(list).to_dict()
