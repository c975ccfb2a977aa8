"""The health score of every row of a panel: coverage, possible range, caps, ramp, bands.

score = Σ w·c / Σ w over the components with a measured metric, where c is the
weighted mean of the component's measured metrics. Every figure of a row is made
by element-wise operations on that row alone, so a subset of rows has the same bits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, InvalidParameters, hint
from healthseg.scoring.components import (
    DECIMALS,
    MISSING_REASONS,
    Judged,
    Rule,
    custom_weights,
    judge,
    points_at,
    ramp_scale,
    rules_of,
)
from healthseg.settings import BANDS, COMPONENTS, Scorecard, ScorecardMetric, Settings

NEEDED = (
    "tenure_days",
    "open_tickets",
    "tickets_90d",
    "monthly_active_users",
    "worst_days_overdue",
)
SCORE_COLUMNS = (
    *(f"{name}_score" for name in COMPONENTS),
    "score",
    "shown",
    "uncapped",
    "cap",
    "capped",
    "coverage",
    "lowest",
    "highest",
    "withheld",
    "ramping",
    "band",
)
PER_METRIC = {
    "component": lambda rule: rule.component,
    "component_weight": lambda rule: rule.component_weight,
    "share": lambda rule: rule.share,
    "metric": lambda rule: rule.metric.metric,
    "label": lambda rule: rule.label,
    "unit": lambda rule: rule.unit,
    "weight": lambda rule: rule.weight,
}


@dataclass(frozen=True)
class Group:
    """The rows that one scorecard judges, as positions in ``Scores.frame``."""

    rules: tuple[Rule, ...]
    rows: np.ndarray
    judged: Judged
    scale: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of a panel: ``frame`` has a row per customer and date, ``points()`` the metrics behind them.

    Columns of ``frame``: client_id, date, live, usage_score … payment_score, score (exact, NaN where
    withheld), shown (rounded half up), band, uncapped, cap (NaN where no veto holds), capped (the cap
    lowered the score), coverage (0–1), lowest, highest (what the missing inputs allow), withheld, ramping.
    """

    frame: pd.DataFrame
    config: Settings
    groups: tuple[Group, ...]

    def points(
        self, client_id: str | None = None, date: dt.date | str | None = None
    ) -> pd.DataFrame:
        """The long form: one row per customer, date and metric of its scorecard.

        Columns: client_id, date, component, component_weight, share, metric, label, unit, value (as judged), points,
        weight (configured, of the whole score), effective_weight (in this score; 0 where missing), missing,
        missing_reason (unmeasured, ramp, silence), anchors (as in force: of a new customer shrunk by its
        tenure), target (the value nearest to the customer's that earns the most points).
        """
        picked = np.ones(len(self.frame), dtype=bool)
        if client_id is not None:
            picked &= (self.frame["client_id"] == client_id).to_numpy()
        if date is not None:
            picked &= (self.frame["date"] == pd.Timestamp(date)).to_numpy()
        parts = [_long(self.frame, group, picked) for group in self.groups]
        long = pd.concat([part for part in parts if len(part)] or parts[:1]).sort_index(
            kind="stable"
        )
        return long.reset_index(drop=True)


def score_panel(
    panel: pd.DataFrame, config: Settings, weights: Mapping[str, float] | None = None
) -> Scores:
    """How healthy is each customer on each date?

    ``panel`` has a row per (client_id, date) with the columns of docs/metrics.md; rows that are not live
    are not scored (see ``freeze``). ``weights`` are a ``custom`` score's. The response is sorted by client_id, date.
    Raises InvalidParameters where a scorecard names a metric that the panel lacks.
    """
    ordered = _ordered(panel)
    weights = None if weights is None else custom_weights(weights)
    _refuse_unknown_metrics(ordered, config)
    columns = {
        name: ordered[name].to_numpy(dtype=float, na_value=np.nan) for name in metrics_of(config)
    }
    figures = {name: np.full(len(ordered), np.nan) for name in SCORE_COLUMNS if name != "band"}
    groups = []
    for rows, card in _by_scorecard(ordered, config):
        here = {name: column[rows] for name, column in columns.items()}
        rules = rules_of(card, weights)
        judged = judge(here, rules, config)
        for name, column in score_rows(here, rules, judged, config).items():
            figures[name][rows] = column
        groups.append(Group(rules, rows, judged, ramp_scale(here["tenure_days"], config)))
    return Scores(_framed(ordered, figures, config), config, tuple(groups))


def _ordered(panel: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("client_id", "date", "live", *NEEDED) if name not in panel.columns]
    if missing:
        raise CalculationError(
            f"the panel lacks the column {missing[0]!r} that every score needs", column=missing[0]
        )
    dated = panel.assign(date=pd.to_datetime(panel["date"]).astype("datetime64[us]"))
    ordered = dated.sort_values(["client_id", "date"], kind="stable", ignore_index=True)
    twice = ordered.duplicated(["client_id", "date"])
    if twice.any():
        first = ordered.loc[twice, ["client_id", "date"]].iloc[0]
        raise CalculationError(
            f"the panel has two rows of {first['client_id']!r} on {first['date']:%Y-%m-%d}; "
            "it has one row per customer and date",
            client_id=str(first["client_id"]),
        )
    return ordered


def metrics_of(config: Settings) -> list[str]:
    """The panel's columns that the scorecards of the settings read, in alphabetical order."""
    cards = (
        config.scorecard.components,
        *(variant.components for variant in config.scorecard_variants),
    )
    return sorted(
        {metric.metric for card in cards for part in card.values() for metric in part.metrics}
        | set(NEEDED)
    )


def _refuse_unknown_metrics(panel: pd.DataFrame, config: Settings) -> None:
    numeric = [name for name, kind in panel.dtypes.items() if pd.api.types.is_numeric_dtype(kind)]
    for metric in metrics_of(config):
        if metric not in numeric:
            raise InvalidParameters(
                f"the scorecard's metric {metric!r} is no number of the panel{hint(metric, numeric)}",
                parameter="settings.scorecard",
                value_provided=metric,
                validation_rule="a metric of docs/metrics.md",
            )


def _by_scorecard(panel: pd.DataFrame, config: Settings) -> Iterator[tuple[np.ndarray, Scorecard]]:
    """The positions that each scorecard in use judges."""
    if not config.scorecard_variants:
        yield np.arange(len(panel)), config.scorecard
        return
    traits = panel.reindex(columns=["plan", "tier", "stage"])
    codes = traits.groupby(list(traits), dropna=False, sort=False).ngroup().to_numpy()
    firsts = traits[~pd.Series(codes).duplicated()]
    cards = [
        config.scorecard_for(*(word if isinstance(word, str) else None for word in row))
        for row in firsts.itertuples(index=False)
    ]
    distinct = [card for at, card in enumerate(cards) if card not in cards[:at]]
    for card in distinct:
        yield (
            np.flatnonzero(
                np.isin(codes, [code for code, other in enumerate(cards) if other == card])
            ),
            card,
        )


def score_rows(
    columns: Mapping[str, np.ndarray], rules: tuple[Rule, ...], judged: Judged, config: Settings
) -> dict[str, np.ndarray]:
    """The score, coverage, range and cap of rows that one scorecard has judged, as columns of ``Scores.frame``."""
    means, share = component_means(rules, judged.points)
    raw = _mean([(part_weight(rules, name), mean) for name, mean in means.items()])
    coverage = np.round(
        sum(rule.weight * ~np.isnan(judged.points[:, at]) for at, rule in enumerate(rules)), 12
    )
    low = sum(rule.weight * np.nan_to_num(judged.points[:, at]) for at, rule in enumerate(rules))
    in_use = sum(share[name] for name in ("usage", "engagement") if name in share) > 0
    withheld = ~in_use | (coverage < config.min_coverage) | np.isnan(raw)
    raw = np.where(withheld, np.nan, np.round(raw, DECIMALS))
    overdue = columns["worst_days_overdue"]
    veto = overdue >= config.overdue_cap_days
    ceiling = np.where(veto, config.overdue_cap_score, 100.0)
    # An unknown overdue invoice can hold the veto: the lowest possible score allows for it.
    floor_ceiling = np.where(veto | np.isnan(overdue), config.overdue_cap_score, 100.0)
    high = low + 100.0 * (sum(rule.weight for rule in rules) - coverage)
    score = np.minimum(raw, ceiling)
    return {
        **{f"{name}_score": np.round(mean, DECIMALS) for name, mean in means.items()},
        "score": score,
        "shown": shown(score),
        "uncapped": raw,
        "cap": np.where(veto, config.overdue_cap_score, np.nan),
        "capped": raw > ceiling,
        "coverage": coverage,
        "lowest": np.clip(np.round(np.minimum(low, floor_ceiling), DECIMALS), 0, 100),
        "highest": np.clip(np.round(np.minimum(high, ceiling), DECIMALS), 0, 100),
        "withheld": withheld,
        "ramping": ramp_scale(columns["tenure_days"], config) < 1,
    }


def part_weight(rules: tuple[Rule, ...], component: str) -> float:
    return next(rule.component_weight for rule in rules if rule.component == component)


def component_means(
    rules: tuple[Rule, ...], points: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Per component the weighted mean of its measured metrics, and the share of its weight that is measured."""
    means, shares = {}, {}
    for name in dict.fromkeys(rule.component for rule in rules):
        inside = [
            (rule.share, points[:, at]) for at, rule in enumerate(rules) if rule.component == name
        ]
        means[name] = _mean(inside)
        shares[name] = sum(share * ~np.isnan(column) for share, column in inside)
    return means, shares


def _mean(weighted: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Σ w·x / Σ w over what is not NaN; NaN where nothing is left or it weighs nothing."""
    total = sum(weight * ~np.isnan(column) for weight, column in weighted)
    over = sum(weight * np.nan_to_num(column) for weight, column in weighted)
    return np.where(total > 0, over / np.where(total > 0, total, 1.0), np.nan)


def effective_weights(rules: tuple[Rule, ...], points: np.ndarray) -> np.ndarray:
    """Each metric's weight in the score at hand, shape (rows, metrics); a row sums to 1, or to 0 of nothing."""
    means, shares = component_means(rules, points)
    total = sum(part_weight(rules, name) * ~np.isnan(mean) for name, mean in means.items())
    known = ~np.isnan(points)
    columns = []
    for at, rule in enumerate(rules):
        whole = total * shares[rule.component]
        columns.append(
            np.where(known[:, at] & (whole > 0), rule.weight / np.where(whole > 0, whole, 1.0), 0.0)
        )
    return np.stack(columns, axis=1)


def shown(score: np.ndarray | float) -> np.ndarray | float:
    """The integer that a reader sees: rounded half up; NaN stays NaN.

    >>> shown(np.array([59.5, 60.5, 59.499])).tolist()
    [60.0, 61.0, 59.0]
    """
    return np.floor(np.round(score, DECIMALS) + 0.5)


def bands_of(shown_scores: np.ndarray, config: Settings) -> np.ndarray:
    """The band of each shown score (its lower end included), None where withheld."""
    scores = np.asarray(shown_scores, dtype=float)
    at = np.searchsorted(config.band_edges, scores, side="right")
    return np.where(
        np.isnan(scores), None, np.array(BANDS, dtype=object)[np.minimum(at, len(BANDS) - 1)]
    )


def risk_level(shown_score: float | None, threshold: float) -> str | None:
    """critical < T−20 ≤ high < T ≤ medium < T+20 ≤ low, the edges clipped to 0–100; None where withheld.

    >>> [risk_level(score, 60) for score in (39, 40, 60, 80, None)]
    ['critical', 'high', 'medium', 'low', None]
    """
    if shown_score is None or np.isnan(shown_score):
        return None
    edges = np.clip([threshold - 20, threshold, threshold + 20], 0, 100)
    return ("critical", "high", "medium", "low")[
        int(np.searchsorted(edges, shown_score, side="right"))
    ]


def _framed(
    ordered: pd.DataFrame, figures: dict[str, np.ndarray], config: Settings
) -> pd.DataFrame:
    live = ordered["live"].fillna(False).to_numpy(dtype=bool)
    frame = ordered[["client_id", "date"]].assign(
        live=live, **{name: np.where(live, column, np.nan) for name, column in figures.items()}
    )
    for name in ("capped", "withheld", "ramping"):
        frame[name] = live & (figures[name] == 1)
    return frame.assign(band=words(bands_of(frame["shown"].to_numpy(), config)))


def words(values: Sequence[str | None] | np.ndarray, index: pd.Index | None = None) -> pd.Series:
    """Words as objects, so that what is missing stays None."""
    return pd.Series(values, index=index, dtype=object)


def _long(frame: pd.DataFrame, group: Group, picked: np.ndarray) -> pd.DataFrame:
    """One row per picked row and metric, indexed by the position in ``frame``."""
    here = picked[group.rows]
    rows, scale, rules = group.rows[here], group.scale[here], group.rules
    judged = group.judged
    value, points, reasons = (
        figures[here] for figures in (judged.values, judged.points, judged.reasons)
    )
    targets = [_target(rule.metric, value[:, at], scale) for at, rule in enumerate(rules)]
    anchors = [_anchors(rule.metric, by) for by in scale.tolist() for rule in rules]
    per_metric = {
        name: np.tile([figure(rule) for rule in rules], len(rows))
        for name, figure in PER_METRIC.items()
    }
    keys = frame.loc[np.repeat(rows, len(rules)), ["client_id", "date"]]
    return keys.assign(
        **per_metric,
        value=value.ravel(),
        points=points.ravel(),
        effective_weight=effective_weights(rules, points).ravel(),
        missing=np.isnan(value).ravel(),
        missing_reason=words(np.array(MISSING_REASONS, dtype=object)[reasons].ravel(), keys.index),
        anchors=anchors,
        target=np.stack(targets, axis=1).ravel(),
    )


def _anchors(metric: ScorecardMetric, by: float) -> tuple[tuple[float, float], ...]:
    if by == 1 or not metric.per_tenure:
        return metric.anchors
    return tuple((value * by, points) for value, points in metric.anchors)


def _target(metric: ScorecardMetric, value: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The value nearest to the customer's at which the metric earns the most it can."""
    best = max(points for _, points in metric.anchors)
    knots = [knot for knot, points in metric.anchors if points == best]
    by = scale if metric.per_tenure else np.ones(len(scale))
    distances = np.stack([np.abs(knot * by - np.nan_to_num(value)) for knot in knots])
    nearest = np.array(knots)[distances.argmin(axis=0)] * by
    return np.where(points_at(value, metric, scale) >= best, value, nearest)
