"""Alerts of the whole portfolio: evaluated once, each told once until it is over or a cooldown has passed, and delivered.

What was told stands in the ledger, in one transaction with the message in the outbox: a run that is broken off, or
made twice, tells nothing twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from healthseg.data.ledger.ledger import Alert
from healthseg.data.outbox import outbox
from healthseg.data.outbox.delivery import run as deliver
from healthseg.errors import ClientNotFound
from healthseg.reports import registry
from healthseg.settings import SEVERITIES
from healthseg.settings.in_force import InForce
from healthseg.settings.operator import AlertSettings
from healthseg.tools.lifecycle.moves import contacts

HEALTH, USAGE, STAGES = (
    "calculate_health_score",
    "track_usage_engagement",
    "manage_lifecycle_stages",
)
# The rules that a setting stands for: its number is the threshold; without one the rule is off.
THRESHOLDS = {
    "score_below": "score_below",
    "score_drop": "score_drop",
    "usage_decline": "usage_decline_percent",
    "overdue_invoice": "overdue_days",
}
ANOMALY, STUCK = "anomaly", "stuck_stage"
SEVERITY = {ANOMALY: "high", STUCK: "medium"}
OVER = ".over"  # behind a rule's name in the ledger: it holds no longer
NEW, GOES_ON, QUIET, ENDED = "new", "goes on", "quiet", "over"
TOLD = (NEW, GOES_ON, ENDED)
ACTIONS = {NEW: "alert", GOES_ON: "alert", ENDED: "alert_over"}


@dataclass(frozen=True)
class Told:
    """An alert of a customer as a run found it: new, going on after its cooldown, quiet within it, or over."""

    client_id: str
    name: str
    rule: str
    severity: str
    text: str
    status: str
    since: dt.date
    csm_id: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        return self.status in TOLD

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "since": self.since.isoformat()}


@dataclass(frozen=True)
class Run:
    """What a run found for a day, and what became of the messages."""

    as_of: dt.date
    alerts: tuple[Told, ...]
    delivery: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        counts = {
            status: sum(alert.status == status for alert in self.alerts)
            for status in (*TOLD, QUIET)
        }
        return {
            "as_of": self.as_of.isoformat(),
            "counts": counts,
            "delivery": dict(self.delivery),
            "alerts": [alert.to_dict() for alert in self.alerts],
        }


def run(portfolio: Any, settings: InForce, *, delivers: bool = True) -> Run:
    """Evaluate the rules for the portfolio's last day, note and tell what is new, goes on or is over, and deliver it.

    A day before the last one that was evaluated is shown, and nothing of it is told.
    """
    wishes, day = settings.alerts, portfolio.data_until
    holding = {(alert.client_id, alert.rule): alert for alert in evaluate(portfolio, wishes)}
    ledger = portfolio.ledger()
    with ledger.transaction() as now:
        past = _past(ledger.alerts())
        found = sorted(_found(portfolio, holding, past, wishes, day), key=_order)
        if all(day >= one.last_told for one in past.values()):
            new = {(one.client_id, one.rule) for one in ledger.record_alerts(_rows(found, day))}
            outbox.put(ledger, _messages(portfolio, found, new, day, now, wishes))
    delivery = deliver(ledger, portfolio.settings.outbox, portfolio.folder) if delivers else {}
    return Run(day, tuple(found), delivery)


def evaluate(portfolio: Any, wishes: AlertSettings) -> list[Told]:
    """Every alert that holds on the portfolio's last day, whether it was told before or not."""
    least, day = SEVERITIES.index(wishes.minimum_severity), portfolio.data_until
    found = [
        *_of_health(portfolio, wishes, day),
        *_of_usage(portfolio, wishes, day),
        *_of_stages(portfolio, wishes, day),
    ]
    return [alert for alert in found if SEVERITIES.index(alert.severity) >= least]


def _of_health(portfolio: Any, wishes: AlertSettings, day: dt.date) -> Iterator[Told]:
    limits = {rule: getattr(wishes, key) for rule, key in THRESHOLDS.items()}
    asked = {"thresholds": {rule: limit for rule, limit in limits.items() if limit is not None}}
    response = registry.portfolio_response(
        HEALTH,
        portfolio,
        {"lookback_period_days": wishes.lookback_days, "alert_preferences": asked},
    )
    known = {row["client_id"]: row for row in response.customers}
    for fired in response.alerts:
        row = known[fired.figures["client_id"]]
        if limits.get(fired.rule, 0.0) is not None:
            yield Told(
                row["client_id"],
                row["name"],
                fired.rule,
                fired.severity,
                fired.text,
                NEW,
                day,
                row["csm_id"],
                fired.figures,
            )


def _of_usage(portfolio: Any, wishes: AlertSettings, day: dt.date) -> Iterator[Told]:
    rows = registry.portfolio_response(USAGE, portfolio, {}).breaking_away if wishes.anomaly else []
    for row in rows:
        text = f"Usage breaks away from the portfolio: {row['reason']}"
        yield Told(
            row["client_id"],
            row["name"],
            ANOMALY,
            SEVERITY[ANOMALY],
            text,
            NEW,
            day,
            _manager(portfolio, row),
            {"usage_ratio": row["usage_ratio"], "z": row["z"]},
        )


def _of_stages(portfolio: Any, wishes: AlertSettings, day: dt.date) -> Iterator[Told]:
    rows = (
        registry.portfolio_response(STAGES, portfolio, {}).stuck_customers
        if wishes.stuck_stage
        else []
    )
    for row in rows:
        yield Told(
            row["client_id"],
            row["name"],
            STUCK,
            SEVERITY[STUCK],
            f"Stuck: {row['reason']}",
            NEW,
            day,
            row["csm_id"],
            {"days": row["days"], "typical_days": row["typical_days"]},
        )


def _manager(portfolio: Any, row: Mapping[str, Any]) -> str | None:
    return portfolio.client(row["client_id"]).get("csm_id")


# -- what was told before


@dataclass
class _Past:
    """What the ledger knows of a customer and rule: when it was first and last told, and whether it is over."""

    since: dt.date
    last_told: dt.date
    severity: str
    open: bool


def _past(alerts: Iterable[Alert]) -> dict[tuple[str, str], _Past]:
    known: dict[tuple[str, str], _Past] = {}
    for alert in alerts:
        key = (alert.client_id, alert.rule.removesuffix(OVER))
        before = known.get(key)
        if alert.rule.endswith(OVER):
            before.open = False
        elif before is not None and before.open:
            before.last_told = alert.raised_on
        else:
            known[key] = _Past(alert.raised_on, alert.raised_on, alert.severity, True)
    return known


def _found(
    portfolio: Any,
    holding: Mapping[tuple[str, str], Told],
    past: Mapping[tuple[str, str], _Past],
    wishes: AlertSettings,
    day: dt.date,
) -> Iterator[Told]:
    """What holds, by what was told of it; and what was told and holds no longer."""
    for key, alert in holding.items():
        before = past.get(key)
        rests = before is not None and (day - before.last_told).days <= wishes.cooldown_days
        status = (
            (QUIET if rests else GOES_ON if before.open else NEW) if before is not None else NEW
        )
        yield _as(alert, status, before.since if before is not None and before.open else day)
    for (client_id, rule), before in past.items():
        if before.open and (client_id, rule) not in holding:
            name = str(_customer(portfolio, client_id).get("name") or client_id)
            yield Told(client_id, name, rule, before.severity, "It is over", ENDED, before.since)


def _as(alert: Told, status: str, since: dt.date) -> Told:
    return Told(**{**vars(alert), "status": status, "since": since})


def _order(alert: Told) -> tuple[Any, ...]:
    return (
        (*TOLD, QUIET).index(alert.status),
        -SEVERITIES.index(alert.severity),
        alert.client_id,
        alert.rule,
    )


def _rows(found: Iterable[Told], day: dt.date) -> Iterator[Alert]:
    for alert in found:
        if alert.told:
            rule = alert.rule + (OVER if alert.status == ENDED else "")
            yield Alert(alert.client_id, rule, alert.severity, day, dict(alert.figures))


# -- telling


def _messages(
    portfolio: Any,
    found: Iterable[Told],
    new: set[tuple[str, str]],
    day: dt.date,
    now: dt.datetime,
    wishes: AlertSettings,
) -> Iterator[outbox.Message]:
    """A message for each alert that the ledger did not know of this day."""
    for alert in found:
        rule = alert.rule + (OVER if alert.status == ENDED else "")
        if alert.told and (alert.client_id, rule) in new:
            yield _message(portfolio, alert, rule, day, now, wishes)


def _message(
    portfolio: Any, alert: Told, rule: str, day: dt.date, now: dt.datetime, wishes: AlertSettings
) -> outbox.Message:
    row = _customer(portfolio, alert.client_id)
    name, manager = str(row.get("name") or alert.client_id), alert.csm_id or row.get("csm_id")
    to, action = _recipients(portfolio, manager, wishes), ACTIONS[alert.status]
    handler = portfolio.settings.outbox.handler_of(action)
    if (
        handler is not None
        and portfolio.settings.outbox.handlers[handler].kind == "smtp"
        and not to
    ):
        handler = None
    payload = {
        "subject": f"{name}: {alert.text}" + (f" ({alert.rule})" if alert.status == ENDED else ""),
        "text": f"{name} ({alert.client_id}), {day}: {alert.text}. Rule {alert.rule}, severity "
        f"{alert.severity}, since {alert.since}.",
        "recipients": to,
        "name": name,
        "rule": alert.rule,
        "severity": alert.severity,
        "status": alert.status,
        "since": alert.since.isoformat(),
        "as_of": day.isoformat(),
        "figures": dict(alert.figures),
    }
    return outbox.Message(
        f"alert:{alert.client_id}:{rule}:{day}",
        alert.client_id,
        action,
        handler,
        payload,
        now if handler else None,
    )


def _customer(portfolio: Any, client_id: str) -> Mapping[str, Any]:
    """A customer's row; an empty one for a customer that is no longer in the portfolio."""
    try:
        return portfolio.client(client_id)
    except ClientNotFound:
        return {}


def _recipients(portfolio: Any, manager: str | None, wishes: AlertSettings) -> list[str]:
    """The manager's addresses by the settings or the table of managers, else those of the alerts' settings."""
    contact = contacts(portfolio).get(manager)
    return list(
        portfolio.settings.outbox.managers.get(manager or "", ())
        or ((contact,) if contact else ())
        or wishes.recipients
    )
