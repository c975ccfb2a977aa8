"""Amounts of several currencies: converted where the portfolio has rates, else never added up."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import customers


@dataclass(frozen=True)
class Money:
    """ARR by client_id as it can be compared, and in which currencies.

    ``amounts`` are in the portfolio's currency where ``converted`` or where there is only one, else each in its own.
    ``currency`` is None where amounts can't be added up (or none is named); ``by_currency`` are the given amounts'
    currencies. ``no_rate`` are customers whose amount could not be converted.
    """

    amounts: pd.Series
    by_currency: pd.Series
    currency: str | None
    addable: bool
    converted: bool
    no_rate: tuple[str, ...] = ()

    def total(self) -> float | None:
        return round(float(self.amounts.sum()), 2) if self.addable else None

    def totals(self, given: pd.Series) -> dict[str, float]:
        """Sums of the given amounts by currency, none added to another."""
        known = given[given.notna()]
        sums = known.groupby(self.by_currency.reindex(known.index).fillna("unknown")).sum()
        return {str(name): round(float(value), 2) for name, value in sums.sort_index().items()}


def money(portfolio: Any, rows: pd.DataFrame, date: dt.date) -> Money:
    """The ARR of panel rows (indexed by client_id, of one date) in one currency, as far as the portfolio allows.

    The currency is that of the contract of the day, else of the customers table, else the setting ``reporting_currency``.
    Rates are the last ones of ``fx`` by ``date``.
    """
    known = customers(portfolio).reindex(rows.index)
    named = (
        rows["currency"].astype(object)
        if "currency" in rows
        else pd.Series(None, index=rows.index, dtype=object)
    )
    given = (
        known["currency"].astype(object)
        if "currency" in known
        else pd.Series(None, index=rows.index, dtype=object)
    )
    currency = named.where(named.notna(), given)
    currency = currency.where(currency.notna(), portfolio.settings.reporting_currency)
    arr = rows["arr"].astype(float)
    found = sorted(set(currency[arr.notna()].dropna()))
    if len(found) <= 1:
        return Money(
            arr, currency, found[0] if found else portfolio.settings.reporting_currency, True, False
        )
    rates = _rates(portfolio, date)
    if rates is None:
        return Money(arr, currency, None, False, False)
    target = portfolio.settings.reporting_currency or next(
        (name for name in rates.index if rates[name] == 1), None
    )
    if target is not None:
        rates = pd.concat([rates.drop(target, errors="ignore"), pd.Series({target: 1.0})])
    rate = currency.map(rates).astype(float)
    lacking = tuple(rows.index[rate.isna() & arr.notna()].astype(str))
    amounts = pd.Series(np.round((arr * rate).to_numpy(), 6), index=rows.index)
    return Money(amounts, currency, target, True, True, lacking)


def _rates(portfolio: Any, date: dt.date) -> pd.Series | None:
    """The last rate of each currency by ``date``; None without any."""
    if not portfolio.has("fx"):
        return None
    table = portfolio.table("fx")
    table = table[pd.to_datetime(table["on"]) <= pd.Timestamp(date)].sort_values(
        ["currency", "on"], kind="stable"
    )
    last = table.groupby("currency")["rate_to_book"].last().astype(float)
    return last if len(last) else None
