"""The health score of every row of a panel: coverage, possible range, caps, ramp, bands.

score = Σ w·c / Σ w over the components with a measured metric, where c is the weighted mean of the component's measured
metrics. Every figure of a row comes from element-wise operations on that row alone, so a subset of rows has the same
bits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.rules.expressions import Condition
from healthseg.scoring.components import (
    DECIMALS,
    MISSING_REASONS,
    SILENCE_METRICS,
    Columns,
    ScoredMetrics,
    WeightedMetric,
    custom_weights,
    points_at,
    ramp_scale,
    score_metrics,
    weighted_metrics,
)
from healthseg.scoring.overrides import caps, overriding, provisional
from healthseg.settings import BANDS, Scorecard, ScorecardMetric, Settings, Variant

ROWS_AT_ONCE = 200_000  # bounds the memory of all the columns that a score is made of
NEEDED = (*SILENCE_METRICS, "worst_days_overdue")
SCORE_COLUMNS = (
    "score",
    "shown",
    "uncapped",
    "cap",
    "capped",
    "coverage",
    "lowest",
    "highest",
    "withheld",
    "provisional",
    "ramping",
    "band",
    "override",
)
PER_METRIC = (
    "component",
    "component_weight",
    "share",
    "metric",
    "label",
    "unit",
    "weight",
    "logarithm",
)

Metrics = tuple[WeightedMetric, ...]


@dataclass(frozen=True)
class ScoredGroup:
    """The rows that one scorecard scores, as positions in ``Scores.frame`` and ``panel``."""

    metrics: Metrics
    rows: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of a panel: ``frame`` has a row per customer and date, ``points()`` the metrics behind them.

    Columns of ``frame``: client_id, date, live, usage_score … payment_score, score (exact, NaN where
    withheld), shown (rounded half up), band, uncapped, cap (NaN where no veto holds), capped (the cap
    lowered the score), coverage (0–1), lowest, highest (what missing inputs and the days to
    come of a new customer allow), withheld, provisional (withheld as too new), ramping, override (the first of the
    setting ``overrides`` that holds).
    """

    frame: pd.DataFrame
    config: Settings
    groups: tuple[ScoredGroup, ...]
    panel: pd.DataFrame

    def points(
        self, client_id: str | None = None, date: dt.date | str | None = None
    ) -> pd.DataFrame:
        """The long form: one row per customer, date and metric of its scorecard.

        Columns: client_id, date, component, component_weight, share, metric, label, unit, value (as scored), points,
        weight (configured, of the whole score), effective_weight (in this score; 0 where missing), missing,
        missing_reason (unmeasured, ramp, silence), anchors (as in force: of a new customer shrunk by its
        tenure), target (the value nearest to the customer's that earns the most points).
        """
        selected = np.ones(len(self.frame), dtype=bool)
        if client_id is not None:
            selected &= (self.frame["client_id"] == client_id).to_numpy()
        if date is not None:
            selected &= (self.frame["date"] == pd.Timestamp(date)).to_numpy()
        parts = [
            _points(self.panel, group.metrics, group.rows[selected[group.rows]], self.config)
            for group in self.groups
        ]
        table = pd.concat([part for part in parts if len(part)] or parts[:1])
        return table.sort_index(kind="stable").reset_index(drop=True)


def score_panel(
    panel: pd.DataFrame, settings: Settings, weights: Mapping[str, float] | None = None
) -> Scores:
    """How healthy is each customer on each date?

    ``panel`` has a row per (client_id, date) with the columns of docs/metrics.md; rows that are not live
    are not scored (see ``freeze``). ``weights`` are a ``custom`` score's. The result is sorted by client_id, date.
    Raises InvalidParameters where a scorecard names a metric that the panel lacks.
    """
    ordered = _ordered(panel)
    weights = None if weights is None else custom_weights(weights, settings.component_names)
    names = metrics_of(settings)
    _refuse_unknown_metrics(ordered, names)
    extra = {override.metric for override in settings.overrides.values()} - set(names)
    extra.add("monthly_active_users")  # of few users one lost event may decide
    names += [name for name in ordered if name.startswith(catalog.LOST) or name in extra]
    of_components = [f"{name}_score" for name in settings.component_names]
    scored_names = [*of_components, *SCORE_COLUMNS[:-2]]
    figures = {name: np.full(len(ordered), np.nan) for name in scored_names}
    groups = []
    for rows, card in _by_scorecard(ordered, settings):
        metrics = weighted_metrics(card, weights)
        for part in np.array_split(rows, len(rows) // ROWS_AT_ONCE + 1):
            columns = _columns(ordered, names, part)
            scored = score_metrics(columns, metrics, settings)
            for name, column in score_rows(columns, metrics, scored, settings).items():
                figures[name][part] = column
        groups.append(ScoredGroup(metrics, rows))
    return Scores(_framed(ordered, figures, settings), settings, tuple(groups), ordered)


def _columns(panel: pd.DataFrame, names: Iterable[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: panel[name].to_numpy(dtype=float, na_value=np.nan)[rows] for name in names}


def _ordered(panel: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("client_id", "date", "live", *NEEDED) if name not in panel.columns]
    if missing:
        raise CalculationError(
            f"the panel lacks the column {missing[0]!r} that every score needs", column=missing[0]
        )
    dated = panel.assign(date=pd.to_datetime(panel["date"]).astype("datetime64[us]"))
    ordered = dated.sort_values(["client_id", "date"], kind="stable", ignore_index=True)
    twice = ordered[ordered.duplicated(["client_id", "date"])]
    if len(twice):
        client, date = twice.iloc[0]["client_id"], twice.iloc[0]["date"]
        raise CalculationError(
            f"the panel has two rows of {client!r} on {date:%Y-%m-%d}; it has one row per customer "
            "and date",
            client_id=str(client),
        )
    return ordered


def metrics_of(settings: Settings) -> list[str]:
    """The panel's columns that the scorecards of the settings read, in alphabetical order."""
    components = [settings.scorecard.components]
    components += [variant.components for variant in settings.scorecard_variants]
    parts = [part for card in components for part in card.values()]
    return sorted({metric.metric for part in parts for metric in part.metrics} | set(NEEDED))


def _refuse_unknown_metrics(panel: pd.DataFrame, names: list[str]) -> None:
    numeric = [name for name, kind in panel.dtypes.items() if pd.api.types.is_numeric_dtype(kind)]
    for metric in names:
        if metric not in numeric:
            raise InvalidParameters(
                f"the scorecard's metric {metric!r} is not a number in the panel{hint(metric, numeric)}",
                parameter="settings.scorecard",
                value_provided=metric,
                validation_rule="a metric of docs/metrics.md",
            )


def _by_scorecard(
    panel: pd.DataFrame, settings: Settings
) -> Iterator[tuple[np.ndarray, Scorecard]]:
    """The positions of the rows that each scorecard in use scores: the first variant that applies, else the usual."""
    left = np.ones(len(panel), dtype=bool)
    for variant in settings.scorecard_variants:
        rows = left & _applies(variant, panel)
        left &= ~rows
        if rows.any():
            yield np.flatnonzero(rows), Scorecard(components=variant.components)
    if left.any() or not len(panel):
        yield np.flatnonzero(left), settings.scorecard


def _applies(variant: Variant, panel: pd.DataFrame) -> np.ndarray:
    applies = np.ones(len(panel), dtype=bool)
    for name in ("plan", "tier", "stage"):
        words = getattr(variant, name)
        if words:
            applies &= panel[name].isin(words).to_numpy() if name in panel else False
    if variant.when is not None:
        applies &= np.array(Condition(variant.when).column(panel)) == 1
    return applies


def ramped_metrics(row: Mapping[str, Any], settings: Settings) -> set[str]:
    """The metrics that a customer's tenure makes easier: what they earn is no strength of it yet; none once it is old."""
    metrics = weighted_metrics(scorecard_of(row, settings)) if row["ramping"] else ()
    return {weighted.metric.metric for weighted in metrics if weighted.metric.per_tenure}


def scorecard_of(row: Mapping[str, Any], settings: Settings) -> Scorecard:
    """The scorecard of one row of the panel."""
    if not settings.scorecard_variants:
        return settings.scorecard
    (_, card), *_ = _by_scorecard(pd.DataFrame([{**row}]), settings)
    return card


def score_rows(
    columns: Columns, metrics: Metrics, scored: ScoredMetrics, settings: Settings
) -> dict[str, np.ndarray]:
    """The score, coverage, range and cap of rows of one scorecard, as columns of ``Scores.frame``."""
    means, _ = component_means(metrics, scored.points)
    outer = component_weights(metrics)
    raw = _weighted_mean([(outer[name], mean) for name, mean in means.items()])
    # points in place of a missing value are no coverage
    measured = np.where(np.isnan(scored.values), np.nan, scored.points)
    coverage, low, high = _possible(columns, metrics, measured, settings)
    _, shares = component_means(metrics, measured)
    in_use = sum(shares[name] for name in ("usage", "engagement") if name in shares) > 0
    too_new, _ = provisional(columns, len(raw), settings)
    withheld = ~in_use | (coverage < settings.min_coverage) | np.isnan(raw) | too_new
    raw = np.where(withheld, np.nan, np.round(raw, DECIMALS))
    cap, lowest_ceiling = caps(columns, len(raw), settings)
    ceiling = np.fmin(cap, 100.0)
    # an invoice may be paid whose date of payment is lost
    lost = np.asarray(columns.get(f"{catalog.LOST}invoices", 0.0))
    sure = columns if not np.any(lost) else _without_overdue(columns, lost)
    highest_ceiling = np.fmin(caps(sure, len(raw), settings)[0], 100.0)
    score = np.minimum(raw, ceiling)
    return {
        **{f"{name}_score": np.round(mean, DECIMALS) for name, mean in means.items()},
        "score": score,
        "shown": shown(score),
        "uncapped": raw,
        "cap": cap,
        "capped": raw > ceiling,
        "coverage": coverage,
        "lowest": np.clip(np.round(np.minimum(low, lowest_ceiling), DECIMALS), 0, 100),
        "highest": np.clip(np.round(np.minimum(high, highest_ceiling), DECIMALS), 0, 100),
        "withheld": withheld,
        "provisional": too_new,
        "ramping": ramp_scale(columns["tenure_days"], settings) < 1,
    }


def _without_overdue(columns: Columns, lost: np.ndarray) -> Columns:
    """The columns, with overdue days unknown where invoices are lost."""
    overdue = np.where(lost > 0, np.nan, columns["worst_days_overdue"])
    return {**columns, "worst_days_overdue": overdue}


def _possible(
    columns: Columns, metrics: Metrics, points: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coverage, and the lowest and highest weighted points that unmeasured metrics and lost rows allow.

    A metric of which a share of the rows is lost is measured for the rest. From the share at which it would be
    withheld its points can be anything, below that proportionally less where it is counted from events (but at least as
    much as one user may matter); of the other tables one row (an invoice, an answer) may decide. So can those of the provisional days to come.
    """
    coverage, low, high = (np.zeros(len(points)) for _ in range(3))
    for weighted, column in zip(metrics, points.T, strict=True):
        lost, missing = _lost_share(columns, weighted.metric.metric), np.isnan(column)
        down, up = _reach(columns, weighted.metric.metric, settings)
        coverage = coverage + weighted.weight * np.where(missing, 0, 1 - lost)
        low = low + weighted.weight * np.where(missing, 0, np.maximum(0, column - down))
        high = high + weighted.weight * np.where(missing, 100, np.minimum(100, column + up))
    _, lived = provisional(columns, len(points), settings)
    return np.round(coverage, 12), lived * low, lived * high + 100 * (1 - lived)


def _reach(
    columns: Columns, metric: str, settings: Settings
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """How far a metric's points may lie below and above those that its remaining rows give.

    An event more is at most a user more, which moves a ratio by no more than its share; the last event may be of today.
    """
    entry = catalog.entry(metric)
    reach: np.ndarray | float = 0.0
    latest: np.ndarray | float = 0.0
    for table in entry.tables if entry else ():
        lost = np.asarray(columns.get(f"{catalog.LOST}{table}", 0.0))
        share: np.ndarray | float = lost > 0
        if table == "events":
            users = np.nan_to_num(columns.get("monthly_active_users", np.zeros(1)))
            unnamed = np.asarray(columns.get(f"{catalog.LOST}events.user_id", 0.0))
            share = np.maximum(lost > 0, unnamed) / (1 + users)
            share = share + lost / max(settings.max_customer_loss_share, 1e-9)
            latest = 100.0 * (lost > 0) if entry and entry.format == "days" else 0.0
        if table == "surveys":
            share = np.maximum(share, columns.get(f"{catalog.LOST}surveys.user_id", 0.0))
        reach = np.maximum(reach, 100 * np.minimum(1, share))
    return reach, np.maximum(reach, latest)


def _lost_share(columns: Columns, metric: str) -> np.ndarray | float:
    """The largest share of rows that was lost of a table that the metric rests on."""
    entry = catalog.entry(metric)
    lost: np.ndarray | float = 0.0
    for table in entry.tables if entry else ():
        lost = np.maximum(lost, columns.get(f"{catalog.LOST}{table}", 0.0))
    return lost


def component_weights(metrics: Metrics) -> dict[str, float]:
    return {weighted.component: weighted.component_weight for weighted in metrics}


def component_means(
    metrics: Metrics, points: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Per component the weighted mean of its measured metrics, and the share of its weight that is measured."""
    inside: dict[str, list[tuple[float, np.ndarray]]] = {}
    for weighted, column in zip(metrics, points.T, strict=True):
        inside.setdefault(weighted.component, []).append((weighted.share, column))
    means = {name: _weighted_mean(columns) for name, columns in inside.items()}
    shares = {
        name: np.asarray(sum(share * ~np.isnan(column) for share, column in columns))
        for name, columns in inside.items()
    }
    return means, shares


def _weighted_mean(weighted: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Σ w·x / Σ w over the known values; NaN where there are none or they weigh nothing."""
    total = sum(weight * ~np.isnan(column) for weight, column in weighted)
    over = sum(weight * np.nan_to_num(column) for weight, column in weighted)
    return np.where(total > 0, over / np.where(total > 0, total, 1.0), np.nan)


def effective_weights(metrics: Metrics, points: np.ndarray) -> np.ndarray:
    """Each metric's weight in the score, shape (rows, metrics); a row sums to 1, or to 0 without metrics."""
    means, shares = component_means(metrics, points)
    outer = component_weights(metrics)
    total = sum(outer[name] * ~np.isnan(mean) for name, mean in means.items())
    columns = []
    for weighted, column in zip(metrics, points.T, strict=True):
        in_use = total * shares[weighted.component]
        measured = ~np.isnan(column) & (in_use > 0)
        columns.append(np.where(measured, weighted.weight / np.where(in_use > 0, in_use, 1.0), 0.0))
    return np.stack(columns, axis=1)


def shown(score: np.ndarray | float) -> np.ndarray | float:
    """The integer that a reader sees: rounded half up; NaN stays NaN.

    >>> shown(np.array([59.5, 60.5, 59.499])).tolist()
    [60.0, 61.0, 59.0]
    """
    return np.floor(np.round(score, DECIMALS) + 0.5)


def bands_of(shown_scores: np.ndarray, settings: Settings) -> np.ndarray:
    """The band of each shown score (its lower end included), None where withheld."""
    scores = np.asarray(shown_scores, dtype=float)
    at = np.minimum(np.searchsorted(settings.band_edges, scores, side="right"), len(BANDS) - 1)
    bands = np.array(BANDS, dtype=object)[at]
    bands[np.isnan(scores)] = None
    return bands


def risk_level(shown_score: float | None, threshold: float, step_points: float) -> str | None:
    """critical < T−s ≤ high < T ≤ medium < T+s ≤ low, the edges clipped to 0–100; None where withheld.

    >>> [risk_level(score, 60, 20) for score in (39, 40, 60, 80, None)]
    ['critical', 'high', 'medium', 'low', None]
    """
    if shown_score is None or np.isnan(shown_score):
        return None
    edges = np.clip(threshold + step_points * np.array([-1, 0, 1]), 0, 100)
    at = int(np.searchsorted(edges, shown_score, side="right"))
    return ("critical", "high", "medium", "low")[at]


def row_risk_level(row: Mapping[str, Any], threshold: float, settings: Settings) -> str | None:
    """The risk level of a scored row: that of what overrides the score, else by the score."""
    override = settings.overrides.get(row["override"]) if row["override"] else None
    if override is not None and override.risk_level is not None:
        return override.risk_level
    shown_score = None if row["shown"] is None else float(row["shown"])
    return risk_level(shown_score, threshold, settings.risk_step_points)


def _framed(
    ordered: pd.DataFrame, figures: dict[str, np.ndarray], settings: Settings
) -> pd.DataFrame:
    live = ordered["live"].fillna(False).to_numpy(dtype=bool)
    frame = ordered[["client_id", "date"]].assign(
        live=live, **{name: np.where(live, column, np.nan) for name, column in figures.items()}
    )
    for name in ("capped", "withheld", "provisional", "ramping"):
        frame[name] = live & (figures[name] == 1)
    override = overriding(ordered, settings)
    override[~live] = None
    bands = bands_of(frame["shown"].to_numpy(), settings)
    return frame.assign(band=words(bands), override=words(override))


def words(values: Sequence[str | None] | np.ndarray, index: pd.Index | None = None) -> pd.Series:
    """Words as objects, so that a missing one stays None."""
    return pd.Series(values, index=index, dtype=object)


def _points(
    panel: pd.DataFrame, metrics: Metrics, rows: np.ndarray, settings: Settings
) -> pd.DataFrame:
    """One row per metric and row of the panel, indexed by the position there."""
    columns = _columns(panel, {*SILENCE_METRICS, *(each.metric.metric for each in metrics)}, rows)
    scored = score_metrics(columns, metrics, settings)
    scale = ramp_scale(columns["tenure_days"], settings)
    value, points = scored.values, scored.points
    targets = [_target(weighted.metric, value[:, at], scale) for at, weighted in enumerate(metrics)]
    # each text once: an array of fixed width would hold the longest of them in every row
    at = np.tile(np.arange(len(metrics)), len(rows))
    per_metric = {
        name: pd.Series([_attribute(weighted, name) for weighted in metrics]).array.take(at)
        for name in PER_METRIC
    }
    keys = panel.loc[np.repeat(rows, len(metrics)), ["client_id", "date"]]
    why = np.array(MISSING_REASONS, dtype=object)[scored.reasons].ravel()
    return keys.assign(
        **per_metric,
        value=value.ravel(),
        points=points.ravel(),
        effective_weight=effective_weights(metrics, points).ravel(),
        missing=np.isnan(value).ravel(),
        missing_reason=words(why, keys.index),
        anchors=[_anchors(weighted.metric, by) for by in scale.tolist() for weighted in metrics],
        target=np.stack(targets, axis=1).ravel(),
    )


def _attribute(weighted: WeightedMetric, name: str) -> str | float:
    return weighted.metric.metric if name == "metric" else getattr(weighted, name)


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
