"""A move made in a portfolio: with what its tables know of the customer, and what the settings say of the stage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg.measures.leaving import customer_as_of
from healthseg.measures.stages import history
from healthseg.tools.lifecycle.announce import Announcer
from healthseg.tools.lifecycle.moves import Move, Wish, move


def recorded(book: Any, zone: str, wish: Wish, notify_team: bool) -> Move:
    """Makes a move in the portfolio's ledger, with the messages that it sets off."""
    customer = customer_as_of(book, wish.client_id, book.data_until)
    imported = [one for one in history(book).of(wish.client_id) if not one.seq]
    announce = Announcer(book, customer, zone, notify_team)
    signup = pd.Timestamp(customer["signup_date"]).date()
    return move(book.ledger(), imported, zone, signup, book.settings.lifecycle, wish, announce)
