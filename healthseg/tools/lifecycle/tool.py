"""manage_lifecycle_stages: in which stage is a customer, since when, is that usual, what is missing for the next?"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import ClientNotFound, InvalidParameters, hint
from healthseg.metrics.stages import history, zones
from healthseg.periods import as_date
from healthseg.settings.lifecycle import STAGES
from healthseg.tools.lifecycle import answer as lifecycle_answer
from healthseg.tools.lifecycle import portfolio as lifecycle_portfolio
from healthseg.tools.lifecycle.moments import Moment, moment
from healthseg.tools.lifecycle.moves import CORRECTION, TRANSITION, Move, Wish, checked_reason
from healthseg.tools.lifecycle.recording import recorded
from healthseg.tools.lifecycle.result import LifecycleStage, PortfolioLifecycle
from healthseg.tools.lifecycle.subject import Subject
from healthseg.tools.parameters import Parameters, validated

Action = Literal["get_stage", "update_stage", "transition", "get_history"]
Stage = Literal[
    "prospect",
    "trial",
    "onboarding",
    "active",
    "engaged",
    "at_risk",
    "renewing",
    "expanded",
    "churned",
]
Instant = str | dt.date | dt.datetime | None
WRITES = {"update_stage": CORRECTION, "transition": TRANSITION}
ONLY_WRITES = ("new_stage", "transition_reason", "effective_at", "request_id", "actor")
ID_RULE = "^[A-Za-z0-9_.:-]{1,100}$"
RECORDS: dict[str, Any] = {
    "json_schema_extra": {"records": True}
}  # reports, which only read, don't take these


class CustomerParameters(Parameters):
    """Parameters of manage_lifecycle_stages."""

    client_id: str = Field(description="Customer identifier")
    action: Action = Field(description="What to do", **RECORDS)
    new_stage: Stage | None = Field(
        default=None, description="New stage (update_stage and transition)", **RECORDS
    )
    transition_reason: str | None = Field(
        default=None, description="Reason for the stage change", **RECORDS
    )
    automated: bool = Field(default=False, description="Automated transition", **RECORDS)
    notify_team: bool = Field(default=True, description="Notify the CSM team", **RECORDS)
    effective_at: Instant = Field(
        default=None, description="When it took effect; default now", **RECORDS
    )
    known_at: Instant = Field(
        default=None, description="Read what was known by then; default all that is recorded"
    )
    request_id: str | None = Field(
        default=None, description="The same id twice records once", **RECORDS
    )
    actor: str | None = Field(default=None, description="Who asks for the change", **RECORDS)
    as_of: Instant = Field(
        default=None, description="Date or instant to read at; default all that is recorded"
    )


class PortfolioParameters(Parameters):
    """Parameters of portfolio_lifecycle."""

    known_at: Instant = Field(
        default=None, description="Read what was known by then; default all that is recorded"
    )
    as_of: str | dt.date | None = Field(
        default=None, description="Date, read to its end; default all that is recorded"
    )


def manage_lifecycle_stages(
    portfolio: Portfolio,
    client_id: str,
    action: str,
    new_stage: str | None = None,
    transition_reason: str | None = None,
    automated: bool = False,
    notify_team: bool = True,
    *,
    effective_at: Instant = None,
    known_at: Instant = None,
    request_id: str | None = None,
    actor: str | None = None,
    as_of: Instant = None,
) -> LifecycleStage:
    """In which stage is this customer, since when, is that usual, and what is missing for the next one?

    ``get_stage`` and ``get_history`` read, at ``as_of`` (default: all that is recorded) and as it was known at
    ``known_at``. ``transition`` moves along the graph of the settings and sets off the stage's actions, through the
    outbox; ``update_stage`` corrects a record, to any stage, and sets off nothing. Both take effect at
    ``effective_at`` (default: now, by the portfolio's clock), and change nothing where the customer is in that stage
    already or ``request_id`` was recorded before (``changed`` is false).

    Raises InvalidClientId, ClientNotFound, InvalidParameters (nothing is recorded then), DataRetrievalError (the
    ledger is locked or cannot be written), IntegrationError (its server does not answer). Formulas: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 31)])
    >>> manage_lifecycle_stages(portfolio, "a", "get_stage").current_stage is None
    True
    >>> moved = manage_lifecycle_stages(portfolio, "a", "transition", "trial", "asked for one", effective_at="2025-03-05")
    >>> moved.current_stage, moved.changed, moved.days_in_current_stage
    ('trial', True, 25)
    """
    asked = validated(
        CustomerParameters,
        {
            "client_id": client_id,
            "action": action,
            "new_stage": new_stage,
            "transition_reason": transition_reason,
            "automated": automated,
            "notify_team": notify_team,
            "effective_at": effective_at,
            "known_at": known_at,
            "request_id": request_id,
            "actor": actor,
            "as_of": as_of,
        },
    )
    portfolio.client(client_id)
    zone = zones(portfolio)[client_id]
    if action in WRITES:
        made = _moved(portfolio, zone, asked)
        return lifecycle_answer.answer(Subject(portfolio, client_id, zone, None, None), asked, made)
    _only_read(asked)
    at = _as_of(portfolio, client_id, zone, asked.as_of)
    known = None if asked.known_at is None else moment(asked.known_at, zone, "known_at")
    return lifecycle_answer.answer(Subject(portfolio, client_id, zone, at, known), asked, None)


def portfolio_lifecycle(
    portfolio: Portfolio, *, known_at: Instant = None, as_of: str | dt.date | None = None
) -> PortfolioLifecycle:
    """In which stages are the customers, how do they move between them, who is stuck, where do other data disagree?

    Without ``as_of`` stages are read from all that is recorded; what is counted ends with the data.

    Raises InvalidParameters and DataRetrievalError.
    """
    asked = validated(PortfolioParameters, {"known_at": known_at, "as_of": as_of})
    zone = portfolio.settings.default_timezone
    known = None if asked.known_at is None else moment(asked.known_at, zone, "known_at").last
    return lifecycle_portfolio.answer(
        portfolio, _portfolio_day(portfolio, asked.as_of, known), known
    )


def _portfolio_day(
    portfolio: Portfolio, given: str | dt.date | None, known_by: dt.datetime | None
) -> dt.date:
    """The day of the portfolio's response: within the data, or up to the last change that is recorded (the default)."""
    last = _last_recorded(portfolio, known_by)
    day = last if given is None else as_date(given)
    return day if portfolio.data_until < day <= last else portfolio.as_of(given)


def _last_recorded(portfolio: Portfolio, known_by: dt.datetime | None = None) -> dt.date:
    """The last day for which the portfolio holds anything: the data's, or that of a later change of stage."""
    days = (
        one.day
        for one in history(portfolio).recorded
        if known_by is None or one.known_at <= known_by
    )
    return max((portfolio.data_until, *days))


def _moved(portfolio: Portfolio, zone: str, asked: CustomerParameters) -> Move:
    """Records what is asked for."""
    for name in ("known_at", "as_of"):
        if getattr(asked, name) is not None:
            raise InvalidParameters(
                f"{name} is for reading; a change takes effect at effective_at",
                parameter=name,
                value_provided=str(getattr(asked, name)),
                validation_rule="only where it is read",
            )
    if asked.new_stage is None:
        raise InvalidParameters(
            f"{asked.action} needs new_stage",
            parameter="new_stage",
            validation_rule="one of " + ", ".join(STAGES),
        )
    wish = Wish(
        asked.client_id,
        asked.new_stage,
        WRITES[asked.action],
        _effective_at(asked, zone),
        checked_reason(asked.transition_reason),
        asked.automated,
        _actor(asked),
        _request_id(asked),
    )
    return recorded(portfolio, zone, wish, asked.notify_team)


def _effective_at(asked: CustomerParameters, zone: str) -> dt.datetime | None:
    return (
        None
        if asked.effective_at is None
        else moment(asked.effective_at, zone, "effective_at").first
    )


def _actor(asked: CustomerParameters) -> str:
    actor = checked_reason(asked.actor) or ("rule" if asked.automated else "unknown")
    if len(actor) > 100:
        raise InvalidParameters(
            "actor may have 100 characters",
            parameter="actor",
            value_provided=actor[:80],
            validation_rule="at most 100 characters",
        )
    return actor


def _request_id(asked: CustomerParameters) -> str | None:
    given = asked.request_id
    if given is not None and not re.fullmatch(ID_RULE[1:-1], given):
        raise InvalidParameters(
            f"request_id {given[:80]!r} is not valid: 1 to 100 letters, digits, _ . : or -",
            parameter="request_id",
            value_provided=given[:200],
            validation_rule=ID_RULE,
        )
    return given


def _only_read(asked: CustomerParameters) -> None:
    for name in ONLY_WRITES:
        if getattr(asked, name) is not None:
            raise InvalidParameters(
                f"{name} is for update_stage and transition; {asked.action} only reads"
                f"{hint('transition', WRITES)}",
                parameter=name,
                value_provided=str(getattr(asked, name))[:200],
                validation_rule="only with update_stage or transition",
            )


def _as_of(portfolio: Portfolio, client_id: str, zone: str, given: Instant) -> Moment | None:
    """The moment to read at: within the data, or up to the last day on which anything was recorded."""
    if given is None:
        return None
    at = moment(given, zone, "as_of")
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
