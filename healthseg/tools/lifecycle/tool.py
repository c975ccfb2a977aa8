"""manage_lifecycle_stages: in which stage is a customer, since when, is that usual, what does the next require?"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound, InvalidParameters, hint, require_known
from healthseg.metrics.stages import history, of_lifecycle, zones
from healthseg.periods import Moment, as_date, moment
from healthseg.settings.lifecycle import Stage
from healthseg.tools.base import ClientId, Day, Only, tool
from healthseg.tools.lifecycle.criteria import refuse_unmet
from healthseg.tools.lifecycle.customer import CustomerStage
from healthseg.tools.lifecycle.moves import (
    CORRECTION,
    LONGEST_REASON,
    TRANSITION,
    RequestedMove,
    record_move,
)
from healthseg.tools.lifecycle.portfolio import LifecycleOfPortfolio
from healthseg.tools.lifecycle.result import LifecycleStage, PortfolioLifecycle

Action = Literal["get_stage", "update_stage", "transition", "get_history"]
Instant = str | dt.date | dt.datetime | None
WRITES = {"update_stage": CORRECTION, "transition": TRANSITION}
ID_RULE = "^[A-Za-z0-9_.:-]{1,100}$"
MAX_ACTOR = 100
# reports only read: they don't take these
RECORDS: dict[str, Any] = {"json_schema_extra": {"records": True}}
Lifecycle = Annotated[
    str, Field(description="Name in the setting lifecycles; default the customers' own stages")
]
KnownAt = Annotated[
    Instant, Field(description="Read what was known by then; default all that is recorded")
]


@tool
def manage_lifecycle_stages(
    portfolio: Portfolio,
    client_id: ClientId,
    action: Annotated[Action, Field(description="What to do", **RECORDS)],
    new_stage: Annotated[
        Stage | str | None, Field(description="New stage (update_stage and transition)", **RECORDS)
    ] = None,
    transition_reason: Annotated[
        str | None, Field(description="Reason for the stage change", **RECORDS)
    ] = None,
    automated: Annotated[bool, Field(description="Automated transition", **RECORDS)] = False,
    notify_team: Annotated[bool, Field(description="Notify the CSM team", **RECORDS)] = True,
    *,
    lifecycle: Lifecycle = "",
    force: Annotated[
        bool,
        Field(description="Move although criteria are not met; needs a reason", **RECORDS),
    ] = False,
    effective_at: Annotated[
        Instant, Field(description="When it took effect; default now", **RECORDS)
    ] = None,
    known_at: KnownAt = None,
    request_id: Annotated[
        str | None, Field(description="The same id twice records once", **RECORDS)
    ] = None,
    actor: Annotated[str | None, Field(description="Who requests the change", **RECORDS)] = None,
    as_of: Annotated[
        Instant, Field(description="Date or instant to read at; default all that is recorded")
    ] = None,
) -> LifecycleStage:
    """In which stage is this customer, since when, is that usual, and what does the next stage require?

    ``get_stage`` and ``get_history`` read, at ``as_of`` (default: all that is recorded) and as it
    was known at ``known_at``. ``transition`` moves along the graph of the settings and triggers the
    stage's actions, through the outbox; where a criterion of the move is known not to be met it is
    refused, unless ``force`` is set and a reason given; ``update_stage`` corrects a record, to any stage, and
    triggers nothing. Both take effect at ``effective_at`` (default: now, by the portfolio's clock),
    and change nothing where the customer is in that stage already or ``request_id`` was recorded
    before (``changed`` is false). ``lifecycle`` names another one, with stages of its own (setting
    ``lifecycles``): its changes are recorded apart.

    Raises InvalidClientId, ClientNotFound, InvalidParameters (nothing is recorded then),
    DataRetrievalError (the ledger is locked or cannot be written), IntegrationError (its server
    does not answer). Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [f"2025-03-{day:02d} 09:00" for day in range(1, 31)]
    >>> portfolio = tiny_portfolio([("a", day, "u1") for day in days])
    >>> manage_lifecycle_stages(portfolio, "a", "get_stage").current_stage is None
    True
    >>> moved = manage_lifecycle_stages(
    ...     portfolio, "a", "transition", "trial", "asked for one", effective_at="2025-03-05")
    >>> moved.current_stage, moved.changed, moved.days_in_current_stage
    ('trial', True, 25)
    """
    portfolio.client(client_id)
    portfolio = of_lifecycle(portfolio, lifecycle)
    zone = zones(portfolio)[client_id]
    if action not in WRITES:
        changes = {
            "new_stage": new_stage,
            "transition_reason": transition_reason,
            "force": force or None,
            "effective_at": effective_at,
            "request_id": request_id,
            "actor": actor,
        }
        _refuse_changes(action, changes)
        at = _as_of(portfolio, client_id, zone, as_of)
        known = None if known_at is None else moment(known_at, zone, "known_at")
        return CustomerStage(portfolio, client_id, zone, at, known).result(action)
    _refuse_reading({"known_at": known_at, "as_of": as_of})
    stages = portfolio.settings.lifecycle.stages
    if new_stage is None:
        raise InvalidParameters(
            f"{action} needs new_stage",
            parameter="new_stage",
            validation_rule="one of " + ", ".join(stages),
        )
    require_known(
        new_stage,
        stages,
        f"Invalid new_stage: {new_stage[:80]!r}; it must be one of {', '.join(map(repr, stages))}",
        parameter="new_stage",
    )
    effective = None if effective_at is None else moment(effective_at, zone, "effective_at").first
    if action == "transition" and force and not transition_reason:
        raise InvalidParameters(
            "force needs a transition_reason: it is recorded with the change",
            parameter="transition_reason",
            validation_rule="a reason where criteria are not met",
        )
    if action == "transition" and not force:
        _refuse_unmet(portfolio, client_id, zone, new_stage, effective_at)
    request = RequestedMove(
        client_id,
        new_stage,
        WRITES[action],
        effective,
        checked_text(transition_reason),
        automated,
        _checked_actor(actor, automated),
        _checked_request_id(request_id),
    )
    move = record_move(portfolio, zone, request, notify_team)
    return CustomerStage(portfolio, client_id, zone).result(action, move)


@tool
def portfolio_lifecycle(
    portfolio: Portfolio,
    *,
    known_at: KnownAt = None,
    lifecycle: Lifecycle = "",
    only: Only = None,
    as_of: Annotated[
        Day, Field(description="Date, read to its end; default all that is recorded")
    ] = None,
) -> PortfolioLifecycle:
    """In which stages are the customers, how do they move, who is stuck, where do other data disagree?

    Without ``as_of`` stages are read from all that is recorded; figures end with the data. ``only`` shows some customers
    alone, those that churned too: moves and time in stage are theirs; ``lifecycle`` names another one than the customers' own.

    Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> portfolio_lifecycle(tiny_portfolio(events)).as_of.isoformat()
    '2025-03-28'
    """
    portfolio = of_lifecycle(portfolio, lifecycle)
    zone = portfolio.settings.default_timezone
    known = None if known_at is None else moment(known_at, zone, "known_at").last
    last = _last_recorded(portfolio, known)
    day = last if as_of is None else as_date(as_of)
    if not portfolio.data_until < day <= last:
        day = portfolio.as_of(as_of)
    return LifecycleOfPortfolio(portfolio, day, known, only).result()


def _refuse_unmet(
    portfolio: Portfolio, client_id: str, zone: str, stage: str, effective_at: Instant
) -> None:
    """Hold the criteria against what is known when the move takes effect; before the events nothing is."""
    at = None if effective_at is None else moment(effective_at, zone, "effective_at")
    if at is None or at.day >= portfolio.first_event_day:
        now = CustomerStage(portfolio, client_id, zone, at)
        refuse_unmet(portfolio, client_id, (now.stage, stage), now.since, now.day)


def _last_recorded(portfolio: Portfolio, known_by: dt.datetime | None = None) -> dt.date:
    """The last day for which the portfolio holds anything: the data's, or that of a later change of stage."""
    days = (
        change.day
        for change in history(portfolio).recorded
        if known_by is None or change.known_at <= known_by
    )
    return max((portfolio.data_until, *days))


def _as_of(portfolio: Portfolio, client_id: str, zone: str, value: Instant) -> Moment | None:
    """The moment to read at: within the data, or up to the last day on which anything was recorded."""
    if value is None:
        return None
    at = moment(value, zone, "as_of")
    signup = pd.Timestamp(portfolio.client(client_id)["signup_date"]).date()
    if at.day < signup:
        raise ClientNotFound(
            f"{client_id} signs up on {signup}, after {at.day}",
            parameter="client_id",
            value_provided=client_id,
            signup_date=str(signup),
            validation_rule="signed up by as_of",
        )
    if not portfolio.data_until < at.day <= _last_recorded(portfolio):
        portfolio.as_of(at.day)
    return at


def _refuse_reading(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            raise InvalidParameters(
                f"{name} is for reading; a change takes effect at effective_at",
                parameter=name,
                value_provided=str(value),
                validation_rule="only with get_stage or get_history",
            )


def _refuse_changes(action: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            raise InvalidParameters(
                f"{name} is for update_stage and transition; {action} only reads"
                f"{hint('transition', WRITES)}",
                parameter=name,
                value_provided=str(value)[:200],
                validation_rule="only with update_stage or transition",
            )


def checked_text(reason: str | None) -> str | None:
    """A reason that can be recorded: at most 2,000 characters, all printable.

    >>> checked_text("went live")
    'went live'
    """
    if reason is None:
        return None
    rule = f"at most {LONGEST_REASON:,} characters, no control characters"
    if len(reason) > LONGEST_REASON:
        raise InvalidParameters(
            f"transition_reason has {len(reason):,} characters; it may have {LONGEST_REASON:,}",
            parameter="transition_reason",
            value_provided=reason[:80],
            validation_rule=rule,
        )
    odd = next(
        (
            letter
            for letter in reason
            if unicodedata.category(letter) in ("Cc", "Cs")
            or letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        ),
        None,
    )
    if odd is not None:
        raise InvalidParameters(
            f"transition_reason holds the control character U+{ord(odd):04X}: leave it out",
            parameter="transition_reason",
            value_provided=repr(reason[:80]),
            validation_rule=rule,
        )
    return reason


def _checked_actor(actor: str | None, automated: bool) -> str:
    checked = checked_text(actor) or ("rule" if automated else "unknown")
    if len(checked) > MAX_ACTOR:
        raise InvalidParameters(
            f"actor may have {MAX_ACTOR} characters",
            parameter="actor",
            value_provided=checked[:80],
            validation_rule=f"at most {MAX_ACTOR} characters",
        )
    return checked


def _checked_request_id(request_id: str | None) -> str | None:
    if request_id is not None and not re.fullmatch(ID_RULE[1:-1], request_id):
        raise InvalidParameters(
            f"request_id {request_id[:80]!r} is not valid: 1 to 100 letters, digits, _ . : or -",
            parameter="request_id",
            value_provided=request_id[:200],
            validation_rule=ID_RULE,
        )
    return request_id
