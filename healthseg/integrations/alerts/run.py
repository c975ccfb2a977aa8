"""Alerts of the whole portfolio: evaluated, announced once until they end or a cooldown has passed, and delivered.

An announcement is recorded in the ledger in one transaction with its message in the outbox: a run that breaks off, or
is repeated, announces nothing twice. A run sends each manager one message.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.data import outbox
from healthseg.data.ledger.ledger import LedgerAlert
from healthseg.errors import ClientNotFound
from healthseg.reports import registry
from healthseg.reports.html.navigation import card
from healthseg.rules import counted
from healthseg.settings import SEVERITIES
from healthseg.settings.in_force import InForce
from healthseg.settings.operator import AlertSettings
from healthseg.tools.lifecycle.moves import contacts

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

HEALTH, USAGE, STAGES = (
    "calculate_health_score",
    "track_usage_engagement",
    "manage_lifecycle_stages",
)
# Rules and the settings that hold their thresholds; without a threshold a rule is off.
THRESHOLDS = {
    "score_below": "score_below",
    "score_drop": "score_drop",
    "usage_decline": "usage_decline_percent",
    "overdue_invoice": "overdue_days",
}
ANOMALY, STUCK, DECLINE, INACTIVE = "anomaly", "stuck_stage", "usage_decline", "inactive"
SEVERITY = {ANOMALY: "high", STUCK: "medium"}
OVER = ".over"  # after a rule's name in the ledger: it holds no longer
NEW, GOES_ON, QUIET, ENDED = "new", "goes on", "quiet", "over"
ANNOUNCED = (NEW, GOES_ON, ENDED)
ACTIONS = {NEW: "alert", GOES_ON: "alert", ENDED: "alert_over"}


@dataclass(frozen=True)
class RaisedAlert:
    """An alert of a customer in a run: new, going on after its cooldown, quiet within it, or over."""

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
    def is_announced(self) -> bool:
        return self.status in ANNOUNCED

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "since": self.since.isoformat()}


@dataclass(frozen=True)
class AlertRun:
    """The alerts of a day, and what became of their messages."""

    as_of: dt.date
    alerts: tuple[RaisedAlert, ...]
    delivery: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        counts = {
            status: sum(alert.status == status for alert in self.alerts)
            for status in (*ANNOUNCED, QUIET)
        }
        return {
            "as_of": self.as_of.isoformat(),
            "counts": counts,
            "delivery": dict(self.delivery),
            "alerts": [alert.to_dict() for alert in self.alerts],
        }


def run(portfolio: Portfolio, in_force: InForce, *, delivers: bool = True) -> AlertRun:
    """Evaluate the rules for the portfolio's last day; record, announce and deliver what is new, goes on or is over.

    A day before the last evaluated one is shown, and nothing of it is announced.
    """
    settings, day = in_force.alerts, portfolio.data_until
    holding = {(alert.client_id, alert.rule): alert for alert in evaluate(portfolio, settings)}
    ledger = portfolio.ledger()
    with ledger.transaction() as now:
        past = _past(ledger.alerts())
        alerts = sorted(_with_status(portfolio, holding, past, settings, day), key=_order)
        if all(day >= alert.last_announced for alert in past.values()):
            new = {
                (alert.client_id, alert.rule) for alert in ledger.record_alerts(_rows(alerts, day))
            }
            outbox.put(ledger, _messages(portfolio, alerts, new, not past, day, now, settings))
    delivery = outbox.run(ledger, portfolio.settings.outbox, portfolio.folder) if delivers else {}
    return AlertRun(day, tuple(alerts), delivery)


def evaluate(portfolio: Portfolio, settings: AlertSettings) -> list[RaisedAlert]:
    """Every alert that holds on the portfolio's last day, whether it was announced before or not."""
    least, day = SEVERITIES.index(settings.minimum_severity), portfolio.data_until
    alerts = [
        *_of_health(portfolio, settings, day),
        *_of_usage(portfolio, settings, day),
        *_of_stages(portfolio, settings, day),
    ]
    # the same fall of usage, as two tools see it, is one alert; without users there is no fall to tell of
    inactive = {alert.client_id for alert in alerts if alert.rule == INACTIVE}
    alerts = [
        alert
        for alert in alerts
        if not (alert.rule in (ANOMALY, DECLINE) and alert.client_id in inactive)
    ]
    fallen = {alert.client_id for alert in alerts if alert.rule == ANOMALY}
    alerts = [
        alert for alert in alerts if not (alert.rule == DECLINE and alert.client_id in fallen)
    ]
    return [alert for alert in alerts if SEVERITIES.index(alert.severity) >= least]


def _of_health(
    portfolio: Portfolio, settings: AlertSettings, day: dt.date
) -> Iterator[RaisedAlert]:
    limits = {rule: getattr(settings, key) for rule, key in THRESHOLDS.items()}
    preferences = {
        "thresholds": {rule: limit for rule, limit in limits.items() if limit is not None}
    }
    response = registry.portfolio_response(
        HEALTH,
        portfolio,
        {"lookback_period_days": settings.lookback_days, "alert_preferences": preferences},
    )
    known = {row["client_id"]: row for row in response.customers}
    for triggered in response.alerts:
        row = known[triggered.figures["client_id"]]
        if limits.get(triggered.rule, 0.0) is not None:
            yield RaisedAlert(
                row["client_id"],
                row["name"],
                triggered.rule,
                triggered.severity,
                triggered.text,
                NEW,
                day,
                row["csm_id"],
                triggered.figures,
            )


def _of_usage(portfolio: Portfolio, settings: AlertSettings, day: dt.date) -> Iterator[RaisedAlert]:
    seen = settings.anomaly and portfolio.has("events")
    rows = registry.portfolio_response(USAGE, portfolio, {}).breaking_away if seen else []
    for row in rows:
        text = f"Usage fell sharply: {row['reason']}"
        yield RaisedAlert(
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


def _of_stages(
    portfolio: Portfolio, settings: AlertSettings, day: dt.date
) -> Iterator[RaisedAlert]:
    rows = (
        registry.portfolio_response(STAGES, portfolio, {}).stuck_customers
        if settings.stuck_stage
        else []
    )
    for row in rows:
        yield RaisedAlert(
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


def _manager(portfolio: Portfolio, row: Mapping[str, Any]) -> str | None:
    return portfolio.client(row["client_id"]).get("csm_id")


# -- earlier announcements


@dataclass
class _PastAlert:
    """What the ledger holds of a customer and rule: when it was first and last announced, and whether it is over."""

    since: dt.date
    last_announced: dt.date
    severity: str
    open: bool


def _past(alerts: Iterable[LedgerAlert]) -> dict[tuple[str, str], _PastAlert]:
    known: dict[tuple[str, str], _PastAlert] = {}
    for alert in alerts:
        key = (alert.client_id, alert.rule.removesuffix(OVER))
        before = known.get(key)
        if alert.rule.endswith(OVER):
            known[key].open = False
        elif before is not None and before.open:
            before.last_announced = alert.raised_on
        else:
            known[key] = _PastAlert(alert.raised_on, alert.raised_on, alert.severity, True)
    return known


def _with_status(
    portfolio: Portfolio,
    holding: Mapping[tuple[str, str], RaisedAlert],
    past: Mapping[tuple[str, str], _PastAlert],
    settings: AlertSettings,
    day: dt.date,
) -> Iterator[RaisedAlert]:
    """What holds, with its status; and what was announced and holds no longer."""
    for key, alert in holding.items():
        before = past.get(key)
        rests = before is not None and (day - before.last_announced).days <= settings.cooldown_days
        goes_on = before is not None and before.open
        status = QUIET if rests else GOES_ON if goes_on else NEW
        yield replace(alert, status=status, since=before.since if before and goes_on else day)
    for (client_id, rule), before in past.items():
        if before.open and (client_id, rule) not in holding:
            name = str(_customer(portfolio, client_id).get("name") or client_id)
            yield RaisedAlert(
                client_id, name, rule, before.severity, "It is over", ENDED, before.since
            )


def _order(alert: RaisedAlert) -> tuple[Any, ...]:
    return (
        (*ANNOUNCED, QUIET).index(alert.status),
        -SEVERITIES.index(alert.severity),
        alert.client_id,
        alert.rule,
    )


def _rows(alerts: Iterable[RaisedAlert], day: dt.date) -> Iterator[LedgerAlert]:
    for alert in alerts:
        if alert.is_announced:
            rule = alert.rule + (OVER if alert.status == ENDED else "")
            yield LedgerAlert(alert.client_id, rule, alert.severity, day, dict(alert.figures))


# -- messages


def _messages(
    portfolio: Portfolio,
    alerts: Iterable[RaisedAlert],
    new: set[tuple[str, str]],
    first: bool,
    day: dt.date,
    now: dt.datetime,
    settings: AlertSettings,
) -> Iterator[outbox.Message]:
    """One message for each manager, of the alerts that the ledger did not know of this day."""
    by_manager: dict[str, list[RaisedAlert]] = {}
    for alert in alerts:
        rule = alert.rule + (OVER if alert.status == ENDED else "")
        if alert.is_announced and (alert.client_id, rule) in new:
            manager = alert.csm_id or _customer(portfolio, alert.client_id).get("csm_id") or ""
            by_manager.setdefault(str(manager), []).append(alert)
    for manager, own in sorted(by_manager.items()):
        yield _message(portfolio, manager, own, first, day, now, settings)


def _message(
    portfolio: Portfolio,
    manager: str,
    alerts: list[RaisedAlert],
    first: bool,
    day: dt.date,
    now: dt.datetime,
    settings: AlertSettings,
) -> outbox.Message:
    to = _recipients(portfolio, manager or None, settings)
    action = ACTIONS[ENDED if all(alert.status == ENDED for alert in alerts) else NEW]
    handler = portfolio.settings.outbox.handler_of(action)
    if (
        handler is not None
        and portfolio.settings.outbox.handlers[handler].kind == "smtp"
        and not to
    ):
        handler = None
    lines = _lines(alerts, settings)
    payload = {
        "subject": _subject(alerts, first, day),
        "text": "\n".join((*lines, "", _closing(settings))).strip(),
        "recipients": to,
        "manager": manager or None,
        "as_of": day.isoformat(),
        "first_run": first,
        "alerts": [alert.to_dict() | {"link": _link(alert, settings)} for alert in alerts],
    }
    clients = {alert.client_id for alert in alerts}
    return outbox.Message(
        f"alerts:{manager}:{day}",
        clients.pop() if len(clients) == 1 else "",
        action,
        handler,
        payload,
        now if handler else None,
    )


def _subject(alerts: list[RaisedAlert], first: bool, day: dt.date) -> str:
    """What a digest is about.

    >>> _subject([RaisedAlert("a", "Acme", STUCK, "low", "Stuck", NEW, dt.date(2025, 3, 1))], False, dt.date(2025, 3, 1))
    'Acme: Stuck'
    """
    if len(alerts) == 1:
        alert = alerts[0]
        over = f" ({formats.words(alert.rule)})" if alert.status == ENDED else ""
        return f"{alert.name}: {alert.text}{over}"
    customers = counted(len({alert.client_id for alert in alerts}), "customer")
    counts = {status: sum(alert.status == status for alert in alerts) for status in ANNOUNCED}
    words = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if first:
        return f"First alerts, {formats.day(day)}: {len(alerts)} at {customers}"
    return f"Alerts, {formats.day(day)}: {words}, at {customers}"


def _lines(alerts: list[RaisedAlert], settings: AlertSettings) -> list[str]:
    """The alerts as lines of a message: a paragraph a customer, the most severe first."""
    by_customer: dict[str, list[RaisedAlert]] = {}
    for alert in alerts:
        by_customer.setdefault(alert.client_id, []).append(alert)
    lines: list[str] = []
    for own in by_customer.values():
        link = _link(own[0], settings)
        lines += [*([""] if lines else []), f"{own[0].name}{f': {link}' if link else ''}"]
        lines += [_line(alert) for alert in own]
    return lines


def _line(alert: RaisedAlert) -> str:
    """An alert as a line of a message.

    >>> _line(RaisedAlert("a", "Acme", STUCK, "low", "It is over", ENDED, dt.date(2025, 3, 1))).replace("\\xa0", " ")
    '- over: stuck stage, since 1 Mar 2025'
    """
    since = "" if alert.status == NEW else f", since {formats.day(alert.since)}"
    if alert.status == ENDED:
        return f"- over: {formats.words(alert.rule)}{since}"
    return f"- {alert.severity}: {formats.prose(alert.text)}{since}"


def _link(alert: RaisedAlert, settings: AlertSettings) -> str | None:
    """The customer's card in the index, where the reports have an address."""
    if not settings.reports_url:
        return None
    return card(f"{settings.reports_url.rstrip('/')}/index.html", alert.client_id)


def _closing(settings: AlertSettings) -> str:
    url = settings.reports_url.rstrip("/")
    return f"All alerts: {url}/alerts.html" if url else ""


def _customer(portfolio: Portfolio, client_id: str) -> Mapping[str, Any]:
    """A customer's row; an empty one for a customer that is no longer in the portfolio."""
    try:
        return portfolio.client(client_id)
    except ClientNotFound:
        return {}


def _recipients(portfolio: Portfolio, manager: str | None, settings: AlertSettings) -> list[str]:
    """The manager's addresses by the settings or the table of managers, else those of the alerts' settings."""
    contact = contacts(portfolio).get(manager or "")
    return list(
        portfolio.settings.outbox.managers.get(manager or "", ())
        or ((contact,) if contact else ())
        or settings.recipients
    )
