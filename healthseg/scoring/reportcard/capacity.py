"""What a score is worth to a team: whom its capacity catches, how early, and how many alarms are false."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

LEADS = tuple(range(0, 181, 30))  # days before notice or leaving
ALL_BUT = 0.9
OTHER_HOURS = 4.0  # an account a month, of a tier that the settings don't name


def captured(
    rows: pd.DataFrame,
    names: list[str],
    accounts: int,
    hours: float | None,
    need: Mapping[str, float],
) -> pd.DataFrame:
    """On each date the team takes the riskiest: which share of those who left within the horizon did it hold?

    ``accounts`` are so many on each date; ``hours`` those whose care (``need`` hours a month by tier) fills the
    managers'. Columns: score, capacity, dates, taken (a date on average), leavers, caught, share, lift (share ÷ share
    of customers taken).
    """
    kinds = {f"top {accounts} accounts": None} | (
        {f"{hours:,.0f} hours a month": hours} if hours else {}
    )
    found = []
    for name in names:
        known = rows[rows[f"risk_{name}"].notna() & rows["outcome"].notna()]
        for kind, limit in kinds.items():
            order = known.sort_values(
                ["date", f"risk_{name}", "client_id"], ascending=[True, False, True], kind="stable"
            )
            taken = _taken(order, accounts, limit, need)
            leavers, caught = int(order["outcome"].sum()), int(order.loc[taken, "outcome"].sum())
            dates = order["date"].nunique()
            share = caught / leavers if leavers else np.nan
            reach = taken.sum() / len(order) if len(order) else np.nan
            if limit and reach > ALL_BUT:
                continue  # hours for nearly everybody choose nobody
            found.append(
                {
                    "score": name,
                    "capacity": kind,
                    "dates": dates,
                    "taken": taken.sum() / max(dates, 1),
                    "leavers": leavers,
                    "caught": caught,
                    "share": share,
                    "lift": share / reach if reach else np.nan,
                }
            )
    return pd.DataFrame(
        found, columns=["score", "capacity", "dates", "taken", "leavers", "caught", "share", "lift"]
    )


def _taken(
    order: pd.DataFrame, accounts: int, hours: float | None, need: Mapping[str, float]
) -> np.ndarray:
    if hours is None:
        return (order.groupby("date").cumcount() < accounts).to_numpy()
    wanted = pd.Series(
        [need.get(tier, OTHER_HOURS) for tier in order["tier"]], index=order.index, dtype=float
    )
    return (wanted.groupby(order["date"]).cumsum() <= hours).to_numpy()


def flagged(rows: pd.DataFrame, names: list[str], threshold: float) -> dict[str, np.ndarray]:
    """Per score the rows that raise an alarm: below the threshold; of a rival as many as the first score raises."""
    first = (
        (rows[names[0]] < threshold).to_numpy()
        if names[0] in rows
        else np.zeros(len(rows), dtype=bool)
    )
    budget = float(first.mean()) if len(rows) else 0.0
    found = {}
    for name in names:
        if name in rows:
            found[name] = (rows[name] < threshold).to_numpy()
        else:
            risk = rows[f"risk_{name}"].fillna(-np.inf).to_numpy(dtype=float)
            order = np.argsort(-risk, kind="stable")
            found[name] = np.isin(np.arange(len(rows)), order[: round(budget * len(rows))])
    return found


def lead_times(rows: pd.DataFrame, flags: dict[str, np.ndarray]) -> pd.DataFrame:
    """Of the customers that were lost: which share had an alarm, without a break, so many days before?

    An alarm counts at ``lead_days`` if the score was below its threshold on every date from at least so many days
    before notice (or leaving) on. Columns: score, lead_days, leavers (that were watched so long), warned, share.
    """
    found = []
    lost = rows[rows["event_on"].notna()]
    before = (lost["event_on"] - lost["date"]).dt.days
    for name, flag in flags.items():
        here = pd.DataFrame({"client": lost["client_id"], "days": before, "flag": flag[lost.index]})
        here = here[lost[f"risk_{name}"].notna()]
        here = here.sort_values(["client", "days"], kind="stable")
        unbroken = here["flag"].groupby(here["client"]).cummin()
        watched = here.groupby("client")["days"].max()
        earliest = here["days"].where(unbroken).groupby(here["client"]).max()
        for lead in LEADS:
            able = watched >= lead
            warned = int((earliest[able] >= lead).sum())
            found.append(
                {
                    "score": name,
                    "lead_days": lead,
                    "leavers": int(able.sum()),
                    "warned": warned,
                    "share": warned / able.sum() if able.any() else np.nan,
                }
            )
    return pd.DataFrame(found, columns=["score", "lead_days", "leavers", "warned", "share"])


def false_alarms(
    rows: pd.DataFrame, flags: dict[str, np.ndarray], managers: int | None
) -> pd.DataFrame:
    """Alarms whose customer was not lost within the horizon, by month and manager, and the precision of alarms."""
    found, known = [], rows["outcome"].notna().to_numpy()
    months = rows.loc[known, "date"].nunique()
    for name, flag in flags.items():
        raised = flag & known
        true = int(rows.loc[raised, "outcome"].sum())
        wrong = int(raised.sum()) - true
        found.append(
            {
                "score": name,
                "alarms": int(raised.sum()),
                "right": true,
                "false": wrong,
                "precision": true / raised.sum() if raised.any() else np.nan,
                "false_a_month": wrong / months if months else np.nan,
                "false_a_manager_and_month": wrong / months / managers
                if months and managers
                else np.nan,
            }
        )
    return pd.DataFrame(
        found,
        columns=[
            "score",
            "alarms",
            "right",
            "false",
            "precision",
            "false_a_month",
            "false_a_manager_and_month",
        ],
    )
