"""Who the customer was on a date: ARR, seats, plan, renewal, stage, and whether it had churned, as known then."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics.catalog import ONLY_CHURN, SCORED, Metric
from healthseg.metrics.counting import (
    Counting,
    Spans,
    customers,
    epoch_day,
    epoch_days_or_nan,
)
from healthseg.periods import DAYS_A_MONTH
from healthseg.settings import Settings, tier_names

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


PRICE_DAYS = 90
STATIC = ("name", "industry", "region", "timezone", "parent_id")


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    return (
        frame[name]
        if name in frame
        else pd.Series([None] * len(frame), index=frame.index, dtype=object)
    )


def _moments(k: np.ndarray, day: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"k": k.astype(np.int32), "day": day.astype(np.int32)})


def _merged(moments: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    return moments.merge(values, on=["k", "day"], how="left")


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class TableStates:
    """Contract, ARR and stage of customers at moments ``(k, day)``, and since when each holds (``from_day``)."""

    moments: pd.DataFrame
    contract: pd.DataFrame
    arr: pd.DataFrame
    stage: pd.DataFrame

    @classmethod
    def of(cls, count: Counting, moments: pd.DataFrame) -> TableStates:
        def state(table: str, query: str, columns: list[str]) -> pd.DataFrame:
            if count.has(table):
                return _merged(moments, count.rows(query, moments=moments))
            return moments.reindex(columns=[*moments.columns, *columns]).astype(
                dict.fromkeys(columns, object)
            )

        return cls(
            moments,
            state(
                "contracts",
                "contracts_at",
                [
                    *("arr", "seats", "plan", "currency", "renewal_day"),
                    *("term_days", "auto_renews", "from_day"),
                ],
            ),
            state("arr_changes", "arr_at", ["arr", "from_day", "ended"]),
            state("stage_changes", "stage_at", ["stage", "from_day"]),
        )

    def churn_day(self, count: Counting) -> np.ndarray:
        """The day of churn by the moment, else NaN: ``churned_on`` unless a contract or a stage began after it, else
        the ARR's end, else the stage ``churned``."""
        k, day = (self.moments[name].to_numpy() for name in ("k", "day"))
        churned = epoch_days_or_nan(_column(count.customers, "churned_on"))[k]
        stage, staged = self.stage["stage"].to_numpy(dtype=object), _numbers(self.stage["from_day"])
        back = (_numbers(self.contract["from_day"]) > churned) | (
            (stage != "churned") & (staged > churned)
        )
        ended = np.where(_numbers(self.arr["ended"]) == 1, _numbers(self.arr["from_day"]), np.nan)
        left = np.where((churned <= day) & ~back, churned, ended)
        return np.where(np.isnan(left) & (stage == "churned"), staged, left)


def profile(
    count: Counting, k: np.ndarray, day: np.ndarray, snapshot_day: int | None
) -> pd.DataFrame:
    """One row per ``(k, day)``: what was known of the customer at the end of ``day`` (days since 1970).

    Snapshot columns of ``customers`` are read only on ``snapshot_day`` (the portfolio's last day):
    they hold today's value, and nobody knows since when.
    """
    moments = _moments(k, day)
    nothing = pd.Series([None] * len(k), dtype=object)
    out = pd.DataFrame(
        {
            "k": k,
            "day": day,
            "arr": np.nan,
            "seats": np.nan,
            "renewal_day": np.nan,
            "plan": nothing,
            "currency": nothing,
        }
    )
    if snapshot_day is not None:
        _from_snapshot(out, count.customers.iloc[k].reset_index(drop=True), day >= snapshot_day)
    if count.has("customer_changes"):
        _from_changes(out, moments, count)
    states = TableStates.of(count, moments)
    _from_contracts(out, states.contract)
    arr = _numbers(states.arr["arr"])
    out["arr"] = np.where(np.isnan(arr), out["arr"], arr)
    out["stage"] = states.stage["stage"].to_numpy(dtype=object)
    out["contract_term_days"] = _numbers(states.contract["term_days"])
    out["contract_auto_renews"] = _numbers(states.contract["auto_renews"])
    out["price_change_90d"] = _price_change(states.contract, count, moments)
    return _tenure(out, count, states.churn_day(count))


def _from_snapshot(out: pd.DataFrame, today: pd.DataFrame, known: np.ndarray) -> None:
    for name in ("arr", "seats"):
        out[name] = np.where(known, _numbers(_column(today, name)), np.nan)
    out["renewal_day"] = np.where(known, epoch_days_or_nan(_column(today, "renewal_date")), np.nan)
    for name in ("plan", "currency"):
        out[name] = np.where(known, _column(today, name).to_numpy(dtype=object), None)


def _from_changes(out: pd.DataFrame, moments: pd.DataFrame, count: Counting) -> None:
    changes = count.rows("changes_at", moments=moments)
    for name in ("arr", "seats"):
        values = _numbers(_merged(moments, changes[changes["field"] == name])["value"])
        out[name] = np.where(np.isnan(values), out[name], values)
    plan = _merged(moments, changes[changes["field"] == "plan"])["value"]
    out["plan"] = np.where(plan.isna(), out["plan"], plan.to_numpy(dtype=object))
    days = epoch_days_or_nan(_merged(moments, changes[changes["field"] == "renewal_date"])["value"])
    out["renewal_day"] = np.where(np.isnan(days), out["renewal_day"], days)


def _from_contracts(out: pd.DataFrame, contracts: pd.DataFrame) -> None:
    for name in ("arr", "seats", "renewal_day"):
        values = _numbers(contracts[name])
        out[name] = np.where(np.isnan(values), out[name], values)
    for name in ("plan", "currency"):
        out[name] = np.where(
            contracts[name].isna(), out[name], contracts[name].to_numpy(dtype=object)
        )


def _price_change(now: pd.DataFrame, count: Counting, moments: pd.DataFrame) -> np.ndarray:
    """The contract's ARR a seat (its ARR where no seats are known) ÷ that of 90 days before, less 1."""
    if not count.has("contracts"):
        return np.full(len(moments), np.nan)
    earlier = moments.assign(day=(moments["day"] - PRICE_DAYS).astype(np.int32))
    before = _merged(earlier, count.rows("contracts_at", moments=earlier))
    price, old_price = (_price(contract) for contract in (now, before))
    return np.divide(price, old_price, out=np.full(len(price), np.nan), where=old_price > 0) - 1


def _price(contract: pd.DataFrame) -> np.ndarray:
    arr, seats = _numbers(contract["arr"]), _numbers(contract["seats"])
    return arr / np.where(seats > 0, seats, 1.0)


def _tenure(out: pd.DataFrame, count: Counting, left: np.ndarray) -> pd.DataFrame:
    """Adds tenure and whether the customer is live; a churned one has no ARR."""
    k, day = out["k"].to_numpy(), out["day"].to_numpy()
    notice = epoch_days_or_nan(_column(count.customers, "notice_on"))[k]
    out["days_since_notice"] = np.where(notice <= day, day - notice, np.nan)
    out["tenure_days"] = (day - count.signup[k]).astype(np.float64)
    out["live"] = (day >= count.signup[k]) & np.isnan(left)
    out["arr"] = np.where(np.isnan(left), out["arr"], 0.0)
    out["days_to_renewal"] = out["renewal_day"] - day
    return out


def tiers(arr: np.ndarray, settings: Settings) -> np.ndarray:
    """The value tier's name of each ARR: lower edge excluded, upper included; None where ARR is missing."""
    arr = np.asarray(arr, dtype=np.float64)
    names = np.array(tier_names(settings), dtype=object)
    index = np.searchsorted(np.array(settings.arr_thresholds), np.nan_to_num(arr), side="left")
    return np.asarray(pd.Series(names[index]).where(~np.isnan(arr), None), dtype=object)


# -- churn -----------------------------------------------------------------------------


def customers_as_of(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """The customers by id, with ``churned_on`` and ``notice_on`` as they were known at the end of ``as_of``.

    ``churned_on``, else the change of ARR that ended it, else the stage ``churned`` (``TableStates.churn_day``); a
    later day is not known yet, and a customer that was won back has not churned.

    >>> from healthseg.testing import tiny_portfolio
    >>> changes = pd.DataFrame({"client_id": "a", "effective_on": ["2025-01-01", "2025-03-01"], "arr": [100, 0]})
    >>> portfolio = tiny_portfolio([("a", "2025-03-08 09:00", "u1")], arr_changes=changes)
    >>> [str(customers_as_of(portfolio, dt.date(2025, 3, day))["churned_on"]["a"])[:10] for day in (1, 8)]
    ['2025-03-01', '2025-03-01']
    >>> bool(customers_as_of(portfolio, dt.date(2025, 2, 28))["churned_on"].isna()["a"])
    True
    """
    return portfolio.cache.get(
        "customers_as_of", as_of, lambda: _as_of(portfolio, as_of), disk=False
    )


def _as_of(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    known = customers(portfolio)
    days = known.index.to_series().map(_churn_by_client(portfolio, as_of)).astype("float64")
    frame = known.assign(churned_on=pd.to_datetime(days, unit="D").astype("datetime64[us]"))
    if "notice_on" in known:
        notice = pd.to_datetime(known["notice_on"])
        frame["notice_on"] = notice.where(notice <= pd.Timestamp(as_of))
    return frame


def _churn_by_client(portfolio: Portfolio, as_of: dt.date) -> dict[str, int]:
    """The day of churn of each customer that had churned by ``as_of``."""

    def build() -> dict[str, int]:
        clients = customers(portfolio).index.tolist()
        days = zip(clients, churn_days(portfolio, clients, as_of), strict=True)
        return {client: int(day) for client, day in days if not np.isnan(day)}

    return portfolio.cache.get("churn_days", [as_of, portfolio.state(as_of)], build)


def churn_days(portfolio: Portfolio, clients: list[str], as_of: dt.date) -> np.ndarray:
    """The day (since 1970) of churn of each of the customers by ``as_of``, else NaN."""
    if not clients:
        return np.empty(0)
    every, day = np.arange(len(clients)), np.full(len(clients), epoch_day(as_of), dtype=np.int64)
    count = Counting(portfolio, clients, Spans(every, day, day + 1))
    moments = pd.DataFrame({"k": every.astype(np.int32), "day": day.astype(np.int32)})
    return TableStates.of(count, moments).churn_day(count)


def customer_as_of(portfolio: Portfolio, client_id: Any, as_of: dt.date) -> dict[str, Any]:
    """One customer as ``customers_as_of`` has it. Raises InvalidClientId and ClientNotFound."""
    return customers_as_of(portfolio, as_of).loc[portfolio.client(client_id)["client_id"]].to_dict()


# -- the catalogue's entries ------------------------------------------------------------

METRICS = (
    Metric(
        "score",
        "Health score",
        "points",
        definition="the weighted mean of the scorecard's components, 0 to 100 ([methods](methods.md))",
        question="How healthy is the customer?",
        format="count",
        better="higher",
        missing="too little is measured",
        uses=frozenset({"segments", "rules", "pages"}),
        high="healthy",
        low="unhealthy",
        kind="health",
    ),
    Metric(
        "arr",
        "ARR",
        "money",
        definition="last `arr_changes.arr` with effective_on ≤ d; else the contract of d; else the last "
        "`customer_changes`; else, only on the portfolio's last day, `customers.arr`; 0 once churned",
        question="What does the customer pay a year?",
        format="money",
        missing="no ARR is known of that day",
        tables=("contracts",),
        high="large contracts",
        low="small contracts",
        kind="size",
        logarithm=True,
    ),
    Metric(
        "seats",
        "Seats",
        "seats",
        definition="of the contract of d (starts_on ≤ d < ends_on, signed_on ≤ d where it is set, latest starts_on); "
        "else the last `customer_changes` with effective_on ≤ d; else, only on the portfolio's last day, `customers`",
        question="How many seats does the customer pay for?",
        format="count",
        missing="no seats are known of that day",
        tables=("contracts",),
        high="many seats",
        low="few seats",
        kind="size",
        logarithm=True,
    ),
    Metric(
        "tenure_days",
        "Tenure in days",
        "days",
        definition="d − signup_date",
        question="How long has it been a customer?",
        format="days",
        tables=("customers",),
        logarithm=True,
    ),
    Metric(
        "tenure_months",
        "Tenure",
        "months",
        definition="tenure_days ÷ 30.4375",
        question="How long has it been a customer?",
        tables=("customers",),
        uses=SCORED,
        derive=lambda rows: rows["tenure_days"] / DAYS_A_MONTH,
        high="long-standing",
        low="new",
        kind="tenure",
    ),
    Metric(
        "days_to_renewal",
        "Days to renewal",
        "days",
        definition="renewal_on − d; renewal_on is the contract's renews_on, else its end if it runs for 60 days or more "
        "(shorter ones roll on); where there is no contract, as `seats`",
        question="When is the renewal?",
        format="days",
        missing="no renewal date is known of that day",
        tables=("contracts",),
        high="renewal far off",
        low="renewal soon",
        kind="contract",
    ),
    Metric(
        "contract_term_days",
        "Contract term",
        "days",
        definition="days from the start to the end of the contract of d",
        question="For how long does the contract run?",
        format="days",
        missing="no contract with an end is known of that day",
        tables=("contracts",),
        uses=ONLY_CHURN,
        logarithm=True,
    ),
    Metric(
        "contract_auto_renews",
        "Automatic renewal",
        "share",
        definition="1 where the contract of d renews by itself, 0 where it does not",
        question="Does the contract renew by itself?",
        format="percent",
        missing="no contract of that day says whether it renews by itself",
        tables=("contracts",),
        uses=ONLY_CHURN,
    ),
    Metric(
        "price_change_90d",
        "Change of price in 90 days",
        "share",
        definition="ARR a seat of the contract of d ÷ that of the contract of d − 90 days, less 1; ARR alone where no "
        "seats are known",
        question="Has the price changed lately?",
        format="percent",
        missing="no contract is known of that day or of 90 days before",
        tables=("contracts",),
        uses=ONLY_CHURN,
    ),
    Metric(
        "days_since_notice",
        "Days since notice",
        "days",
        definition="d − notice_on where notice was given by d",
        question="How long ago was notice given?",
        format="days",
        missing="no notice was given",
        tables=("customers",),
        uses=SCORED,
    ),
)
