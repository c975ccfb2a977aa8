"""What an unknown value does, column by column: the table of docs/data.md, from the contracts."""

from __future__ import annotations

from healthseg.data.tables import TABLES, Column, Table

START, END = "<!-- Unknown values, written by healthseg.data.unknown.with_table -->", "<!-- End -->"
# where more follows than that the value is unknown
EFFECTS = {
    "customers.arr": "ARR is not measured, unless contracts or arr_changes have it",
    "customers.seats": "seats are not measured, unless contracts have them",
    "customers.churned_on": "the customer has churned where arr_changes or stage_changes say so; where it can't be "
    "read, ARR is not measured",
    "customers.notice_on": "no date; where it can't be read, the lowest possible score allows for a notice",
    "customers.timezone": "days are those of `default_timezone`; where it can't be read, what depends on days is not measured",
    "customers.currency": "the amount is in `reporting_currency`, if one is set",
    "customer_changes.value": "the change says nothing; an amount that can't be read leaves ARR unmeasured",
    "contracts.ends_on": "the contract is open; where it can't be read, ARR, seats and renewal are not measured",
    "contracts.contract_id": "rows with the same start and end are versions of one; where most contracts have an id, ARR and seats are not "
    "measured beside another contract",
    "contracts.seats": "its seats are not measured",
    "events.user_id": "activity counts, users do not",
    "events.feature": "the event is of no feature",
    "events.session_id": "pauses separate sessions; on a day of a user whose other events have one, or the day after, none begins",
    "events.duration_seconds": "the event lasts no time",
    "events.event_id": "identical rows of one instant are one event",
    "events.source": "no person's: counted in `other_events`; a person's where no row of the file names one",
    "events.count": "the row is left out, and the own baseline is not measured; an empty one is one event, unless other rows have counts and it is of a whole day",
    "users.created_at": "the user is provisioned all the time",
    "users.deactivated_at": "the user is active",
    "tickets.severity": "an open ticket of unknown severity is open, and `open_high_tickets` is not measured",
    "tickets.resolved_at": "the ticket is open",
    "tickets.csat": "no answer; where it can't be read, the customer's CSAT is not measured",
    "surveys.score": "the row is not used; answers whose scale is unclear (`csat_scale`, `nps_scale`) are not measured",
    "surveys.user_id": "a respondent of its own; where most answers have a user, the best answer is left out",
    "invoices.paid_on": "the invoice is unpaid",
    "arr_changes.arr": "0 where the reason is churn; else the row is not used",
    "entitlements.ends_on": "the entitlement continues",
    "milestone_progress.completed_at": "the milestone is not completed",
}


def effect(table: Table, column: Column) -> str:
    """What an empty or unusable value of a column does.

    >>> effect(TABLES["tickets"], TABLES["tickets"].column("opened_at"))
    'the row is not used'
    """
    if f"{table.name}.{column.name}" in EFFECTS:
        return EFFECTS[f"{table.name}.{column.name}"]
    if column.required:
        return "the row is not used"
    return "no date" if column.kind in ("date", "timestamp") else "unknown"


def table_text() -> str:
    """The table in Markdown: a row a table and effect."""
    lines = ["| table | column | where its value is unknown |", "|---|---|---|"]
    for table in TABLES.values():
        effects: dict[str, list[str]] = {}
        for column in table.columns:
            effects.setdefault(effect(table, column), []).append(f"`{column.name}`")
        lines += [
            f"| {table.name} | {', '.join(names)} | {text} |" for text, names in effects.items()
        ]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The text of docs/data.md with the table between its two comments."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n\n{table_text()}\n\n{END}{tail}"
