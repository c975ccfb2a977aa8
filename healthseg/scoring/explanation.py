"""Why did the score change? Parts that add up to the change exactly.

Both sides are recomputed in exact arithmetic along a fixed path, each step attributed in closed
form: **configuration** (today's settings on then's data), **newly missing** metrics removed,
**data** (the metrics known on both sides), **newly known** metrics added, **cap** and **ramp**.

The score is a mean of means: S = Σ V_c·s_c / V over the components with a known metric, s_c = Σ
u_m·p_m / U_c. Data: part_m = e_m·Δp_m, e_m = (V_c/V)·(u_m/U_c). Removing R from components that
keep a metric: part_m = (V_c/V)·u_m·(s_c − p_m)/(U_c − U_R); then components G that lose all, with
S' the mean so far: part_m = V_c·(u_m/U_c)·(S' − p_m)/(V − V_G). Adding a set is removing it from
the result, with the sign turned; where there was nothing, it is compared with the old score.
Configuration (e → e', p → p'): part_m = e'_m·(p'_m − p_m) + (e'_m − e_m)·(p_m − S).

The ``ml_predictive`` score is a monotone function g of the log odds η, a sum of parts: a part that
moves η by d gets d·(g(η₁) − g(η₀))/(η₁ − η₀), the secant. Where another model was in force then,
today's model on then's data is the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from healthseg.scoring.churn.model import ChurnModel
from healthseg.scoring.churn.training import odds_ratio
from healthseg.scoring.components import (
    ScoredMetrics,
    WeightedMetric,
    score_metrics,
    weighted_metrics,
)
from healthseg.scoring.health import metrics_of, score_rows, scorecard_of
from healthseg.scoring.overrides import cap_words
from healthseg.scoring.scored_panel import predictive_points
from healthseg.settings import Scorecard, Settings
from healthseg.statistics.rates import largest_remainder

MetricKey = tuple[str, str]
Row: TypeAlias = "Mapping[str, Any] | pd.Series"
KINDS = ("configuration", "newly_missing", "data", "newly_known", "cap", "ramp", "rounding")
RAMP = "Ramp of a new customer"
RETRAINED = "The churn model was trained again"
MIN_LOG_ODDS = 1e-9
# the steepest that the score falls with the mean log odds of its horizon
MAX_POINTS_A_LOG_ODDS = 40.0
ZERO = Fraction(0)


@dataclass(frozen=True)
class KnownMetric:
    """A metric that is measured: weight of its component, weight within it, points; all exact."""

    outer: Fraction
    inner: Fraction
    points: Fraction


KnownMetrics = Mapping[MetricKey, KnownMetric]


@dataclass(frozen=True)
class ScoreChangePart:
    """One part of a change: exact in ``points``, in tenths of a point in ``displayed``."""

    kind: str
    component: str | None
    metric: str | None
    label: str
    unit: str | None
    value_then: float | None
    value_now: float | None
    points: Fraction
    displayed: float = 0.0


PART_COLUMNS = list(ScoreChangePart.__dataclass_fields__)


@dataclass(frozen=True)
class ScoreChange:
    """The change of a score: ``sum(part.points) == shown_now - shown_then``, and so do the displayed parts.

    ``exact`` is the change before the scores were rounded to integers: the sum of all parts but ``rounding``.
    Where a side is withheld, ``exact`` and ``shown`` are None, ``parts`` is empty and ``reason`` says which.
    ``missing_then`` and ``missing_now`` list the metrics that were not known.
    """

    shown_then: int | None
    shown_now: int | None
    exact: Fraction | None
    parts: tuple[ScoreChangePart, ...]
    missing_then: tuple[str, ...]
    missing_now: tuple[str, ...]
    reason: str | None = None

    @property
    def shown(self) -> int | None:
        if self.exact is None or self.shown_then is None or self.shown_now is None:
            return None
        return self.shown_now - self.shown_then

    def frame(self) -> pd.DataFrame:
        """The parts, in the order of the path."""
        rows = [[getattr(part, name) for name in PART_COLUMNS] for part in self.parts]
        frame = pd.DataFrame(rows, columns=PART_COLUMNS)
        return frame.astype({"points": float, "displayed": float})


def _change(
    parts: list[ScoreChangePart],
    shown: tuple[int, int],
    missing: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> ScoreChange:
    """The change made of its parts: with the rounding of the scores, and in tenths that add up."""
    exact = sum((part.points for part in parts), ZERO)
    rounding = shown[1] - shown[0] - exact
    if rounding:
        parts = [*parts, _total("rounding", "Rounding of the scores", rounding)]
    tenths = largest_remainder([part.points * 10 for part in parts])
    displayed = [
        replace(part, displayed=tenth / 10) for part, tenth in zip(parts, tenths, strict=True)
    ]
    return ScoreChange(*shown, exact, tuple(displayed), *missing)


def _total(kind: str, label: str, points: Fraction) -> ScoreChangePart:
    return ScoreChangePart(kind, None, None, label, None, None, None, points)


@dataclass(frozen=True)
class ScoredSide:
    """One row under one scorecard: its metrics without and with the ramp, its final score, values, weights."""

    plain: KnownMetrics
    ramped: KnownMetrics
    final: Fraction | None
    values: dict[MetricKey, float]
    metrics: dict[MetricKey, WeightedMetric]
    shown: int | None
    cap: str = ""

    @property
    def ramp_effect(self) -> Fraction:
        return (mean(self.ramped) or ZERO) - (mean(self.plain) or ZERO) if self.ramped else ZERO

    @property
    def cap_effect(self) -> Fraction:
        return (self.final or ZERO) - (mean(self.ramped) or ZERO) if self.ramped else ZERO

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(key[1] for key, value in self.values.items() if np.isnan(value))


def explain_change(
    then: Row,
    now: Row,
    settings_then: Settings,
    settings_now: Settings,
    weights_then: Mapping[str, float] | None = None,
    weights_now: Mapping[str, float] | None = None,
) -> ScoreChange:
    """Why does the score of ``now`` differ from the score of ``then``?

    ``then`` and ``now`` are rows of the panel of one customer, each with the settings (and, of a ``custom``
    score, the weights) that were in force. The module's text has the path and the formulas.
    """
    before = scored_side(then, settings_then, weights_then)
    after = scored_side(now, settings_now, weights_now)
    missing = (before.missing, after.missing)
    if before.shown is None or after.shown is None:
        sides = {"then": before.shown, "now": after.shown}
        which = " and ".join(word for word, shown in sides.items() if shown is None)
        reason = f"the score is withheld {which}"
        return ScoreChange(before.shown, after.shown, None, (), *missing, reason)
    # then's data under today's settings, and today's scorecard
    bridge = scored_side(then, settings_now, weights_now, scorecard_of(now, settings_now))
    parts = [part for part in _path(before, bridge, after) if part.points]
    return _change(parts, (before.shown, after.shown), missing)


def scored_side(
    row: Row,
    settings: Settings,
    weights: Mapping[str, float] | None = None,
    card: Scorecard | None = None,
) -> ScoredSide:
    """A row of the panel under settings (and a scorecard of theirs), exact; its points and its score are those of ``score_panel``."""
    row = {**row}
    columns = {name: np.array([row[name]], dtype=float) for name in metrics_of(settings)}
    for override in settings.overrides.values():
        columns.setdefault(override.metric, np.array([row.get(override.metric)], dtype=float))
    metrics = weighted_metrics(card or scorecard_of(row, settings), weights)
    scored = score_metrics(columns, metrics, settings)
    figures = score_rows(columns, metrics, scored, settings)
    ramped = _known(metrics, scored)
    raw = mean(ramped)
    veto = raw is not None and not np.isnan(figures["cap"][0])
    withheld = not row["live"] or bool(figures["withheld"][0])
    values = zip(metrics, scored.values[0], strict=True)
    return ScoredSide(
        plain=_known(metrics, score_metrics(columns, metrics, settings, ramp=False)),
        ramped=ramped,
        final=min(raw, _exact(figures["cap"][0])) if veto and raw is not None else raw,
        values={weighted.key: float(value) for weighted, value in values},
        metrics={weighted.key: weighted for weighted in metrics},
        shown=None if withheld else int(figures["shown"][0]),
        cap=cap_words(row, settings),
    )


def _known(metrics: tuple[WeightedMetric, ...], scored: ScoredMetrics) -> KnownMetrics:
    return {
        weighted.key: KnownMetric(
            _exact(weighted.component_weight), _exact(weighted.share), _exact(points)
        )
        for weighted, points in zip(metrics, scored.points[0], strict=True)
        if not np.isnan(points) and weighted.component_weight > 0
    }


def _exact(figure: float) -> Fraction:
    """The decimal that a figure is written as: .35 is 35/100, not the nearest binary fraction."""
    return Fraction(str(round(float(figure), 12)))


def _path(before: ScoredSide, bridge: ScoredSide, after: ScoredSide) -> list[ScoreChangePart]:
    old, new = bridge.plain, after.plain
    common = {key for key in old if key in new}
    level = mean(before.plain) if mean(old) is None else mean(old)
    steps = {
        "configuration": reweighted(before.plain, old),
        "newly_missing": removed(old, set(old) - common),
        "data": moved(*({key: side[key] for key in side if key in common} for side in (old, new))),
        "newly_known": added(new, set(new) - common, level),
    }
    sides = {"configuration": (before, bridge)}
    parts = [
        _part(kind, key, points, *sides.get(kind, (bridge, after)))
        for kind, by_metric in steps.items()
        for key, points in by_metric.items()
    ]
    return [
        *parts,
        _total("configuration", bridge.cap or before.cap, bridge.cap_effect - before.cap_effect),
        _total("configuration", RAMP, bridge.ramp_effect - before.ramp_effect),
        _total("cap", _cap_part(bridge, after), after.cap_effect - bridge.cap_effect),
        _total("ramp", RAMP, after.ramp_effect - bridge.ramp_effect),
    ]


def _cap_part(then: ScoredSide, now: ScoredSide) -> str:
    """What caps the score now, else what did and no longer does."""
    return now.cap or ("No longer capped" if then.cap else "")


def _part(
    kind: str, key: MetricKey, points: Fraction, then: ScoredSide, now: ScoredSide
) -> ScoreChangePart:
    weighted = now.metrics.get(key) or then.metrics[key]
    before, after = (side.values.get(key, np.nan) for side in (then, now))
    return ScoreChangePart(
        kind,
        *key,
        weighted.label,
        weighted.unit,
        None if np.isnan(before) else before,
        None if np.isnan(after) else after,
        points,
    )


def component_sums(metrics: KnownMetrics) -> dict[str, tuple[Fraction, Fraction, Fraction]]:
    """Per component: its weight V_c, the weight U_c of its known metrics, its mean s_c."""
    sums: dict[str, list[Fraction]] = {}
    for (name, _), known in metrics.items():
        entry = sums.setdefault(name, [known.outer, ZERO, ZERO])
        entry[1] += known.inner
        entry[2] += known.inner * known.points
    return {name: (outer, inner, total / inner) for name, (outer, inner, total) in sums.items()}


def mean(metrics: KnownMetrics) -> Fraction | None:
    """The score: the weighted mean of the components' means; None without metrics."""
    sums = component_sums(metrics).values()
    if not sums:
        return None
    return sum((outer * level for outer, _, level in sums), ZERO) / _total_weight(sums)


def _total_weight(sums: Any) -> Fraction:
    return sum((outer for outer, _, _ in sums), ZERO)


def weights_in_force(metrics: KnownMetrics) -> dict[MetricKey, Fraction]:
    """e_m = (V_c/V)·(u_m/U_c); they sum to 1."""
    sums = component_sums(metrics)
    total = _total_weight(sums.values())
    return {
        key: known.outer / total * known.inner / sums[key[0]][1] for key, known in metrics.items()
    }


def moved(old: KnownMetrics, new: KnownMetrics) -> dict[MetricKey, Fraction]:
    """Parts of a change of points, the known set and the weights fixed."""
    weights = weights_in_force(new)
    return {key: weights[key] * (new[key].points - old[key].points) for key in old}


def reweighted(old: KnownMetrics, new: KnownMetrics) -> dict[MetricKey, Fraction]:
    """Parts of a change of settings: of points through anchors, and of weights against the old score."""
    level = mean(old)
    if level is None or not new:
        return {}
    before, after = weights_in_force(old), weights_in_force(new)
    parts = {}
    for key in {**old, **new}:
        weight, other = before.get(key, ZERO), after.get(key, ZERO)
        points = (new if key in new else old)[key].points
        base = old[key].points if key in old else points
        parts[key] = other * (points - base) + (other - weight) * (base - level)
    return parts


def removed(metrics: KnownMetrics, out: set[MetricKey]) -> dict[MetricKey, Fraction]:
    """Parts of removing metrics: within components that keep some, then whole components."""
    rest = {key: known for key, known in metrics.items() if key not in out}
    if not rest:
        return {}
    sums, left = component_sums(metrics), component_sums(rest)
    total, remaining = _total_weight(sums.values()), _total_weight(left.values())
    within = {
        key: known.outer / total * known.inner * (sums[key[0]][2] - known.points) / left[key[0]][1]
        for key, known in metrics.items()
        if key in out and key[0] in left
    }
    level = (mean(metrics) or ZERO) + sum(within.values(), ZERO)
    of_components = {
        key: known.outer * known.inner / sums[key[0]][1] * (level - known.points) / remaining
        for key, known in metrics.items()
        if key in out and key[0] not in left
    }
    return {**within, **of_components}


def added(
    metrics: KnownMetrics, new: set[MetricKey], level: Fraction | None
) -> dict[MetricKey, Fraction]:
    """Parts of adding metrics; where there are no others, they are compared with ``level``."""
    if set(metrics) - new:
        return {key: -points for key, points in removed(metrics, new).items()}
    weights = weights_in_force(metrics)
    return {key: weights[key] * (known.points - (level or ZERO)) for key, known in metrics.items()}


def predictive_score(model: ChurnModel, probability: np.ndarray) -> np.ndarray:
    """The ``ml_predictive`` scores that go with probabilities of churn within the score's horizon."""
    base = model.base_probability(model.config.predictive_horizon_days)
    return predictive_points(odds_ratio(np.asarray(probability, dtype=float), base), model.config)


def predictive_parts(model: ChurnModel, row: pd.DataFrame) -> pd.DataFrame:
    """``ChurnModel.explain`` of one row, with the points of the score against the average row's: of each part, and of the
    metric alone after which it is named (``own_points``)."""
    horizon = model.config.predictive_horizon_days
    drivers = model.explain(row, horizon)
    total = float(drivers["log_odds"].sum())
    probability = model.predict(row, [horizon])["probability"].iloc[0]
    average = model.average_probability(horizon)
    score, base = predictive_score(model, np.array([probability, average]))
    slope = _secant(score - base, total)
    return drivers.assign(points=drivers["log_odds"] * slope, own_points=drivers["own"] * slope)


def _secant(rise: float, run: float) -> float:
    return rise / run if abs(run) > MIN_LOG_ODDS else 0.0


def _values_then(first: pd.DataFrame, last: pd.DataFrame, then: pd.DataFrame) -> list[float]:
    """The earlier values of the metrics that *last* names: its groups may have been named after others."""
    names = zip(first["metric"], last["metric"], first["value"], strict=True)
    return [
        float(value if before == name else then[name].iloc[0] if name in then else np.nan)
        for before, name, value in names
    ]


def explain_predictive_change(
    before: tuple[ChurnModel, pd.DataFrame, float], after: tuple[ChurnModel, pd.DataFrame, float]
) -> ScoreChange:
    """The change between two (model in force, row of metrics with its families, score); rows by *after*'s model.

    Metrics that moved the score by less than ``predictive_min_points`` are one part.
    """
    (old, then, score_then), (new, now, score_now) = before, after
    horizon = new.config.predictive_horizon_days
    first, last = new.explain(then, horizon), new.explain(now, horizon)
    change = last["log_odds"].to_numpy() - first["log_odds"].to_numpy()
    bridge = float(predictive_score(new, new.predict(then, [horizon])["probability"])[0])
    slope = max(min(_secant(score_now - bridge, float(change.sum())), 0.0), -MAX_POINTS_A_LOG_ODDS)
    metrics = zip(last["metric"], last["label"], last["unit"], strict=True)
    values = zip(_values_then(first, last, then), last["value"], change * slope, strict=True)
    parts = [
        ScoreChangePart("data", None, *metric, before_value, value, Fraction(float(points)))
        for metric, (before_value, value, points) in zip(metrics, values, strict=True)
    ]
    if old.trained_until != new.trained_until:
        parts.insert(0, _total("configuration", RETRAINED, Fraction(bridge - score_then)))
    least = new.config.predictive_min_points
    large = [part for part in parts if abs(part.points) >= least]
    small = [part.points for part in parts if abs(part.points) < least]
    # of a change that moves the probability, and not the mean log odds
    rest = Fraction(score_now) - Fraction(score_then) - sum((part.points for part in parts), ZERO)
    small += [rest] if abs(rest) > MIN_LOG_ODDS else []
    if any(small):
        large.append(_total("data", "All other metrics", sum(small, ZERO)))
    shown = tuple(int(np.floor(score + 0.5)) for score in (score_then, score_now))
    return _change(large, (shown[0], shown[1]))
