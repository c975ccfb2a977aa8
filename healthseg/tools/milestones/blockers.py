"""What stands in the way, for how long, who has to act, and what getting past it has brought others?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.milestone_plan import date_of
from healthseg.statistics.effects import resamples
from healthseg.statistics.survival import median_times
from healthseg.tools.milestones.figures import OPEN, TOOL, Figures
from healthseg.tools.milestones.result import Acceleration, Blocker, Effect
from healthseg.tools.rounding import integer, number, rounded, word

DRAWS = 400
LEAST_VALID = 0.95  # of the draws: where more have no median, there is no interval


def severity(figures: Figures, row: Mapping[str, Any]) -> str:
    """high: required, and another milestone depends on it; medium: required; else low."""
    if not row["required"]:
        return "low"
    return "high" if figures.plan.needed_by(row["milestone_id"]) else "medium"


def effect(figures: Figures, blocker: str) -> Effect | None:
    row = figures.effects.get(blocker)
    if row is None:
        return None
    found = row["q"] <= figures.settings.effects_max_q
    return Effect(
        factor=rounded(row["factor"], 2),
        lower=rounded(row["lower"], 2),
        upper=rounded(row["upper"], 2),
        p=rounded(row["p"]),
        q=rounded(row["q"]),
        n=int(row["n"]),
        interval_level=figures.settings.effects_interval_level,
        found=bool(found),
    )


def held_up(figures: Figures, own: Mapping[str, Mapping[str, Any]], milestone_id: str) -> list[str]:
    """The open milestones of the customer that wait for this one."""
    return [
        one
        for one in figures.plan.needed_by(milestone_id)
        if one in own and own[one]["status"] in OPEN
    ]


def words_of(
    row: Mapping[str, Any], figures: Figures, own: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The figures of an open milestone for the rules."""
    blocked, count = bool(row["blocked"]), figures.count
    left = float(count.between(row["day"], row["target_day"]))
    usual = figures.clearing(row["blocker"])[0] if blocked else None
    asked = int(row["users"]) if row["feature"] is not None else 0
    reached = integer(row["reached"]) if asked else None
    today = figures.as_of >= figures.portfolio.data_until
    return {
        "overdue": int(row["status"] == "overdue"),
        "days_overdue": -left if row["status"] == "overdue" else None,
        "days_remaining": left if row["status"] != "overdue" and np.isfinite(left) else None,
        "started": int(np.isfinite(row["started_day"])),
        "required": int(row["required"]),
        "blocked": int(blocked),
        "blocker": str(row["blocker"]).replace("_", " ") if blocked else None,
        "blocker_days": number(row["day"] - row["blocked_day"]) if blocked else None,
        "usual_days": None if usual is None else usual.time,
        "owner": word(row["owner"]),
        "owner_known": int(word(row["owner"]) is not None) if today else None,
        "held_up": len(held_up(figures, own, row["milestone_id"])),
        "waits": len(row["waits_for"]),
        "waits_for": " and ".join(figures.names[one] for one in row["waits_for"]) or None,
        "feature": None if row["feature"] is None else row["feature"].replace("_", " "),
        "users_asked": asked,
        "users_reached": reached,
        "users_missing": None if reached is None else asked - reached,
    }


def blockers(
    figures: Figures, rows: list[dict[str, Any]], own: Mapping[str, Mapping[str, Any]]
) -> list[Blocker]:
    """The recorded blockers that stand, most severe and oldest first."""
    found = [_blocker(figures, row, own) for row in rows if row["blocked"]]
    order = ["high", "medium", "low"]
    return sorted(
        found, key=lambda one: (order.index(one.severity), -(one.age_days or 0), one.milestone_id)
    )


def _blocker(
    figures: Figures, row: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> Blocker:
    told = words_of(row, figures, own)
    fired = rules.fired(TOOL, "action", told)
    fired = [rule for rule in fired if "blocked" in rule["figures"]]
    usual, of = figures.clearing(row["blocker"])
    return Blocker(
        milestone_id=row["milestone_id"],
        milestone_name=row["name"],
        milestone_status=row["status"],
        blocker=row["blocker"],
        severity=severity(figures, row),
        age_days=integer(told["blocker_days"]),
        since=date_of(row["blocked_day"]),
        owner=word(row["owner"]),
        holds_up=[figures.names[one] for one in held_up(figures, own, row["milestone_id"])],
        usual_days_to_clear=usual.time,
        usual_lower=usual.lower,
        usual_upper=usual.upper,
        usual_n=of,
        effect=effect(figures, row["blocker"]),
        recommended_action=fired[0]["text"] if fired else None,
        rules=fired,
    )


# -- what getting past it brings ----------------------------------------------------------------


def acceleration(figures: Figures, row: Mapping[str, Any]) -> Acceleration | None:
    """How many days sooner is a blocked milestone done once its blocker is gone?

    The median of what remained of those blocked by the same for at least as long, less the median from getting past it
    until completion; with an interval over resampled customers. Of the same milestone where enough got past it there,
    else of any. None with too few, or where the interval reaches 0.
    """
    if not row["blocked"] or not np.isfinite(row["blocked_day"]):
        return None
    age = float(figures.count.between(row["blocked_day"], row["day"]))
    same = figures.started[
        (figures.started["blocker"] == row["blocker"]) & figures.started["onset"].notna()
    ]
    same = same[same["client_id"] != row["client_id"]]
    here = same["milestone_id"] == row["milestone_id"]
    for rows, where in ((same[here], "on this milestone"), (same, "on any milestone")):
        made = _saved(figures, rows, age)
        if made is not None:
            median, lower, upper, n = made
            basis = (
                f"what remained after {age:.0f} days with this blocker, less what remained once it was gone; "
                f"customers with it {where} that got past it"
            )
            return (
                None
                if lower <= 0
                else Acceleration(
                    median_days=round(median, 1),
                    lower_days=round(lower, 1),
                    upper_days=round(upper, 1),
                    interval_level=figures.level,
                    n=n,
                    basis=basis,
                )
            )
    return None


def _saved(
    figures: Figures, rows: pd.DataFrame, age: float
) -> tuple[float, float, float, int] | None:
    least = figures.settings.peers_min
    lasted = (rows["time"] - rows["onset"]).to_numpy(dtype=float)
    after = (rows["time"] - rows["cleared"]).to_numpy(dtype=float)
    happened = rows["happened"].to_numpy(dtype=bool)
    still, past = (
        lasted > age,
        (after >= 0) & ((rows["cleared"] - rows["onset"]) >= 0).to_numpy(dtype=bool),
    )
    if still.sum() < least or past.sum() < least:
        return None
    codes = pd.factorize(rows["client_id"], sort=True)[0]
    weights = resamples(codes.max() + 1, figures.settings.seed, DRAWS)[:, codes]
    weights = np.vstack([np.ones((1, len(rows)), dtype=np.int64), weights])
    remains = median_times(lasted[still] - age, happened[still], weights[:, still])
    gone = median_times(after[past], happened[past], weights[:, past])
    usable = np.isfinite(remains) & np.isfinite(gone)
    saved = np.where(np.isfinite(remains), remains, 0) - np.where(np.isfinite(gone), gone, 0)
    if not usable[0] or usable[1:].mean() < LEAST_VALID:
        return None
    tail = (1 - figures.level) / 2
    drawn = np.sort(saved[1:][usable[1:]])
    lower, upper = (
        drawn[int(tail * len(drawn))],
        drawn[min(int(np.ceil((1 - tail) * len(drawn))), len(drawn)) - 1],
    )
    return float(saved[0]), float(lower), float(upper), int(past.sum())


def sooner(found: Acceleration | None) -> str | None:
    """In words: an interval with its n."""
    if found is None:
        return None
    return (
        f"{found.lower_days:.0f} to {found.upper_days:.0f} days ({100 * found.interval_level:.0f} %, "
        f"n = {found.n})"
    )
