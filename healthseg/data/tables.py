"""The contract of the tables: columns, types, allowed values, and from when each value was known.

``known_from`` of a column is the date column (of the same row) on whose day the
value became known; several names mean the first one that is given. ``STATIC``
values never change; ``SNAPSHOT`` values are today's and may not be read for past
dates. The table's own ``known_from`` is the day on which the row itself appears.

>>> TABLES["tickets"].column("csat").known_from
('resolved_at',)
>>> [column.name for column in TABLES["invoices"].columns if column.required]
['invoice_id', 'client_id', 'amount', 'issued_on', 'due_on']
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from healthseg.settings import SEVERITIES, STAGES

STATIC, SNAPSHOT = ("static",), ("snapshot",)
CLIENT_ID_RULE = r"^[a-zA-Z0-9_-]{1,100}$"
Kind = Literal[
    "id", "text", "zone", "currency", "timestamp", "date", "integer", "number", "boolean"
]
# the largest amount or number that can be true, and the longest single event
LARGEST, _MONTH_SECONDS, _MOST_SEATS = 1e12, 31 * 86_400, 1e8


def id_text(value: Any) -> Any:
    """An id as text where it is a whole number, also one that a column of floats made text; anything else as it is.

    >>> id_text(1001), id_text(1001.0), id_text("1001.0"), id_text("acme")
    ('1001', '1001', '1001', 'acme')
    """
    if isinstance(value, str):
        return value[:-2] if value.endswith(".0") and value[:-2].isdecimal() else value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    whole = isinstance(value, numbers.Real) and float(value).is_integer()
    return str(int(float(value))) if whole and not isinstance(value, bool) else value


@dataclass(frozen=True)
class Column:
    """One column. A bad value drops the row where it is required, else becomes null."""

    name: str
    kind: Kind
    required: bool = False
    known_from: tuple[str, ...] = ()
    allowed: tuple[str, ...] | None = None
    other: str | None = None  # stands for words that are not allowed, where they mean something
    low: float | str | None = None  # a word is the name of a setting with both ends
    high: float | None = None
    drops_row: bool = False  # whether an optional value that cannot be used leaves the row out
    default: str = ""  # SQL of the value where there is none
    rating: bool = False  # whether its numbers may be written as words, faces or stars

    @property
    def stem(self) -> str:
        """``opened`` for ``opened_at``: the stem of the day and time marks.

        >>> Column("opened_at", "timestamp").stem
        'opened'
        """
        return self.name.removesuffix("_at")


@dataclass(frozen=True)
class Order:
    """``later`` may not lie before ``earlier``; else the row is dropped, or the later value emptied."""

    earlier: str
    later: str
    drops_row: bool = True


@dataclass(frozen=True)
class TableContract:
    """One table. ``identical`` says what identical rows without a key are: one row
    (``state``), or one occurrence where they have a time of day (``instant``).

    Rows with one ``key`` are versions of one row: the one recorded last is used. ``statement`` names, in SQL, what
    versions of one statement share in a table that keeps them all, so that each date is read as it was known then."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    statement: tuple[str, ...] = ()
    required: bool = False
    identical: Literal["state", "instant"] = "state"
    orders: tuple[Order, ...] = ()

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def versioned(self) -> tuple[str, ...]:
        """SQL of what rows share of which one is used: the key, or a statement and the moment it was recorded."""
        if self.key:
            return tuple(f'"{name}"' for name in self.key)
        return (*self.statement, "recorded_at") if self.statement else ()

    @property
    def of_customers(self) -> bool:
        """Whether each row belongs to a customer."""
        return self.name != "customers" and "client_id" in self.names

    @property
    def recorded_on(self) -> tuple[str, ...]:
        """The columns whose day says when something about a customer was recorded."""
        if "client_id" not in self.names:
            return ()
        names = {name for column in self.columns for name in column.known_from}
        return tuple(name for name in self.names if name in names)

    @property
    def timestamps(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.kind == "timestamp")


def _column(word: str, known_from: str, marks: Mapping[str, Any]) -> Column:
    """A column from ``name[?]:kind[@known_from]``; without ``@`` it is known from the same day as its row."""
    head, _, rest = word.partition(":")
    kind, _, known = rest.partition("@")
    name, known_columns = head.removesuffix("?"), tuple((known or known_from).split("|"))
    required = not head.endswith("?")
    return Column(name, cast(Kind, kind), required, known_columns, **marks.get(name, {}))


# any table whose rows have versions may say when each was recorded
_RECORDED = " recorded_at?:timestamp@recorded_at updated_at?:timestamp@updated_at"


def _table(
    name: str,
    columns: str,
    known_from: str,
    *,
    key: str = "",
    marks: Mapping[str, Any] | None = None,
    **rest: Any,
) -> TableContract:
    if key or rest.get("statement"):
        words = _RECORDED.split()
        columns += "".join(f" {word}" for word in words if f" {word.split('?')[0]}?" not in columns)
    parsed = tuple(_column(word, known_from, marks or {}) for word in columns.split())
    return TableContract(name, parsed, key=tuple(key.split()), **rest)


_POSITIVE = {"low": 0, "high": LARGEST}
_SEATS = {"low": 0, "high": _MOST_SEATS}
TABLES: dict[str, TableContract] = {
    table.name: table
    for table in (
        _table(
            "customers",
            "client_id:id name?:text signup_date:date industry?:text region?:text plan?:text@snapshot"
            " arr?:number@snapshot"
            " currency?:currency@snapshot seats?:integer@snapshot renewal_date?:date@snapshot churned_on?:date@churned_on"
            " notice_on?:date@notice_on csm_id?:text@snapshot timezone?:zone parent_id?:text"
            " strategic_value?:number@snapshot potential_arr?:number@snapshot valid_from?:date@snapshot"
            " valid_to?:date@snapshot",
            "signup_date",
            key="client_id",
            required=True,
            orders=(Order("signup_date", "churned_on"),),
            marks={"seats": _SEATS, "arr": _POSITIVE},
        ),
        _table(
            "customer_changes",
            "client_id:id field:text value?:text effective_on:date recorded_at?:timestamp",
            "recorded_at|effective_on",
            statement=("client_id", "field", "effective_on"),
        ),
        _table(
            "contracts",
            "client_id:id starts_on:date ends_on?:date arr:number contract_id?:text replaces?:text signed_on?:date"
            " seats?:integer plan?:text currency?:currency renews_on?:date auto_renews?:boolean list_price?:number"
            " recorded_at?:timestamp",
            "recorded_at|signed_on|starts_on",
            statement=(
                "client_id",
                "contract_id",
                "starts_on",
                "CASE WHEN contract_id IS NULL THEN ends_on END",
            ),
            orders=(Order("starts_on", "ends_on"),),
            marks={"seats": _SEATS, "arr": _POSITIVE, "list_price": _POSITIVE},
        ),
        _table(
            "fx",
            "currency:currency on:date rate_to_book:number",
            "on",
            key="currency on",
            marks={"rate_to_book": _POSITIVE},
        ),
        _table(
            "events",
            "client_id:id occurred_at:timestamp user_id?:text feature?:text event?:text session_id?:text source?:text"
            " count?:integer duration_seconds?:number event_id?:text",
            "occurred_at",
            identical="instant",
            marks={
                "source": {"allowed": ("ui", "api", "other"), "other": "other"},
                "count": {"low": 0, "high": 1e9, "drops_row": True},
                "duration_seconds": {"low": 0, "high": _MONTH_SECONDS},
            },
        ),
        _table(
            "users",
            "user_id:text client_id:id role?:text@snapshot created_at?:timestamp"
            " deactivated_at?:timestamp@deactivated_at"
            " email_domain?:text",
            "created_at|static",
            key="client_id user_id",
            orders=(Order("created_at", "deactivated_at"),),
        ),
        _table(
            "features",
            "feature:text category:text released_on?:date recommended_position?:integer",
            "released_on|static",
            key="feature",
            marks={"category": {"allowed": ("core", "advanced", "premium")}},
        ),
        _table(
            "entitlements",
            "client_id:id feature:text starts_on?:date ends_on?:date@ends_on",
            "starts_on|static",
            orders=(Order("starts_on", "ends_on"),),
        ),
        _table(
            "tickets",
            "ticket_id:text client_id:id opened_at:timestamp user_id?:text feature?:text topic?:text"
            " severity?:text@severity_set_at|opened_at severity_set_at?:timestamp@severity_set_at"
            " first_response_at?:timestamp@first_response_at"
            " resolved_at?:timestamp@resolved_at csat?:number@resolved_at system?:text",
            "opened_at",
            key="client_id ticket_id system",
            orders=(
                Order("opened_at", "resolved_at"),
                Order("opened_at", "first_response_at", drops_row=False),
                Order("opened_at", "severity_set_at", drops_row=False),
            ),
            marks={
                "severity": {"allowed": SEVERITIES},
                "csat": {"low": "csat_range", "rating": True},
            },
        ),
        _table(
            "surveys",
            "client_id:id kind:text score:number responded_at:timestamp user_id?:text feature?:text",
            "responded_at",
            identical="instant",
            marks={"kind": {"allowed": ("nps", "csat")}, "score": {"low": 0, "rating": True}},
        ),
        _table(
            "invoices",
            "invoice_id:text client_id:id amount:number issued_on:date due_on:date paid_on?:date@paid_on"
            " paid_amount?:number@paid_on|issued_on system?:text",
            "issued_on",
            key="client_id invoice_id system",
            orders=(Order("issued_on", "due_on"),),
        ),
        _table(
            "arr_changes",
            "client_id:id effective_on:date arr?:number reason?:text recorded_at?:timestamp",
            "recorded_at|effective_on",
            statement=("client_id", "effective_on"),
            marks={
                "reason": {"allowed": ("new", "expansion", "contraction", "churn")},
                "arr": {**_POSITIVE, "default": "CASE WHEN reason = 'churn' THEN 0 END"},
            },
        ),
        _table(
            "milestones",
            "milestone_id:text name:text category:text target_days:integer required?:boolean depends_on?:text"
            " completes_when?:text marks?:text plans?:text applies_when?:text",
            "static",
            key="milestone_id",
            marks={
                "category": {"allowed": ("onboarding", "adoption", "expansion")},
                "target_days": _POSITIVE,
                "marks": {"allowed": ("first_value", "activation", "full_adoption")},
            },
        ),
        _table(
            "milestone_progress",
            "client_id:id milestone_id:text started_at?:timestamp@started_at completed_at?:timestamp@completed_at"
            " blocker?:text@blocked_since blocked_since?:timestamp@blocked_since"
            " blocker_cleared_at?:timestamp@blocker_cleared_at skipped_at?:timestamp@skipped_at owner?:text@snapshot",
            "started_at|blocked_since|skipped_at|completed_at|static",
            key="client_id milestone_id",
            orders=(
                Order("started_at", "completed_at"),
                Order("blocked_since", "blocker_cleared_at", drops_row=False),
            ),
        ),
        _table(
            "messages",
            "client_id:id channel:text content:text sent_at:timestamp user_id?:text feature?:text"
            " opened_at?:timestamp@opened_at clicked_at?:timestamp@clicked_at",
            "sent_at",
            identical="instant",
            orders=(
                Order("sent_at", "opened_at", drops_row=False),
                Order("sent_at", "clicked_at", drops_row=False),
            ),
        ),
        _table(
            "stage_changes",
            "client_id:id stage:text effective_at:timestamp recorded_at?:timestamp reason?:text automated?:boolean"
            " actor?:text",
            "recorded_at|effective_at",
            statement=("client_id", "effective_at"),
            marks={"stage": {"allowed": STAGES}},
        ),
        _table(
            "interventions",
            "client_id:id kind:text happened_at:timestamp",
            "happened_at",
            identical="instant",
        ),
        _table(
            "calendar",
            "starts_on:date ends_on?:date label:text",
            "starts_on",
            orders=(Order("starts_on", "ends_on"),),
        ),
        _table(
            "csms",
            "csm_id:text name?:text@snapshot tier?:text@snapshot capacity_hours?:number@snapshot contact?:text@snapshot",
            "static",
            key="csm_id",
            marks={"capacity_hours": _POSITIVE},
        ),
        _table(
            "benchmarks",
            "industry:text metric:text percentile:number value:number source:text",
            "static",
            key="industry metric percentile source",
            marks={"percentile": {"low": 0, "high": 100}},
        ),
        _table(
            "metrics_daily",
            "client_id:id date:date metric:text value?:number recorded_at?:timestamp",
            "recorded_at|date",
            statement=("client_id", "date", "metric"),
        ),
    )
}
