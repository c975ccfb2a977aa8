"""The frames of the sample customer and the sample portfolio."""

from __future__ import annotations

import datetime as dt

import pandas as pd

AS_OF = dt.date(2025, 10, 10)


METRICS = [
    ("usage", "seat_utilisation", "Seats in use", "share of seats", 0.62, 76.0, 0.14, 0.8, None),
    (
        "usage",
        "usage_vs_own_baseline",
        "Usage against own baseline",
        "ratio",
        0.84,
        56.0,
        0.14,
        1.2,
        None,
    ),
    (
        "usage",
        "feature_adoption_rate_30d",
        "Features adopted",
        "share of entitled features",
        0.47,
        60.0,
        0.07,
        0.75,
        None,
    ),
    ("engagement", "stickiness_30d", "Stickiness (DAU/MAU)", "share", 0.21, 71.5, 0.1, 0.4, None),
    (
        "engagement",
        "sessions_per_user_per_week_28d",
        "Sessions per user and week",
        "sessions",
        3.4,
        84.0,
        0.075,
        5,
        None,
    ),
    (
        "engagement",
        "days_since_last_person_event",
        "Days since anybody used it",
        "days",
        0,
        100.0,
        0.075,
        0,
        None,
    ),
    (
        "support",
        "open_high_tickets",
        "Open high or critical tickets",
        "tickets",
        2,
        25.0,
        0.06,
        0,
        None,
    ),
    (
        "support",
        "tickets_per_10_mau_90d",
        "Tickets per 10 active users in 90 days",
        "tickets",
        1.7,
        66.0,
        0.045,
        0,
        None,
    ),
    (
        "support",
        "median_resolution_hours_90d",
        "Median time to resolution in 90 days",
        "hours",
        31,
        77.0,
        0.045,
        8,
        None,
    ),
    (
        "satisfaction",
        "nps_365d",
        "NPS of the last 365 days",
        "NPS points",
        None,
        None,
        0.09,
        100,
        "nobody answered an NPS survey in the last 365 days",
    ),
    (
        "satisfaction",
        "csat_180d",
        "Mean CSAT of the last 180 days",
        "1 to 5",
        3.8,
        68.0,
        0.06,
        5,
        None,
    ),
    (
        "payment",
        "worst_days_overdue",
        "Days the oldest open invoice is overdue",
        "days",
        12,
        80.0,
        0.06,
        0,
        None,
    ),
    (
        "payment",
        "paid_on_time_share_365d",
        "Invoices paid at most 5 days late in 365 days",
        "share",
        0.92,
        84.0,
        0.04,
        1,
        None,
    ),
]


METRIC_COLUMNS = [
    "component",
    "metric",
    "label",
    "unit",
    "value",
    "points",
    "weight",
    "target",
    "missing_reason",
]


def metrics_frame() -> pd.DataFrame:
    frame = pd.DataFrame(METRICS, columns=METRIC_COLUMNS)
    known = frame["weight"].where(frame["points"].notna(), 0)
    return frame.assign(effective_weight=known / known.sum())


def history_frame(weeks: int = 14) -> pd.DataFrame:
    rows = []
    for back in range(weeks, -1, -1):
        score = 69 + 8 * (back / weeks) + (-3 if back % 3 else 0)
        rows.append(
            {
                "date": AS_OF - dt.timedelta(days=7 * back),
                "score": score,
                "shown": int(score + 0.5),
                "coverage": 0.91,
                "lower": score - 6,
                "upper": score + 4,
                "note": None,
            }
        )
    rows[4] |= {
        "score": None,
        "shown": None,
        "lower": None,
        "upper": None,
        "note": "too few inputs known",
    }
    return pd.DataFrame(rows)


def forecast_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "date": AS_OF + dt.timedelta(days=30),
                "forecast": 65.0,
                "lower": 58.0,
                "upper": 73.0,
                "method": "damped trend",
            },
            {
                "date": AS_OF + dt.timedelta(days=60),
                "forecast": 63.4,
                "lower": 53.0,
                "upper": 74.0,
                "method": "damped trend",
            },
            {
                "date": AS_OF + dt.timedelta(days=90),
                "forecast": 62.6,
                "lower": 50.0,
                "upper": 75.0,
                "method": "damped trend",
            },
        ]
    )


def marks_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"date": dt.date(2025, 7, 14), "kind": "calendar", "label": "Launch of Insights 2"},
            {"date": dt.date(2025, 8, 4), "kind": "stage", "label": "onboarding to active"},
            {"date": dt.date(2025, 9, 16), "kind": "calendar", "label": "Incident: exports down"},
            {
                "date": dt.date(2025, 9, 22),
                "kind": "configuration",
                "label": "Weights of the scorecard changed",
            },
        ]
    )


def change_frame() -> pd.DataFrame:
    parts = [
        ("configuration", "Scorecard and settings", -0.6, None, None, None),
        ("newly_missing", "NPS of the last 365 days", -1.1, None, None, None),
        ("data", "Seats in use", -2.4, 0.74, 0.62, "share of seats"),
        ("data", "Open high or critical tickets", -3.0, 0, 2, "tickets"),
        ("data", "Sessions per user and week", 1.3, 2.9, 3.4, "sessions"),
        ("rounding", "Rounding", -0.2, None, None, None),
    ]
    at, rows = (
        75.0,
        [
            {
                "kind": "from",
                "label": "10 Sep 2025",
                "points": 75.0,
                "start": 0.0,
                "end": 75.0,
                "value_then": None,
                "value_now": None,
                "unit": None,
            }
        ],
    )
    for kind, label, points, then, now, unit in parts:
        rows.append(
            {
                "kind": kind,
                "label": label,
                "points": points,
                "start": at,
                "end": at + points,
                "value_then": then,
                "value_now": now,
                "unit": unit,
            }
        )
        at += points
    rows.append(
        {
            "kind": "to",
            "label": "10 Oct 2025",
            "points": at,
            "start": 0.0,
            "end": at,
            "value_then": None,
            "value_now": None,
            "unit": None,
        }
    )
    return pd.DataFrame(rows)


def churn_frame() -> pd.DataFrame:
    rows = [
        (30, 0.014, 0.008, 0.024, "base_rate"),
        (30, None, 0.002, 0.08, "plausible"),
        (90, 0.042, 0.027, 0.064, "base_rate"),
        (90, None, 0.006, 0.17, "plausible"),
        (180, 0.081, 0.055, 0.118, "base_rate"),
        (180, None, 0.013, 0.29, "plausible"),
    ]
    return pd.DataFrame(rows, columns=["horizon_days", "probability", "lower", "upper", "kind"])


def frames() -> dict[str, pd.DataFrame]:
    return {
        "history": history_frame(),
        "forecast": forecast_frame(),
        "marks": marks_frame(),
        "change": change_frame(),
        "metrics": metrics_frame(),
        "churn": churn_frame(),
    }


NAMES = [
    "Northwind Traders",
    "Halcyon Health",
    "Ridgeline Software",
    "Tessellate GmbH",
    "Orchard & Vine",
    "Kestrel Analytics",
    "Mosaic Retail Group",
    "Pinecone Education",
    "Aurora Freight",
    "Bluefin Capital",
    "Cobalt Manufacturing",
    "Driftwood Media",
    "Ember Hospitality",
    "Foxglove Pharma",
]


def customers_frame(count: int = 60) -> pd.DataFrame:
    rows = []
    for number in range(count):
        score = 22 + (number * 37) % 76
        arr = 240_000.0 - 3_700 * number
        rows.append(
            {
                "client_id": f"cs_client_{number:03d}",
                "name": NAMES[number % 14] + ("" if number < 14 else f" {number}"),
                "score": float(score),
                "band": ("critical", "at_risk", "healthy", "champion")[
                    sum(score >= edge for edge in (40, 60, 80))
                ],
                "change": float((number * 7) % 23 - 11),
                "trend": "declining" if number % 3 else "stable",
                "risk_level": "high" if score < 60 else "low",
                "reason": "usage is 41% under its own baseline; 2 high tickets are open",
                "arr": arr,
                "currency": "EUR",
                "at_stake": arr * (100 - score) / 100,
                "at_stake_basis": "score_and_arr",
                "tier": "Corporate",
                "stage": "active",
                "plan": "Team",
                "industry": "Logistics",
                "csm_id": f"csm_{number % 5:02d}",
                "renewal_on": AS_OF + dt.timedelta(days=number * 6),
                "days_to_renewal": number * 6,
                "coverage": 0.91,
                "lower": score - 5.0,
                "upper": min(100.0, score + 5.0),
                "status": "live",
            }
        )
    rows[3] |= {
        "score": None,
        "band": None,
        "change": None,
        "risk_level": None,
        "at_stake": None,
        "reason": "too few inputs are known",
        "coverage": 0.22,
    }
    return pd.DataFrame(rows).sort_values(
        "at_stake", ascending=False, kind="stable", ignore_index=True
    )


def portfolio_frames() -> dict[str, pd.DataFrame]:
    customers = customers_frame()
    moved = (
        customers[["client_id", "name", "change", "score", "arr"]]
        .dropna()
        .sort_values("change", kind="stable")
    )
    moved = pd.concat(
        [moved.tail(5)[::-1].assign(direction="up"), moved.head(5).assign(direction="down")]
    ).assign(reason="Seats in use −6.1 points")
    disagreements = pd.DataFrame(
        [
            {
                "client_id": "cs_client_007",
                "name": "Pinecone Education",
                "score": 84.0,
                "arr": 96_000.0,
                "arr_change": -24_000.0,
                "kind": "healthy_and_shrinking",
                "reason": "ARR fell by EUR 24,000 on 1 Sep 2025",
            },
            {
                "client_id": "cs_client_009",
                "name": "Bluefin Capital",
                "score": 38.0,
                "arr": 120_000.0,
                "arr_change": 18_000.0,
                "kind": "unhealthy_and_growing",
                "reason": "ARR grew by EUR 18,000 on 3 Aug 2025",
            },
        ]
    )
    bands = pd.DataFrame(
        [
            {
                "date": AS_OF - dt.timedelta(days=28 * back),
                "band": band,
                "customers": count + (back if band == "healthy" else 0),
                "arr": arr * (1 - back / 60),
            }
            for back in range(13, -1, -1)
            for band, count, arr in (
                ("critical", 6, 640_000.0),
                ("at_risk", 14, 1_500_000.0),
                ("healthy", 25, 3_100_000.0),
                ("champion", 14, 2_000_000.0),
            )
        ]
    )
    bins = pd.DataFrame(
        [
            {
                "low": float(low),
                "high": low + 10.0,
                "band": ("critical",) * 4 + ("at_risk",) * 2 + ("healthy",) * 2 + ("champion",) * 2,
                "customers": 3 + low // 10,
                "arr": 1e5,
            }
            for low in range(0, 100, 10)
        ]
    )
    bins["band"] = [band[index] for index, band in enumerate(bins["band"])]
    inputs = metrics_frame()[["component", "metric", "label", "weight"]].assign(
        measured_share=[0.98, 0.93, 1, 1, 1, 1, 0.95, 0.95, 0.71, 0.44, 0.63, 0.99, 0.97],
        customers=60,
    )
    inputs["measured"] = (inputs["measured_share"] * 60).round().astype(int)
    return {
        "what_if": what_if_frame(customers),
        "weights": pd.DataFrame({"component": COMPONENTS, "weight": WEIGHTS, "customers": 60}),
        "customers": customers,
        "movers": moved,
        "disagreements": disagreements,
        "bands": bands,
        "distribution": bins,
        "coverage": inputs,
    }


COMPONENTS = ("usage", "engagement", "support", "satisfaction", "payment")
WEIGHTS = (0.35, 0.25, 0.15, 0.15, 0.1)


def what_if_frame(customers: pd.DataFrame) -> pd.DataFrame:
    """Components whose mean by the usual weights is the score shown."""
    weights = dict(zip(COMPONENTS, WEIGHTS, strict=True))
    frame = pd.DataFrame(
        {
            "client_id": customers["client_id"],
            "name": customers["name"],
            "shown": customers["score"],
        }
    )
    for number, (name, weight) in enumerate(weights.items()):
        shift = 10.0 * ((number % 2) - 0.5) / weight * 0.1
        frame = frame.assign(
            **{f"{name}_points": (frame["shown"] + shift).clip(0, 100), f"{name}_known": 1.0}
        )
        frame = frame.assign(**{f"{name}_weight": weight})
    return frame.assign(cap=None, least_coverage=0.3)
