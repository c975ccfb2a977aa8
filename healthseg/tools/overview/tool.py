"""The overviews: what is next with each live customer, and what goes to the board?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.tools.base import AsOf, ClientId, tool
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.overview.board import BoardOfPortfolio
from healthseg.tools.overview.customer import Customer360, customer_360_of
from healthseg.tools.overview.result import Board, NextActionList, RecordToClose
from healthseg.tools.values import records

OwnedBy = Annotated[str | None, Field(description="Only the customers of this manager, csm_id")]


@tool
def next_actions(
    portfolio: Portfolio, *, csm_id: OwnedBy = None, as_of: AsOf = None
) -> NextActionList:
    """What is next with each live customer: what, who, by when, why, and how much ARR depends on it?

    Each live customer has at least one action; churned customers and prospects have none. ``actions`` holds the first of each
    customer, ``.frame("actions")`` all of them. Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", user) for day in range(1, 29) for user in ("u1", "u2")]
    >>> portfolio = tiny_portfolio([*events, ("b", "2025-03-01 09:00", "u3")])
    >>> {action.client_id: action.action for action in next_actions(portfolio).actions}
    {'b': 'call_now', 'a': 'plan_review'}
    """
    date = portfolio.as_of(as_of)
    known = NextActions.of(portfolio, date)
    frame, stale = known.frame(), known.records()
    if csm_id is not None:
        frame, stale = (rows[rows["owner"] == csm_id] for rows in (frame, stale))
    chosen = frame["client_id"].drop_duplicates().tolist()
    first = {client: known.customer(client, effects=True)[0] for client in chosen}
    ranks = {name: rank for rank, name in enumerate(frame.query("rank == 1")["client_id"])}
    actions: list[NextAction] = [first[client] for client in sorted(first, key=ranks.__getitem__)]
    return NextActionList(
        as_of=date,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(date),
        warnings=known.context.currency_warnings,
        customers=len(chosen),
        currency=known.context.money.currency,
        actions=actions,
        records=[RecordToClose(**row) for row in records(stale)],
    ).with_frames(actions=frame.reset_index(drop=True), records=stale.reset_index(drop=True))


@tool
def portfolio_board(portfolio: Portfolio, *, as_of: AsOf = None) -> Board:
    """How does revenue hold, who churned, what renews, did predictions hold, and which accounts are to be saved?

    Raises InvalidParameters and DataRetrievalError.
    """
    return BoardOfPortfolio(portfolio, portfolio.as_of(as_of)).result()


@tool
def customer_360(portfolio: Portfolio, client_id: ClientId, *, as_of: AsOf = None) -> Customer360:
    """What does everybody know about this customer: health, usage, service, contract, milestones, what happened and what is next?

    Raises InvalidClientId, ClientNotFound, InvalidParameters and DataRetrievalError.
    """
    return customer_360_of(portfolio, client_id, portfolio.as_of(as_of))
