"""Finished frames for charts and tables, unrounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.statistics.rates import lorenz as lorenz_curve
from healthseg.tools.segments import metrics
from healthseg.tools.segments.characteristics import AVERAGES
from healthseg.tools.segments.result import Place, Segmentation

APART = 0.4  # robust standard deviations from the other customers
NAMED = 4
PROFILE = [
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
    "score",
    "open_high_tickets",
    "nps_365d",
    "csat_180d",
    "paid_on_time_share_365d",
    "tenure_months",
    "arr",
]


def segments(response: Segmentation) -> pd.DataFrame:
    """A row a segment: name, customers, shares, ARR, expected loss, mean score."""
    rows = [
        {
            "segment_id": one.segment_id,
            "segment": one.segment_name,
            "placed": one.placed,
            "description": one.segment_description,
            "customers": one.customer_count,
            "share": one.percentage_of_total / 100,
            "arr": one.total_arr,
            "arr_share": None if one.percentage_of_arr is None else one.percentage_of_arr / 100,
            "expected_loss": one.expected_arr_lost_90d,
            **one.segment_characteristics,
        }
        for one in response.segments
    ]
    columns = [
        "segment_id",
        "segment",
        "placed",
        "description",
        "customers",
        "share",
        "arr",
        "arr_share",
        "expected_loss",
        *AVERAGES,
    ]
    numbers = dict.fromkeys(columns[4:], float)
    return pd.DataFrame(rows, columns=columns).astype(numbers)


def customers(run: Any, places: dict[str, Place]) -> pd.DataFrame:
    """A row a customer: where it is, its value, certainty and border, where it was before."""
    shown = [
        place.model_dump(
            include={
                "client_id",
                "name",
                "segment_id",
                "segment_name",
                "placed",
                "reason",
                "value",
                "certainty",
                "next_segment",
                "border",
                "before",
                "arr",
                "score",
                "trend",
            }
        )
        for place in places.values()
    ]
    frame = pd.DataFrame(
        shown,
        columns=[
            "client_id",
            "name",
            "segment_id",
            "segment_name",
            "placed",
            "reason",
            "value",
            "certainty",
            "next_segment",
            "border",
            "before",
            "arr",
            "score",
            "trend",
        ],
    )
    frame["currency"] = (
        run.money.currency or run.money.by_currency.reindex(frame["client_id"]).to_numpy()
    )
    frame["expected_loss"] = run.losses.reindex(frame["client_id"]).to_numpy()
    numeric = ["value", "certainty", "border", "arr", "score", "expected_loss"]
    frame = frame.astype(dict.fromkeys(numeric, float))
    if run.placer.grouping is None:
        return frame.assign(x=np.nan, y=np.nan)
    return _mapped(run, frame)


def _mapped(run: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """With two coordinates: the directions in which the segments' centres lie farthest apart."""
    found = run.placer.grouping
    if found.evidence.mixture is None or not len(found.placed) or found.groups < 2:
        return frame.assign(x=np.nan, y=np.nan)
    mixture, rows = found.evidence.mixture, run.figures.live.loc[found.placed.index]
    points = np.column_stack(
        [scale.of(rows[scale.metric].to_numpy(dtype=float)) for scale in found.scales]
    )
    centres = mixture.centres @ mixture.whitener
    middle = (centres * mixture.shares[:, None]).sum(axis=0)
    axes = np.linalg.svd((centres - middle) * np.sqrt(mixture.shares)[:, None], full_matrices=True)[
        2
    ]
    flat = (mixture.whitened(points) - middle) @ axes[:2].T
    flat = np.c_[flat, np.zeros(len(flat))][:, :2]
    flat *= np.where(np.abs(flat).max(axis=0) == flat.max(axis=0), 1, -1)
    at = pd.DataFrame(flat, index=rows.index, columns=["x", "y"]).reindex(frame["client_id"])
    return frame.assign(x=at["x"].to_numpy(), y=at["y"].to_numpy())


def profile(response: Segmentation, run: Any) -> pd.DataFrame:
    """Segment × metric: the median of the segment and of all, and their distance in robust standard deviations."""
    rows = []
    names = list(dict.fromkeys([*sorted(run.placer.ingredients & set(run.rows.columns)), *PROFILE]))
    numbers = [
        name for name in names if name in metrics.described() and run.rows[name].notna().sum() > 2
    ]
    for name in numbers:
        values = run.rows[name].astype(float)
        spread = _spread(values.dropna())
        for one in response.segments:
            inside = values.loc[one.client_ids].dropna()
            if one.placed and len(inside) and spread > 0:
                rows.append(
                    [
                        one.segment_name,
                        name,
                        metrics.label(name),
                        len(inside),
                        float(inside.median()),
                        float(values.median()),
                        float(inside.median() - values.median()) / spread,
                        metrics.written(name, float(inside.median())),
                        name in run.placer.ingredients,
                    ]
                )
    return pd.DataFrame(
        rows,
        columns=[
            "segment",
            "metric",
            "label",
            "n",
            "median",
            "portfolio_median",
            "distance",
            "text",
            "ingredient",
        ],
    )


def _spread(values: pd.Series) -> float:
    quarter = float(values.quantile(0.75) - values.quantile(0.25)) / 1.349
    return quarter if quarter > 0 else float(values.std(ddof=0))


def set_apart(run: Any, part: Any) -> list[str]:
    """The metrics in which a segment's median is farthest from the other customers', in words."""
    inside, outside = run.rows.loc[list(part.members)], run.rows.drop(index=list(part.members))
    found = []
    if not part.placed or not len(outside):
        return []
    for name in (name for name in PROFILE if name in run.rows):
        own, others = inside[name].astype(float).dropna(), outside[name].astype(float).dropna()
        spread = _spread(run.rows[name].astype(float).dropna()) if len(own) and len(others) else 0.0
        if spread > 0:
            away = float(own.median() - others.median()) / spread
            found.append(
                (
                    abs(away),
                    f"{metrics.label(name)}: {metrics.written(name, float(own.median()))} in the "
                    f"median, others {metrics.written(name, float(others.median()))}",
                )
            )
    return [text for away, text in sorted(found, key=lambda one: -one[0])[:NAMED] if away >= APART]


def matrix(response: Segmentation) -> pd.DataFrame:
    rows = [cell.model_dump() for cell in response.value_health_matrix or []]
    frame = pd.DataFrame(rows, columns=["tier", "band", "customers", "arr", "expected_loss"])
    return frame.astype({"arr": float, "expected_loss": float})


def lorenz(run: Any) -> pd.DataFrame:
    return lorenz_curve(run.rows["arr"].to_numpy(dtype=float))


def values(run: Any) -> pd.DataFrame:
    """The value that decided, a row a placed customer with one: client_id, value, segment."""
    known = run.placed.value.dropna()
    frame = pd.DataFrame(
        {
            "client_id": known.index,
            "value": known.to_numpy(dtype=float),
            "segment": run.names.reindex(known.index).to_numpy(),
        }
    )
    return frame.sort_values(["value", "client_id"], kind="stable", ignore_index=True)


def evidence(placer: Any) -> pd.DataFrame:
    return (
        pd.DataFrame()
        if placer.grouping is None
        else placer.grouping.evidence.tried.reset_index(drop=True)
    )
