"""Which rows are behind a figure of a response: from its path to the metric and the window that it was counted over."""

from __future__ import annotations

import datetime as dt
import re
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from healthseg.data.behind import ROWS, how_many, rows_of
from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError
from healthseg.metrics import catalog
from healthseg.metrics.counting import observed_spans
from healthseg.metrics.money_rows import rows_behind
from healthseg.metrics.traces import (
    RECOUNT,
    Trace,
    first_day,
    require_figure,
    trace_metric,
    trace_span,
    window_of,
)
from healthseg.tools.trace_frames import (
    candidates,
    description,
    field_of,
    nearest_field,
    of_frame,
    parent_field,
    statement,
)

DAY = dt.timedelta(days=1)
# by tool, the figures that are a column of the panel on the day that is shown
PANEL = {
    "calculate_health_score": {
        "health_metrics.weekly_active_users": "weekly_active_users",
        "health_metrics.feature_adoption_rate": "feature_adoption_rate_30d",
        "health_metrics.open_tickets": "open_tickets",
        "health_metrics.nps_score": "nps_365d",
        "health_metrics.nps_respondents": "nps_respondents_365d",
        "health_metrics.days_overdue": "worst_days_overdue",
    },
    "track_usage_engagement": {
        "engagement_metrics.weekly_active_users": "weekly_active_users",
        "engagement_metrics.monthly_active_users": "monthly_active_users",
        "engagement_metrics.feature_adoption_rate": "feature_adoption_rate_30d",
        "engagement_metrics.seat_utilisation": "seat_utilisation",
        "dependence.monthly_active_users": "monthly_active_users",
        "dependence.top_user_share": "top_user_share_28d",
        "own_baseline.ratio": "usage_vs_own_baseline",
    },
}
# figures over the response's own period, by the metric's name over spans
PERIOD = {
    "engagement_metrics.daily_active_users": "daily_active_users",
    "engagement_metrics.active_users": "active_users",
    "engagement_metrics.average_session_duration_minutes": "average_session_minutes",
    "engagement_metrics.stickiness": "stickiness",
    "engagement_metrics.sessions_per_user_per_week": "sessions_per_user_per_week",
    "usage_analytics.total_sessions": "sessions",
    "usage_analytics.unique_features_used": "unique_features_used",
    "usage_analytics.api_calls_count": "api_events",
    "usage_analytics.person_events": "person_events",
    "usage_analytics.active_days": "active_days",
}
# figures that are words or sums of a table's rows
STAGE = "rows['stage'].iloc[-1]"
# figures of the list of customers whose name is not the metric's
CUSTOMERS = {
    "person_events": "person_events_28d",
    "days_since_last": "days_since_last_person_event",
    "top_user_share": "top_user_share_28d",
    "usage_ratio": "usage_vs_own_baseline",
}
TABLE = {
    "current_stage": "stage_changes",
    "days_in_current_stage": "stage_changes",
    "health_metrics.payment_status": "invoices",
}
# figures in money, by the end of their path: what ``money_rows`` calls them, the expression
ARR = "rows['converted'].sum()"
_BY_DAY = "rows.pivot_table(index='client_id', columns='date', values='converted', aggfunc='sum').fillna(0)"
MONEY = {
    "total_arr": ("arr", ARR),
    "current_arr": ("arr", ARR),
    "arr": ("arr", ARR),
    "retention.nrr": (
        "nrr",
        f"(lambda arr: arr.iloc[:, 1].sum() / arr.iloc[:, 0].sum())({_BY_DAY})",
    ),
    "retention.grr": (
        "grr",
        f"(lambda arr: arr.min(axis=1).sum() / arr.iloc[:, 0].sum())({_BY_DAY})",
    ),
}
FEATURE = {
    "person_events": "rows['count'].fillna(1).sum()",
    "active_users": "rows['user_id'].nunique()",
    "active_days": "rows['occurred_day'].nunique()",
}


@dataclass(frozen=True)
class Origin:
    """Where a result came from: its portfolio while that is in use, else its address; and the arguments."""

    path: str
    settings: Any
    arguments: Mapping[str, Any]
    tool: str
    _open: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, portfolio: Portfolio, arguments: Mapping[str, Any], tool: str) -> Origin:
        return cls(
            str(portfolio.path), portfolio.settings, dict(arguments), tool, weakref.ref(portfolio)
        )

    def portfolio(self) -> Portfolio:
        """The portfolio, opened again where it is no longer in use."""
        known = self._open() if self._open is not None else None
        return known if known is not None else Portfolio.open(self.path, self.settings)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


def figures(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The path and value of every number, word and date of a result."""
    if isinstance(value, BaseModel):
        items = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from figures(item, f"{path}[{index}]")
        return
    else:
        yield path, value
        return
    for name, item in items:
        yield from figures(item, f"{path}.{name}" if path else str(name))


@dataclass(frozen=True)
class Source:
    """Where a counted figure of a result comes from, without its rows."""

    path: str
    label: str
    definition: str
    window: str
    query: str
    formula: str
    behind: int
    unit: str

    @property
    def call(self) -> str:
        """The call that gives the rows."""
        return f'result.trace("{self.path}").rows'


def sources(result: Any) -> list[Source]:
    """The figures of a result that ``trace`` counts again from a table's rows: definition, window, query and expression.

    With how many rows are behind each, or how many events, which the facts know: events are not read.
    """
    origin, client_id = getattr(result, "_origin", None), getattr(result, "client_id", None)
    if origin is None or client_id is None:
        return []
    values = dict(figures(result))
    known = {path: (name, True) for path, name in PANEL.get(origin.tool, {}).items()}
    if origin.tool == "track_usage_engagement":
        known |= {path: (name, False) for path, name in PERIOD.items()}
    for path in values:
        if re.fullmatch(r"components\[\d+\]\.metrics\[\d+\]\.value", path):
            known[path] = (parent_field(result, path, "metric"), True)
    portfolio, listed, seen = origin.portfolio(), [], set()
    day, numbers = _shown_day(origin, client_id, result.as_of), {}
    for path, (name, on_day) in known.items():
        metric = catalog.entry(name) or next(iter(catalog.known_over_spans([name])), None)
        if values.get(path) is None or metric is None or metric.over_spans not in RECOUNT:
            continue
        source, formula = RECOUNT[metric.over_spans]
        period = getattr(result, "analysis_period", None)
        dated = "$start" in ROWS[source]
        window = f"{metric.window_days} days to the day shown" if dated else "the day shown"
        start, end = window_of(portfolio, metric, client_id, day)
        if not on_day and period is not None:
            start, end = period.effective_start, period.effective_end
            window = f"{start} to {end} (exclusive)"
        if (metric.name, window) in seen:
            continue
        seen.add((metric.name, window))
        start = first_day(portfolio, metric.over_spans, client_id, start, end)
        if (source, start, end) not in numbers:
            numbers[source, start, end] = how_many(portfolio, source, client_id, start, end)
        behind, unit = numbers[source, start, end], "events" if "events" in source else "rows"
        listed.append(
            Source(
                path, metric.label, metric.definition, window, ROWS[source], formula, behind, unit
            )
        )
    return listed


def trace(result: Any, path: str) -> Trace:
    """The trace of a figure of a result; raises InvalidParameters for a path that it does not have."""
    origin = result._origin
    if origin is None:
        raise DataRetrievalError(
            "this result was not returned by a tool: it has no rows to trace to"
        )
    values = dict(figures(result))
    path = path.removeprefix("$.")
    if path not in values and (known := of_frame(result, origin.portfolio(), path)) is not None:
        return known
    require_figure(path, list(values))
    value = values[path]
    for find in (_money, _counted):
        known = find(result, origin, path, value)
        if known is not None and (known.holds() if known.formula else len(known.rows)):
            return known
    if isinstance(value, int | float) and not isinstance(value, bool):
        for candidate in candidates(result, origin.portfolio(), path, value):
            if candidate.holds():
                return candidate
    return _modelled(result, path, value)


def _money(result: Any, origin: Origin, path: str, value: Any) -> Trace | None:
    """ARR and retention: of the customer that the figure belongs to, else of all live ones."""
    name = next((name for name in MONEY if path == name or path.endswith(f".{name}")), None)
    client_id = getattr(result, "client_id", None) or parent_field(result, path, "client_id")
    if value is None or name is None or (client_id is None and path != name):
        return None
    figure, formula = MONEY[name]
    portfolio = origin.portfolio()
    clients = [client_id] if isinstance(client_id, str) else None
    rows = rows_behind(portfolio, figure, result.as_of, clients)
    if formula == ARR and not np.isclose(rows["converted"].sum(), float(value), atol=0.01):
        formula = "rows['amount'].sum()"  # in the customer's own currency
    formula = formula if len(rows) else ""
    query = f"statements of {', '.join(sorted(set(rows['table'])))}" if len(rows) else ""
    end = result.as_of + DAY
    return Trace(path, value, "counted", description(result, path), None, end, query, formula, rows)


def _counted(result: Any, origin: Origin, path: str, value: Any) -> Trace | None:
    client_id = getattr(result, "client_id", None) or nearest_field(result, path, "client_id")
    if value is None or not isinstance(client_id, str):
        return None
    portfolio, day = origin.portfolio(), _shown_day(origin, client_id, result.as_of)
    panel = PANEL.get(origin.tool, {})
    if path in panel:
        return trace_metric(portfolio, path, value, panel[path], client_id, day)
    if origin.tool == "calculate_health_score" and path == "health_metrics.support_ticket_count":
        start = day + DAY - origin.arguments["lookback_period_days"] * DAY
        return trace_span(portfolio, path, value, "tickets_opened", client_id, start, day + DAY)
    metric = parent_field(result, path, "metric")
    if path.endswith(".value") and catalog.entry(metric):
        return trace_metric(portfolio, path, value, metric, client_id, day)
    if origin.tool == "track_usage_engagement" and (
        usage := _usage(result, portfolio, path, value)
    ):
        return usage
    name = re.sub(r"^customers\[\d+\]\.|^.*\.figures\.", "", path)
    name = CUSTOMERS.get(name, name) if name != path else name
    if origin.tool == "track_feature_adoption" and (
        feature := _feature(result, portfolio, path, value, day)
    ):
        return feature
    if path == "support_patterns.detail.tickets":
        start, end = result.analysis_period.start_date, result.analysis_period.end_date
        return trace_span(portfolio, path, value, "tickets_opened", client_id, start, end)
    if catalog.entry(name) and not isinstance(value, str):
        return trace_metric(portfolio, path, value, name, client_id, day)
    if name in TABLE:
        source = TABLE[name]
        rows, formula, names = rows_of(portfolio, source, client_id, day, day + DAY), "", {}
        if name == "current_stage" and len(rows):
            formula = STAGE
        if name == "days_in_current_stage" and len(rows):
            formula, names = (
                "(day - pd.to_datetime(rows['effective_day']).iloc[-1]).days",
                {"day": pd.Timestamp(day)},
            )
        return Trace(
            path,
            value,
            "counted",
            description(result, path),
            None,
            day + DAY,
            ROWS[source],
            formula,
            rows,
            names,
        )
    return None


def _usage(result: Any, portfolio: Portfolio, path: str, value: Any) -> Trace | None:
    """Figures of the period, of a day or week of the series, and of a feature."""
    period = result.analysis_period
    start, end = period.effective_start, period.effective_end
    if path in PERIOD:
        return trace_span(portfolio, path, value, PERIOD[path], result.client_id, start, end)
    week = re.fullmatch(r"growth_accounting\.(?:weeks\[\d+\]|period)\.(\w+)", path)
    if week and week[1] in ("active_users", "returning_users", "dormant_users"):
        first, after = (parent_field(result, path, name) for name in ("start", "end"))
        return trace_span(portfolio, path, value, week[1], result.client_id, first, after)
    if path == "usage_analytics.total_events":
        parts = [
            rows_of(portfolio, name, result.client_id, start, end)
            for name in ("person_events", "api_events")
        ]
        rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        formula, query = RECOUNT["person_events"][1], ROWS["person_events"]
        return Trace(
            path, value, "counted", description(result, path), start, end, query, formula, rows
        )
    grain = re.fullmatch(r"series\[(\d+)\]\.(person_events|api_events|active_users|sessions)", path)
    if grain and period.granularity != "hourly":
        row = result.series[int(grain[1])]
        first, after = (
            dt.date.fromisoformat(str(field_of(row, name))) for name in ("start", "end")
        )
        return trace_span(portfolio, path, value, grain[2], result.client_id, first, after)
    of_feature = re.fullmatch(r"feature_adoption_timeline\[(\d+)\]\.(\w+)", path)
    if of_feature and of_feature[2] in FEATURE:
        rows = rows_of(portfolio, "person_events", result.client_id, start, end)
        feature = result.feature_adoption_timeline[int(of_feature[1])].feature
        rows = rows[rows["feature"].astype("str") == feature].reset_index(drop=True)
        formula, query = FEATURE[of_feature[2]], ROWS["person_events"] + f"; feature = {feature!r}"
        return Trace(
            path, value, "counted", description(result, path), start, end, query, formula, rows
        )
    return None


def _feature(
    result: Any, portfolio: Portfolio, path: str, value: Any, day: dt.date
) -> Trace | None:
    """Users and events of a feature over the response's observed days."""
    match = re.fullmatch(r"feature_details\[(\d+)\]\.(users|events_per_adopter)", path)
    if match is None:
        return None
    span = observed_spans(portfolio, [result.client_id], day, result.analysis_period_days).iloc[0]
    rows = rows_of(portfolio, "person_events", result.client_id, span["start"], span["end"])
    feature = result.feature_details[int(match[1])].feature_name
    rows = rows[rows["feature"].astype("str") == feature].reset_index(drop=True)
    formula = FEATURE["active_users" if match[2] == "users" else "person_events"]
    query = ROWS["person_events"] + f"; feature = {feature!r}"
    definition = description(result, path)
    return Trace(
        path, value, "counted", definition, span["start"], span["end"], query, formula, rows
    )


def _modelled(result: Any, path: str, value: Any) -> Trace:
    """What a figure that is no count rests on: the frames of the result, which hold it unrounded with its parts."""
    generic_path = "$." + re.sub(r"\[\d+\]", "[*]", path)
    reason = result.not_measured.get(generic_path) if value is None else None
    rests_on = (reason,) if reason else tuple(f'result.frame("{name}")' for name in result.frames)
    kind, words = statement(path) or ("derived", "")
    kind = "not measured" if value is None else kind
    if words and not reason:  # the accounting of the tables is in no frame of the result
        rests_on = (words,) if path.startswith("data_quality.") else (words, *rests_on)
    return Trace(
        path, value, kind, description(result, path), None, result.as_of + DAY, rests_on=rests_on
    )


def _shown_day(origin: Origin, client_id: str, as_of: dt.date) -> dt.date:
    from healthseg.tools.context import CustomerContext

    context = CustomerContext(origin.portfolio(), client_id, as_of)
    if origin.tool == "track_usage_engagement":
        end = origin.arguments.get("period_end")
        if end is not None:
            from healthseg.periods import as_date

            return min(as_date(end, "period_end") - DAY, context.last_day)
    return context.last_day
