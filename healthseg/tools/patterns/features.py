"""The sections about features: orders of adoption, bundles, personas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import PLUS
from healthseg.clustering.sequences import ARROW
from healthseg.tools.patterns import words
from healthseg.tools.patterns.outcomes import Outcomes
from healthseg.tools.patterns.result import (
    Bundle,
    FeatureUsage,
    Gap,
    Persona,
    PersonaEvidence,
    Sequences,
)
from healthseg.tools.patterns.study import ORDER, Study
from healthseg.tools.rounding import rounded

LEAST_FEATURES = 4  # a persona's profile names at most so many


def feature_usage(
    study: Study, found: pd.DataFrame, learnt: pd.DataFrame, outcomes: Outcomes
) -> FeatureUsage:
    """Orders are the portfolio's (of one customer: those that it has begun), bundles the scope's own."""
    rows = learnt[learnt["kind"] == "sequence"].sort_values(
        ["support", "key"], ascending=[False, True], kind="stable"
    )
    keys = rows["key"].tolist()
    orders = study.orders
    if orders is not None and study.scope.client_id is not None:
        keys = [key for key in keys if _touches(study, key)]
    gaps = [_gap(orders, key) for key in keys]
    return FeatureUsage(
        sequential_adoption=Sequences(
            common_sequences=[key.split(ARROW) for key in keys],
            optimal_sequence=_best(study.portfolio_wide, keys),
            avg_time_between_steps_days=_all_gaps(orders, keys),
            gaps=gaps,
        ),
        feature_bundles=[
            _bundle(study, row, outcomes)
            for row in found[found["kind"] == "bundle"].to_dict("records")
        ],
    )


def _touches(study: Study, key: str) -> bool:
    """Whether the customer took up the first step of a sequence."""
    days = study.orders.days
    client = study.scope.client_id
    return client in days.index and bool(np.isfinite(days.loc[client, key.split(ARROW)[0]]))


def _gap(orders: Any, key: str) -> Gap:
    days = orders.gaps(key)
    low, middle, high = np.quantile(days, [0.25, 0.5, 0.75])
    unfinished, of = orders.unfinished(key)
    return Gap(
        sequence=key.split(ARROW),
        customers=len(days),
        median_days=float(middle),
        lower_quartile=float(low),
        upper_quartile=float(high),
        unfinished_share=rounded(unfinished / of) if of else None,
        unfinished_of=of,
    )


def _all_gaps(orders: Any, keys: list[str]) -> float | None:
    days = [orders.gaps(key).ravel() for key in keys]
    return float(np.median(np.concatenate(days))) if days else None


def _best(study: Study, keys: list[str]) -> list[str] | None:
    """The order whose customers leave least at equal size, tenure, tier and activity, where that is beyond chance."""
    tried = study.tried("habit")
    rows = tried[tried["key"].isin([ORDER + key for key in keys])]
    rows = rows[rows["hazard_upper"].astype(float) < 1]
    if not len(rows):
        return None
    best = rows.sort_values(["hazard_ratio", "key"], kind="stable")["key"].iloc[0]
    return best.removeprefix(ORDER).split(ARROW)


def _bundle(study: Study, row: dict[str, Any], outcomes: Outcomes) -> Bundle:
    all_of, any_of = study.bundles.co_usage(row["key"], study.gone)
    shown = outcomes.shown("bundle", row["key"])
    found = outcomes.staying(shown).correlation if shown is not None else None
    return Bundle(
        bundle=row["key"].split(PLUS),
        co_usage_rate=rounded(all_of / max(any_of, 1)),
        support=all_of,
        success_correlation=rounded(found and found.value),
        success_lower=rounded(found and found.lower),
        success_upper=rounded(found and found.upper),
        users_of_any=any_of,
        lift=rounded(row["lift"]),
        confidence=rounded(row["confidence"]),
    )


# -- personas ----------------------------------------------------------------------------------


def personas(study: Study) -> tuple[list[Persona], PersonaEvidence, pd.DataFrame]:
    """Personas with what sets them apart, the evidence for them, and a frame: persona, feature, factor, percentage."""
    found, left_out = study.personas
    told = PersonaEvidence(
        stable=found.labels is not None,
        reason=found.reason,
        users=found.users,
        not_clustered=left_out,
        silhouette=rounded(found.silhouette),
        silhouette_p=rounded(found.silhouette_p),
        stability=rounded(found.stability),
    )
    columns = ["persona", "feature", "factor", "percentage"]
    if found.labels is None:
        return [], told, pd.DataFrame(columns=columns)
    depth = _depth(study, found.labels)
    names = _names(found)
    people, rows = [], []
    for place, share in enumerate(found.shares):
        apart = dict(found.set_apart_by(place, LEAST_FEATURES))
        people.append(
            Persona(
                persona_name=names[place],
                percentage=share,
                users=int((found.labels == place).sum()),
                characteristics=_characteristics(apart, depth.loc[place], depth.loc["all"]),
                recommended_engagement=_engagement(apart),
                set_apart_by={feature: rounded(factor, 2) for feature, factor in apart.items()},
            )
        )
        rows += [(names[place], feature, factor, share) for feature, factor in apart.items()]
    return people, told, pd.DataFrame(rows, columns=columns)


def _names(found: Any) -> list[str]:
    """Each after the two features that set it apart most; a persona without any is of everything."""
    names = []
    for place in range(len(found.shares)):
        apart = [words.plain(feature) for feature, _ in found.set_apart_by(place, 2)]
        name = (
            words.first_upper(" and ".join(apart)) + " users"
            if apart
            else "Users of a bit of everything"
        )
        names.append(name if name not in names else f"{name} ({place + 1})")
    return names


def _depth(study: Study, labels: pd.Series) -> pd.DataFrame:
    """By persona, and of all: median features, active days a week, events an active day, share of days on weekends."""
    rows = study.feature_days
    keys = [rows["client_id"], rows["user_id"]]
    weekend = (rows["day"] + 3) % 7 >= 5
    per = pd.DataFrame(
        {
            "features": rows.groupby(keys)["feature"].nunique(),
            "days": rows.groupby(keys)["day"].nunique(),
            "weekend": weekend.groupby(keys).mean(),
        }
    )
    per = per.reindex(labels.index)
    per["events"] = study.user_events.reindex(labels.index).to_numpy() / per["days"]
    per["days"] = 7 * per["days"] / study.scope.days
    by = per.groupby(labels.to_numpy()).median()
    return pd.concat([by, per.median().to_frame("all").T])


def _characteristics(apart: dict[str, float], own: pd.Series, every: pd.Series) -> list[str]:
    told = [
        f"Turns to {words.plain(feature)} {factor:.1f} times as often as other users of the same features"
        for feature, factor in apart.items()
    ]
    told.append(
        f"{own['features']:.0f} features in the window, {own['days']:.1f} active days a week (all users: "
        f"{every['features']:.0f} and {every['days']:.1f})"
    )
    if own["weekend"] >= 0.1 and own["weekend"] >= 1.5 * every["weekend"]:
        told.append(f"{words.percent(own['weekend'])} of what they do is on weekends")
    return told


def _engagement(apart: dict[str, float]) -> str | None:
    if not apart:
        return None
    return f"Tell them first what is new in {words.listed([words.plain(feature) for feature in list(apart)[:2]])}"
