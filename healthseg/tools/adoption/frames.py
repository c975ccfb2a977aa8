"""Finished frames for charts and tables, unrounded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from healthseg.metrics.counting import customers as known_customers
from healthseg.metrics.money import money
from healthseg.tools.adoption.effects import OVERALL, Effects
from healthseg.tools.adoption.features import Lives
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.funnel import STAGES

EFFECTS = [
    "name",
    "adjusted",
    "lower",
    "upper",
    "p",
    "q",
    "raw",
    "raw_lower",
    "raw_upper",
    "raw_p",
    "odds_ratio",
    "odds_lower",
    "odds_upper",
    "odds_p",
    "odds_q",
    "adopters_retention",
    "adopters_n",
    "others_retention",
    "others_n",
    "n",
    "customers",
    "events",
    "found",
    "reason",
]


def funnel(units: pd.DataFrame, stages: pd.DataFrame, awareness_known: bool) -> pd.DataFrame:
    """scope (all, or a category), stage, units, share of the eligible, share of the stage before."""
    rows = []
    shown = [name for name in STAGES if awareness_known or name != "awareness"]
    groups = [
        ("all", units),
        *((str(name), some) for name, some in units.groupby("category", sort=True)),
    ]
    for scope, some in groups:
        counts = stages.loc[some.index, shown].sum()
        for place, stage in enumerate(shown):
            before = counts[shown[max(place - 1, 0)]]
            rows.append(
                {
                    "scope": scope,
                    "stage": stage,
                    "place": place,
                    "units": int(counts[stage]),
                    "share": counts[stage] / len(some) if len(some) else np.nan,
                    "of_before": counts[stage] / before if before else np.nan,
                }
            )
    return pd.DataFrame(rows, columns=["scope", "stage", "place", "units", "share", "of_before"])


def effects(tried: Effects | None, figures: Figures) -> pd.DataFrame:
    """A row a feature: raw and adjusted correlation with staying, odds ratio, retention rates; largest adjusted first."""
    if tried is None:
        return pd.DataFrame(columns=EFFECTS)
    frame = tried.frame[~tried.frame["name"].isin([*OVERALL, "messages"])]
    frame = frame.rename(columns={"adjusted_lower": "lower", "adjusted_upper": "upper"})
    frame = frame.assign(found=frame[["q", "odds_q"]].min(axis=1) <= figures.settings.effects_max_q)
    order = frame["adjusted"].sort_values(ascending=False, na_position="last", kind="stable").index
    return frame.loc[order].reindex(columns=EFFECTS).reset_index(drop=True)


def named(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The rows of these names."""
    return frame[frame["name"].isin(list(names))].reset_index(drop=True)


def customers(figures: Figures, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a live customer: client_id, name, tier, arr, currency, entitled, adopted, rate, users; lowest rate first.

    ARR is in the portfolio's currency where amounts can be added up, else in each customer's own.
    """
    by = pairs.groupby("client_id").agg(
        entitled=("feature", "size"), adopted=("adopted", "sum"), rate=("adopted", "mean")
    )
    live = figures.live
    given = known_customers(figures.portfolio).reindex(live.index).get("name")
    ids = live.index.to_series()
    amounts = money(figures.portfolio, live, figures.as_of)
    own = amounts.by_currency if amounts.currency is None else amounts.currency
    frame = pd.DataFrame(
        {
            "client_id": ids,
            "name": ids if given is None else given.fillna(ids),
            "tier": live["tier"].astype(object),
            "arr": amounts.amounts,
            "currency": own,
        },
        index=live.index,
    )
    frame = frame.join(by).assign(users=figures.users.reindex(live.index))
    frame = frame.fillna({"entitled": 0}).reset_index(drop=True)
    return frame.sort_values(
        ["rate", "arr", "client_id"],
        ascending=[True, False, True],
        na_position="last",
        kind="stable",
        ignore_index=True,
    )


def abandoned(frame: pd.DataFrame, lives: Lives) -> pd.DataFrame:
    """A row a feature: adoptions seen, abandoned, taken up again, share kept 180 days with its interval; least kept
    first.
    """
    rows = [
        {"feature": name, "category": category, **lives.became(name)}
        for name, category in zip(frame["feature"], frame["category"], strict=True)
    ]
    columns = [
        "feature",
        "category",
        "adopters",
        "abandoned",
        "readopted",
        "share",
        "lower",
        "upper",
    ]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values(["share", "feature"], na_position="last", kind="stable").reset_index(
        drop=True
    )


def own_times(own: pd.DataFrame, portfolio: Lives) -> pd.DataFrame:
    """One customer's days to adoption beside the portfolio's median: feature, category, days (NaN: not yet), waited,
    median.
    """
    watched = own[own["watched"].astype(bool)]
    rows = [
        {
            "name": row.feature,
            "category": row.category,
            "days": row.adopted_day - row.from_day,
            "waited": row.until_day - 1 - row.from_day,
            "median": portfolio.time_to(row.feature, "adopted_day").days,
        }
        for row in watched.itertuples()
    ]
    return pd.DataFrame(rows, columns=["name", "category", "days", "waited", "median"]).astype(
        {"median": float}
    )
