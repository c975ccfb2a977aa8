"""Who is ready to buy more? All of six rules, each with its figure; a missing figure is unknown, not ready."""

from __future__ import annotations

import pandas as pd

from healthseg.tools.segments.figures import NEW_DAYS, Figures

RULES = (
    "healthy",
    "not_declining",
    "seats_in_use",
    "nothing_overdue",
    "no_critical_ticket",
    "long_enough",
)
WORDS = {
    "healthy": "score of 80 or more",
    "not_declining": "score not declining",
    "seats_in_use": "nine of ten seats in use",
    "nothing_overdue": "no invoice overdue",
    "no_critical_ticket": "no high or critical ticket open",
    "long_enough": "customer for 90 days",
}


def readiness(figures: Figures) -> pd.DataFrame:
    """By live customer: each rule (True, False, None: unknown), ``ready``, and how many rules are unknown."""
    rows, settings = figures.live, figures.settings
    trend = figures.trends["trend"].astype(object)
    frame = pd.DataFrame(
        {
            "healthy": _of(rows["shown"], rows["shown"].astype(float) >= settings.band_edges[2]),
            "not_declining": _of(trend, trend != "declining"),
            "seats_in_use": _of(
                rows["seat_utilisation"],
                rows["seat_utilisation"].astype(float) >= settings.expansion_min_utilisation,
            ),
            "nothing_overdue": _of(
                rows["worst_days_overdue"], rows["worst_days_overdue"].astype(float) <= 0
            ),
            "no_critical_ticket": _of(
                rows["open_high_tickets"], rows["open_high_tickets"].astype(float) < 1
            ),
            "long_enough": _of(rows["tenure_days"], rows["tenure_days"].astype(float) >= NEW_DAYS),
        },
        index=rows.index,
    )
    rules = frame[list(RULES)]
    return frame.assign(
        ready=rules.eq(True).all(axis=1),
        unknown=rules.isna().sum(axis=1),
        undecided=rules.isna().any(axis=1) & ~rules.eq(False).any(axis=1),
    )


def _of(values: pd.Series, holds: pd.Series) -> pd.Series:
    return holds.astype(object).where(values.notna(), None)
