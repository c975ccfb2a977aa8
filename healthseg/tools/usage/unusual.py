"""Days on which usage was not what it is on such days, as ``clustering.anomalies_portfolio`` finds them; a row a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.anomalies_days import daily
from healthseg.clustering.anomalies_portfolio import anomalies_of
from healthseg.metrics.counting import EPOCH, epoch_day
from healthseg.statistics.departures import against_weekday
from healthseg.tools.rounding import rounded, word
from healthseg.tools.usage.result import UnusualDay

COLUMNS = [
    "date",
    "person_events",
    "expected",
    "ratio",
    "z",
    "about",
    "value",
    "value_expected",
    "portfolio_ratio",
    "calendar",
    "likely_cause",
]


def unusual(
    portfolio: Any, clients: Sequence[str], start: dt.date, end: dt.date, until: dt.date
) -> pd.DataFrame:
    """The unusual days of ``[start, end)``: of one customer, or of the sum of many.

    Each day of an anomaly has its own events and those usual on its weekday; what stood out (about, value,
    value_expected, z) is that of the anomaly's day farthest out. Calls of the API are left out: they are no person's
    usage. ``until``: days before it are known.
    """
    found = anomalies_of(portfolio, clients, start, end, each=False, until=until)
    found = found[found["about"] != "calls"].reset_index(drop=True)
    spans = [np.arange(row.first_day, row.last_day + 1) for row in found.itertuples()]
    rows = found.loc[np.repeat(found.index, [len(span) for span in spans])].reset_index(drop=True)
    rows["day"] = np.concatenate(spans).astype(np.int64) if spans else np.empty(0, dtype=np.int64)
    rows = rows[(rows["day"] >= epoch_day(start)) & (rows["day"] < epoch_day(end))]
    rows = rows.assign(far=-rows["z"].astype(float).abs()).sort_values(
        ["day", "far", "about"], kind="stable"
    )
    rows = rows.drop_duplicates("day").reset_index(drop=True)
    days = usual_days(portfolio, clients, until).set_index("day").reindex(rows["day"])
    label = rows["likely_cause"].where(rows["cause"] == "calendar", None)
    return pd.DataFrame(
        {
            "date": pd.Series(
                [EPOCH + dt.timedelta(days=int(day)) for day in rows["day"]], dtype=object
            ),
            **{name: days[name].to_numpy() for name in ("person_events", "expected", "ratio")},
            "z": rows["z"].astype(float),
            "about": rows["about"].astype(object),
            "value": rows["value"].astype(float),
            "value_expected": rows["expected"].astype(float),
            "portfolio_ratio": rows["of_usual"].astype(float),
            "calendar": label.astype(object),
            "likely_cause": rows["likely_cause"].astype(object),
        }
    )[COLUMNS]


def usual_days(portfolio: Any, clients: Sequence[str], until: dt.date) -> pd.DataFrame:
    """day (since 1970), person_events of each day before ``until``, expected (the weekday's median of the eight weeks
    around; NaN where fewer than six days are like it) and their ratio."""
    series = daily(portfolio, until)
    places = pd.Index(series.clients).get_indexer(sorted(clients))
    days = (
        series.of(places)
        if len(places)
        else pd.DataFrame({"day": [], "person_events": []}, dtype=np.int64)
    )
    days = days[["day", "person_events"]]
    like = against_weekday(days["person_events"].to_numpy(dtype=float))
    expected, ratio = np.full(len(days), np.nan), np.full(len(days), np.nan)
    expected[like.place], ratio[like.place] = like.expected, like.ratio
    return days.assign(
        person_events=days["person_events"].astype(float), expected=expected, ratio=ratio
    )


def records(frame: pd.DataFrame) -> list[UnusualDay]:
    return [
        UnusualDay(
            date=row["date"],
            person_events=int(row["person_events"]),
            expected=rounded(row["expected"], 1),
            ratio=rounded(row["ratio"], 2),
            z=round(row["z"], 1),
            about=row["about"],
            value=int(row["value"]),
            value_expected=round(row["value_expected"], 1),
            portfolio_ratio=rounded(row["portfolio_ratio"], 2),
            calendar=word(row["calendar"]),
            likely_cause=word(row["likely_cause"]),
        )
        for row in frame.to_dict("records")
    ]
