"""The funnel: eligible ⊇ aware ⊇ trial ⊇ first use ⊇ regular ⊇ power."""

from __future__ import annotations

import pandas as pd

from healthseg.settings import Settings

STAGES = ("eligible", "awareness", "trial", "first_use", "regular_use", "power_use")


def reached(units: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Which stage each unit (days_ever, recent_days, told) has reached; each stage is asked of those before it alone."""
    used = units["days_ever"] >= 1
    aware = units["told"].astype(bool) | used
    trial = aware & used
    first = trial & (units["days_ever"] >= settings.funnel_first_use_days)
    regular = first & (units["recent_days"] >= settings.regular_min_days)
    power = regular & (units["recent_days"] >= settings.power_min_days)
    return pd.DataFrame(
        {
            "eligible": True,
            "awareness": aware,
            "trial": trial,
            "first_use": first,
            "regular_use": regular,
            "power_use": power,
        },
        index=units.index,
    )


def counted(stages: pd.DataFrame, awareness_known: bool) -> dict[str, float | int | None]:
    """The counts of ``reached`` and the conversion rate; awareness is null where no message names a feature."""
    found: dict[str, float | int | None] = {name: int(stages[name].sum()) for name in STAGES}
    if not awareness_known:
        found["awareness"] = None
    found["conversion_rate"] = (
        round(found["regular_use"] / found["eligible"], 4) if found["eligible"] else None
    )
    return found


def user_units(
    pairs: pd.DataFrame, ever: pd.DataFrame, recent: pd.DataFrame, users: list[str]
) -> pd.DataFrame:
    """One customer's units: every user × feature that it could use, with days of use ever and in the last 28."""
    grid = pairs[["feature", "category", "told"]].merge(
        pd.DataFrame({"user_id": users}), how="cross"
    )
    for name, rows in (("days_ever", ever), ("recent_days", recent)):
        days = rows[["user_id", "feature", "active_days"]].rename(columns={"active_days": name})
        grid = grid.merge(days, on=["user_id", "feature"], how="left")
    return grid.fillna({"days_ever": 0, "recent_days": 0})
