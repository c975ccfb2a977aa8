"""Figures that are counted, or looked up, from a result's own frames, and in words what all others rest on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.data.behind import rows_of, rows_of_all
from healthseg.metrics.communication import answers_by_day
from healthseg.metrics.money_rows import rows_between
from healthseg.metrics.panels import panel
from healthseg.metrics.traces import DAY, Trace
from healthseg.periods import year_before
from healthseg.tools.context import PortfolioContext

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

# frames that a result does not have and that its figures are counted from
LIVE, EVERYONE, CUSTOMER = "live customers", "all customers", "the customer's metrics"
MOVES, MESSAGES, TICKETS = "ARR a year ago and now", "answered messages", "tickets of the period"
USER_DAYS, PERSON_EVENTS = "active users by day", "events of persons in the period"
_BY_DAY = (
    "rows.pivot_table(index='client_id', columns='date', values='converted', aggfunc='sum')"
    ".reindex(columns=pd.to_datetime(dates)).fillna(0)"
)


@dataclass(frozen=True)
class Counted:
    """Figures by the pattern of their paths, the frame that they are counted from, and the expression (``traces.toml``)."""

    path: str
    frame: str
    formula: str
    where: str = ""
    kind: str = "counted"


@cache
def tables() -> dict[str, Any]:
    """What ``traces.toml`` says."""
    file = resources.files("healthseg.tools").joinpath("traces.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


@cache
def counted_figures() -> tuple[Counted, ...]:
    return tuple(Counted(*row) for row in tables()["counted"])


def moved(formula: str) -> str:
    """An expression over ``then`` and ``now``, each customer's ARR on two days."""
    return f"(lambda arr: (lambda then, now: {formula})(arr.iloc[:, 0], arr.iloc[:, 1]))({_BY_DAY})"


def statement(path: str) -> tuple[str, str] | None:
    """The kind of a figure that no rows give, and in words what it rests on."""
    for pattern, kind, words in tables()["rests_on"]:
        if re.search(pattern, path):
            return kind, words
    return None


def candidates(result: Any, portfolio: Portfolio, path: str, value: Any) -> Iterator[Trace]:
    """Ways to count a figure again from a frame; the caller takes the first that gives it."""
    for counted in counted_figures():
        match = re.fullmatch(counted.path, path)
        if match is None:
            continue
        rows = _frame(result, portfolio, counted.frame)
        formula = moved(counted.formula) if counted.frame == MOVES else counted.formula
        for number, word in enumerate(match.groups(), 1):
            formula = formula.replace(f"{{{number}}}", str(word))
        query = f'result.frame("{counted.frame}")'
        if counted.frame not in result.frames:
            query = f"{counted.frame} on {result.as_of}"
        if rows is not None and counted.where:
            column, group = _condition(result, path, counted.where, match)
            if column and (group is None or column not in rows):
                continue
            if column:
                rows = rows[_slugs(rows[column]) == _slug(group)].reset_index(drop=True)
                query = f"{query}; {column} = {group!r}"
        if rows is not None:
            yield _trace(result, portfolio, path, value, counted.kind, query, formula, rows)
    if (looked_up := _row(result, portfolio, path, value)) is not None:
        yield looked_up


def _condition(result: Any, path: str, where: str, match: re.Match[str]) -> tuple[str, Any]:
    """The column, and its value in the rows that count (None: it is not known); "" where all count."""
    column, group = "", None
    for condition in where.split("|"):
        column, _, field = condition.partition("=")
        column = match[1] if column == "{1}" else column
        group = match[1] if field == "{1}" else nearest_field(result, path, field)
        if group is not None:
            break
    return column, group


def of_frame(result: Any, portfolio: Portfolio, path: str) -> Trace | None:
    """The trace of a field of a frame of the result, by the number of its row: ``revenue_by_month[11].nrr``.

    Raises no error: None where no frame has it.
    """
    match = re.fullmatch(r"(\w+)\[(\d+)\]\.(\w+)", path)
    if match is None or match[1] not in result.frames:
        return None
    frame, position = result.frame(match[1]), int(match[2])
    if match[3] not in frame or position >= len(frame):
        return None
    value = frame[match[3]].iloc[position]
    value = value.item() if hasattr(value, "item") else value
    movement = next(
        (
            each.formula
            for each in counted_figures()
            if re.fullmatch(each.path, f"retention.{match[3]}")
        ),
        "",
    )
    if match[1] == "revenue_by_month" and movement and not pd.isna(value):
        month = frame["month"].iloc[position].date()
        rates = {"nrr", "grr", "cohort"}
        since = year_before(month) if match[3] in rates else month.replace(day=1) - DAY
        rows = rows_between(portfolio, since, month, result.as_of)
        formula = moved(movement)
        traced = _trace(result, portfolio, path, value, "counted", "statements", formula, rows)
        traced = replace(traced, names={"dates": [since, month]}, start=since, end=month + DAY)
        if traced.holds():
            return traced
    query, formula = f'result.frame("{match[1]}")', f"rows['{match[3]}'].iloc[0]"
    rows = frame.iloc[[position]].reset_index(drop=True)
    kind = (statement(path) or ("derived", ""))[0]
    return _trace(result, portfolio, path, value, kind, query, formula, rows)


def _trace(
    result: Any,
    portfolio: Portfolio,
    path: str,
    value: Any,
    kind: str,
    query: str,
    formula: str,
    rows: pd.DataFrame,
) -> Trace:
    said = statement(path)
    rests_on = (said[1],) if kind != "counted" and said is not None else ()
    names: dict[str, Any] = {"of_part": _fields(_part(result, path))}
    names["dates"] = [year_before(result.as_of), result.as_of]
    if (days := getattr(result, "lookback_period_days", None)) is not None:
        last = pd.Timestamp(result.as_of)
        names["start"], names["before"] = (
            last - pd.Timedelta(days=n - 1) for n in (days, 2 * days)
        )
    for name in set(re.findall(r"(?<![\w.'\"\[])[a-z_]{4,}(?![\w'(=])", formula)) - {"rows"}:
        for owner in (result, portfolio.settings):
            if hasattr(owner, name):
                names[name] = getattr(owner, name)
                break
    names = {name: known for name, known in names.items() if name in formula}
    definition = description(result, path)
    return Trace(
        path,
        value,
        kind,
        definition,
        None,
        result.as_of + DAY,
        query,
        formula,
        rows,
        names,
        rests_on,
    )


def _row(result: Any, portfolio: Portfolio, path: str, value: Any) -> Trace | None:
    """A field of a list, as the row of the list's frame has it, unrounded."""
    match = re.fullmatch(r"(?:.*\.)?(\w+)\[(\d+)\]\.(\w+)", path)
    if match is None or match[1] not in tables()["lists"]:
        return None
    frame, keys = (tables()["lists"][match[1]][name] for name in ("frame", "keys"))
    if frame not in result.frames:
        return None
    rows, part = result.frame(frame), _fields(_part(result, path))
    column = match[3] if match[3] in rows else tables()["renamed"].get(match[3], "")
    if column not in rows or not all(field in part and key in rows for field, key in keys.items()):
        return None
    for field, key in keys.items():
        rows = rows[_slugs(rows[key]) == _slug(part[field])]
    if not len(rows):
        return None
    said = statement(path)
    query = f'result.frame("{frame}"); ' + ", ".join(
        f"{key} = {part[field]!r}" for field, key in keys.items()
    )
    kind = said[0] if said is not None and said[0] == "modelled" else "derived"
    return _trace(
        result,
        portfolio,
        path,
        value,
        kind,
        query,
        f"rows['{column}'].iloc[0]",
        rows.reset_index(drop=True),
    )


# -- frames that results do not have ---------------------------------------------------------


def _frame(result: Any, portfolio: Portfolio, name: str) -> pd.DataFrame | None:
    if name in result.frames:
        return result.frame(name)
    build = BUILT.get(name)
    return None if build is None else build(result, portfolio)


def _live(result: Any, portfolio: Portfolio) -> pd.DataFrame:
    """The live customers with their metrics and ARR, those of the result where it lists them; with their group."""
    context = PortfolioContext.of(portfolio, result.as_of)
    rows = context.live.assign(arr=context.money.amounts)
    rows = rows.drop(columns="client_id", errors="ignore").rename_axis("client_id").reset_index()
    if "customers" not in result.frames or "client_id" not in (own := result.frame("customers")):
        return rows
    groups = [name for name in ("client_id", "tier", "segment_id") if name in own]
    rows = rows.drop(columns=[name for name in groups[1:] if name in rows])
    shown = own[groups]
    return shown.merge(rows, on="client_id", how="left" if len(own) == len(rows) else "inner")


def _everyone(result: Any, portfolio: Portfolio) -> pd.DataFrame:
    """All customers of the portfolio; ``live`` and ``stage`` are of those that had signed up."""
    rows = PortfolioContext.of(portfolio, result.as_of).everyone(result.as_of)
    known = portfolio.table("customers")[["client_id", "signup_date"]]
    return known.merge(
        rows[["live", "stage"]], left_on="client_id", right_index=True, how="left"
    ).assign(signup_date=lambda frame: pd.to_datetime(frame["signup_date"]))


def _moves(result: Any, portfolio: Portfolio) -> pd.DataFrame:
    """The statements behind the ARR a year ago and now, with the tier of a year ago."""
    as_of = result.as_of
    rows = rows_between(portfolio, year_before(as_of), as_of, as_of)
    tiers = getattr(result, "value_tiers", None)
    if tiers:
        then = rows[rows["date"] == rows["date"].min()].groupby("client_id")["converted"].sum()
        names = {}
        for client_id, amount in then[then > 0].items():
            for tier in tiers:
                low, high = tier.above or 0.0, tier.up_to
                if amount > low and (high is None or amount <= high):
                    names[client_id] = tier.tier_name
        rows = rows.assign(tier_then=rows["client_id"].map(names))
    return rows


def _messages_sent(result: Any, portfolio: Portfolio) -> pd.DataFrame | None:
    """Messages of the period and how they were answered, by customer, channel, content and day."""
    period = getattr(result, "analysis_period", None)
    rows = None if period is None else answers_by_day(portfolio, period.start_date, period.end_date)
    if rows is None:
        return None
    if (client_id := getattr(result, "client_id", None)) is not None:
        rows = rows[rows["client_id"] == client_id]
    days = pd.Timestamp(1970, 1, 1) + pd.to_timedelta(rows["sent_day"], unit="D")
    return rows.assign(weekday=days.dt.day_name()).reset_index(drop=True)


def _tickets(result: Any, portfolio: Portfolio) -> pd.DataFrame | None:
    period = getattr(result, "analysis_period", None)
    if period is None or not portfolio.has("tickets"):
        return None
    return rows_of_all(portfolio, "tickets_opened", period.start_date, period.end_date)


def _user_days(result: Any, portfolio: Portfolio) -> pd.DataFrame:
    """Users of live customers by day on which they were active."""
    last = result.as_of + DAY
    rows = rows_of_all(portfolio, "user_days", portfolio.first_event_day, last)
    clients = _live(result, portfolio)["client_id"]
    return rows[rows["client_id"].isin(set(clients))].reset_index(drop=True)


def _person_events(result: Any, portfolio: Portfolio) -> pd.DataFrame | None:
    period = getattr(result, "analysis_period", None)
    if period is None or not hasattr(period, "effective_start"):
        return None
    days = period.effective_start, period.effective_end
    return rows_of(portfolio, "person_events", result.client_id, *days)


def _customer(result: Any, portfolio: Portfolio) -> pd.DataFrame:
    return panel(portfolio, [result.as_of], [result.client_id])


BUILT: dict[str, Callable[[Any, Any], pd.DataFrame | None]] = {
    LIVE: _live,
    EVERYONE: _everyone,
    MOVES: _moves,
    MESSAGES: _messages_sent,
    TICKETS: _tickets,
    USER_DAYS: _user_days,
    PERSON_EVENTS: _person_events,
    CUSTOMER: _customer,
}

# -- parts of results ------------------------------------------------------------------------


def _slug(value: Any) -> str:
    return re.sub(r"[ -]", "_", str(value).lower()).removesuffix("_00:00:00")


def _slugs(column: pd.Series) -> pd.Series:
    return column.astype(object).map(_slug)


def steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]


def field_of(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else getattr(part, name, None)


def _part(result: Any, path: str) -> Any:
    """The innermost part that holds a figure; None of a frame's."""
    part: Any = result
    for step in steps(path)[:-1]:
        if part is not None:
            part = part[step] if isinstance(step, int) else field_of(part, step)
    return part


def _fields(part: Any) -> dict[str, Any]:
    if isinstance(part, dict):
        return part
    names = getattr(type(part), "model_fields", {})
    return {name: getattr(part, name) for name in names}


def nearest_field(result: Any, path: str, name: str) -> Any:
    """A field of the innermost part around a figure that has it."""
    part, known = result, None
    for step in steps(path)[:-1]:
        part = part[step] if isinstance(step, int) else field_of(part, step)
        value = field_of(part, name) if not isinstance(part, list | tuple) else None
        known = value if value is not None else known
    return known


def parent_field(result: Any, path: str, name: str) -> Any:
    """A field of the innermost part that holds the figure."""
    return field_of(_part(result, path), name)


def description(result: Any, path: str) -> str:
    """The field's own description."""
    part = _part(result, path)
    fields, name = getattr(type(part), "model_fields", {}), str(steps(path)[-1])
    return str(fields[name].description) if name in fields else name.replace("_", " ")
