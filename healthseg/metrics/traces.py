"""From a figure back to the rows behind it: the rows, and a pandas expression over them that gives the figure again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.data.behind import ROWS, rows_of
from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.metrics.adoption import usable_features
from healthseg.metrics.communication import doubtful
from healthseg.metrics.counting import (
    ObservedDays,
    Spans,
    counting,
    epoch_day,
    observed_spans,
)
from healthseg.metrics.money_rows import rows_behind
from healthseg.metrics.spans import over
from healthseg.metrics.usage import lost_activity, unknown_users

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

DAY = dt.timedelta(days=1)
# what the expressions may call, which are this package's own
SAFE = {each.__name__: each for each in (bool, float, int, len, max, min, set)}
OF_PROGRAMS = ("active_days", "usage_vs_own_baseline")  # counted of API events where those are all
EVENTS = "rows['count'].fillna(1).sum()"
# a ticket is of its severity from when that was set
HIGH = "rows['severity'].isin(['high', 'critical']) & ~(pd.to_datetime(rows['severity_set_day']) >= end)"
# of the features that could be used, those used on enough days by enough users
ADOPTED = (
    "(lambda used: ((used['occurred_day'].nunique() >= min_days) & (used['user_id'].nunique() >= min_users)).sum())"
    "(rows[rows['feature'].isin(usable)].groupby('feature'))"
)
# by the metric's name over spans: its rows, and the expression; ``days`` are the observed days as a customer
RECOUNT = {
    "person_events": ("person_events", EVENTS),
    "api_events": ("api_events", EVENTS),
    "active_days": ("person_events", "rows['occurred_day'].nunique()"),
    "active_users": ("person_events", "rows['user_id'].nunique()"),
    "daily_active_users": (
        "person_events",
        "rows.groupby('occurred_day')['user_id'].nunique().sum() / days",
    ),
    "unique_features_used": ("person_events", "rows['feature'].nunique()"),
    "sessions": ("sessions", "(rows['day'] == rows['start_day']).sum()"),
    "average_session_minutes": (
        "sessions",
        "rows['added_seconds'].sum() / (rows['day'] == rows['start_day']).sum() / 60",
    ),
    "top_user_share": (
        "person_events",
        "rows['count'].fillna(1).groupby(rows['user_id']).sum().max() "
        "/ rows.loc[rows['user_id'].notna(), 'count'].fillna(1).sum()",
    ),
    # MAU of a day is that of its trailing 30 days: the rows begin 29 days earlier
    "stickiness": (
        "person_events",
        "np.mean([rows.loc[rows['occurred_day'] == d, 'user_id'].nunique() / mau for d in dates if (mau := "
        "rows.loc[(rows['occurred_day'] > d - pd.Timedelta(days=30)) & (rows['occurred_day'] <= d), 'user_id'].nunique() "
        "+ unknown[d])])",
    ),
    "sessions_per_user_per_week": (
        "sessions",
        "(rows['day'] == rows['start_day']).sum() / (active_users + unknown) / (days / 7)",
    ),
    "usage_vs_own_baseline": (
        "person_events",
        "rows.loc[rows['occurred_day'] >= start, 'count'].fillna(1).sum() / days "
        "/ ((rows.loc[rows['occurred_day'] < start, 'count'].fillna(1).sum() + lost) / days_before)",
    ),
    "returning_users": (
        "person_events",
        "len(set(rows.loc[rows['occurred_day'] >= start, 'user_id'].dropna()) "
        "& set(rows.loc[rows['occurred_day'] < start, 'user_id'].dropna()))",
    ),
    "dormant_users": (
        "person_events",
        "len(set(rows.loc[rows['occurred_day'] < start, 'user_id'].dropna()) "
        "- set(rows.loc[rows['occurred_day'] >= start, 'user_id'].dropna()))",
    ),
    "open_tickets": ("tickets_open", "len(rows)"),
    "tickets_opened": ("tickets_opened", "len(rows)"),
    "median_resolution_hours": (
        "tickets_resolved",
        "((rows['resolved_at'].dt.floor('s') - rows['opened_at'].dt.floor('s')).dt.total_seconds() / 3600).median()",
    ),
    # of answers that have lost their user as many are left out, the best ones
    "nps": (
        "nps",
        "(lambda score: 100 * ((score >= 9).mean() - (score <= 6).mean()))"
        "(rows['score'].sort_values().iloc[: len(rows) - doubtful])",
    ),
    "nps_respondents": ("nps", "len(rows) - doubtful"),
    "csat": ("csat", "rows['score'].mean()"),
    "csat_responses": ("csat", "len(rows)"),
    "invoices_issued": ("invoices", "len(rows)"),
    "paid_on_time_share": (
        "invoices_due",
        "(lambda paid, limit: ((paid <= limit) & (paid < end)).sum() "
        "/ ((paid <= limit) & (paid < end) | (end - pd.Timedelta(days=1) > limit)).sum())"
        "(pd.to_datetime(rows['paid_on']), pd.to_datetime(rows['due_on']) + grace)",
    ),
    "new_users": (
        "person_events",
        "(rows.groupby('user_id')['occurred_day'].min() >= start).sum()",
    ),
    "resurrected_users": (
        "person_events",
        "len(set(rows.loc[rows['occurred_day'] >= start, 'user_id'].dropna()) "
        "- set(rows.loc[(rows['occurred_day'] >= before) & (rows['occurred_day'] < start), 'user_id'].dropna()) "
        "- set(rows.loc[rows.groupby('user_id')['occurred_day'].transform('min') >= start, 'user_id']))",
    ),
    "features_adopted": ("person_events", ADOPTED),
    "feature_adoption_rate": ("person_events", f"{ADOPTED} / len(usable)"),
}


@dataclass(frozen=True)
class Trace:
    """A figure with what is behind it.

    ``kind`` is counted (``formula`` over ``rows`` gives the value, with the ``names`` in it), derived, modelled or setting: ``rests_on``
    then names what the value is computed from. ``start`` and ``end`` are account-local days, the end exclusive.
    """

    figure: str
    value: Any
    kind: str
    definition: str
    start: dt.date | None = None
    end: dt.date | None = None
    query: str = ""
    formula: str = ""
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    names: Mapping[str, Any] = field(default_factory=dict)
    rests_on: tuple[str, ...] = ()

    def recount(self) -> Any:
        """The figure again, unrounded: the expression over the rows."""
        names = {"pd": pd, "np": np, "rows": self.rows, **self.names}
        return eval(self.formula, {"__builtins__": SAFE, **names})

    def holds(self) -> bool:
        """Whether the rows give the figure, to its decimals."""
        try:
            again = float(self.recount())
        except (LookupError, NameError, TypeError, ValueError, ZeroDivisionError):
            return False
        decimals = len(str(self.value).partition(".")[2]) if isinstance(self.value, float) else 0
        return abs(again - float(self.value)) <= 0.5 * 10**-decimals + 1e-9

    def __str__(self) -> str:
        window = f", {self.start} to {self.end} (exclusive)" if self.start else ""
        how = f"{self.formula} over {len(self.rows):,} rows" if self.formula else ""
        how = how or "rests on " + ", ".join(self.rests_on)
        return f"{self.figure} = {self.value}: {self.kind}{window}; {self.definition}; {how}"


def trace_span(
    portfolio: Portfolio,
    figure: str,
    value: Any,
    name: str,
    client_id: str,
    start: dt.date,
    end: dt.date,
) -> Trace:
    """The trace of a metric over days ``[start, end)``, by its name over spans."""
    metric, days = catalog.known_over_spans([name])[0], (end - start).days
    definition = metric.definition
    if metric.window_days is not None:  # one of several windows over which it is counted
        definition = definition.replace(f" in {metric.window_days} days", f" in {days} days")
    if name not in RECOUNT:
        return Trace(figure, value, "counted", definition, start, end, rests_on=metric.tables)
    source, formula = RECOUNT[name]
    if name in OF_PROGRAMS and is_api_only(portfolio, client_id, start, end):
        source = "api_events"
    if source == "nps" and portfolio.settings.nps_of == "answers":
        source = "nps_each"
    first, names = _names(portfolio, name, client_id, start, end)
    rows = rows_of(portfolio, source, client_id, first, end)
    if "days" in names and source in ("person_events", "api_events"):
        # what is set against observed days leaves others out
        rows = _observed(portfolio, client_id, rows)
    return Trace(
        figure, value, "counted", definition, first, end, ROWS[source], formula, rows, names
    )


def _names(
    portfolio: Portfolio, name: str, client_id: str, start: dt.date, end: dt.date
) -> tuple[dt.date, dict[str, Any]]:
    """The first day whose rows are needed, and what the expression names beside them."""
    first = first_day(portfolio, name, client_id, start, end)
    names: dict[str, Any] = {
        "start": pd.Timestamp(start),
        "days": _lived_days(portfolio, client_id, start, end),
    }
    if name == "usage_vs_own_baseline":
        names["days_before"] = _lived_days(portfolio, client_id, first, start)
        past = Spans(np.zeros(1, np.int64), *(np.array([epoch_day(day)]) for day in (first, start)))
        count = counting(portfolio, [client_id], start, end)
        names["lost"] = int(lost_activity(count, past)[0])
    elif name == "stickiness":
        dates = pd.Series(pd.date_range(start, end - DAY))
        names["dates"] = dates[~dates.isin(_missing(portfolio, client_id))].tolist()
        names["unknown"] = dict(
            zip(dates, _unknown_users(portfolio, client_id, dates, 30), strict=True)
        )
    elif name == "sessions_per_user_per_week":
        names["active_users"] = rows_of(portfolio, "person_events", client_id, start, end)[
            "user_id"
        ].nunique()
        last = pd.Series([pd.Timestamp(end - DAY)])
        (names["unknown"],) = _unknown_users(portfolio, client_id, last, (end - start).days)
    elif name in ("nps", "nps_respondents"):
        spans = Spans(np.zeros(1, np.int64), *(np.array([epoch_day(day)]) for day in (start, end)))
        names["doubtful"] = int(doubtful(counting(portfolio, [client_id], start, end), spans)[0])
    elif name == "resurrected_users":
        names["before"] = pd.Timestamp(start - (end - start))
    elif name in ("features_adopted", "feature_adoption_rate"):
        usable = usable_features(portfolio, [client_id], end - DAY)["feature"]
        names["usable"] = sorted(set(usable))
        names["min_days"] = portfolio.settings.adopted_min_days
        names["min_users"] = portfolio.settings.adopted_min_users
    elif name == "paid_on_time_share":
        names["end"] = pd.Timestamp(end)
        names["grace"] = pd.Timedelta(days=portfolio.settings.paid_late_days)
    formula = RECOUNT[name][1]
    return first, {key: value for key, value in names.items() if key in formula}


def first_day(
    portfolio: Portfolio, name: str, client_id: str, start: dt.date, end: dt.date
) -> dt.date:
    """The first day whose rows a metric over ``[start, end)`` needs."""
    if name == "usage_vs_own_baseline":
        length = portfolio.settings.own_baseline_days
        span = observed_spans(portfolio, [client_id], start - DAY, length)
        return max(span["start"].iloc[0], portfolio.first_event_day)
    if name == "stickiness":
        return start - 29 * DAY
    if name in ("returning_users", "dormant_users"):
        return start - (end - start)
    return portfolio.first_event_day if name in ("new_users", "resurrected_users") else start


def _unknown_users(portfolio: Portfolio, client_id: str, days: pd.Series, length: int) -> list[int]:
    """By day, 1 where another user may have been active in the days that end with it."""
    first, last = days.iloc[0].date(), days.iloc[-1].date()
    count = counting(portfolio, [client_id], first - length * DAY, last + DAY)
    ends = np.array([epoch_day(day.date()) + 1 for day in days])
    table = unknown_users(count, length)
    return count.at(table, np.zeros(len(ends), np.int64), ends).tolist()


def is_api_only(portfolio: Portfolio, client_id: str, start: dt.date, end: dt.date) -> bool:
    """Whether the customer is judged by its API events at the end of a span."""
    spans = pd.DataFrame({"client_id": [client_id], "span_id": 0, "start": [start], "end": [end]})
    return bool(over(portfolio, spans, ["api_only"])["api_only"].iloc[0] == 1)


def trace_metric(
    portfolio: Portfolio, figure: str, value: Any, name: str, client_id: str, day: dt.date
) -> Trace:
    """The trace of a column of the panel on a day. Raises InvalidParameters for an unknown metric."""
    metric = catalog.get(name)
    if metric.count is None:
        return _trace_derived(portfolio, figure, value, metric, client_id, day)
    if name == "days_since_last_person_event":
        return _trace_silence(portfolio, figure, value, metric, client_id, day)
    start, end = window_of(portfolio, metric, client_id, day)
    if name == "open_high_tickets":
        rows = rows_of(portfolio, "tickets_open", client_id, start, end)
        return Trace(
            figure,
            value,
            "counted",
            metric.definition,
            start,
            end,
            ROWS["tickets_open"],
            f"({HIGH}).sum()",
            rows,
            {"end": pd.Timestamp(end)},
        )
    if name == "worst_days_overdue":
        return _trace_overdue(portfolio, figure, value, metric, client_id, day)
    return trace_span(portfolio, figure, value, metric.over_spans, client_id, start, end)


def window_of(
    portfolio: Portfolio, metric: catalog.Metric, client_id: str, day: dt.date
) -> tuple[dt.date, dt.date]:
    """The days ``[start, end)`` of a column of the panel on a day: of events, the observed ones."""
    window = metric.window_days or 1
    if metric.from_events:
        span = observed_spans(portfolio, [client_id], day, window).iloc[0]
        return span["start"], span["end"]
    return day + DAY - window * DAY, day + DAY


def _trace_derived(
    portfolio: Portfolio,
    figure: str,
    value: Any,
    metric: catalog.Metric,
    client_id: str,
    day: dt.date,
) -> Trace:
    """A share of seats recounts from its users; other derived metrics name what they rest on."""
    users = {
        "seat_utilisation": "monthly_active_users",
        "weekly_active_users_per_seat": "weekly_active_users",
    }
    if metric.name in users:
        from healthseg.metrics.panels import panel

        behind = trace_metric(portfolio, figure, value, users[metric.name], client_id, day)
        seats = float(panel(portfolio, [day], [client_id])["seats"].iloc[0])
        return Trace(
            figure,
            value,
            "counted",
            metric.definition,
            behind.start,
            behind.end,
            behind.query,
            f"{behind.formula} / seats",
            behind.rows,
            {"seats": seats},
        )
    if metric.name == "tickets_per_10_mau_90d":
        from healthseg.metrics.panels import panel

        behind = trace_metric(portfolio, figure, value, "tickets_90d", client_id, day)
        users_now = float(panel(portfolio, [day], [client_id])["monthly_active_users"].iloc[0])
        return replace(
            behind,
            definition=metric.definition,
            formula=f"10 * {behind.formula} / monthly_active_users",
            names={**behind.names, "monthly_active_users": users_now},
        )
    return Trace(figure, value, "counted", metric.definition, end=day + DAY, rests_on=metric.tables)


def _trace_silence(
    portfolio: Portfolio,
    figure: str,
    value: Any,
    metric: catalog.Metric,
    client_id: str,
    day: dt.date,
) -> Trace:
    """All events of persons to the last whole day; the last of them tells the days since, less missing ones."""
    observed, k = ObservedDays(portfolio, [client_id]), np.zeros(1, np.int64)
    end = int(observed.until(k, np.array([epoch_day(day) + 1]))[0])
    last = dt.date(1970, 1, 1) + (end - 1) * DAY
    programs = is_api_only(portfolio, client_id, last, last + DAY)
    source = "api_events" if programs else "person_events"
    rows = rows_of(portfolio, source, client_id, portfolio.first_event_day, last + DAY)
    seen = pd.Timestamp(rows["occurred_day"].max()).date() if len(rows) else None
    since = epoch_day(seen) + 1 if seen else end
    missing = int(observed.missing(k, np.array([since]), np.array([end]))[0])
    names = {"last_day": pd.Timestamp(last), "missing": missing}
    formula = "(last_day - pd.to_datetime(rows['occurred_day']).max()).days - missing"
    return Trace(
        figure,
        value,
        "counted",
        metric.definition,
        portfolio.first_event_day,
        last + DAY,
        ROWS[source],
        formula if seen else "",
        rows,
        names,
        () if seen else ("signup_date",),
    )


def _trace_overdue(
    portfolio: Portfolio,
    figure: str,
    value: Any,
    metric: catalog.Metric,
    client_id: str,
    day: dt.date,
) -> Trace:
    """The invoices of which an amount is open after payments and credit notes; ``until`` is their due date."""
    rows = rows_behind(portfolio, "invoices_due", day, [client_id])
    formula = "max((day - rows['until']).dt.days.max(), 0) if len(rows) else 0"
    return Trace(
        figure,
        value,
        "counted",
        metric.definition,
        None,
        day + DAY,
        ROWS["invoices"],
        formula,
        rows,
        {"day": pd.Timestamp(day)},
    )


def _lived_days(portfolio: Portfolio, client_id: str, start: dt.date, end: dt.date) -> int:
    """Observed days of ``[start, end)`` since the customer signed up."""
    signup = pd.Timestamp(portfolio.client(client_id)["signup_date"]).date()
    first = max(start, signup)
    days = [np.array([epoch_day(day)]) for day in (first, end)]
    missing = ObservedDays(portfolio, [client_id]).missing(np.zeros(1, np.int64), *days)
    return (end - first).days - int(missing[0])


def _missing(portfolio: Portfolio, client_id: str) -> pd.Series:
    """The days on which the customer's events are missing."""
    zone = portfolio.client(client_id).get("timezone") or portfolio.settings.default_timezone
    return pd.to_datetime(pd.Series(portfolio.extent.missing_days(zone), dtype=object))


def _observed(portfolio: Portfolio, client_id: str, rows: pd.DataFrame) -> pd.DataFrame:
    missing = pd.to_datetime(rows["occurred_day"]).isin(_missing(portfolio, client_id))
    return rows[~missing].reset_index(drop=True)


def require_figure(path: str, paths: list[str]) -> None:
    """Raises InvalidParameters, with the nearest path, for a figure that a response does not have."""
    if path not in paths:
        raise InvalidParameters(
            f"the response has no figure {path!r}{hint(path, paths)}",
            parameter="figure",
            value_provided=path,
            validation_rule="the path of a figure, as health_metrics.weekly_active_users or components[0].score",
        )
