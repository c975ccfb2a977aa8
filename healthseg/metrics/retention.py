"""Weekly retention of user cohorts: of the users first seen in a week, how many came back in each week after?

N-week bounded retention ("return on"): week n of a user are the seven days that begin 7·n days after its first person
event. Cohorts are the blocks of seven days, counted back from the end, in which users were first seen. A cell is blank
until the whole week lies behind every user of the cohort: an unfinished week would look like a loss.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import Counting, chunks, epoch_day
from healthseg.metrics.lives import active_before, counting, days_of, lives

WEEKS = 12


def retention(portfolio: Any, end: dt.date, clients: list[str], weeks: int = WEEKS) -> pd.DataFrame:
    """Rows of cohort (its first day), week (0, 1, …), users, retained (NaN: not yet known), over the last ``weeks``.

    All users of ``clients`` together; those who may have been there before tracking began are in no cohort. Week 0 is
    the week of the first event: all of them.
    """
    stop = epoch_day(end)
    origin = stop - 7 * weeks
    users, retained = np.zeros(weeks, dtype=np.int64), np.zeros((weeks, weeks), dtype=np.int64)
    for some in chunks(clients):
        _add(
            counting(portfolio, some, end - dt.timedelta(days=7 * weeks), end),
            origin,
            stop,
            users,
            retained,
        )
    return _table(portfolio, stop, users, retained)


def retention_of(count: Counting, end: dt.date, weeks: int = WEEKS) -> pd.DataFrame:
    """``retention`` of the customers of a counting that reaches back over the weeks."""
    users, retained = np.zeros(weeks, dtype=np.int64), np.zeros((weeks, weeks), dtype=np.int64)
    _add(count, epoch_day(end) - 7 * weeks, epoch_day(end), users, retained)
    return _table(count.portfolio, epoch_day(end), users, retained)


def _table(portfolio: Any, stop: int, users: np.ndarray, retained: np.ndarray) -> pd.DataFrame:
    """The counts as rows; NaN where a cohort's week is not over, nothing of cohorts from before tracking."""
    weeks, origin = len(users), stop - 7 * len(users)
    cohort, week = (part.ravel() for part in np.indices((weeks, weeks)))
    last_day = origin + 7 * cohort + 6 + 7 * week + 6  # of week n of the cohort's latest user
    known = last_day < stop
    began = (origin + 7 * cohort).astype("datetime64[D]").astype("datetime64[s]")
    frame = pd.DataFrame(
        {
            "cohort": began,
            "week": week,
            "users": users[cohort],
            "retained": np.where(known, retained[cohort, week], np.nan),
        }
    )
    tracked = origin + 7 * cohort >= epoch_day(portfolio.first_event_day)
    return frame[(week <= weeks - 1 - cohort) & tracked].reset_index(drop=True)


def _add(count: Counting, origin: int, stop: int, users: np.ndarray, retained: np.ndarray) -> None:
    """Adds the customers' users, and the weeks in which each came, to the cohorts' counts."""
    frame = lives(count)
    first = frame["first_day"].fillna(-1).to_numpy().astype(np.int64)
    fresh = (first >= origin) & (first < stop) & ~active_before(count)
    cohort = (first - origin) // 7
    users += np.bincount(cohort[fresh], minlength=len(users))
    rows = days_of(count)
    user, day = rows["user"].to_numpy(), rows["day"].to_numpy()
    kept = fresh[user] & (day < stop)
    week = (day[kept] - first[user[kept]]) // 7
    pairs = np.unique(np.stack([user[kept], week]), axis=1)
    np.add.at(retained, (cohort[pairs[0]], pairs[1]), 1)
