"""Customer-months whose law is known: metrics by name, and who leaves by a hazard that the test plants."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
from scipy import special

FIRST = dt.date(2024, 1, 30)
METRICS = (
    "seat_utilisation",
    "stickiness_30d",
    "nps_365d",
    "open_high_tickets",
    "person_events_28d",
    "csat_180d",
)


def as_of(months: int) -> dt.date:
    """The day on which the outcomes of so many months are known."""
    return FIRST + dt.timedelta(days=30 * months)


def panel(clients: int, months: int, seed: int, effect: float = 1.0, rate: float = -3.3, law=None):
    """(panel, event days): a row per customer and month; leaving follows seats (fewer), NPS (lower), tickets (more),
    or another ``law`` of the standing in each metric."""
    rng = np.random.default_rng(seed)
    standing = rng.normal(size=(clients, len(METRICS)))
    rows, event = [], {}
    for month in range(months):
        date = pd.Timestamp(FIRST) + pd.Timedelta(days=30 * month)
        standing = 0.9 * standing + np.sqrt(1 - 0.81) * rng.normal(size=standing.shape)
        odds = rate + effect * (-0.7 * standing[:, 0] - 0.6 * standing[:, 2] + 0.5 * standing[:, 3])
        odds = odds if law is None else law(standing)
        leaves = rng.random(clients) < special.expit(odds)
        for at in range(clients):
            name = f"c{at:04d}"
            left = name in event and event[name] <= date
            rows.append(
                {
                    "client_id": name,
                    "date": date,
                    "live": not left,
                    "tier": "SMB" if at % 2 else "Micro",
                    "tenure_days": 200.0 + 30 * month,
                    "odds": odds[at],
                    "seat_utilisation": 0.7 + 0.2 * standing[at, 0],
                    "stickiness_30d": 0.2 + 0.05 * standing[at, 1],
                    "nps_365d": np.nan if at % 5 == 0 else 20 + 40 * standing[at, 2],
                    "open_high_tickets": np.round(np.exp(standing[at, 3])),
                    "csat_180d": 4 + 0.3 * standing[at, 5],
                    "person_events_28d": np.round(np.exp(4 + standing[at, 4])),
                    "open_tickets": 0.0,
                    "tickets_90d": 1.0,
                    "monthly_active_users": 5.0,
                    "worst_days_overdue": 0.0,
                }
            )
            if leaves[at] and name not in event:
                event[name] = date + pd.Timedelta(days=int(rng.integers(1, 31)))
    days = pd.Series(event, dtype="datetime64[us]").reindex(
        sorted({row["client_id"] for row in rows})
    )
    return pd.DataFrame(rows), days
