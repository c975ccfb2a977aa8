"""Which portfolio a notebook or a command speaks of."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

VARIABLE = "HEALTHSEG_PORTFOLIO"


def now() -> dt.datetime:
    """The faces' clock: tools read none."""
    return dt.datetime.now(dt.UTC)


def address(portfolio: str = "") -> str:
    """What is asked for, else what HEALTHSEG_PORTFOLIO names, else the demo portfolio beside the package."""
    from healthseg.errors import DataRetrievalError

    chosen = portfolio or os.environ.get(VARIABLE, "")
    if chosen:
        return chosen
    here = Path("data") / "demo"
    for demo in (Path(__file__).resolve().parents[2] / here, here):
        if demo.is_dir():
            return str(demo.resolve())
    raise DataRetrievalError(
        f"no portfolio is named, and there is no demo portfolio: give one, set {VARIABLE}, or run 'healthseg demo'",
        parameter="portfolio",
        validation_rule="a folder, a DuckDB file or a database address",
    )


def resolved(portfolio: str = "") -> str:
    """The address as it is understood from every folder: a path is made whole."""
    chosen = address(portfolio)
    return str(Path(chosen).resolve()) if Path(chosen).exists() else chosen


def open_portfolio(portfolio: str = "") -> Any:
    """The portfolio at an address; an empty one means HEALTHSEG_PORTFOLIO, and without that the demo portfolio.

    Settings of the environment stand over those that lie beside the data; in a notebook it says where events are
    behind. In the kernels of a batch it is the portfolio
    that the batch opened, with all that was counted of it.
    """
    from healthseg.data.portfolio import Portfolio
    from healthseg.integrations import freshness as integrations
    from healthseg.reports.batches.kernels import sharing
    from healthseg.settings.in_force import in_force

    chosen = address(portfolio)
    shared, settings = sharing.portfolio_at(chosen), in_force(chosen)
    integrations.announce(chosen, settings, now())
    return shared or Portfolio.open(chosen, settings.overrides)


def record_settings(portfolio: Any, clock: Any) -> bool:
    """Note in the ledger which settings are in force, where the portfolio's folder can be written; whether they are new."""
    from healthseg.data.ledger import place as ledger_place
    from healthseg.data.ledger import stages as ledger_stages
    from healthseg.errors import DataRetrievalError

    path = Path(portfolio.path)
    folder = path if path.is_dir() else path.parent
    elsewhere = portfolio.settings.ledger.address is not None
    if not elsewhere and (not path.exists() or not os.access(folder, os.W_OK)):
        return False
    file = folder / ledger_stages.FILE_NAME
    known = None if elsewhere else ledger_place.glance(file)
    if known is not None and known.settings == portfolio.settings.fingerprint:
        return False
    ledger = ledger_stages.opened(portfolio.settings.ledger, file, clock)
    try:
        return ledger.record_settings(
            portfolio.settings.fingerprint, portfolio.settings.model_dump(mode="json")
        )
    except DataRetrievalError:
        if elsewhere:  # a user of the server who may only read can be answered all the same
            return False
        raise


def ledger_head(portfolio: Any) -> list[int]:
    """How much the ledger holds that responses are made from; it only grows."""
    if not portfolio.has_ledger:
        return [0, 0]
    ledger = portfolio.ledger()
    return [len(ledger.settings_history()), len(ledger.stage_events())]
