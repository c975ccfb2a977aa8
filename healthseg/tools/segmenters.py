"""Where the customers of a date are placed: by thresholds, a word, rules or groups found in metrics."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.charts import formats
from healthseg.clustering.groups import Grouping, grouping, profile
from healthseg.clustering.rules import UNPLACED, bounds, places, range_names, settled
from healthseg.metrics import catalog
from healthseg.metrics.catalog import Metric
from healthseg.rules.expressions import Condition
from healthseg.scoring.overrides import why_no_scores
from healthseg.settings import tier_names
from healthseg.tools.context import PortfolioContext
from healthseg.tools.expansion import expansion_potential

MONTH_DAYS = 30
NO_RULE, ALL = "No rule applies", "All customers"
HEALTH_NAMES = ("Critical", "At Risk", "Healthy", "Champions")
STATES = ("struggling", "steady", "thriving")
USAGE_NAMES = ("Very low usage", "Low usage", "Moderate usage", "High usage")


# -- metrics as readers meet them ------------------------------------------------------------


def described_metrics() -> dict[str, Metric]:
    """The metrics by which segments are compared and described: those of a kind."""
    return {metric.name: metric for metric in catalog.used_by("segments") if metric.kind}


def label(metric: str) -> str:
    """
    >>> label("seat_utilisation")
    'Seats in use'
    """
    entry = catalog.entry(metric)
    return entry.label if entry else metric.replace("_", " ")


def unit_of(metric: str) -> str:
    entry = described_metrics().get(metric)
    return entry.unit if entry else ""


def written(metric: str, value: float | None) -> str:
    """A value with its unit.

    >>> written("seat_utilisation", 0.734), written("arr", 1200.0), written("arr", None)
    ('73%', '1,200', 'not known')
    """
    if value is None or pd.isna(value):
        return "not known"
    unit = unit_of(metric)
    return formats.number(value) if unit == "money" else formats.quantity(value, unit)


# -- where customers are placed --------------------------------------------------------------


@dataclass(frozen=True)
class BaseSegment:
    """A segment as the criteria define it, before small ones are merged."""

    name: str
    description: str
    criteria: dict[str, Any]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Placement:
    """By client_id on a date: the number of the base segment (−1: none), the value that decides it, and why
    there is none; ``groups`` has each customer's certainty where segments are groups."""

    number: pd.Series
    value: pd.Series
    reason: pd.Series
    groups: pd.DataFrame | None = None

    @property
    def placed(self) -> pd.Series:
        return self.number != UNPLACED


class Segmenter(ABC):
    """The base segments of some criteria, and where the live customers of a date are placed.

    ``ingredients`` are the metrics that the segments follow from, ``notes`` what a reader has to know.
    """

    kind = "custom"
    ordered = False
    metric: str | None = None
    lower_included = True
    thresholds: tuple[float, ...] = ()
    bases: tuple[BaseSegment, ...] = ()
    ingredients: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    grouping: Grouping | None = None

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        self.context, self.criteria = context, criteria

    @property
    def ranks(self) -> Sequence[int] | None:
        """Where each base segment is from the lowest up; None where they have no order."""
        return range(len(self.bases)) if self.ordered else None

    @abstractmethod
    def place(self, date: dt.date) -> Placement: ...

    def place_today(self) -> Placement:
        """The placement of ``as_of``."""
        return self.place(self.context.as_of)


class ThresholdSegmenter(Segmenter):
    """Ranges of a value between rising thresholds."""

    ordered = True
    column, thresholds_key = "", ""
    usual_names: tuple[str, ...] = ()

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        super().__init__(context, criteria)
        self.thresholds = tuple(criteria[self.thresholds_key])
        names = criteria["names"] or self.default_names()
        ranges = [bounds(self.thresholds, position) for position in range(len(names))]
        self.bases = tuple(
            BaseSegment(name, self.describe(*ends), self.limits(*ends), *ends)
            for name, ends in zip(names, ranges, strict=True)
        )

    @abstractmethod
    def describe(self, low: float | None, high: float | None) -> str: ...

    def place_today(self) -> Placement:
        """The placement of ``as_of``; a border is crossed only by ``hysteresis`` or more."""
        placement, margin = self.place(self.context.as_of), self.criteria.get("hysteresis", 0.0)
        if not margin:
            return placement
        history = self.weekly_values().reindex(placement.value.index)
        history = history.assign(today=placement.value).to_numpy(dtype=float)
        number = settled(history, self.thresholds, margin, self.lower_included)
        index = placement.number.index
        return Placement(pd.Series(number, index=index), placement.value, placement.reason)

    def default_names(self) -> Sequence[str]:
        usual = len(self.usual_names) == len(self.thresholds) + 1
        return self.usual_names if usual else range_names(self.thresholds, self.write)

    def write(self, value: float) -> str:
        return f"{value:g}"

    @abstractmethod
    def limits(self, low: float | None, high: float | None) -> dict[str, Any]:
        """The criteria of a range."""

    @abstractmethod
    def values(self, date: dt.date) -> pd.Series: ...

    @abstractmethod
    def reasons(self, values: pd.Series, date: dt.date) -> pd.Series | str:
        """Why a value is missing."""

    def place(self, date: dt.date) -> Placement:
        values = self.values(date)
        ranges = places(values.to_numpy(dtype=float), self.thresholds, self.lower_included)
        number = pd.Series(ranges, index=values.index)
        reasons = pd.Series(self.reasons(values, date), index=values.index, dtype=object)
        return Placement(number, values, reasons.where(number == UNPLACED, None))

    def weekly_values(self) -> pd.DataFrame:
        return self.context.weekly_values(self.column)


class ValueSegmenter(ThresholdSegmenter):
    """By ARR, or by ARR and expansion potential; the upper limit belongs to a segment."""

    kind, metric, column, thresholds_key = "value", "arr", "arr", "arr_thresholds"
    lower_included, ingredients = False, frozenset({"arr"})

    def default_names(self) -> Sequence[str]:
        return tier_names(self.context.settings, self.thresholds)

    def values(self, date: dt.date) -> pd.Series:
        amounts = self.context.money_on(date).amounts
        if not self.criteria["include_expansion_potential"]:
            return amounts
        potential = expansion_potential(self.context, date)["potential"]
        return amounts + potential.reindex(amounts.index).fillna(0.0)

    def reasons(self, values: pd.Series, date: dt.date) -> pd.Series:
        reasons = pd.Series("no ARR is known", index=values.index, dtype=object)
        reasons[reasons.index.isin(self.context.money_on(date).no_rate)] = (
            "its ARR's currency has no rate"
        )
        return reasons

    def limits(self, low: float | None, high: float | None) -> dict[str, Any]:
        return {"arr_above": low, "arr_up_to": high}

    def describe(self, low: float | None, high: float | None) -> str:
        with_potential = self.criteria["include_expansion_potential"]
        currency = self.context.money.currency
        ends = [
            f"{word} {formats.money(end, currency)}"
            for word, end in (("above", low), ("up to", high))
            if end is not None
        ]
        what = "ARR and expansion potential" if with_potential else "ARR"
        return f"{what} {' and '.join(ends) or 'of any amount'}"


class HealthSegmenter(ThresholdSegmenter):
    """By the score as shown, moved by its trend where that is weighted; the lower limit belongs to a band."""

    kind, metric, column = "health", "score", "shown"
    thresholds_key, usual_names = "health_score_thresholds", HEALTH_NAMES

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        super().__init__(context, criteria)
        components = context.settings.scorecard.components.values()
        metrics = {metric.metric for part in components for metric in part.metrics}
        self.ingredients = frozenset({"score"} | metrics)

    def values(self, date: dt.date) -> pd.Series:
        shown = self.context.live_on(date)["shown"].astype(float)
        weight = self.criteria["trend_weighting"]
        if not weight or date != self.context.as_of:
            return shown
        # the Theil–Sen slope over 12 weeks
        change = self.context.trends["slope_per_week"].astype(float) * MONTH_DAYS / 7
        return (shown + weight * change.fillna(0.0)).clip(0, 100)

    def reasons(self, values: pd.Series, date: dt.date) -> pd.Series:
        return why_no_scores(self.context.live_on(date), self.context.settings)

    def limits(self, low: float | None, high: float | None) -> dict[str, Any]:
        ends = {"health_score_min": low or 0.0, "health_score_max": 100.0 if high is None else high}
        return ends | {"trend_weighting": self.criteria["trend_weighting"]}

    def describe(self, low: float | None, high: float | None) -> str:
        weight, end = self.criteria["trend_weighting"], "100" if high is None else f"below {high:g}"
        trend = f", with {weight:g} of the score's change in 30 days" if weight else ""
        return f"Health score from {low or 0:g} to {end}{trend}"


class ValueHealthSegmenter(Segmenter):
    """By value and health: large and small customers, each by the score, whose lower limit belongs to a range; by the
    score alone where no ARR is known."""

    kind, metric = "value_and_health", "score"
    ingredients = frozenset({"arr", "score"})

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        super().__init__(context, criteria)
        self.thresholds, self.large = (
            tuple(criteria["health_score_thresholds"]),
            criteria["large_arr"],
        )
        self.by_value = bool(context.money.amounts.notna().any())
        usual, amount = (
            len(self.thresholds) + 1 == len(STATES),
            formats.money(self.large, context.money.currency),
        )
        words = STATES if usual else range_names(self.thresholds)
        sizes = (("Small & ", f"ARR up to {amount}, "), ("Large & ", f"ARR above {amount}, "))
        self.levels = len(words)
        self.bases = tuple(
            self._base(name + word if name else formats.sentence(word), text, level, at)
            for at, (name, text) in enumerate(sizes if self.by_value else (("", ""),))
            for level, word in enumerate(words)
        )

    def _base(self, name: str, arr: str, level: int, large: int) -> BaseSegment:
        low, high = bounds(self.thresholds, level)
        ends = [f"from {low:g}" if low is not None else "", f"below {high:g}" if high else ""]
        score = " to ".join(filter(None, ends))
        limits = {
            "health_score_min": low or 0.0,
            "health_score_max": 100.0 if high is None else high,
        }
        if self.by_value:
            limits["arr_above" if large else "arr_up_to"] = self.large
        return BaseSegment(name, formats.sentence(f"{arr}score {score}"), limits, low, high)

    @property
    def ranks(self) -> Sequence[int]:
        """By health, and of equal health the large customers above the small ones."""
        return [2 * (at % self.levels) + at // self.levels for at in range(len(self.bases))]

    def place(self, date: dt.date) -> Placement:
        rows = self.context.live_on(date)
        score = rows["shown"].astype(float)
        number = pd.Series(places(score.to_numpy(dtype=float), self.thresholds), index=rows.index)
        reason = why_no_scores(rows, self.context.settings)
        if self.by_value:
            arr = self.context.money_on(date).amounts.reindex(rows.index)
            number = (number + self.levels * (arr > self.large)).where(score.notna(), UNPLACED)
            reason = reason.where(arr.notna() | score.isna(), "no ARR is known")
            number = number.where(arr.notna(), UNPLACED)
        return Placement(number.astype(int), score, reason.where(number == UNPLACED, None))


class UsageSegmenter(ThresholdSegmenter):
    """By a metric; the lower limit belongs to a range."""

    kind, thresholds_key, usual_names = "usage", "thresholds", USAGE_NAMES

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        self.metric = self.column = criteria["metric"]
        self.ingredients = frozenset({self.column})
        super().__init__(context, criteria)

    def write(self, value: float) -> str:
        return written(self.column, value)

    def values(self, date: dt.date) -> pd.Series:
        return self.context.live_on(date)[self.column].astype(float)

    def reasons(self, values: pd.Series, date: dt.date) -> str:
        return f"{label(self.column)} is not measured"

    def limits(self, low: float | None, high: float | None) -> dict[str, Any]:
        return {f"{self.column}_min": low, f"{self.column}_below": high}

    def describe(self, low: float | None, high: float | None) -> str:
        ends = [
            f"{word} {self.write(end)}"
            for word, end in (("from", low), ("below", high))
            if end is not None
        ]
        return f"{label(self.column)} {' and '.join(ends) or 'of any value'}"


class WordSegmenter(Segmenter):
    """By a word that customers have: the industry, the lifecycle stage."""

    def __init__(self, context: PortfolioContext, kind: str, column: str, missing: str) -> None:
        super().__init__(context, {})
        self.kind, self.column, self.missing = kind, column, missing
        self.ingredients = frozenset({column})
        self.words = sorted(set(self._words(context.as_of).dropna().astype(str)))
        plain = [word.replace("_", " ") for word in self.words]
        self.bases = tuple(
            BaseSegment(name, f"{column.capitalize()}: {name}", {column: word})
            for name, word in zip(plain, self.words, strict=True)
        )

    def _words(self, date: dt.date) -> pd.Series:
        rows = self.context.live_on(date)
        return rows.get(self.column, pd.Series(None, index=rows.index)).astype(object)

    def place(self, date: dt.date) -> Placement:
        words = self._words(date)
        numbers = {word: number for number, word in enumerate(self.words)}
        number = words.map(numbers).fillna(UNPLACED).astype(int)
        reason = words.map(
            lambda word: f"no customer is in {word} now" if isinstance(word, str) else self.missing
        )
        value = pd.Series(np.nan, index=words.index)
        return Placement(number, value, reason.where(number == UNPLACED, None))


class RuleSegmenter(Segmenter):
    """By the first rule that is known to hold."""

    def __init__(self, context: PortfolioContext, criteria: Mapping[str, Any]) -> None:
        super().__init__(context, criteria)
        rules = criteria["rules"]
        self.conditions = [Condition(rule["when"]) for rule in rules]
        self.ingredients = frozenset(name for rule in self.conditions for name in rule.names)
        named = [
            BaseSegment(rule["name"], f"Where {rule['when']}", {"when": rule["when"]})
            for rule in rules
        ]
        rest = BaseSegment(NO_RULE, "All rules are known not to hold", {"when": None})
        self.bases = (*named, rest)

    def place(self, date: dt.date) -> Placement:
        rows, names = self.context.live_on(date), sorted(self.ingredients)
        if "health_trend" in self.ingredients:
            rows = rows.assign(health_trend=self.context.trends["trend"].reindex(rows.index))
        rows = rows.assign(score=rows["shown"]).reindex(columns=names)
        plain = rows.astype(object).where(rows.notna(), None)
        placed = [self._matching_rule(record) for record in plain.to_dict("records")]
        number = pd.Series([position for position, _ in placed], index=rows.index, dtype=int)
        reason = pd.Series([reason for _, reason in placed], index=rows.index, dtype=object)
        return Placement(number, pd.Series(np.nan, index=rows.index), reason)

    def _matching_rule(self, figures: dict[str, Any]) -> tuple[int, str | None]:
        for position, condition in enumerate(self.conditions):
            if condition.holds(figures):
                return position, None
        missing = [label(name) for name in figures if figures[name] is None]
        if missing:
            return UNPLACED, f"no rule is known to hold: {', '.join(missing)} not measured"
        return len(self.conditions), None


class GroupSegmenter(Segmenter):
    """By groups of customers that are alike in metrics; one segment of all where none are stable."""

    grouping: Grouping

    def __init__(
        self, context: PortfolioContext, criteria: Mapping[str, Any], least: int, most: int
    ) -> None:
        super().__init__(context, criteria)
        self.metrics, wanted = criteria["metrics"], criteria["k"]
        self.ingredients = frozenset(self.metrics)
        self.grouping = context.portfolio.cache.get(
            "grouping",
            (context.as_of, str(criteria), least, most, context.only),
            lambda: grouping(
                context.live[self.metrics],
                criteria["method"],
                least,
                min(most, context.settings.segment_max_groups),
                context.settings,
                wanted,
            ),
            disk=False,
        )
        reason = self.grouping.reason
        self.shown = self.grouping.groups > 0 and (reason is None or wanted is not None)
        none = BaseSegment(ALL, f"No stable segments: {reason}", {})
        self.bases = self._named_groups() if self.shown else (none,)
        dropped = self.grouping.dropped.items()
        notes = [f"{label(name)} separates no customers: {why}" for name, why in dropped]
        if self.shown and reason:
            notes.append(f"k = {wanted} was requested, but these segments are not stable: {reason}")
        self.notes = tuple(notes)

    def place(self, date: dt.date) -> Placement:
        rows = self.context.live_on(date)
        value = pd.Series(np.nan, index=rows.index)
        if not self.shown:
            nothing = pd.Series(None, index=rows.index, dtype=object)
            return Placement(pd.Series(0, index=rows.index), value, nothing)
        today = date == self.context.as_of
        groups = self.grouping.placed if today else self.grouping.place(rows[self.metrics])
        number = groups["group"].reindex(rows.index).fillna(UNPLACED).astype(int)
        missing = rows[self.metrics].isna().to_dict("records")
        reasons = [
            ", ".join(label(name) for name in row if row[name]) + " not measured" for row in missing
        ]
        reason = pd.Series(reasons, index=rows.index, dtype=object)
        return Placement(number, value, reason.where(number == UNPLACED, None), groups)

    def _named_groups(self) -> tuple[BaseSegment, ...]:
        scales = [scale.metric for scale in self.grouping.scales]
        live = self.context.live[scales].astype(float)
        table = profile(live, self.grouping.placed["group"])
        rows = {int(group): part.to_dict("records") for group, part in table.groupby("group")}
        names = _group_names(rows, self.context.settings.group_name_min_distance)
        return tuple(
            BaseSegment(
                names[group],
                "Half of it has: " + "; ".join(_median_words(row) for row in rows[group][:3]),
                {f"{row['metric']}_median": round(float(row["median"]), 4) for row in rows[group]},
            )
            for group in sorted(rows)
        )


def _median_words(row: dict[str, Any]) -> str:
    own, others = (written(row["metric"], row[name]) for name in ("median", "others_median"))
    return f"{label(row['metric'])} {own} (others {others})"


def _group_names(rows: dict[int, list[dict[str, Any]]], min_distance: float) -> list[str]:
    """Each group by the metrics that distinguish it most; as many as it takes to tell all apart."""
    words = [
        [_side(row) for row in rows[group] if abs(row["distance"]) >= min_distance]
        or ["in the middle"]
        for group in sorted(rows)
    ]
    names: list[str] = []
    for count in (2, 3, 4):
        texts = [", ".join(dict.fromkeys(own[:count])) for own in words]
        names = [text[:1].upper() + text[1:] for text in texts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _side(row: dict[str, Any]) -> str:
    entry, side = described_metrics().get(row["metric"]), "high" if row["distance"] > 0 else "low"
    return (getattr(entry, side) if entry else "") or f"{side} {label(row['metric'])}"


def segmenter_of(
    context: PortfolioContext, kind: str, criteria: Mapping[str, Any], least: int, most: int
) -> Segmenter:
    """How a segment type places customers."""
    if kind == "industry":
        return WordSegmenter(context, kind, "industry", "no industry is known")
    if kind == "lifecycle":
        return WordSegmenter(context, kind, "stage", "no lifecycle stage is recorded")
    if kind == "custom":
        if "rules" in criteria:
            return RuleSegmenter(context, criteria)
        return GroupSegmenter(context, criteria, least, most)
    types: dict[str, Callable[..., Segmenter]] = {
        "value": ValueSegmenter,
        "health": HealthSegmenter,
        "usage": UsageSegmenter,
        "value_and_health": ValueHealthSegmenter,
    }
    return types[kind](context, criteria)


def border_distance(metric: str | None, value: float) -> str:
    """A distance to a border: in the metric's unit, or in standard deviations within groups.

    >>> border_distance("seat_utilisation", 0.05), border_distance(None, 1.25)
    ('5 percentage points', '1.2 standard deviations')
    """
    unit = unit_of(metric) if metric else ""
    if metric is None:
        return f"{formats.number(value, 1)} standard deviations"
    if unit.startswith("share"):
        return f"{formats.number(100 * value)} percentage points"
    if unit == "points":
        points = formats.number(value)
        return f"{points} point{'' if points == '1' else 's'}"
    return written(metric, value)
