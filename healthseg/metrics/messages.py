"""How do customers answer messages? By channel and content, with what was sent as the denominator."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.statistics.rates import wilson

COUNTS = ["sent", "opened", "clicked", "engaged"]
MOST_CONTENTS, LONGEST_CONTENT = 50, 60  # more, or longer, are texts and no categories


def answers(portfolio: Any, as_of: dt.date) -> pd.DataFrame | None:
    """Per customer, channel and content: sent, opened, clicked, engaged; None without a ``messages`` table.

    Counted are messages sent in the ``messages_window_days`` up to ``as_of``, as ``answers_by_day`` counts them.
    """
    end = as_of + dt.timedelta(days=1)
    rows = answers_by_day(
        portfolio, end - dt.timedelta(days=portfolio.settings.messages_window_days), end
    )
    return None if rows is None else _summed(portfolio, as_of, rows)


def _summed(portfolio: Any, as_of: dt.date, rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["client_id", "channel", "content"]
    return remember(
        portfolio,
        ("message_answers", as_of),
        lambda: rows.groupby(keys, sort=True, dropna=False)[COUNTS].sum().astype(int).reset_index(),
    )


def answers_by_day(portfolio: Any, start: dt.date, end: dt.date) -> pd.DataFrame | None:
    """Per customer, channel, content and sent_day (since 1970): sent, opened, clicked, engaged; None without the table.

    Counted are messages sent in ``[start, end)`` but for the last ``messages_engaged_days``, which are still being
    answered. Engaged means clicked within those days or, but for mails, opened: opening a mail is often the mail
    program's doing.
    """
    return remember(
        portfolio, ("message days", start, end), lambda: _answers_by_day(portfolio, start, end)
    )


def _answers_by_day(portfolio: Any, start: dt.date, end: dt.date) -> pd.DataFrame | None:
    if not portfolio.has("messages"):
        return None
    within = portfolio.settings.messages_engaged_days
    bounds = pd.DataFrame(
        {"floor_day": [start], "until_day": [end - dt.timedelta(days=within)], "known_day": [end]},
        dtype=object,
    )
    return portfolio.sql(
        "metrics/message_answers", message_bounds=bounds.assign(within_days=np.int32(within))
    )


def rates(rows: pd.DataFrame, by: str, least: int, level: float) -> pd.DataFrame:
    """Answers by channel or content, best first: sent, opened, clicked, engaged, rate of engagement and its interval.

    Left out is what was sent fewer than ``least`` times. Ties are broken by name.
    """
    found = rows.groupby(by, sort=True)[COUNTS].sum().astype(int)
    found = found[found["sent"] >= least]
    lower, upper = wilson(found["engaged"].to_numpy(), found["sent"].to_numpy(), level)
    found = found.assign(
        rate=found["engaged"] / found["sent"], lower=lower, upper=upper
    ).reset_index(names=by)
    return found.sort_values(
        ["rate", by], ascending=[False, True], kind="stable", ignore_index=True
    )


def are_categories(rows: pd.DataFrame) -> bool:
    """Whether contents are categories, not texts."""
    contents = rows["content"].dropna().unique()
    return len(contents) <= MOST_CONTENTS and all(
        len(content) <= LONGEST_CONTENT for content in contents
    )
