"""The tables that are one for the whole portfolio: features, milestones, calendar, managers, benchmarks."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from healthseg.demo import milestones, names
from healthseg.demo.frame import Frame
from healthseg.demo.schema import TABLES
from healthseg.demo.tables import CSM_IDS, FEATURE_NAMES
from healthseg.demo.writing import dates, table

# industry figures of the simulated world, made of nothing but these numbers
BENCHMARKS = (
    ("seat_utilisation", (0.42, 0.58, 0.74)),
    ("stickiness_30d", (0.14, 0.21, 0.30)),
    ("wau_per_seat", (0.30, 0.45, 0.62)),
    ("nps_365d", (5.0, 28.0, 52.0)),
)


def of_portfolio(days: Frame, calendar: list[tuple[int, int, str]]) -> dict[str, pa.Table]:
    """Features, milestones, calendar, managers and benchmarks: the same for all chunks."""
    start = dt.date(1970, 1, 1) + dt.timedelta(days=days.start)
    features = {
        "feature": FEATURE_NAMES,
        "category": [each[1] for each in names.FEATURES],
        "released_on": [start + dt.timedelta(days=each[2]) for each in names.FEATURES],
        "recommended_position": [each[3] for each in names.FEATURES],
    }
    first, last, label = zip(*calendar, strict=True) if calendar else ((), (), ())
    rows = [
        (industry, metric, percentile, value * (1 + 0.02 * place))
        for place, industry in enumerate(names.INDUSTRIES)
        for metric, values in BENCHMARKS
        for percentile, value in zip((25, 50, 75), values, strict=True)
    ]
    return {
        "features": table(TABLES["features"], features),
        "milestones": table(TABLES["milestones"], milestones.catalogue()),
        "calendar": table(
            TABLES["calendar"],
            {
                "starts_on": dates(np.array(first, int), days),
                "ends_on": dates(np.array(last, int), days),
                "label": list(label),
            },
        ),
        "csms": table(
            TABLES["csms"],
            {
                "csm_id": CSM_IDS,
                "tier": list(names.CSM_TIERS),
                "capacity_hours": [120.0] * len(CSM_IDS),
                "contact": [f"{name.split()[0].lower()}@vendor.example" for name in names.CSMS],
            },
        ),
        "benchmarks": table(
            TABLES["benchmarks"],
            {
                "industry": [row[0] for row in rows],
                "metric": [row[1] for row in rows],
                "percentile": [row[2] for row in rows],
                "value": [round(row[3], 4) for row in rows],
                "source": ["simulated"] * len(rows),
            },
        ),
    }
