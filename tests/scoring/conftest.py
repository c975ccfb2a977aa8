"""Panels whose every figure is typed in the test: one healthy customer, and what the test changes of it."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

HEALTHY = {
    "client_id": "a",
    "date": dt.date(2025, 6, 2),
    "live": True,
    "tenure_days": 400,
    "plan": "pro",
    "tier": "SMB",
    "stage": "active",
    "seat_utilisation": 0.8,
    "usage_vs_own_baseline": 1.2,
    "feature_adoption_rate_30d": 0.75,
    "stickiness_30d": 0.4,
    "sessions_per_user_per_week_28d": 5.0,
    "days_since_last_person_event": 0.0,
    "open_high_tickets": 0.0,
    "open_tickets": 0.0,
    "tickets_90d": 2.0,
    "tickets_per_10_mau_90d": 0.0,
    "median_resolution_hours_90d": 8.0,
    "nps_365d": 100.0,
    "csat_180d": 5.0,
    "worst_days_overdue": 0.0,
    "paid_on_time_share_365d": 1.0,
    "monthly_active_users": 40.0,
}
NUMBERS = [name for name, value in HEALTHY.items() if isinstance(value, float)]


@pytest.fixture(scope="session")
def panel():
    """A function: changes of the healthy row, one mapping a row, to a panel of those rows."""

    def build(*changes):
        frame = pd.DataFrame([{**HEALTHY, **change} for change in changes or ({},)])
        return frame.astype(dict.fromkeys(NUMBERS, float))

    return build


@pytest.fixture(scope="session")
def nothing_known():
    """The change that takes every metric away."""
    return dict.fromkeys(NUMBERS, float("nan"))
