"""Who the customer was on a date: ARR, seats, plan, renewal, stage, and whether it had churned, as known then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.data.contracts import renewal_days
from healthseg.metrics.catalog import ONLY_CHURN, RULES_AND_PAGES, SCORED, Metric
from healthseg.metrics.counting import Counting, Spans, customers, epoch_day, epoch_days_or_nan
from healthseg.metrics.spells import lives, spells_as_of
from healthseg.metrics.statements import (
    Statements,
    arr_statements,
    newest,
    numbers,
    statements,
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


def profile(
    count: Counting, k: np.ndarray, day: np.ndarray, snapshot_day: int | None
) -> pd.DataFrame:
    """One row per ``(k, day)``: what was known of the customer at the end of ``day`` (days since 1970).

    Snapshot columns of ``customers`` are read only on ``snapshot_day`` (the portfolio's last day):
    they hold today's value, and nobody knows since when.
    """
    history = statements(count.portfolio)
    at = history.k_of(count.clients)[k]
    today = count.customers.iloc[k].reset_index(drop=True)
    known = np.zeros(len(k), dtype=bool) if snapshot_day is None else day >= snapshot_day
    contract = history.contracts.at(at, day)
    began, lost = lives(count.portfolio).at(at, day)
    out = pd.DataFrame({"k": k, "day": day})
    out["arr"] = _arr(
        history, contract, at, day, began, np.where(known, _today(today, "arr"), np.nan)
    )
    out["seats"] = _seats(
        history, contract, at, day, np.where(known, _today(today, "seats"), np.nan)
    )
    renewal = np.where(known, epoch_days_or_nan(_column(today, "renewal_date")), np.nan)
    out["renewal_day"] = _renewal(history, contract, at, day, renewal)
    out["plan"] = _plan(history, contract, at, day, _words_of(today, "plan", known))
    currency = _words_of(today, "currency", known)
    out["currency"] = _first_word(contract["currency"], currency)
    out["stage"] = history.stage.at(at, day)["stage"].astype(object).to_numpy()
    out["stage"] = out["stage"].where(out["stage"].notna(), None)
    out["contract_term_days"] = numbers(contract["term"].where(contract["ended"].isna()))
    out["contract_auto_renews"] = numbers(contract["auto_renews"])
    out["list_price"] = _in_force(contract, "list_price")
    out["price_change_90d"] = _price_change(history, contract, at, day)
    lapsed = numbers(contract["lapsed"])
    out["uncontracted_days"] = np.where(np.isnan(lost), day - lapsed + 1, np.nan)
    return _without_withheld(_tenure(out, count, began, lost), count)


def _without_withheld(out: pd.DataFrame, count: Counting) -> pd.DataFrame:
    """The rows without the figures of customers that lost too many rows of a table which these rest on."""
    for metric in METRICS:
        lost = count.withheld(metric.tables, metric.withheld_by)[out["k"].to_numpy()]
        if "contracts" in metric.tables and lost.any():
            # a churned customer's ARR is 0, whatever its contracts were
            lost = lost & out["live"].to_numpy() if metric.name == "arr" else lost
            out[metric.name] = out[metric.name].mask(lost)
    out["renewal_day"] = out["renewal_day"].where(out["days_to_renewal"].notna())
    return out


def profiles(portfolio: Portfolio, dates: Sequence[dt.date]) -> pd.DataFrame:
    """``profile`` of every customer that had signed up on each date, with ``client_id`` and ``date``."""

    def build() -> pd.DataFrame:
        clients = customers(portfolio).index.tolist()
        k = np.tile(np.arange(len(clients)), len(dates))
        day = np.repeat(np.array([epoch_day(date) for date in dates], dtype=np.int64), len(clients))
        count = Counting(portfolio, clients, Spans(k, day, day + 1))
        rows = profile(count, k, day, epoch_day(portfolio.data_until))
        ids = {"client_id": np.array(clients, dtype=object)[k], "date": day.astype("datetime64[D]")}
        rows = rows.assign(**ids)
        return rows[rows["tenure_days"] >= 0].reset_index(drop=True)

    return portfolio.cache.get("profiles", tuple(dates), build, disk=False, limit=8)


def is_live(rows: pd.DataFrame) -> pd.Series:
    """Customers that are live; prospects are not customers yet."""
    return rows["live"].astype(bool) & (rows["stage"].astype(object) != "prospect")


def _words_of(today: pd.DataFrame, name: str, known: np.ndarray) -> np.ndarray:
    return _column(today, name).astype(object).where(known, None).to_numpy()


def _today(today: pd.DataFrame, name: str) -> np.ndarray:
    return numbers(_column(today, name))


def _first_word(*columns: Any) -> np.ndarray:
    """The first word of each row, None without any."""
    words = pd.Series(columns[0]).astype(object).reset_index(drop=True)
    for other in columns[1:]:
        words = words.where(words.notna(), pd.Series(other, dtype=object).reset_index(drop=True))
    return words.where(words.notna(), None).to_numpy(dtype=object)


def _in_force(contract: pd.DataFrame, name: str) -> np.ndarray:
    return numbers(contract[name].where(contract["ended"].isna()))


def _arr(
    history: Statements,
    contract: pd.DataFrame,
    at: np.ndarray,
    day: np.ndarray,
    began: np.ndarray,
    today: np.ndarray,
) -> np.ndarray:
    """The newest statement; that of contracts which have all ended stands behind today's value, and is void once the
    customer was lost and won back."""
    value, source = arr_statements(history, contract, at, day)
    ended = numbers(contract["ended"])
    lapsed = (source == 0) & ~np.isnan(ended)
    stale = lapsed & (ended <= began)
    value = np.where(lapsed & ~np.isnan(today), today, np.where(stale, np.nan, value))
    return np.where(np.isnan(value), today, value)


def _seats(
    history: Statements, contract: pd.DataFrame, at: np.ndarray, day: np.ndarray, today: np.ndarray
) -> np.ndarray:
    """The newest of the contracts in force and the changes, else today's, else those of the contracts that ended."""
    change = history.change("seats", at, day)
    since, recorded = numbers(contract["since"]), numbers(contract["recorded"])
    value, _ = newest(
        (_in_force(contract, "seats"), since, recorded),
        tuple(numbers(change[name]) for name in ("value", "effective", "recorded")),
    )
    value = np.where(np.isnan(value), today, value)
    return np.where(np.isnan(value), numbers(contract["seats"]), value)


def _plan(
    history: Statements, contract: pd.DataFrame, at: np.ndarray, day: np.ndarray, today: np.ndarray
) -> np.ndarray:
    """As ``_seats``."""
    change = history.change("plan", at, day)
    own = contract["plan"].where(contract["ended"].isna()).astype(object).to_numpy()
    since = numbers(contract["since"].where(contract["ended"].isna()))
    newer = (numbers(change["effective"]) > since) | pd.isna(own)
    words = change["value"].astype(object).where(newer, None)
    return _first_word(words, own, today, contract["plan"])


def _renewal(
    history: Statements, contract: pd.DataFrame, at: np.ndarray, day: np.ndarray, today: np.ndarray
) -> np.ndarray:
    """The contract's renewal, else the last change of the date, else today's; of contracts that ended without a new one
    their end, which is overdue."""
    dates = epoch_days_or_nan(history.change("renewal_date", at, day)["value"])
    renews, ended = (
        renewal_days(contract.assign(day=day)),
        ~np.isnan(numbers(contract["ended"])),
    )
    other = np.where(np.isnan(dates), today, dates)
    own = np.where(ended & (other > renews), other, renews)
    return np.where(np.isnan(own), other, own)


def _price_change(
    history: Statements, now: pd.DataFrame, at: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """The contracts' ARR a seat (ARR where no seats are known) ÷ that of 90 days before, less 1."""
    price, old_price = (
        _price(contract) for contract in (now, history.contracts.at(at, day - PRICE_DAYS))
    )
    return np.divide(price, old_price, out=np.full(len(price), np.nan), where=old_price > 0) - 1


def _price(contract: pd.DataFrame) -> np.ndarray:
    arr, seats = _in_force(contract, "arr"), _in_force(contract, "seats")
    return arr / np.where(seats > 0, seats, 1.0)


def _tenure(
    out: pd.DataFrame, count: Counting, began: np.ndarray, lost: np.ndarray
) -> pd.DataFrame:
    """Adds tenure and whether the customer is live; a churned one has no ARR."""
    k, day = out["k"].to_numpy(), out["day"].to_numpy()
    notice = epoch_days_or_nan(_column(count.customers, "notice_on"))[k]
    noticed = (notice <= day) & ((notice >= began) | (began == count.signup[k]))
    out["days_since_notice"] = np.where(noticed, day - notice, np.nan)
    out["tenure_days"] = (day - count.signup[k]).astype(np.float64)
    out["live"] = (day >= count.signup[k]) & np.isnan(lost)
    out["arr"] = np.where(np.isnan(lost), out["arr"], 0.0)
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
    """The customers by id, with ``churned_on`` and ``notice_on`` of their last spell as known at the end of ``as_of``.

    ``churned_on``, else the end of the ARR, else the stage ``churned`` (``spells``); a later day is not known yet, and a
    customer that was won back has not churned.

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
    known, spells = customers(portfolio), spells_as_of(portfolio, as_of)
    last = spells[spells["is_last"]].set_index("client_id").reindex(known.index)
    frame = known.assign(churned_on=last["churned_on"])
    return frame.assign(notice_on=last["notice_on"]) if "notice_on" in known else frame


def churn_days(portfolio: Portfolio, clients: list[str], as_of: dt.date) -> np.ndarray:
    """The day (since 1970) of churn of each of the customers by ``as_of``, else NaN."""
    at = statements(portfolio).k_of(clients)
    return lives(portfolio).at(at, np.full(len(clients), epoch_day(as_of), dtype=np.int64))[1]


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
        definition="of the last `arr_changes`, the sum of the contracts in force on d and the last `customer_changes`, the "
        "one that holds from the latest day (then recorded last, then first named); else, only on the portfolio's last day, "
        "`customers.arr`; else the contracts that ended last; 0 once churned",
        question="What does the customer pay a year?",
        format="money",
        missing="no ARR is known of that day",
        tables=("contracts", "arr_changes", "customer_changes"),
        averages=("contracts.ends_on", "customers.churned_on", "customer_changes.value"),
        high="large contracts",
        low="small contracts",
        kind="size",
        logarithm=True,
    ),
    Metric(
        "seats",
        "Seats",
        "seats",
        definition="the sum of the contracts in force on d (begun and signed by d, not ended or replaced), or the last "
        "`customer_changes` where that is later; else, only on the portfolio's last day, `customers`; else the contracts "
        "that ended last",
        question="How many seats does the customer pay for?",
        format="count",
        missing="no seats are known of that day",
        tables=("contracts", "customer_changes"),
        averages=("contracts.ends_on",),
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
        definition="renewal_on − d; renewal_on is the largest contract's renews_on, else its end if it runs for 60 days or "
        "more (shorter ones roll on); of one that renews by itself the end of its present term; of contracts that ended "
        "without a new one their end, which is overdue; where there is no contract, as `seats`",
        question="When is the renewal?",
        format="days",
        missing="no renewal date is known of that day",
        tables=("contracts", "customer_changes"),
        averages=("contracts.ends_on",),
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
        averages=("contracts.ends_on",),
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
        averages=("contracts.ends_on",),
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
        averages=("contracts.ends_on",),
        uses=ONLY_CHURN,
    ),
    Metric(
        "uncontracted_days",
        "Days without a contract",
        "days",
        definition="d − the last day of the last contract, where none is in force, none renews by itself and none is signed",
        question="For how long has the customer been past its contract's end?",
        format="days",
        missing="a contract is in force, or none is known",
        tables=("contracts",),
        averages=("contracts.ends_on",),
        uses=RULES_AND_PAGES,
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
        averages=("customers.notice_on",),
        uses=SCORED,
    ),
)
