"""Days on which usage was not what it is on such days; and whether the whole book saw them."""
from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.anomalies_causes import calendar
from healthseg.measures.counting import EPOCH, epoch_day
from healthseg.measures.lives import book_days
from healthseg.measures.statistics.departures import around, departures
from healthseg.tools.rounding import rounded, word
from healthseg.tools.usage.result import UnusualDay

COLUMNS = ["date", "value", "expected", "ratio", "z", "book_ratio", "calendar"]


def unusual(days: pd.DataFrame, start: dt.date, end: dt.date, book: Any, until: dt.date, of_book: bool = False
            ) -> pd.DataFrame:
    """The departing days of ``[start, end)`` in a daily series (day since 1970, person_events)."""
    found = departures(days["person_events"].to_numpy())
    found = found.assign(day=days["day"].to_numpy()[found["place"].astype(int)])
    found = found[(found["day"] >= epoch_day(start)) & (found["day"] < epoch_day(end))].reset_index(drop=True)
    labels = calendar(book)
    found["date"] = [EPOCH + dt.timedelta(days=int(day)) for day in found["day"]]
    found["book_ratio"] = np.nan if of_book else [_book_ratio(book, until, days, day) for day in found["day"]]
    found["calendar"] = [next((label for first, last, label in labels if first <= day <= last), None)
                         for day in found["day"]]
    return found[COLUMNS].astype({"book_ratio": float, "calendar": object})


def _book_ratio(book: Any, until: dt.date, days: pd.DataFrame, day: int) -> float:
    """The rest of the book on that day, over its usual number on such days."""
    whole = book_days(book, until)
    own = days.set_index("day")["person_events"].reindex(whole["day"]).fillna(0).to_numpy()
    rest = whole["person_events"].to_numpy() - own
    middle = np.nanmedian(around(rest, np.array([day - int(whole["day"].iloc[0])])))
    return float(rest[day - int(whole["day"].iloc[0])] / middle) if middle > 0 else float("nan")


def records(frame: pd.DataFrame) -> list[UnusualDay]:
    return [UnusualDay(date=row["date"], person_events=int(row["value"]), expected=round(row["expected"], 1),
                       ratio=round(row["ratio"], 2), z=round(row["z"], 1), book_ratio=rounded(row["book_ratio"], 2),
                       calendar=word(row["calendar"]))
            for row in frame.to_dict("records")]
