"""What a move into a stage sets off: one message an action, for its handler and its recipients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from healthseg import rules
from healthseg.data.memory import remember
from healthseg.metrics.counting import EPOCH
from healthseg.metrics.milestone_plan import DayCount
from healthseg.metrics.panels import panel
from healthseg.periods import UTC
from healthseg.settings import Settings
from healthseg.settings.lifecycle import Action

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import StageEvent
    from healthseg.data.outbox.outbox import Message


class Announcer:
    """Makes the messages of one customer's moves."""

    def __init__(
        self, portfolio: Any, customer: Mapping[str, Any], zone: str, notify_team: bool
    ) -> None:
        self.portfolio, self.customer, self.zone = portfolio, customer, zone
        self.settings: Settings = portfolio.settings
        self.notify_team = notify_team

    def __call__(self, event: StageEvent, previous: str | None, first: bool) -> list[Message]:
        actions = self.settings.lifecycle.actions.get(event.stage, ())
        return [
            self._message(action, event, previous)
            for action in actions
            if (first or not action.first_time) and (self.notify_team or action.to != "manager")
        ]

    def _message(self, action: Action, event: StageEvent, previous: str | None) -> Message:
        from healthseg.data.outbox.outbox import Message

        recipients = self._recipients(action)
        handler = self.settings.outbox.handler_of(action.action)
        if (
            handler is not None
            and self.settings.outbox.handlers[handler].kind == "smtp"
            and not recipients
        ):
            handler = None
        figures = {
            "name": str(self.customer.get("name") or event.client_id),
            "client_id": event.client_id,
            "stage": event.stage.replace("_", " "),
            "previous_stage": (previous or "none").replace("_", " "),
            "reason": event.reason or "",
        }
        payload = {
            "subject": rules.words(action.subject, figures).strip(),
            "text": rules.words(action.text, figures).strip(),
            "recipients": recipients,
            "name": figures["name"],
            "stage": event.stage,
            "previous_stage": previous,
            "effective_at": event.effective_at.isoformat(),
            "reason": event.reason,
            "automated": event.automated,
        }
        due = None if handler is None else self._due(action, event.effective_at, event.recorded_at)
        return Message(event.request_id, event.client_id, action.action, handler, payload, due)

    def _recipients(self, action: Action) -> list[str]:
        """The manager's addresses (by the settings, the table of managers, the tier), or the customer's."""
        told = self.settings.outbox
        if action.to == "customer":
            return list(told.customers.get(str(self.customer["client_id"]), ()))
        if action.to != "manager":
            return []
        manager = self.customer.get("csm_id")
        contact = contacts(self.portfolio).get(manager)
        own = told.managers.get(manager, ()) or ((contact,) if contact else ())
        return list(own or (told.tiers.get(self._tier() or "", ()) if told.tiers else ()))

    def _tier(self) -> str | None:
        rows = panel(self.portfolio, [self.portfolio.data_until], [str(self.customer["client_id"])])
        return (
            None
            if not len(rows) or not isinstance(rows["tier"].iloc[0], str)
            else rows["tier"].iloc[0]
        )

    def _due(self, action: Action, effective_at: dt.datetime, now: dt.datetime) -> dt.datetime:
        """At once, or at the hour of the n-th business day after it, by the customer's clock; never in the past."""
        if not action.business_days:
            return now
        day = (effective_at.astimezone(ZoneInfo(self.zone)).date() - EPOCH).days
        due = DayCount.business(self.portfolio).nth(day, action.business_days)
        hour = dt.datetime.combine(
            EPOCH + dt.timedelta(days=due), dt.time(self.settings.lifecycle.hour)
        )
        return max(now, hour.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC))


def contacts(portfolio: Any) -> Mapping[str, str]:
    """The addresses of the managers, where the table of managers has them."""

    def make() -> dict[str, str]:
        if not portfolio.has("csms"):
            return {}
        rows = portfolio.table("csms")[["csm_id", "contact"]].dropna()
        return dict(zip(rows["csm_id"], rows["contact"], strict=True))

    return remember(portfolio, "contacts of managers", make)
