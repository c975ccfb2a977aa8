"""Why did the score change? Parts that add up to the change exactly.

Both sides of the change are recomputed in exact arithmetic (``fractions.Fraction``
of the very points and weights that the score is made of) along a fixed path; each step is
attributed in closed form, and the steps telescope:

1. **configuration**: today's rules on then's data, against then's rules;
2. **newly missing**: the metrics that today lacks are taken out;
3. **data**: the metrics known on both sides move;
4. **newly known**: the metrics that then lacked come in;
5. **cap** and **ramp**: what a veto and the ramp of a new customer do to the result
   (steps 1–4 judge without them).

The score is a mean of means: S = Σ_c V_c·s_c / V over the components with a known
metric, s_c = Σ_m u_m·p_m / U_c over its known metrics. Hence, exactly:

*Data*, the known set fixed: part_m = e_m·Δp_m with e_m = (V_c/V)·(u_m/U_c), since S is linear.

*Taking a set out* happens at two levels, in this order. (a) Metrics R of components that keep
another one: s_c moves by Σ u_m·(s_c − p_m)/(U_c − U_R), so part_m = (V_c/V)·u_m·(s_c − p_m)/(U_c − U_R).
(b) Components G that lose all: with S' the mean after (a) it moves by Σ_G V_c·(S' − s_c)/(V − V_G), and
V_c·(S' − s_c) = Σ_m V_c·(u_m/U_c)·(S' − p_m), so part_m = V_c·(u_m/U_c)·(S' − p_m)/(V − V_G).
*Bringing a set in* is taking it out of the result, with the sign turned.

*Configuration* (weights e → e', points p → p'): part_m = e'_m·(p'_m − p_m) + (e'_m − e_m)·(p_m − S), and the second
terms add up to Σe'p − Σep because both weights sum to 1. A metric in one scorecard alone has weight 0 in the other.

A mean of nothing keeps the level it had: where no metric is known on both sides, nothing is left after
step 2, and the newly known ones are held against the old score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from healthseg.scoring.components import Judged, Rule, judge, rules_of
from healthseg.scoring.health import metrics_of, score_rows
from healthseg.settings import Settings
from healthseg.statistics.rates import largest_remainder

Key = tuple[str, str]
KINDS = ("configuration", "newly_missing", "data", "newly_known", "cap", "ramp", "rounding")


@dataclass(frozen=True)
class Known:
    """A metric that is measured: weight of its component, weight within it, points; all exact."""

    outer: Fraction
    inner: Fraction
    points: Fraction


Card = Mapping[Key, Known]


@dataclass(frozen=True)
class Part:
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


@dataclass(frozen=True)
class Change:
    """The change of a score: ``sum(part.points) == shown_now - shown_then``, and so do the displayed parts.

    ``exact`` is the change before the scores were rounded to integers: the sum of all parts but ``rounding``.
    Where a side is withheld, ``exact`` and ``shown`` are None, ``parts`` is empty and ``reason`` says which.
    ``missing_then`` and ``missing_now`` list the metrics that were not known.
    """

    shown_then: int | None
    shown_now: int | None
    exact: Fraction | None
    parts: tuple[Part, ...]
    missing_then: tuple[str, ...]
    missing_now: tuple[str, ...]
    reason: str | None = None

    @property
    def shown(self) -> int | None:
        return None if self.exact is None else self.shown_now - self.shown_then

    def frame(self) -> pd.DataFrame:
        """The parts, in the order of the path."""
        columns = [
            "kind",
            "component",
            "metric",
            "label",
            "unit",
            "value_then",
            "value_now",
            "points",
            "displayed",
        ]
        rows = [[getattr(part, name) for name in columns] for part in self.parts]
        return pd.DataFrame(rows, columns=columns).astype({"points": float, "displayed": float})


@dataclass(frozen=True)
class Side:
    """One row under one set of rules: its cards without and with the ramp, its final score, values and labels."""

    plain: Card
    ramped: Card
    final: Fraction | None
    values: dict[Key, float]
    rules: dict[Key, Rule]
    shown: int | None

    @property
    def ramp_effect(self) -> Fraction:
        return (
            (mean(self.ramped) or Fraction(0)) - (mean(self.plain) or Fraction(0))
            if self.ramped
            else Fraction(0)
        )

    @property
    def cap_effect(self) -> Fraction:
        return self.final - mean(self.ramped) if self.ramped else Fraction(0)


def explain_change(
    then: Mapping[str, Any] | pd.Series,
    now: Mapping[str, Any] | pd.Series,
    config_then: Settings,
    config_now: Settings,
    weights_then: Mapping[str, float] | None = None,
    weights_now: Mapping[str, float] | None = None,
) -> Change:
    """Why is the score of ``now`` another than the score of ``then``?

    ``then`` and ``now`` are rows of the panel of one customer, each with the settings (and, of a ``custom``
    score, the weights) that were in force. The module's text has the path and the formulas.
    """
    before, after = side(then, config_then, weights_then), side(now, config_now, weights_now)
    missing_then, missing_now = (_unknown(one) for one in (before, after))
    if before.shown is None or after.shown is None:
        which = " and ".join(
            word for word, one in (("then", before), ("now", after)) if one.shown is None
        )
        return Change(
            before.shown,
            after.shown,
            None,
            (),
            missing_then,
            missing_now,
            f"the score is withheld {which}",
        )
    bridge = _bridge(then, now, config_now, weights_now)
    parts = [part for part in _path(before, bridge, after) if part.points]
    exact = sum((part.points for part in parts), Fraction(0))
    rounding = after.shown - before.shown - exact
    if rounding:
        parts.append(
            Part("rounding", None, None, "Rounding of the scores", None, None, None, rounding)
        )
    tenths = largest_remainder([part.points * 10 for part in parts])
    parts = [
        Part(**{**vars(part), "displayed": tenth / 10})
        for part, tenth in zip(parts, tenths, strict=True)
    ]
    return Change(before.shown, after.shown, exact, tuple(parts), missing_then, missing_now)


def side(
    row: Mapping[str, Any] | pd.Series, config: Settings, weights: Mapping[str, float] | None = None
) -> Side:
    """A row of the panel under rules, as exact cards; its points and its score are those of ``score_panel``."""
    row = dict(row)
    columns = {name: np.array([row[name]], dtype=float) for name in metrics_of(config)}
    words = (row.get(name) for name in ("plan", "tier", "stage"))
    rules = rules_of(
        config.scorecard_for(*(word if isinstance(word, str) else None for word in words)), weights
    )
    judged = judge(columns, rules, config)
    figures = score_rows(columns, rules, judged, config)
    ramped, raw = _card(rules, judged), mean(_card(rules, judged))
    veto = raw is not None and not np.isnan(figures["cap"][0])
    withheld = not row["live"] or bool(figures["withheld"][0])
    return Side(
        plain=_card(rules, judge(columns, rules, config, ramp=False)),
        ramped=ramped,
        final=min(raw, _exact(config.overdue_cap_score)) if veto else raw,
        values={
            rule.key: float(value) for rule, value in zip(rules, judged.values[0], strict=True)
        },
        rules={rule.key: rule for rule in rules},
        shown=None if withheld else int(figures["shown"][0]),
    )


def _bridge(
    then: Mapping[str, Any] | pd.Series,
    now: Mapping[str, Any] | pd.Series,
    config: Settings,
    weights: Mapping[str, float] | None,
) -> Side:
    """Then's data under today's rules: today's settings, and the scorecard of today's plan, tier and stage."""
    words = {name: dict(now).get(name) for name in ("plan", "tier", "stage")}
    return side({**dict(then), **words}, config, weights)


def _card(rules: tuple[Rule, ...], judged: Judged) -> Card:
    return {
        rule.key: Known(_exact(rule.component_weight), _exact(rule.share), _exact(points))
        for rule, points in zip(rules, judged.points[0], strict=True)
        if not np.isnan(points) and rule.component_weight > 0
    }


def _exact(figure: float) -> Fraction:
    """The decimal that a figure is written as: .35 is 35/100, not the nearest binary fraction."""
    return Fraction(str(round(float(figure), 12)))


def _unknown(one: Side) -> tuple[str, ...]:
    return tuple(key[1] for key, value in one.values.items() if np.isnan(value))


def _path(before: Side, bridge: Side, after: Side) -> list[Part]:
    old, new = bridge.plain, after.plain
    common = {key for key in old if key in new}
    level = mean(before.plain) if mean(old) is None else mean(old)
    steps = {
        "configuration": reweighted(before.plain, old),
        "newly_missing": taken_out(old, set(old) - common),
        "data": moved(
            {key: old[key] for key in old if key in common},
            {key: new[key] for key in new if key in common},
        ),
        "newly_known": brought_in(new, set(new) - common, level),
    }
    sides = {"configuration": (before, bridge)}
    parts = [
        _part(kind, key, points, *sides.get(kind, (bridge, after)))
        for kind, found in steps.items()
        for key, points in found.items()
    ]
    cap, ramp = "Cap for an overdue invoice", "Ramp of a new customer"
    return [
        *parts,
        _total("configuration", cap, bridge.cap_effect - before.cap_effect),
        _total("configuration", ramp, bridge.ramp_effect - before.ramp_effect),
        _total("cap", cap, after.cap_effect - bridge.cap_effect),
        _total("ramp", ramp, after.ramp_effect - bridge.ramp_effect),
    ]


def _part(kind: str, key: Key, points: Fraction, then: Side, now: Side) -> Part:
    rule = now.rules.get(key) or then.rules[key]
    values = (one.values.get(key, np.nan) for one in (then, now))
    known = (None if np.isnan(value) else value for value in values)
    return Part(kind, *key, rule.label, rule.unit, *known, points)


def _total(kind: str, label: str, points: Fraction) -> Part:
    return Part(kind, None, None, label, None, None, None, points)


def component_sums(card: Card) -> dict[str, tuple[Fraction, Fraction, Fraction]]:
    """Per component: its weight V_c, the weight U_c of its known metrics, its mean s_c."""
    sums: dict[str, list[Fraction]] = {}
    for (name, _), known in card.items():
        entry = sums.setdefault(name, [known.outer, Fraction(0), Fraction(0)])
        entry[1] += known.inner
        entry[2] += known.inner * known.points
    return {name: (outer, inner, total / inner) for name, (outer, inner, total) in sums.items()}


def mean(card: Card) -> Fraction | None:
    """The score of a card: the weighted mean of its components' means; None of nothing."""
    sums = component_sums(card).values()
    return (
        sum(outer * level for outer, _, level in sums) / sum(outer for outer, _, _ in sums)
        if sums
        else None
    )


def weights_in_force(card: Card) -> dict[Key, Fraction]:
    """e_m = (V_c/V)·(u_m/U_c); they sum to 1."""
    sums = component_sums(card)
    total = sum((outer for outer, _, _ in sums.values()), Fraction(0))
    return {key: known.outer / total * known.inner / sums[key[0]][1] for key, known in card.items()}


def moved(old: Card, new: Card) -> dict[Key, Fraction]:
    """Parts of a change of points, the known set and the weights fixed."""
    weights = weights_in_force(new)
    return {key: weights[key] * (new[key].points - old[key].points) for key in old}


def reweighted(old: Card, new: Card) -> dict[Key, Fraction]:
    """Parts of a change of rules: of points through anchors, and of weights against the old score."""
    level = mean(old)
    if not old or not new:
        return {}
    before, after = weights_in_force(old), weights_in_force(new)
    parts = {}
    for key in {**old, **new}:
        weight, other = before.get(key, Fraction(0)), after.get(key, Fraction(0))
        points = (new if key in new else old)[key].points
        base = old[key].points if key in old else points
        parts[key] = other * (points - base) + (other - weight) * (base - level)
    return parts


def taken_out(card: Card, out: set[Key]) -> dict[Key, Fraction]:
    """Parts of taking metrics out of a card: within components that keep some, then whole components."""
    kept = {key: known for key, known in card.items() if key not in out}
    if not kept:
        return {}
    sums, left = component_sums(card), component_sums(kept)
    total = sum(outer for outer, _, _ in sums.values())
    within = {
        key: known.outer / total * known.inner * (sums[key[0]][2] - known.points) / left[key[0]][1]
        for key, known in card.items()
        if key in out and key[0] in left
    }
    level = mean(card) + sum(within.values(), Fraction(0))
    remaining = sum(outer for outer, _, _ in left.values())
    whole = {
        key: known.outer * known.inner / sums[key[0]][1] * (level - known.points) / remaining
        for key, known in card.items()
        if key in out and key[0] not in left
    }
    return {**within, **whole}


def brought_in(card: Card, new: set[Key], level: Fraction) -> dict[Key, Fraction]:
    """Parts of bringing metrics into a card; where it holds no others, they are held against ``level``."""
    if set(card) - new:
        return {key: -points for key, points in taken_out(card, new).items()}
    weights = weights_in_force(card)
    return {key: weights[key] * (known.points - level) for key, known in card.items()}
