"""What a history is marked with: calendar entries, changes of stage, changes of the settings in force."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from healthseg.data.memory import remember
from healthseg.tools.health.result import Mark


def marks(book: Any, client_id: str | None, start: pd.Timestamp, end: dt.date) -> list[Mark]:
    """The marks between two dates, oldest first; stages only of a named customer."""
    found = [*_calendar(book), *_settings(book), *(_stages(book, client_id) if client_id else [])]
    first = pd.Timestamp(start).date()
    within = [mark for mark in found if first <= mark.date <= end]
    return sorted(within, key=lambda mark: (mark.date, mark.kind, mark.label))


def _calendar(book: Any) -> list[Mark]:
    if not book.has("calendar"):
        return []
    rows = remember(book, "calendar", lambda: book.table("calendar"))
    return [
        Mark(date=pd.Timestamp(row.starts_on).date(), kind="calendar", label=str(row.label))
        for row in rows.itertuples()
    ]


def _stages(book: Any, client_id: str) -> list[Mark]:
    if not book.has("stage_changes"):
        return []
    rows = remember(book, "stage_days", lambda: book.sql("measures/stage_days"))
    rows = rows[rows["client_id"] == client_id]
    return [
        Mark(date=pd.Timestamp(row.effective_day).date(), kind="stage", label=str(row.stage))
        for row in rows.itertuples()
    ]


def _settings(book: Any) -> list[Mark]:
    """The second and later settings that the ledger knows: the first are no change."""
    return [
        Mark(date=known.first_used_at.date(), kind="configuration", label="settings changed")
        for known in book.settings_history[1:]
    ]


def settings_at(book: Any, day: dt.date) -> dict[str, Any] | None:
    """The settings in force at the end of a day, as the ledger has them; None where it has none from then."""
    known = [entry for entry in book.settings_history if entry.first_used_at.date() <= day]
    return dict(known[-1].settings) if known else None
