"""SHOWN: pages of the tools' results, in notebooks and as reports; no arithmetic here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healthseg.reports.pages import customer_page, model_page, overview_page, portfolio_page

__all__ = ["customer_page", "model_page", "overview_page", "portfolio_page"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from healthseg.reports import pages

    return getattr(pages, name)
