"""What a history is marked with: calendar entries, changes of stage, changes of the settings in force."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from healthseg.data.memory import remember
from healthseg.tools.health.result import Mark


def marks(portfolio: Any, client_id: str | None, start: pd.Timestamp, end: dt.date) -> list[Mark]:
    """The marks between two dates, oldest first; stages only of a named customer."""
    found = [
        *_calendar(portfolio),
        *_settings(portfolio),
        *(_stages(portfolio, client_id) if client_id else []),
    ]
    first = pd.Timestamp(start).date()
    within = [mark for mark in found if first <= mark.date <= end]
    return sorted(within, key=lambda mark: (mark.date, mark.kind, mark.label))


def _calendar(portfolio: Any) -> list[Mark]:
    if not portfolio.has("calendar"):
        return []
    rows = remember(portfolio, "calendar", lambda: portfolio.table("calendar"))
    return [
        Mark(date=pd.Timestamp(row.starts_on).date(), kind="calendar", label=str(row.label))
        for row in rows.itertuples()
    ]


def _stages(portfolio: Any, client_id: str) -> list[Mark]:
    if not portfolio.has("stage_changes"):
        return []
    rows = remember(portfolio, "stage_days", lambda: portfolio.sql("metrics/stage_days"))
    rows = rows[rows["client_id"] == client_id]
    return [
        Mark(date=pd.Timestamp(row.effective_day).date(), kind="stage", label=str(row.stage))
        for row in rows.itertuples()
    ]


def _settings(portfolio: Any) -> list[Mark]:
    """The second and later settings that the ledger knows: the first are no change."""
    return [
        Mark(date=known.first_used_at.date(), kind="configuration", label="settings changed")
        for known in portfolio.settings_history[1:]
    ]


def settings_at(portfolio: Any, day: dt.date) -> dict[str, Any] | None:
    """The settings in force at the end of a day, as the ledger has them; None where it has none from then."""
    known = [entry for entry in portfolio.settings_history if entry.first_used_at.date() <= day]
    return dict(known[-1].settings) if known else None
