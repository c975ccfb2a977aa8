"""How a score came to be what it is: its history, and the exact parts of its change."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.scoring import Change, explain_change
from healthseg.settings import settings
from healthseg.tools.health import predictive
from healthseg.tools.health.figures import HISTORY_DAYS
from healthseg.tools.health.marks import settings_at
from healthseg.tools.health.result import ChangeExplanation, ChangePart, HistoricalScore
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import integer, rounded, word

WATERFALL = [
    "kind",
    "label",
    "points",
    "start",
    "end",
    "value_then",
    "value_now",
    "unit",
    "metric",
]


def history(subject: Subject) -> pd.DataFrame:
    """The scores of the year before, by today's rules: date, score (exact), shown, coverage, possible range, note."""
    frame, portfolio = subject.judged.frame, subject.portfolio
    since = max(
        subject.day - dt.timedelta(days=HISTORY_DAYS), min(portfolio.first_event_day, subject.day)
    )
    rows = frame[frame["date"] >= pd.Timestamp(since)].reset_index(drop=True)
    note = subject.judged.notes.get(subject.client_id)
    past = rows["date"] < pd.Timestamp(portfolio.data_until)
    return pd.DataFrame(
        {
            "date": rows["date"],
            "score": rows["score"],
            "shown": rows["shown"],
            "coverage": rows["coverage"],
            "lower": rows["lowest"],
            "upper": rows["highest"],
            "note": [note if before else None for before in past],
        }
    )


def historical(subject: Subject, frame: pd.DataFrame) -> list[HistoricalScore]:
    """The response's list: weekly dates within the look-back, and its first day."""
    grid = {
        subject.start,
        *(subject.day - dt.timedelta(days=7 * k) for k in range(subject.lookback_days // 7 + 1)),
    }
    rows = frame[frame["date"].isin(pd.to_datetime(sorted(grid)))]
    return [
        HistoricalScore(
            date=row.date.date(),
            score=integer(row.shown),
            coverage=round(row.coverage, 4),
            note=word(row.note),
        )
        for row in rows.itertuples()
    ]


def change(subject: Subject) -> ChangeExplanation:
    """Why the score is another than at the beginning of the look-back; the parts' points add up to the change."""
    edges = {"from_date": subject.start, "to_date": subject.day}
    if subject.then is None:
        return ChangeExplanation(
            **edges,
            score_then=None,
            score_now=integer(subject.now["shown"]),
            change=None,
            parts=[],
            reason="the customer had not signed up then",
        )
    found = predictive.change(subject) if subject.rules.predictive else _of_scorecard(subject)
    return ChangeExplanation(
        **edges,
        score_then=found.shown_then,
        score_now=found.shown_now,
        change=found.shown,
        parts=[_part(part) for part in found.parts],
        reason=found.reason,
    )


def _of_scorecard(subject: Subject) -> Change:
    before = settings_at(subject.portfolio, subject.start)
    rules_then = settings(before) if before is not None else subject.settings
    return explain_change(
        subject.then, subject.now, rules_then, subject.settings, subject.weights, subject.weights
    )


def _part(part) -> ChangePart:
    return ChangePart(
        kind=part.kind,
        metric=part.metric,
        label=part.label,
        points=part.displayed,
        unit=part.unit,
        value_then=rounded(part.value_then),
        value_now=rounded(part.value_now),
    )


def waterfall(explained: ChangeExplanation) -> pd.DataFrame:
    """The change as steps: from the score then, part by part, to the score now."""
    if explained.change is None:
        return pd.DataFrame(columns=WATERFALL)
    first, last = float(explained.score_then), float(explained.score_now)
    ends = np.round(first + np.cumsum([part.points for part in explained.parts]), 1)
    steps = [
        {**part.model_dump(), "start": round(end - part.points, 1), "end": end}
        for part, end in zip(explained.parts, ends, strict=True)
    ]
    edge = {"start": 0.0, **dict.fromkeys(("value_then", "value_now", "unit", "metric"))}
    return pd.DataFrame(
        [
            {
                **edge,
                "kind": "from",
                "label": f"{explained.from_date}",
                "points": first,
                "end": first,
            },
            *steps,
            {**edge, "kind": "to", "label": f"{explained.to_date}", "points": last, "end": last},
        ],
        columns=WATERFALL,
    )
