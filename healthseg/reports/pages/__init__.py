"""The pages: a module for each subject, with a spec for one customer and one for the portfolio."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from healthseg.reports import registry
from healthseg.reports.portfolios import open_portfolio
from healthseg.reports.render import ReportPage
from healthseg.reports.spec import Page

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.reports.pages.models import ModelResult

MODULES = {
    "calculate_health_score": "health",
    "track_usage_engagement": "usage",
    "segment_customers": "segments",
    "segment_by_value_tier": "tiers",
    "track_adoption_milestones": "milestones",
    "analyze_engagement_patterns": "patterns",
    "manage_lifecycle_stages": "lifecycle",
    "track_feature_adoption": "adoption",
}
# The pages that lead to the others.
OVERVIEWS = ("board", "customer_360")
# The pages of models, whose results a notebook computes in cells of its own.
MODELS = {
    "churn_model": "churn_model",
    "forecasts": "forecasts",
    "score_report_card": "score_report_card",
    "segments": "segment_models",
}
# Subjects whose portfolio page is a module of its own, <name>_portfolio.
APART = {
    "calculate_health_score",
    "manage_lifecycle_stages",
    "track_adoption_milestones",
    "analyze_engagement_patterns",
    "segment_by_value_tier",
    "track_usage_engagement",
    "segment_customers",
}


def page_spec(tool: str, portfolio: bool = False) -> Page:
    """The spec of a tool's page, for one customer or for the portfolio."""
    name = MODULES[tool] + ("_portfolio" if portfolio and tool in APART else "")
    module = importlib.import_module(f"healthseg.reports.pages.{name}")
    return module.PORTFOLIO if portfolio else module.CUSTOMER


def overview_spec(kind: str) -> Page:
    """The spec of an overview's page."""
    module = importlib.import_module(f"healthseg.reports.pages.{kind}")
    return module.PORTFOLIO if hasattr(module, "PORTFOLIO") else module.CUSTOMER


def overview_page(
    kind: str,
    parameters: Mapping[str, Any] | None = None,
    spec: Page | None = None,
    **more: Any,
) -> ReportPage:
    """An overview's page; parameters as in ``customer_page``."""
    known = {**(parameters or {}), **more}
    portfolio = _opened(known.get("portfolio"))
    overview = registry.overview(kind)
    wanted = {name: known[name] for name in overview.model().model_fields if name in known}
    return ReportPage(spec or overview_spec(kind), overview.run(portfolio, wanted), portfolio)


def model_spec(kind: str) -> Page:
    """The spec of a model's page."""
    return importlib.import_module(f"healthseg.reports.pages.{MODELS[kind]}").PAGE


def model_page(
    kind: str, result: ModelResult, portfolio: Portfolio, spec: Page | None = None
) -> ReportPage:
    """The page of a model's result, beside the previous run; adds the run to the portfolio's log."""
    from healthseg.reports.pages.models import recorded

    return ReportPage(spec or model_spec(kind), recorded(kind, result, portfolio), portfolio)


def customer_page(
    tool: str,
    parameters: Mapping[str, Any] | None = None,
    spec: Page | None = None,
    **more: Any,
) -> ReportPage:
    """One customer's page of a tool.

    ``parameters`` may hold more than the tool takes (a notebook passes ``vars()``), ``portfolio`` among it: an address
    or an open portfolio. ``spec`` replaces the tool's own page. Raises what the tool raises.
    """
    known = {**(parameters or {}), **more}
    portfolio = _opened(known.get("portfolio"))
    takes = [name for name in registry.report_parameters(tool) if name in known]
    result = registry.report_response(tool, portfolio, {name: known[name] for name in takes})
    return ReportPage(spec or page_spec(tool), result, portfolio)


def portfolio_page(
    tool: str,
    parameters: Mapping[str, Any] | None = None,
    spec: Page | None = None,
    **more: Any,
) -> ReportPage:
    """The portfolio's page of a tool; parameters as in ``customer_page``."""
    known = {**(parameters or {}), **more}
    portfolio = _opened(known.get("portfolio"))
    defaults = registry.tool(tool).report_defaults
    result = registry.portfolio_response(tool, portfolio, {**defaults, **known})
    return ReportPage(spec or page_spec(tool, portfolio=True), result, portfolio)


def _opened(portfolio: str | Portfolio | None) -> Portfolio:
    if portfolio is None or isinstance(portfolio, str):
        return open_portfolio(portfolio or "")
    return portfolio
