"""The paths on which customers take to the features, named by what sets them apart; or that there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.personas import path_metrics, stable_groups
from healthseg.data.memory import remember
from healthseg.metrics.counting import epoch_day, epoch_days, epoch_days_or_nan
from healthseg.metrics.milestone_times import value_median
from healthseg.metrics.profile import customers_as_of
from healthseg.statistics.rates import percentages
from healthseg.statistics.survival import kaplan_meier, survival_at
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.result import Pattern, PatternEvidence
from healthseg.tools.adoption.words import TOOL
from healthseg.tools.rounding import rounded

YEAR = 365
APART = 0.5  # standard deviations from the other groups, from which a metric names a group


def patterns(figures: Figures) -> tuple[list[Pattern], PatternEvidence, pd.DataFrame]:
    """Patterns (none where no groups are stable), the evidence, and the frame of paths with their group."""
    key = ("adoption paths", figures.as_of, figures.period_days)
    return remember(figures.portfolio, key, lambda: _found(figures))


def _found(figures: Figures) -> tuple[list[Pattern], PatternEvidence, pd.DataFrame]:
    known = customers_as_of(figures.portfolio, figures.as_of)
    signup = pd.Series(epoch_days(known["signup_date"]), index=known.index)
    position = figures.lives["feature"].map(figures.features["recommended_position"])
    measured = path_metrics(
        figures.lives.assign(recommended_position=position),
        signup,
        epoch_day(figures.portfolio.first_event_day),
        epoch_day(figures.as_of),
        figures.settings.paths_days,
    )
    groups = stable_groups(measured, figures.settings)
    frame = measured.assign(group=-1 if groups.labels is None else groups.labels)
    evidence = PatternEvidence(
        stable=groups.labels is not None,
        reason=groups.reason,
        customers=groups.customers,
        groups=None if groups.labels is None else int(groups.labels.max() + 1),
        silhouette=rounded(groups.silhouette),
        silhouette_p=rounded(groups.silhouette_p),
        stability=rounded(groups.stability),
    )
    if groups.labels is None:
        return [], evidence, frame.reset_index()
    shares = percentages(groups.labels.value_counts().sort_index().tolist())
    stayed = _spells(figures, known, signup)
    found = [
        _pattern(figures, frame, group, groups.used, share, stayed)
        for group, share in enumerate(shares)
    ]
    return found, evidence, frame.reset_index()


def _pattern(
    figures: Figures,
    frame: pd.DataFrame,
    group: int,
    used: list[str],
    share: float,
    stayed: pd.DataFrame,
) -> Pattern:
    inside, others = frame[frame["group"] == group], frame[frame["group"] != group]
    spread = frame[used].std().replace(0, np.nan)
    apart = ((inside[used].mean() - others[used].mean()) / spread).dropna()
    apart = apart[apart.abs() >= APART].sort_values(key=lambda values: -values.abs(), kind="stable")
    phrases = rules.phrases(TOOL, "path")
    sides = [(name, phrases[name]["high" if value > 0 else "low"]) for name, value in apart.items()]
    values = inside[used].median()
    said = [
        f"{text}: {rules.words(phrases[name]['value'], {'value': values[name]})}"
        for name, text in sides
    ]
    year = _year(stayed[stayed["client_id"].isin(inside.index)], figures.settings.interval_level)
    value = value_median(
        figures.portfolio, figures.as_of, "first_value", inside.index, figures.settings.peers_min
    )
    return Pattern(
        pattern=" and ".join(
            phrases[name]["name_high" if apart[name] > 0 else "name_low"] for name, _ in sides[:2]
        ).capitalize()
        or "Like the others",
        percentage=share,
        characteristics="; ".join(said) or "nothing sets them apart",
        avg_time_to_value=value,
        retention_rate=rounded(year[0]),
        retention_lower=rounded(year[1]),
        retention_upper=rounded(year[2]),
        customers=len(inside),
        figures={name: rounded(value) for name, value in values.items()},
    )


def _spells(figures: Figures, known: pd.DataFrame, signup: pd.Series) -> pd.DataFrame:
    """Days from day 90 until a customer left, or was last seen live."""
    gone = epoch_days_or_nan(known["churned_on"])
    end = epoch_day(figures.as_of)
    left = gone <= end
    time = np.where(left, gone, end) - signup.to_numpy() - figures.settings.paths_days
    return pd.DataFrame({"client_id": known.index, "time": time, "left": left})


def _year(rows: pd.DataFrame, level: float) -> tuple[Any, Any, Any]:
    """The share that stayed for a year from day 90; nothing where nobody has been followed that long."""
    if not len(rows) or rows["time"].max() < YEAR:
        return None, None, None
    curve = kaplan_meier(rows["time"], rows["left"], np.full(len(rows), -1.0), level)
    steps = curve[curve["time"] <= YEAR]
    value = float(survival_at(curve, [YEAR])[0])
    return (
        (value, steps["lower"].iloc[-1], steps["upper"].iloc[-1])
        if len(steps)
        else (value, None, None)
    )
