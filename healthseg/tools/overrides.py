"""What overrides the scores of customers (notice given, an invoice long overdue), as every response names it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from healthseg import rules
from healthseg.charts import formats
from healthseg.scoring.overrides import held_overrides
from healthseg.tools.context import CustomerContext, live_rows
from healthseg.tools.values import number, word

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

NO_CAP = 100.0


class HeldOverride(BaseModel):
    """What overrides the score of a customer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    override: str = Field(description="Its name among the setting overrides")
    text: str = Field(description="The verdict in words")
    since: dt.date | None = Field(description="Since when, where its metric counts days")
    decides_risk: bool = Field(description="Whether it decides the risk level, whatever the score")
    cap: float = Field(description="The score is at most this; 100 where it has no cap")


class Overrides(BaseModel):
    """What overrides scores: of the customer, or of the portfolio's live customers."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    held: list[HeldOverride] = Field(default_factory=list, description="By customer")
    summary: list[str] = Field(default_factory=list, description="As sentences for a page's top")

    @classmethod
    def of(
        cls,
        portfolio: Portfolio,
        as_of: dt.date,
        client_id: str | None,
        clients: Collection[str] | None = None,
    ) -> Overrides:
        """Those of a customer, of the portfolio, or of some ``clients`` of it."""
        if client_id is not None:
            context = CustomerContext(portfolio, client_id, as_of)
            if context.churned or context.signup_date > as_of:
                return cls()
            row = context.row()
            held = overrides_of(row, client_id, context.name, as_of, portfolio.settings)
            return cls(held=held, summary=[item.text for item in held])
        settings, names = portfolio.settings, portfolio.table("customers").set_index("client_id")
        held = []
        rows = live_rows(portfolio, as_of)
        rows = rows if clients is None else rows[rows.index.isin(clients)]
        for client, row in rows.to_dict("index").items():
            name = word(names["name"].get(client)) if "name" in names else None
            held += overrides_of(row, str(client), name or str(client), as_of, settings)
        return cls(held=held, summary=_summary(held, settings))


def overrides_of(
    row: Mapping[str, Any], client_id: str, name: str, as_of: dt.date, settings: Settings
) -> list[HeldOverride]:
    """What overrides the score of a customer's row of the panel, the first one first."""
    held = []
    for key, override in held_overrides(row, settings).items():
        value = number(row.get(override.metric))
        counts_back = value is not None and "days" in override.metric and override.below is None
        since = as_of - dt.timedelta(days=int(value or 0)) if counts_back else None
        on = None if since is None else formats.day(since)
        held.append(
            HeldOverride(
                client_id=client_id,
                name=name,
                override=key,
                text=rules.words(override.text, {"value": value, "on": on}),
                since=since,
                decides_risk=override.risk_level is not None,
                cap=NO_CAP if override.cap is None else override.cap,
            )
        )
    return held


def caps_of(row: Mapping[str, Any], context: CustomerContext) -> list[str]:
    """What caps the score of a customer's row, in words."""
    own = row, context.client_id, context.name, context.last_day, context.settings
    return [
        f"capped at {item.cap:.0f}: {item.text[:1].lower()}{item.text[1:]}"
        for item in overrides_of(*own)
        if item.cap < NO_CAP
    ]


def _summary(held: list[HeldOverride], settings: Settings) -> list[str]:
    """One sentence an override that has words for many customers, with their names."""
    sentences = []
    for key, override in settings.overrides.items():
        names = [item.name for item in held if item.override == key]
        if override.of_many and names:
            count = rules.counted(len(names), "customer")
            listed = ", ".join(names[: settings.overrides_named])
            more = len(names) - settings.overrides_named
            rest = f" and {more} more" if more > 0 else ""
            sentences.append(f"{count} {override.of_many}: {listed}{rest}")
    return sentences
