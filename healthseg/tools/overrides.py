"""What overrides the scores of customers (notice given, an invoice long overdue), and who has no contract, as every response names them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from healthseg import rules
from healthseg.charts import formats
from healthseg.charts.formats import brief_money, quantity
from healthseg.metrics.money import uncontracted
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


# -- uncontracted ----------------------------------------------------------------------------------


class Uncontracted(BaseModel):
    """Live customers past their contract's end without a new one; their ARR is part of all sums."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    customers: int = Field(default=0, description="Customers")
    longest_days: int = Field(default=0, description="The longest of them, in days")
    arr: dict[str, float] = Field(default_factory=dict, description="Their ARR by currency")
    client_ids: list[str] = Field(default_factory=list, description="The customers, longest first")
    summary: list[str] = Field(default_factory=list, description="The same as a sentence")

    @classmethod
    def of(
        cls,
        portfolio: Portfolio,
        as_of: dt.date,
        client_id: str | None,
        clients: Collection[str] | None = None,
    ) -> Uncontracted:
        """Those of the portfolio, or of some ``clients`` of it, or whether a customer is one."""
        if not portfolio.has("contracts"):
            return cls()
        rows = uncontracted(portfolio, as_of)
        chosen = clients if client_id is None else [client_id]
        rows = rows if chosen is None else rows[rows["client_id"].isin(chosen)]
        if rows.empty:
            return cls()
        sums = rows.groupby(rows["currency"].fillna("unknown"))["arr"].sum()
        arr = {str(name): round(float(value), 2) for name, value in sums.sort_index().items()}
        days = int(rows["days"].max())
        amounts = " and ".join(
            brief_money(value, None if name == "unknown" else name) for name, value in arr.items()
        )
        words = quantity(days, "days")
        if client_id is None:
            single = len(rows) == 1
            who, since = (
                (f"{_name(portfolio, rows)} has", "for")
                if single
                else (f"{len(rows)} customers have", "for up to")
            )
            text = f"{who} had no contract {since} {words} ({amounts} ARR)"
        else:
            text = f"Uncontracted for {words}: the contract ended without a new one ({amounts} ARR)"
        clients = rows["client_id"].astype(str).tolist()
        return cls(
            customers=len(rows), longest_days=days, arr=arr, client_ids=clients, summary=[text]
        )


def _name(portfolio: Portfolio, rows: pd.DataFrame) -> str:
    """The name of the only customer."""
    client, table = str(rows["client_id"].iloc[0]), portfolio.table("customers")
    names = table.set_index(table["client_id"].astype(str)).get("name")
    name = None if names is None else names.get(client)
    return client if name is None or pd.isna(name) else str(name)
