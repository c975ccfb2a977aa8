"""Which rows of which tables are behind a figure in money: ARR, net and gross retention, invoices due."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.data.contracts import known_versions, standing
from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import EPOCH, Counting, Spans, customers, epoch_day
from healthseg.metrics.money import currencies, money, uncovered_invoices
from healthseg.metrics.profile import is_live, profiles
from healthseg.metrics.spells import merged_into
from healthseg.metrics.statements import (
    ARR_SOURCES,
    Statements,
    arr_statements,
    rates_of,
    statements,
)
from healthseg.periods import year_before
from healthseg.settings.data import DataSettings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

COLUMNS = ["date", "client_id", "table", "key", "from", "until", "amount"]
# of ARR: the row's currency, and the amount in that of the totals
CONVERTED = ["currency", "rate", "converted"]


def rows_behind(
    portfolio: Portfolio, figure: str, as_of: dt.date, clients: Sequence[str] | None = None
) -> pd.DataFrame:
    """The rows behind a figure, for the customers that it counts or for some of them.

    A row per source row: ``date`` (the day that it is read at), client_id, ``table``, ``key`` (contract_id, invoice_id,
    or the day from which it holds), ``from`` and ``until`` (until when it holds; of an invoice: due), ``amount`` in its
    own currency; of ARR also ``currency``, the ``rate`` by which it enters totals (1 where nothing is converted) and
    ``converted``, their product. NRR and GRR rest on the ARR of two days, both at the rates of the later one; an account that
    was merged into its parent counts there. The converted amounts of a date add up to the ARR, those of invoices to what is due.
    """
    if figure == "invoices_due":
        return open_invoices(portfolio, as_of, clients)
    dates = {"arr": [as_of], "nrr": [year_before(as_of), as_of], "grr": [year_before(as_of), as_of]}

    if figure not in dates:
        raise InvalidParameters(
            f"no rows are known behind {figure!r}",
            parameter="figure",
            value_provided=str(figure),
            validation_rule="arr, nrr, grr or invoices_due",
        )
    parts = [_arr(portfolio, date, clients, as_of) for date in dates[figure]]
    frame = pd.concat(parts, ignore_index=True)
    if figure == "arr":
        return frame
    merged = merged_into(portfolio, as_of)
    cohort = frame.loc[(frame["date"] < pd.Timestamp(as_of)) & (frame["amount"] > 0), "client_id"]
    return frame[frame["client_id"].isin({*cohort, *merged.reindex(cohort).dropna()})]


def rows_between(
    portfolio: Portfolio, since: dt.date, until: dt.date, rates_on: dt.date
) -> pd.DataFrame:
    """The rows behind the ARR of all customers on two days, at the rates of a third."""
    parts = [_arr(portfolio, date, None, rates_on) for date in (since, until)]
    return pd.concat(parts, ignore_index=True)


def _arr(
    portfolio: Portfolio, date: dt.date, clients: Sequence[str] | None, rates_on: dt.date
) -> pd.DataFrame:
    live = profiles(portfolio, [date])
    live = live[is_live(live) & live["arr"].notna()]
    if clients is not None:
        live = live[live["client_id"].isin(list(clients))]
    history, names = statements(portfolio), live["client_id"].tolist()
    k, day = history.k_of(names), np.full(len(names), epoch_day(date), dtype=np.int64)
    value, source = arr_statements(history, history.contracts.at(k, day), k, day)
    # where a figure of today stands for it (``profile``), it comes from the customers table
    source = np.where(np.isclose(value, live["arr"], equal_nan=True), source, 3)
    parts = [
        _contracts(history, k[source == 0], date, portfolio.settings),
        _changes(history, k[source == 1], date, "arr_changes"),
        _changes(history, k[source == 2], date, "customer_changes"),
        _snapshot(portfolio, [name for name, at in zip(names, source, strict=True) if at == 3]),
    ]
    rows = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=COLUMNS)])
    rows = rows.assign(date=pd.Timestamp(date)).reset_index(drop=True)
    rows = _with_rates(portfolio, rows, live.set_index("client_id"), date, rates_on)
    rows = rows[[*COLUMNS, *CONVERTED]]
    return rows.sort_values(["client_id", "from"], kind="stable", ignore_index=True)


def _with_rates(
    portfolio: Portfolio, rows: pd.DataFrame, live: pd.DataFrame, date: dt.date, rates_on: dt.date
) -> pd.DataFrame:
    """The rows with their currency and the rate to that of the totals: to the customer's on the day, and on by the rates of
    ``rates_on``, as ``contracts_at`` and ``money`` convert."""
    fx, compared = rates_of(portfolio), money(portfolio, live, date, rates_on)
    of_customer = rows["client_id"].map(currencies(portfolio, live)).astype(object)
    own = rows["currency"].astype(object) if "currency" in rows else of_customer
    own = own.where(own.notna(), of_customer)
    rate = pd.Series(1.0, index=rows.index)
    if fx.usable and len(rows):
        other = own.notna() & of_customer.notna() & (own != of_customer)
        day = epoch_day(date)
        rate[other] = fx.between(
            own[other], of_customer[other], pd.Series(day, index=rows.index)[other]
        )
        if compared.converted:
            rate = rate * fx.between(of_customer, compared.currency, epoch_day(rates_on)).astype(
                float
            )
    return rows.assign(currency=own, rate=rate, converted=rows["amount"].astype(float) * rate)


def _contracts(
    history: Statements, k: np.ndarray, date: dt.date, settings: DataSettings
) -> pd.DataFrame:
    """The contracts in force, else those that ended last."""
    moments = pd.DataFrame({"k": k, "day": epoch_day(date)})
    versions = known_versions(history.contract_rows, history.convention, moments, settings)
    known = standing(versions, settings)
    keys = known["contract_id"].astype(object)
    return pd.DataFrame(
        {
            "client_id": history.clients[known["k"]],
            "table": ARR_SOURCES[0],
            "key": keys.where(keys.notna(), _days(known["starts"]).dt.date.astype(str)),
            "from": _days(known["starts"]),
            "until": _days(known["stop"].replace(np.inf, np.nan)),
            "amount": known["arr"],
            "currency": known["currency"].astype(object),
        }
    )


def _changes(history: Statements, k: np.ndarray, date: dt.date, table: str) -> pd.DataFrame:
    day = np.full(len(k), epoch_day(date), dtype=np.int64)
    rows = history.arr.at(k, day) if table == "arr_changes" else history.change("arr", k, day)
    amount = rows["arr"] if table == "arr_changes" else rows["value"]
    since = _days(rows["effective"])
    return pd.DataFrame(
        {
            "client_id": history.clients[k],
            "table": table,
            "key": since.dt.date.astype(str),
            "from": since,
            "until": pd.NaT,
            "amount": pd.to_numeric(amount, errors="coerce"),
        }
    )


def _snapshot(portfolio: Portfolio, names: list[str]) -> pd.DataFrame:
    table = customers(portfolio)
    amount = table["arr"].reindex(names).to_numpy(dtype=float) if "arr" in table else np.nan
    return pd.DataFrame(
        {"client_id": names, "table": ARR_SOURCES[3], "key": names, "from": pd.NaT, "until": pd.NaT}
    ).assign(amount=amount)


def _days(days: pd.Series) -> pd.Series:
    return pd.Timestamp(EPOCH) + pd.to_timedelta(days.astype(float), unit="D")


def open_invoices(
    portfolio: Portfolio, as_of: dt.date, clients: Sequence[str] | None
) -> pd.DataFrame:
    """Open invoices that credit notes do not cover, with what is still open of each."""
    names = sorted(customers(portfolio).index if clients is None else clients)
    if not portfolio.has("invoices") or not names:
        return pd.DataFrame(columns=COLUMNS)
    k = np.arange(len(names), dtype=np.int64)
    end = np.full(len(names), epoch_day(as_of) + 1, dtype=np.int64)
    spans = Spans(k, end - 1, end)
    rows = uncovered_invoices(Counting(portfolio, names, spans), spans)
    return pd.DataFrame(
        {
            "date": pd.Timestamp(as_of),
            "client_id": np.array(names, dtype=object)[rows["k"]],
            "table": "invoices",
            "key": rows["invoice_id"],
            "from": _days(rows["issued_day"]),
            "until": _days(rows["due_day"]),
            "amount": rows["open"] / 100,
        }
    )[COLUMNS].reset_index(drop=True)
