"""Payment over spans: what is overdue on the last day, and how punctual the due invoices were paid."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.metrics.counting import Counting, Spans, ratio, where
from healthseg.metrics.cube import FAR, cumulate, within
from healthseg.metrics.metric import RULES_AND_PAGES, SCORED, Metric

STATUSES = ("current", "due", "overdue")


def _invoices(count: Counting) -> pd.DataFrame:
    if "invoices" not in count.__dict__:
        rows = count.rows("invoice_rows").copy()
        rows["paid_day"] = rows["paid_day"].fillna(FAR).astype(np.int64)
        count.__dict__["invoices"] = rows.astype(
            {"k": np.int64, "issued_day": np.int64, "due_day": np.int64}
        )
    return count.__dict__["invoices"]


def _totals(count: Counting, k, day, delta) -> np.ndarray:
    return cumulate(count.axis, len(count.clients), k, day, delta)


def invoices_issued(count: Counting, spans: Spans) -> np.ndarray:
    """Invoices issued ever, by the span's end; NaN without the table."""
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    rows = _invoices(count)
    table = _totals(count, rows["k"], rows["issued_day"], np.ones(len(rows), dtype=np.int64))
    return count.at(table, spans.k, spans.end).astype(float)


def _open_pairs(count: Counting, spans: Spans) -> pd.DataFrame:
    """Every (span, invoice open on its last day): issued by then, not paid by then, positive, in order of due date."""
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
    is_open = rows["paid_day"].to_numpy()[row] >= spans.end[span]
    pairs = rows.iloc[row[is_open]].assign(span=span[is_open])
    return pairs.sort_values(["span", "due_day", "invoice_id"], kind="stable", ignore_index=True)


def _uncovered(count: Counting, spans: Spans) -> pd.DataFrame:
    """The open invoices that the customer's open credit notes do not cover, the oldest being covered first."""
    pairs = _open_pairs(count, spans)
    rows = _invoices(count)
    notes = rows[rows["hundredths"] < 0]
    if len(notes):
        credit = _totals(
            count,
            np.r_[notes["k"], notes["k"]],
            np.r_[notes["issued_day"], notes["paid_day"]],
            np.r_[-notes["hundredths"], notes["hundredths"]],
        )
        owed = pairs.groupby("span")["hundredths"].cumsum().to_numpy()
        at = count.at(credit, spans.k, spans.end)
        pairs = pairs[owed > at[pairs["span"].to_numpy()]]
    return pairs


def _worst(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Days overdue of the oldest open invoice (0 where none is), and whether anything is open at all."""
    if "worst" not in count.__dict__ or count.__dict__["worst"][0] is not spans:
        pairs = _uncovered(count, spans)
        span, late = (
            pairs["span"].to_numpy(),
            spans.end[pairs["span"].to_numpy()] - 1 - pairs["due_day"].to_numpy(),
        )
        worst = np.zeros(len(spans.k), dtype=np.int64)
        np.maximum.at(worst, span, late)
        anything = np.zeros(len(spans.k), dtype=bool)
        anything[span] = True
        count.__dict__["worst"] = (spans, worst, anything)
    return count.__dict__["worst"][1:]


def worst_days_overdue(count: Counting, spans: Spans) -> np.ndarray:
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    return where(invoices_issued(count, spans) > 0, _worst(count, spans)[0])


def payment_status(count: Counting, spans: Spans) -> np.ndarray:
    """0 current, 1 due, 2 overdue (``STATUSES``); NaN without an invoice."""
    if not count.has("invoices"):
        return np.full(len(spans.k), np.nan)
    worst, anything = _worst(count, spans)
    return where(
        invoices_issued(count, spans) > 0, np.where(worst > 0, 2, np.where(anything, 1, 0))
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


METRICS = (
    Metric(
        name="worst_days_overdue",
        label="Days the oldest open invoice is overdue",
        short="Overdue invoices",
        unit="days",
        definition="max over invoices unpaid at d with due_on < d of d − due_on; 0 if none is overdue; missing for a "
        "customer without an invoice issued ≤ d. Credit notes (negative) offset the oldest open ones first",
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
        name="paid_on_time_share_365d",
        label="Invoices paid at most 5 days late in 365 days",
        short="Punctual payment",
        unit="share",
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
        above="{value} of the invoices were paid on time",
        below="Only {value} of the invoices were paid on time",
        high="punctual",
        low="often late",
        kind="payment",
        effort="medium",
    ),
    Metric(
        name="invoices_issued",
        label="Invoices issued",
        unit="invoices",
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
        name="payment_status",
        label="Payment status",
        unit="word",
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
