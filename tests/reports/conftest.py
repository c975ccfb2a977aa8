"""The pages of one small portfolio, made once for all tests that only look at them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import healthseg as hs
from healthseg.reports import customer_page, model_page, overview_page, portfolio_page
from healthseg.reports.pages import MODULES, OVERVIEWS, overview_spec
from healthseg.reports.render import ReportPage
from tests.reports import model_results
from tests.reports.made import portfolio_in


@dataclass(frozen=True)
class Shown:
    """Pages by tool, overview or model."""

    client_id: str
    customers: dict[str, ReportPage]
    portfolios: dict[str, ReportPage]
    overviews: dict[str, ReportPage]
    models: dict[str, ReportPage]

    def by_kind(self) -> dict[str, ReportPage]:
        """All of them, by the kind of page."""
        groups = self.customers, self.portfolios, self.overviews, self.models
        return {page.spec.kind: page for group in groups for page in group.values()}


@pytest.fixture(scope="session")
def shown_pages(calculated_demo) -> Shown:
    demo = {"clients": 40, "months": 9, "seed": 7, "events": "light", "scenario": "plain"}
    small = portfolio_in(calculated_demo("small", **demo))
    opened = hs.Portfolio.open(small.folder)
    arguments = {"portfolio": opened, "client_id": small.client_id}
    models = model_results.of(opened)
    return Shown(
        small.client_id,
        {tool: customer_page(tool, **arguments) for tool in MODULES},
        {tool: portfolio_page(tool, portfolio=opened) for tool in MODULES},
        {kind: overview_page(overview_spec(kind).tool, **arguments) for kind in OVERVIEWS},
        {kind: model_page(kind, result, opened) for kind, result in models.items()},
    )
