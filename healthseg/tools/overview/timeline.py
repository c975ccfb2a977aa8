"""What happened with a customer in a year: what changed, day by day, and tickets, surveys and touches a line a month."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import Field

from healthseg.charts import formats
from healthseg.metrics.milestone_plan import date_of
from healthseg.metrics.milestones import states
from healthseg.metrics.stages import history
from healthseg.tools.base import Part
from healthseg.tools.values import day_of, word

if TYPE_CHECKING:
    from healthseg.tools.context import CustomerContext
    from healthseg.tools.overview.customer import Invoice360

YEAR_DAYS = 365
SEVERE = ("high", "critical")
TOPICS_NAMED = 3


class TimelineEvent(Part):
    """What happened with the customer on a day, or how often in a month."""

    date: dt.date = Field(description="Day; of a month's records that of the last")
    kind: str = Field(
        description="contract, notice, stage, milestone, score, invoice, review, ticket, survey or touch"
    )
    text: str = Field(description="In words")
    records: int = Field(description="Rows of the tables that it stands for")
    notable: bool = Field(
        description="Whether it is a change, a severe ticket or an NPS answer; others are daily business"
    )


def timeline(
    context: CustomerContext,
    invoices: Sequence[Invoice360],
    scores: pd.DataFrame,
) -> list[TimelineEvent]:
    """The events of the last year, the newest first."""
    until = context.last_day
    events = [
        *_contracts(context),
        *_notice(context),
        *_stages(context),
        *_milestones(context),
        *_scores(scores, context.settings.notable_score_change),
        *_invoices(invoices, context.settings.notable_days_late),
        *_touches(context),
        *_tickets(context),
        *_surveys(context),
    ]
    recent = [
        event for event in events if until - dt.timedelta(days=YEAR_DAYS) < event.date <= until
    ]
    return sorted(recent, key=lambda event: (event.date, event.kind, event.text), reverse=True)


def _event(day: dt.date, kind: str, text: str, records: int = 1, notable: bool = True) -> Any:
    return TimelineEvent(date=day, kind=kind, text=text, records=records, notable=notable)


def _contracts(context: CustomerContext) -> Iterator[TimelineEvent]:
    """Each contract as it began, with the ARR of the one that it renews or amends where that differs."""
    rows = [row for row in rows_of(context, "contracts") if day_of(row["starts_on"])]
    ordered = sorted(rows, key=lambda row: str(row["starts_on"]))
    for at, row in enumerate(ordered):
        day, before = day_of(row["starts_on"]), _renewed(row, ordered[:at])
        assert day is not None
        now = formats.brief_money(row.get("arr"), row.get("currency"))
        then, more = (None if before is None else before.get("arr")), row.get("arr")
        if before is None:
            words = "First contract" if at == 0 else "Another contract"
        elif pd.isna(then) or pd.isna(more) or then == more:
            words = "Contract renewed"
        else:
            words = "Expansion" if float(more or 0) > float(then or 0) else "Contraction"
            now = f"{formats.brief_money(then, before.get('currency'))} to {now}"
        yield _event(day, "contract", words + (f": {now} ARR" if pd.notna(more) else ""))


def _renewed(row: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The contract before: the same one, the one that it replaces, or the last that had ended by then."""
    ids = {word(row.get("contract_id")), word(row.get("replaces"))} - {None}
    same = [other for other in earlier if word(other.get("contract_id")) in ids]
    start = pd.Timestamp(row["starts_on"])
    ended = [
        pd.notna(end := other.get("ends_on")) and pd.Timestamp(end) <= start for other in earlier
    ]
    return same[-1] if same else earlier[-1] if earlier and all(ended) else None


def _notice(context: CustomerContext) -> Iterator[TimelineEvent]:
    if context.notice_on is not None:
        yield _event(context.notice_on, "notice", "Notice given")


def _stages(context: CustomerContext) -> Iterator[TimelineEvent]:
    for change in history(context.portfolio).of(context.client_id):
        if change.stage:
            # of other stages the reason is what moved the customer: a rule, or a judgement
            reason = word(change.reason) if change.stage == "churned" else None
            words = formats.sentence(formats.words(change.stage))
            why = f": {formats.words(reason)}" if reason else ""
            yield _event(change.effective_at.date(), "stage", words + why)


def _milestones(context: CustomerContext) -> Iterator[TimelineEvent]:
    rows = states(context.portfolio, context.as_of)
    rows = rows[(rows["client_id"] == context.client_id) & rows["completed_day"].notna()]
    for row in rows.to_dict("records"):
        day = date_of(row["completed_day"])
        if day is not None:
            yield _event(day, "milestone", f"{formats.plain(row['name'])}: completed")


def _scores(scores: pd.DataFrame, points: float) -> Iterator[TimelineEvent]:
    """Months over which the score changed by as many points or more."""
    known = scores.dropna(subset="shown")
    months = known.groupby(known["date"].dt.to_period("M"))[["date", "shown"]].last()
    for before, row in itertools.pairwise(months.to_dict("records")):
        then, now = (round(float(each["shown"])) for each in (before, row))
        if abs(now - then) >= points:
            way = "up" if now > then else "down"
            words = f"Score {now}, {way} {abs(now - then)} since {formats.day(before['date'])}"
            yield _event(row["date"].date(), "score", words)


def _invoices(invoices: Sequence[Invoice360], days: int) -> Iterator[TimelineEvent]:
    for item in invoices:
        if item.days_late >= days:
            late = formats.written(item.days_late, "number day")
            end = f"paid {late} late" if item.paid_on else f"{late} overdue"
            amount = formats.brief_money(item.amount, item.currency)
            yield _event(item.due_on, "invoice", f"Invoice of {amount} due, {end}")


def _touches(context: CustomerContext) -> Iterator[TimelineEvent]:
    reviews = context.settings.review_kinds
    rows = [
        (day_of(row["happened_at"]), str(row["kind"])) for row in rows_of(context, "interventions")
    ]
    for day, kind in rows:
        if day is not None and kind in reviews:
            yield _event(day, "review", formats.sentence(formats.words(kind)))
    others = [(day, kind) for day, kind in rows if kind not in reviews]
    for last, kinds in _by_month(others):
        yield _event(last, "touch", formats.sentence(_counted(kinds)), len(kinds), False)


def _tickets(context: CustomerContext) -> Iterator[TimelineEvent]:
    """Severe tickets and others, a line each a month, with their topics."""
    rows = [
        (day_of(row["opened_at"]), row.get("severity") in SEVERE, row)
        for row in rows_of(context, "tickets")
    ]
    for severe in (True, False):
        for last, month in _by_month([(day, row) for day, it, row in rows if it is severe]):
            topics = [topic for row in month if (topic := word(row.get("topic")))]
            about = f": {_counted(topics)}" if topics else ""
            if len(month) == 1:
                severity = word(month[0].get("severity"))
                what = f"{severity.capitalize()} ticket" if severity else "Ticket"
            else:
                what = (
                    f"{len(month)} {'high or critical' if severe else 'other'} tickets in {last:%B}"
                )
            yield _event(last, "ticket", what + about, len(month), severe)


def _surveys(context: CustomerContext) -> Iterator[TimelineEvent]:
    """Answers of each kind, a line a month."""
    rows = [row for row in rows_of(context, "surveys") if pd.notna(row["score"])]
    for kind in sorted({str(row["kind"]) for row in rows}):
        own = [
            (day_of(row["responded_at"]), float(row["score"]))
            for row in rows
            if row["kind"] == kind
        ]
        for last, answers in _by_month(own):
            name = kind.upper()
            low, high = (formats.number(edge(answers)) for edge in (min, max))
            average = formats.number(sum(answers) / len(answers), 1)
            if low == high:
                words = f"{name} {low}" + (f", {len(answers)} times" if len(answers) > 1 else "")
            else:
                words = f"{name} {low} to {high}, {average} on average ({len(answers)} answers)"
            yield _event(last, "survey", words, len(answers), kind == "nps")


def _by_month(rows: Sequence[tuple[dt.date | None, Any]]) -> Iterator[tuple[dt.date, list[Any]]]:
    """The values of each month with the last of its days."""
    known = sorted(((day, at) for at, (day, _) in enumerate(rows) if day is not None))
    for _, month in itertools.groupby(known, key=lambda row: (row[0].year, row[0].month)):
        days = list(month)
        yield days[-1][0], [rows[at][1] for _, at in days]


def _counted(names: Sequence[str]) -> str:
    """Names with how often, the most frequent first.

    >>> _counted(["login", "data_import", "login"])
    'login 2, data import'
    """
    common = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    listed = [f"{formats.words(name)}{f' {n}' if n > 1 else ''}" for name, n in common]
    more = [] if len(listed) <= TOPICS_NAMED else [f"{len(listed) - TOPICS_NAMED} more"]
    return ", ".join([*listed[:TOPICS_NAMED], *more])


def rows_of(context: CustomerContext, table: str) -> list[dict[str, Any]]:
    """The customer's rows of a table; none where there is no such table."""
    if not context.portfolio.has(table):
        return []
    rows = context.portfolio.table(table)
    own = rows[rows["client_id"].astype(str) == context.client_id]
    return [{str(key): value for key, value in row.items()} for row in own.to_dict("records")]
