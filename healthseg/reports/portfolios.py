"""Which portfolio a notebook or a command reads, and what is recorded of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import Ledger, RecordedPredictions
    from healthseg.data.portfolio import Portfolio

VARIABLE = "HEALTHSEG_PORTFOLIO"
# ada@, ada.lind@: not cs-team@, not csm7@
_OF_A_PERSON = re.compile(r"[a-z]{2,}(\.[a-z]{2,})?@.+", re.IGNORECASE)
_SHARED: ContextVar[tuple[Portfolio, str] | None] = ContextVar("shared_portfolio", default=None)


def now() -> dt.datetime:
    """The clock of commands and reports: tools read none."""
    return dt.datetime.now(dt.UTC)


def address(portfolio: str = "") -> str:
    """The address as passed, else that of HEALTHSEG_PORTFOLIO, else the demo portfolio beside the package."""
    from healthseg.errors import DataRetrievalError

    chosen = portfolio or os.environ.get(VARIABLE, "")
    if chosen:
        return chosen
    relative = Path("data") / "demo"
    for demo in (Path(__file__).resolve().parents[2] / relative, relative):
        if demo.is_dir():
            return str(demo.resolve())
    raise DataRetrievalError(
        f"no portfolio is named, and there is no demo portfolio: give one, set {VARIABLE}, or run 'healthseg demo'",
        parameter="portfolio",
        validation_rule="a folder, a DuckDB file or a database address",
    )


def resolved(portfolio: str = "") -> str:
    """The address, a path as an absolute one: it means the same from every folder."""
    chosen = address(portfolio)
    return str(Path(chosen).resolve()) if Path(chosen).exists() else chosen


@contextlib.contextmanager
def sharing(portfolio: Portfolio | None, address: str) -> Iterator[None]:
    """Within it ``open_portfolio`` returns this portfolio, which is open, for its address and where none is named."""
    token = _SHARED.set(None if portfolio is None else (portfolio, address))
    try:
        yield
    finally:
        _SHARED.reset(token)


def open_portfolio(portfolio: str = "") -> Portfolio:
    """The portfolio at an address; an empty one means HEALTHSEG_PORTFOLIO, and without that the demo portfolio.

    Settings of the environment override those beside the data; in a notebook it says where events are behind.
    In a batch it is the portfolio that the batch opened, with all that is already computed of it.
    """
    from healthseg.data.portfolio import Portfolio
    from healthseg.reports import freshness
    from healthseg.settings.in_force import in_force

    shared = _SHARED.get()
    if shared is not None and portfolio in ("", shared[1]):
        freshness.announce(shared[1], in_force(shared[1]), now())
        return shared[0]
    chosen = address(portfolio)
    settings = in_force(chosen)
    freshness.announce(chosen, settings, now())
    return Portfolio.open(chosen, settings.overrides)


def manager_names(portfolio: Portfolio) -> dict[str, str]:
    """The managers' names by csm_id: of the table csms, else from the address by which they are reached."""
    if not portfolio.has("csms"):
        return {}
    names = {}
    for row in portfolio.table("csms").to_dict("records"):
        name, contact = row.get("name"), row.get("contact")
        if isinstance(name, str) and name:
            names[row["csm_id"]] = name
        elif isinstance(contact, str) and _OF_A_PERSON.fullmatch(contact):
            words = contact.partition("@")[0].split(".")
            names[row["csm_id"]] = " ".join(word.capitalize() for word in words)
    return names


def namesakes(portfolio: Portfolio) -> frozenset[str]:
    """The customers whose name another customer has too, which pages tell apart by client_id."""
    table = portfolio.table("customers")
    if "name" not in table:
        return frozenset()
    shared = table["name"].notna() & table["name"].duplicated(keep=False)
    return frozenset(table.loc[shared, "client_id"].astype(str))


def record_settings(portfolio: Portfolio, clock: Callable[[], dt.datetime]) -> bool:
    """Record in the ledger which settings are in force, if its place can be written; whether they are new."""
    settings = portfolio.settings

    def record(ledger: Ledger) -> bool:
        return ledger.record_settings(settings.fingerprint, settings.model_dump(mode="json"))

    return _recorded(portfolio, clock, record)


def record_predictions(
    portfolio: Portfolio, as_of: dt.date, clock: Callable[[], dt.datetime]
) -> bool:
    """Record in the ledger the probabilities of churn of the day, if its place can be written; whether they are new."""
    from healthseg.scoring.report_card.predictions import predictions_of

    predictions = predictions_of(portfolio, as_of)
    if predictions is None:
        return False
    new: RecordedPredictions = predictions
    return _recorded(portfolio, clock, lambda ledger: ledger.record_predictions(new))


def _recorded(
    portfolio: Portfolio, clock: Callable[[], dt.datetime], record: Callable[[Ledger], bool]
) -> bool:
    from healthseg.data.ledger import FILE_NAME
    from healthseg.data.ledger.ledger import LedgerLocation
    from healthseg.errors import DataRetrievalError

    path = Path(portfolio.path)
    folder = path if path.is_dir() else path.parent
    elsewhere = portfolio.settings.ledger.address is not None
    if not elsewhere and (not path.exists() or not os.access(folder, os.W_OK)):
        return False
    ledger = LedgerLocation(portfolio.settings.ledger, folder / FILE_NAME, clock).open()
    try:
        return record(ledger)
    except DataRetrievalError:
        if elsewhere:  # a user of the server who may only read can be answered all the same
            return False
        raise


def ledger_head(portfolio: Portfolio) -> list[int]:
    """The number of ledger entries that responses depend on; it only grows."""
    if not portfolio.has_ledger:
        return [0, 0]
    ledger = portfolio.ledger()
    return [len(ledger.settings_history()), len(ledger.stage_events())]
