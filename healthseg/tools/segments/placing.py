"""Where does each customer lie by the criteria, today and on an earlier date, and why do some lie nowhere?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.rules import UNPLACED, bounds, places, range_names, settled
from healthseg.rules.expressions import Condition
from healthseg.settings import tier_names
from healthseg.tools.segments import metrics
from healthseg.tools.segments.figures import Figures

MONTH_DAYS = 30
NO_RULE = "No rule applies"
HEALTH_NAMES, USAGE_NAMES = (
    ("Critical", "At Risk", "Healthy", "Champions"),
    ("Very low", "Low", "Moderate", "High"),
)


@dataclass(frozen=True)
class Base:
    """A segment as the criteria make it, before small ones are put together."""

    name: str
    description: str
    criteria: dict[str, Any]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Placed:
    """By client_id: the position of the base segment (−1: nowhere), the value that decided, why it lies nowhere."""

    place: pd.Series
    value: pd.Series
    reason: pd.Series
    more: pd.DataFrame | None = None


@dataclass(frozen=True)
class Placer:
    """The base segments and the function that places the customers of a date."""

    kind: str
    ordered: bool
    bases: tuple[Base, ...]
    at: Callable[[dt.date], Placed]
    metric: str | None = None
    unit: str = ""
    thresholds: tuple[float, ...] = ()
    lower_included: bool = True
    ingredients: frozenset[str] = frozenset()
    weekly: Callable[[], pd.DataFrame] | None = None
    grouping: Any = None
    notes: tuple[str, ...] = field(default=())
    told: Callable[[float | None, float | None], str] | None = None

    def today(self, figures: Figures, hysteresis: float) -> Placed:
        """The places of today, held where a border was crossed by less than ``hysteresis``."""
        placed = self.at(figures.as_of)
        if not hysteresis or self.weekly is None:
            return placed
        history = self.weekly().reindex(placed.place.index)
        history = history.assign(**{"today": placed.value})
        held = settled(
            history.to_numpy(dtype=float), self.thresholds, hysteresis, self.lower_included
        )
        return Placed(
            pd.Series(held, index=placed.place.index), placed.value, placed.reason, placed.more
        )


def _by_thresholds(
    values: pd.Series, why: pd.Series | str, limits: Sequence[float], lower: bool
) -> Placed:
    place = pd.Series(places(values.to_numpy(dtype=float), limits, lower), index=values.index)
    reason = why if isinstance(why, pd.Series) else pd.Series(why, index=values.index, dtype=object)
    return Placed(place, values, reason.where(place == UNPLACED, None))


def _bases(
    names: Sequence[str],
    limits: Sequence[float],
    low_key: str,
    high_key: str,
    told: Callable[[float | None, float | None], str],
) -> tuple[Base, ...]:
    found = []
    for place, name in enumerate(names):
        low, high = bounds(limits, place)
        found.append(Base(name, told(low, high), {low_key: low, high_key: high}, low, high))
    return tuple(found)


def by_value(figures: Figures, criteria: dict[str, Any]) -> Placer:
    """By ARR, or by ARR and potential: the upper end belongs to a tier."""
    from healthseg.tools.context import PortfolioContext
    from healthseg.tools.expansion import expansion_potential

    context = PortfolioContext.of(figures.portfolio, figures.as_of)
    limits, with_potential = criteria["arr_thresholds"], criteria["include_expansion_potential"]
    settings = figures.settings.model_copy(update={"arr_thresholds": tuple(limits)})
    names = criteria["names"] or list(tier_names(settings))
    what = "ARR and expansion potential" if with_potential else "ARR"

    def at(date: dt.date) -> Placed:
        money = figures.money_on(date)
        values = money.amounts
        if with_potential:
            values = values + expansion_potential(context, date)["potential"].reindex(
                values.index
            ).fillna(0.0)
        why = pd.Series("no ARR is known", index=values.index, dtype=object)
        why[why.index.isin(money.no_rate)] = "its ARR's currency has no rate"
        return _by_thresholds(values, why, limits, False)

    def told(low: float | None, high: float | None) -> str:
        return f"{what} {_money_range(low, high, figures.money.currency)}"

    return Placer(
        "value",
        True,
        _bases(names, limits, "arr_above", "arr_up_to", told),
        at,
        "arr",
        "money",
        tuple(limits),
        False,
        frozenset({"arr"}),
        lambda: figures.weekly_values("arr"),
        told=told,
    )


def _money_range(low: float | None, high: float | None, currency: str | None) -> str:
    unit = f"{currency} " if currency else ""
    if low is None:
        return "of any amount" if high is None else f"up to {unit}{high:,.0f}"
    return f"above {unit}{low:,.0f}" + ("" if high is None else f" and up to {unit}{high:,.0f}")


def by_health(figures: Figures, criteria: dict[str, Any]) -> Placer:
    """By the score as shown, moved by its trend where that is weighted; the lower end belongs to a band."""
    limits, weight = criteria["health_score_thresholds"], criteria["trend_weighting"]
    names = criteria["names"] or (list(HEALTH_NAMES) if len(limits) == 3 else range_names(limits))

    def at(date: dt.date) -> Placed:
        shown = figures.live_on(date)["shown"].astype(float)
        values = shown
        if weight and date == figures.as_of:
            values = (shown + weight * monthly_change(figures).fillna(0.0)).clip(0, 100)
        return _by_thresholds(values, "no score: too little is known", limits, True)

    def told(low: float | None, high: float | None) -> str:
        ends = f"Health score from {low or 0:g} to " + (
            "100" if high is None else f"below {high:g}"
        )
        return ends + (f", with {weight:g} of the score's change in 30 days" if weight else "")

    bases = tuple(
        Base(
            base.name,
            base.description,
            {
                "health_score_min": base.low or 0.0,
                "health_score_max": 100.0 if base.high is None else base.high,
                "trend_weighting": weight,
            },
            base.low,
            base.high,
        )
        for base in _bases(names, limits, "low", "high", told)
    )
    card = figures.settings.scorecard.components.values()
    ingredients = frozenset({"score", *(metric.metric for part in card for metric in part.metrics)})
    return Placer(
        "health",
        True,
        bases,
        at,
        "score",
        "points",
        tuple(limits),
        True,
        ingredients,
        lambda: figures.weekly_values("shown"),
        told=told,
    )


def monthly_change(figures: Figures) -> pd.Series:
    """The score's change in 30 days by its Theil–Sen slope over twelve weeks."""
    return figures.trends["slope_per_week"].astype(float) * MONTH_DAYS / 7


def by_usage(figures: Figures, criteria: dict[str, Any]) -> Placer:
    """By a metric; the lower end belongs to a range."""
    metric, limits = criteria["metric"], criteria["thresholds"]
    own = [f"{word} usage" for word in USAGE_NAMES]
    called = metrics.label(metric)
    names = criteria["names"] or (
        own
        if len(limits) == 3
        else range_names(limits, lambda value: metrics.written(metric, value))
    )

    def at(date: dt.date) -> Placed:
        values = figures.live_on(date)[metric].astype(float)
        return _by_thresholds(values, f"{called} is not measured", limits, True)

    def told(low: float | None, high: float | None) -> str:
        if low is None:
            return (
                f"{called}, any"
                if high is None
                else f"{called} below {metrics.written(metric, high)}"
            )
        return f"{called} from {metrics.written(metric, low)}" + (
            "" if high is None else f" to below {metrics.written(metric, high)}"
        )

    return Placer(
        "usage",
        True,
        _bases(names, limits, f"{metric}_min", f"{metric}_below", told),
        at,
        metric,
        metrics.unit_of(metric),
        tuple(limits),
        True,
        frozenset({metric}),
        lambda: figures.weekly_values(metric),
        told=told,
    )


def by_word(figures: Figures, kind: str, column: str, missing: str) -> Placer:
    """By a word that customers have, such as industry or stage."""
    words = sorted(set(figures.live[column].dropna().astype(str))) if column in figures.live else []

    def at(date: dt.date) -> Placed:
        rows = figures.live_on(date)
        held = (
            rows[column].astype(object)
            if column in rows
            else pd.Series(None, index=rows.index, dtype=object)
        )
        place = held.map({word: at for at, word in enumerate(words)}).fillna(UNPLACED).astype(int)
        why = held.map(
            lambda word: f"nobody is in {word} any more" if isinstance(word, str) else missing
        )
        return Placed(
            place, pd.Series(np.nan, index=rows.index), why.where(place == UNPLACED, None)
        )

    bases = tuple(
        Base(_plain(word), f"{column.capitalize()}: {_plain(word)}", {column: word})
        for word in words
    )
    return Placer(kind, False, bases, at, ingredients=frozenset({column}))


def _plain(word: str) -> str:
    return word.replace("_", " ")


def by_rules(figures: Figures, criteria: dict[str, Any]) -> Placer:
    """By the first rule that is known to hold."""
    rules = [(rule["name"], Condition(rule["when"])) for rule in criteria["rules"]]
    needed = sorted({name for _, condition in rules for name in condition.names})

    def at(date: dt.date) -> Placed:
        rows = figures.live_on(date)
        if "health_trend" in needed:
            rows = rows.assign(health_trend=figures.trends["trend"].reindex(rows.index))
        rows = rows.assign(score=rows["shown"]).reindex(columns=needed)
        records = rows.astype(object).where(rows.notna(), None).to_dict("records")
        found, why = [], []
        for record in records:
            first = next(
                (place for place, (_, rule) in enumerate(rules) if rule.holds(record)), None
            )
            lacking = (
                [metrics.label(name) for name in needed if record[name] is None]
                if first is None
                else []
            )
            found.append(UNPLACED if lacking else len(rules) if first is None else first)
            why.append(
                f"no rule is known to hold: {', '.join(lacking)} not measured" if lacking else None
            )
        return Placed(
            pd.Series(found, index=rows.index, dtype=int),
            pd.Series(np.nan, index=rows.index),
            pd.Series(why, index=rows.index, dtype=object),
        )

    bases = [
        Base(rule["name"], f"Where {rule['when']}", {"when": rule["when"]})
        for rule in criteria["rules"]
    ]
    rest = Base(NO_RULE, "All rules are known not to hold", {"when": None})
    return Placer("custom", False, (*bases, rest), at, ingredients=frozenset(needed))
