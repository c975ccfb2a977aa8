"""From figures to the parts of the response: rounded here and nowhere before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg.tools.adoption import words
from healthseg.tools.adoption.effects import OVERALL, Effects
from healthseg.tools.adoption.features import Lives
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.result import (
    Association,
    CategorySummary,
    Correlations,
    FeatureDetail,
    Kept,
    Staying,
    TimeTo,
)
from healthseg.tools.adoption.times import Time
from healthseg.tools.rounding import integer, number, rounded, word

FIRST_USE, ADOPTED = "first_use_day", "adopted_day"


def time_to(time: Time, level: float) -> TimeTo:
    return TimeTo(
        days=number(time.days),
        lower=number(time.lower),
        upper=number(time.upper),
        interval_level=level,
        n=time.n,
        events=time.events,
        excluded_untracked=time.excluded,
    )


def summary(
    figures: Figures, pairs: pd.DataFrame, lives: Lives, category: str, customers: int
) -> CategorySummary:
    """Plain counts of one customer; of several their means, and the ratio of the means."""
    rows = pairs[pairs["category"] == category]
    known = rows["adopted"].notna()
    total, adopted = len(rows), rows["adopted"].sum() if known.any() else None
    time = lives.category_time(category)
    share = (
        (lambda count: int(count))
        if customers <= 1
        else (lambda count: round(count / customers, 2))
    )
    return CategorySummary(
        total_features=share(total),
        adopted_features=None if adopted is None else share(adopted),
        adoption_rate=None if adopted is None else rounded(adopted / known.sum()),
        average_time_to_adopt_days=number(time.days),
        time_to_adopt=time_to(time, figures.settings.interval_level),
    )


def details(
    figures: Figures, frame: pd.DataFrame, lives: Lives, effects: Effects | None, single: bool
) -> list[FeatureDetail]:
    return [_detail(figures, row, lives, effects, single) for row in frame.to_dict("records")]


def _detail(
    figures: Figures, row: Mapping[str, Any], lives: Lives, effects: Effects | None, single: bool
) -> FeatureDetail:
    name, level = row["feature"], figures.settings.interval_level
    first, adopted, became = (
        lives.time_to(name, FIRST_USE),
        lives.time_to(name, ADOPTED),
        lives.became(name),
    )
    stays = None if effects is None else staying(figures, effects, name)
    kept = Kept(
        adopters=became["adopters"],
        abandoned=became["abandoned"],
        readopted=became["readopted"],
        share_kept_180_days=rounded(became["share"]),
        lower=rounded(became["lower"]),
        upper=rounded(became["upper"]),
        interval_level=level,
        silent_days=figures.silent_days,
    )
    known = number(row["adopted"]) is not None
    return FeatureDetail(
        feature_name=name,
        feature_category=row["category"],
        adoption_rate=rounded(row["rate"]),
        customers_using=integer(row["adopted"]),
        total_customers=int(row["customers"]),
        average_time_to_first_use_days=number(first.days),
        usage_frequency=word(row["usage_frequency"]),
        customer_satisfaction=rounded(row["satisfaction"], 2),
        correlation_with_retention=None if stays is None else stays.adjusted,
        adopted=bool(row["adopted"]) if single and known else None,
        adoption_rate_lower=rounded(row["lower"]) if known else None,
        adoption_rate_upper=rounded(row["upper"]) if known else None,
        users=integer(row["users"]),
        events_per_adopter=rounded(row["events_per_adopter"], 1),
        user_share=rounded(row["user_share"]),
        median_active_days=rounded(row["median_active_days"], 1),
        satisfaction_n=integer(row["satisfaction_n"]),
        released_on=None
        if pd.isna(row["released_on"])
        else pd.Timestamp(row["released_on"]).date(),
        time_to_first_use=time_to(first, level),
        time_to_adopt=time_to(adopted, level),
        kept=kept,
        staying=stays,
    )


def _association(figures: Figures, row: Mapping[str, Any]) -> dict[str, Any]:
    q = number(row["q"])
    return {
        "adjusted": rounded(row["adjusted"]),
        "lower": rounded(row.get("adjusted_lower")),
        "upper": rounded(row.get("adjusted_upper")),
        "p": rounded(row["p"], 6),
        "q": rounded(q, 6),
        "raw": rounded(row["raw"]),
        "raw_lower": rounded(row.get("raw_lower")),
        "raw_upper": rounded(row.get("raw_upper")),
        "raw_p": rounded(row.get("raw_p"), 6),
        "n": int(row["n"]),
        "customers": int(row["customers"]),
        "events": integer(row["events"]),
        "non_events": integer(row["non_events"]),
        "interval_level": figures.settings.effects_interval_level,
        "found": is_found(figures, row),
        "reason": word(row.get("reason")),
    }


def is_found(figures: Figures, row: Mapping[str, Any] | None) -> bool:
    """Whether an effect is spoken of: its false-discovery rate over all that was tried is small enough."""
    known = (
        []
        if row is None
        else [q for q in (number(row["q"]), number(row["odds_q"])) if q is not None]
    )
    return bool(known) and min(known) <= figures.settings.effects_max_q


def staying(figures: Figures, effects: Effects, name: str) -> Staying | None:
    row = effects.of(name)
    if row is None:
        return None
    text = words.staying(
        name,
        row,
        effects.adjusted_for,
        figures.settings.effects_interval_level,
        is_found(figures, row),
    )
    return Staying(
        **_association(figures, row),
        text=text,
        odds_ratio_of_leaving=rounded(row.get("odds_ratio")),
        odds_ratio_lower=rounded(row.get("odds_lower")),
        odds_ratio_upper=rounded(row.get("odds_upper")),
        odds_ratio_p=rounded(row.get("odds_p"), 6),
        odds_ratio_q=rounded(row.get("odds_q"), 6),
        leavers=integer(row.get("leavers")),
        retention_adopters=rounded(row.get("adopters_retention")),
        adopters_n=integer(row.get("adopters_n")),
        retention_others=rounded(row.get("others_retention")),
        others_n=integer(row.get("others_n")),
    )


def correlations(figures: Figures, effects: Effects) -> Correlations:
    found = {}
    for name in OVERALL:
        row = effects.of(name)
        text = words.overall(
            name,
            row,
            effects.adjusted_for,
            figures.settings.effects_interval_level,
            is_found(figures, row),
        )
        found[name] = Association(**_association(figures, row), text=text)
    return Correlations(
        **{name: one.adjusted for name, one in found.items()},
        detail=found,
        adjusted_for=effects.adjusted_for,
        not_adjusted_for=effects.not_adjusted_for,
        landmarks=effects.landmarks,
        hypotheses_tried=int(effects.frame[["p", "odds_p"]].notna().sum().sum()),
    )
