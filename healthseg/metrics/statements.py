"""What contracts, changes of ARR and other changes say of each customer, from day to day, as known then.

A statement holds from the day on which it is effective and recorded until a newer one does: the one that is effective
last, and of those the one recorded last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.data import contracts
from healthseg.data.rates import Rates, rates
from healthseg.metrics.counting import customers, epoch_days_or_nan

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

SCALE = np.int64(2**32)
ARR_SOURCES = ("contracts", "arr_changes", "customer_changes", "customers")


@dataclass(frozen=True)
class Steps:
    """Rows that each hold for a customer (``k``) from their ``day`` on until its next; sorted by both."""

    rows: pd.DataFrame

    @cached_property
    def _keys(self) -> np.ndarray:
        return self.rows["k"].to_numpy(np.int64) * SCALE + self.rows["day"].to_numpy(np.int64)

    def at(self, k: np.ndarray, day: np.ndarray) -> pd.DataFrame:
        """The row that holds at each moment; missing where none does yet."""
        position = np.searchsorted(self._keys, np.asarray(k, np.int64) * SCALE + day, "right") - 1
        same = position >= 0
        same[same] = self.rows["k"].to_numpy()[position[same]] == np.asarray(k)[same]
        return self.rows.reindex(np.where(same, position, -1)).reset_index(drop=True)


def steps(rows: pd.DataFrame) -> Steps:
    """Statements (``k, effective, recorded``, in order of customer, effect and record) as they hold from day to day.

    >>> rows = pd.DataFrame({"k": 0, "effective": [1, 5], "recorded": [1, 9], "value": ["a", "b"]})
    >>> steps(rows).at(np.array([0, 0, 0]), np.array([0, 8, 9]))["value"].tolist()
    [nan, 'a', 'b']
    """
    rows = rows.reset_index(drop=True)
    frame = pd.DataFrame(
        {"k": rows["k"], "day": rows[["effective", "recorded"]].max(axis=1), "rank": rows.index}
    )
    frame = frame.sort_values(["k", "day", "rank"], kind="stable")
    frame["rank"] = frame.groupby("k")["rank"].cummax()
    frame = frame.drop_duplicates(["k", "day"], keep="last")
    held = rows.drop(columns="k").iloc[frame["rank"]].set_axis(frame.index)
    return Steps(pd.concat([frame[["k", "day"]], held], axis=1).reset_index(drop=True))


@dataclass(frozen=True)
class Statements:
    """The statements of all customers, whose ``k`` is their position in ``clients``."""

    clients: pd.Index
    contract_rows: pd.DataFrame
    convention: contracts.EndConvention
    contracts: Steps
    arr_rows: pd.DataFrame
    change_rows: pd.DataFrame
    stage_rows: pd.DataFrame

    @cached_property
    def arr(self) -> Steps:
        return steps(self.arr_rows)

    @cached_property
    def stage(self) -> Steps:
        return steps(self.stage_rows)

    @cached_property
    def changes(self) -> dict[str, Steps]:
        return {
            str(field): steps(rows) for field, rows in self.change_rows.groupby("field", sort=True)
        }

    def change(self, field: str, k: np.ndarray, day: np.ndarray) -> pd.DataFrame:
        """The last change of a field by each moment: value, effective, recorded."""
        columns = ["value", "effective", "recorded"]
        if field not in self.changes:
            return pd.DataFrame(np.nan, index=range(len(k)), columns=columns).astype(
                {"value": object}
            )
        return self.changes[field].at(k, day)[columns]

    def k_of(self, clients: Sequence[str]) -> np.ndarray:
        return self.clients.get_indexer(pd.Index(clients))


def statements(portfolio: Portfolio) -> Statements:
    """The portfolio's statements, read once."""
    return portfolio.cache.get("statements", None, lambda: _read(portfolio), disk=False)


def _read(portfolio: Portfolio) -> Statements:
    clients = pd.Index(sorted(customers(portfolio).index))
    scope = pd.DataFrame({"k": np.arange(len(clients), dtype=np.int32), "client_id": clients})
    rows = {
        name: table_rows(portfolio, f"{name}_rows", scope=scope)
        for name in ("contract", "arr", "change", "stage")
    }
    settings = portfolio.settings
    contract_rows = contracts.prepared(
        rows["contract"], settings, _losses(portfolio, clients, rows)
    )
    convention = contracts.end_convention(contract_rows, settings.contract_ends)
    moments = contracts.boundaries(contract_rows, convention).sort_values(
        ["k", "day"], ignore_index=True
    )
    sums = contracts.contracts_at(contract_rows, convention, moments, settings, rates_of(portfolio))
    in_order = sums.sort_values(["k", "day"], ignore_index=True)
    return Statements(
        clients,
        contract_rows,
        convention,
        Steps(in_order),
        rows["arr"],
        rows["change"],
        rows["stage"],
    )


def table_rows(portfolio: Portfolio, name: str, **frames: pd.DataFrame) -> pd.DataFrame:
    """The result of ``sql/metrics/<name>.sql``, which reads tables of customers alone, as do the frames passed by name.

    It is stored, so that a process needs no database to begin with.
    """
    read = partial(portfolio.sql, f"metrics/{name}", **frames)
    return portfolio.cache.get(name, portfolio.state(), read)


def _losses(portfolio: Portfolio, clients: pd.Index, rows: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The days on which customers were lost by any table, and when that was known: they end renewals of contracts."""
    table = customers(portfolio).loc[clients]
    churned = epoch_days_or_nan(table["churned_on"]) if "churned_on" in table else np.array([])
    k = np.flatnonzero(~np.isnan(churned))
    arr, stage, change = rows["arr"], rows["stage"], rows["change"]
    zero = change["field"].eq("arr") & pd.to_numeric(change["value"], errors="coerce").eq(0)
    history = [arr[arr["arr"] == 0], stage[stage["stage"] == "churned"], change[zero]]
    parts = [
        part[["k", "effective", "recorded"]].set_axis(["k", "day", "known"], axis=1)
        for part in history
    ]
    return pd.concat([pd.DataFrame({"k": k, "day": churned[k], "known": churned[k]}), *parts])


def rates_of(portfolio: Portfolio) -> Rates:
    """The rates of the portfolio's currencies, read once."""

    def build() -> Rates:
        table = portfolio.table("fx") if portfolio.has("fx") else None
        return rates(table, portfolio.settings.reporting_currency)

    return portfolio.cache.get("rates", portfolio.settings.reporting_currency, build, disk=False)


def newest(
    *candidates: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Of (value, effective, recorded) the value that is effective last, then recorded last, then first in the list; and
    which it is (−1: none).

    >>> of = lambda *row: tuple(np.array([value]) for value in row)
    >>> [part.tolist() for part in newest(of(10.0, 5, 5), of(12.0, 9, 9), of(np.nan, 99, 99))]
    [[12.0], [1]]
    """
    value, at, recorded = (np.array(part, dtype=float) for part in candidates[0])
    source = np.where(np.isnan(value), -1, 0)
    for number, (other, since, known) in enumerate(candidates[1:], start=1):
        later = (since > at) | ((since == at) & (known > recorded)) | (source < 0)
        take = later & ~np.isnan(np.asarray(other, dtype=float))
        value, at, recorded = (
            np.where(take, new, old)
            for new, old in ((other, value), (since, at), (known, recorded))
        )
        source = np.where(take, number, source)
    return value, source


def numbers(values: pd.Series) -> np.ndarray:
    """A column as floats, NaN where it holds none."""
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)


def arr_statements(
    history: Statements, contract: pd.DataFrame, at: np.ndarray, day: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The ARR of the newest statement by each moment, and its table: a position in ``ARR_SOURCES``, −1 without any."""
    change, arr = history.change("arr", at, day), history.arr.at(at, day)
    since, recorded = numbers(contract["since"]), numbers(contract["recorded"])
    # of statements of one day the change of ARR is preferred, then the contract
    order = np.array([1, 0, 2, -1])
    value, source = newest(
        tuple(numbers(arr[name]) for name in ("arr", "effective", "recorded")),
        (numbers(contract["arr"]), since, recorded),
        tuple(numbers(change[name]) for name in ("value", "effective", "recorded")),
    )
    return value, order[source]
