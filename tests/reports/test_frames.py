"""Frames of results have the types of their columns' names, whether they have rows or none."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import DataRetrievalError, HealthsegError
from healthseg.metrics.frame_types import KINDS, kind_of, typed
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS

CUSTOMERS = pd.DataFrame({"client_id": ["a", "b"], "signup_date": "2024-01-01"})
MORNINGS = [("a", f"2025-06-{day:02d} 09:00", "u1", "plan") for day in range(1, 31)]
UNTIL = {"data_until": "2025-06-30"}


def other_types(result):
    """Columns of another type than their names': (frame, column, type)."""
    return [
        (name, column, str(frame[column].dtype))
        for name in result.frames
        for frame in [result.frame(name)]
        for column in frame
        if str(frame[column].dtype) != KINDS[kind_of(name, column)]
    ]


def answered(portfolio):
    """The responses of all tools that can answer, of the portfolio and of customer ``a``."""
    for tool in TOOLS.values():
        portfolio_wide = {**tool.report_defaults}
        portfolio_wide.pop("analysis_scope", None)
        for_customer = tool.reading | tool.report_defaults | {"client_id": "a"}
        for scope, parameters in (("portfolio", portfolio_wide), ("customer", for_customer)):
            try:
                yield tool.run(portfolio, parameters, scope)
            except HealthsegError:
                continue
    yield hs.next_actions(portfolio)


def test_every_column_of_a_full_portfolio_has_the_type_of_its_name(shown_pages):
    pages = [*shown_pages.customers.values(), *shown_pages.portfolios.values()]
    results = [page.result for page in [*pages, *shown_pages.overviews.values()]]
    assert [other_types(result) for result in results] == [[] for _ in results]
    dates = {
        column
        for result in results
        for name in result.frames
        for column in result.frame(name).select_dtypes("datetime")
    }
    assert {"renewal_on", "since", "due_on", "start", "month"} <= dates


@pytest.mark.parametrize(
    "portfolio",
    [
        hs.Portfolio.open({"customers": CUSTOMERS}, settings=UNTIL),
        tiny_portfolio(MORNINGS, CUSTOMERS.assign(churned_on="2025-05-01")),
    ],
    ids=["customers alone", "all churned"],
)
def test_frames_without_rows_have_the_same_types(portfolio):
    results = list(answered(portfolio))
    assert len(results) >= 9
    assert any(result.frame(name).empty for result in results for name in result.frames)
    assert [other_types(result) for result in results] == [[] for _ in results]


def test_a_column_of_a_team_is_a_number_or_stays_as_it_is():
    rows = pd.DataFrame({"logins_per_seat": [1, 2], "colour": ["red", None]})
    types = typed("customers", rows).dtypes.astype(str)
    assert types.to_dict() == {"logins_per_seat": "float64", "colour": "str"}


def test_patterns_of_nobody_are_refused():
    gone = tiny_portfolio(MORNINGS, CUSTOMERS.assign(churned_on="2025-05-01"))
    with pytest.raises(DataRetrievalError, match="no customer was live"):
        hs.portfolio_patterns(gone, analysis_period_days=14)
