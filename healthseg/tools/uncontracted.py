"""Customers past their contract's end without a new one, as every response names them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from healthseg.charts.formats import brief_money, quantity
from healthseg.metrics.money import uncontracted

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


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
                (f"{_name(portfolio, rows)} is", "for")
                if single
                else (f"{len(rows)} customers are", "for up to")
            )
            text = f"{who} past the end of the contract without a new one ({amounts} ARR), {since} {words}"
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
