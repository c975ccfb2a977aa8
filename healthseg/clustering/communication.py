"""Which messages are answered: by channel, content, weekday and how often they come?

Engaged means clicked within a week or, but for mails, opened (``metrics.messages``); mails opened are told apart. What
is asked is how a content, a weekday of sending does beside the others *of the same channel*: channels differ so much
(an answer to a mail is a click, to others it is being opened) that a content which goes by a good one looks good, and
that they differ is no finding. The excess of a cell over the others of its stratum, summed
by customer (of a single one: by week), has mean zero where they are alike; its Student's t over customers is the test,
whatever their habits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.communication_cells import Hypothesis, excess_table
from healthseg.clustering.communication_frequency import Frequency, frequencies
from healthseg.clustering.judging import Family, Limits
from healthseg.clustering.rhythms import DAY_NAMES
from healthseg.metrics.counting import epoch_day
from healthseg.metrics.messages import COUNTS, answers_by_day, are_categories, rates
from healthseg.statistics.rates import wilson

MANY = 20
HELD_OUT = 1 / 3


@dataclass(frozen=True)
class Communication:
    """What was found of messages; all None where ``reason`` says why nothing could be asked.

    ``channels``, ``contents``, ``weekdays``: name, sent, opened, clicked, engaged, rate (engaged ÷ sent), lower, upper,
    opened_rate, opened_lower, opened_upper, best first; what was sent fewer than ``messages_min_sent`` times is left
    out. ``contents`` is None where contents are texts, no categories. ``frequency`` has one entry a content.
    """

    family: Family | None
    reason: str | None
    channels: pd.DataFrame | None
    contents: pd.DataFrame | None
    weekdays: pd.DataFrame | None
    frequency: list[Frequency] | None
    sent: int


def communication(
    portfolio: Any, clients: Sequence[str], start: dt.date, end: dt.date
) -> Communication:
    """How do these customers answer what they are sent in ``[start, end)``?

    Keys of the family: ``content:training``, ``weekday:Tuesday`` (of engagement) and ``opened:email/Tuesday``,
    ``opened:email/training`` (of opening), each beside the others of the same channel.
    """
    settings = portfolio.settings
    rows = answers_by_day(portfolio, start, end)
    if rows is None:
        return _nothing("there is no messages table")
    rows = rows[rows["client_id"].isin(set(clients))].reset_index(drop=True)
    if rows["sent"].sum() < settings.messages_min_sent:
        return _nothing(
            f"{int(rows['sent'].sum())} messages, at least {settings.messages_min_sent} are needed",
            int(rows["sent"].sum()),
        )
    rows = rows.assign(weekday=[DAY_NAMES[(day + 3) % 7] for day in rows["sent_day"].tolist()])
    told = {by: _rates(rows, by, settings) for by in ("channel", "content", "weekday")}
    categories = are_categories(rows)
    weeks = (end - start).days / 7
    return Communication(
        _family(rows, sorted(clients), start, categories, settings),
        None,
        told["channel"],
        told["content"] if categories else None,
        told["weekday"],
        frequencies(rows, weeks) if categories else None,
        int(rows["sent"].sum()),
    )


def _nothing(reason: str, sent: int = 0) -> Communication:
    return Communication(None, reason, None, None, None, None, sent)


def _rates(rows: pd.DataFrame, by: str, settings: Any) -> pd.DataFrame:
    found = rates(rows.dropna(subset=[by]), by, settings.messages_min_sent, settings.interval_level)
    opened, sent = found["opened"].to_numpy(), found["sent"].to_numpy()
    lower, upper = wilson(opened, sent, settings.interval_level)
    return found.rename(columns={by: "name"}).assign(
        opened_rate=opened / np.maximum(sent, 1), opened_lower=lower, opened_upper=upper
    )


def _hypotheses(rows: pd.DataFrame, categories: bool, least: int) -> list[Hypothesis]:
    """Every content and weekday, over all channels and within each, of which enough was sent."""
    channel, content, weekday = (
        rows["channel"].fillna(""),
        rows["content"].fillna(""),
        rows["weekday"],
    )
    asked = [
        ("weekday:", "engaged", weekday, channel),
        ("opened:", "opened", channel + "/" + weekday, channel),
    ]
    if categories:
        asked += [
            ("content:", "engaged", content, channel),
            ("opened:", "opened", channel + "/" + content, channel),
        ]
    found = []
    for prefix, outcome, value, stratum in asked:
        sent = rows.groupby(value.to_numpy())["sent"].sum()
        found += [
            Hypothesis(
                prefix + name, outcome, (value == name).to_numpy(), stratum.to_numpy(dtype=object)
            )
            for name in sorted(sent.index[sent >= least])
            if name.strip("/")
        ]
    return found


def _family(
    rows: pd.DataFrame, clients: list[str], start: dt.date, categories: bool, settings: Any
) -> Family:
    hypotheses = _hypotheses(rows, categories, settings.messages_min_sent)
    week = (rows["sent_day"].to_numpy(dtype=np.int64) - epoch_day(start)) // 7
    single = len(clients) == 1
    unit = week if single else pd.Index(clients).get_indexer(rows["client_id"])
    names = [f"week {at + 1}" for at in range(int(week.max()) + 1)] if single else clients
    excess = excess_table(rows, hypotheses, unit, len(names))
    frame = excess.tried(settings.effects_interval_level)
    late = week > week.max() - max(round((week.max() + 1) * HELD_OUT), 1)
    held = excess_table(rows[late], [one.at(late) for one in hypotheses], unit[late], len(names))
    later = held.tried(settings.effects_interval_level)
    later = later.assign(p=later["p"] / 2)[["key", "lift", "p"]].fillna({"lift": 1.0, "p": 1.0})
    least = 20 if len(clients) >= MANY else 1
    return Family("communication", frame, names, excess.again, later, Limits(least, 1.25))


__all__ = ["COUNTS", "Communication", "Frequency", "communication"]
