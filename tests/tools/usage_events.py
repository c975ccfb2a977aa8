"""Rows of events, a line each day."""

from __future__ import annotations

import pandas as pd


def at(day, user="u1", hour=9, feature=None, source=None, client="a"):
    return (client, f"{day} {hour:02d}:00:00", user, feature, source)


def range_of(start, end, **of):
    return [at(day.date(), **of) for day in pd.date_range(start, end)]
