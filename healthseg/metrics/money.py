"""Invoices over spans, amounts of several currencies, revenue retention."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.data.rates import code
from healthseg.metrics.catalog import RULES_AND_PAGES, SCORED, Metric
from healthseg.metrics.counting import (
    FAR,
    Counting,
    Spans,
    customers,
    epoch_day,
    ratio,
    where,
    within,
)
from healthseg.metrics.profile import is_live, profiles
from healthseg.metrics.statements import rates_of

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


# -- invoices --------------------------------------------------------------------------


STATUSES = ("current", "due", "overdue")


def _invoices(count: Counting) -> pd.DataFrame:
    """The invoices: ``paid_day`` is the day on which one was paid in full, ``part`` what was paid of it from ``part_day``
    on, in hundredths."""

    def build() -> pd.DataFrame:
        rows = count.rows("invoice_rows")
        paid_day, paid = rows["paid_day"].fillna(FAR), rows["paid_hundredths"].astype(float)
        partly = (paid < rows["hundredths"]) & (rows["hundredths"] > 0)
        undated = paid.notna() & rows["paid_day"].isna() & ~partly & (rows["hundredths"] > 0)
        return rows.assign(
            part=rows["hundredths"].where(undated, paid.where(partly)).fillna(0),
            part_day=paid_day.where(rows["paid_day"].notna(), rows["issued_day"]),
            paid_day=paid_day.where(~partly, FAR),
        ).astype(
            dict.fromkeys(["k", "issued_day", "due_day", "paid_day", "part", "part_day"], np.int64)
        )

    return count.once("invoices", build)


def invoices_issued(count: Counting, spans: Spans) -> np.ndarray:
    """Invoices issued ever, by the span's end; NaN without the table."""
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    rows = _invoices(count)
    table = count.cumulate(rows["k"], rows["issued_day"], np.ones(len(rows), dtype=np.int64))
    return count.at(table, spans.k, spans.end).astype(float)


def _open_pairs(count: Counting, spans: Spans) -> pd.DataFrame:
    """Every (span, invoice with ``open`` hundredths on its last day): issued by then, not paid by then, in order of due date."""
    rows = _invoices(count)
    rows = rows[rows["hundredths"] > 0].sort_values(
        ["k", "issued_day", "due_day", "invoice_id"], kind="stable"
    )
    row, span = within(
        rows["k"].to_numpy(),
        rows["issued_day"].to_numpy(),
        spans.k,
        np.zeros(len(spans.k), dtype=np.int64),
        spans.end,
    )
    end = spans.end[span]
    part = np.where(rows["part_day"].to_numpy()[row] < end, rows["part"].to_numpy()[row], 0)
    left = rows["hundredths"].to_numpy()[row] - part
    is_open = (rows["paid_day"].to_numpy()[row] >= end) & (left > 0)
    pairs = rows.iloc[row[is_open]].assign(span=span[is_open], open=left[is_open])
    return pairs.sort_values(["span", "due_day", "invoice_id"], kind="stable", ignore_index=True)


def uncovered_invoices(count: Counting, spans: Spans) -> pd.DataFrame:
    """The open invoices that the customer's credit notes do not cover, the oldest being covered first, with what is ``open``
    of each after them.

    A credit note counts from its issue on, whether or not it has a payment date; less what was paid on that very date,
    which it may have settled.
    """
    pairs = _open_pairs(count, spans)
    rows = _invoices(count)
    notes = rows[rows["hundredths"] < 0].reset_index(drop=True)
    if len(notes):
        settled = _settled(rows, notes)
        credit = count.cumulate(
            np.r_[notes["k"], notes["k"]],
            np.r_[notes["issued_day"], notes["paid_day"]],
            np.r_[-notes["hundredths"], -settled],
        )
        owed = pairs.groupby("span")["open"].cumsum().to_numpy()
        left = owed - count.at(credit, spans.k, spans.end)[pairs["span"].to_numpy()]
        pairs = pairs.assign(open=np.minimum(pairs["open"], left))[left > 0]
    return pairs


def _settled(rows: pd.DataFrame, notes: pd.DataFrame) -> np.ndarray:
    """What each credit note settled of invoices that were paid on the same day, in hundredths."""
    paid = rows[rows["hundredths"] > 0].groupby(["k", "paid_day"])["hundredths"].sum()
    keys = pd.MultiIndex.from_frame(notes[["k", "paid_day"]])
    left = pd.Series(paid.reindex(keys).fillna(0).to_numpy(), index=notes.index)
    before = (-notes["hundredths"]).groupby([notes["k"], notes["paid_day"]]).cumsum()
    taken = np.minimum(before, left) - np.minimum(before + notes["hundredths"], left)
    return np.where(notes["paid_day"] == FAR, 0, taken).astype(np.int64)


def _worst(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Days overdue of the oldest open invoice (0 where none is), and whether anything is open at all."""
    pairs = uncovered_invoices(count, spans)
    span = pairs["span"].to_numpy()
    worst = np.zeros(len(spans.k), dtype=np.int64)
    np.maximum.at(worst, span, spans.end[span] - 1 - pairs["due_day"].to_numpy())
    any_open = np.zeros(len(spans.k), dtype=bool)
    any_open[span] = True
    return worst, any_open


def worst_days_overdue(count: Counting, spans: Spans) -> np.ndarray:
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    return where(invoices_issued(count, spans) > 0, _worst(count, spans)[0])


def payment_status(count: Counting, spans: Spans) -> np.ndarray:
    """0 current, 1 due, 2 overdue (``STATUSES``); NaN without an invoice."""
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    worst, any_open = _worst(count, spans)
    return where(
        invoices_issued(count, spans) > 0, np.where(worst > 0, 2, np.where(any_open, 1, 0))
    )


def paid_on_time_share(count: Counting, spans: Spans) -> np.ndarray:
    """Of the invoices due in the span whose punctuality is settled by its end, the share paid in time (with grace)."""
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    rows, grace = _invoices(count), count.portfolio.settings.paid_late_days
    rows = rows[rows["hundredths"] > 0].sort_values(["k", "due_day"], kind="stable")
    due, paid = rows["due_day"].to_numpy(), rows["paid_day"].to_numpy()
    row, span = within(rows["k"].to_numpy(), due, spans.k, spans.start, spans.end)
    on_time = (paid[row] <= due[row] + grace) & (paid[row] < spans.end[span])
    late = ~on_time & (spans.end[span] - 1 > due[row] + grace)
    settled = span[on_time | late]
    return ratio(
        np.bincount(span[on_time], minlength=len(spans.k)),
        np.bincount(settled, minlength=len(spans.k)),
    )


# -- currencies ------------------------------------------------------------------------


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
        """The sum of the amounts that have a rate; None where they can't be added or none has one."""
        unknown = bool(self.no_rate) and self.converted and not self.amounts.notna().any()
        return None if unknown or not self.addable else round(float(self.amounts.sum()), 2)

    def totals(self, amounts: pd.Series) -> dict[str, float]:
        """Sums of the given amounts by currency, none added to another."""
        known = amounts[amounts.notna()]
        sums = known.groupby(self.by_currency.reindex(known.index).fillna("unknown")).sum()
        return {str(name): round(float(value), 2) for name, value in sums.sort_index().items()}


def money(
    portfolio: Portfolio, rows: pd.DataFrame, date: dt.date, rates_on: dt.date | None = None
) -> Money:
    """The ARR of panel rows (indexed by client_id, of one date) in one currency, as far as the portfolio allows.

    The currency is that of the contract of the day, else of the customers table, else the setting ``reporting_currency``,
    to which all amounts are converted where it is set. Rates are the last ones of ``fx`` by ``rates_on`` (default:
    ``date``): amounts of several dates are compared at constant rates, those of the period's end.
    """
    currency = currencies(portfolio, rows)
    arr = rows["arr"].astype(float)
    named, target = sorted(set(currency[arr.notna()].dropna())), _target(portfolio)
    only = named[0] if len(named) == 1 else None
    if len(named) <= 1 and target in (None, *named):
        return Money(arr, currency, only or target, True, False)
    fx = rates_of(portfolio)
    target = target or fx.base
    rate = fx.between(currency, target, epoch_day(rates_on or date)).astype(float)
    lacking = tuple(rows.index[rate.isna() & arr.notna()].astype(str))
    if not fx.usable:
        # nothing is converted: amounts are those of their own currencies
        return Money(arr, currency, only, len(named) <= 1, False, lacking if target else ())
    amounts = pd.Series(np.round((arr * rate).to_numpy(), 6), index=rows.index)
    return Money(amounts, currency, target, True, True, lacking)


def currencies(portfolio: Portfolio, rows: pd.DataFrame) -> pd.Series:
    """The currency of each panel row: its own, else the customers table's, else the reporting currency."""
    known = customers(portfolio).reindex(rows.index)
    named = rows["currency"].astype(object) if "currency" in rows else None
    if "currency" in known:
        snapshot = known["currency"].astype(object)
        named = snapshot if named is None else named.where(named.notna(), snapshot)
    if named is None:
        named = pd.Series(None, index=rows.index, dtype=object)
    return named.where(named.notna(), _target(portfolio))


def at_constant_rates(portfolio: Portfolio, frame: pd.DataFrame, rates_on: dt.date) -> np.ndarray:
    """The ARR of panel rows of several dates (``client_id, arr``, ``currency`` where known) at the rates of one day; NaN
    where it has no rate, all NaN where amounts can't be added up."""
    values = money(portfolio, frame.set_index("client_id"), rates_on)
    return values.amounts.to_numpy(dtype=float) if values.addable else np.full(len(frame), np.nan)


def _target(portfolio: Portfolio) -> str | None:
    return code(portfolio.settings.reporting_currency)


def in_reporting_currency(portfolio: Portfolio, frame: pd.DataFrame) -> np.ndarray:
    """The ARR of panel rows (``client_id, date, arr, currency``) in the currency of the thresholds, each at its own
    date's rates; NaN where it has no rate to it."""
    arr = frame["arr"].to_numpy(dtype=float).copy()
    fx = rates_of(portfolio)
    if not fx.usable and _target(portfolio) is None:
        return arr
    for date, rows in frame.groupby("date", sort=True):
        known = rows.set_index("client_id")
        values = money(portfolio, known, pd.Timestamp(date).date())
        lacking = known.index.isin(values.no_rate)
        arr[frame.index.get_indexer(rows.index)] = values.amounts.mask(lacking)
    return arr


# -- customers without a contract ----------------------------------------------------------


def uncontracted(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """Live customers past their contract's end without a new one: client_id, days, arr, currency; the longest first."""
    rows = profiles(portfolio, [as_of])
    rows = rows[is_live(rows) & (rows["uncontracted_days"] >= 1)].set_index("client_id")
    frame = pd.DataFrame(
        {
            "client_id": rows.index,
            "days": rows["uncontracted_days"].astype(int).to_numpy(),
            "arr": rows["arr"].to_numpy(dtype=float),
            "currency": currencies(portfolio, rows).to_numpy(dtype=object),
        }
    )
    return frame.sort_values(["days", "client_id"], ascending=[False, True], ignore_index=True)


# -- revenue retention -----------------------------------------------------------------


PARTS = ("start", "new", "expansion", "contraction", "churn", "end")


def movements(then: pd.Series, now: pd.Series, merged: pd.Series | None = None) -> pd.DataFrame:
    """Per customer the net change over the window, by what it was: start, new, expansion, contraction, churn, end.

    ``then`` and ``now`` are ARR by client_id: of customers that were live then, and that are live now. One that is not
    among the latter is lost, one that was lost within the window and is back is none. A customer whose ARR is missing
    at an end where it was live is left out: its movement is not known. start + new + expansion + contraction + churn =
    end, of each customer and of any sum of them. ``merged`` names the parents of accounts that were merged into them
    (``spells.merged_into``): what such an account paid then counts as its parent's, so that it neither churns nor expands.

    >>> movements(pd.Series({"a": 10.0, "b": 5.0}), pd.Series({"a": 12.0, "c": 3.0}))["expansion"].tolist()
    [2.0, 0.0, 0.0]
    """
    if merged is not None:
        then = _with_parents(then, now, merged)
    everyone = then.index.union(now.index).sort_values()
    unknown = everyone.isin(then.index[then.isna()]) | everyone.isin(now.index[now.isna()])
    before, after = (arr.reindex(everyone).fillna(0.0).to_numpy(dtype=float) for arr in (then, now))
    change = after - before
    frame = pd.DataFrame(
        {
            "start": before,
            "new": np.where(before == 0, change, 0.0),
            "expansion": np.where((before > 0) & (change > 0), change, 0.0),
            "contraction": np.where((before > 0) & (after > 0) & (change < 0), change, 0.0),
            "churn": np.where((before > 0) & (after == 0), change, 0.0),
            "end": after,
        },
        index=everyone,
    )
    return frame[~unknown]


def _with_parents(then: pd.Series, now: pd.Series, merged: pd.Series) -> pd.Series:
    taken = merged[merged.index.isin(then.index) & ~merged.index.isin(now.index)]
    taken = taken[taken.isin(now.index)]
    if taken.empty:
        return then
    owner = then.index.to_series().replace(taken.to_dict())
    return then.groupby(owner.to_numpy()).sum(min_count=1)


@dataclass(frozen=True)
class Retention:
    """Net and gross revenue retention of a cohort of ``customers`` with an ARR at the window's start."""

    nrr: float | None
    grr: float | None
    customers: int
    lost: int


def retention(rows: pd.DataFrame) -> Retention:
    """NRR = Σ now ÷ Σ then, GRR = Σ min(now, then) ÷ Σ then, over those with an ARR then (SaaS Metrics
    Standards Board).

    ``rows`` are ``movements``; both rates are None where nobody had an ARR.

    >>> retention(movements(pd.Series({"a": 10.0, "b": 10.0}), pd.Series({"a": 12.0, "c": 3.0})))
    Retention(nrr=0.6, grr=0.5, customers=2, lost=1)
    """
    cohort = rows[rows["start"] > 0]
    start = float(cohort["start"].sum())
    if not start > 0:
        return Retention(None, None, 0, 0)
    retained = np.minimum(cohort["start"], cohort["end"])
    return Retention(
        float(cohort["end"].sum()) / start,
        float(retained.sum()) / start,
        len(cohort),
        int((cohort["end"] == 0).sum()),
    )


def waterfall(rows: pd.DataFrame) -> dict[str, float]:
    """The sums of the parts, in order.

    >>> waterfall(movements(pd.Series({"a": 10.0}), pd.Series({"a": 8.0})))["contraction"]
    -2.0
    """
    return {name: float(rows[name].sum()) for name in PARTS}


# -- the catalogue's entries ------------------------------------------------------------

METRICS = (
    Metric(
        "worst_days_overdue",
        "Days the oldest open invoice is overdue",
        "days",
        short="Overdue invoices",
        definition="max over invoices unpaid at d with due_on < d of d − due_on; 0 if none is overdue; missing for a "
        "customer without an invoice issued ≤ d. Part payments count by their amount; credit notes (negative) offset the oldest open ones first",
        question="How long is an invoice overdue?",
        format="days",
        better="lower",
        missing="no invoice yet",
        tables=("invoices",),
        uses=SCORED,
        count=worst_days_overdue,
        window_days=365,
        above="No invoice is overdue",
        below="An invoice is overdue by {value}",
        high="late payers",
        low="nothing overdue",
        kind="payment",
        effort="low",
        logarithm=True,
    ),
    Metric(
        "paid_on_time_share_365d",
        "Invoices paid at most 5 days late in 365 days",
        "share",
        short="Punctual payment",
        definition="of invoices with due_on in 365 days that are paid or more than 5 days (`paid_late_days`) past due: "
        "share paid ≤ 5 days after due_on",
        question="Does the customer pay on time?",
        format="percent",
        better="higher",
        missing="no invoice fell due in 365 days",
        tables=("invoices",),
        uses=SCORED,
        count=paid_on_time_share,
        window_days=365,
        span_name="paid_on_time_share",
        above="{value} of the invoices were paid within the grace period",
        below="{value} of the invoices were paid within the grace period",
        high="punctual",
        low="often late",
        kind="payment",
        effort="medium",
    ),
    Metric(
        "invoices_issued",
        "Invoices issued",
        "invoices",
        definition="invoices issued ≤ d",
        question="How many invoices are there?",
        format="count",
        missing="no invoices",
        tables=("invoices",),
        count=invoices_issued,
        window_days=365,
        logarithm=True,
    ),
    Metric(
        "payment_status",
        "Payment status",
        "word",
        definition="overdue, due (unpaid, not yet due), current; missing without invoices",
        question="Is an invoice open or overdue?",
        format="word",
        missing="no invoice yet",
        tables=("invoices",),
        uses=RULES_AND_PAGES,
        count=payment_status,
        window_days=365,
        levels=STATUSES,
    ),
)
