"""Tickets, surveys and messages: over spans, about features, and how customers respond."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics.catalog import SCORED, Metric
from healthseg.metrics.counting import Counting, Spans, epoch_day, ratio, where, within
from healthseg.statistics.rates import wilson

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings


# -- tickets ---------------------------------------------------------------------------


HOUR = 3600


def _measured(count: Counting, spans: Spans) -> np.ndarray:
    return np.full(len(spans.k), count.has("tickets")) & (spans.end > count.signup[spans.k])


def _state(count: Counting, spans: Spans, column: str) -> np.ndarray:
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    return where(
        _measured(count, spans), count.at(count.total("ticket_days", column), spans.k, spans.end)
    )


def open_tickets(count: Counting, spans: Spans) -> np.ndarray:
    return _state(count, spans, "open_change")


def open_high_tickets(count: Counting, spans: Spans) -> np.ndarray:
    """NaN while a ticket of unknown severity is open: it may be a critical one."""
    return where(
        _state(count, spans, "open_unrated_change") == 0, _state(count, spans, "open_high_change")
    )


def tickets_opened(count: Counting, spans: Spans) -> np.ndarray:
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    return where(
        _measured(count, spans), count.between(count.total("ticket_days", "opened"), spans)
    )


def median_resolution_hours(count: Counting, spans: Spans) -> np.ndarray:
    """Median hours from opening to resolution of the tickets resolved in the span."""
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    rows = count.rows("ticket_resolutions")
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    return medians(rows["seconds"].to_numpy(dtype=np.int64)[row], span, len(spans.k)) / HOUR


def medians(value: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The median of each group's values, NaN for an empty one."""
    order = np.lexsort((value, group))
    value, group = value[order], group[order]
    first = np.searchsorted(group, np.arange(groups))
    size = np.searchsorted(group, np.arange(groups), side="right") - first
    out = np.full(groups, np.nan)
    full = size > 0
    low, high = first[full] + (size[full] - 1) // 2, first[full] + size[full] // 2
    out[full] = (value[low] + value[high]) / 2
    return out


# -- surveys ---------------------------------------------------------------------------


def _absent(spans: Spans) -> np.ndarray:
    return np.full(len(spans.k), np.nan)


def _answers(count: Counting, spans: Spans, column: str) -> np.ndarray:
    each = count.portfolio.settings.nps_of == "answers"
    return count.at_ends(spans, lambda length: count.distinct("nps_spells", column, length, each))


def _users_lost(count: Counting) -> pd.Series:
    """By row of NPS answers, whether one without a user has lost it: most of the table's have one, and whose it is counts."""
    rows, settings = count.rows("nps_spells"), count.portfolio.settings
    told_apart = settings.nps_of == "respondents"
    return told_apart & (rows["named"] >= settings.identified_min_share * rows["stated"])


def respondents_lost(count: Counting) -> np.ndarray:
    """By customer, 1 where an NPS answer has lost its user: most of the table's have one."""
    marks = np.zeros(len(count.clients))
    if count.has("surveys"):
        rows = count.rows("nps_spells")
        lost = (rows["anonymous"] > 0) & _users_lost(count)
        marks[rows.loc[lost, "k"].unique().astype(np.int64)] = 1.0
    return marks


def doubtful(count: Counting, spans: Spans) -> np.ndarray:
    """How many answers have lost their user (``identified_min_share``): each may be an earlier one of another respondent."""
    lost = bool(_users_lost(count).any())
    return _answers(count, spans, "anonymous") if lost else np.zeros(len(spans.k), dtype=np.int64)


def nps_respondents(count: Counting, spans: Spans) -> np.ndarray:
    if not count.has("surveys"):
        return _absent(spans)
    return (_answers(count, spans, "n") - doubtful(count, spans)).astype(float)


def nps(count: Counting, spans: Spans) -> np.ndarray:
    """100 × (share of 9–10 − share of 0–6); NaN of fewer respondents than ``survey_min_answers``.

    For each answer that has lost its user the best one is left out: whoever it was of, NPS is no lower.
    """
    if not count.has("surveys"):
        return _absent(spans)
    names = ("promoters", "detractors", "n")
    promoters, detractors, n = (_answers(count, spans, name) for name in names)
    drop = np.minimum(doubtful(count, spans), n)
    n, beyond = n - drop, np.maximum(drop - (n - detractors), 0)
    score = np.maximum(promoters - drop, 0) - (detractors - beyond)
    return where(n >= count.portfolio.settings.survey_min_answers, ratio(100 * score, n))


def _csat(count: Counting, spans: Spans, column: str) -> np.ndarray:
    total = np.zeros(len(spans.k), dtype=np.int64)
    for table, name in (("surveys", "csat_survey_days"), ("tickets", "csat_ticket_days")):
        if count.has(table):
            total += count.between(count.total(name, column), spans)
    return total


def csat_responses(count: Counting, spans: Spans) -> np.ndarray:
    if not (count.has("surveys") or count.has("tickets")):
        return _absent(spans)
    return _csat(count, spans, "n").astype(float)


def csat(count: Counting, spans: Spans) -> np.ndarray:
    """Mean CSAT, 1 to 5, of surveys and of tickets (known when resolved); NaN of fewer than ``survey_min_answers``."""
    if not (count.has("surveys") or count.has("tickets")):
        return _absent(spans)
    n = _csat(count, spans, "n")
    mean = ratio(_csat(count, spans, "thousandths"), 1000 * n)
    return where(n >= count.portfolio.settings.survey_min_answers, mean)


# -- about features --------------------------------------------------------------------


TABLES = {
    "messages": ("feature_messages", ("messages",)),
    "tickets": ("feature_tickets", ("tickets",)),
    "csat": ("feature_csat", ("surveys", "tickets")),
}


def said_about_features(
    portfolio: Portfolio, what: str, start: dt.date, until: dt.date, clients: list[str]
) -> pd.DataFrame | None:
    """Rows of ``what`` (messages, tickets or csat) on a feature with a day in ``[start, until]``.

    Columns: client_id, feature, date, and messages; or topic, tickets; or topic, score. None where no table holds it,
    or no row of it ever named a feature: that is not measured, and not zero.
    """
    name, tables = TABLES[what]
    if not clients or not any(portfolio.has(table) for table in tables):
        return None
    day = np.array([epoch_day(until)], dtype=np.int64)
    count = Counting(portfolio, clients, Spans(np.zeros(1, dtype=np.int64), day, day + 1))
    rows = count.rows(name)
    rows = rows[rows["day"] <= epoch_day(until)]
    if not len(rows):
        return None
    rows = rows[rows["day"] >= epoch_day(start)]
    dates = rows["day"].to_numpy(dtype=np.int64).astype("datetime64[D]").astype("datetime64[s]")
    frame = pd.DataFrame(
        {
            "client_id": np.array(clients, dtype=object)[rows["k"]],
            "feature": rows["feature"].astype(str),
            "date": dates,
        }
    )
    extra = rows.drop(columns=["k", "feature", "day"])
    return pd.concat([frame.reset_index(drop=True), extra.reset_index(drop=True)], axis=1)


# -- responses to messages -------------------------------------------------------------


COUNTS = ["sent", "opened", "clicked", "engaged"]


def answers(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame | None:
    """Per customer, channel and content: sent, opened, clicked, engaged; None without a ``messages`` table.

    Counted are messages sent in the ``messages_window_days`` up to ``as_of``, as ``answers_by_day`` counts them.
    """
    end = as_of + dt.timedelta(days=1)
    rows = answers_by_day(
        portfolio, end - dt.timedelta(days=portfolio.settings.messages_window_days), end
    )
    return None if rows is None else _summed(portfolio, as_of, rows)


def _summed(portfolio: Portfolio, as_of: dt.date, rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["client_id", "channel", "content"]
    return portfolio.cache.get(
        "message_responses",
        as_of,
        lambda: rows.groupby(keys, sort=True, dropna=False)[COUNTS].sum().astype(int).reset_index(),
        disk=False,
    )


def answers_by_day(portfolio: Portfolio, start: dt.date, end: dt.date) -> pd.DataFrame | None:
    """Per customer, channel, content and sent_day (since 1970): sent, opened, clicked, engaged; None without the table.

    Counted are messages sent in ``[start, end)`` but for the last ``messages_engaged_days``, which are still being
    answered. Engaged means clicked within those days or, but for mails, opened: opening a mail is often the mail
    program's doing.
    """
    if not portfolio.has("messages"):
        return None
    return portfolio.cache.get(
        "message_days",
        [start, end, portfolio.state(None, ("segments",))],
        lambda: _answers_by_day(portfolio, start, end),
    )


def _answers_by_day(portfolio: Portfolio, start: dt.date, end: dt.date) -> pd.DataFrame:
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
    responses = rows.groupby(by, sort=True)[COUNTS].sum().astype(int)
    responses = responses[responses["sent"] >= least]
    lower, upper = wilson(responses["engaged"].to_numpy(), responses["sent"].to_numpy(), level)
    responses = responses.assign(
        rate=responses["engaged"] / responses["sent"], lower=lower, upper=upper
    ).reset_index(names=by)
    return responses.sort_values(
        ["rate", by], ascending=[False, True], kind="stable", ignore_index=True
    )


def are_categories(rows: pd.DataFrame, settings: Settings) -> bool:
    """Whether contents are categories, not texts."""
    contents = rows["content"].dropna().unique()
    return len(contents) <= settings.message_contents_max_count and all(
        len(content) <= settings.message_content_max_characters for content in contents
    )


# -- the catalogue's entries ------------------------------------------------------------

METRICS = (
    Metric(
        "open_tickets",
        "Open tickets",
        "tickets",
        definition="opened ≤ d and not resolved ≤ d",
        question="How many tickets are open?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        count=open_tickets,
        window_days=28,
        logarithm=True,
    ),
    Metric(
        "open_high_tickets",
        "Open high or critical tickets",
        "tickets",
        short="Serious tickets",
        definition="open_tickets with severity high or critical; not measured while one of unknown severity is open",
        question="How many serious tickets are open?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        uses=SCORED,
        count=open_high_tickets,
        window_days=28,
        above="No high or critical ticket is open",
        below="{value} open, high or critical",
        high="serious tickets",
        low="no serious tickets",
        kind="volume",
        effort="low",
        logarithm=True,
    ),
    Metric(
        "tickets_90d",
        "Tickets in 90 days",
        "tickets",
        definition="opened in 90 days",
        question="How many tickets were opened?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        count=tickets_opened,
        window_days=90,
        span_name="tickets_opened",
        logarithm=True,
    ),
    Metric(
        "tickets_per_10_mau_90d",
        "Tickets per 10 active users in 90 days",
        "tickets",
        short="Ticket load",
        definition="tickets_90d ÷ monthly_active_users × 10",
        question="How many tickets are there for the people who use it?",
        better="lower",
        missing="nobody was active in 30 days",
        tables=("tickets", "events"),
        uses=SCORED,
        derive=lambda rows: (
            10
            * rows["tickets_90d"]
            / rows["monthly_active_users"].where(rows["monthly_active_users"] > 0)
        ),
        above="{value} tickets per 10 active users in 90 days",
        below="{value} tickets per 10 active users in 90 days",
        high="many tickets",
        low="few tickets",
        kind="volume",
        effort="medium",
        logarithm=True,
    ),
    Metric(
        "median_resolution_hours_90d",
        "Median time to resolution in 90 days",
        "hours",
        short="Time to resolution",
        definition="median of resolved_at − opened_at over tickets resolved in 90 days (both with times)",
        question="How long does it take to resolve a ticket?",
        format="hours",
        better="lower",
        missing="no ticket was resolved in 90 days",
        tables=("tickets",),
        averages=("tickets.resolved_at",),
        uses=SCORED,
        count=median_resolution_hours,
        window_days=90,
        span_name="median_resolution_hours",
        above="Half of the tickets are resolved within {value}",
        below="Half of the tickets take longer than {value}",
        high="slow resolution",
        low="fast resolution",
        kind="support",
        effort="medium",
        logarithm=True,
    ),
    Metric(
        "nps_365d",
        "NPS of the last 365 days",
        "NPS points",
        short="NPS",
        definition="100 × (share 9–10 − share 0–6) of each respondent's latest NPS in 365 days; answers without "
        "user_id count each (all answers do with `nps_of` answers); missing of fewer than 3 respondents (`survey_min_answers`)",
        question="Would its users recommend the product?",
        format="signed",
        better="higher",
        missing="fewer than 3 NPS respondents in 365 days",
        tables=("surveys",),
        uses=SCORED,
        count=nps,
        window_days=365,
        span_name="nps",
        above="NPS is {value}",
        below="NPS is {value}",
        high="promoters",
        low="detractors",
        kind="satisfaction",
        effort="high",
    ),
    Metric(
        "nps_respondents_365d",
        "NPS respondents in 365 days",
        "persons",
        definition="respondents of nps_365d",
        question="How many users responded to the NPS survey?",
        format="count",
        missing="no surveys",
        tables=("surveys",),
        count=nps_respondents,
        window_days=365,
        span_name="nps_respondents",
        logarithm=True,
    ),
    Metric(
        "csat_180d",
        "Mean CSAT of the last 180 days",
        "1 to 5",
        short="CSAT",
        definition="mean CSAT of `surveys` and of tickets (known when resolved) in 180 days; missing of fewer than 3 "
        "(`survey_min_answers`)",
        question="How satisfied are its users?",
        better="higher",
        missing="fewer than 3 CSAT answers in 180 days",
        tables=("surveys", "tickets"),
        averages=("tickets.csat", "tickets.resolved_at"),
        uses=SCORED,
        count=csat,
        window_days=180,
        span_name="csat",
        above="CSAT averages {value} of 5",
        below="CSAT averages only {value} of 5",
        high="satisfied",
        low="dissatisfied",
        kind="satisfaction",
        effort="medium",
    ),
    Metric(
        "csat_responses_180d",
        "CSAT answers in 180 days",
        "answers",
        definition="answers of csat_180d",
        question="How many CSAT answers are there?",
        format="count",
        missing="no surveys or tickets",
        tables=("surveys", "tickets"),
        count=csat_responses,
        window_days=180,
        span_name="csat_responses",
        logarithm=True,
    ),
)
