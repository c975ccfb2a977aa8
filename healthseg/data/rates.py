"""Rates of currencies: one rule for contracts, totals, tiers and retention."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from healthseg.data.engine import run
from healthseg.data.losses import Issue, note_on_customers
from healthseg.settings.data import DataSettings


@dataclass(frozen=True)
class Rates:
    """The rates of ``fx`` to one currency, from day to day.

    That currency, the ``base``, has the rate 1: it is the one whose rates are all 1, else the reporting currency where that
    has no rates of its own. A reporting currency without a rate beside another base can't be converted to.
    """

    table: pd.DataFrame  # currency, day, rate; in order of day
    base: str | None = None

    @property
    def usable(self) -> bool:
        return bool(len(self.table))

    def at(self, currency: pd.Series, day: pd.Series | int) -> pd.Series:
        """The last rate of each currency by each day, NaN without one."""
        if isinstance(day, int):
            last = self.table[self.table["day"] <= day].groupby("currency")["rate"].last()
            rate = currency.astype(object).map(last).astype(float)
            return rate.mask(currency.eq(self.base).fillna(False), 1.0)
        keys = pd.DataFrame({"currency": currency.astype(object), "day": day})
        keys = keys.astype({"currency": "str", "day": np.int64}).reset_index(names="row")
        ordered = keys.sort_values("day", kind="stable")
        joined = pd.merge_asof(ordered, self.table, on="day", by="currency")
        rate = joined.set_index("row")["rate"].reindex(keys["row"])
        return rate.set_axis(currency.index).mask(currency.eq(self.base).fillna(False), 1.0)

    def between(
        self, own: pd.Series, target: pd.Series | str | None, day: pd.Series | int
    ) -> pd.Series:
        """What an amount in ``own`` is multiplied by to be in ``target`` (None: in the base), NaN where it has no rate.

        >>> fx = pd.DataFrame({"currency": ["CHF", "NOK"], "on": "2025-01-01", "rate_to_book": [2.0, 0.5]})
        >>> own = pd.Series(["CHF", "EUR", "SEK"])
        >>> rates(fx, "EUR").between(own, "EUR", 20_500).tolist(), rates(fx, None).between(own, "NOK", 20_500).tolist()
        ([2.0, 1.0, nan], [4.0, nan, nan])
        """
        if target is None:
            return self.at(own, day)
        other = pd.Series(target, index=own.index, dtype=object)
        return (self.at(own, day) / self.at(other, day)).mask(own.eq(other).fillna(False), 1.0)


def rates(fx: pd.DataFrame | None, reporting: str | None) -> Rates:
    """The rates of the table ``fx`` (None: there is none) with the setting ``reporting_currency``."""
    columns = ["currency", "day", "rate"]
    if fx is None or not len(fx):
        return Rates(
            pd.DataFrame(columns=columns).astype(
                {"currency": "str", "day": np.int64, "rate": float}
            )
        )
    day = pd.to_datetime(fx["on"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    table = pd.DataFrame(
        {
            "currency": fx["currency"].astype("str"),
            "day": day,
            "rate": fx["rate_to_book"].astype(float),
        }
    )
    table = table[table["rate"] > 0].sort_values(
        ["day", "currency"], kind="stable", ignore_index=True
    )
    always_one = table["rate"].eq(1).groupby(table["currency"]).all()
    named = sorted(always_one.index[always_one])
    target = code(reporting)
    base = named[0] if named and target not in named else target
    return Rates(table, base if named or target not in set(table["currency"]) else None)


def code(currency: str | None) -> str | None:
    """A currency's code, whatever its case in the settings."""
    return currency.strip().upper() if currency else None


def rate_issue(
    connection: duckdb.DuckDBPyConnection, day: dt.date, settings: DataSettings
) -> Issue | None:
    """Customers of whom an amount can't be converted on the portfolio's last day: to the reporting currency, else to
    another of its own."""
    rows, fx = (run(connection, f"checks/{name}", {}) for name in ("currencies", "fx"))
    target = rows.groupby("client_id")["currency"].transform("first").astype(object)
    if reporting := code(settings.reporting_currency):
        target = pd.Series(reporting, index=rows.index, dtype=object)
    known = rates(fx, settings.reporting_currency)
    lacking = rows[
        known.between(
            rows["currency"].astype(object), target, (day - dt.date(1970, 1, 1)).days
        ).isna()
    ]
    if lacking.empty:
        return None
    path = f"between {', '.join(sorted({*lacking['currency'], *target[lacking.index]}))}"
    if reporting:
        path = f"from {', '.join(sorted(set(lacking['currency'])))} to {reporting}"
    clients = {
        str(client): int(count) for client, count in lacking.groupby("client_id").size().items()
    }
    text = (
        f"fx has no rate {path}: the ARR of "
        f"{len(clients):,} customers is in no total and no value tier, for example {min(clients)}"
    )
    return note_on_customers(text, clients, "currency")
