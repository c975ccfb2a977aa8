"""Figures of invoices and tickets recount from their rows, whatever was paid, credited or rated later."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from healthseg.metrics.panels import panel
from healthseg.metrics.traces import trace_metric
from tests.metrics.test_contracts import LAST, frame, portfolio_of


@pytest.fixture(scope="module")
def portfolio():
    invoices = frame(
        "client_id invoice_id amount issued_on due_on paid_on paid_amount",
        ("part", "1", 100, "2025-06-01", "2025-07-01", "2025-07-10", 60),
        ("part", "2", 30, "2025-09-01", "2025-10-01", None, None),
        ("full", "1", 100, "2025-06-01", "2025-07-01", None, 100),
        ("credit", "1", 100, "2025-06-01", "2025-07-01", None, None),
        ("credit", "2", 80, "2025-08-01", "2025-09-01", None, None),
        ("credit", "n", -100, "2025-09-15", "2025-09-15", None, None),
    )
    tickets = frame(
        "ticket_id client_id opened_at severity severity_set_at resolved_at",
        ("1", "part", "2025-09-01 10:00:00", "high", None, None),
        ("2", "part", "2025-09-01 10:00:00", "critical", "2025-10-20 10:00:00", None),
        ("3", "part", "2025-09-02 10:00:00", "low", None, None),
        ("4", "part", "2025-09-02 10:00:00", "high", None, "2025-10-10 10:00:00"),
    )
    return portfolio_of(invoices=invoices, tickets=tickets)


@pytest.mark.parametrize("day", [dt.date(2025, 9, 10), dt.date(2025, 10, 15), LAST])
@pytest.mark.parametrize("figure", ["worst_days_overdue", "open_high_tickets"])
@pytest.mark.parametrize("client", ["part", "full", "credit"])
def test_the_recount_is_the_figure(portfolio, figure, client, day):
    rows = panel(portfolio, [day]).set_index("client_id")
    value = float(rows.loc[client, figure])
    trace = trace_metric(portfolio, figure, value, figure, client, day)
    names = {"rows": trace.rows, "pd": pd, "max": max, "len": len, **trace.names}
    assert eval(trace.formula, names) == value


def test_the_figures_are_those_that_can_be_counted_by_hand(portfolio):
    rows = panel(portfolio, [dt.date(2025, 10, 15), LAST]).set_index(["client_id", "date"])
    figures = rows[["worst_days_overdue", "open_high_tickets"]].astype(float)
    assert figures.loc["part"].values.tolist() == [[106, 1], [122, 2]]
    assert figures.loc["credit", "worst_days_overdue"].tolist() == [44, 60]
    assert figures.loc["full", "worst_days_overdue"].tolist() == [0, 0]
